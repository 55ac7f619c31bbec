//! Errors in one line, for messages that leave the process.

use std::error::Error;

/// An error with its causes. A cause that the line says already is left out: libraries repeat theirs.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
    causes.fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        match line.contains(&cause) {
            true => line,
            false => format!("{line}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Step {
        text: &'static str,
        source: Option<Box<Step>>,
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let step = |text, cause: Option<Step>| Step {
            text,
            source: cause.map(Box::new),
        };
        let broken = step("broken pipe", None);
        let sent = step("cannot send: broken pipe", Some(broken));
        let error = step("the upload failed", Some(sent));
        assert_eq!(chain(&error), "the upload failed: cannot send: broken pipe");
    }
}
