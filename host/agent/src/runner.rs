//! The owner of everything that changes: hears, plans, sends out commands, tells.
//!
//! One task. Commands run in tasks of their own, at most one per module, so whatever lasts delays
//! nobody; they report back here, and nothing else changes a module's state. What is published is
//! always a state between two events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use edge_core::runtime::{
    ListError, ModuleEvent, ModuleRuntime, Run, RuntimeErrorKind, RuntimeKind, Step,
};
use edge_core::{ModuleId, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};

use crate::agent::{AgentConfig, Desired, RestartError, Wanted};
use crate::clock::{Clock, Jitter};
use crate::planner::{self, Command, Gate, Next, Trouble, cool_off};
use crate::status::AgentStatus;

mod command;
mod events;
mod meter;
mod module;
mod report;
mod shutdown;
#[cfg(test)]
mod tests;

pub(crate) use meter::Meter;

use command::Done;
use events::Events;
use module::Module;

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// A restart of a module.
    Restart(ModuleId, oneshot::Sender<Result<(), RestartError>>),
    /// The end of the agent; answers which modules did not stop.
    Shutdown(Duration, oneshot::Sender<Vec<ModuleId>>),
}

/// Owns the modules' state.
pub(crate) struct Runner {
    runtimes: BTreeMap<RuntimeKind, Registered>,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    stop_grace: Duration,
    wanted: watch::Receiver<Option<Wanted>>,
    requests: mpsc::Receiver<Request>,
    events: Arc<Events>,
    commands: JoinSet<Done>,
    /// What each running command is for; what is not in here has been given up.
    under_way: HashMap<Id, Errand>,
    modules: BTreeMap<ModuleId, Module>,
    deployment: Option<Deployment>,
    last_run: Run,
    status: watch::Sender<Arc<AgentStatus>>,
    meter: Meter,
}

struct Registered {
    runtime: Arc<dyn ModuleRuntime>,
    listing: Listing,
}

/// Whether a runtime has said which modules are there already.
enum Listing {
    /// To be asked; failed so often before, the last time then.
    Ask(Option<Trouble>),
    Asked(Option<Trouble>),
    Known,
}

enum Errand {
    List(RuntimeKind),
    Command(ModuleId),
}

/// The desired state that is being put in place, or is.
struct Deployment {
    wanted: Wanted,
    since: Timestamp,
    /// It has been settled once.
    in_place: bool,
}

impl Runner {
    pub(crate) fn new(
        runtimes: Vec<Arc<dyn ModuleRuntime>>,
        config: AgentConfig,
        wanted: watch::Receiver<Option<Wanted>>,
        requests: mpsc::Receiver<Request>,
    ) -> (Self, watch::Receiver<Arc<AgentStatus>>, Meter) {
        let events = Arc::new(Events::default());
        let register = |runtime: Arc<dyn ModuleRuntime>| {
            let events = events.clone();
            runtime.subscribe(Arc::new(move |event| events.push(event)));
            let registered = Registered {
                runtime,
                listing: Listing::Ask(None),
            };
            (registered.runtime.kind(), registered)
        };
        let runtimes = runtimes.into_iter().map(register).collect();
        let (status, published) = watch::channel(Arc::new(report::starting()));
        let meter = Meter::new(config.clock.clone());
        let runner = Self {
            runtimes,
            clock: config.clock,
            jitter: config.jitter,
            stop_grace: config.stop_grace,
            wanted,
            requests,
            events,
            commands: JoinSet::new(),
            under_way: HashMap::new(),
            modules: BTreeMap::new(),
            deployment: None,
            last_run: Run(0),
            status,
            meter: meter.clone(),
        };
        (runner, published, meter)
    }

