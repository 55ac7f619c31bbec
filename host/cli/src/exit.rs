//! How the program ends: exit codes, and the one place where errors are printed.

use std::io::Write;
use std::process::ExitCode;

/// Exit codes. 0: everything was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Something was not done: messages rejected or left, a service that failed.
    Incomplete = 1,
    /// Nothing was begun: wrong usage, a bad manifest, a component that is none.
    Usage = 2,
    /// Ended by Ctrl-C before the work was (128 + SIGINT).
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// An error and the code to end with.
#[derive(Debug)]
pub(crate) struct Exit {
    code: Code,
    error: anyhow::Error,
}

impl Exit {
    /// Nothing was begun.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: Code::Usage,
            error: error.into(),
        }
    }

    /// Something was not done.
    pub(crate) fn incomplete(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: Code::Incomplete,
            error: error.into(),
        }
    }

    /// Prints the error with its causes.
    pub(crate) fn report(self) -> ExitCode {
        say(&format!("error: {}", self.error));
        for cause in self.error.chain().skip(1) {
            say(&format!("  caused by: {cause}"));
        }
        self.code.into()
    }
}

/// One line for the user, on standard error, which is never data.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
