//! Whether a new deployment works, and what becomes of one that does not.
//!
//! ```text
//!   put in force ─► trial ── every module is as it is to be, for `stable` ─────────────► good
//!                     │
//!                     ├── one can never be, or not all are within `within` ─► failed ─► the last good one
//!                     └── another deployment is put in force: its trial begins
//! ```
//!
//! Only where the deployment or the settings say so does a failed one give way; without, it is on trial until
//! it is good. What is brought back is not given up for anything else: two that fail would take turns.

use std::sync::Arc;
use std::time::Duration;

use edge_agent::{AgentStatus, DesiredState, LastDesiredStatus, ModuleStatus, RuntimeStatus};
use edge_core::Timestamp;
use edge_core::deployment::{RestartPolicy, Rollback};
use edge_manifest::ReadOptions;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::Device;
use super::apply::{ApplyError, Ready, compile};
use super::record::{self, InsteadOf, Record, Standing};
use crate::api::types::Applied;
use crate::settings::AgentSettings;

/// A deployment that is in force and has to show that it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trial {
    /// Of the deployment.
    number: u64,
    /// The agent's desired state that it made.
    generation: u64,
    /// How long all must have run.
    stable: Duration,
    /// How long it has until then; none: as long as it takes, it is not rolled back.
    within: Option<Duration>,
}

impl Trial {
    /// The trial of a record that has just been put in force; none if it has been good before.
    pub(super) fn of(
        record: &Record,
        generation: u64,
        rollback: Rollback,
        settings: &AgentSettings,
    ) -> Option<Self> {
        if record.standing == Standing::Good {
            return None;
        }
        let (wanted, within, stable) = match rollback {
            Rollback::AsDevice => (settings.rollback, None, None),
            Rollback::Never => (false, None, None),
            Rollback::Wanted { within, stable } => (true, within, stable),
        };
        let gives_way =
            wanted && record.brings_back.is_none() && record.standing == Standing::Trial;
        Some(Self {
            number: record.number,
            generation,
            stable: stable.unwrap_or(settings.rollback_stable),
            within: gives_way.then_some(within.unwrap_or(settings.rollback_within)),
        })
    }
}

/// How a trial ended.
enum Verdict {
    Good,
    Failed(String),
    Superseded,
}

impl Device {
    /// Judges every deployment that is put in force. Runs until it is dropped; sleeps while nothing changes.
    pub(crate) async fn judge_deployments(self: Arc<Self>) {
        let mut trials = self.trial.subscribe();
        loop {
            let trial = *trials.borrow_and_update();
            let Some(trial) = trial else {
                // The sender is the device's, which we hold.
                let _ = trials.changed().await;
                continue;
            };
            let verdict = tokio::select! {
                verdict = self.verdict(&trial) => verdict,
                _ = trials.changed() => Verdict::Superseded,
            };
            let done = match verdict {
                Verdict::Superseded => continue,
                Verdict::Good => self.found_good(&trial).await,
                Verdict::Failed(why) => self.found_failed(&trial, why).await,
            };
            if let Err(error) = done {
                error!(
                    deployment = trial.number,
                    error = &error as &dyn std::error::Error,
                    "how the deployment did was not taken down"
                );
            }
            self.trial.send_if_modified(|now| {
                let same = *now == Some(trial);
                if same {
                    *now = None;
                }
                same
            });
        }
    }

    async fn verdict(&self, trial: &Trial) -> Verdict {
        let begun = Instant::now();
        let end = trial.within.map(|within| begun + within);
        let mut agent = self.agent.status();
        // Since when all are well, and what their last starts were then.
        let mut well: Option<(Instant, Vec<Option<Timestamp>>)> = None;
        loop {
            let status = agent.borrow_and_update().clone();
            let current = status.generation == trial.generation;
            let bad = bad(&status);
            if current && trial.within.is_some() && bad.iter().any(is_hopeless) {
                return Verdict::Failed(troubles(&bad));
            }
            match current && bad.is_empty() {
                true => {
                    let starts: Vec<_> = status.modules.iter().map(|m| m.last_start).collect();
                    if well.as_ref().is_none_or(|(_, before)| *before != starts) {
                        well = Some((Instant::now(), starts));
                    }
                }
                false => well = None,
            }
            let stable = well.as_ref().map(|(since, _)| *since + trial.stable);
            let at = |at: Option<Instant>| async move {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = agent.changed() => if changed.is_err() {
                    // The agent has ended, and the device with it.
                    return std::future::pending().await;
                },
                () = at(stable) => return Verdict::Good,
                () = at(end) => {
                    let within = edge_core::format_duration(trial.within.unwrap_or_default());
                    let what = match bad.is_empty() {
                        true => "its modules do not keep running".to_owned(),
                        false => troubles(&bad),
                    };
                    return Verdict::Failed(format!("after {within}: {what}"));
                }
            }
        }
    }

