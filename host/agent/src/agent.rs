//! The way in: starts the agent, and says what is wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edge_core::ModuleId;
use edge_core::runtime::{DesiredModule, ModuleRuntime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Jitter, SystemClock, random_jitter};
use crate::metrics::AgentMetrics;
use crate::planner::History;
use crate::runner::{Request, Runner};
use crate::status::{AgentStatus, LastDesiredStatus};

/// Requests that wait for the agent; one more waits for room.
const REQUESTS: usize = 64;
/// A module has this long to end when it is stopped, as containers have.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Settings of the agent.
pub struct AgentConfig {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Spreads restarts.
    pub jitter: Jitter,
    /// How long a module may take to end when it is stopped for a change.
    pub stop_grace: Duration,
}

impl Default for AgentConfig {
    /// The machine's clock, random jitter, 10 s of grace.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            jitter: random_jitter(),
            stop_grace: STOP_GRACE,
        }
    }
}

impl fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("clock", &self.clock)
            .field("stop_grace", &self.stop_grace)
            .finish_non_exhaustive()
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// There is no deployment: nothing runs.
    Nothing,
    /// These modules. Of two with one name the last counts.
    Modules(Vec<DesiredModule>),
}

/// The last desired state and its number.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) generation: u64,
    pub(crate) desired: Arc<Desired>,
    /// Restarts from before this process, of modules that were wanted then as they are now.
    pub(crate) restarts: Arc<BTreeMap<ModuleId, History>>,
    /// Something else was wanted since, and not taken.
    pub(crate) refused: Option<LastDesiredStatus>,
}

/// Why a module was not restarted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// No such module in the deployment.
    #[error("no module {0} in the deployment")]
    Unknown(ModuleId),
    /// It is not to run.
    #[error("module {0} is not restarted: the deployment wants it stopped")]
    Stopped(ModuleId),
    /// The agent has been shut down.
    #[error("module {0} is not restarted: the agent has been shut down")]
    ShutDown(ModuleId),
}

/// Starts agents.
#[derive(Debug)]
pub struct Agent;

impl Agent {
    /// Starts the agent; nothing is wanted yet, and what runs already is left alone until something is.
    /// Of two runtimes of one kind the last counts. Must be called within a tokio runtime.
    pub fn start(runtimes: Vec<Arc<dyn ModuleRuntime>>, config: AgentConfig) -> AgentHandle {
        let (wanted, wanted_rx) = watch::channel(None);
        let (requests, requests_rx) = mpsc::channel(REQUESTS);
        let (runner, status, metrics) = Runner::new(runtimes, config, wanted_rx, requests_rx);
        let owner = tokio::spawn(runner.run());
        AgentHandle(Arc::new(Shared {
            wanted,
            requests,
            status,
            metrics,
            owner: Mutex::new(Some(owner)),
        }))
    }
}

/// Talks to the agent. Cheap to clone; when the last one is dropped, the agent shuts down.
#[derive(Debug, Clone)]
pub struct AgentHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wanted: watch::Sender<Option<Wanted>>,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<AgentStatus>>,
    metrics: crate::runner::Meter,
    owner: Mutex<Option<JoinHandle<()>>>,
}

impl AgentHandle {
    /// Says what is wanted, and returns at once. What was wanted before and is not in place yet is
    /// given up. Wanting the same again changes nothing. Returns the number of this desired state:
    /// it is in place when a status with this generation is settled. Without effect after a shutdown.
    pub fn set_desired(&self, desired: Desired) -> u64 {
        self.resume(desired, BTreeMap::new())
    }

    /// [`set_desired`](Self::set_desired) for what was wanted by an earlier process already: these are
    /// the restarts of its modules, which count on for those that this agent does not know yet.
    pub fn resume(&self, desired: Desired, restarts: BTreeMap<ModuleId, History>) -> u64 {
        let mut generation = 0;
        self.0.wanted.send_if_modified(|wanted| {
            match wanted {
                Some(known) if *known.desired == desired => {
                    generation = known.generation;
                    return known.refused.take().is_some();
                }
                _ => {}
            }
            generation = wanted.as_ref().map_or(0, |known| known.generation) + 1;
            *wanted = Some(Wanted {
                generation,
                desired: Arc::new(desired),
                restarts: Arc::new(restarts),
                refused: None,
            });
            true
        });
        generation
    }

    /// Says that something else was wanted and cannot be: shown as the last desired status until
    /// something is taken. What was wanted before is wanted still.
    pub fn refuse(&self, why: LastDesiredStatus) {
        self.0.wanted.send_if_modified(|wanted| match wanted {
            Some(wanted) => {
                wanted.refused = Some(why);
                true
            }
            // Nothing has been taken yet, so that is what is shown.
            None => false,
        });
    }

    /// Stops and starts a module, whatever its policy; one that cools off or was refused is tried at
    /// once. Comes back when that has begun.
    ///
    /// # Errors
    /// There is nothing to restart.
    pub async fn restart(&self, module: &ModuleId) -> Result<(), RestartError> {
        let gone = || RestartError::ShutDown(module.clone());
        let (answer, answered) = oneshot::channel();
        let request = Request::Restart(module.clone(), answer);
        self.0.requests.send(request).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Resolves when the agent has ended, by a shutdown or by a fault.
    pub async fn ended(&self) {
        self.0.requests.closed().await;
    }

    /// The agent's state, as it changes.
    pub fn status(&self) -> watch::Receiver<Arc<AgentStatus>> {
        self.0.status.clone()
    }

    /// What the agent did so far.
    pub fn metrics(&self) -> AgentMetrics {
        self.0.metrics.snapshot()
    }

    /// Ends the agent: gives up preparations, and stops the modules that would end with this process
    /// (components; containers keep running). Each has `grace` to end. Says which did not stop; none
    /// where the agent was shut down before.
    pub async fn shutdown(&self, grace: Duration) -> Vec<ModuleId> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Shutdown(grace, answer);
        let left = match self.0.requests.send(request).await {
            Ok(()) => answered.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let owner = {
            let mut owner = self.0.owner.lock().unwrap_or_else(PoisonError::into_inner);
            owner.take()
        };
        if let Some(owner) = owner
            && let Err(error) = owner.await
        {
            tracing::error!(%error, "agent ended early");
        }
        left
    }
}
