//! `edge logs`: what modules log.

use std::process::ExitCode;

use edge_daemon::types::{Event, LogLine, LogQuery};

use crate::exit::{Exit, say};
use crate::output;
use crate::remote::Target;

/// Show what modules log. The daemon keeps the last 1 000 lines of each since its start; the journal
/// has them all.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Whose lines; all modules' where none is named.
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// Go on with what comes.
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines.
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
    /// Only lines that are no older: 10m, 2h30m, a time as in 2026-11-24T08:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines that are no newer, likewise.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only lines that are at least so bad: error, warn, info, debug, or a number of syslog. A line's own
    /// word counts: <4> before it, or "level" in JSON.
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// Only lines in which this regular expression is found.
    #[arg(long, value_name = "PATTERN")]
    grep: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    // Of one module it is known whose lines they are.
    let named = args.modules.len() != 1;
    let query = LogQuery {
        modules: args.modules,
        tail: args.tail,
        since: args.since,
        until: args.until,
        level: args.level,
        grep: args.grep,
        follow: args.follow,
    };
    args.target.run(async |client| {
        let mut lines = client.logs(&query).await?;
        while let Some(event) = lines.next().await? {
            match event {
                Event::Item(line) if args.json => output::json(&line)?,
                Event::Item(line) => output::line(&text(&line, named))?,
                Event::Dropped(count) => say(&format!(
                    "{count} lines are missing here: they came faster than they were read"
                )),
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn text(line: &LogLine, named: bool) -> String {
    let mut text = line.time.clone();
    if named {
        text += &format!(" {}", line.module);
    }
    text += &format!(" {}: ", line.level);
    if !line.context.is_empty() {
        text += &format!("{}: ", line.context);
    }
    text + &line.line
}
