//! Starts the real program and looks at what it does from outside.
//!
//! [`edge`] takes the words of a command line; [`Edge::output`] runs it to its end with all of its
//! input, [`Edge::start`] leaves it running, to be written to and read from line by line. Nothing
//! here waits longer than [`PATIENCE`], and whatever is still running when a test ends is killed.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test program uses a part of this"
)]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod daemon;
pub mod engine;
pub mod family;
pub mod ledger;
pub mod namespace;
pub mod registry;
mod running;
mod samples;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

pub use daemon::{Daemon, Manifest};
pub use running::Running;
pub use samples::{c_filter, optional, readings, sample, sample_as};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A command line that is being put together.
#[derive(Debug)]
pub struct Edge(Command);

/// `edge` with these words.
pub fn edge<I: AsRef<OsStr>>(words: impl IntoIterator<Item = I>) -> Edge {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
    command
        .args(words)
        // Compiled components are kept from test to test: that several processes can share a cache
        // is part of what is tested.
        .env(
            "EDGE_CACHE_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        )
        .env_remove("EDGE_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Edge(command)
}

/// `edge run` with a component file.
pub fn run(component: impl AsRef<Path>) -> Edge {
    edge([OsStr::new("run"), component.as_ref().as_os_str()])
}

impl Edge {
    /// One more word.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.0.arg(word);
        self
    }

    /// More words, as a shell would split them: at blanks.
    pub fn args(mut self, words: &str) -> Self {
        self.0.args(words.split_whitespace());
        self
    }

    /// `--property NAME=VALUE`.
    pub fn property(self, name: &str, value: &str) -> Self {
        self.arg("--property").arg(format!("{name}={value}"))
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// The folder to run in.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.0.current_dir(dir);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        Running::new(self.0.spawn().unwrap())
    }

    /// Gives it all of its input and waits for its end.
    pub fn output(self, input: impl AsRef<[u8]>) -> Output {
        let mut running = self.start();
        running.send_all(input.as_ref().to_vec());
        running.end()
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// From its start to its end.
    pub took: Duration,
}

impl Output {
    /// Each line of standard output, which must be JSON.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
        };
        self.out.lines().map(parse).collect()
    }

    /// The bodies of the messages on standard output.
    pub fn bodies(&self) -> Vec<Value> {
        self.lines()
            .iter()
            .map(|line| line["body"].clone())
            .collect()
    }

    /// Expects this exit status.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "{self:#?}");
        self
    }

    /// Expects nothing on standard error.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert_eq!(self.err, "", "{self:#?}");
        self
    }

    /// Expects this on standard error.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "{part:?} is not in {self:#?}");
        self
    }

    /// Expects that this is not on standard error.
    #[track_caller]
    pub fn does_not_say(self, part: &str) -> Self {
        assert!(!self.err.contains(part), "{part:?} is in {self:#?}");
        self
    }

    /// Expects exactly these bodies on standard output, in this order.
    #[track_caller]
    pub fn prints(self, bodies: impl AsRef<[Value]>) -> Self {
        assert_eq!(self.bodies(), bodies.as_ref(), "{self:#?}");
        self
    }

    /// Expects nothing on standard output.
    #[track_caller]
    pub fn prints_nothing(self) -> Self {
        assert_eq!(self.out, "", "{self:#?}");
        self
    }

    /// Expects that it took less than this.
    #[track_caller]
    pub fn within(self, most: Duration) -> Self {
        assert!(self.took < most, "longer than {most:?}: {self:#?}");
        self
    }

    /// Expects one line of error, and no more.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(self.code == 2 && self.out.is_empty(), "{self:#?}");
        assert!(self.err.starts_with("error: "), "{self:#?}");
        assert_eq!(self.err.lines().count(), 1, "more than one line: {self:#?}");
        self
    }
}
