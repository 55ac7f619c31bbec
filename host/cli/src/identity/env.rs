//! `edge identity env`: what a process needs to act as a module.

use std::borrow::Cow;

use edge_daemon::types::EnvironmentInfo;

use crate::exit::Exit;
use crate::output;
use crate::remote::Target;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The module of this device.
    module: String,
    /// For a process that cannot reach the module's workload socket: a connection string with its key
    /// instead, and the file of the trust bundle.
    #[arg(long)]
    connection_string: bool,
    /// Print one JSON object, names and values.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    let secrets = args.connection_string;
    let environment = args
        .target
        .run(async |client| Ok(client.environment(&args.module, secrets).await?))?;
    print(&environment, args.json)
}

/// Prints what is to be set.
pub(crate) fn print(environment: &EnvironmentInfo, json: bool) -> Result<(), Exit> {
    let variables: Vec<_> = variables(environment).collect();
    if json {
        let object: serde_json::Map<String, serde_json::Value> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        return output::json(&object);
    }
    variables
        .iter()
        .try_for_each(|(name, value)| output::line(&format!("{name}={}", quoted(value))))
}

/// Names and values: those with a key where they were asked for, which exclude the others because SDKs
/// disagree on which of them hold.
pub(crate) fn variables(environment: &EnvironmentInfo) -> impl Iterator<Item = (&str, &str)> {
    let debug = environment.debug_variables.iter().flatten();
    let plain = match environment.debug_variables {
        Some(_) => &[],
        None => environment.variables.as_slice(),
    };
    plain
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(debug.map(|(name, value)| (name.as_str(), value.reveal())))
}

/// A value as a shell reads it back.
fn quoted(value: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    match !value.is_empty() && value.chars().all(plain) {
        true => value.into(),
        false => format!("'{}'", value.replace('\'', "'\\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_values_back() {
        for value in [
            "plain-1.2/x:y",
            "$edgeAgent",
            "HostName=h;DeviceId=d;SharedAccessKey=a+b/c=",
            "it's",
            "",
            "a b\\c\"`!",
        ] {
            let script = format!("x={}; printf %s \"$x\"", quoted(value));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .expect("there is a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), value);
        }
    }
}
