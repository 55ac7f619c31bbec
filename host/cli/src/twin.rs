//! `edge twin`: what is wanted of a module or device, and what it says of itself.

use std::process::ExitCode;

use anyhow::Context;
use edge_daemon::types::{Twin, TwinSection};
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::output;
use crate::remote::Target;

/// Show, change or watch the twin of a module or device.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Show both halves.
    Get(Get),
    /// Merge a patch into the desired properties; the next `edge apply` of another deployment sets
    /// them anew.
    Set(Set),
    /// Show both halves now and whenever they changed, until Ctrl-C.
    Watch(Get),
}

#[derive(clap::Args, Debug)]
struct Get {
    /// A module of this device, DEVICE, or DEVICE/MODULE.
    #[arg(value_name = "TARGET")]
    identity: String,
    /// Print JSON on one line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args, Debug)]
struct Set {
    /// A module of this device, DEVICE, or DEVICE/MODULE.
    #[arg(value_name = "TARGET")]
    identity: String,
    /// A JSON object; null takes a property away.
    #[arg(value_parser = object)]
    patch: Patch,
    /// Make it all that is wanted, rather than merge it.
    #[arg(long)]
    replace: bool,
    /// Print JSON on one line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone)]
struct Patch(Map<String, Value>);

fn object(text: &str) -> anyhow::Result<Patch> {
    serde_json::from_str(text)
        .map(Patch)
        .context("expected a JSON object")
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    match args.command {
        Command::Get(args) => {
            let twin = args
                .target
                .run(async |client| Ok(client.twin(&args.identity).await?))?;
            show(&twin, args.json)?;
        }
        Command::Watch(args) => args.target.run(async |client| {
            let mut twins = client.watch_twin(&args.identity).await?;
            while let Some(twin) = twins.next().await? {
                show(&twin, args.json)?;
            }
            Ok(())
        })?,
        Command::Set(args) => {
            let set = async |client: edge_daemon::Client| {
                let (identity, patch) = (&args.identity, &args.patch.0);
                Ok(match args.replace {
                    true => client.replace_twin(identity, patch).await?,
                    false => client.set_twin(identity, patch).await?,
                })
            };
            let desired = args.target.run(set)?;
            match args.json {
                true => output::json(&desired)?,
                false => section("desired", &desired)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(twin: &Twin, json: bool) -> Result<(), Exit> {
    if json {
        return output::json(twin);
    }
    section("desired", &twin.desired)?;
    section("reported", &twin.reported)
}

fn section(name: &str, section: &TwinSection) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(&section.properties).map_err(Exit::incomplete)?;
    output::line(&format!("{name}, version {}:", section.version))?;
    text.lines().try_for_each(output::line)
}
