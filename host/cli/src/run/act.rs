//! `edge run --as`: a process of this machine as a module of a running daemon.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use super::args::As;
use crate::exit::Exit;
use crate::identity;

/// Names that SDKs read first: one that is left in the shell would win over what is set here
/// (client-contract section 2).
const STRAY: [&str; 3] = [
    "EdgeHubConnectionString",
    "IotHubConnectionString",
    "EdgeModuleCACertificateFile",
];

/// Prints the environment of a module, or becomes a command in it.
pub(super) fn run(args: &As, module: &str) -> Result<ExitCode, Exit> {
    let environment = args
        .target
        .run(async |client| Ok(client.environment(module, false).await?))?;
    match args.command.split_first() {
        None => identity::print(&environment, false).map(|()| ExitCode::SUCCESS),
        Some((program, words)) => become_command(program, words, &environment),
    }
}

fn become_command(
    program: &OsString,
    words: &[OsString],
    environment: &edge_daemon::types::EnvironmentInfo,
) -> Result<ExitCode, Exit> {
    let mut command = Command::new(program);
    command.args(words);
    for name in STRAY {
        command.env_remove(name);
    }
    command.envs(identity::variables(environment));
    // Returns only if it could not be started: a debugger then has the process itself, not a parent.
    let error = anyhow::Error::new(command.exec());
    Err(Exit::usage(
        error.context(format!("start {}", program.display())),
    ))
}
