//! `edge identity`: who may connect, and what a client is given for that.

mod env;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use edge_daemon::types::{
    AddIdentity, ChangeIdentity, Hidden, IdentityAuth, IdentityInfo, IdentitySecrets,
    IdentityStatus, WhichKey,
};

use crate::exit::{Exit, say};
use crate::output::{self, Table};
use crate::remote::Target;

pub(crate) use env::{print, variables};

/// List, make, change and remove the devices and modules that may connect.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List them.
    List(List),
    /// Show one.
    Show(Show),
    /// Make one and print its connection string.
    Add(Add),
    /// Replace its keys and print its connection string; connections that the old keys opened are
    /// closed.
    Rotate(Rotate),
    /// Keep it out, and close what it has open; a device keeps its modules out as well.
    Disable(One),
    /// Let it in again.
    Enable(One),
    /// Say which gateway below this device a device is behind: the gateway is told of it, and lets it in.
    Move(Move),
    /// Remove it; a device takes its modules along. One of the parent's is removed there: here it can be disabled.
    Remove(One),
    /// Print the environment in which a process on this machine acts as a module of this device, as
    /// NAME=value lines that a shell can read.
    Env(env::Args),
}

#[derive(clap::Args, Debug)]
struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args, Debug)]
struct One {
    /// DEVICE or DEVICE/MODULE.
    identity: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args, Debug)]
struct Show {
    #[command(flatten)]
    one: One,
    /// With its keys and connection string.
    #[arg(long)]
    keys: bool,
}

#[derive(clap::Args, Debug)]
struct Add {
    #[command(flatten)]
    one: One,
    /// Its primary key in base64; `-` reads it from standard input, where no other process sees it.
    /// Keys that are not given are made.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["thumbprint", "ca"])]
    key: Option<String>,
    /// It shows a certificate with this thumbprint, or one of these two: SHA-1 or SHA-256 in hexadecimal.
    #[arg(
        long,
        value_name = "HEX[,HEX]",
        value_delimiter = ',',
        num_args = 1,
        conflicts_with = "ca"
    )]
    thumbprint: Vec<String>,
    /// It shows a certificate of a trusted CA, with the identity as its common name.
    #[arg(long)]
    ca: bool,
    /// It is a device with this program, which may make identities of its own modules here.
    #[arg(long)]
    edge: bool,
    /// It is a device behind this gateway below this device: the gateway is told of it, and lets it in. What the
    /// device is given comes from there: `edge identity show DEVICE --keys`.
    #[arg(long, value_name = "GATEWAY")]
    behind: Option<String>,
}

#[derive(clap::Args, Debug)]
struct Move {
    #[command(flatten)]
    one: One,
    /// The gateway.
    #[arg(long, required_unless_present = "nowhere", conflicts_with = "nowhere")]
    behind: Option<String>,
    /// It is behind none.
    #[arg(long)]
    nowhere: bool,
}

