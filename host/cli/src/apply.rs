//! `edge apply`: check a manifest and put it in force.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use edge_daemon::Client;
use edge_daemon::types::{
    Applied, ApplyRequest, ChildDeployment, DeploymentInfo, ModuleInfo, Modules,
};
use edge_route::Mode;
use serde::Serialize;

use crate::exit::{Code, Exit, say};
use crate::list;
use crate::output;
use crate::remote::Target;

/// Check a deployment manifest and put it in force. Exits with 1 when a module cannot be brought up.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The deployment manifest. Paths in it are relative to its folder; with --device they are that device's own, from
    /// / on.
    manifest: PathBuf,
    /// The routing language: as IoT Edge has it (compat), or without its traps (strict).
    #[arg(long, value_name = "MODE")]
    routes: Option<Mode>,
    /// Want it of this device below, which takes it when it is connected. Its state is then in
    /// `edge twin get DEVICE/$edgeAgent`.
    #[arg(long, value_name = "DEVICE", conflicts_with = "no_wait")]
    device: Option<String>,
    /// Do not wait until the modules are brought up.
    #[arg(long)]
    no_wait: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct Outcome {
    deployment: DeploymentInfo,
    warnings: Vec<String>,
    /// Missing where nobody waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    modules: Option<Vec<ModuleInfo>>,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let request = request(&args).map_err(Exit::usage)?;
    args.target.run(async |client| {
        if let Some(device) = &args.device {
            let wanted = client.apply_to_child(device, &request).await?;
            wanted.warnings.iter().for_each(|warning| say(warning));
            match args.json {
                true => output::json(&wanted)?,
                false => {
                    let modules = match wanted.modules.is_empty() {
                        true => "no modules".to_owned(),
                        false => wanted.modules.join(", "),
                    };
                    output::line(&format!(
                        "wanted of {}: {modules}; {}",
                        wanted.device,
                        taken(&wanted)
                    ))?;
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let applied = client.apply(&request).await?;
        for warning in &applied.warnings {
            say(warning);
        }
        bring_up(&client, applied, args.no_wait, args.json).await
    })
}

/// When a device takes what is wanted of it.
fn taken(wanted: &ChildDeployment) -> String {
    match (&wanted.gateway, wanted.connected) {
        (None, true) => "it is connected now, and takes it".to_owned(),
        (None, false) => "it takes it when it connects".to_owned(),
        (Some(gateway), true) => {
            format!("{gateway}, which it is behind, is connected now and hands it on")
        }
        (Some(gateway), false) => {
            format!("{gateway}, which it is behind, hands it on when it connects")
        }
    }
}

/// Waits until the modules of what was taken are brought up, unless that is not wanted, and shows them.
pub(crate) async fn bring_up(
    client: &Client,
    applied: Applied,
    no_wait: bool,
    json: bool,
) -> Result<ExitCode, Exit> {
    let modules = match no_wait {
        true => None,
        false => Some(settled(client, &applied).await?.modules),
    };
    let well = modules.iter().flatten().all(ModuleInfo::is_well);
    let outcome = Outcome {
        deployment: applied.deployment,
        warnings: applied.warnings,
        modules,
    };
    match json {
        true => output::json(&outcome)?,
        false => {
            let deployment = &outcome.deployment;
            output::line(&format!(
                "deployment {}: {}",
                deployment.number, deployment.name
            ))?;
            if let Some(modules) = &outcome.modules {
                list::table(modules).print()?;
                list::troubles(modules)?;
            }
        }
    }
    match well {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(Code::Incomplete.into()),
    }
}

fn request(args: &Args) -> anyhow::Result<ApplyRequest> {
    let path = &args.manifest;
    let manifest = std::fs::read_to_string(path)
        .with_context(|| format!("read manifest {}", path.display()))?;
    let whole = path
        .canonicalize()
        .with_context(|| format!("find the folder of {}", path.display()))?;
    Ok(ApplyRequest {
        name: path.display().to_string(),
        manifest,
        base: whole.parent().map_or_else(PathBuf::new, PathBuf::from),
        routes: args.routes.map(|mode| mode.to_string()),
    })
}

/// Waits until the modules of a deployment are as they are to be, or have failed.
async fn settled(client: &Client, applied: &Applied) -> Result<Modules, Exit> {
    let mut said: Vec<(String, String)> = Vec::new();
    let mut changes = client.watch_modules().await?;
    while let Some(modules) = changes.next().await? {
        if modules.generation < applied.generation {
            continue;
        }
        if modules.settled || modules.generation > applied.generation {
            return Ok(modules);
        }
        if std::io::stderr().is_terminal() {
            for module in &modules.modules {
                let now = (module.name.clone(), module.status.clone());
                if !said.contains(&now) {
                    say(&format!("{}: {}", module.name, module.status));
                    said.retain(|(name, _)| *name != module.name);
                    said.push(now);
                }
            }
        }
    }
    Err(Exit::incomplete(anyhow::anyhow!(
        "the daemon stopped before the modules were brought up; it goes on with them at its next start"
    )))
}
