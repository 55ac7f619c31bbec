//! The commands of the edge program, one file each.
//!
//! Called by `main` only. Commands turn words into calls of [`edge_daemon`]'s facade, or of a running
//! daemon through its client, and answers into text; they decide nothing.

mod apply;
mod certificates;
mod check;
mod compile;
mod componentize;
mod daemon;
mod dead_letters;
mod deployments;
mod exit;
mod explain;
mod identity;
mod key;
mod list;
mod logs;
mod method;
mod new;
mod output;
mod place;
mod pull;
mod push;
mod queues;
mod registries;
mod remote;
mod restart;
mod rollback;
mod run;
mod send;
mod sign;
mod support_bundle;
mod tail;
mod top;
mod twin;
mod verify;

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
    /// Run the device: takes deployments, keeps messages and state across restarts.
    Daemon(daemon::Args),
    /// Check a deployment manifest and put it in force.
    Apply(apply::Args),
    /// List the deployments that are kept.
    Deployments(deployments::Args),
    /// Bring an earlier deployment back.
    Rollback(rollback::Args),
    /// List the modules of the device.
    List(list::Args),
    /// Say everything that is wrong with a manifest, or with the device.
    Check(check::Args),
    /// Name the checks of `edge check`.
    CheckList(check::ListArgs),
    /// Write a bundle for those who look after the device, without secrets.
    SupportBundle(support_bundle::Args),
    /// Show what modules log.
    Logs(logs::Args),
    /// Stop a module and start it again.
    Restart(restart::Args),
    /// List the queues and what waits in them.
    Queues(queues::Args),
    /// Show messages as they pass.
    Tail(tail::Args),
    /// Send a message; it is on the device when this returns.
    Send(send::Args),
    /// List, show, replay or drop messages that were given up.
    DeadLetters(dead_letters::Args),
    /// Show, change or watch the twin of a module or device.
    Twin(twin::Args),
    /// Call a method of a module or device.
    Method(method::Args),
    /// List, make, change and remove the devices and modules that may connect.
    Identity(identity::Args),
    /// List the certificates of the device, or print what clients are to trust.
    Certificates(certificates::Args),
    /// Show rates, queues and modules as they change.
    Top(top::Args),
    /// Say, part by part, why routes take a message or not.
    Explain(explain::Args),
    /// Store a component in a registry.
    Push(push::Args),
    /// Fetch a component from a registry.
    Pull(pull::Args),
    /// Make a pair of keys, to sign components with and to verify them.
    Key(key::Args),
    /// Sign a component or image with a key.
    Sign(sign::Args),
    /// Check the signatures of a component or image.
    Verify(verify::Args),
    /// Write the folder of a new module.
    New(new::Args),
    /// Make a component out of a core Wasm module.
    Componentize(componentize::Args),
    /// Compile a component into the cache, for a daemon that waits for it.
    #[command(hide = true)]
    Compile(compile::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Starts and stops of a device belong in its journal.
    let level = match cli.command {
        Command::Daemon(_) => "info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_env("EDGE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
    let done = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Daemon(args) => daemon::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Deployments(args) => deployments::run(args),
        Command::Rollback(args) => rollback::run(args),
        Command::List(args) => list::run(args),
        Command::Check(args) => check::run(args),
        Command::CheckList(args) => check::list(args),
        Command::SupportBundle(args) => support_bundle::run(args),
        Command::Logs(args) => logs::run(args),
        Command::Restart(args) => restart::run(args),
        Command::Queues(args) => queues::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Send(args) => send::run(args),
        Command::DeadLetters(args) => dead_letters::run(args),
        Command::Twin(args) => twin::run(args),
        Command::Method(args) => method::run(args),
        Command::Identity(args) => identity::run(args),
        Command::Certificates(args) => certificates::run(args),
        Command::Top(args) => top::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Push(args) => push::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Key(args) => key::run(args),
        Command::Sign(args) => sign::run(args),
        Command::Verify(args) => verify::run(args),
        Command::New(args) => new::run(args).map_err(Exit::usage),
        Command::Componentize(args) => componentize::run(args).map_err(Exit::usage),
        Command::Compile(args) => compile::run(args),
    };
    match done {
        Ok(code) => code,
        Err(exit) => exit.report(),
    }
}
