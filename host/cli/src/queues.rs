//! `edge queues`: what waits, for whom, and for how long.

use std::process::ExitCode;

use edge_daemon::types::QueueInfo;

use crate::exit::Exit;
use crate::output::{self, Table};
use crate::remote::Target;

/// List the queues and what waits in them.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let queues = args.target.run(async |client| Ok(client.queues().await?))?;
    match args.json {
        true => output::json(&queues)?,
        false if queues.is_empty() => output::line("there are no queues")?,
        false => table(&queues).print()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A row for each queue.
pub(crate) fn table(queues: &[QueueInfo]) -> Table {
    let mut table = Table::new(&[
        "ENDPOINT",
        ">PRIORITY",
        ">DEPTH",
        ">BYTES",
        ">OLDEST",
        "READER",
    ]);
    for queue in queues {
        let reader = match (queue.reader, queue.routed) {
            (true, _) => "yes",
            (false, true) => "no",
            (false, false) => "no, and no route leads here",
        };
        table.row([
            queue.endpoint.clone(),
            queue
                .priority
                .map_or_else(|| "-".to_owned(), |priority| priority.to_string()),
            queue.depth.to_string(),
            output::bytes(queue.bytes),
            queue
                .oldest_seconds
                .map_or_else(|| "-".to_owned(), output::span),
            reader.to_owned(),
        ]);
    }
    table
}