    async fn found_good(&self, trial: &Trial) -> Result<(), ApplyError> {
        let mut current = self.current.lock().await;
        if let Some(record) = current
            .as_mut()
            .filter(|record| record.number == trial.number)
        {
            record.standing = Standing::Good;
            self.keep(record).await?;
            self.show(record);
            info!(deployment = trial.number, "deployment works");
        }
        Ok(())
    }

    async fn found_failed(self: &Arc<Self>, trial: &Trial, why: String) -> Result<(), ApplyError> {
        let mut current = self.current.lock().await;
        let Some(failed) = current
            .as_mut()
            .filter(|record| record.number == trial.number)
        else {
            return Ok(());
        };
        let why = format!("deployment {} does not work: {why}", trial.number);
        failed.standing = Standing::Failed(why.clone());
        self.keep(failed).await?;
        self.show(failed);
        let Some(good) = self.last_good(trial.number) else {
            warn!(%why, "no earlier deployment is known to work: it stays");
            return Ok(());
        };
        warn!(%why, back_to = good.number, "deployment rolled back");
        let instead_of = InsteadOf {
            number: trial.number,
            why,
        };
        self.bring_back(&mut current, good, Some(instead_of))
            .await?;
        Ok(())
    }

    /// The newest deployment before `number` that is known to work.
    fn last_good(&self, number: u64) -> Option<Record> {
        let history = record::history(&**self.hub.log());
        let mut earlier = history.into_iter().filter(|record| record.number < number);
        earlier.find(|record| record.standing == Standing::Good)
    }

    /// Puts an earlier deployment in force again: the one of that number, else the last that worked.
    ///
    /// # Errors
    /// There is none, or it cannot be put in force; nothing changed then.
    pub(crate) async fn rollback(
        self: &Arc<Self>,
        number: Option<u64>,
    ) -> Result<Applied, ApplyError> {
        let mut current = self.current.lock().await;
        let in_force = current.as_ref().map_or(0, |record| record.number);
        let record = match number {
            Some(number) => {
                let history = record::history(&**self.hub.log());
                let mut found = history.into_iter().filter(|record| record.number == number);
                found.next().ok_or_else(|| {
                    ApplyError::NoSuch(format!(
                        "deployment {number} is not kept: `edge deployments` lists those that are"
                    ))
                })?
            }
            None => self.last_good(in_force).ok_or_else(|| {
                ApplyError::NoSuch(
                    "no earlier deployment is known to work: `edge deployments` lists those that are \
                     kept, `edge rollback NUMBER` takes one of them"
                        .to_owned(),
                )
            })?,
        };
        if record.number == in_force {
            return Err(ApplyError::Request(format!(
                "deployment {in_force} is in force already"
            )));
        }
        self.bring_back(&mut current, record, None).await
    }

    async fn bring_back(
        self: &Arc<Self>,
        current: &mut Option<Record>,
        old: Record,
        instead_of: Option<InsteadOf>,
    ) -> Result<Applied, ApplyError> {
        let mode = old.mode();
        let read = edge_manifest::read(&old.manifest, &ReadOptions { routes: mode });
        let read = read.map_err(|mistakes| ApplyError::Mistakes {
            mistakes: vec![edge_manifest::render(&old.name, &mistakes)],
            name: old.name.clone(),
            version: false,
        })?;
        let ready = Ready {
            routes: compile(&read.deployment, mode),
            deployment: read.deployment,
        };
        let record = Record {
            brings_back: Some(old.number),
            instead_of,
            standing: Standing::Trial,
            twins_pending: true,
            leaving: Default::default(),
            ..old
        };
        self.take(current, record, ready, Vec::new()).await
    }
}

/// Modules that are not as they are to be.
fn bad(status: &AgentStatus) -> Vec<ModuleStatus> {
    let bad = status.modules.iter().filter(|module| !is_well(module));
    bad.cloned().collect()
}

fn is_well(module: &ModuleStatus) -> bool {
    match (module.desired, module.runtime_status) {
        (DesiredState::Running, RuntimeStatus::Running) => module.conditions.is_empty(),
        // Its work is done.
        (DesiredState::Running, RuntimeStatus::Stopped) => {
            module.exit_code == Some(0) && module.restart_policy != RestartPolicy::Always
        }
        (DesiredState::Stopped, RuntimeStatus::Stopped) => module.conditions.is_empty(),
        // It is on its way out, which says nothing of the new ones.
        (DesiredState::Absent, _) => true,
        _ => false,
    }
}

/// Whether waiting does not help.
fn is_hopeless(module: &ModuleStatus) -> bool {
    module
        .conditions
        .iter()
        .any(|condition| condition.permanent)
}

fn troubles(modules: &[ModuleStatus]) -> String {
    let lines = modules
        .iter()
        .map(|module| format!("module {}: {}", module.module, module.description));
    lines.collect::<Vec<_>>().join("; ")
}

/// How a deployment that was brought back shows as the last desired status: what was wanted failed.
pub(super) fn status(instead_of: &InsteadOf, back_to: u64) -> LastDesiredStatus {
    LastDesiredStatus {
        code: 500,
        description: format!("{}; deployment {back_to} was brought back", instead_of.why),
    }
}
