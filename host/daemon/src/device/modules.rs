//! Modules, as the agent says they are.

use std::sync::Arc;

use edge_agent::AgentStatus;
use edge_core::ModuleId;
use edge_core::runtime::{Gate, ModuleRuntime};
use edge_moby::Moby;
use edge_wasm::{ComponentSource, WasmRuntime};

use super::Device;
use crate::api::types::{LastDesired, ModuleInfo, Modules};

/// What runs modules, for the agent.
pub(super) fn runtimes(
    runtime: &Arc<WasmRuntime>,
    containers: Option<Arc<Moby>>,
    gate: Arc<dyn Gate>,
    source: Arc<dyn ComponentSource>,
) -> Vec<Arc<dyn ModuleRuntime>> {
    let wasm = edge_wasm::WasmModuleRuntime::new(runtime.clone(), gate).with_source(source);
    let mut runtimes: Vec<Arc<dyn ModuleRuntime>> = vec![Arc::new(wasm)];
    if let Some(containers) = containers {
        runtimes.push(containers);
    }
    runtimes
}

impl Device {
    /// All modules.
    pub(crate) fn modules(&self) -> Modules {
        let status = self.agent.status();
        let status = status.borrow();
        self.modules_of(&status)
    }

    /// All modules at one moment.
    pub(crate) fn modules_of(&self, status: &AgentStatus) -> Modules {
        Modules {
            deployment: self.shown().map_or(0, |(record, _)| record.number),
            generation: status.generation,
            settled: status.settled,
            last_desired: LastDesired {
                code: status.last_desired_status.code,
                description: status.last_desired_status.description.clone(),
            },
            modules: status.modules.iter().map(ModuleInfo::from).collect(),
        }
    }

    /// Whether a module is in the deployment, or is on its way out.
    pub(crate) fn has_module(&self, module: &ModuleId) -> bool {
        self.agent.status().borrow().module(module).is_some()
    }
}
