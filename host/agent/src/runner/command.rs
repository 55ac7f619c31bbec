//! Commands: sent out in tasks of their own, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use edge_core::runtime::{
    Adopted, DesiredModule, ListError, ModuleRuntime, PreparedModule, Run, RuntimeError,
    RuntimeKind, Step, Stopped,
};
use edge_core::{ModuleId, Timestamp};
use tokio::task::{Id, JoinError};

use super::meter::Count;
use super::module::{Busy, Module};
use super::{Errand, Runner};
use crate::planner::Command;

/// What a task brings back.
#[derive(Debug)]
pub(super) enum Done {
    Listed(Result<Vec<ModuleId>, ListError>),
    Command(Result<Finished, Failed>),
}

/// What a command did.
#[derive(Debug)]
pub(super) enum Finished {
    Adopted(Adopted),
    Prepared(PreparedModule),
    Started,
    Stopped,
    Removed,
}

/// Why a command did not come to its end, and how far it came.
#[derive(Debug)]
pub(super) struct Failed {
    error: RuntimeError,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    /// The module was stopped before.
    Stopped,
}

impl From<RuntimeError> for Failed {
    fn from(error: RuntimeError) -> Self {
        Self {
            error,
            progress: Progress::Nothing,
        }
    }
}

/// All that a command needs.
struct Order {
    command: Command,
    id: ModuleId,
    runtime: Arc<dyn ModuleRuntime>,
    build: Option<Arc<DesiredModule>>,
    prepared: Option<PreparedModule>,
    run: Run,
    grace: Duration,
}

impl Order {
    async fn carry_out(self) -> Result<Finished, Failed> {
        match self.command {
            Command::Adopt => {
                let found = self.runtime.adopt(self.build(Step::Adopt)?, self.run);
                Ok(Finished::Adopted(found.await?))
            }
            Command::Prepare => {
                let prepared = self.runtime.prepare(self.build(Step::Prepare)?).await?;
                Ok(Finished::Prepared(prepared))
            }
            Command::Start => {
                self.start().await?;
                Ok(Finished::Started)
            }
            Command::Restart => {
                self.stop().await?;
                self.start().await.map_err(|error| Failed {
                    error,
                    progress: Progress::Stopped,
                })?;
                Ok(Finished::Started)
            }
            Command::Replace => {
                let build = self.build(Step::Replace)?;
                let next = self.prepared(Step::Replace)?;
                self.runtime.replace(build, next, self.run).await?;
                Ok(Finished::Started)
            }
            Command::Stop => {
                self.stop().await?;
                Ok(Finished::Stopped)
            }
            // The last two are carried out where they are planned.
            Command::Remove | Command::ForgetRestarts | Command::Forget => {
                self.runtime.remove(&self.id).await?;
                Ok(Finished::Removed)
            }
        }
    }

    async fn start(&self) -> Result<(), RuntimeError> {
        let (build, prepared) = (self.build(Step::Start)?, self.prepared(Step::Start)?);
        self.runtime.start(build, prepared, self.run).await
    }

    async fn stop(&self) -> Result<(), RuntimeError> {
        match self.runtime.stop(&self.id, self.grace).await? {
            Stopped::Ended => Ok(()),
            Stopped::StillRunning => {
                let grace = edge_core::format_duration(self.grace);
                let why = format!("what it does has not ended within {grace}");
                Err(RuntimeError::transient(&self.id, Step::Stop, why))
            }
        }
    }

    fn build(&self, step: Step) -> Result<&DesiredModule, RuntimeError> {
        let missing = || RuntimeError::transient(&self.id, step, "the agent lost its build");
        self.build.as_deref().ok_or_else(missing)
    }

    fn prepared(&self, step: Step) -> Result<&PreparedModule, RuntimeError> {
        let missing = || RuntimeError::transient(&self.id, step, "the agent lost its preparation");
        self.prepared.as_ref().ok_or_else(missing)
    }
}

impl Runner {
    /// Begins a command of a module that has none under way. Says whether it has begun; if not, it is
    /// refused, which may let others go on.
    pub(super) fn send_out(&mut self, id: &ModuleId, command: Command, now: Timestamp) -> bool {
        let Some(module) = self.modules.get_mut(id) else {
            return true;
        };
        let wanted = module.desired.clone();
        let wanted_kind = wanted.as_ref().map(|m| RuntimeKind::of(&m.spec));
        let kind = match command {
            Command::Prepare | Command::Start | Command::Restart | Command::Replace => wanted_kind,
            _ => module.present_kind.or(wanted_kind),
        };
        let Some(kind) = kind else {
            return true;
        };
        let Some(registered) = self.runtimes.get(&kind) else {
            let why = format!("no {kind} runtime is set up");
            let error = RuntimeError::refused(id, step(command), why);
            tracing::error!(%error, "module not started");
            module.failed(error, now, 0);
            return false;
        };
        let begins = matches!(
            command,
            Command::Adopt | Command::Start | Command::Restart | Command::Replace
        );
        if begins {
            self.last_run = Run(self.last_run.0 + 1);
        }
        if command == Command::Restart {
            module.restarting(kind, now);
            self.meter.count(id, None, Count::Restart);
        }
        tracing::debug!(module = %id, ?command, "command begun");
        let order = Order {
            command,
            id: id.clone(),
            runtime: registered.runtime.clone(),
            build: wanted,
            prepared: module.prepared.clone(),
            run: self.last_run,
            grace: self.stop_grace,
        };
        let (build, prepared) = (order.build.clone(), order.prepared.clone());
        let task = self
            .commands
            .spawn(async move { Done::Command(order.carry_out().await) });
        self.under_way
            .insert(task.id(), Errand::Command(id.clone()));
        module.busy = Some(Busy {
            command,
            build,
            prepared,
            kind,
            run: begins.then_some(self.last_run),
            begun: self.clock.elapsed(),
            task,
        });
        true
    }

