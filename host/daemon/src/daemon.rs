//! The daemon: takes the data directory, starts the device, offers it to commands, and ends in order.
//!
//! ```text
//!   data directory, socket taken ─► store, hub, identities, runtimes, agent ─► ports, metrics ─► ready
//!                                                                              │ SIGTERM, SIGINT
//!   closed ◄─ store flushed ◄─ calls and connections end ◄─ upstream ends ◄─ modules stopped ◄─┘ a second
//!                                                                                          one: at once
//! ```
//!
//! Each step of the end has a deadline; what is not done by then is said and left. Recovery after a
//! crash is the tested path, so an end that is cut short loses nothing that was acknowledged.

mod amqp;
mod listeners;
mod metrics_server;
mod mqtt;
mod notify;
mod parent;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edge_core::ModuleId;
use edge_heads::HeadConfig;
use edge_http::{Gateway, GatewayConfig};
use edge_store::CommitError;
use edge_wasm::{Compiler, LogSink};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::api::types::ListenerInfo;
use crate::api::{self, Api, Socket, SocketError};
use crate::data_dir::{DataDir, DataDirError};
use crate::device::{Device, DeviceError};
use crate::local::files::DayFiles;
use crate::local::{Take, Upstream};
use crate::settings::{RootMessages, Settings, UpstreamKind};
use amqp::Amqp;
use listeners::{Listeners, Port};
use mqtt::{Mqtt, OpenTopics};

/// A module has this long to end the step that it is in.
const MODULE_GRACE: Duration = Duration::from_secs(10);
/// Calls that are under way have this long to end.
const CALL_GRACE: Duration = Duration::from_secs(5);
/// Whatever reads messages for upstream has this long to take the last ones.
const UPSTREAM_GRACE: Duration = Duration::from_secs(5);
/// The store has this long to write what is left.
const STORE_GRACE: Duration = Duration::from_secs(30);

/// What the daemon needs to start.
pub struct DaemonConfig {
    /// Checked settings.
    pub settings: Settings,
    /// The file that they are from, if there is one.
    pub config: Option<PathBuf>,
    /// The data directory.
    pub data: PathBuf,
    /// Compiles components.
    pub compiler: Compiler,
    /// Takes what modules log, beside what is kept of it.
    pub console: Option<Arc<dyn LogSink>>,
    /// Takes messages for upstream, where settings say that they are printed.
    pub print: Box<dyn Take>,
}

impl std::fmt::Debug for DaemonConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonConfig")
            .field("settings", &self.settings)
            .field("data", &self.data)
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

/// Commands are taken from now on.
#[derive(Debug, Clone)]
pub struct Ready<'a> {
    /// The device's name.
    pub device: &'a str,
    /// Where commands are taken.
    pub socket: &'a Path,
    /// Where clients are served.
    pub listeners: &'a [ListenerInfo],
    /// Where metrics are, if anywhere.
    pub metrics: Option<SocketAddr>,
}

/// How a daemon ended that was told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    Clean,
    /// In order, but these modules did not end in time.
    Left(Vec<ModuleId>),
    /// At once, because it was told so a second time.
    AtOnce,
}

