//! A device in one process, with nothing kept: hub in memory, Wasm modules, no cloud.

pub(crate) mod files;
mod upstream;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use edge_core::deployment::{
    ComponentRef, Deployment, DesiredStatus, InstanceMode, ModuleKind, ModuleSpec,
};
use edge_core::{Content, DeviceId, EndpointId, Identity, ModuleId, Priority};
use edge_hub::{
    Hub, HubConfig, MethodError, MethodResponse, Observer, Section, SendRefusal, Sender, Side,
    Snapshot, SystemClock, TwinError,
};
use edge_route::{Mode, Route, RouteEndpoint, RouteEntry, RouteTable};
use edge_store::{Commit, CommitError, DeadLetter, MemoryLog, QueueStatus};
use edge_wasm::cache::{CacheError, CompileCache};
use edge_wasm::{
    Allocation, CompileObserver, Compiler, LoadError, LogSink, Prepared, RuntimeConfig, Service,
    Source, WasmModule, WasmRuntime,
};

pub use upstream::{Take, Upstream, UpstreamError};

/// Entries that may wait in all queues before a feeder waits: enough to keep modules busy.
const FEED_AHEAD: u64 = 4_096;
/// Instances of a pool for fresh instances per message: one per worker, and those being dropped.
const POOL: u32 = 64;

/// What to run.
#[derive(Debug)]
pub struct LocalConfig {
    /// This device's name.
    pub device: DeviceId,
    /// Modules and routes.
    pub deployment: Deployment,
    /// Which routing language the routes are in.
    pub routes: Mode,
    /// What paths of components are relative to.
    pub base: PathBuf,
    /// Where compiled components are kept.
    pub cache: Option<PathBuf>,
    /// Takes what modules log.
    pub logs: Arc<dyn LogSink>,
    /// Runs what modules wait for.
    pub tokio: tokio::runtime::Handle,
}

/// Called with every dead letter; must not block.
pub type OnDeadLetter = Box<dyn Fn(&DeadLetter) + Send + Sync>;

/// Who wants to hear what. All optional.
#[derive(Default)]
pub struct Interest {
    /// Hears of compilations.
    pub compiling: Option<Box<dyn CompileObserver>>,
    /// Hears of every dead letter.
    pub dead_letter: Option<OnDeadLetter>,
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest").finish_non_exhaustive()
    }
}

/// A module of the deployment that does not run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The module.
    pub module: ModuleId,
    /// Why not.
    pub why: String,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A route is wrong.
    #[error("route {name}: line {line}, column {column}: {message}")]
    Route {
        /// Its name.
        name: String,
        /// Line in its text.
        line: u32,
        /// Column in its text.
        column: u32,
        /// What was found and what was expected.
        message: String,
    },
    /// A component cannot be a module.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The compile cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Desired properties cannot be set.
    #[error("twin of module {module}: {why}")]
    Twin {
        /// The module.
        module: ModuleId,
        /// Why.
        why: TwinError,
    },
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The message itself is refused.
    #[error(transparent)]
    Refused(#[from] SendRefusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] CommitError),
    /// It was stopped while it waited for room.
    #[error("stopped")]
    Stopped,
}

/// A running device. Stop it with [`stop`](Self::stop).
#[derive(Debug)]
pub struct LocalDevice {
    hub: Arc<Hub>,
    runtime: Arc<WasmRuntime>,
    modules: Vec<Arc<WasmModule>>,
    services: Vec<(ModuleId, Service)>,
    skipped: Vec<Skipped>,
    dead_ends: Vec<String>,
    specs: Vec<ModuleSpec>,
    base: PathBuf,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    expired: AtomicU64,
    dead: AtomicU64,
}

struct Watch {
    counts: Arc<Counts>,
    dead_letter: Option<OnDeadLetter>,
}

impl Observer for Watch {
    fn dead_lettered(&self, letter: &DeadLetter) {
        self.counts.dead.fetch_add(1, Ordering::Relaxed);
        if let Some(tell) = &self.dead_letter {
            tell(letter);
        }
    }

