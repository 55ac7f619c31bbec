//! From bytes to a module that can be started.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use edge_core::deployment::{Grants, WasmOptions};
use edge_core::{ByteSize, Digest, Identity, ModuleId};
use edge_hub::Hub;
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::cache::CompileCache;
use crate::compile::{Child, Compiler, Wanted};
use crate::engine::{Allocation, EPOCH, EngineKind, Engines};
use crate::host::{self, AllowedOrigins, CallMode, GrantedDir, HostState, ModuleShared};
use crate::inspect::{self, InspectError, Inspection, MissingGrant};
use crate::logs::{LogSink, ModuleLog};
use crate::scheduler::Scheduler;

/// Largest component file; the largest known guests have some 20 MB.
pub(crate) const MAX_COMPONENT: ByteSize = ByteSize(256 << 20);

/// Bytes of an allocation that is certain to go back to the system when it is freed, as glibc has it;
/// what is not used of it is never touched.
const MAPPED: usize = 33 << 20;
/// The kind of note that holds an inspection; the number changes with what an inspection finds.
const INSPECTION: &str = "inspection-1";

/// Where a component's bytes come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Bytes in memory, and what to call them in messages.
    Bytes(String, Arc<[u8]>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes(name, _) => f.write_str(name),
        }
    }
}

/// Why a component cannot be a module. One line each.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {why}; expected the file of a Wasm component")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The file is larger than a component may be.
    #[error("{path} has {size} bytes: a component has at most {MAX_COMPONENT}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The bytes are not those that were pinned.
    #[error(
        "{name} has digest {found}, expected {expected}: it was changed, or the pin is for another build"
    )]
    Digest {
        /// The component.
        name: String,
        /// What it hashes to.
        found: Digest,
        /// What was pinned.
        expected: Digest,
    },
    /// Not a component that can be a module.
    #[error("{name}: {why}")]
    NotAModule {
        /// The component.
        name: String,
        /// What it is, what was expected, what to do.
        why: InspectError,
    },
    /// It imports what nobody granted.
    #[error("{name}: {}", inspect::describe(.missing))]
    NotGranted {
        /// The component.
        name: String,
        /// What is missing.
        missing: Vec<MissingGrant>,
    },
    /// A grant that cannot be given.
    #[error("grants of module {module}: {why}")]
    Grant {
        /// The module.
        module: ModuleId,
        /// What is wrong.
        why: String,
    },
    /// A granted directory cannot be opened.
    #[error("grants of module {module}: directory {path}: {why}")]
    Directory {
        /// The module.
        module: ModuleId,
        /// The directory.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The compiler refused it.
    #[error("cannot compile {name}: {why}")]
    Compile {
        /// The component.
        name: String,
        /// Why.
        why: String,
    },
    /// The compiler's process did not get to an answer.
    #[error("cannot compile {name}: {why}")]
    Compiler {
        /// The component.
        name: String,
        /// What became of it, and what to do.
        why: String,
    },
    /// Its imports or exports have other types than this host's.
    #[error("{name} does not fit this host: {why}")]
    Link {
        /// The component.
        name: String,
        /// Why.
        why: String,
    },
    /// The machine cannot run components.
    #[error("cannot run components on this machine: {0}")]
    Engine(String),
}

impl LoadError {
    /// Whether it may pass without a change of the deployment: what is missing on the disk may come, and
    /// memory may be free again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Directory { .. } | Self::Compiler { .. } => true,
            Self::TooLarge { .. }
            | Self::Digest { .. }
            | Self::NotAModule { .. }
            | Self::NotGranted { .. }
            | Self::Grant { .. }
            | Self::Compile { .. }
            | Self::Link { .. }
            | Self::Engine(_) => false,
        }
    }
}

/// Hears of compilations, which can take seconds.
pub trait CompileObserver: Send + Sync {
    /// A component is not in the cache and is compiled now. What this returns is dropped at the end.
    fn compiling(&self, name: &str, size: ByteSize) -> Box<dyn std::any::Any + Send>;
}

/// Settings of the runtime.
pub struct RuntimeConfig {
    /// How instances get their memory.
    pub allocation: Allocation,
    /// Threads that run modules.
    pub workers: usize,
    /// Where compiled components are kept; `None`: nowhere.
    pub cache: Option<CompileCache>,
    /// Where components are compiled that are not kept there.
    pub compiler: Compiler,
    /// Takes what guests log.
    pub logs: Arc<dyn LogSink>,
    /// Hears of compilations.
    pub observer: Option<Box<dyn CompileObserver>>,
    /// Runs what guests wait for.
    pub tokio: tokio::runtime::Handle,
}

