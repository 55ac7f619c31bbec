//! `edge certificates`: what the device shows of itself.

use std::process::ExitCode;

use crate::exit::Exit;
use crate::output::{self, Table};
use crate::remote::Target;

/// List the certificates of the device, or print what clients are to trust.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print the trust bundle, PEM, to be saved where clients look for it.
    #[arg(long)]
    bundle: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "bundle")]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let certificates = args
        .target
        .run(async |client| Ok(client.certificates().await?))?;
    if args.json {
        output::json(&certificates)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.bundle {
        // A line of ours is one line: what follows it would be indented.
        certificates.bundle.lines().try_for_each(output::line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["ROLE", "SUBJECT", "ISSUER", "FROM", "TO", "NAMES"]);
    for certificate in &certificates.certificates {
        table.row([
            certificate.role.clone(),
            certificate.subject.clone(),
            certificate.issuer.clone(),
            certificate.from.clone(),
            certificate.to.clone(),
            certificate.names.join(", "),
        ]);
    }
    table.print()?;
    if let Some(file) = &certificates.bundle_file {
        output::line(&format!("clients trust what is in {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
