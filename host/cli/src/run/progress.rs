//! Compilation that takes long is shown: on a terminal a spinner, after a second; in a pipe nothing.

use std::any::Any;
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use edge_core::ByteSize;
use edge_daemon::CompileObserver;
use indicatif::{ProgressBar, ProgressStyle};

/// Shorter compilations are not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Spinner;

impl CompileObserver for Spinner {
    fn compiling(&self, name: &str, size: ByteSize) -> Box<dyn Any + Send> {
        if !std::io::stderr().is_terminal() {
            return Box::new(());
        }
        let text = format!(
            "compiling {name} ({} KiB), kept for the next time",
            size.0 / 1024
        );
        let (done, is_done) = channel::<()>();
        let thread = std::thread::spawn(move || {
            if is_done.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_message(text);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            let _ = is_done.recv();
            bar.finish_and_clear();
        });
        Box::new(Shown {
            done: Some(done),
            thread: Some(thread),
        })
    }
}

struct Shown {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.done = None;
        if let Some(thread) = self.thread.take() {
            // The spinner is decoration: a panic in it changes nothing.
            let _ = thread.join();
        }
    }
}