impl fmt::Debug for RuntimeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeConfig")
            .field("allocation", &self.allocation)
            .field("workers", &self.workers)
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

/// Prepares components and runs them. One per process.
pub struct WasmRuntime {
    pub(crate) hub: Arc<Hub>,
    pub(crate) scheduler: Scheduler,
    pub(crate) tokio: tokio::runtime::Handle,
    pub(crate) engines: Arc<Engines>,
    pub(crate) cache: Option<CompileCache>,
    /// Compiles in a process of its own; `None`: in this one.
    pub(crate) compiler: Option<Child>,
    logs: Arc<dyn LogSink>,
    pub(crate) observer: Option<Box<dyn CompileObserver>>,
    linked: Mutex<HashMap<Digest, Weak<Linked>>>,
    /// Held by whoever prepares a component, for others that want the same.
    preparing: Mutex<HashMap<Digest, Weak<Mutex<()>>>>,
    linkers: Mutex<Vec<(LinkerKey, Arc<Linker<HostState>>)>>,
}

impl fmt::Debug for WasmRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmRuntime")
            .field("scheduler", &self.scheduler)
            .finish_non_exhaustive()
    }
}

/// What a linker is for.
type LinkerKey = (EngineKind, CallMode);

/// A component that passed every check, linked and ready to be instantiated.
pub struct Prepared {
    shared: Arc<ModuleShared>,
    digest: Digest,
    linked: Arc<Linked>,
    deadline_ticks: u64,
    tokio: tokio::runtime::Handle,
}

/// A component with its imports resolved. Modules of the same component share it: its types and code
/// take more memory than an instance does.
struct Linked {
    inspection: Inspection,
    pre: InstancePre<HostState>,
    exports: Exports,
    mode: CallMode,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("module", &self.shared.id)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Where a component's handlers are; `None` where it has none.
#[derive(Default)]
pub(crate) struct Exports {
    pub(crate) handle: Option<ComponentExportIndex>,
    pub(crate) tick: Option<ComponentExportIndex>,
    pub(crate) desired: Option<ComponentExportIndex>,
    pub(crate) invoke: Option<ComponentExportIndex>,
    pub(crate) run: Option<ComponentExportIndex>,
}

impl Prepared {
    /// The component's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The module's name.
    pub fn module(&self) -> &ModuleId {
        &self.shared.id
    }

    /// Whether it takes messages.
    pub fn handles_messages(&self) -> bool {
        self.linked.exports.handle.is_some()
    }

    /// Whether it has timers to run: it handles them, and the deployment sets some.
    pub fn has_timers(&self) -> bool {
        self.linked.exports.tick.is_some() && !self.shared.options.timers.is_empty()
    }

    /// Whether it handles timers at all.
    pub fn handles_timers(&self) -> bool {
        self.linked.exports.tick.is_some()
    }

    /// Whether it answers methods.
    pub fn handles_methods(&self) -> bool {
        self.linked.exports.invoke.is_some()
    }

    /// Whether it calls other modules' methods.
    pub fn calls_methods(&self) -> bool {
        self.linked.inspection.imports.iter().any(|import| {
            import.name.starts_with("edge:module/methods") && !import.functions.is_empty()
        })
    }

    /// Whether it is a service: no handlers, but `wasi:cli/run`.
    pub fn is_service(&self) -> bool {
        self.linked.exports.run.is_some()
            && self.linked.exports.handle.is_none()
            && self.linked.exports.tick.is_none()
            && self.linked.exports.desired.is_none()
            && self.linked.exports.invoke.is_none()
    }

    /// Tells the sink how many lines the log's rate has cost so far, if any are not told yet. Call it
    /// at the end: a thread may hold on to the module for longer than the program lives.
    pub fn finish_log(&self) {
        self.shared.log.finish();
    }

    pub(crate) fn shared(&self) -> &Arc<ModuleShared> {
        &self.shared
    }

    pub(crate) fn pre(&self) -> &InstancePre<HostState> {
        &self.linked.pre
    }

    pub(crate) fn exports(&self) -> &Exports {
        &self.linked.exports
    }

    pub(crate) fn mode(&self) -> CallMode {
        self.linked.mode
    }

