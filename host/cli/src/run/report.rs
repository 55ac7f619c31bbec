//! What is said on standard error: logs of modules, and messages that did not get through.

use edge_core::ModuleId;
use edge_daemon::{DeadLetter, DeadReason, Level, LogSink, QueueStatus};

use crate::exit::say;

/// Characters of a body that are shown.
const EXCERPT: usize = 60;

/// Prints module logs of some severity and above.
#[derive(Debug)]
pub(super) struct Logs {
    least: Level,
}

impl Logs {
    pub(super) fn new(least: Level) -> Self {
        Self { least }
    }
}

impl LogSink for Logs {
    fn line(&self, module: &ModuleId, level: Level, context: &str, line: &str) {
        if level >= self.least {
            let context = if context.is_empty() {
                String::new()
            } else {
                format!("{context}: ")
            };
            say(&format!("[{module}] {level}: {context}{line}"));
        }
    }
}

/// A message that was given up: where, why, and how it begins.
pub(super) fn dead_letter(letter: &DeadLetter) -> String {
    let body = String::from_utf8_lossy(&letter.message.content.body);
    let mut excerpt: String = body.chars().take(EXCERPT).collect();
    if excerpt.len() < body.len() {
        excerpt.push('…');
    }
    let tries = match letter.attempts {
        0 | 1 => String::new(),
        n => format!(" after {n} attempts"),
    };
    let (endpoint, reason) = (&letter.endpoint, &letter.reason);
    match reason {
        DeadReason::Rejected(why) => format!("rejected at {endpoint}{tries}: {why}: {excerpt:?}"),
        DeadReason::Failed(why) => format!("rejected at {endpoint}{tries}, {excerpt:?}: {why}"),
        DeadReason::Loop | DeadReason::Abandoned => format!("rejected: {reason}: {excerpt:?}"),
    }
}

/// One line for every queue that still holds messages.
pub(super) fn left(queues: &[QueueStatus]) -> Vec<String> {
    let waiting = queues.iter().filter(|queue| queue.depth > 0);
    waiting
        .map(|queue| {
            format!(
                "left unhandled: {} {} for {}",
                queue.depth,
                messages(queue.depth),
                queue.endpoint
            )
        })
        .collect()
}

/// A last line, if anything did not get through.
pub(super) fn totals(rejected: u64, expired: u64, refused: u64) -> Option<String> {
    let expired_before = match expired {
        1 => "expired before it was handled",
        _ => "expired before they were handled",
    };
    let parts: Vec<_> = [
        (rejected, "rejected"),
        (expired, expired_before),
        (refused, "refused"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {} {what}", messages(count)))
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn messages(count: u64) -> &'static str {
    if count == 1 { "message" } else { "messages" }
}
