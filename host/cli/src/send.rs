//! `edge send`: a message by hand.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use edge_daemon::types::SendRequest;

use crate::exit::{Code, Exit, say};
use crate::output;
use crate::remote::Target;

/// Send a message and print its id; it is on the device when this returns. The body comes from --body,
/// --file or standard input; if it is JSON, it is marked as such.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where it goes, past the routes: MODULE/INPUT or $upstream.
    #[arg(
        value_name = "ENDPOINT",
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    to: Option<String>,
    /// Where it comes from, through the routes: MODULE, MODULE/OUTPUT, or $device.
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
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
        if sent.queues == 0 {
            say("no route takes this message: it was dropped; `edge explain` says why");
            return Ok(Code::Incomplete.into());
        }
        Ok(ExitCode::SUCCESS)
    })
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

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read body {}", path.display()))
}

fn split(pair: &str, option: &str) -> anyhow::Result<(String, String)> {
    pair.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| anyhow!("{option} {pair:?}: expected NAME=VALUE"))
}
