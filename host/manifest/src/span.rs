//! Spans of time, as our own keys have them.

use std::time::Duration;

use edge_core::{format_duration, parse_duration};

use crate::checker::Checker;
use crate::json::Node;

const LEAST: Duration = Duration::from_millis(1);

/// Reads one.
pub(crate) fn read(checker: &mut Checker, node: &Node) -> Option<Duration> {
    let text = checker.string(node, "a span of time, as in \"500ms\" or \"1m30s\"")?;
    match parse_duration(text) {
        Ok(span) if span < LEAST => {
            checker.unexpected(node, format_args!("at least {}", format_duration(LEAST)));
            None
        }
        Ok(span) => Some(span),
        Err(error) => {
            checker.error(node.start, error.to_string());
            None
        }
    }
}
