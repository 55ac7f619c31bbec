//! What runs modules: the plug point between the agent and Wasm components, containers, …
//!
//! Called by the agent only. One [`ModuleRuntime`] serves all modules of its [`RuntimeKind`]; it does
//! what it is told and decides nothing: restarts, order and back-off are the agent's.
//!
//! ```text
//!            prepare              start                    ended by itself
//!   absent ──────────► prepared ────────► running(run n) ──────────────────► ended ─┐
//!                         ▲                  │  ▲   │                               │
//!                         └──── stop ────────┘  └───┘ replace (run n+1)             │
//!                         └──────────────────────────────── start (run n+1) ◄───────┘
//! ```
//!
//! Calls for one module come one after the other, save that a build is prepared while another one
//! runs; calls for different modules come at the same time. Only [`ModuleRuntime::prepare`] is ever
//! given up half-way.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::deployment::{ModuleKind, ModuleSpec};
use crate::{Digest, ModuleId};

mod error;
mod gate;
mod resolved;

pub use error::{ListError, RuntimeError, RuntimeErrorKind, Step};
pub use gate::{Artifact, ArtifactOrigin, Gate, GateRefusal, Open};
pub use resolved::{DesiredModule, Resolved};

/// A future in a box, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a [`ModuleRuntime`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuntimeKind {
    /// Wasm components.
    Wasm,
    /// Containers.
    Container,
}

impl RuntimeKind {
    /// What runs this module.
    pub fn of(spec: &ModuleSpec) -> Self {
        match spec.kind {
            ModuleKind::Wasm(_) => Self::Wasm,
            ModuleKind::Container(_) => Self::Container,
        }
    }

    /// As manifests say it in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Container => "docker",
        }
    }

    /// Whether its modules go on when this process ends, to be adopted by the next one.
    pub fn outlives_process(self) -> bool {
        match self {
            Self::Wasm => false,
            Self::Container => true,
        }
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::Container => "container",
        })
    }
}

/// Numbers the times that a module was started. The agent gives it out, ascending for each module;
/// events name it, so that one of an earlier run is not taken for one of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Run(pub u64);

/// A module that passed every check and can be started, any number of times. What the runtime
/// needs for that is inside; dropping it forgets that.
#[derive(Clone)]
pub struct PreparedModule {
    /// What its component or image hashes to.
    pub digest: Option<Digest>,
    /// The runtime's own.
    pub token: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for PreparedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedModule")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// How a module ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: exit code 0.
    Done,
    /// It failed.
    Failed {
        /// What happened; may have several lines, the first one stands for itself.
        description: String,
        /// Its exit code, if it had one.
        code: Option<i32>,
    },
}

/// Something that happened to a module without having been asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleEvent {
    /// It runs no more. The last event of its run.
    Ended(Outcome),
    /// It runs and cannot do its work.
    Unhealthy {
        /// How that shows.
        description: String,
    },
    /// It can do its work again.
    Healthy,
}

/// An event, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// The module.
    pub module: ModuleId,
    /// The run that it happened in.
    pub run: Run,
    /// What happened.
    pub what: ModuleEvent,
}

/// Takes events. Never blocks, never fails, and may be called from any thread.
pub type EventSink = Arc<dyn Fn(RuntimeEvent) + Send + Sync>;

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing of the module runs any more, and nothing that it did before comes into effect later.
    Ended,
    /// It takes nothing more on, but what it was doing has not ended within the grace.
    StillRunning,
}

/// What is there of a module that this process did not start.
#[derive(Debug, Clone)]
pub enum Adopted {
    /// Nothing.
    Absent,
    /// It runs, and was made from exactly this specification: it goes on as the run that was given.
    Running(PreparedModule),
    /// It is there, but of another specification, or it does not run: to be stopped and removed.
    Other,
}

/// Runs modules of one kind.
///
/// Every method may be called from within an async runtime: none of them blocks its thread; what
/// takes CPU time or waits for a disk does so on threads of its own.
pub trait ModuleRuntime: fmt::Debug + Send + Sync + 'static {
    /// What it runs. Constant.
    fn kind(&self) -> RuntimeKind;

    /// Says where events go. Called once, before anything else; events that come before are lost.
    fn subscribe(&self, sink: EventSink);

    /// The modules that are there already, running or not. Called when the agent starts; none where
    /// modules end with this process.
    ///
    /// # Errors
    /// That cannot be found out; the agent asks again.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ModuleId>, ListError>>;

    /// Takes over what is there of a module that [`list`](Self::list) named. Called at most once for
    /// each of these, before any other call for it. Must change nothing, whatever it finds.
    ///
    /// # Errors
    /// That cannot be found out; the agent asks again.
    fn adopt<'a>(
        &'a self,
        module: &'a DesiredModule,
        run: Run,
    ) -> BoxFuture<'a, Result<Adopted, RuntimeError>>;

    /// Makes a module ready to start: fetches it if it must, takes it through every check (digest,
    /// signature, grants), compiles it. May take minutes. Called once for each build, again after a
    /// transient error; another build of the module may run meanwhile and must not notice. Starts
    /// nothing of the module.
    ///
    /// Cancel safe: when the future is dropped, the build is not wanted any more.
    ///
    /// # Errors
    /// The first check that it does not pass (refused), or what hindered the checks (transient).
    fn prepare<'a>(
        &'a self,
        module: &'a DesiredModule,
    ) -> BoxFuture<'a, Result<PreparedModule, RuntimeError>>;

    /// Starts a module that does not run. Comes back as soon as it runs, not when it has done
    /// something; may report events of `run` before it comes back. Called for the first start and
    /// for every further one.
    ///
    /// # Errors
    /// Nothing of it runs then.
    fn start<'a>(
        &'a self,
        module: &'a DesiredModule,
        prepared: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Whether [`replace`](Self::replace) can take a module from the one build to the other while it
    /// runs. No, unless said.
    fn can_replace(&self, running: &PreparedModule, next: &PreparedModule) -> bool {
        let _ = (running, next);
        false
    }

    /// Takes a running module over to another build without stopping it, between two pieces of its
    /// work. Called instead of stop and start, and only where [`can_replace`](Self::can_replace) says
    /// so. From then on events carry the new run.
    ///
    /// # Errors
    /// The old build runs on then; or nothing runs, which an event says.
    fn replace<'a>(
        &'a self,
        module: &'a DesiredModule,
        next: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        let _ = (next, run);
        Box::pin(async move {
            Err(RuntimeError::refused(
                &module.spec.id,
                Step::Replace,
                "this kind of module is not replaced while it runs",
            ))
        })
    }

    /// Stops a module: asks it to end, and ends it after `grace` where that can be done. Reports no
    /// end of this run. A module that does not run is stopped already: that is no error. Called again
    /// after [`Stopped::StillRunning`].
    ///
    /// # Errors
    /// It may still run.
    fn stop<'a>(
        &'a self,
        module: &'a ModuleId,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Stopped, RuntimeError>>;

    /// Removes what the runtime keeps of a stopped module (a container; nothing of a component). What
    /// the hub keeps for it (queues, twin, state) is not the runtime's. No error if nothing is there.
    ///
    /// # Errors
    /// It may still be there.
    fn remove<'a>(&'a self, module: &'a ModuleId) -> BoxFuture<'a, Result<(), RuntimeError>>;
}
