//! What the agent counts, for the metrics that IoT Edge users have dashboards for.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_core::ModuleId;

/// What the agent did since it started. A copy; the names in backquotes are those of the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentMetrics {
    /// By module. Those that left the deployment stay.
    pub modules: BTreeMap<ModuleId, ModuleMetrics>,
    /// How long the last command of each kind took (`create`, `prepareUpdate`, `update`, `remove`,
    /// `start`, `stop`, `restart`): `edgeAgent_command_latency_seconds{command}`.
    pub command_latency: BTreeMap<&'static str, Duration>,
    /// Time spent with deployments that were not settled yet: `edgeAgent_deployment_time_seconds`.
    pub deployment_time: Duration,
}

/// What the agent did with a module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleMetrics {
    /// By version (empty where the deployment names none): `edgeAgent_module_start_total`.
    pub starts: BTreeMap<String, u64>,
    /// By version: `edgeAgent_module_stop_total`.
    pub stops: BTreeMap<String, u64>,
    /// By version: `edgeAgent_module_prepare_update_total`.
    pub prepares: BTreeMap<String, u64>,
    /// Starts after an end that nobody asked for.
    pub restarts: u64,
    /// Time that it ran and was healthy while it was wanted running:
    /// `edgeAgent_total_time_running_correctly_seconds`.
    pub running_correctly: Duration,
    /// Time that it was wanted running: `edgeAgent_total_time_expected_running_seconds`.
    pub expected_running: Duration,
}