    fn expired(&self, _: &EndpointId, count: usize) {
        self.counts
            .expired
            .fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl LocalDevice {
    /// Checks everything, then starts modules in their startup order.
    ///
    /// # Errors
    /// The first thing that is wrong; then nothing runs.
    pub fn start(config: LocalConfig, interest: Interest) -> Result<Self, StartError> {
        let counts = Arc::new(Counts::default());
        let watch = Watch {
            counts: counts.clone(),
            dead_letter: interest.dead_letter,
        };
        let hub = Hub::with(
            HubConfig::new(config.device),
            Arc::new(MemoryLog::default()),
            Arc::new(SystemClock),
            Some(Box::new(watch)),
        );
        let routes = compile(&config.deployment, config.routes)?;
        let time_to_live = config.deployment.time_to_live;

        let mut modules = config.deployment.modules;
        let fresh = |module: &ModuleSpec| match &module.kind {
            ModuleKind::Wasm(wasm) => wasm.options.mode == InstanceMode::PerMessage,
            ModuleKind::Container(_) => false,
        };
        let allocation = if modules.iter().any(fresh) {
            Allocation::Pooling {
                instances: POOL + u32::try_from(modules.len()).unwrap_or(u32::MAX / 8) * 2,
            }
        } else {
            Allocation::OnDemand
        };
        let runtime = WasmRuntime::new(
            hub.clone(),
            RuntimeConfig {
                allocation,
                workers: std::thread::available_parallelism().map_or(1, usize::from),
                cache: config
                    .cache
                    .as_deref()
                    .map(CompileCache::open)
                    .transpose()?,
                compiler: Compiler::InProcess,
                logs: config.logs,
                observer: interest.compiling,
                tokio: config.tokio,
            },
        );
        let mut device = Self {
            hub,
            runtime,
            modules: Vec::new(),
            services: Vec::new(),
            skipped: Vec::new(),
            dead_ends: Vec::new(),
            specs: Vec::new(),
            base: config.base,
            counts,
        };
        for (module, desired) in &config.deployment.desired {
            device
                .set_desired(module, desired)
                .map_err(|why| StartError::Twin {
                    module: module.clone(),
                    why,
                })?;
        }
        modules.sort_by_key(|module| module.startup_order);
        let mut ready = Vec::new();
        for spec in modules {
            match device.prepare(&spec)? {
                Ok(prepared) => {
                    ready.push(prepared);
                    device.specs.push(spec);
                }
                Err(why) => device.skipped.push(Skipped {
                    module: spec.id,
                    why,
                }),
            }
        }
        // A queue that nobody reads would be waited for in vain.
        let (routes, dead_ends): (Vec<_>, Vec<_>) =
            routes
                .into_iter()
                .partition(|entry| match entry.route.endpoint() {
                    RouteEndpoint::Upstream => true,
                    RouteEndpoint::ModuleInput { module, .. } => ready
                        .iter()
                        .any(|prepared| prepared.module() == module && prepared.handles_messages()),
                });
        device.dead_ends = dead_ends.into_iter().map(|entry| entry.name).collect();
        device.hub.set_routes(RouteTable::new(routes), time_to_live);
        for prepared in ready {
            if prepared.is_service() {
                let module = prepared.module().clone();
                device
                    .services
                    .push((module, device.runtime.start_service(prepared)));
            } else {
                device.modules.push(device.runtime.start(prepared));
            }
        }
        Ok(device)
    }

    /// A module ready to start, or why it is not for us to start.
    fn prepare(&self, spec: &ModuleSpec) -> Result<Result<Arc<Prepared>, String>, LoadError> {
        let wasm = match &spec.kind {
            ModuleKind::Wasm(wasm) => wasm,
            ModuleKind::Container(container) => {
                return Ok(Err(format!(
                    "it is a container ({}), and only Wasm components run here",
                    container.image
                )));
            }
        };
        if spec.status == DesiredStatus::Stopped {
            return Ok(Err("the deployment wants it stopped".to_owned()));
        }
        let source = match &wasm.image {
            ComponentRef::File(path) => Source::File(self.base.join(path)),
            ComponentRef::Registry(image) => {
                return Ok(Err(format!(
                    "it comes from a registry ({image}), and only components from files run here"
                )));
            }
        };
        let mut options = wasm.options.clone();
        for dir in &mut options.grants.dirs {
            dir.host = self.base.join(&dir.host);
        }
        self.runtime
            .prepare(
                spec.id.clone(),
                &source,
                wasm.digest,
                options,
                spec.env.clone(),
            )
            .map(Ok)
    }

    /// The modules that take messages, timers or calls.
    pub fn modules(&self) -> impl Iterator<Item = Arc<Prepared>> {
        self.modules.iter().map(|module| module.prepared())
    }

    /// The services, to wait for them. Whoever takes them also stops them.
    pub fn take_services(&mut self) -> Vec<(ModuleId, Service)> {
        std::mem::take(&mut self.services)
    }

    /// What the deployment names and does not run here.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Routes that lead to an input that nobody reads here: what they would take is dropped.
    pub fn dead_ends(&self) -> &[String] {
        &self.dead_ends
    }

    /// The files that modules came from, to watch them.
    pub fn component_files(&self) -> Vec<(ModuleId, PathBuf)> {
        let file = |spec: &ModuleSpec| match &spec.kind {
            ModuleKind::Wasm(wasm) => match &wasm.image {
                ComponentRef::File(path) => Some((spec.id.clone(), self.base.join(path))),
                ComponentRef::Registry(_) => None,
            },
            ModuleKind::Container(_) => None,
        };
        self.specs.iter().filter_map(file).collect()
    }

    /// Takes up a new build of a module between two messages. What it keeps in keys stays.
    ///
    /// # Errors
    /// The new build is no module; the old one goes on.
    pub fn reload(&self, module: &ModuleId) -> Result<Option<Arc<Prepared>>, LoadError> {
        let running = self
            .modules
            .iter()
            .find(|running| running.prepared().module() == module);
        let spec = self.specs.iter().find(|spec| spec.id == *module);
        let (Some(running), Some(spec)) = (running, spec) else {
            return Ok(None);
        };
        let Ok(prepared) = self.prepare(spec)? else {
            return Ok(None);
        };
        if prepared.digest() == running.prepared().digest() {
            return Ok(None);
        }
        running.swap(prepared.clone());
        Ok(Some(prepared))
    }

    /// Lets feeders put messages in queues, past the routes.
    pub fn feeders(&self) -> Feeders {
        Feeders {
            hub: self.hub.clone(),
            runtime: self.runtime.clone(),
        }
    }

    /// Hands what is routed to `$upstream` to `take`, in order, on a thread of its own.
    pub fn upstream(&self, take: Box<dyn Take>) -> std::io::Result<Upstream> {
        Upstream::start(&self.hub, take)
    }

    /// Calls a direct method of a module and waits for its answer.
    ///
    /// # Errors
    /// No answer, and why.
    pub fn invoke(
        &self,
        module: &ModuleId,
        name: &str,
        payload: &str,
        timeout: Duration,
    ) -> Result<MethodResponse, MethodError> {
        self.hub
            .methods()
            .invoke(None, &self.identity(module), name, payload, timeout)
    }

    /// Merges a patch into a module's desired properties.
    ///
    /// # Errors
    /// The patch is no twin.
    pub fn set_desired(&self, module: &ModuleId, patch: &str) -> Result<u64, TwinError> {
        self.hub.set_desired(&self.identity(module), patch)
    }

    /// What a module reports.
    ///
    /// # Errors
    /// The stored section is damaged.
    pub fn reported(&self, module: &ModuleId) -> Result<Section, TwinError> {
        self.hub.twin(&self.identity(module), Side::Reported, None)
    }

    fn identity(&self, module: &ModuleId) -> Identity {
        Identity::Module(self.hub.device().clone(), module.clone())
    }

    /// Waits until every message is handled and no call waits, or until `deadline`.
    /// Says whether it came to that.
    pub fn wait_until_quiet(&self, deadline: Option<Instant>) -> bool {
        loop {
            if !self.hub.wait_until_at_most(0, deadline) {
                return false;
            }
            if !self.modules.iter().any(|module| module.has_calls())
                && self.hub.pressure().waiting == 0
            {
                return true;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Queues and what waits in them.
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.hub.log().queues()
    }

    /// What the hub did so far.
    pub fn counters(&self) -> Snapshot {
        self.hub.counters().snapshot()
    }

    /// Messages that became dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.counts.dead.load(Ordering::Relaxed)
    }

    /// Messages that expired.
    pub fn expired(&self) -> u64 {
        self.counts.expired.load(Ordering::Relaxed)
    }

    /// Stops all modules and threads. Each module has `grace` to end the step that it is in; says
    /// which did not.
    pub fn stop(&self, grace: Duration) -> Vec<ModuleId> {
        self.services.iter().for_each(|(_, service)| service.stop());
        let until = Instant::now() + grace;
        let left = self
            .modules
            .iter()
            .filter(|module| !module.stop(until.saturating_duration_since(Instant::now())))
            .map(|module| module.prepared().module().clone())
            .collect();
        self.runtime.close();
        self.modules().for_each(|prepared| prepared.finish_log());
        left
    }
}

/// Makes feeders; may go to another thread.
#[derive(Debug, Clone)]
pub struct Feeders {
    hub: Arc<Hub>,
    runtime: Arc<WasmRuntime>,
}

impl Feeders {
    /// The feeder of an endpoint.
    pub fn of(&self, endpoint: &EndpointId) -> Feeder {
        Feeder {
            sender: self.hub.sender(Identity::Device(self.hub.device().clone())),
            queue: self.hub.queue(endpoint, Priority::DEFAULT),
            hub: self.hub.clone(),
            runtime: self.runtime.clone(),
            commit: Commit::new(),
        }
    }
}

/// Puts messages in one endpoint's queue, and waits while the device is behind.
#[derive(Debug)]
pub struct Feeder {
    hub: Arc<Hub>,
    runtime: Arc<WasmRuntime>,
    sender: Sender,
    queue: edge_store::QueueId,
    commit: Commit,
}

impl Feeder {
    /// Adds a message; waits for room, at most until `deadline`.
    ///
    /// # Errors
    /// The message was not taken.
    pub fn feed(
        &mut self,
        content: Arc<Content>,
        deadline: Option<Instant>,
    ) -> Result<(), FeedError> {
        if !self.hub.wait_until_at_most(FEED_AHEAD, deadline) {
            return Err(FeedError::Stopped);
        }
        let now = self.hub.now();
        self.sender
            .stage_for(&mut self.commit, self.queue, content, None, now)?;
        let Self {
            hub,
            runtime,
            commit,
            ..
        } = self;
        // While nothing waits, the module's turn is cheaper here than waking a worker; with a backlog
        // the workers are awake, and work beside this thread.
        let committed = match hub.pressure().waiting {
            0 => runtime.run_here(|| hub.commit(commit)),
            _ => hub.commit(commit),
        };
        if let Err(error) = committed {
            self.commit.clear();
            return Err(error.into());
        }
        Ok(())
    }
}

fn compile(deployment: &Deployment, mode: Mode) -> Result<Vec<RouteEntry>, StartError> {
    let mut entries = Vec::new();
    for spec in &deployment.routes {
        let route = Route::compile(&spec.text, mode).map_err(|diagnostics| {
            let first = diagnostics.into_iter().next();
            let (line, column, message) = first.map_or_else(
                || (1, 1, "cannot be compiled".to_owned()),
                |diagnostic| (diagnostic.line, diagnostic.column, diagnostic.message),
            );
            StartError::Route {
                name: spec.name.clone(),
                line,
                column,
                message,
            }
        })?;
        if let Some(route) = route {
            entries.push(RouteEntry {
                name: spec.name.clone(),
                route,
                priority: spec.priority,
                time_to_live: spec.time_to_live,
            });
        }
    }
    Ok(entries)
}
