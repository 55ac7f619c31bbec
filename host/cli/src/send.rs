//! `edge send`: a message by hand.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use edge_core::parse_duration;
use edge_daemon::types::{Outcome, SendRequest};

use crate::exit::{Code, Exit, say};
use crate::output;
use crate::remote::Target;

/// Send a message and print its id; it is on the device when this returns. The body comes from --body,
/// --file or standard input; if it is JSON, it is marked as such.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where it goes, past the routes: MODULE/INPUT or $upstream. A module outside the deployment is one with
    /// an identity of its own.
    #[arg(
        value_name = "ENDPOINT",
        required_unless_present_any = ["from", "device"],
        conflicts_with_all = ["from", "device"]
    )]
    to: Option<String>,
    /// Where it comes from, through the routes: MODULE, MODULE/OUTPUT, or $device.
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
    /// A device behind this one; the message waits for it while it sleeps.
    #[arg(long, value_name = "DEVICE", conflicts_with = "from")]
    device: Option<String>,
    /// Return when the device has acknowledged the message, or it has expired; at the latest after this
    /// time, 1m if none is given.
    #[arg(
        long,
        value_name = "SPAN",
        value_parser = seconds,
        num_args = 0..=1,
        default_missing_value = "1m",
        conflicts_with_all = ["to", "from"]
    )]
    wait: Option<u64>,
    /// The body.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    body: Option<String>,
    /// A file with the body.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// An application property.
    #[arg(long, value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// A system property, as in contentType=application/json; an empty value takes it away.
    #[arg(long, value_name = "NAME=VALUE")]
    system: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let request = request(&args).map_err(Exit::usage)?;
    args.target.run(async |client| {
        let sent = client.send(&request).await?;
        match args.json {
            true => output::json(&sent)?,
            false => output::line(&sent.id)?,
        }
        if let Some(outcome) = sent.outcome {
            return told(outcome);
        }
        if sent.queues == 0 {
            say("no route takes this message: it was dropped; `edge explain` says why");
            return Ok(Code::Incomplete.into());
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What became of a message that was waited for.
fn told(outcome: Outcome) -> Result<ExitCode, Exit> {
    say(match outcome {
        Outcome::Acknowledged => return Ok(ExitCode::SUCCESS),
        Outcome::Rejected => "the device refused the message; it is a dead letter",
        Outcome::GivenUp => "the message was given up; it is a dead letter",
        Outcome::Expired => "the message expired before the device took it",
        Outcome::Waiting => "the device has not taken the message yet; it waits for it",
    });
    Ok(Code::Incomplete.into())
}

fn request(args: &Args) -> anyhow::Result<SendRequest> {
    let body = match (&args.body, &args.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => read(path)?,
        (None, None) => {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .context("read the body from standard input")?;
            body
        }
    };
    let mut request = SendRequest::new(&body);
    request.to = args.to.clone();
    request.from = args.from.clone();
    request.device = args.device.clone();
    request.wait_seconds = args.wait;
    for pair in &args.property {
        let (name, value) = split(pair, "--property")?;
        request.properties.insert(name, value);
    }
    for pair in &args.system {
        let (name, value) = split(pair, "--system")?;
        match value.as_str() {
            "" => request.system.remove(&name),
            _ => request.system.insert(name, value),
        };
    }
    Ok(request)
}

fn seconds(text: &str) -> Result<u64, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    Ok(span.as_secs().max(1))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read body {}", path.display()))
}

fn split(pair: &str, option: &str) -> anyhow::Result<(String, String)> {
    pair.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| anyhow!("{option} {pair:?}: expected NAME=VALUE"))
}
