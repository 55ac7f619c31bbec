//! `edge top`: rates, queues and modules as they change.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use edge_core::parse_duration;
use edge_daemon::types::{TopSample, UpstreamInfo};

use crate::exit::Exit;
use crate::output::{self, Table};
use crate::remote::Target;
use crate::{list, queues};

/// Show rates, queues and modules as they change, until Ctrl-C.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Time between two looks, at least 100ms.
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "1s")]
    interval: Duration,
    /// End after so many looks.
    #[arg(short = 'n', long, value_name = "LOOKS")]
    count: Option<usize>,
    /// Print JSON, one object for each look.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn span(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let clear = std::io::stdout().is_terminal();
    args.target.run(async |client| {
        let mut samples = client.top(args.interval).await?;
        let mut left = args.count.unwrap_or(usize::MAX);
        while left > 0
            && let Some(sample) = samples.next().await?
        {
            left -= 1;
            match args.json {
                true => output::json(&sample)?,
                false => show(&sample, clear)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn show(sample: &TopSample, clear: bool) -> Result<(), Exit> {
    if clear {
        let mut out = std::io::stdout().lock();
        // To the upper left, and away with what was below.
        write!(out, "\x1b[H\x1b[J").map_err(Exit::output)?;
    }
    let share = format!(
        "{} of {} wait",
        output::bytes(sample.waiting_bytes),
        output::bytes(sample.waiting_limit)
    );
    output::line(&format!(
        "{}  deployment {}  {share}",
        sample.time, sample.modules.deployment
    ))?;
    if let Some(link) = &sample.upstream {
        output::line(&parent(link))?;
    }
    let mut table = Table::new(&["MESSAGES", ">A SECOND", ">SINCE START"]);
    for (name, count) in &sample.counts {
        let rate = sample.rates.get(name).copied().unwrap_or_default();
        if *count > 0 || matches!(name.as_str(), "received" | "handled") {
            table.row([
                name.replace('_', " "),
                format!("{rate:.1}"),
                count.to_string(),
            ]);
        }
    }
    table.print()?;
    if !sample.queues.is_empty() {
        output::line("")?;
        queues::table(&sample.queues).print()?;
    }
    if !sample.modules.modules.is_empty() {
        output::line("")?;
        list::table(&sample.modules.modules).print()?;
        list::troubles(&sample.modules.modules)?;
    }
    match clear {
        true => Ok(()),
        false => output::line(""),
    }
}

/// How the link to the parent stands.
fn parent(link: &UpstreamInfo) -> String {
    let span = link.span();
    let state = match &link.why {
        None => format!("connected for {span}"),
        Some(why) => format!("not connected for {span} ({why})"),
    };
    let refused = match link.refused.len() {
        0 => String::new(),
        count => format!(", {count} identities not let in"),
    };
    let waiting = link.waiting;
    format!("parent: {state}, {waiting} messages wait{refused}")
}
