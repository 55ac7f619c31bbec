//! The runtime itself: what the agent calls.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, NetworkCreateRequest};
use bollard::query_parameters::{
    ListContainersOptions, RemoveContainerOptions, StopContainerOptions,
};
use edge_core::deployment::{ContainerSpec, ModuleKind};
use edge_core::runtime::{
    Adopted, BoxFuture, DesiredModule, EventSink, Gate, GateRefusal, ListError, ModuleRuntime,
    PreparedModule, Run, RuntimeError, RuntimeKind, Step, Stopped,
};
use edge_core::{Digest, ModuleId};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::{info, warn};

use crate::body::{self, Body};
use crate::engine::{Engine, EngineError};
use crate::image::{self, Image};
use crate::options::{Options, OptionsError};
use crate::output::{self, Position};
use crate::{Host, MobyConfig, Surroundings, watch};

/// Runs containers for the agent. Dropped, it watches them no more; they go on.
pub struct Moby {
    shared: Arc<Shared>,
    watcher: OnceLock<AbortHandle>,
}

/// What calls and the watcher have in common.
pub(crate) struct Shared {
    pub(crate) config: MobyConfig,
    pub(crate) engine: Engine,
    host: Arc<dyn Host>,
    gate: Arc<dyn Gate>,
    tokio: Handle,
    pub(crate) sink: OnceLock<EventSink>,
    running: Mutex<HashMap<ModuleId, Running>>,
    /// How far the lines of each container were passed on, by its id.
    positions: Mutex<HashMap<ModuleId, (String, Position)>>,
    /// Rung when something runs.
    pub(crate) bell: Notify,
    /// Held while the network is made: engines take a second one of the same name, and then neither can be named.
    making_network: tokio::sync::Mutex<()>,
}

/// A container that runs as far as we know, and whose end is to be reported.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) container: String,
    pub(crate) run: Run,
    pub(crate) healthy: bool,
    output: JoinHandle<()>,
}

/// What a container is made from; its body is put together for each start.
#[derive(Debug)]
struct Prepared {
    image: Digest,
}

impl fmt::Debug for Moby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moby")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Drop for Moby {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
        for (_, running) in self.shared.running().drain() {
            running.output.abort();
        }
    }
}

impl Moby {
    /// Runs containers on the engine of `config`, of images that `gate` lets pass. Asks them for nothing
    /// yet.
    pub fn new(
        config: MobyConfig,
        host: Arc<dyn Host>,
        gate: Arc<dyn Gate>,
        tokio: Handle,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine: Engine::new(config.socket.clone()),
                config,
                host,
                gate,
                tokio,
                sink: OnceLock::new(),
                running: Mutex::default(),
                positions: Mutex::default(),
                bell: Notify::new(),
                making_network: tokio::sync::Mutex::default(),
            }),
            watcher: OnceLock::new(),
        }
    }
}

impl Moby {
    /// Removes an image with all its names. Says whether it is gone: it stays while a container has it, and if
    /// it came from no registry, so that nobody could fetch it again.
    ///
    /// # Errors
    /// The engine's, in words.
    pub async fn remove_image(&self, id: &Digest) -> Result<bool, String> {
        let engine = &self.shared.engine;
        image::remove(engine, id)
            .await
            .map_err(|error| error.to_string())
    }
}

impl Shared {
    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<ModuleId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of what runs.
    pub(crate) fn names(&self) -> Vec<ModuleId> {
        self.running().keys().cloned().collect()
    }

    /// From here on a container is watched, and what it writes is passed on.
    fn take_on(self: &Arc<Self>, module: &ModuleId, container: String, run: Run) {
        let output = self.read_output(module, &container);
        let running = Running {
            container,
            run,
            healthy: true,
            output,
        };
        let before = self.running().insert(module.clone(), running);
        if let Some(before) = before {
            before.output.abort();
        }
        self.bell.notify_one();
    }

    fn read_output(self: &Arc<Self>, module: &ModuleId, container: &str) -> JoinHandle<()> {
        let from = self.position(module, container);
        let (shared, module, container) = (self.clone(), module.clone(), container.to_owned());
        self.tokio.spawn(async move {
            let passed = |position: &Position| {
                let known = (container.clone(), position.clone());
                shared.positions().insert(module.clone(), known);
            };
            output::follow(
                &shared.engine,
                &*shared.host,
                &module,
                &container,
                from,
                passed,
            )
            .await;
        })
    }

    /// Reads on where the engine was away.
    pub(crate) fn read_again(self: &Arc<Self>, module: &ModuleId) {
        let mut running = self.running();
        if let Some(known) = running.get_mut(module)
            && known.output.is_finished()
        {
            known.output = self.read_output(module, &known.container);
        }
    }

