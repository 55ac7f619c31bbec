//! Wasm components as modules of the agent: [`ModuleRuntime`] number one.
//!
//! ```text
//!   prepare ─► Prepared ─► start ─► module with handlers   ends only when it is stopped; unhealthy while no
//!                             │                            instance of it can be made; replaced between
//!                             │                            two steps: queue, keys and timers go on
//!                             └───► service (wasi:cli/run) ends by itself, and is reported
//! ```
//!
//! Before a component is compiled its digest is compared with the pin, and the [`Gate`] is asked. Of one that is
//! in a registry, that is the digest of its manifest there, and it is fetched after that ([`ComponentSource`]).
//!
//! Nothing here outlives the process, so there is never anything to adopt. What a component knows of its
//! end is only whether it is a success: the exit code is 0 or 1.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use edge_core::deployment::{ComponentRef, ModuleKind, ModuleSpec, WasmSpec};
use edge_core::runtime::{
    Adopted, Artifact, ArtifactOrigin, BoxFuture, DesiredModule, EventSink, Gate, ListError,
    ModuleEvent, ModuleRuntime, Outcome, PreparedModule, Run, RuntimeError, RuntimeEvent,
    RuntimeKind, Step, Stopped,
};
use edge_core::{Digest, ModuleId};
use tokio::sync::{oneshot, watch};

use crate::module::{Fitness, WasmModule};
use crate::runtime::{self, LoadError, Prepared, Source, WasmRuntime};
use crate::service::{Service, ServiceEnd};

mod source;
#[cfg(test)]
mod tests;

pub use source::{ComponentSource, Fetched};

/// Runs components for the agent.
pub struct WasmModuleRuntime {
    runtime: Arc<WasmRuntime>,
    gate: Arc<dyn Gate>,
    /// Where components come from that are in registries; none: they are refused.
    source: Option<Arc<dyn ComponentSource>>,
    events: Arc<Events>,
    /// What was started and not stopped; a service that ended is among them.
    running: Mutex<HashMap<ModuleId, Running>>,
}

impl fmt::Debug for WasmModuleRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmModuleRuntime")
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Running {
    Handlers {
        module: Arc<WasmModule>,
        /// The number of its run, which changes when it is replaced.
        run: Arc<AtomicU64>,
    },
    Service(Arc<RunningService>),
}

/// A service and the task that waits for its end.
struct RunningService {
    prepared: Arc<Prepared>,
    /// Taken by the first stop.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    /// True once nothing of it runs any more.
    ended: watch::Receiver<bool>,
}

#[derive(Default)]
struct Events(OnceLock<EventSink>);

impl Events {
    fn tell(&self, module: &ModuleId, run: Run, what: ModuleEvent) {
        if let Some(sink) = self.0.get() {
            sink(RuntimeEvent {
                module: module.clone(),
                run,
                what,
            });
        }
    }
}

impl WasmModuleRuntime {
    /// Runs modules on `runtime`, which stays open: close it when the modules are stopped. `gate` says
    /// what may run.
    pub fn new(runtime: Arc<WasmRuntime>, gate: Arc<dyn Gate>) -> Self {
        Self {
            runtime,
            gate,
            source: None,
            events: Arc::default(),
            running: Mutex::default(),
        }
    }

    /// With components from registries.
    #[must_use]
    pub fn with_source(self, source: Arc<dyn ComponentSource>) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// What runs at present of a module; of a service also when it has ended.
    pub fn prepared(&self, module: &ModuleId) -> Option<Arc<Prepared>> {
        self.running().get(module).map(|running| match running {
            Running::Handlers { module, .. } => module.prepared(),
            Running::Service(service) => service.prepared.clone(),
        })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ModuleId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what may wait for a disk, or takes long, on a thread for that.
    async fn off_thread<T: Send + 'static>(
        &self,
        module: &ModuleId,
        step: Step,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let done = self.runtime.tokio.spawn_blocking(work).await;
        done.map_err(|error| {
            RuntimeError::transient(module, step, format!("the host failed: {error}"))
        })
    }

    /// The component of a module, which the gate has let pass, and what it hashes to.
    async fn admitted(&self, module: &DesiredModule) -> Result<(PathBuf, Digest), RuntimeError> {
        let id = module.id();
        match component(module)? {
            (wasm, Place::File(component)) => {
                let digest = match module.resolved.digest {
                    Some(digest) => digest,
                    None => {
                        let path = component.to_owned();
                        let hash =
                            self.off_thread(id, Step::Prepare, move || runtime::digest(&path));
                        hash.await?.map_err(|error| load_error(id, error))?
                    }
                };
                let origin = ArtifactOrigin::File(component.to_owned());
                self.ask(module, wasm, origin, digest).await?;
                Ok((component.to_owned(), digest))
            }
            (wasm, Place::Registry(reference)) => {
                let Some(source) = &self.source else {
                    let why = format!(
                        "it comes from a registry ({reference}), and only components from files run \
                         here: say \"file:…\""
                    );
                    return Err(RuntimeError::refused(id, Step::Prepare, why));
                };
                let manifest = source.resolve(module).await?;
                let origin = ArtifactOrigin::Registry {
                    reference: reference.to_owned(),
                };
                self.ask(module, wasm, origin, manifest).await?;
                let fetched = source.fetch(module, manifest).await?;
                Ok((fetched.file, fetched.component))
            }
        }
    }

