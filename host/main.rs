//! The edge program.

fn main() -> std::process::ExitCode {
    edge_cli::main()
}
