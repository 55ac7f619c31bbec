//! A module as the runner knows it, and how events change that.

use std::sync::Arc;

use edge_core::deployment::DesiredStatus;
use edge_core::runtime::{
    Adopted, DesiredModule, ModuleEvent, Outcome, PreparedModule, Run, RuntimeError, RuntimeKind,
};
use edge_core::{Digest, Timestamp};
use tokio::task::AbortHandle;

use crate::planner::{
    Command, Current, History, Next, Pace, Present, PresentState, Standing, Trouble, standing,
};

/// A module that is wanted, or there, or both.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) desired: Option<Arc<DesiredModule>>,
    /// While a new desired state is taken: what was wanted until then.
    pub(super) wanted_before: Option<Arc<DesiredModule>>,
    pub(super) current: Current,
    pub(super) history: History,
    /// What the planner said last.
    pub(super) next: Option<Next>,
    pub(super) busy: Option<Busy>,
    /// Of `current.ready`.
    pub(super) prepared: Option<PreparedModule>,
    /// Of what is present.
    pub(super) running: Option<PreparedModule>,
    /// What runs what is present.
    pub(super) present_kind: Option<RuntimeKind>,
    pub(super) run: Run,
    /// An event of the run that is being started.
    early: Option<ModuleEvent>,
    pub(super) last_start: Option<Timestamp>,
    pub(super) last_restart: Option<Timestamp>,
    pub(super) last_exit: Option<(Timestamp, Outcome)>,
}

/// A command that is under way.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) command: Command,
    /// The build that it is about.
    pub(super) build: Option<Arc<DesiredModule>>,
    pub(super) prepared: Option<PreparedModule>,
    pub(super) kind: RuntimeKind,
    /// The run that it begins.
    pub(super) run: Option<Run>,
    pub(super) begun: std::time::Duration,
    pub(super) task: AbortHandle,
}

impl Default for Module {
    fn default() -> Self {
        Self {
            desired: None,
            wanted_before: None,
            current: Current::default(),
            history: History::default(),
            next: None,
            busy: None,
            prepared: None,
            running: None,
            present_kind: None,
            run: Run(0),
            early: None,
            last_start: None,
            last_restart: None,
            last_exit: None,
        }
    }
}

impl Module {
    pub(super) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Whether it is to run.
    pub(super) fn is_expected(&self) -> bool {
        let desired = self.desired.as_ref();
        desired.is_some_and(|module| module.spec.status == DesiredStatus::Running)
    }

    /// Whether it runs and can do its work.
    pub(super) fn is_healthy(&self) -> bool {
        let state = self.current.present.as_ref().map(|present| &present.state);
        matches!(state, Some(PresentState::Running { .. }))
    }

    pub(super) fn runs(&self) -> bool {
        let present = self.current.present.as_ref();
        present.is_some_and(|present| present.state.runs())
    }

    /// What runs it, and what shall.
    pub(super) fn kinds(&self) -> impl Iterator<Item = RuntimeKind> {
        let desired = self.desired.as_ref();
        let wanted = desired.map(|module| RuntimeKind::of(&module.spec));
        self.present_kind.into_iter().chain(wanted)
    }

    pub(super) fn order(&self) -> Option<u32> {
        self.desired.as_ref().map(|m| m.spec.startup_order)
    }

    /// Its place in the order of first starts, and how far it is.
    pub(super) fn standing(&self) -> Option<(u32, Standing)> {
        let standing = standing(self.desired.as_ref(), &self.current);
        self.order().map(|order| (order, standing))
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        let prepared = self.running.as_ref().or(self.prepared.as_ref());
        prepared.and_then(|prepared| prepared.digest)
    }

    /// Its runtime has it from before.
    pub(super) fn found(&mut self, kind: RuntimeKind) {
        self.current.present = Some(Present {
            build: None,
            state: PresentState::Found,
        });
        self.present_kind = Some(kind);
    }

    /// Something else may be wanted of it. A preparation that nobody needs is given up.
    pub(super) fn wanted_changed(&mut self, forget: impl FnOnce(tokio::task::Id)) {
        let before = self.wanted_before.take();
        if before != self.desired {
            self.history = History::default();
            self.current.trouble = None;
            self.current.restart_asked = false;
        }
        if let Some(busy) = &self.busy
            && busy.command == Command::Prepare
            && !self.wants(busy.build.as_ref())
        {
            busy.task.abort();
            forget(busy.task.id());
            self.busy = None;
        }
        if !self.wants(self.current.ready.as_ref()) {
            self.current.ready = None;
            self.prepared = None;
            self.current.replaceable = false;
        }
    }

    /// Somebody wants it started afresh, now.
    pub(super) fn restart_asked(&mut self) {
        self.history = History::default();
        self.current.trouble = None;
        match &mut self.current.present {
            Some(present) if present.state.runs() => self.current.restart_asked = true,
            Some(present) => present.state = PresentState::Stopped,
            None => {}
        }
    }