    /// Compares a digest with the pin, and asks the gate.
    async fn ask(
        &self,
        module: &DesiredModule,
        wasm: &WasmSpec,
        origin: ArtifactOrigin,
        digest: Digest,
    ) -> Result<(), RuntimeError> {
        let id = module.id();
        let artifact = Artifact {
            origin,
            digest,
            pinned: wasm.digest,
        };
        if let Some(expected) = wasm.digest.filter(|pin| *pin != digest) {
            let error = LoadError::Digest {
                name: artifact.to_string(),
                found: digest,
                expected,
            };
            return Err(load_error(id, error));
        }
        let admitted = self.gate.admit(module, &artifact).await;
        admitted.map_err(|refusal| RuntimeError::gate(id, Step::Prepare, &refusal))
    }

    fn serve(&self, id: &ModuleId, prepared: Arc<Prepared>, run: Run) -> Running {
        let mut service: Service = self.runtime.start_service(prepared.clone());
        let (stop, mut stopping) = oneshot::channel();
        let (ended, has_ended) = watch::channel(false);
        let (events, id) = (self.events.clone(), id.clone());
        self.runtime.tokio.spawn(async move {
            let end = tokio::select! {
                end = service.ended() => Some(end),
                _ = &mut stopping => {
                    service.stop();
                    service.ended().await;
                    None
                }
            };
            // Who asked for the end may have gone away.
            let _ = ended.send(true);
            if let Some(end) = end {
                events.tell(&id, run, ModuleEvent::Ended(outcome(end)));
            }
        });
        Running::Service(Arc::new(RunningService {
            prepared,
            stop: Mutex::new(Some(stop)),
            ended: has_ended,
        }))
    }
}

fn outcome(end: ServiceEnd) -> Outcome {
    match end {
        ServiceEnd::Done => Outcome::Done,
        ServiceEnd::Failed(description) => Outcome::Failed {
            description,
            code: Some(1),
        },
    }
}

impl RunningService {
    /// Says whether it has ended.
    async fn stop(&self, grace: Duration) -> bool {
        let stop = {
            let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            stop.take()
        };
        if let Some(stop) = stop {
            // It may have ended by itself just now.
            let _ = stop.send(());
        }
        let mut ended = self.ended.clone();
        let waited = tokio::time::timeout(grace, ended.wait_for(|ended| *ended)).await;
        match waited {
            Ok(Ok(_)) => true,
            // The task that waits for it is gone: the process ends.
            Ok(Err(_)) => true,
            Err(_) => *self.ended.borrow(),
        }
    }
}

