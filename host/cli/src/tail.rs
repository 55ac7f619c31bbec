//! `edge tail`: messages as they pass.

use std::io::IsTerminal;
use std::process::ExitCode;

use edge_daemon::types::{Event, Passed};

use crate::exit::{Exit, say};
use crate::output;
use crate::remote::Target;

/// Show messages as they pass, until Ctrl-C. Whoever reads too slowly misses some, and is told so.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only messages of this source: MODULE, MODULE/OUTPUT, $device, or a path as in
    /// /messages/modules/a/outputs/b.
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
    /// Only messages for this endpoint: MODULE, MODULE/INPUT or $upstream.
    #[arg(long, value_name = "ENDPOINT")]
    into: Option<String>,
    /// End after so many messages.
    #[arg(short = 'n', long, value_name = "MESSAGES")]
    count: Option<usize>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    args.target.run(async |client| {
        let mut passing = client
            .tail(args.from.as_deref(), args.into.as_deref())
            .await?;
        let mut left = args.count.unwrap_or(usize::MAX);
        if std::io::stderr().is_terminal() {
            say("looking on, until Ctrl-C");
        }
        while left > 0
            && let Some(event) = passing.next().await?
        {
            match event {
                Event::Item(passed) => {
                    left -= 1;
                    match args.json {
                        true => output::json(&passed)?,
                        false => output::line(&text(&passed))?,
                    }
                }
                Event::Dropped(count) => say(&format!(
                    "{count} messages are missing here: they passed faster than they were read"
                )),
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn text(passed: &Passed) -> String {
    let message = &passed.message;
    let into = match passed.into.is_empty() {
        true => "(no route takes it)".to_owned(),
        false => passed.into.join(", "),
    };
    let properties = message.properties.iter();
    let properties: String = properties
        .map(|(name, value)| format!(" {name}={value:?}"))
        .collect();
    let (at, from, body) = (
        &message.enqueued,
        &message.from,
        output::excerpt(&message.body),
    );
    format!("{at} {from} → {into}: {body}{properties}")
}