    /// A task ended: of its own, given up, or in a panic.
    pub(super) fn command_ended(&mut self, ended: Result<(Id, Done), JoinError>) {
        let task = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(errand) = self.under_way.remove(&task) else {
            return;
        };
        let panicked = |error: &JoinError| format!("the host failed: {error}");
        match errand {
            Errand::List(kind) => {
                let found = match ended {
                    Ok((_, Done::Listed(found))) => found,
                    Ok((_, Done::Command(_))) => return,
                    Err(error) => Err(ListError(panicked(&error))),
                };
                self.listed(kind, found);
            }
            Errand::Command(id) => {
                let result = match ended {
                    Ok((_, Done::Command(result))) => result,
                    Ok((_, Done::Listed(_))) => return,
                    Err(error) => {
                        let busy = self.modules.get(&id).and_then(|m| m.busy.as_ref());
                        let step = busy.map_or(Step::Prepare, |busy| step(busy.command));
                        Err(RuntimeError::transient(&id, step, panicked(&error)).into())
                    }
                };
                self.finish(&id, result);
            }
        }
    }

    fn finish(&mut self, id: &ModuleId, result: Result<Finished, Failed>) {
        let (now, jitter) = (self.clock.now(), (self.jitter)());
        let Some(module) = self.modules.get_mut(id) else {
            return;
        };
        let Some(busy) = module.busy.take() else {
            return;
        };
        let update = module.runs() || busy.command == Command::Replace;
        let version = version(module, &busy);
        let meter = &self.meter;
        meter.took(latency_name(busy.command, update), busy.begun);
        match result {
            Ok(finished) => {
                tracing::debug!(module = %id, command = ?busy.command, "command done");
                module.current.trouble = None;
                match finished {
                    Finished::Adopted(adopted) => module.adopted(&busy, adopted, now),
                    Finished::Prepared(prepared) => {
                        meter.count(id, version.as_deref(), Count::Prepare);
                        module.current.ready = busy.build.clone();
                        module.current.replaceable =
                            self.runtimes.get(&busy.kind).is_some_and(|r| {
                                let running = module.running.as_ref();
                                module.present_kind == Some(busy.kind)
                                    && running
                                        .is_some_and(|it| r.runtime.can_replace(it, &prepared))
                            });
                        module.prepared = Some(prepared);
                    }
                    Finished::Started => {
                        tracing::info!(module = %id, "module started");
                        meter.count(id, version.as_deref(), Count::Start);
                        module.started(&busy, now, jitter);
                    }
                    Finished::Stopped => {
                        tracing::info!(module = %id, "module stopped");
                        meter.count(id, version.as_deref(), Count::Stop);
                        module.stopped_as_planned();
                    }
                    Finished::Removed => module.removed(),
                }
            }
            Err(Failed { error, progress }) => {
                if error.is_transient() {
                    tracing::warn!(%error, "command failed, to be tried again");
                } else {
                    tracing::error!(%error, "command refused");
                }
                if progress == Progress::Stopped {
                    module.stopped();
                }
                module.not_started();
                if busy.command == Command::Start {
                    module.made(&busy);
                }
                let about_build = !matches!(error.step, Step::Stop | Step::Remove | Step::Adopt);
                if busy.command == Command::Replace {
                    // What cannot be replaced can be stopped and started.
                    module.current.replaceable = false;
                } else if !about_build || module.wants(busy.build.as_ref()) {
                    module.failed(error, now, jitter);
                }
            }
        }
        self.meter.healthy(id, module.is_healthy());
    }
}

/// The version of what a command was about.
fn version(module: &Module, busy: &Busy) -> Option<String> {
    let present = module.current.present.as_ref();
    let build = match busy.command {
        Command::Stop | Command::Remove => present.and_then(|present| present.build.as_ref()),
        _ => busy.build.as_ref(),
    };
    build.and_then(|build| build.spec.version.clone())
}

fn step(command: Command) -> Step {
    match command {
        Command::Adopt => Step::Adopt,
        Command::Prepare => Step::Prepare,
        Command::Start | Command::Restart => Step::Start,
        Command::Replace => Step::Replace,
        Command::Stop => Step::Stop,
        Command::Remove | Command::ForgetRestarts | Command::Forget => Step::Remove,
    }
}

/// As IoT Edge's metric calls commands. What it does in a separate `create` is part of our preparing.
fn latency_name(command: Command, update: bool) -> &'static str {
    match command {
        Command::Prepare if update => "prepareUpdate",
        Command::Prepare | Command::Adopt => "create",
        Command::Replace => "update",
        Command::Start => "start",
        Command::Restart => "restart",
        Command::Stop => "stop",
        Command::Remove | Command::ForgetRestarts | Command::Forget => "remove",
    }
}