    fn position(&self, module: &ModuleId, container: &str) -> Position {
        let positions = self.positions();
        let known = positions.get(module).filter(|(of, _)| of == container);
        known
            .map(|(_, position)| position.clone())
            .unwrap_or_default()
    }

    fn positions(&self) -> MutexGuard<'_, HashMap<ModuleId, (String, Position)>> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The container of a module, if there is one and it is ours.
    async fn find(&self, module: &ModuleId) -> Result<Found, EngineError> {
        if !body::is_name(module) {
            return Ok(Found::Nothing);
        }
        let docker = self.engine.docker().await?;
        let found = docker.inspect_container(module.as_str(), None).await;
        match found.map_err(|error| self.engine.error(error)) {
            Ok(found) if self.is_ours(module, &found) => Ok(Found::Ours(Box::new(found))),
            // By the beginning of its id.
            Ok(found) if found.name.as_deref() != Some(&format!("/{module}")) => Ok(Found::Nothing),
            Ok(_) => Ok(Found::Foreign),
            Err(error) if error.is_not_found() => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    fn is_ours(&self, module: &ModuleId, found: &ContainerInspectResponse) -> bool {
        label(found, body::OWNER.0) == Some(body::OWNER.1)
            && label(found, body::DEVICE) == Some(self.config.device.as_str())
            && label(found, body::MODULE) == Some(module.as_str())
    }

    fn body(&self, module: &DesiredModule, around: &Surroundings) -> Result<Body, OptionsError> {
        let (device, network) = (&self.config.device, &self.config.network);
        Body::new(device, &module.spec, container(module), around, network)
    }

    /// Whether options read, and ask for nothing that is not allowed.
    fn check(&self, container: &ContainerSpec) -> Result<(), OptionsError> {
        Options::read(&container.options)?.check(&self.config.allow)
    }

    /// Asks the gate about an image: by each digest that its registry may have it under.
    async fn admit(&self, module: &DesiredModule, image: &Image) -> Result<(), GateRefusal> {
        let mut refused = None;
        for artifact in &image.artifacts {
            match self.gate.admit(module, artifact).await {
                Ok(()) => return Ok(()),
                // What could not be found out outweighs what was.
                Err(refusal) if refusal.is_transient() => refused = Some(refusal),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Makes the network if it is missing. Says where its containers reach the host.
    async fn network(&self, name: &str) -> Result<Option<String>, EngineError> {
        let docker = self.engine.docker().await?;
        let inspect = || async {
            let found = docker.inspect_network(name, None).await;
            found.map_err(|error| self.engine.error(error))
        };
        let mut found = inspect().await;
        let absent =
            |found: &Result<_, EngineError>| matches!(found, Err(error) if error.is_not_found());
        if absent(&found) {
            let _making = self.making_network.lock().await;
            // Another container's start may have made it meanwhile.
            found = inspect().await;
            if absent(&found) {
                info!(network = name, "making the containers' network");
                let request = NetworkCreateRequest {
                    name: name.to_owned(),
                    driver: Some("bridge".to_owned()),
                    ..NetworkCreateRequest::default()
                };
                let made = docker.create_network(request).await;
                match made.map_err(|error| self.engine.error(error)) {
                    Ok(_) => {}
                    // Somebody else made it meanwhile.
                    Err(EngineError::Answer { status: 409, .. }) => {}
                    Err(error) => return Err(error),
                }
                found = inspect().await;
            }
        }
        let ranges = found?.ipam.and_then(|ipam| ipam.config);
        let mut gateways = ranges
            .into_iter()
            .flatten()
            .filter_map(|range| range.gateway);
        Ok(gateways.find(|gateway| !gateway.is_empty()))
    }

    /// Creates a container, or finds that the one that is there is just that.
    async fn container(
        &self,
        id: &ModuleId,
        body: &Body,
        image: &Digest,
    ) -> Result<String, StartError> {
        let docker = self.engine.docker().await?;
        match self.find(id).await? {
            Found::Nothing => {}
            Found::Foreign => return Err(StartError::Foreign),
            Found::Ours(found) => {
                let same = label(&found, body::BUILD) == Some(&body.build)
                    && found.image.as_deref() == Some(&image.to_string());
                match found.id {
                    Some(container) if same => return Ok(container),
                    _ => self.remove(&docker, id).await?,
                }
            }
        }
        let gateway = match &body.network {
            Some(network) => self.network(network).await?,
            None => None,
        };
        let whole = body.finish(image, gateway.as_deref())?;
        for option in &body.left_out {
            warn!(module = %id, option, "option left out: when containers start again and go is the agent's");
        }
        let (container, warnings) = self.engine.create(id.as_str(), &whole).await?;
        for warning in warnings {
            warn!(module = %id, warning, "the container engine warns");
        }
        Ok(container)
    }

    async fn remove(&self, docker: &bollard::Docker, id: &ModuleId) -> Result<(), EngineError> {
        let options = RemoveContainerOptions {
            force: true,
            ..RemoveContainerOptions::default()
        };
        let removed = docker.remove_container(id.as_str(), Some(options)).await;
        match removed.map_err(|error| self.engine.error(error)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// What bears a module's name.
enum Found {
    Nothing,
    Ours(Box<ContainerInspectResponse>),
    Foreign,
}

/// Why a container was not made.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(
        "a container of that name is there that is not this device's: remove it, or rename the module"
    )]
    Foreign,
}

impl StartError {
    fn is_refusal(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_bad_request(),
            Self::Options(_) => true,
            Self::Foreign => false,
        }
    }
}

fn label<'f>(found: &'f ContainerInspectResponse, name: &str) -> Option<&'f str> {
    let labels = found.config.as_ref()?.labels.as_ref()?;
    labels.get(name).map(String::as_str)
}

pub(crate) fn runs(found: &ContainerInspectResponse) -> bool {
    let state = found.state.as_ref();
    state.and_then(|state| state.running) == Some(true)
}

/// The agent gives this runtime containers only.
fn container(module: &DesiredModule) -> &ContainerSpec {
    match &module.spec.kind {
        ModuleKind::Container(container) => container,
        ModuleKind::Wasm(_) => unreachable!("the agent asks the runtime of a module's kind"),
    }
}

fn error(module: &ModuleId, step: Step, refused: bool, why: impl fmt::Display) -> RuntimeError {
    match refused {
        true => RuntimeError::refused(module, step, why.to_string()),
        false => RuntimeError::transient(module, step, why.to_string()),
    }
}

fn prepared(image: Digest) -> PreparedModule {
    PreparedModule {
        digest: Some(image),
        token: Arc::new(Prepared { image }),
    }
}

impl ModuleRuntime for Moby {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Container
    }

    fn subscribe(&self, sink: EventSink) {
        if self.shared.sink.set(sink).is_err() {
            return tracing::error!(
                "events of containers were subscribed to twice; the first one counts"
            );
        }
        let watcher = self.shared.tokio.spawn(watch::run(self.shared.clone()));
        // It is the first: the sink was not set before.
        let _ = self.watcher.set(watcher.abort_handle());
    }

    /// None where there is no engine's socket: a device without containers needs none.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ModuleId>, ListError>> {
        Box::pin(async move {
            let shared = &self.shared;
            if !shared.engine.is_there() {
                return Ok(Vec::new());
            }
            let failed = |error: EngineError| ListError(error.to_string());
            let labels = vec![
                format!("{}={}", body::OWNER.0, body::OWNER.1),
                format!("{}={}", body::DEVICE, shared.config.device),
            ];
            let options = ListContainersOptions {
                all: true,
                filters: Some(HashMap::from([("label".to_owned(), labels)])),
                ..ListContainersOptions::default()
            };
            let docker = shared.engine.docker().await.map_err(failed)?;
            let listed = docker.list_containers(Some(options)).await;
            let listed = listed.map_err(|error| failed(shared.engine.error(error)))?;
            let module =
                |labels: HashMap<String, String>| ModuleId::new(labels.get(body::MODULE)?).ok();
            let labels = listed.into_iter().filter_map(|container| container.labels);
            Ok(labels.filter_map(module).collect())
        })
    }

