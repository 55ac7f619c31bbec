//! What containers write, line by line, into the daemon's log of modules.
//!
//! The engine keeps what is written; a reader asks for what came after the last line that it has passed on,
//! so a container that is started again, or an engine that was away, repeats nothing.
//!
//! ```text
//!   read ─► too much at once ─► says so, reads nothing for a second ─► read: the last lines, and on
//! ```
//! Without that, a container that floods its log keeps engine and daemon busy, and everybody else waiting.

use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use edge_core::ModuleId;
use futures_util::StreamExt as _;
use tokio::time::sleep;
use tracing::debug;

use crate::engine::Engine;
use crate::{Host, Stream};

/// Lines of a container that was running before that are shown again.
const BEFORE: &str = "1000";

/// Lines that are read in one go.
const BURST: u32 = 10_000;
/// Lines that are read a second, in the long run.
const RATE: u32 = 1_000;
/// So long nothing is read of a flood.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines that are read after a pause, which the daemon keeps together with the word on it.
const LATEST: &str = "500";

/// Lines that may still be read: filled up as time passes.
#[derive(Debug)]
struct Budget {
    lines: u32,
    at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            lines: BURST,
            at: now,
        }
    }

    /// Takes one; whether there was one.
    fn take(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.lines == 0 {
            let now = now();
            let filled = (now - self.at).as_millis() * u128::from(RATE) / 1_000;
            self.lines = u32::try_from(filled).unwrap_or(BURST).min(BURST);
            self.at = now;
        }
        let had = self.lines > 0;
        self.lines = self.lines.saturating_sub(1);
        had
    }
}

/// How far the lines of a container have been passed on: the engine's time of the last one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    /// As the engine writes it, which sorts as time does.
    pub(crate) last: String,
    seconds: i32,
}

/// Passes on lines until the container ends, or the engine does.
pub(crate) async fn follow(
    engine: &Engine,
    host: &dyn Host,
    module: &ModuleId,
    container: &str,
    from: Position,
    passed: impl Fn(&Position),
) {
    let docker = match engine.docker().await {
        Ok(docker) => docker,
        Err(error) => return debug!(%module, %error, "output not read yet"),
    };
    let mut position = from;
    let mut budget = Budget::new(Instant::now());
    let mut tail = match position.last.as_str() {
        "" => BEFORE,
        _ => "all",
    };
    loop {
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            since: position.seconds,
            timestamps: true,
            tail: tail.to_owned(),
            ..LogsOptions::default()
        };
        let mut lines = docker.logs(container, Some(options));
        loop {
            let output = match lines.next().await {
                Some(Ok(output)) => output,
                Some(Err(error)) => {
                    let error = engine.error(error);
                    return debug!(%module, %error, "output is not read any more");
                }
                None => return,
            };
            let stream = match &output {
                LogOutput::StdErr { .. } => Stream::Err,
                _ => Stream::Out,
            };
            let text = String::from_utf8_lossy(output.as_ref());
            let text = text.trim_end_matches(['\n', '\r']);
            let (time, line) = text.split_once(' ').unwrap_or((text, ""));
            if time <= position.last.as_str() {
                continue;
            }
            if !budget.take(Instant::now) {
                break;
            }
            host.line(module, stream, line);
            position.last.clear();
            position.last.push_str(time);
            position.seconds = seconds(time).unwrap_or(position.seconds);
            passed(&position);
        }
        let note = format!("(more than {RATE} lines a second: not all of them are here)");
        host.line(module, Stream::Err, &note);
        // The engine stops sending.
        drop(lines);
        sleep(PAUSE).await;
        tail = LATEST;
    }
}

/// Seconds since 1970 of the engine's form of RFC 3339 in UTC.
fn seconds(time: &str) -> Option<i32> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days from civil, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days - 719_468;
    let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    seconds.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_read_whole_and_a_flood_at_its_rate() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        let mut taken = |now: Instant| (0..100_000).take_while(|_| budget.take(|| now)).count();
        assert_eq!(taken(begin), 10_000);
        assert_eq!(taken(begin), 0);
        assert_eq!(taken(begin + Duration::from_secs(1)), 1_000);
        assert_eq!(taken(begin + Duration::from_secs(3)), 2_000);
        assert_eq!(taken(begin + Duration::from_secs(3_600)), 10_000);
    }

    #[test]
    fn the_engines_times_become_seconds() {
        assert_eq!(seconds("1970-01-01T00:00:00.000000000Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:34:56.789Z"), Some(951_827_696));
        assert_eq!(seconds("2026-03-01T00:00:00Z"), Some(1_772_323_200));
        assert_eq!(seconds("soon"), None);
    }
}
