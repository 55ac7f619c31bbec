//! The process that compiles, as its parent sees it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::MemfdFlags;

use super::Wanted;
use crate::runtime::Source;

/// The largest known components take some ten seconds on two cores of a server; a small board with
/// something else to do is given a hundred times that.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Bytes of what the process says that are kept; the rest is read and dropped.
const MAX_SAID: u64 = 16 << 10;
/// Characters of it in an error.
const MAX_TOLD: usize = 1_000;
/// The process ends with this code where the compiler does not take the component.
const REFUSED: i32 = 2;
/// And with this one where the component could be compiled elsewhere.
const NOT_KEPT: i32 = 1;

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the compiler's process cannot be started: {0}")]
    NotStarted(io::Error),
    #[error("the compiler's process kept nothing: {0}")]
    NotKept(String),
    #[error("{0}")]
    Refused(String),
    #[error("the compiler's process {how}{said}; {hint}")]
    Died {
        how: String,
        said: String,
        hint: &'static str,
    },
    #[error(
        "the compiler's process was stopped after {} s: the machine is too busy, or too slow for this component",
        .0.as_secs()
    )]
    Late(Duration),
    #[error("the daemon stops")]
    Stopped,
}

/// Starts processes that compile, one at a time.
#[derive(Debug)]
pub(crate) struct Child {
    program: PathBuf,
    limit: Duration,
    turn: Mutex<()>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    child: Option<process::Child>,
    closed: bool,
}

impl Child {
    /// None runs yet.
    pub(crate) fn new(program: PathBuf) -> Self {
        Self {
            program,
            limit: LIMIT,
            turn: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// Waits until no other one runs; hold it for as long as this one does.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the program with these words, and the component on its standard input, to its end. Blocks.
    pub(super) fn run(&self, args: &[OsString], wanted: &Wanted<'_>) -> Result<(), Failure> {
        let input = input(wanted).map_err(Failure::NotStarted)?;
        let said = self.start(args, input)?;
        let text = match said.recv_timeout(self.limit) {
            Ok(text) => Some(text),
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                None
            }
            Err(RecvTimeoutError::Disconnected) => Some(String::new()),
        };
        let (child, closed) = {
            let mut running = self.running();
            (running.child.take(), running.closed)
        };
        // It has closed its standard error, so it has ended or is about to.
        let status = child.map(|mut child| child.wait()).transpose();
        match (status, text) {
            _ if closed => Err(Failure::Stopped),
            (_, None) => Err(Failure::Late(self.limit)),
            (Ok(Some(status)), Some(text)) => judge(status, &text),
            (Ok(None), Some(_)) => Err(Failure::Stopped),
            (Err(error), Some(_)) => Err(Failure::NotStarted(error)),
        }
    }

    /// What is received in the end is what it said; that it says no more is how its end is noticed.
    fn start(&self, args: &[OsString], input: File) -> Result<Receiver<String>, Failure> {
        let mut command = Command::new(&self.program);
        command
            .arg0("edge")
            .args(args)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Whoever interrupts the daemon at a terminal means the daemon, which then ends this.
            .process_group(0)
            .env_remove("EDGE_LOG")
            .env_remove("NOTIFY_SOCKET");
        let mut running = self.running();
        if running.closed {
            return Err(Failure::Stopped);
        }
        let mut child = command.spawn().map_err(Failure::NotStarted)?;
        let pipe = child.stderr.take();
        running.child = Some(child);
        drop(running);
        let (tell, said) = mpsc::channel();
        let listening = std::thread::Builder::new()
            .name("wasm-compile".to_owned())
            .stack_size(64 << 10)
            // Nobody listens any more where a compilation was given up.
            .spawn(move || drop(tell.send(pipe.map(listen).unwrap_or_default())));
        if let Err(error) = listening {
            self.kill();
            let child = self.running().child.take();
            // It was killed, so it can be waited for; that it could not be started is what is told.
            let _ = child.map(|mut child| child.wait());
            return Err(Failure::NotStarted(error));
        }
        Ok(said)
    }

    fn kill(&self) {
        if let Some(child) = &mut self.running().child
            && let Err(error) = child.kill()
        {
            tracing::warn!(%error, "the compiler's process cannot be killed");
        }
    }

    /// Ends the process that runs; no other one starts.
    pub(crate) fn close(&self) {
        self.running().closed = true;
        self.kill();
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The component as an open file: nobody has to write it to the process while it reads.
fn input(wanted: &Wanted<'_>) -> io::Result<File> {
    match wanted.source {
        Source::File(path) => File::open(path),
        Source::Bytes(name, _) => {
            let file = rustix::fs::memfd_create(name.replace('\0', " "), MemfdFlags::CLOEXEC)?;
            let mut file = File::from(file);
            file.write_all(wanted.bytes)?;
            file.rewind()?;
            Ok(file)
        }
    }
}

/// Reads to the end; keeps the beginning.
fn listen(mut pipe: process::ChildStderr) -> String {
    let mut said = Vec::new();
    let read = (&mut pipe)
        .take(MAX_SAID)
        .read_to_end(&mut said)
        .and_then(|_| io::copy(&mut pipe, &mut io::sink()));
    if let Err(error) = read {
        tracing::warn!(%error, "what the compiler's process says cannot be read");
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn judge(status: ExitStatus, said: &str) -> Result<(), Failure> {
    let told = one_line(said);
    match status.code() {
        Some(0) => {
            if !told.is_empty() {
                tracing::warn!(said = told, "the compiler's process");
            }
            return Ok(());
        }
        Some(REFUSED) => return Err(Failure::Refused(told)),
        Some(NOT_KEPT) => return Err(Failure::NotKept(told)),
        _ => {}
    }
    let said = match told.as_str() {
        "" => String::new(),
        told => format!(", after it said: {told}"),
    };
    Err(match (status.signal(), status.code()) {
        (Some(9), _) => Failure::Died {
            how: "was killed by signal 9".to_owned(),
            said,
            hint: "was there too little memory? See the kernel's log (dmesg)",
        },
        (Some(signal), _) => Failure::Died {
            how: format!("was ended by signal {signal}"),
            said,
            hint: "report it with the component if it happens again",
        },
        (None, code) => Failure::Died {
            how: match code {
                Some(code) => format!("ended with exit code {code}"),
                None => "ended".to_owned(),
            },
            said,
            hint: "report it with the component if it happens again",
        },
    })
}

/// From our own "error:" on, if there is one, else all of it; fit for one line.
fn one_line(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines: Vec<&str> = lines.collect();
    if let Some(at) = lines.iter().position(|line| line.starts_with("error: ")) {
        lines.drain(..at);
    }
    let joined = lines.join("; ");
    let joined = joined.strip_prefix("error: ").unwrap_or(&joined);
    let mut text: String = joined
        .chars()
        .take(MAX_TOLD)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if joined.chars().nth(MAX_TOLD).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
