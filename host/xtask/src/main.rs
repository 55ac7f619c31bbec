//! Tasks of people who work on this repository: `cargo xtask`. Nothing here is shipped.

mod c_bindings;

use clap::Parser;

/// Tasks of people who work on this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Write the C bindings of a WIT world.
    CBindings(c_bindings::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::CBindings(args) => c_bindings::run(&args),
    }
}