    fn adopt<'a>(
        &'a self,
        module: &'a DesiredModule,
        run: Run,
    ) -> BoxFuture<'a, Result<Adopted, RuntimeError>> {
        Box::pin(async move {
            let (id, shared) = (module.id(), &self.shared);
            let transient = |why: &dyn fmt::Display| error(id, Step::Adopt, false, why);
            let found = shared.find(id).await.map_err(|error| transient(&error))?;
            let found = match found {
                Found::Nothing | Found::Foreign => return Ok(Adopted::Absent),
                Found::Ours(found) => found,
            };
            let around = shared.host.surroundings(id);
            let around = around.map_err(|why| transient(&why))?;
            let spec = container(module);
            let body = shared
                .check(spec)
                .and_then(|()| shared.body(module, &around));
            let same = body.is_ok_and(|body| label(&found, body::BUILD) == Some(&body.build));
            let (Some(container), Some(image)) = (&found.id, &found.image) else {
                return Ok(Adopted::Other);
            };
            if !same || !runs(&found) {
                return Ok(Adopted::Other);
            }
            let image = image::of_container(&shared.engine, spec, image).await;
            let Some(image) = image.map_err(|error| transient(&error))? else {
                return Ok(Adopted::Other);
            };
            match shared.admit(module, &image).await {
                Ok(()) => {
                    info!(module = %id, container, "container goes on");
                    shared.take_on(id, container.clone(), run);
                    // It may have ended meanwhile, or be unhealthy.
                    watch::look(shared, id, watch::Seen::Always).await;
                    Ok(Adopted::Running(prepared(image.id)))
                }
                Err(refusal) if refusal.is_transient() => Err(transient(&refusal)),
                Err(refusal) => {
                    warn!(module = %id, container, %refusal, "container does not go on");
                    Ok(Adopted::Other)
                }
            }
        })
    }

    fn prepare<'a>(
        &'a self,
        module: &'a DesiredModule,
    ) -> BoxFuture<'a, Result<PreparedModule, RuntimeError>> {
        Box::pin(async move {
            let (id, shared) = (module.id(), &self.shared);
            if !body::is_name(id) {
                let why = "a container cannot have that name: two or more letters, digits, _ . and -, \
                           a letter or digit first; rename the module";
                return Err(error(id, Step::Prepare, true, why));
            }
            let spec = container(module);
            let refused = |why: OptionsError| error(id, Step::Prepare, true, why);
            shared.check(spec).map_err(refused)?;
            // What is of the wrong kind is found before anything is fetched.
            shared
                .body(module, &Surroundings::default())
                .map_err(refused)?;
            let known = shared.host.known_image(module);
            let image = match known {
                Some(known) => image::again(&shared.engine, id, spec, known).await,
                None => image::resolve(&shared.engine, id, spec).await,
            };
            let image = image.map_err(|why| {
                error(id, Step::Prepare, why.is_refusal(), edge_core::chain(&why))
            })?;
            let admitted = shared.admit(module, &image).await;
            admitted.map_err(|refusal| RuntimeError::gate(id, Step::Prepare, &refusal))?;
            if known != Some(image.known()) {
                let kept = shared.host.image_found(module, image.known()).await;
                kept.map_err(|why| {
                    let why = format!("what its image stands for is not kept: {why}");
                    error(id, Step::Prepare, false, why)
                })?;
            }
            Ok(prepared(image.id))
        })
    }

    fn start<'a>(
        &'a self,
        module: &'a DesiredModule,
        prepared: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let (id, shared) = (module.id(), &self.shared);
            let token: Arc<dyn Any + Send + Sync> = prepared.token.clone();
            let Ok(prepared) = token.downcast::<Prepared>() else {
                let why = "it was prepared by another kind of runtime";
                return Err(error(id, Step::Start, true, why));
            };
            let around = shared.host.surroundings(id);
            let around = around.map_err(|why| error(id, Step::Start, false, why))?;
            let body = shared.body(module, &around);
            let body = body.map_err(|why| error(id, Step::Start, true, why))?;
            let container = shared.container(id, &body, &prepared.image).await;
            let container =
                container.map_err(|why| error(id, Step::Start, why.is_refusal(), why))?;
            let transient = |why: EngineError| error(id, Step::Start, false, why);
            let docker = shared.engine.docker().await.map_err(transient)?;
            let started = docker.start_container(&container, None).await;
            match started.map_err(|error| shared.engine.error(error)) {
                Err(error) if !error.is_not_modified() => return Err(transient(error)),
                _ => {}
            }
            shared.take_on(id, container, run);
            // It may have ended before it was watched.
            watch::look(shared, id, watch::Seen::Always).await;
            Ok(())
        })
    }

    fn stop<'a>(
        &'a self,
        module: &'a ModuleId,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Stopped, RuntimeError>> {
        Box::pin(async move {
            let shared = &self.shared;
            // Its output is read to its end.
            shared.running().remove(module);
            let transient = |why: EngineError| error(module, Step::Stop, false, why);
            match shared.find(module).await.map_err(transient)? {
                Found::Ours(found) if runs(&found) => {}
                _ => return Ok(Stopped::Ended),
            }
            let options = StopContainerOptions {
                t: Some(grace.as_secs().try_into().unwrap_or(i32::MAX)),
                ..StopContainerOptions::default()
            };
            let docker = shared.engine.docker().await.map_err(transient)?;
            let stopped = docker.stop_container(module.as_str(), Some(options)).await;
            match stopped.map_err(|error| shared.engine.error(error)) {
                Err(error) if !error.is_not_modified() && !error.is_not_found() => {
                    return Err(transient(error));
                }
                _ => {}
            }
            match shared.find(module).await.map_err(transient)? {
                Found::Ours(found) if runs(&found) => Ok(Stopped::StillRunning),
                _ => Ok(Stopped::Ended),
            }
        })
    }

    fn remove<'a>(&'a self, module: &'a ModuleId) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let shared = &self.shared;
            let transient = |why: EngineError| error(module, Step::Remove, false, why);
            if let Found::Ours(_) = shared.find(module).await.map_err(transient)? {
                let docker = shared.engine.docker().await.map_err(transient)?;
                shared.remove(&docker, module).await.map_err(transient)?;
            }
            shared.positions().remove(module);
            Ok(())
        })
    }
}
