//! Restarts that outlive the daemon: a container goes on without it, and so does what is known of it.
//!
//! Kept with the number of the deployment, because a module that is wanted otherwise begins anew. A write for each
//! restart, which back-off makes rare; none of them is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use edge_agent::AgentStatus;
use edge_agent::planner::History;
use edge_core::ModuleId;
use edge_store::{Commit, MessageLog, Put, Table};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Device;

const KEY: &[u8] = b"restarts";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Restarts {
    deployment: u64,
    modules: BTreeMap<String, Counts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    restarts: u32,
    cool_offs: u32,
}

/// What is known of the modules of a deployment.
pub(super) fn of(log: &dyn MessageLog, deployment: u64) -> BTreeMap<ModuleId, History> {
    let Some(kept) = log.get(Table::Deployments, KEY) else {
        return BTreeMap::new();
    };
    let kept: Restarts = match serde_json::from_slice(&kept) {
        Ok(kept) => kept,
        Err(error) => {
            warn!(%error, "restarts before this start are not known");
            return BTreeMap::new();
        }
    };
    if kept.deployment != deployment {
        return BTreeMap::new();
    }
    let modules = kept.modules.into_iter().filter_map(|(name, counts)| {
        let history = History {
            restarts: counts.restarts,
            cool_offs: counts.cool_offs,
            ..History::default()
        };
        Some((ModuleId::new(&name).ok()?, history))
    });
    modules.collect()
}

impl Device {
    /// Takes them down as they come. Runs until it is dropped, or the agent has ended.
    pub(crate) async fn keep_restarts(self: Arc<Self>) {
        let mut agent = self.agent.status();
        let mut kept: Option<Restarts> = None;
        loop {
            let now = {
                let status = agent.borrow_and_update();
                self.restarts(&status)
            };
            if let Some(now) = now
                && kept.as_ref() != Some(&now)
                && !(kept.is_none() && now.modules.is_empty())
            {
                match self.store_restarts(&now) {
                    Ok(()) => kept = Some(now),
                    Err(error) => warn!(%error, "restarts are not kept"),
                }
            }
            if agent.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn restarts(&self, status: &AgentStatus) -> Option<Restarts> {
        let shown = self.shown();
        // Of the deployment that is coming nothing is known yet.
        let (record, generation) = shown.as_ref()?;
        if *generation != status.generation {
            return None;
        }
        let modules = status
            .modules
            .iter()
            .filter(|module| module.restart_count > 0);
        let counts = modules.map(|module| {
            let counts = Counts {
                restarts: module.restart_count,
                cool_offs: module.cool_offs,
            };
            (module.module.to_string(), counts)
        });
        Some(Restarts {
            deployment: record.number,
            modules: counts.collect(),
        })
    }

    fn store_restarts(&self, restarts: &Restarts) -> Result<(), String> {
        let text = serde_json::to_vec(restarts).map_err(|error| error.to_string())?;
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Deployments,
            key: Bytes::from_static(KEY),
            value: Some(Bytes::from(text)),
        });
        self.commit(&mut commit)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}
