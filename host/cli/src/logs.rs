//! `edge logs`: what modules log.

use std::process::ExitCode;

use edge_core::parse_duration;
use edge_daemon::types::{Event, LogLine};

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
    /// Only lines that are no older, as in 10m or 2h.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    since: Option<u64>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn seconds(text: &str) -> Result<u64, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    Ok(span.as_secs().max(1))
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    args.target.run(async |client| {
        let logs = client.logs(&args.modules, args.tail, args.since, args.follow);
        let mut lines = logs.await?;
        while let Some(event) = lines.next().await? {
            match event {
                Event::Item(line) if args.json => output::json(&line)?,
                Event::Item(line) => output::line(&text(&line))?,
                Event::Dropped(count) => say(&format!(
                    "{count} lines are missing here: they came faster than they were read"
                )),
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn text(line: &LogLine) -> String {
    let LogLine {
        time,
        module,
        level,
        context,
        line,
        ..
    } = line;
    match context.as_str() {
        "" => format!("{time} {module} {level}: {line}"),
        context => format!("{time} {module} {level}: {context}: {line}"),
    }
}
