//! `edge tail`: messages as they pass.

use std::io::IsTerminal;
use std::process::ExitCode;

use edge_daemon::types::{Event, Passed};

use crate::exit::{Exit, say};
use crate::output;
use crate::remote::Target;

/// Show messages as they pass, until Ctrl-C, and whose they are where that is not this device. Whoever reads too slowly misses some, and is told so.
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
        let own = client.device().await?.device;
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
                        false => output::line(&text(&passed, &own))?,
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

/// A line. `own`: the device whose messages are told without its name.
fn text(passed: &Passed, own: &str) -> String {
    let message = &passed.message;
    let whose = match message.device == own {
        true => String::new(),
        false => format!(" of {}", message.device),
    };
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
    format!("{at} {from}{whose} → {into}: {body}{properties}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use edge_daemon::types::{Body, MessageInfo};

    use super::*;

    #[test]
    fn a_message_of_another_device_is_told_with_its_name() {
        let passed = Passed {
            message: MessageInfo {
                id: "1".to_owned(),
                enqueued: "now".to_owned(),
                from: "/messages".to_owned(),
                device: "leaf".to_owned(),
                module: None,
                output: None,
                size: 2,
                body: Body("hi".into()),
                properties: BTreeMap::new(),
                system: BTreeMap::new(),
            },
            into: vec!["$upstream".to_owned()],
        };
        assert_eq!(
            text(&passed, "root"),
            "now /messages of leaf → $upstream: \"hi\""
        );
        assert_eq!(text(&passed, "leaf"), "now /messages → $upstream: \"hi\"");
        // Programs read it in any case.
        let json = serde_json::to_value(&passed).expect("it is JSON");
        assert_eq!(json["device"], "leaf");
    }
}
