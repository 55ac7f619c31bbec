//! Counts what the runner does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edge_core::ModuleId;

use crate::clock::Clock;
use crate::metrics::{AgentMetrics, ModuleMetrics};

/// The counts; clones share them. The lock is held for one change or one copy.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    clock: Arc<dyn Clock>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    modules: BTreeMap<ModuleId, Counted>,
    latency: BTreeMap<&'static str, Duration>,
    deployment_time: Duration,
    /// When the deployment came that is being put in place.
    deploying: Option<Duration>,
}

#[derive(Debug, Default)]
struct Counted {
    so_far: ModuleMetrics,
    healthy_since: Option<Duration>,
    expected_since: Option<Duration>,
}

/// What is counted of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Start,
    Stop,
    Prepare,
    Restart,
}

impl Meter {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            counts: Arc::default(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, module: &ModuleId, version: Option<&str>, what: Count) {
        let mut counts = self.counts();
        let metrics = &mut counts.modules.entry(module.clone()).or_default().so_far;
        let by_version = match what {
            Count::Start => &mut metrics.starts,
            Count::Stop => &mut metrics.stops,
            Count::Prepare => &mut metrics.prepares,
            Count::Restart => {
                metrics.restarts += 1;
                return;
            }
        };
        *by_version
            .entry(version.unwrap_or_default().to_owned())
            .or_default() += 1;
    }

    pub(super) fn took(&self, command: &'static str, begun: Duration) {
        let span = self.clock.elapsed().saturating_sub(begun);
        self.counts().latency.insert(command, span);
    }

    /// Whether the module runs and can do its work, from now on.
    pub(super) fn healthy(&self, module: &ModuleId, healthy: bool) {
        self.change(module, |counted, now| {
            counted.healthy_since = healthy.then_some(now);
        });
    }

    /// Whether the module is wanted running, from now on.
    pub(super) fn expected(&self, module: &ModuleId, expected: bool) {
        self.change(module, |counted, now| {
            counted.expected_since = expected.then_some(now);
        });
    }

    fn change(&self, module: &ModuleId, change: impl FnOnce(&mut Counted, Duration)) {
        let now = self.clock.elapsed();
        let mut counts = self.counts();
        let counted = counts.modules.entry(module.clone()).or_default();
        counted.so_far = counted.at(now);
        counted.healthy_since = counted.healthy_since.map(|_| now);
        counted.expected_since = counted.expected_since.map(|_| now);
        change(counted, now);
    }

    /// A deployment is being put in place since then, or is in place.
    pub(super) fn deploying(&self, since: Option<Duration>) {
        let now = self.clock.elapsed();
        let mut counts = self.counts();
        if let Some(begun) = counts.deploying.take() {
            counts.deployment_time += now.saturating_sub(begun);
        }
        counts.deploying = since;
    }

    pub(crate) fn snapshot(&self) -> AgentMetrics {
        let now = self.clock.elapsed();
        let counts = self.counts();
        let modules = counts.modules.iter();
        AgentMetrics {
            modules: modules.map(|(id, m)| (id.clone(), m.at(now))).collect(),
            command_latency: counts.latency.clone(),
            deployment_time: counts.deployment_time
                + counts
                    .deploying
                    .map_or(Duration::ZERO, |begun| now.saturating_sub(begun)),
        }
    }
}

impl Counted {
    fn at(&self, now: Duration) -> ModuleMetrics {
        let mut metrics = self.so_far.clone();
        if let Some(expected) = self.expected_since {
            metrics.expected_running += now.saturating_sub(expected);
            if let Some(healthy) = self.healthy_since {
                metrics.running_correctly += now.saturating_sub(healthy.max(expected));
            }
        }
        metrics
    }
}