    /// Works until it is shut down, or nobody holds a handle any more.
    pub(crate) async fn run(mut self) {
        loop {
            let wake = self.reconcile();
            self.publish();
            let now = self.clock.now();
            let sleep = wake.map(|at| self.clock.sleep(at.since(now)));
            tokio::select! {
                // What is wanted comes first: a request that follows it is about that.
                biased;
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.take_wanted(),
                    Err(_) => return drop(self.shut_down(self.stop_grace).await),
                },
                request = self.requests.recv() => match request {
                    Some(Request::Restart(module, answer)) => {
                        // Who asked may have gone away.
                        let _ = answer.send(self.restart(&module));
                    }
                    Some(Request::Shutdown(grace, answer)) => {
                        let _ = answer.send(self.shut_down(grace).await);
                        return;
                    }
                    None => return drop(self.shut_down(self.stop_grace).await),
                },
                Some(ended) = self.commands.join_next_with_id() => self.command_ended(ended),
                () = self.events.some() => self.take_events(),
                () = async { if let Some(sleep) = sleep { sleep.await } }, if wake.is_some() => {}
            }
        }
    }

    /// Takes over what is wanted.
    fn take_wanted(&mut self) {
        let Some(wanted) = self.wanted.borrow_and_update().clone() else {
            return;
        };
        if let Some(deployment) = &mut self.deployment
            && deployment.wanted.generation == wanted.generation
        {
            // Only how the last one was taken.
            deployment.wanted = wanted;
            return;
        }
        tracing::info!(generation = wanted.generation, "desired state taken");
        for module in self.modules.values_mut() {
            module.wanted_before = module.desired.take();
        }
        if let Desired::Modules(modules) = &*wanted.desired {
            for module in modules {
                let known = self.modules.entry(module.id().clone());
                known.or_default().desired = Some(Arc::new(module.clone()));
            }
        }
        let under_way = &mut self.under_way;
        for (id, module) in &mut self.modules {
            let new = module.wanted_before.is_none();
            module.wanted_changed(|task| drop(under_way.remove(&task)));
            if let Some(history) = wanted.restarts.get(id).filter(|_| new) {
                module.history = history.clone();
            }
            let expected = module.is_expected();
            self.meter.expected(id, expected);
        }
        self.deployment = Some(Deployment {
            wanted,
            since: self.clock.now(),
            in_place: false,
        });
        self.meter.deploying(Some(self.clock.elapsed()));
    }

    fn restart(&mut self, id: &ModuleId) -> Result<(), RestartError> {
        let module = self.modules.get_mut(id);
        let Some(module) = module.filter(|module| module.desired.is_some()) else {
            return Err(RestartError::Unknown(id.clone()));
        };
        if !module.is_expected() {
            return Err(RestartError::Stopped(id.clone()));
        }
        tracing::info!(module = %id, "restart asked for");
        module.restart_asked();
        Ok(())
    }

    fn take_events(&mut self) {
        let now = self.clock.now();
        for event in self.events.take() {
            let Some(module) = self.modules.get_mut(&event.module) else {
                continue;
            };
            match &event.what {
                ModuleEvent::Ended(outcome) => {
                    tracing::warn!(module = %event.module, ?outcome, "module ended");
                }
                ModuleEvent::Unhealthy { description } => {
                    tracing::warn!(module = %event.module, description, "module unhealthy");
                }
                ModuleEvent::Healthy => tracing::info!(module = %event.module, "module healthy"),
            }
            let jitter = (self.jitter)();
            if module.happened(event.run, event.what, now, jitter) {
                self.meter.healthy(&event.module, module.is_healthy());
            }
        }
    }

    /// Sends out every command that is due. Says when to look again, if nothing happens before.
    fn reconcile(&mut self) -> Option<Timestamp> {
        let now = self.clock.now();
        let wake = self.ask_runtimes(now);
        let Some(deployment) = &self.deployment else {
            return wake;
        };
        let since = deployment.since;
        loop {
            let (until, refused) = self.plan(since, now);
            if !refused {
                return [wake, until].into_iter().flatten().min();
            }
        }
    }

    /// Plans for every module, and sends out its command. Says when to look again, and whether a
    /// command was refused at once.
    fn plan(&mut self, since: Timestamp, now: Timestamp) -> (Option<Timestamp>, bool) {
        let (mut wake, mut refused) = (None, false);
        let standings: Vec<_> = self.modules.values().filter_map(Module::standing).collect();
        let ids: Vec<ModuleId> = self.modules.keys().cloned().collect();
        for id in ids {
            while let Some(module) = self.modules.get_mut(&id) {
                let unknown = |kind: RuntimeKind| {
                    let runtime = self.runtimes.get(&kind);
                    runtime.is_some_and(|runtime| !matches!(runtime.listing, Listing::Known))
                };
                if module.is_busy() || module.kinds().any(unknown) {
                    break;
                }
                let gate = module.order().map_or(Gate::Open, |order| {
                    planner::gate(order, standings.iter().copied(), since, now)
                });
                let next = planner::next(
                    module.desired.as_ref(),
                    &module.current,
                    &module.history,
                    gate,
                    now,
                );
                module.next = Some(next);
                match next {
                    Next::Do(Command::Forget) => {
                        self.modules.remove(&id);
                        self.meter.healthy(&id, false);
                        self.meter.expected(&id, false);
                    }
                    Next::Do(Command::ForgetRestarts) => module.history = Default::default(),
                    Next::Do(command) => refused |= !self.send_out(&id, command, now),
                    Next::Wait(until, _) => {
                        wake = Some(wake.map_or(until, |other: Timestamp| other.min(until)));
                        break;
                    }
                    Next::Rest => break,
                }
            }
        }
        (wake, refused)
    }

    /// Asks the runtimes that have not said yet what is there already.
    fn ask_runtimes(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake = None;
        for (kind, registered) in &mut self.runtimes {
            let Listing::Ask(trouble) = &mut registered.listing else {
                continue;
            };
            let until = trouble.as_ref().and_then(Trouble::next_try);
            if let Some(until) = until.filter(|until| now < *until) {
                wake = Some(wake.map_or(until, |other: Timestamp| other.min(until)));
                continue;
            }
            let runtime = registered.runtime.clone();
            registered.listing = Listing::Asked(trouble.take());
            let task = self
                .commands
                .spawn(async move { Done::Listed(runtime.list().await) });
            self.under_way.insert(task.id(), Errand::List(*kind));
        }
        wake
    }

    /// A runtime said what is there, or could not.
    fn listed(&mut self, kind: RuntimeKind, found: Result<Vec<ModuleId>, ListError>) {
        let Some(registered) = self.runtimes.get_mut(&kind) else {
            return;
        };
        let before = match std::mem::replace(&mut registered.listing, Listing::Known) {
            Listing::Ask(trouble) | Listing::Asked(trouble) => trouble,
            Listing::Known => None,
        };
        match found {
            Ok(found) => {
                for id in found {
                    tracing::info!(module = %id, %kind, "module found");
                    self.modules.entry(id).or_default().found(kind);
                }
            }
            Err(error) => {
                let tries = before.map_or(0, |trouble| trouble.tries) + 1;
                let trouble = Trouble {
                    step: Step::Adopt,
                    at: self.clock.now(),
                    tries,
                    kind: RuntimeErrorKind::Transient,
                    jitter: (self.jitter)(),
                    cause: error.to_string(),
                };
                tracing::warn!(%kind, %error, retry = ?cool_off(tries - 1, trouble.jitter), "modules not listed");
                registered.listing = Listing::Ask(Some(trouble));
            }
        }
    }
}
