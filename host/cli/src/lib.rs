//! The commands of the edge program, one file each.
//!
//! Called by `main` only. Commands turn words into calls of [`edge_daemon`]'s facade and answers into
//! text; they decide nothing.

mod componentize;
mod exit;
mod explain;
mod new;
mod run;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use exit::Exit;
use tracing_subscriber::EnvFilter;

/// Turns a Linux box into an edge device: runs Wasm components on one message hub.
#[derive(Debug, Parser)]
#[command(name = "edge", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run components here and now: no config, no containers, no cloud.
    Run(Box<run::Args>),
    /// Say, part by part, why routes take a message or not.
    Explain(explain::Args),
    /// Write the folder of a new module.
    New(new::Args),
    /// Make a component out of a core Wasm module.
    Componentize(componentize::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("EDGE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
    let done = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Explain(args) => explain::run(args),
        Command::New(args) => new::run(args).map_err(Exit::usage),
        Command::Componentize(args) => componentize::run(args).map_err(Exit::usage),
    };
    match done {
        Ok(code) => code,
        Err(exit) => exit.report(),
    }
}
