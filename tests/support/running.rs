//! A process that was started: to be written to, read from line by line, interrupted and waited for.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{Output, PATIENCE};

/// A running process. Dropping it kills it.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    out: Arc<Stream>,
    err: Arc<Stream>,
    /// Lines of standard output that were read so far.
    read: usize,
    begin: Instant,
    exited: Receiver<Instant>,
}

impl Running {
    pub(super) fn new(mut child: Child) -> Self {
        let out = Stream::read(child.stdout.take().unwrap());
        let err = Stream::read(child.stderr.take().unwrap());
        let (tell, exited) = channel();
        let pid = Pid::from_child(&child);
        std::thread::spawn(move || {
            // Leaves the process to be reaped by `wait`, so that its id stays its own till then.
            let exit = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(pid), exit).is_ok() {
                let _ = tell.send(Instant::now());
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            out,
            err,
            read: 0,
            begin: Instant::now(),
            exited,
        }
    }

    /// Writes a line to its standard input.
    pub fn send(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}")
            .and_then(|()| input.flush())
            .unwrap();
    }

    /// Writes all of its input in the background, and closes it.
    pub fn send_all(&mut self, bytes: Vec<u8>) {
        let mut input = self.input.take().expect("its input is open");
        // It may end without reading all of it.
        std::thread::spawn(move || drop(input.write_all(&bytes)));
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// No longer reads its standard output, as `head` does when it has enough.
    pub fn close_output(&mut self) {
        self.out.stop();
    }

    /// The next line of standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let wanted = self.read;
        self.read += 1;
        let found = self.out.wait(|text| {
            let mut lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            lines.nth(wanted).map(|line| line.trim_end().to_owned())
        });
        found.unwrap_or_else(|| panic!("no line {wanted}: {}", self.so_far()))
    }

    /// The next line of standard output, if it is there already.
    pub fn line_if_any(&mut self) -> Option<String> {
        let text = self.out.text();
        let (whole, _) = text.rsplit_once('\n')?;
        let line = whole.lines().nth(self.read)?.to_owned();
        self.read += 1;
        Some(line)
    }

    /// The body in the next line of standard output.
    #[track_caller]
    pub fn body(&mut self) -> serde_json::Value {
        let line = self.line();
        let mut value: serde_json::Value = serde_json::from_str(&line).expect(&line);
        value["body"].take()
    }

    /// Waits until it has said this on standard error.
    #[track_caller]
    pub fn says(&self, part: &str) {
        self.says_times(part, 1);
    }

    /// Waits until it has said this on standard error so many times.
    #[track_caller]
    pub fn says_times(&self, part: &str, times: usize) {
        let found = self
            .err
            .wait(|text| (text.matches(part).count() >= times).then_some(()));
        assert!(found.is_some(), "{part:?} was not said: {}", self.so_far());
    }

    /// What it has said on standard error so far.
    pub fn said(&self) -> String {
        self.err.text()
    }

    fn so_far(&self) -> String {
        format!("stdout: {}\nstderr: {}", self.out.text(), self.err.text())
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// What a service manager sends to end it.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Ends it as a crash would, and leaves what it said to be read.
    pub fn kill_now(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
    }

    /// Ends it as a crash would: nothing is tidied up. Waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still running.
    pub fn goes_on(&self) -> bool {
        let now = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let ended = waitid(WaitId::Pid(Pid::from_child(&self.child)), now);
        matches!(ended, Ok(None))
    }

    /// Waits for its end. Its input stays as it is: open, unless it was closed.
    #[track_caller]
    pub fn end(mut self) -> Output {
        let Ok(ended) = self.exited.recv_timeout(PATIENCE) else {
            panic!("it does not end: {}", self.so_far());
        };
        let status = self.child.wait().unwrap();
        Output {
            code: status.code().unwrap_or(-1),
            out: self.out.rest(),
            err: self.err.rest(),
            took: ended - self.begin,
        }
    }

    /// Waits for its end and says how long it took from now on.
    #[track_caller]
    pub fn end_from_now(self) -> (Output, Duration) {
        let before = self.begin.elapsed();
        let output = self.end();
        let took = output.took.saturating_sub(before);
        (output, took)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came out of a pipe so far.
#[derive(Default)]
struct Stream {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
    stopped: bool,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Arc<Self> {
        let stream = Arc::new(Self::default());
        let own = stream.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 64 << 10];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut state = own.state.lock().unwrap();
                state.bytes.extend_from_slice(&buffer[..count]);
                state.ended = count == 0 || state.stopped;
                own.more.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        stream
    }

    fn stop(&self) {
        self.state.lock().unwrap().stopped = true;
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().bytes).into_owned()
    }

    /// Waits until something is found in the text; `None` when it ends or time is up before that.
    fn wait<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = find(&String::from_utf8_lossy(&state.bytes)) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.more.wait_timeout(state, left).unwrap().0;
        }
    }

    /// All of it, once the pipe is closed.
    fn rest(&self) -> String {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        while !state.ended && !state.stopped && Instant::now() < until {
            state = self.more.wait_timeout(state, PATIENCE).unwrap().0;
        }
        String::from_utf8_lossy(&state.bytes).into_owned()
    }
}