    /// An event of its runtime. Says whether it meant something.
    pub(super) fn happened(
        &mut self,
        run: Run,
        what: ModuleEvent,
        now: Timestamp,
        jitter: u16,
    ) -> bool {
        if let Some(busy) = &self.busy
            && busy.run == Some(run)
        {
            // It has its effect once the start is taken down.
            self.early = Some(what);
            return false;
        }
        if run != self.run || !self.runs() {
            return false;
        }
        let Some(present) = &mut self.current.present else {
            return false;
        };
        match what {
            ModuleEvent::Ended(outcome) => {
                self.history.jitter = jitter;
                self.last_exit = Some((now, outcome.clone()));
                present.state = PresentState::Ended { at: now, outcome };
                self.current.restart_asked = false;
            }
            ModuleEvent::Unhealthy { description } => {
                self.history.jitter = jitter;
                present.state = PresentState::Unhealthy {
                    since: now,
                    description,
                };
            }
            ModuleEvent::Healthy => {
                if matches!(present.state, PresentState::Unhealthy { .. }) {
                    present.state = PresentState::Running { since: now };
                }
            }
        }
        true
    }

    /// Takes down that a restart by policy begins.
    pub(super) fn restarting(&mut self, kind: RuntimeKind, now: Timestamp) {
        let ended = match self.current.present.as_ref().map(|present| &present.state) {
            Some(PresentState::Ended { at, .. }) => *at,
            Some(PresentState::Unhealthy { since, .. }) => *since,
            _ => now,
        };
        let pace: Pace = self.history.pace(kind, ended);
        self.history.restarted(pace, now);
        self.last_restart = Some(now);
    }

    /// It was started, or taken over to another build, by `busy`.
    pub(super) fn started(&mut self, busy: &Busy, now: Timestamp, jitter: u16) {
        self.run = busy.run.unwrap_or(self.run);
        self.running = busy.prepared.clone();
        self.present_kind = Some(busy.kind);
        self.current.present = Some(Present {
            build: busy.build.clone(),
            state: PresentState::Running { since: now },
        });
        self.current.restart_asked = false;
        self.last_start = Some(now);
        if let Some(what) = self.early.take() {
            self.happened(self.run, what, now, jitter);
        }
    }

    /// It was stopped: nothing of it runs.
    pub(super) fn stopped(&mut self) {
        self.current.restart_asked = false;
        self.early = None;
        if let Some(present) = &mut self.current.present {
            present.state = PresentState::Stopped;
        }
    }

    /// A stop that was planned has ended. Who was stopped only because it was unhealthy cools off now.
    pub(super) fn stopped_as_planned(&mut self) {
        let asked = self.current.restart_asked || !self.is_expected();
        let cools_off = match &self.current.present {
            Some(Present {
                build,
                state: PresentState::Unhealthy { since, description },
            }) if !asked && self.wants(build.as_ref()) => Some((*since, description.clone())),
            _ => None,
        };
        self.stopped();
        if let (Some((at, description)), Some(present)) = (cools_off, &mut self.current.present) {
            let outcome = Outcome::Failed {
                description,
                code: None,
            };
            self.last_exit = Some((at, outcome.clone()));
            present.state = PresentState::Ended { at, outcome };
        }
    }

    /// What is left of it is gone.
    pub(super) fn removed(&mut self) {
        self.current.present = None;
        self.running = None;
        self.present_kind = None;
    }

    /// What was found of it was looked at.
    pub(super) fn adopted(&mut self, busy: &Busy, adopted: Adopted, now: Timestamp) {
        match adopted {
            Adopted::Absent => self.removed(),
            Adopted::Other => {
                // Unknown, but no longer to be looked at: it is replaced like any other build.
                self.current.present = Some(Present {
                    build: None,
                    state: PresentState::Running { since: now },
                });
            }
            Adopted::Running(prepared) => {
                self.current.ready = busy.build.clone();
                self.prepared = Some(prepared.clone());
                self.run = busy.run.unwrap_or(self.run);
                self.running = Some(prepared);
                self.current.present = Some(Present {
                    build: busy.build.clone(),
                    state: PresentState::Running { since: now },
                });
                if let Some(what) = self.early.take() {
                    self.happened(self.run, what, now, 0);
                }
            }
        }
    }

    /// A start did not come about: what was said of it has no meaning.
    pub(super) fn not_started(&mut self) {
        self.early = None;
    }

    /// A first start failed: what its runtime made for it may be there, to be started or removed.
    pub(super) fn made(&mut self, busy: &Busy) {
        if self.current.present.is_none() {
            self.present_kind = Some(busy.kind);
            self.current.present = Some(Present {
                build: busy.build.clone(),
                state: PresentState::Stopped,
            });
        }
    }

    /// Whether this build is the wanted one.
    pub(super) fn wants(&self, build: Option<&Arc<DesiredModule>>) -> bool {
        match (build, &self.desired) {
            (Some(build), Some(wanted)) => build.same_build(wanted),
            _ => false,
        }
    }

    /// A step failed.
    pub(super) fn failed(&mut self, error: RuntimeError, now: Timestamp, jitter: u16) {
        let before = self.current.trouble.take();
        let before = before.filter(|trouble| trouble.step == error.step);
        self.current.trouble = Some(Trouble {
            step: error.step,
            at: now,
            tries: before.map_or(0, |trouble| trouble.tries).saturating_add(1),
            kind: error.kind,
            jitter,
            cause: error.why,
        });
    }
}
