//! `edge explain`: why routes take a message, or do not.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use edge_core::{
    DeviceId, EndpointId, Message, MessageBuilder, MessageId, ModuleId, Origin, Source, Timestamp,
};
use edge_daemon::Client;
use edge_manifest::ReadOptions;
use edge_route::{Explanation, Mode, Route, explain};

use crate::exit::{Exit, say};
use crate::remote::Target;

/// Say, part by part, why routes take a message or not. Without --manifest and --route: those in force
/// on the device.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The deployment manifest with the routes.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A route to explain, instead of or beside those of a manifest.
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// Only the routes of this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The routing language: compat, as IoT Edge has it, or strict. By default compat for manifests
    /// and strict for --route.
    #[arg(long, value_name = "MODE")]
    routes: Option<Mode>,

    /// The module, and its output, that sends the message; without it a downstream device does.
    #[arg(long, value_name = "MODULE[/OUTPUT]")]
    from: Option<String>,
    /// The device that sends it.
    #[arg(long, value_name = "ID", default_value = "local")]
    device: DeviceId,
    /// The body. If it is JSON, it is marked as such.
    #[arg(long, value_name = "TEXT", default_value = "")]
    body: String,
    /// An application property.
    #[arg(long, value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// A system property, as in contentType=application/json; an empty value takes it away.
    #[arg(long, value_name = "NAME=VALUE")]
    system: Vec<String>,
    /// Print JSON, one object for each route.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

struct Named {
    name: String,
    route: Route,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let mut routes = Vec::new();
    if let Some(path) = &args.manifest {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read manifest {}", path.display()))
            .map_err(Exit::usage)?;
        let mode = args.routes.unwrap_or(Mode::Compat);
        routes.extend(of_manifest(&path.display().to_string(), &text, mode)?);
    } else if args.route.is_empty() {
        let get = async |client: Client| Ok(client.deployment().await?);
        let current = args.target.run(get)?;
        let in_force = current
            .deployment
            .routes
            .parse()
            .map_err(Exit::incomplete)?;
        let mode = args.routes.unwrap_or(in_force);
        routes.extend(of_manifest(
            &current.deployment.name,
            &current.manifest,
            mode,
        )?);
    }
    let mode = args.routes.unwrap_or(Mode::Strict);
    for (number, text) in args.route.iter().enumerate() {
        let name = format!("--route {}", number + 1);
        match Route::compile(text, mode) {
            Ok(Some(route)) => routes.push(Named { name, route }),
            Ok(None) => return Err(Exit::usage(anyhow!("{name} is blank"))),
            Err(diagnostics) => {
                for diagnostic in &diagnostics {
                    say(&format!("{name}: {diagnostic}"));
                }
                return Err(Exit::usage(anyhow!("{name} cannot be compiled")));
            }
        }
    }
    if let Some(name) = &args.name {
        routes.retain(|named| named.name == *name);
        if routes.is_empty() {
            return Err(Exit::usage(anyhow!("there is no route called {name}")));
        }
    }
    let message = message(&args).map_err(Exit::usage)?;
    print(&routes, &message, args.json)
        .context("write to standard output")
        .map_err(Exit::incomplete)?;
    Ok(ExitCode::SUCCESS)
}

fn of_manifest(name: &str, text: &str, mode: Mode) -> Result<Vec<Named>, Exit> {
    let read = edge_manifest::read(text, &ReadOptions { routes: mode }).map_err(|mistakes| {
        say(edge_manifest::render(name, &mistakes).trim_end());
        Exit::usage(anyhow!("{name} cannot be deployed"))
    })?;
    let compiled = read.deployment.routes.into_iter().filter_map(|spec| {
        // What the manifest's reader has compiled compiles again.
        let route = Route::compile(&spec.text, mode).ok()??;
        Some(Named {
            name: spec.name,
            route,
        })
    });
    Ok(compiled.collect())
}

fn message(args: &Args) -> anyhow::Result<Message> {
    let source = match &args.from {
        None => Source::Device(args.device.clone()),
        Some(from) => {
            let (module, output) = from
                .split_once('/')
                .map_or((from.as_str(), None), |(m, o)| (m, Some(o)));
            Source::Module {
                device: args.device.clone(),
                module: ModuleId::new(module)?,
                output: output.map(Into::into),
            }
        }
    };
    let mut content = MessageBuilder::new(args.body.clone());
    if serde_json::from_str::<serde::de::IgnoredAny>(&args.body).is_ok() {
        content = content.json();
    }
    for pair in &args.property {
        let (name, value) = split(pair, "--property")?;
        content = content.property(name, value);
    }
    for pair in &args.system {
        let (name, value) = split(pair, "--system")?;
        content = match value {
            "" => content.without_system(name),
            value => content.system(name, value),
        };
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Message {
        content: content.build(),
        origin: Origin::new(source),
        id: MessageId::default(),
        enqueued: Timestamp(u64::try_from(since.as_nanos())?),
        hops: 0,
    })
}

fn split<'a>(pair: &'a str, option: &str) -> anyhow::Result<(&'a str, &'a str)> {
    pair.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| anyhow!("{option} {pair:?}: expected NAME=VALUE"))
}

fn print(routes: &[Named], message: &Message, json: bool) -> anyhow::Result<()> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        route: &'a str,
        text: &'a str,
        endpoint: String,
        explanation: &'a Explanation,
    }
    let mut out = std::io::stdout().lock();
    for Named { name, route } in routes {
        let explanation = explain(route, message.origin.path(), message);
        if json {
            let line = Line {
                route: name,
                text: route.text(),
                endpoint: EndpointId::from(route.endpoint()).to_string(),
                explanation: &explanation,
            };
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{name}: {}", route.text())?;
            for line in explanation.to_string().lines() {
                writeln!(out, "  {line}")?;
            }
        }
    }
    if routes.is_empty() {
        writeln!(out, "there are no routes")?;
    }
    Ok(())
}
