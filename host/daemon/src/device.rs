//! The device: store, hub, module runtimes and agent, put together.
//!
//! Called by the management API and by the daemon's own tasks; [`LocalDevice`](crate::LocalDevice) is
//! its counterpart that keeps nothing.
//!
//! ```text
//!   apply ─► check ─► components taken in ─► record durable ─► twins ─► routes ─► agent
//!   boot  ──────────────────────────────────► record read  ─► (twins) ─► routes ─► agent
//! ```
//!
//! Promises
//! - A deployment that was accepted is on the device before anything of it takes effect, and is what
//!   runs after the next start, whatever became of the folder that it came from.
//! - A manifest with a mistake changes nothing.
//! - What the device promises to the outside (a message sent, a twin changed, a key replaced, a dead letter
//!   dropped) is on the device before it is said.

mod apply;
mod builtin;
mod certificates;
mod children;
mod components;
mod containers;
mod gate;
mod hub_reported;
mod identities;
mod images;
mod letters;
mod logs;
mod messages;
mod modules;
mod queues;
mod record;
mod registries;
mod reported;
mod resolutions;
mod restarts;
mod store;
mod tail;
mod trial;
mod twins;
mod unrouted;
mod upkeep;
mod wanted;
mod workload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use edge_agent::{Agent, AgentConfig, AgentHandle};
use edge_core::{ByteSize, DeviceId, Identity, ModuleId, Timestamp};
use edge_hub::{Hub, HubConfig, SystemClock};
use edge_identity::{AuthorityError, Registry, RegistryError, Workload};
use edge_moby::Moby;
use edge_store::{Commit, CommitError, Lsn, OpenError};
use edge_wasm::cache::CompileCache;
use edge_wasm::{Allocation, Compiler, LogSink, RuntimeConfig, WasmRuntime};

use crate::check::Place;
use crate::data_dir::{DataDir, DataDirError};
use crate::settings::{AgentSettings, Cache, KeyFileError, RegistryFileError, Settings};

pub(crate) use apply::ApplyError;
pub(crate) use identities::{IdentityError, identity};
pub(crate) use logs::Filter as LogFilter;
pub(crate) use messages::SendError;
pub(crate) use queues::queue_infos;
pub(crate) use record::{Record, history};
pub(crate) use store::Store;
pub(crate) use tail::{Filter as TailFilter, Tail};
pub(crate) use wanted::{DesiredVersions, Taken};

use certificates::Certificates;
use components::Components;
use gate::DeviceGate;
use logs::Logs;
use registries::RegistryComponents;
use resolutions::Resolutions;
use tokio::sync::watch;
use trial::Trial;
use workload::Sockets;

/// Why a device did not start.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The log cannot be opened.
    #[error("cannot open the store {path}")]
    Store {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        why: OpenError,
    },
    /// Opening the log panicked.
    #[error("opening the store failed: see the lines before this one")]
    Panicked,
    /// The folder of components cannot be used.
    #[error("cannot use the folder of components {path}")]
    Components {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Identities cannot be read.
    #[error("cannot read the identities")]
    Identities(#[source] RegistryError),
    /// The device's own identity cannot be made.
    #[error("cannot make the device's own identity: {0}")]
    OwnIdentity(String),
    /// Certificates or keys cannot be used.
    #[error("cannot use the certificates")]
    Certificates(#[source] AuthorityError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// What is said of a registry cannot be used.
    #[error(transparent)]
    Registries(#[from] RegistryFileError),
    /// No such group.
    #[error(
        "group {0:?} of the workload sockets is not in /etc/group: make it, or correct [workload] group"
    )]
    NoGroup(String),
}

/// A running device. Stop it with [`stop`](Self::stop).
#[derive(Debug)]
pub(crate) struct Device {
    hub: Arc<Hub>,
    store: Store,
    registry: Arc<Registry>,
    certificates: Certificates,
    sockets: Sockets,
    hub_name: String,
    hostname: String,
    /// The name of the gateway above this device.
    gateway: Option<String>,
    place: Place,
    runtime: Arc<WasmRuntime>,
    agent: AgentHandle,
    components: Components,
    resolutions: Arc<Resolutions>,
    containers: Option<Arc<Moby>>,
    /// How long an image may be there that no module has.
    unused_images: Option<Duration>,
    logs: Arc<Logs>,
    builtin: Arc<builtin::BuiltIn>,
    twin_limit: ByteSize,
    /// Of messages that no deployment says anything of.
    time_to_live: Duration,
    instance: String,
    started: Timestamp,
    /// What is in force; held while another one is taken.
    current: tokio::sync::Mutex<Option<Record>>,
    /// The same for those who only look, and the agent's number for it.
    shown: std::sync::RwLock<Option<Shown>>,
    /// What has still to show that it works.
    trial: watch::Sender<Option<Trial>>,
    trial_settings: AgentSettings,
    /// Rung when there may be something new to sweep.
    swept: tokio::sync::Notify,
    /// The link to the parent, if there is one.
    upstream: OnceLock<Arc<edge_upstream::Upstream>>,
    /// What was taken of the parent last.
    taken: watch::Sender<Option<Taken>>,
}

/// A deployment, and the number of the agent's desired state that it made.
type Shown = (Arc<Record>, u64);

/// The compile cache; without it components are compiled at each start, and nothing else is missing.
fn open_cache(path: &Path) -> Option<CompileCache> {
    CompileCache::open(path)
        .inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, path = %path.display(), "compiled components are not kept");
        })
        .ok()
}