    pub(crate) fn deadline_ticks(&self) -> u64 {
        self.deadline_ticks
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.tokio
    }
}

impl WasmRuntime {
    /// Nothing runs yet; threads and engines come with the first module.
    pub fn new(hub: Arc<Hub>, config: RuntimeConfig) -> Arc<Self> {
        let engines = Arc::new(Engines::new(config.allocation));
        let ticking = engines.clone();
        Arc::new(Self {
            hub,
            scheduler: Scheduler::new(config.workers, move || ticking.tick()),
            tokio: config.tokio,
            engines,
            cache: config.cache,
            compiler: match config.compiler {
                Compiler::InProcess => None,
                Compiler::Child(program) => Some(Child::new(program)),
            },
            logs: config.logs,
            observer: config.observer,
            linked: Mutex::default(),
            preparing: Mutex::default(),
            linkers: Mutex::default(),
        })
    }

    /// Takes a component through every check, in this order: its digest against the pin, what it is,
    /// what it imports against what was granted; only then is it compiled, or taken from the cache.
    ///
    /// Blocks, for seconds where a large component must be compiled.
    ///
    /// # Errors
    /// The first check that it does not pass.
    pub fn prepare(
        &self,
        module: ModuleId,
        source: &Source,
        pin: Option<Digest>,
        options: WasmOptions,
        env: std::collections::BTreeMap<String, String>,
    ) -> Result<Arc<Prepared>, LoadError> {
        let name = source.to_string();
        let bytes = read(source)?;
        let digest = Digest(Sha256::digest(&bytes).into());
        if let Some(expected) = pin.filter(|pin| *pin != digest) {
            return Err(LoadError::Digest {
                name,
                found: digest,
                expected,
            });
        }
        // Modules of one component that come at once share it, as later ones do.
        let alone = self.alone(digest);
        let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.linked().get(&digest).and_then(Weak::upgrade);
        let inspection = match &known {
            Some(linked) => linked.inspection.clone(),
            None => self
                .inspect(&bytes, &digest)
                .map_err(|why| LoadError::NotAModule {
                    name: name.clone(),
                    why,
                })?,
        };
        inspect::check_imports(&inspection, &options.grants).map_err(|missing| {
            LoadError::NotGranted {
                name: name.clone(),
                missing,
            }
        })?;
        let shared = self.share(module, options, env)?;
        let linked = match known {
            Some(linked) => linked,
            None => self.link(source, &bytes, digest, inspection)?,
        };
        let deadline = shared.options.deadline.as_nanos();
        let ticks = deadline.div_ceil(EPOCH.as_nanos());
        Ok(Arc::new(Prepared {
            // One more, because the first tick may come at once.
            deadline_ticks: u64::try_from(ticks).unwrap_or(u64::MAX - 1) + 1,
            shared,
            digest,
            linked,
            tokio: self.tokio.clone(),
        }))
    }

    fn alone(&self, digest: Digest) -> Arc<Mutex<()>> {
        let mut all = self
            .preparing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&digest).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        all.insert(digest, Arc::downgrade(&lock));
        lock
    }

