//! `edge compile`: what the daemon starts in order to compile a component. Not for people.
//!
//! The component comes by standard input. The exit code says what the daemon makes of a failure: with
//! 2 the component cannot be compiled, with 1 it was not tried, or nothing was kept of it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use edge_core::Digest;
use edge_daemon::{Allocation, CompileJob, EngineKind, JobError};

use crate::exit::Exit;

/// Compile a component into the cache, for a daemon that waits for it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The cache's folder.
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// The component's digest.
    #[arg(long)]
    digest: Digest,
    /// The engine that it is for: plain or concurrent.
    #[arg(long)]
    engine: EngineKind,
    /// How the engine's instances get their memory: on-demand or pooling:INSTANCES.
    #[arg(long)]
    allocation: Allocation,
    /// Digest of all settings of the engine.
    #[arg(long)]
    settings: Digest,
    /// Id of the process that waits.
    #[arg(long, value_name = "PID")]
    parent: u32,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let job = CompileJob {
        cache: args.cache,
        digest: args.digest,
        engine: args.engine,
        allocation: args.allocation,
        settings: args.settings,
        parent: args.parent,
    };
    match job.run(io::stdin().lock()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error @ JobError::Refused(_)) => Err(Exit::usage(error)),
        Err(error) => Err(Exit::incomplete(error)),
    }
}
