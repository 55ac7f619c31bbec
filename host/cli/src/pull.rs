//! `edge pull`: fetch a component from a registry into a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use edge_oci::{PullLimits, Reference};

use crate::exit::Exit;
use crate::output;
use crate::registries::{Access, block_on};

/// Fetch a component from a registry. Prints its reference with the digest.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to fetch, as in registry.example/filter:1.2, or with a digest: @sha256:…
    reference: Reference,
    /// Where it goes [default: the last part of its name, with .wasm]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let reference = &args.reference;
    let output = args.output.unwrap_or_else(|| {
        let name = reference
            .repository()
            .rsplit('/')
            .next()
            .unwrap_or_default();
        PathBuf::from(format!("{name}.wasm"))
    });
    let (registries, credentials) = args.access.open(reference).map_err(Exit::usage)?;
    // Beside the file, so that it appears there whole or not at all.
    let folder = match output.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let context = || format!("write {}", output.display());
    let folder = tempfile::tempdir_in(folder).with_context(context);
    let folder = folder.map_err(Exit::usage)?;
    let pulled = block_on(async {
        let limits = PullLimits::default();
        let pulled = registries
            .pull(
                reference,
                credentials.as_ref(),
                limits,
                |_| Ok(()),
                folder.path(),
            )
            .await;
        Ok(pulled?)
    });
    let pulled = pulled.map_err(Exit::incomplete)?;
    std::fs::rename(&pulled.file, &output)
        .with_context(context)
        .map_err(Exit::incomplete)?;
    output::line(&reference.with_digest(pulled.manifest).to_string())?;
    Ok(ExitCode::SUCCESS)
}
