//! `edge twin`: what is wanted of a module, and what it says of itself.

use std::process::ExitCode;

use anyhow::Context;
use edge_daemon::types::TwinSection;
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::output;
use crate::remote::Target;

/// Show or change a module's twin.
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
}

#[derive(clap::Args, Debug)]
struct Get {
    /// The module.
    module: String,
    /// Print JSON on one line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args, Debug)]
struct Set {
    /// The module.
    module: String,
    /// A JSON object; null takes a property away.
    #[arg(value_parser = object)]
    patch: Patch,
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
                .run(async |client| Ok(client.twin(&args.module).await?))?;
            match args.json {
                true => output::json(&twin)?,
                false => {
                    section("desired", &twin.desired)?;
                    section("reported", &twin.reported)?;
                }
            }
        }
        Command::Set(args) => {
            let set = async |client: edge_daemon::Client| {
                Ok(client.set_twin(&args.module, &args.patch.0).await?)
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

fn section(name: &str, section: &TwinSection) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(&section.properties).map_err(Exit::incomplete)?;
    output::line(&format!("{name}, version {}:", section.version))?;
    text.lines().try_for_each(output::line)
}
