//! `edge support-bundle`: all that helps to understand the device from afar, without secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use edge_daemon::{Client, ClientError};

use crate::exit::{Exit, say};
use crate::output;
use crate::place::PlaceArgs;

/// Write a bundle for those who look after the device: settings, deployments, status, queues, metrics, lines of
/// modules, what `edge check` says; secrets are removed. Without a running daemon it has what is on disk.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where to write it; - is standard output.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "support-bundle.tar.gz"
    )]
    output: PathBuf,
    /// Only lines of modules that are no older: 10m, 2d, or a time as in 2026-11-24T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let place = args.place.find().map_err(Exit::usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::usage)?;
    runtime.block_on(async {
        let client = Client::new(&place.socket);
        match client.support_bundle(args.since.as_deref()).await {
            Ok(mut download) => {
                let mut out = Out::open(&args.output)?;
                while let Some(bytes) = download.next().await? {
                    out.write(&bytes)?;
                }
                out.end()
            }
            Err(ClientError::NotRunning { .. }) => {
                say("no daemon answers: the bundle has what is on disk");
                let findings = edge_daemon::check::run(&place, &[]).await;
                let bundle = edge_daemon::bundle_of_disk(&place, &findings)
                    .context("put the bundle together")
                    .map_err(Exit::incomplete)?;
                let mut out = Out::open(&args.output)?;
                out.write(&bundle)?;
                out.end()
            }
            Err(error) => Err(error.into()),
        }
    })?;
    if args.output != Path::new("-") {
        output::line(&args.output.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the bundle goes. A file gets its name when it is whole.
enum Out {
    Standard,
    File {
        file: File,
        part: PathBuf,
        path: PathBuf,
    },
}

impl Out {
    fn open(path: &Path) -> Result<Self, Exit> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let mut options = OpenOptions::new();
        // For its owner alone: lines of modules are in it.
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part);
        let file = file
            .with_context(|| format!("write {}", part.display()))
            .map_err(Exit::usage)?;
        let path = path.to_owned();
        Ok(Self::File { file, part, path })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        match self {
            Self::Standard => io::stdout().write_all(bytes).map_err(Exit::output),
            Self::File { file, part, .. } => file
                .write_all(bytes)
                .with_context(|| format!("write {}", part.display()))
                .map_err(Exit::incomplete),
        }
    }

    fn end(self) -> Result<(), Exit> {
        match self {
            Self::Standard => io::stdout().flush().map_err(Exit::output),
            Self::File { file, part, path } => file
                .sync_all()
                .and_then(|()| std::fs::rename(&part, &path))
                .with_context(|| format!("write {}", path.display()))
                .map_err(Exit::incomplete),
        }
    }
}
