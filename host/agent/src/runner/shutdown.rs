//! The end of the agent.

use std::time::Duration;

use edge_core::ModuleId;
use edge_core::runtime::Stopped;
use tokio::task::JoinSet;

use super::{Errand, Runner};
use crate::planner::Command;

impl Runner {
    /// Gives up preparations, lets other commands end, and stops what would end with this process, all
    /// within about `grace`. Says which modules did not stop.
    pub(super) async fn shut_down(&mut self, grace: Duration) -> Vec<ModuleId> {
        tracing::info!("agent shuts down");
        let begun = self.clock.elapsed();
        self.give_up_preparations();
        let deadline = self.clock.sleep(grace);
        tokio::pin!(deadline);
        while self.under_way.values().any(is_command) {
            tokio::select! {
                Some(ended) = self.commands.join_next_with_id() => self.command_ended(ended),
                () = &mut deadline => break,
            }
        }
        let grace = grace.saturating_sub(self.clock.elapsed().saturating_sub(begun));
        let left = self.stop_all(grace).await;
        self.commands.abort_all();
        self.publish_end();
        left
    }

    fn give_up_preparations(&mut self) {
        for module in self.modules.values_mut() {
            if let Some(busy) = &module.busy
                && busy.command == Command::Prepare
            {
                busy.task.abort();
                self.under_way.remove(&busy.task.id());
                module.busy = None;
            }
        }
    }

    /// Stops modules that end with this process, all at once.
    async fn stop_all(&mut self, grace: Duration) -> Vec<ModuleId> {
        let mut stops = JoinSet::new();
        let mut left = Vec::new();
        for (id, module) in &self.modules {
            let kind = module.busy.as_ref().map(|busy| busy.kind);
            let Some(kind) = module.present_kind.or(kind) else {
                continue;
            };
            let Some(registered) = self.runtimes.get(&kind) else {
                continue;
            };
            if kind.outlives_process() || !(module.runs() || module.is_busy()) {
                continue;
            }
            let (id, runtime) = (id.clone(), registered.runtime.clone());
            left.push(id.clone());
            stops.spawn(async move {
                let stopped = runtime.stop(&id, grace).await;
                (id, stopped)
            });
        }
        // The runtimes keep to the grace; this is for one that does not.
        let deadline = self.clock.sleep(grace + Duration::from_secs(1));
        tokio::pin!(deadline);
        loop {
            let joined = tokio::select! {
                joined = stops.join_next() => joined,
                () = &mut deadline => break,
            };
            let (id, stopped) = match joined {
                None => break,
                Some(Ok(stopped)) => stopped,
                Some(Err(error)) => {
                    tracing::error!(%error, "stopping a module failed");
                    continue;
                }
            };
            match stopped {
                Ok(Stopped::Ended) => {
                    left.retain(|other| *other != id);
                    if let Some(module) = self.modules.get_mut(&id) {
                        module.busy = None;
                        module.stopped();
                    }
                    self.meter.healthy(&id, false);
                }
                Ok(Stopped::StillRunning) => {
                    tracing::warn!(module = %id, "module did not end in time");
                }
                Err(error) => tracing::error!(%error, "module not stopped"),
            }
        }
        left
    }
}

fn is_command(errand: &Errand) -> bool {
    matches!(errand, Errand::Command(_))
}
