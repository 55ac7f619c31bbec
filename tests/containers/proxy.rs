//! A socket in front of the engine's that keeps what was sent to it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Everything that clients sent, of each connection the whole.
pub type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Listens beside the engine's socket; for as long as the test's process lives.
pub fn start(engine: PathBuf, at: &Path) -> Sent {
    with(engine, at, |_| {})
}

/// The same, with something that is done before what was sent is passed on.
pub fn with(engine: PathBuf, at: &Path, before: impl Fn(&[u8]) + Send + Sync + 'static) -> Sent {
    let (listener, sent) = (UnixListener::bind(at).unwrap(), Sent::default());
    let (kept, before) = (sent.clone(), Arc::new(before));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&engine) else {
                continue;
            };
            let number = {
                let mut kept = kept.lock().unwrap();
                kept.push(Vec::new());
                kept.len() - 1
            };
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || copy(back.0, back.1, |_| {}));
            let (kept, before) = (kept.clone(), before.clone());
            std::thread::spawn(move || {
                copy(client, server, |bytes| {
                    before(bytes);
                    kept.lock().unwrap()[number].extend_from_slice(bytes);
                });
            });
        }
    });
    sent
}

fn copy(mut from: UnixStream, mut to: UnixStream, mut seen: impl FnMut(&[u8])) {
    let mut buffer = [0; 8 << 10];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        seen(&buffer[..size]);
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
