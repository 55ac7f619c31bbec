//! `edge method`: call a method of a module or device.

use std::process::ExitCode;

use edge_core::parse_duration;
use edge_daemon::types::MethodRequest;
use serde_json::Value;

use crate::exit::Exit;
use crate::output;
use crate::remote::Target;

/// Call a method of a module or device and print its answer, whatever its status.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A module of this device, DEVICE, or DEVICE/MODULE.
    #[arg(value_name = "TARGET")]
    identity: String,
    /// The method.
    name: String,
    /// What it gets, as JSON.
    #[arg(value_parser = json, default_value = "null")]
    payload: Value,
    /// How long to wait for the answer, at most 5m.
    #[arg(long, value_name = "SPAN", value_parser = seconds, default_value = "30s")]
    timeout: u64,
    /// How long to wait for a target that is not there yet, at most 5m.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    connect_timeout: Option<u64>,
    /// Print JSON on one line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("the payload is not JSON: {error}"))
}

fn seconds(text: &str) -> Result<u64, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    Ok(span.as_secs().max(1))
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let request = MethodRequest {
        payload: args.payload,
        timeout_seconds: Some(args.timeout),
        connect_timeout_seconds: args.connect_timeout,
    };
    args.target.run(async |client| {
        let answer = client.method(&args.identity, &args.name, &request).await?;
        match args.json {
            true => output::json(&answer)?,
            false => output::line(&format!("{}: {}", answer.status, answer.payload))?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