/// Certificates, and what answers modules.
fn open_identity(
    settings: &Settings,
    data: &DataDir,
    hub: &Arc<Hub>,
    registry: &Arc<Registry>,
) -> Result<(Certificates, Sockets), DeviceError> {
    let group = settings.workload.group.as_deref();
    let group = group.map(|name| {
        crate::api::group_id(name).ok_or_else(|| DeviceError::NoGroup(name.to_owned()))
    });
    let group = group.transpose()?;
    let certificates = Certificates::open(settings, data, hub.now())?;
    registry.set_verifier(certificates.authority.clone());
    let workload = Workload::new(registry.clone(), certificates.authority.clone());
    let sockets = Sockets::new(
        &settings.workload,
        group,
        data.path(),
        hub.device().clone(),
        Arc::new(workload),
        registry.clone(),
    );
    Ok((certificates, sockets))
}

impl Device {
    /// Opens the store, and brings up what is deployed. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub(crate) async fn start(
        settings: &Settings,
        data: &DataDir,
        config_file: Option<&Path>,
        gateway: Option<String>,
        compiler: Compiler,
        console: Option<Arc<dyn LogSink>>,
    ) -> Result<Arc<Self>, DeviceError> {
        let name = settings.device_name();
        let path = match &settings.store.path {
            Some(path) => path.clone(),
            None => data.path().join("store"),
        };
        let config = settings.store.clone();
        // On a thread of its own: whoever asks for the end meanwhile is heard.
        let opening = tokio::task::spawn_blocking(move || Store::open(&config, path));
        let store = opening.await.map_err(|_| DeviceError::Panicked)??;
        let hub = Hub::with(
            HubConfig {
                message_limit: settings.hub.message_limit,
                twin_limit: settings.hub.twin_limit,
                method_limit: settings.hub.method_limit,
                ..HubConfig::new(name)
            },
            store.log().clone(),
            Arc::new(SystemClock),
            Some(Box::new(unrouted::SaysUnrouted)),
        );
        hub.set_routes(
            unrouted::before_deployments(),
            Some(settings.hub.time_to_live),
        );
        let registry = Registry::open_with(store.log().clone(), settings.hub.clock_skew)
            .map_err(DeviceError::Identities)?;
        let (certificates, sockets) = open_identity(settings, data, &hub, &registry)?;
        let logs = Arc::new(Logs::new(console));
        let cache = match &settings.wasm.cache {
            Cache::InData => Some(data.folder("cache")?),
            Cache::At(path) => Some(path.clone()),
            Cache::Off => None,
        };
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = WasmRuntime::new(
            hub.clone(),
            RuntimeConfig {
                allocation: Allocation::OnDemand,
                workers: settings.wasm.workers.unwrap_or_else(processors),
                cache: cache.as_deref().and_then(open_cache),
                compiler,
                logs: logs.clone(),
                observer: None,
                tokio: tokio::runtime::Handle::current(),
            },
        );
        let keys = settings.verify.read_keys()?;
        let registries = Arc::new(crate::settings::open_registries(&settings.registries)?);
        let path = data.path().join("components");
        let components =
            Components::open(path.clone()).map_err(|why| DeviceError::Components { path, why })?;
        let resolutions = Arc::new(Resolutions::new(hub.clone()));
        let from_registries = Arc::new(RegistryComponents::new(
            registries.clone(),
            components.clone(),
            resolutions.clone(),
        ));
        let gate = Arc::new(DeviceGate::new(
            &settings.verify,
            keys,
            components.clone(),
            hub.clone(),
            registries,
        ));
        let containers = containers::runtime(
            settings,
            containers::ContainerHost {
                registry: registry.clone(),
                device: hub.device().clone(),
                hub_name: settings.device.hub_name.clone(),
                hostname: settings.hostname(),
                gateway: gateway.clone(),
                folders: sockets.folders().clone(),
                logs: logs.clone(),
                resolutions: resolutions.clone(),
            },
            gate.clone(),
        );
        let containers = containers.map(Arc::new);
        let runtimes = modules::runtimes(&runtime, containers.clone(), gate, from_registries);
        let agent = Agent::start(runtimes, AgentConfig::default());
        let device = Arc::new_cyclic(|device| Self {
            builtin: Self::built_in(device),
            started: hub.now(),
            hub,
            store,
            registry,
            certificates,
            sockets,
            hub_name: settings.device.hub_name.clone(),
            hostname: settings.hostname(),
            gateway,
            place: Place {
                config: config_file.map(Path::to_owned),
                data: data.path().to_owned(),
                socket: settings.socket(data.path()),
            },
            runtime,
            agent,
            components,
            resolutions,
            containers,
            unused_images: settings.containers.unused_images,
            logs,
            twin_limit: settings.hub.twin_limit,
            time_to_live: settings.hub.time_to_live,
            instance: guid(),
            current: tokio::sync::Mutex::new(None),
            shown: std::sync::RwLock::default(),
            trial: watch::Sender::new(None),
            trial_settings: settings.agent.clone(),
            swept: tokio::sync::Notify::new(),
            upstream: OnceLock::new(),
            taken: watch::Sender::new(None),
        });
        let own = device.ensure_own().await;
        own.map_err(|error| DeviceError::OwnIdentity(error.to_string()))?;
        device.serve_methods().await;
        device.boot().await;
        device.sockets.settle().await;
        Ok(device)
    }

    /// The hub.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The agent.
    pub(crate) fn agent(&self) -> &AgentHandle {
        &self.agent
    }

    /// What modules logged.
    pub(crate) fn logs(&self) -> &Arc<Logs> {
        &self.logs
    }

    /// Where its files are.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// This device.
    pub(crate) fn name(&self) -> &DeviceId {
        self.hub.device()
    }

    /// Names this start, in the form of a GUID.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Resolves when the agent has ended. Cancel safe.
    pub(crate) async fn agent_ended(&self) {
        self.agent.ended().await;
    }

    /// Commits from an async thread: it may wait for the device, and others run meanwhile.
    pub(crate) fn commit(&self, commit: &mut Commit) -> Result<Option<Lsn>, CommitError> {
        use tokio::runtime::{Handle, RuntimeFlavor};
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => {
                tokio::task::block_in_place(|| self.hub.commit(commit))
            }
            // Not on a thread that others need.
            _ => self.hub.commit(commit),
        }
    }

    /// Resolves when the store has failed, with why. Cancel safe.
    pub(crate) async fn failed(&self) -> CommitError {
        self.store.failed().await
    }

    /// When it started.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// What is in force.
    fn shown(&self) -> Option<Shown> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    fn set_shown(&self, now: Option<Shown>) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        *shown = now;
    }

    /// What is in force is known better.
    fn show(&self, record: &Record) {
        let generation = self.shown().map_or(0, |(_, generation)| generation);
        self.set_shown(Some((Arc::new(record.clone()), generation)));
    }

    /// A module of this device.
    fn identity(&self, module: &ModuleId) -> Identity {
        Identity::Module(self.name().clone(), module.clone())
    }

    /// Says how the parent is reached. Once.
    pub(crate) fn link_to_parent(&self, link: Arc<edge_upstream::Upstream>) {
        // Later ones are none: there is one parent.
        let _ = self.upstream.set(link);
        self.read_taken();
    }

    /// How the link to the parent stands; none: there is no parent.
    pub(crate) fn upstream(&self) -> Option<edge_upstream::UpstreamStatus> {
        self.upstream.get().map(|link| link.status())
    }

    /// Waits until a commit is on the device, if there was one.
    pub(crate) async fn durable(&self, lsn: Option<edge_store::Lsn>) -> Result<(), CommitError> {
        match lsn {
            Some(lsn) => self.hub.durable(lsn).await,
            None => Ok(()),
        }
    }

    /// Stops the modules, while the hub still serves them. Each has `grace` to end; says which did not.
    pub(crate) async fn stop_modules(&self, grace: Duration) -> Vec<ModuleId> {
        self.agent.shutdown(grace).await
    }

    /// Writes out what is not on the device yet, and closes the store.
    ///
    /// # Errors
    /// The store failed: what was not acknowledged may be lost.
    pub(crate) fn close(&self) -> Result<(), CommitError> {
        self.end_methods();
        self.runtime.close();
        self.store.close()
    }
}

/// A random GUID (RFC 9562, version 4).
fn guid() -> String {
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Chance enough to tell one start from another, where keys are not what it is for.
fn random() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0)
}