#[derive(clap::Args, Debug)]
struct Rotate {
    #[command(flatten)]
    one: One,
    /// Only the primary key.
    #[arg(long, conflicts_with = "secondary")]
    primary: bool,
    /// Only the secondary key.
    #[arg(long)]
    secondary: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    match args.command {
        Command::List(args) => list(&args)?,
        Command::Show(args) => {
            let identity = &args.one.identity;
            let shown = args
                .one
                .target
                .run(async |client| Ok(client.identity(identity, args.keys).await?))?;
            match args.one.json {
                true => output::json(&shown)?,
                false => show(&shown)?,
            }
        }
        Command::Add(args) => {
            let request = AddIdentity {
                identity: args.one.identity.clone(),
                auth: auth(&args).map_err(Exit::usage)?,
                parent: args.behind.clone(),
            };
            if args.edge && request.identity.contains('/') {
                let why =
                    anyhow::anyhow!("--edge is for devices, {:?} is a module", request.identity);
                return Err(Exit::usage(why));
            }
            let added = args.one.target.run(async |client| {
                let added = client.add_identity(&request).await?;
                let system: &[&str] = if args.edge {
                    &["$edgeAgent", "$edgeHub"]
                } else {
                    &[]
                };
                for module in system {
                    let module = AddIdentity {
                        identity: format!("{}/{module}", request.identity),
                        auth: IdentityAuth::default(),
                        parent: None,
                    };
                    client.add_identity(&module).await?;
                }
                Ok(added)
            })?;
            granted(&args.one, &added)?;
        }
        Command::Rotate(args) => {
            let which = match (args.primary, args.secondary) {
                (true, _) => WhichKey::Primary,
                (_, true) => WhichKey::Secondary,
                _ => WhichKey::Both,
            };
            let identity = &args.one.identity;
            let rotated = args
                .one
                .target
                .run(async |client| Ok(client.rotate_keys(identity, which).await?))?;
            granted(&args.one, &rotated)?;
        }
        Command::Disable(args) => change(&args, &status(IdentityStatus::Disabled))?,
        Command::Enable(args) => change(&args, &status(IdentityStatus::Enabled))?,
        Command::Move(args) => {
            let parent = Some(args.behind.unwrap_or_default());
            let moved = ChangeIdentity {
                parent,
                ..ChangeIdentity::default()
            };
            change(&args.one, &moved)?;
        }
        Command::Remove(args) => {
            let removed = args
                .target
                .run(async |client| Ok(client.remove_identity(&args.identity).await?))?;
            match args.json {
                true => output::json(&removed)?,
                false => output::line(&format!("removed: {}", removed.removed.join(", ")))?,
            }
        }
        Command::Env(args) => env::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &List) -> Result<(), Exit> {
    let identities = args
        .target
        .run(async |client| Ok(client.identities().await?))?;
    if args.json {
        return output::json(&identities);
    }
    let mut table = Table::new(&["IDENTITY", "STATUS", "AUTH", "CHANGED", "BEHIND"]);
    for identity in &identities {
        let parent = identity.parent.as_deref().unwrap_or("-");
        table.row([
            identity.identity.as_str(),
            &identity.status,
            &identity.auth,
            &identity.changed,
            parent,
        ]);
    }
    table.print()
}

fn show(identity: &IdentityInfo) -> Result<(), Exit> {
    let pair = |name: &str, value: &str| output::line(&format!("{name:<18} {value}"));
    pair("identity", &identity.identity)?;
    pair("status", &identity.status)?;
    pair("auth", &identity.auth)?;
    pair("generation", &identity.generation)?;
    pair("created", &identity.created)?;
    pair("changed", &identity.changed)?;
    pair("version", &identity.version.to_string())?;
    if let Some(parent) = &identity.parent {
        pair("behind", parent)?;
    }
    if identity.from_parent {
        pair("registered", "at the parent")?;
    }
    for thumbprint in &identity.thumbprints {
        pair("thumbprint", thumbprint)?;
    }
    let Some(secrets) = &identity.secrets else {
        return Ok(());
    };
    for (name, key) in [
        ("primary key", &secrets.primary_key),
        ("secondary key", &secrets.secondary_key),
    ] {
        if let Some(key) = key {
            pair(name, key.reveal())?;
        }
    }
    pair("connection string", secrets.connection_string.reveal())?;
    say_where(identity, secrets);
    Ok(())
}

/// Says where the rest of a connection string is to be had.
fn say_where(identity: &IdentityInfo, secrets: &IdentitySecrets) {
    let name = &identity.identity;
    if let Some(gateway) = &secrets.behind {
        say(&format!(
            "{name} connects to {gateway}, whose host name is not known here: `edge identity show {name} --keys` there \
             prints the connection string with it"
        ));
    }
}

/// What whoever made an identity or its keys passes on.
fn granted(args: &One, identity: &IdentityInfo) -> Result<(), Exit> {
    match (args.json, &identity.secrets) {
        (false, Some(secrets)) => {
            output::line(secrets.connection_string.reveal())?;
            say_where(identity, secrets);
            Ok(())
        }
        _ => output::json(identity),
    }
}

fn status(status: IdentityStatus) -> ChangeIdentity {
    ChangeIdentity {
        status: Some(status),
        ..ChangeIdentity::default()
    }
}

fn change(args: &One, change: &ChangeIdentity) -> Result<(), Exit> {
    let changed = args
        .target
        .run(async |client| Ok(client.change_identity(&args.identity, change).await?))?;
    match args.json {
        true => output::json(&changed),
        false => Ok(()),
    }
}

fn auth(args: &Add) -> anyhow::Result<IdentityAuth> {
    if args.ca {
        return Ok(IdentityAuth::Authority);
    }
    match args.thumbprint.as_slice() {
        [] => {}
        [primary] | [primary, _] => {
            return Ok(IdentityAuth::Thumbprints {
                primary: primary.clone(),
                secondary: args.thumbprint.get(1).cloned(),
            });
        }
        more => anyhow::bail!("--thumbprint: expected one or two, found {}", more.len()),
    }
    let primary = match args.key.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .take(4_096)
                .read_to_string(&mut text)
                .context("read the key from standard input")?;
            Some(Hidden::new(text.trim()))
        }
        key => key.map(Hidden::new),
    };
    Ok(IdentityAuth::Sas {
        primary,
        secondary: None,
    })
}
