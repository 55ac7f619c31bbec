//! `edge deployments`: what is and was in force.

use std::process::ExitCode;

use edge_daemon::types::{DeploymentInfo, DeploymentState};

use crate::exit::Exit;
use crate::output::{self, Table};
use crate::remote::Target;

/// List the deployments that are kept, newest first: the first one is in force.
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
    let deployments = args
        .target
        .run(async |client| Ok(client.deployments().await?))?;
    match args.json {
        true => output::json(&deployments)?,
        false if deployments.is_empty() => {
            output::line("nothing was deployed yet: `edge apply MANIFEST` does that")?;
        }
        false => {
            let mut table = Table::new(&[">NUMBER", "APPLIED", "STATE", "MANIFEST", ""]);
            for deployment in &deployments {
                table.row(row(deployment));
            }
            table.print()?;
            for deployment in &deployments {
                if let Some(why) = &deployment.why {
                    output::line(why)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(deployment: &DeploymentInfo) -> [String; 5] {
    let state = match deployment.state {
        DeploymentState::Trial => "on trial",
        DeploymentState::Good => "good",
        DeploymentState::Failed => "failed",
    };
    [
        deployment.number.to_string(),
        deployment.applied.clone(),
        state.to_owned(),
        deployment.name.clone(),
        match deployment.brings_back {
            Some(number) => format!("brings back {number}"),
            None => String::new(),
        },
    ]
}
