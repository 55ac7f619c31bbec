//! From the words of the command line to what is to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use edge_core::deployment::{
    ComponentRef, Deployment, DesiredStatus, ModuleKind, ModuleSpec, RestartPolicy, Rollback,
    RouteSpec, WasmOptions, WasmSpec,
};
use edge_core::{DeviceId, Digest, ModuleId, Priority, limits};
use edge_daemon::LocalDevice;
use edge_manifest::ReadOptions;
use edge_route::Mode;
use serde_json::{Map, Value};

use super::args::{Args, Grant};
use crate::exit::{Exit, say};

/// The name of this device where nothing names one.
const DEVICE: &str = "local";
/// The timer of a module that handles timers and is given none.
const DEFAULT_TIMER: (&str, Duration) = ("tick", Duration::from_secs(1));

/// What is to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) device: DeviceId,
    pub(super) deployment: Deployment,
    pub(super) routes: Mode,
    pub(super) base: PathBuf,
    /// The module whose twin was given, to show at the end what it reports.
    pub(super) twin_of: Option<ModuleId>,
}

impl Plan {
    pub(super) fn new(args: &Args) -> Result<Self, Exit> {
        let mut plan = match &args.manifest {
            Some(path) => from_manifest(path, args.routes)?,
            None => from_files(args)?,
        };
        if let Some(path) = &args.twin {
            let module = args.to.as_ref().map(|to| to.module.clone());
            let first = || {
                plan.deployment
                    .modules
                    .first()
                    .map(|module| module.id.clone())
            };
            let module = module
                .or_else(first)
                .ok_or_else(|| Exit::usage(anyhow!("--twin: there is no module")))?;
            let desired = desired_of(path)
                .with_context(|| format!("twin {}", path.display()))
                .map_err(Exit::usage)?;
            plan.deployment.desired.insert(module.clone(), desired);
            plan.twin_of = Some(module);
        }
        Ok(plan)
    }

    /// The module whose methods are called: the one named, else the first that answers any.
    pub(super) fn method_target(
        &self,
        args: &Args,
        device: &LocalDevice,
    ) -> Result<ModuleId, Exit> {
        if let Some(to) = &args.to {
            return Ok(to.module.clone());
        }
        let answers = |prepared: &std::sync::Arc<edge_daemon::Prepared>| prepared.handles_methods();
        device
            .modules()
            .find(answers)
            .map(|prepared| prepared.module().clone())
            .ok_or_else(|| Exit::usage(anyhow!("--method: none of the modules answers methods")))
    }
}

fn from_manifest(path: &Path, routes: Option<Mode>) -> Result<Plan, Exit> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read manifest {}", path.display()))
        .map_err(Exit::usage)?;
    let name = path.display().to_string();
    let routes = routes.unwrap_or(Mode::Compat);
    let read = edge_manifest::read(&text, &ReadOptions { routes }).map_err(|mistakes| {
        say(edge_manifest::render(&name, &mistakes).trim_end());
        Exit::usage(anyhow!("{name} cannot be deployed"))
    })?;
    if !read.warnings.is_empty() {
        say(edge_manifest::render(&name, &read.warnings).trim_end());
    }
    Ok(Plan {
        device: device_id()?,
        deployment: read.deployment,
        routes,
        base: path.parent().map_or_else(PathBuf::new, Path::to_owned),
        twin_of: None,
    })
}

fn device_id() -> Result<DeviceId, Exit> {
    DeviceId::new(DEVICE).map_err(Exit::usage)
}

fn from_files(args: &Args) -> Result<Plan, Exit> {
    if args.digest.is_some() && args.modules.len() > 1 {
        return Err(Exit::usage(anyhow!(
            "--digest is for one module; pin several as FILE@sha256:…"
        )));
    }
    let mut modules: Vec<ModuleSpec> = Vec::new();
    for word in &args.modules {
        let module = module(word, args).map_err(Exit::usage)?;
        if modules.iter().any(|other| other.id == module.id) {
            return Err(Exit::usage(anyhow!(
                "two modules would be called {}: rename one of the files, or use a manifest",
                module.id
            )));
        }
        modules.push(module);
    }
    let texts = match args.route.as_slice() {
        // Everything that a module sends, and nothing else is there to send.
        [] => &["FROM /messages INTO $upstream".to_owned()],
        given => given,
    };
    let route = |(number, text): (usize, &String)| RouteSpec {
        name: format!("--route {}", number + 1),
        text: text.clone(),
        priority: Priority::DEFAULT,
        time_to_live: None,
    };
    Ok(Plan {
        device: device_id()?,
        deployment: Deployment {
            modules,
            routes: texts.iter().enumerate().map(route).collect(),
            time_to_live: Some(limits::TIME_TO_LIVE),
            desired: BTreeMap::new(),
            rollback: Rollback::Never,
        },
        routes: args.routes.unwrap_or(Mode::Strict),
        base: PathBuf::new(),
        twin_of: None,
    })
}

fn module(word: &str, args: &Args) -> anyhow::Result<ModuleSpec> {
    let (file, pin) = match word.rsplit_once('@') {
        Some((file, digest)) if digest.starts_with("sha256:") => {
            (file, Some(digest.parse::<Digest>()?))
        }
        _ => (word, None),
    };
    let path = PathBuf::from(file);
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .ok_or_else(|| anyhow!("{file:?} has no file name that could name a module"))?;
    let mut options = WasmOptions {
        mode: args.mode.into(),
        args: args.arg.clone(),
        ..WasmOptions::default()
    };
    options.memory = args.memory.unwrap_or(options.memory);
    options.deadline = args.deadline.map_or(options.deadline, |span| span.0);
    options.timeout = args.timeout.map_or(options.timeout, |span| span.0);
    for timer in &args.timer {
        options.timers.insert(timer.name.clone(), timer.period);
    }
    if options.timers.is_empty() {
        // Only modules that handle timers have them run.
        options
            .timers
            .insert(DEFAULT_TIMER.0.to_owned(), DEFAULT_TIMER.1);
    }
    for grant in &args.grant {
        match grant {
            Grant::State => options.grants.state = true,
            Grant::Http(origin) => options.grants.http.push(origin.clone()),
            Grant::Dir(dir) => options.grants.dirs.push(dir.clone()),
        }
    }
    Ok(ModuleSpec {
        id: ModuleId::new(stem)
            .with_context(|| format!("the file's name is the module's: {file}"))?,
        version: None,
        status: DesiredStatus::Running,
        restart: RestartPolicy::Always,
        startup_order: 0,
        env: args
            .env
            .iter()
            .map(|pair| (pair.name.clone(), pair.value.clone()))
            .collect(),
        kind: ModuleKind::Wasm(WasmSpec {
            image: ComponentRef::File(path),
            digest: args.digest.or(pin),
            credentials: None,
            options,
        }),
    })
}

/// The desired properties in a twin's file.
fn desired_of(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let mut twin: Map<String, Value> =
        serde_json::from_str(&text).context("expected a JSON object")?;
    let desired = twin.remove("desired");
    match (desired, twin.keys().next()) {
        (Some(Value::Object(desired)), None) => Ok(Value::Object(desired).to_string()),
        (Some(Value::Object(_)), Some(other)) => Err(anyhow!(
            "unknown key {other:?}: expected {{\"desired\": {{…}}}}"
        )),
        _ => Err(anyhow!("expected {{\"desired\": {{…}}}}")),
    }
}
