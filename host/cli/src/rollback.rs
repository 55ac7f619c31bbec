//! `edge rollback`: bring an earlier deployment back.

use std::process::ExitCode;

use edge_daemon::types::RollbackRequest;

use crate::apply;
use crate::exit::Exit;
use crate::remote::Target;

/// Bring an earlier deployment back, with the components that it had. Exits with 1 when a module cannot be
/// brought up.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Its number, as `edge deployments` lists it [default: the last one that worked]
    number: Option<u64>,
    /// Do not wait until the modules are brought up.
    #[arg(long)]
    no_wait: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let number = args.number;
    args.target.run(async |client| {
        let applied = client.rollback(&RollbackRequest { number }).await?;
        apply::bring_up(&client, applied, args.no_wait, args.json).await
    })
}
