//! `edge restart`: stop a module and start it again.

use std::process::ExitCode;

use crate::exit::Exit;
use crate::output;
use crate::remote::Target;

/// Stop a module and start it again, also one that cools off or was given up. Returns when that has
/// begun.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The module.
    module: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    args.target.run(async |client| {
        client.restart(&args.module).await?;
        if args.json {
            output::json(&serde_json::json!({ "restarted": args.module }))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