/// Why a daemon did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The data directory is not ours.
    #[error(transparent)]
    Data(DataDirError),
    /// The device did not start.
    #[error("the device cannot start")]
    Device(#[source] DeviceError),
    /// Commands cannot be taken.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A thread or a signal handler could not be had.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The store failed; what was acknowledged is kept.
    #[error("the store failed, and the daemon ended to recover at its next start")]
    Store(#[source] CommitError),
    /// A filter in `[topics]` is none.
    #[error("[topics]: {0}")]
    Topics(#[from] edge_mqtt::BadFilter),
    /// The parent cannot be what the settings say.
    #[error("[upstream]: {0}")]
    Parent(String),
    /// A part of the daemon ended that is to go on for ever.
    #[error("{0} ended early")]
    Fault(&'static str),
}

impl From<DeviceError> for DaemonError {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Data(error) => Self::Data(error),
            error => Self::Device(error),
        }
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// It did not start, or a part of it failed; everything that was acknowledged is kept.
pub async fn run(
    config: DaemonConfig,
    ready: impl FnOnce(&Ready<'_>),
) -> Result<Ended, DaemonError> {
    let mut signals = Signals::new()?;
    let data = DataDir::take(&config.data).map_err(DaemonError::Data)?;
    let settings = &config.settings;
    // Before anything of the device runs: who calls now waits until it is there.
    let (socket, listener) = Socket::listen(&settings.socket(data.path()), &settings.management)?;
    let who = match settings.upstream.kind {
        UpstreamKind::Amqp => Some(parent::who(settings)?),
        UpstreamKind::None => None,
    };
    let gateway = who.as_ref().and_then(|who| who.gateway.clone());
    let started = tokio::select! {
        started = Device::start(settings, &data, config.config.as_deref(), gateway, config.compiler, config.console) => started,
        () = signals.next() => return Ok(Ended::Clean),
    };
    let device = started?;
    let (close, closing) = watch::channel(false);
    let metrics = metrics_server::listen(settings.metrics.listen).await;
    let heads = HeadConfig::new(
        device.hub().clone(),
        device.registry().clone(),
        closing.clone(),
    );
    let live = heads.live.clone();
    let (ports, mqtt, topics) = open_ports(settings, &device, heads).await?;
    let workload = device.listen_for_workload(settings.workload.listen).await;
    let mut listening = ports.info();
    listening.extend(workload.as_ref().and_then(|socket| {
        let address = socket.address()?.to_string();
        let name = "workload".to_owned();
        Some(ListenerInfo { name, address })
    }));
    let api = Arc::new(Api {
        device: device.clone(),
        data: data.path().to_owned(),
        metrics: metrics.as_ref().map(|(_, at)| *at),
        listeners: listening.clone(),
        closing: closing.clone(),
        message_limit: settings.hub.message_limit.0,
    });
    let (mut printer, mut parent) = (None, None);
    match (who, settings.upstream.messages) {
        (Some(who), _) => parent = Some(parent::open(settings, who, &device, live, &closing)?),
        (None, RootMessages::Keep) => {}
        (None, RootMessages::Print) => {
            printer = Some(Upstream::start(device.hub(), config.print)?);
        }
        (None, RootMessages::Files) => {
            let folder = settings.upstream.folder.clone();
            let folder = folder.unwrap_or_else(|| data.path().join("upstream"));
            let (hub, days) = (device.hub().clone(), settings.upstream.keep_days.0);
            let files = DayFiles::open(&folder, days, move || hub.now());
            let files = files.map_err(|error| {
                DaemonError::Parent(format!("folder {}: {error}", folder.display()))
            })?;
            printer = Some(Upstream::start(device.hub(), Box::new(files))?);
        }
    }

    let mut parts: JoinSet<&'static str> = JoinSet::new();
    let mut serving = JoinSet::new();
    let router = api::router(api);
    let closed = |mut closing: watch::Receiver<bool>| async move {
        // A sender that is gone is an end, too.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let serve = axum::serve(listener, router).with_graceful_shutdown(closed(closing.clone()));
    serving.spawn(async move {
        if let Err(error) = serve.await {
            warn!(%error, "management API ended");
        }
        "the management API"
    });
    ports.run(&mut serving, &closing);
    serving.spawn(async move {
        mqtt.keep().await;
        "the keeper of sessions"
    });
    if let Some(parent) = parent {
        serving.spawn(async move {
            parent.run().await;
            "the link to the parent"
        });
    }
    if let Some(topics) = topics {
        serving.spawn(async move {
            topics.keep().await;
            "the keeper of the open topics"
        });
    }
    let at = metrics.as_ref().map(|(_, at)| *at);
    if let Some((listener, _)) = metrics {
        let router = metrics_server::router(device.clone());
        let serve = axum::serve(listener, router).with_graceful_shutdown(closed(closing));
        serving.spawn(async move {
            if let Err(error) = serve.await {
                warn!(%error, "metrics ended");
            }
            "the metrics server"
        });
    }
    parts.spawn({
        let device = device.clone();
        async move {
            device.sweep().await;
            "the sweeper"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.report().await;
            "the report of modules"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.report_hub().await;
            "the report of the hub"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.agent_ended().await;
            "the agent"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.renew_certificates().await;
            "the renewal of certificates"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.serve_workload().await;
            "the workload API"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.judge_deployments().await;
            "the judge of deployments"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.keep_restarts().await;
            "the count of restarts"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            device.keep_images().await;
            "the removal of unused images"
        }
    });
    parts.spawn({
        let device = device.clone();
        async move {
            crate::trim::when_quiet(device.agent()).await;
            "the trimming of memory"
        }
    });
    parts.spawn(notify::watchdog());
    ready(&Ready {
        device: device.name().as_str(),
        socket: socket.path(),
        listeners: &listening,
        metrics: at,
    });
    notify::ready();

    let fault = tokio::select! {
        () = signals.next() => None,
        error = device.failed() => Some(DaemonError::Store(error)),
        ended = parts.join_next() => Some(DaemonError::Fault(name(ended))),
        ended = serving.join_next() => Some(DaemonError::Fault(name(ended))),
    };
    notify::stopping();
    info!("stopping");
    let stop = async {
        let left = device.stop_modules(MODULE_GRACE).await;
        if let Some(upstream) = printer {
            let stopped = tokio::task::spawn_blocking(move || upstream.stop(UPSTREAM_GRACE)).await;
            match stopped {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(
                    error = &error as &dyn std::error::Error,
                    "messages for upstream were left"
                ),
                Err(error) => warn!(%error, "messages for upstream were left"),
            }
        }
        // Streams end by themselves, calls when they are answered.
        close.send_replace(true);
        let drained = async { while serving.join_next().await.is_some() {} };
        if tokio::time::timeout(CALL_GRACE, drained).await.is_err() {
            warn!("calls were cut off");
            serving.shutdown().await;
        }
        if let Some(workload) = workload {
            workload.close().await;
        }
        device.close_workload().await;
        drop(socket);
        parts.shutdown().await;
        let device = device.clone();
        let closed = tokio::task::spawn_blocking(move || device.close());
        match tokio::time::timeout(STORE_GRACE, closed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(DaemonError::Store(error)),
            Ok(Err(_)) => return Err(DaemonError::Fault("closing the store")),
            Err(_) => warn!("the store was not closed in time; it recovers at the next start"),
        }
        info!("stopped");
        Ok(left)
    };
    let left = tokio::select! {
        left = stop => left?,
        () = signals.next() => {
            // Or the store would be written out as it is dropped.
            std::mem::forget(device);
            return Ok(Ended::AtOnce);
        }
    };
    match fault {
        Some(fault) => Err(fault),
        None if left.is_empty() => Ok(Ended::Clean),
        None => Ok(Ended::Left(left)),
    }
}

/// Opens the ports that the settings name.
async fn open_ports(
    settings: &Settings,
    device: &Arc<Device>,
    config: HeadConfig,
) -> Result<(Listeners, Arc<Mqtt>, Option<Arc<OpenTopics>>), DaemonError> {
    let mut ports = Listeners::default();
    let tls = device.authority().server_config();
    let mqtt = Mqtt::open(config.clone());
    let amqp = Amqp::open(config.clone());
    let gateway = GatewayConfig {
        message_limit: settings.hub.message_limit,
        heads: vec![mqtt.clone(), amqp.clone()],
        ..GatewayConfig::new(
            config.hub.clone(),
            config.registry.clone(),
            config.closing.clone(),
        )
    };
    let mqtts = Port {
        section: "mqtt",
        listen: &settings.mqtt.listen,
        tls: Some(tls.clone()),
        head: mqtt.clone(),
    };
    ports.open(&settings.limits, mqtts).await;
    let amqps = Port {
        section: "amqp",
        listen: &settings.amqp.listen,
        tls: Some(tls.clone()),
        head: amqp,
    };
    ports.open(&settings.limits, amqps).await;
    let https = Port {
        section: "https",
        listen: &settings.https.listen,
        tls: Some(tls),
        head: Arc::new(Gateway::new(gateway)),
    };
    ports.open(&settings.limits, https).await;
    let topics = &settings.topics;
    if topics.listen.is_empty() {
        return Ok((ports, mqtt, None));
    }
    let open = OpenTopics::open(config, topics)?;
    let port = Port {
        section: "topics",
        listen: &topics.listen,
        tls: topics.tls.then(|| device.authority().server_config()),
        head: open.clone(),
    };
    ports.open(&settings.limits, port).await;
    Ok((ports, mqtt, Some(open)))
}

fn name(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> &'static str {
    match ended {
        Some(Ok(part)) => part,
        _ => "a part of the daemon",
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next request to end.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
