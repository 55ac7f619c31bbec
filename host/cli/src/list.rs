//! `edge list`: the modules.

use std::process::ExitCode;

use edge_daemon::types::ModuleInfo;

use crate::exit::Exit;
use crate::output::{self, Table};
use crate::remote::Target;

/// List the modules of the device.
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
    let modules = args
        .target
        .run(async |client| Ok(client.modules().await?))?;
    match args.json {
        true => output::json(&modules)?,
        false if modules.modules.is_empty() => {
            output::line("there are no modules: `edge apply MANIFEST` deploys some")?;
        }
        false => {
            table(&modules.modules).print()?;
            troubles(&modules.modules)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A row for each module.
pub(crate) fn table(modules: &[ModuleInfo]) -> Table {
    let mut table = Table::new(&["NAME", "STATUS", "TYPE", ">RESTARTS", "STARTED", "IMAGE"]);
    for module in modules {
        table.row([
            module.name.clone(),
            module.status.clone(),
            module.kind.clone(),
            module.restarts.to_string(),
            module.started.clone().unwrap_or_else(|| "-".to_owned()),
            module.image.clone(),
        ]);
    }
    table
}

/// A line for each module that is not as it is to be.
pub(crate) fn troubles(modules: &[ModuleInfo]) -> Result<(), Exit> {
    for module in modules.iter().filter(|module| !module.is_well()) {
        let next = match &module.next_try {
            Some(at) => format!(" (tried again at {at})"),
            None => String::new(),
        };
        output::line(&format!("{}: {}{next}", module.name, module.description))?;
    }
    Ok(())
}