impl ModuleRuntime for WasmModuleRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Wasm
    }

    fn subscribe(&self, sink: EventSink) {
        if self.events.0.set(sink).is_err() {
            tracing::error!("events of components were subscribed to twice; the first one counts");
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ModuleId>, ListError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn adopt<'a>(
        &'a self,
        _: &'a DesiredModule,
        _: Run,
    ) -> BoxFuture<'a, Result<Adopted, RuntimeError>> {
        Box::pin(async { Ok(Adopted::Absent) })
    }

    fn prepare<'a>(
        &'a self,
        module: &'a DesiredModule,
    ) -> BoxFuture<'a, Result<PreparedModule, RuntimeError>> {
        Box::pin(async move {
            let id = module.id();
            let (component, digest) = self.admitted(module).await?;
            let (runtime, wanted) = (self.runtime.clone(), module.clone());
            let prepared = self
                .off_thread(id, Step::Prepare, move || {
                    prepare(&runtime, wanted, component, digest)
                })
                .await??;
            Ok(PreparedModule {
                digest: Some(prepared.digest()),
                token: prepared,
            })
        })
    }

    fn start<'a>(
        &'a self,
        module: &'a DesiredModule,
        prepared: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let id = module.id();
            let prepared = ours(id, Step::Start, prepared)?;
            let known = self.running().get(id).cloned();
            match known {
                // An ended service gives way to its successor.
                Some(Running::Service(service)) if *service.ended.borrow() => {}
                Some(_) => {
                    let why = "it runs already: stop it first";
                    return Err(RuntimeError::transient(id, Step::Start, why));
                }
                None => {}
            }
            let running = if prepared.is_service() {
                self.serve(id, prepared, run)
            } else {
                let number = Arc::new(AtomicU64::new(run.0));
                let (events, of, now) = (self.events.clone(), id.clone(), number.clone());
                let tell = Box::new(move |fitness| {
                    let what = match fitness {
                        Fitness::Fit => ModuleEvent::Healthy,
                        Fitness::Unfit(description) => ModuleEvent::Unhealthy { description },
                    };
                    events.tell(&of, Run(now.load(Ordering::Acquire)), what);
                });
                let runtime = self.runtime.clone();
                let start = move || runtime.start_watched(prepared, Some(tell));
                Running::Handlers {
                    module: self.off_thread(id, Step::Start, start).await?,
                    run: number,
                }
            };
            self.running().insert(id.clone(), running);
            Ok(())
        })
    }

    /// Modules with handlers can, services cannot.
    fn can_replace(&self, running: &PreparedModule, next: &PreparedModule) -> bool {
        let has_handlers = |prepared: &PreparedModule| {
            let ours = prepared.token.downcast_ref::<Prepared>();
            ours.is_some_and(|prepared| !prepared.is_service())
        };
        has_handlers(running) && has_handlers(next)
    }

    fn replace<'a>(
        &'a self,
        module: &'a DesiredModule,
        next: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let id = module.id();
            let next = ours(id, Step::Replace, next)?;
            match self.running().get(id) {
                Some(Running::Handlers {
                    module,
                    run: number,
                }) => {
                    number.store(run.0, Ordering::Release);
                    module.swap(next);
                    Ok(())
                }
                Some(Running::Service(_)) | None => {
                    let why = "no module with handlers runs that another build could replace";
                    Err(RuntimeError::transient(id, Step::Replace, why))
                }
            }
        })
    }

    fn stop<'a>(
        &'a self,
        module: &'a ModuleId,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Stopped, RuntimeError>> {
        Box::pin(async move {
            let known = self.running().get(module).cloned();
            let (ended, prepared) = match known {
                None => return Ok(Stopped::Ended),
                Some(Running::Service(service)) => {
                    (service.stop(grace).await, service.prepared.clone())
                }
                Some(Running::Handlers { module: it, .. }) => {
                    let prepared = it.prepared();
                    let stop = move || it.stop(grace);
                    (self.off_thread(module, Step::Stop, stop).await?, prepared)
                }
            };
            if !ended {
                return Ok(Stopped::StillRunning);
            }
            self.running().remove(module);
            prepared.finish_log();
            Ok(Stopped::Ended)
        })
    }

    fn remove<'a>(&'a self, _: &'a ModuleId) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Where a component is.
enum Place<'a> {
    File(&'a Path),
    /// A registry, by its reference.
    Registry(&'a str),
}

/// The component of a module, and where it is.
fn component(module: &DesiredModule) -> Result<(&WasmSpec, Place<'_>), RuntimeError> {
    let DesiredModule { spec, resolved } = module;
    let refused = |why: String| Err(RuntimeError::refused(&spec.id, Step::Prepare, why));
    let wasm = wasm(spec)?;
    match (&resolved.component, &wasm.image) {
        (Some(component), _) => Ok((wasm, Place::File(component))),
        (None, ComponentRef::File(path)) => refused(format!(
            "its component {} has not been found",
            path.display()
        )),
        (None, ComponentRef::Registry(image)) => Ok((wasm, Place::Registry(image))),
    }
}

fn wasm(spec: &ModuleSpec) -> Result<&WasmSpec, RuntimeError> {
    match &spec.kind {
        ModuleKind::Wasm(wasm) => Ok(wasm),
        ModuleKind::Container(container) => {
            let why = format!("it is a container ({})", container.image);
            Err(RuntimeError::refused(&spec.id, Step::Prepare, why))
        }
    }
}

/// Takes a component through the checks of the runtime: `digest`, which has been let pass, is the first.
/// Blocks.
fn prepare(
    runtime: &WasmRuntime,
    module: DesiredModule,
    component: PathBuf,
    digest: Digest,
) -> Result<Arc<Prepared>, RuntimeError> {
    let DesiredModule { spec, resolved } = module;
    let mut options = wasm(&spec)?.options.clone();
    for dir in &mut options.grants.dirs {
        dir.host = resolved.path(&dir.host);
    }
    let source = Source::File(component);
    let (id, env) = (spec.id.clone(), spec.env);
    let prepared = runtime.prepare(id, &source, Some(digest), options, env);
    prepared.map_err(|error| load_error(&spec.id, error))
}

fn load_error(module: &ModuleId, error: LoadError) -> RuntimeError {
    match error.is_transient() {
        true => RuntimeError::transient(module, Step::Prepare, error.to_string()),
        false => RuntimeError::refused(module, Step::Prepare, error.to_string()),
    }
}

/// What this runtime prepared.
fn ours(
    module: &ModuleId,
    step: Step,
    prepared: &PreparedModule,
) -> Result<Arc<Prepared>, RuntimeError> {
    let token: Arc<dyn Any + Send + Sync> = prepared.token.clone();
    token.downcast().map_err(|_| {
        RuntimeError::refused(module, step, "it was prepared by another kind of runtime")
    })
}
