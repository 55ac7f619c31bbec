//! The agent with runtimes that do what a test says.

mod changes;
mod edges;
mod fake;
mod restarts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use edge_core::deployment::{DesiredStatus, RestartPolicy};
use edge_core::runtime::{
    DesiredModule, ModuleEvent, ModuleRuntime, Outcome, Run, RuntimeErrorKind, RuntimeKind,
};

use crate::planner::History;
use crate::status::{AgentStatus, DesiredState, LastDesiredStatus, ModuleStatus, RuntimeStatus};
use crate::{Agent, AgentConfig, AgentHandle, Desired, RestartError};
use fake::{Behaviour, Fake, FakeClock, Found, build, container, failed, id, quiet, wasm};

const HOUR: Duration = Duration::from_secs(3_600);

struct Bench {
    clock: Arc<FakeClock>,
    wasm: Arc<Fake>,
    containers: Arc<Fake>,
    agent: AgentHandle,
}

impl Bench {
    /// An agent for components and containers; `prepare` sets the runtimes up before.
    async fn with(prepare: impl FnOnce(&Fake, &Fake)) -> Self {
        let clock = Arc::new(FakeClock::default());
        let wasm = Fake::new(RuntimeKind::Wasm, clock.clone());
        let containers = Fake::new(RuntimeKind::Container, clock.clone());
        prepare(&wasm, &containers);
        let agent = start(vec![wasm.clone(), containers.clone()], &clock);
        quiet().await;
        Self {
            clock,
            wasm,
            containers,
            agent,
        }
    }

    async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn want(&self, modules: impl IntoIterator<Item = DesiredModule>) -> u64 {
        let modules = modules.into_iter().collect();
        let generation = self.agent.set_desired(Desired::Modules(modules));
        quiet().await;
        generation
    }

    async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
        quiet().await;
    }

    fn status(&self) -> Arc<AgentStatus> {
        self.agent.status().borrow().clone()
    }

    fn module(&self, name: &str) -> ModuleStatus {
        self.status().module(&id(name)).unwrap().clone()
    }
}

fn start(runtimes: Vec<Arc<dyn ModuleRuntime>>, clock: &Arc<FakeClock>) -> AgentHandle {
    let config = AgentConfig {
        clock: clock.clone(),
        jitter: Box::new(|| 0),
        stop_grace: Duration::from_secs(10),
    };
    Agent::start(runtimes, config)
}

fn stopped(mut module: DesiredModule) -> DesiredModule {
    module.spec.status = DesiredStatus::Stopped;
    module
}

fn policy(mut module: DesiredModule, restart: RestartPolicy) -> DesiredModule {
    module.spec.restart = restart;
    module
}

fn order(mut module: DesiredModule, order: u32) -> DesiredModule {
    module.spec.startup_order = order;
    module
}

fn unhealthy() -> ModuleEvent {
    let description = "no answer".to_owned();
    ModuleEvent::Unhealthy { description }
}

fn slow(seconds: u64) -> Behaviour {
    Behaviour {
        prepare_takes: Duration::from_secs(seconds),
        ..Behaviour::default()
    }
}
