//! The engine's API by hand: bare calls, and a socket between that measures those of others.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

/// The API's version that all engines of the last years speak.
const VERSION: &str = "v1.41";

/// A call that must succeed.
pub fn call(socket: &Path, method: &str, path: &str, body: &str) {
    let mut stream = StdStream::connect(socket).expect("the engine listens");
    let length = body.len();
    write!(
        stream,
        "{method} /{VERSION}{path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(
        answer.starts_with("HTTP/1.1 20"),
        "{method} {path}: {answer}"
    );
}

/// One call of a client.
#[derive(Debug)]
pub struct Call {
    pub path: String,
    begin: Instant,
    end: Instant,
}

impl Call {
    /// From the request to the head of its answer.
    pub fn took(&self) -> Duration {
        self.end - self.begin
    }
}

/// Passes calls on, and takes down how long they took.
pub struct Proxy(Arc<Mutex<Vec<Call>>>);

impl Proxy {
    /// Listens at a socket for as long as the runtime lives.
    pub fn start(engine: &Path, at: &Path) -> Self {
        let listener = UnixListener::bind(at).expect("a free path");
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (kept, engine) = (calls.clone(), engine.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (calls, engine) = (kept.clone(), engine.clone());
                let pass = service_fn(move |request| pass(request, engine.clone(), calls.clone()));
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(client), pass);
                tokio::spawn(serve);
            }
        });
        Self(calls)
    }

    /// The calls since it was asked last.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

async fn pass(
    request: Request<Incoming>,
    engine: PathBuf,
    calls: Arc<Mutex<Vec<Call>>>,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path().to_owned();
    let stream = TokioIo::new(UnixStream::connect(engine).await?);
    let begin = Instant::now();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    // Ends with its answer's body.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let end = Instant::now();
    let call = Call { path, begin, end };
    calls.lock().expect("not poisoned").push(call);
    Ok(answer)
}
