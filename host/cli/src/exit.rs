//! How the program ends: exit codes, and the one place where errors are printed.

use std::borrow::Cow;
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
    /// Nothing was begun: no daemon answers, or it may not be talked to.
    NotRunning = 3,
    /// The daemon's store failed; it recovers at the next start (EX_IOERR).
    Store = 74,
    /// The daemon's settings are wrong: starting it again does not help (EX_CONFIG).
    Settings = 78,
    /// Another daemon has the data directory or the socket: starting it again does not help.
    InUse = 79,
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
    /// Ends with a code of its own.
    pub(crate) fn with(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// Standard output cannot be written to. Whoever stops reading has had enough: pipes to `head` end
    /// like that, and it is no error.
    pub(crate) fn output(error: std::io::Error) -> Self {
        let error = anyhow::Error::new(error).context("write to standard output");
        Self {
            code: Code::Incomplete,
            error,
        }
    }

    fn is_closed_pipe(&self) -> bool {
        let io = self.error.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }

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
        if self.is_closed_pipe() {
            return ExitCode::SUCCESS;
        }
        say(&format!("error: {}", self.error));
        for cause in self.error.chain().skip(1) {
            say(&format!("  caused by: {cause}"));
        }
        self.code.into()
    }
}

/// A message for the user, on standard error, which is never data. What modules say can be in it:
/// control characters would reach the terminal, and a line of theirs could pass for one of ours.
pub(crate) fn say(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
}

/// Text in which nothing but line breaks and tabs is not printed; lines after the first are indented.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            out.push('\n');
            if !line.starts_with("  ") {
                out.push_str("  ");
            }
        }
        for c in line.chars() {
            match c {
                '\t' => out.push(c),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_a_module_says_cannot_pass_for_our_own_lines_or_steer_the_terminal() {
        assert_eq!(printable("plain ä"), "plain ä");
        assert_eq!(printable("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("a\n[other] error: b"), "a\n  [other] error: b");
        assert_eq!(printable("trap\n  at f"), "trap\n  at f");
    }
}
