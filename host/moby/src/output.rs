//! What containers write, line by line, into the daemon's log of modules.
//!
//! The engine keeps what is written; a reader asks for what came after the last line that it has passed on,
//! so a container that is started again, or an engine that was away, repeats nothing.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use edge_core::ModuleId;
use futures_util::StreamExt as _;
use tracing::debug;

use crate::engine::Engine;
use crate::{Host, Stream};

/// Lines of a container that was running before that are shown again.
const BEFORE: &str = "1000";

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
    let options = LogsOptions {
        follow: true,
        stdout: true,
        stderr: true,
        since: from.seconds,
        timestamps: true,
        tail: if from.last.is_empty() { BEFORE } else { "all" }.to_owned(),
        ..LogsOptions::default()
    };
    let mut lines = docker.logs(container, Some(options));
    while let Some(output) = lines.next().await {
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                let error = engine.error(error);
                return debug!(%module, %error, "output is not read any more");
            }
        };
        let stream = match &output {
            LogOutput::StdErr { .. } => Stream::Err,
            _ => Stream::Out,
        };
        let text = String::from_utf8_lossy(output.as_ref());
        let text = text.trim_end_matches(['\n', '\r']);
        let (time, line) = text.split_once(' ').unwrap_or((text, ""));
        if time <= from.last.as_str() {
            continue;
        }
        host.line(module, stream, line);
        passed(&Position {
            last: time.to_owned(),
            seconds: seconds(time).unwrap_or(from.seconds),
        });
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
    fn the_engines_times_become_seconds() {
        assert_eq!(seconds("1970-01-01T00:00:00.000000000Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:34:56.789Z"), Some(951_827_696));
        assert_eq!(seconds("2026-03-01T00:00:00Z"), Some(1_772_323_200));
        assert_eq!(seconds("soon"), None);
    }
}