    fn linked(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Linked>>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles a component, or takes it from the cache, and resolves its imports.
    fn link(
        &self,
        source: &Source,
        bytes: &[u8],
        digest: Digest,
        inspection: Inspection,
    ) -> Result<Arc<Linked>, LoadError> {
        let misfit = |why: String| LoadError::Link {
            name: source.to_string(),
            why,
        };
        let exports = inspection.exports;
        if exports.run_async && !exports.run && !exports.any_handler() {
            return Err(misfit(
                "it is a service of WASI 0.3; services export wasi:cli/run@0.2".to_owned(),
            ));
        }
        let kind = if inspection.uses_async {
            EngineKind::Concurrent
        } else {
            EngineKind::Plain
        };
        // A service runs for as long as it likes: only a fibre can be stopped.
        let mode = if inspection.uses_async || inspection.may_block || exports.run {
            CallMode::Async
        } else {
            CallMode::Sync
        };
        let component = self.component(&Wanted {
            kind,
            source,
            bytes,
            digest,
        })?;
        let pre = self
            .linker(kind, mode)?
            .instantiate_pre(&component)
            .map_err(|error| misfit(format!("{error:#}")))?;
        let linked = Arc::new(Linked {
            inspection,
            exports: Exports::of(&component),
            pre,
            mode,
        });
        let mut known = self.linked();
        known.retain(|_, linked| linked.strong_count() > 0);
        known.insert(digest, Arc::downgrade(&linked));
        Ok(linked)
    }

    fn share(
        &self,
        module: ModuleId,
        options: WasmOptions,
        env: std::collections::BTreeMap<String, String>,
    ) -> Result<Arc<ModuleShared>, LoadError> {
        let refused = |why: String| LoadError::Grant {
            module: module.clone(),
            why,
        };
        let log = Arc::new(ModuleLog::new(
            module.clone(),
            self.logs.clone(),
            options.log_rate,
        ));
        let Grants { http, dirs, .. } = &options.grants;
        let origins = AllowedOrigins::new(module.clone(), http, log.clone()).map_err(refused)?;
        let dirs = dirs
            .iter()
            .map(|grant| {
                GrantedDir::open(grant).map_err(|why| LoadError::Directory {
                    module: module.clone(),
                    path: grant.host.clone(),
                    why,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(ModuleShared {
            identity: Identity::Module(self.hub.device().clone(), module.clone()),
            id: module,
            hub: self.hub.clone(),
            env,
            options,
            origins,
            dirs,
            log,
        }))
    }

    /// What a component is. Bytes that were looked at before, and are known by a note of ours, are not
    /// taken apart again: that would be most of a warm start.
    fn inspect(&self, bytes: &[u8], digest: &Digest) -> Result<Inspection, InspectError> {
        let known = self.cache.as_ref().and_then(|cache| {
            let note = cache.note(digest, INSPECTION).unwrap_or_else(|error| {
                tracing::warn!(%digest, %error, "compile cache not readable");
                None
            })?;
            serde_json::from_slice(&note).ok()
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let inspection = inspect::inspect(bytes)?;
        if let Some(cache) = &self.cache {
            let kept = serde_json::to_vec(&inspection)
                .map_err(|error| error.to_string())
                .and_then(|note| {
                    cache
                        .keep_note(digest, INSPECTION, &note)
                        .map_err(|error| error.to_string())
                });
            if let Err(error) = kept {
                tracing::warn!(%digest, error, "inspection not kept");
            }
        }
        Ok(inspection)
    }

    fn linker(
        &self,
        kind: EngineKind,
        mode: CallMode,
    ) -> Result<Arc<Linker<HostState>>, LoadError> {
        let mut linkers = self.linkers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, linker)) = linkers.iter().find(|(key, _)| *key == (kind, mode)) {
            return Ok(linker.clone());
        }
        let engine = self.engines.get(kind).map_err(LoadError::Engine)?;
        let mut linker = Linker::new(engine);
        host::link(&mut linker, mode)
            .and_then(|()| match kind {
                EngineKind::Plain => Ok(()),
                EngineKind::Concurrent => host::link_concurrent(&mut linker),
            })
            .map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let linker = Arc::new(linker);
        linkers.push(((kind, mode), linker.clone()));
        Ok(linker)
    }

    /// Does `work`, which brings messages, and runs the first module that it wakes for one turn on this
    /// thread: that saves waking a worker, most of a single message's time. Not for threads of an
    /// async runtime. A turn ends after a call that takes long; the rest goes to the workers.
    pub fn run_here<T>(&self, work: impl FnOnce() -> T) -> T {
        self.scheduler.run_here(work)
    }

    /// Ends the threads that run modules, and what is being compiled. Stop the modules first.
    pub fn close(&self) {
        if let Some(child) = &self.compiler {
            child.close();
        }
        self.scheduler.close();
    }

    /// Waits for a guest's timer or retry are shorter than this; a caller that waits for quiet may use
    /// it as its grain.
    pub const GRAIN: Duration = EPOCH;
}

impl Exports {
    fn of(component: &Component) -> Self {
        let find = |interface: &str, function: &str| {
            let instance = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&instance), function)
        };
        let run = (0..=12)
            .rev()
            .find_map(|minor| find(&format!("wasi:cli/run@0.2.{minor}"), "run"));
        Self {
            handle: find("edge:module/input-handler@0.1.0", "handle"),
            tick: find("edge:module/timer-handler@0.1.0", "tick"),
            desired: find("edge:module/twin-handler@0.1.0", "desired-changed"),
            invoke: find("edge:module/method-handler@0.1.0", "invoke"),
            run,
        }
    }
}

fn read(source: &Source) -> Result<Cow<'_, [u8]>, LoadError> {
    match source {
        Source::Bytes(_, bytes) => Ok(Cow::Borrowed(bytes)),
        Source::File(path) => read_file(path).map(Cow::Owned),
    }
}

/// What a component's file hashes to. Blocks.
pub(crate) fn digest(path: &Path) -> Result<Digest, LoadError> {
    Ok(Digest(Sha256::digest(read_file(path)?).into()))
}

fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |why| LoadError::Read {
        path: path.to_owned(),
        why,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::with_capacity(MAPPED);
    // One byte over the limit tells a file that is too large, also one that has no size.
    file.take(MAX_COMPONENT.0 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_COMPONENT.0 {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
            size: size.max(bytes.len() as u64),
        });
    }
    Ok(bytes)
}
