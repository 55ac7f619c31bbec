//! A running module: takes what is due, one step at a time, and commits it.

mod failing;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use edge_core::deployment::InstanceMode;
use edge_core::{Identity, Timestamp, limits};
use edge_hub::{
    Inbox, MethodCall, MethodError, MethodResponse, MethodTarget, Owner, Section, Side,
    TwinListener, Wake,
};
use edge_store::{DeadReason, Delivery, Lsn, Visible};

use crate::fault::Fault;
use crate::host::{CallMode, GuestFailure, GuestMessage, ModuleShared};
use crate::instance::{Called, Instance};
use crate::logs::{Level, cut};
use crate::runtime::{Prepared, WasmRuntime};
use crate::scheduler::{Outcome, Place, Scheduler, Task};
use crate::step::Step;
use failing::{Failing, PAUSE_FIRST, PAUSE_LONGEST, SPARED_AFTER};

/// Deliveries taken at once; their steps may share a commit.
const BATCH: usize = 32;
/// A module's turn ends after this long, if others wait or not.
const SLICE: Duration = Duration::from_millis(2);
/// Steps share a commit for at most this long.
const COMMIT_WITHIN: Duration = Duration::from_micros(200);
/// A commit with more keys than this is done at once: looking a key up in it takes time.
const MANY_KEYS: usize = 64;
/// And one with more bytes than this: the log's limit is looked at between commits.
const MANY_BYTES: usize = 1 << 20;
/// Wait before a commit that the log refused is tried again with its steps.
const REFUSED_BACK_OFF: Duration = Duration::from_millis(100);
/// Instances that could not be made, one after the other, before the module counts as unfit.
const UNFIT_AFTER: u32 = limits::FAILED_ATTEMPTS;
/// Calls that wait for their turn; one more is refused.
const MAX_CONTROLS: usize = 1_000;

/// A module that was started. Dropping the handle does not stop it; [`stop`](Self::stop) does.
pub struct WasmModule {
    prepared: Mutex<Arc<Prepared>>,
    scheduler: Scheduler,
    place: Place,
    /// This module as the scheduler knows it.
    me: Weak<Self>,
    controls: Mutex<VecDeque<Control>>,
    stopping: AtomicBool,
    worker: Mutex<Worker>,
}

/// Whether instances of a module can be made. Faults of single calls are not meant: they are the
/// messages' matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitness {
    /// Several in a row could not; says why the last one could not. Messages go on failing.
    Unfit(String),
    /// They can again.
    Fit,
}

/// Hears of changes of a module's fitness. Called by the thread that runs the module; must not block.
pub type OnFitness = Box<dyn Fn(Fitness) + Send + Sync>;

/// What only the one thread that runs the module touches.
struct Worker {
    on_fitness: Option<OnFitness>,
    /// Instances that could not be made since the last one that could.
    unfit: u32,
    failing: Failing,
    /// A queue waits for the end of a [`pause`](Self::pause), for all that is known.
    paused: bool,
    inbox: Inbox,
    waker: Arc<Waker>,
    visible: Visible,
    /// The newest commit of this module.
    committed: Lsn,
    instance: Option<Instance>,
    /// Here between instances, inside the instance otherwise.
    step: Option<Box<Step>>,
    deliveries: Vec<Delivery>,
    timers: Vec<Timer>,
    inputs: Vec<Arc<str>>,
}

struct Timer {
    name: Arc<str>,
    period: Duration,
    next: Instant,
    retries: u32,
}

enum Control {
    Method(MethodCall),
    Desired { patch: String, version: u64 },
    Swap(Arc<Prepared>),
}

impl fmt::Debug for WasmModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmModule")
            .field("prepared", &*self.prepared())
            .finish_non_exhaustive()
    }
}

impl WasmRuntime {
    /// Starts a module: from now on it gets its messages, timers, twin changes and methods.
    pub fn start(&self, prepared: Arc<Prepared>) -> Arc<WasmModule> {
        self.start_watched(prepared, None)
    }

    /// The same, with somebody who hears whether instances can be made.
    pub fn start_watched(
        &self,
        prepared: Arc<Prepared>,
        on_fitness: Option<OnFitness>,
    ) -> Arc<WasmModule> {
        let shared = prepared.shared().clone();
        let waker = Arc::new(Waker::default());
        let module = Arc::new_cyclic(|me: &Weak<WasmModule>| WasmModule {
            scheduler: self.scheduler.clone(),
            place: Place::default(),
            me: me.clone(),
            controls: Mutex::default(),
            stopping: AtomicBool::new(false),
            worker: Mutex::new(Worker {
                on_fitness,
                unfit: 0,
                failing: Failing::default(),
                paused: false,
                inbox: self.hub.inbox(
                    Owner::Module(shared.id.clone()),
                    waker.clone(),
                    visible(&prepared),
                ),
                waker: waker.clone(),
                visible: visible(&prepared),
                committed: Lsn::default(),
                instance: None,
                step: Some(Box::new(Step::new(
                    self.hub.sender(shared.identity.clone()),
                ))),
                deliveries: Vec::new(),
                timers: timers(&prepared, &[]),
                inputs: Vec::new(),
            }),
            prepared: Mutex::new(prepared.clone()),
        });
        module.register(&prepared);
        // What arrived before this is found by the first turn.
        let _ = waker.0.set(module.clone());
        module.wake();
        module
    }
}

/// Keeps the module alive until it is stopped, whoever else still holds it.
#[derive(Default)]
struct Waker(OnceLock<Arc<WasmModule>>);

impl Wake for Waker {
    fn wake(&self) {
        if let Some(module) = self.0.get() {
            module.wake();
        }
    }
}

impl WasmModule {
    /// Hears of what this build has handlers for, and of nothing else.
    fn register(&self, prepared: &Prepared) {
        let Some(me) = self.me.upgrade() else {
            return;
        };
        let shared = prepared.shared();
        let (hub, identity) = (&shared.hub, &shared.identity);
        match prepared.handles_methods() {
            true => hub.methods().register(identity.clone(), me.clone()),
            false => self.answer_no_methods(shared),
        }
        let listener: Arc<dyn TwinListener> = me;
        hub.forget_listener(identity, &listener);
        if prepared.exports().desired.is_none() {
            return;
        }
        hub.listen_to_twin(identity, listener);
        match hub.twin(identity, Side::Desired, None) {
            Ok(section) if section.version > Section::FIRST => {
                let all = serde_json::Value::Object(section.properties).to_string();
                self.desired_changed(all, section.version, None);
            }
            Ok(_) => {}
            Err(error) => shared.log.host(Level::Error, &error.to_string()),
        }
    }

    fn answer_no_methods(&self, shared: &ModuleShared) {
        if let Some(me) = self.me.upgrade() {
            let me: Arc<dyn MethodTarget> = me;
            shared.hub.methods().unregister(&shared.identity, &me);
        }
    }

    /// What it runs at present.
    pub fn prepared(&self) -> Arc<Prepared> {
        self.prepared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Goes over to another build between two messages. State in keys stays; memory does not.
    pub fn swap(&self, prepared: Arc<Prepared>) {
        self.controls().push_back(Control::Swap(prepared));
        self.wake();
    }

    /// Whether calls wait for their turn: methods, changes of desired properties, a new build.
    pub fn has_calls(&self) -> bool {
        !self.controls().is_empty() || self.worker.try_lock().is_err()
    }

    /// Takes nothing more on, and waits at most `grace` for the step that it is in.
    /// Says whether that ended.
    pub fn stop(&self, grace: Duration) -> bool {
        self.stopping.store(true, Ordering::Release);
        let prepared = self.prepared();
        let shared = prepared.shared();
        shared.hub.detach(&Owner::Module(shared.id.clone()));
        self.answer_no_methods(shared);
        if let Some(me) = self.me.upgrade() {
            let listener: Arc<dyn TwinListener> = me;
            shared.hub.forget_listener(&shared.identity, &listener);
        }
        // Dropping a call answers it: the module stopped.
        self.controls().clear();
        let until = Instant::now() + grace;
        loop {
            if let Ok(mut worker) = self.worker.try_lock() {
                worker.instance = None;
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wake(&self) {
        if let Some(me) = self.me.upgrade() {
            self.scheduler.wake(&(me as Arc<dyn Task>));
        }
    }

    fn controls(&self) -> MutexGuard<'_, VecDeque<Control>> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MethodTarget for WasmModule {
    fn call(&self, call: MethodCall) {
        let mut controls = self.controls();
        if controls.len() >= MAX_CONTROLS {
            drop(controls);
            call.answer(Err(MethodError::Failed(
                "the module has too many calls waiting".to_owned(),
            )));
            return;
        }
        controls.push_back(Control::Method(call));
        drop(controls);
        self.wake();
    }
}

impl TwinListener for WasmModule {
    fn desired_changed(&self, patch: String, version: u64, _: Option<Lsn>) {
        self.controls()
            .push_back(Control::Desired { patch, version });
        self.wake();
    }
}

impl Task for WasmModule {
    fn place(&self) -> &Place {
        &self.place
    }

    fn may_run_here(&self) -> bool {
        self.prepared().mode() == CallMode::Sync
    }

    fn run(&self) -> Outcome {
        let mut worker = self.worker.lock().unwrap_or_else(|poisoned| {
            // Host code panicked in the middle of a turn: whatever it had begun is begun anew.
            self.worker.clear_poison();
            let mut worker = poisoned.into_inner();
            worker.recover(&self.prepared());
            worker
        });
        let end = Instant::now() + SLICE;
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Outcome::Idle(None);
            }
            let control = self.controls().pop_front();
            let prepared = self.prepared();
            let worked = match control {
                Some(Control::Swap(next)) => {
                    worker.drop_instance();
                    worker.timers = timers(&next, &worker.timers);
                    worker.look_at(&next);
                    if std::mem::take(&mut worker.paused) {
                        // What the build before could not do is tried by this one at once.
                        worker.inbox.rewind(Duration::ZERO, next.shared().hub.now());
                    }
                    worker.failing.worked();
                    self.register(&next);
                    *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = next;
                    Worked::Some
                }
                Some(control) => {
                    worker.control(&prepared, control);
                    Worked::Some
                }
                None => worker.messages_and_timers(&prepared, &self.stopping),
            };
            match worked {
                Worked::Nothing(again) => return Outcome::Idle(again),
                Worked::Some if Instant::now() >= end => return Outcome::More,
                Worked::Some => {}
            }
        }
    }
}

/// The timers of a build. Those that were running keep their times.
fn timers(prepared: &Prepared, running: &[Timer]) -> Vec<Timer> {
    if !prepared.handles_timers() {
        return Vec::new();
    }
    let now = Instant::now();
    let timer = |(name, period): (&String, &Duration)| {
        let known = running.iter().find(|timer| &*timer.name == name.as_str());
        Timer {
            name: name.as_str().into(),
            period: *period,
            next: known.map_or(now + *period, |timer| timer.next),
            retries: 0,
        }
    };
    prepared.shared().options.timers.iter().map(timer).collect()
}

enum Worked {
    Some,
    Nothing(Option<Instant>),
}

impl Worker {
    fn step(&mut self, prepared: &Prepared) -> &mut Step {
        current(&mut self.instance, &mut self.step, prepared)
    }

    /// Forgets a turn that was not brought to its end.
    fn recover(&mut self, prepared: &Prepared) {
        self.drop_instance();
        self.step(prepared).commit.clear();
        self.deliveries.clear();
        let now = prepared.shared().hub.now();
        self.inbox.rewind(REFUSED_BACK_OFF, now);
    }

    /// A build that has effects outside sees only what is durable.
    fn look_at(&mut self, prepared: &Prepared) {
        let visible = visible(prepared);
        if visible != self.visible {
            let shared = prepared.shared();
            let owner = Owner::Module(shared.id.clone());
            self.inbox = shared.hub.inbox(owner, self.waker.clone(), visible);
            self.visible = visible;
        }
    }

    fn drop_instance(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            self.step = instance.take_step();
        }
    }

    /// Calls into the instance, a fresh one if there is none. After a fault the instance is gone.
    fn call<T>(
        &mut self,
        prepared: &Arc<Prepared>,
        call: impl FnOnce(&mut Instance) -> Called<T>,
    ) -> Called<T> {
        if self.instance.is_none() {
            self.step(prepared); // makes sure that there is one to move
            let made = Instance::new(prepared.clone(), &mut self.step);
            self.tell_fitness(&made);
            self.instance = Some(made?);
        }
        let Some(instance) = &mut self.instance else {
            return Err(Fault {
                summary: "no instance".to_owned(),
                backtrace: String::new(),
            });
        };
        let called = call(instance);
        if called.is_err() || prepared.shared().options.mode == InstanceMode::PerMessage {
            self.drop_instance();
        }
        called
    }

    /// Counts instances that could not be made, and says when that begins to be and when it is over.
    fn tell_fitness(&mut self, made: &Called<Instance>) {
        let was_unfit = self.unfit >= UNFIT_AFTER;
        let told = match made {
            Ok(_) => {
                self.unfit = 0;
                was_unfit.then_some(Fitness::Fit)
            }
            Err(fault) => {
                self.unfit = self.unfit.saturating_add(1);
                let unfit = self.unfit == UNFIT_AFTER;
                unfit.then(|| Fitness::Unfit(format!("no instance: {}", fault.summary)))
            }
        };
        if let (Some(told), Some(tell)) = (told, &self.on_fitness) {
            tell(told);
        }
    }

    /// Commits what the steps so far have done. Says whether the log took it; if not, nothing
    /// happened, and what was taken comes again.
    fn commit(&mut self, prepared: &Prepared) -> bool {
        let shared = prepared.shared();
        let step = self.step(prepared);
        step.staged_bytes = 0;
        let error = match shared.hub.commit(&mut step.commit) {
            Ok(lsn) => {
                self.committed = lsn.unwrap_or(self.committed);
                return true;
            }
            Err(error) => error,
        };
        step.commit.clear();
        shared.log.host(
            Level::Error,
            &format!("step not stored, to be done again: {error}"),
        );
        self.inbox.rewind(REFUSED_BACK_OFF, shared.hub.now());
        false
    }

    fn messages_and_timers(&mut self, prepared: &Arc<Prepared>, stopping: &AtomicBool) -> Worked {
        let timer = self.due_timer(prepared);
        if !prepared.handles_messages() {
            return timer;
        }
        let hub = prepared.shared().hub.clone();
        let now = hub.now();
        let mut deliveries = std::mem::take(&mut self.deliveries);
        let commit = &mut current(&mut self.instance, &mut self.step, prepared).commit;
        let again = self.inbox.take(BATCH, now, &mut deliveries, commit);
        let any = !deliveries.is_empty();
        self.handle_all(prepared, &mut deliveries, now, stopping);
        deliveries.clear();
        self.deliveries = deliveries;
        // Also what merely expired is progress.
        self.commit(prepared);
        match (any, timer) {
            (false, Worked::Nothing(tick)) => {
                let again = again.map(|at| Instant::now() + at.since(now));
                Worked::Nothing([again, tick].into_iter().flatten().min())
            }
            _ => Worked::Some,
        }
    }

    fn handle_all(
        &mut self,
        prepared: &Arc<Prepared>,
        deliveries: &mut Vec<Delivery>,
        mut now: Timestamp,
        stopping: &AtomicBool,
    ) {
        let hub = prepared.shared().hub.clone();
        let mut since_commit = Instant::now();
        let (mut index, mut look_at_clock) = (0, 1);
        while index < deliveries.len() {
            let delivery = &deliveries[index];
            let (queue, hops) = (delivery.queue, delivery.message.hops);
            index += 1;
            if delivery.expiry.is_some_and(|at| at <= now) {
                let commit = &mut current(&mut self.instance, &mut self.step, prepared).commit;
                self.inbox.expired(delivery, commit);
                continue;
            }
            let input = self.input(delivery);
            self.step(prepared).begin(hops, now);
            let message =
                GuestMessage::delivered(delivery.message.clone(), input.clone(), delivery.attempts);
            let outcome = self.call(prepared, |instance| instance.handle(input.clone(), message));
            let blocked = self.settle(prepared, delivery, &input, outcome, now);
            if blocked {
                // The rest of its queue comes again, after it.
                let mut at = 0;
                deliveries.retain(|other| {
                    at += 1;
                    at <= index || other.queue != queue
                });
            }
            let step = self.step(prepared);
            let much = step.commit.puts().len() > MANY_KEYS || step.staged_bytes > MANY_BYTES;
            let mut late = false;
            if index >= look_at_clock {
                let elapsed = since_commit.elapsed();
                late = elapsed > COMMIT_WITHIN;
                // Quick handlers need not be timed one by one.
                let stride = if elapsed < COMMIT_WITHIN / 8 { 8 } else { 1 };
                look_at_clock = index + stride;
            }
            if late || much || blocked {
                if !self.commit(prepared) {
                    return;
                }
                since_commit = Instant::now();
                now = hub.now();
            }
            if late || stopping.load(Ordering::Acquire) {
                // A slow handler: what came meanwhile may have a better priority than the rest.
                self.inbox.put_back(&deliveries[index..]);
                return;
            }
        }
    }

    /// Ends a message's step. Says whether its queue is blocked until a retry.
    fn settle(
        &mut self,
        prepared: &Arc<Prepared>,
        delivery: &Delivery,
        input: &str,
        outcome: Called<Result<(), GuestFailure>>,
        now: Timestamp,
    ) -> bool {
        let log = prepared.shared().log.clone();
        if !matches!(outcome, Ok(Ok(()))) {
            self.step(prepared).undo();
        }
        if outcome.is_ok() {
            self.failing.worked();
        }
        let pause = self.pause(prepared);
        let commit = &mut current(&mut self.instance, &mut self.step, prepared).commit;
        let inbox = &mut self.inbox;
        match outcome {
            Ok(Ok(())) => {
                inbox.handled(delivery, commit);
                false
            }
            Ok(Err(GuestFailure::Retry(delay))) => {
                inbox.retry(
                    delivery,
                    delay.map(Duration::from_nanos),
                    false,
                    now,
                    commit,
                );
                true
            }
            Ok(Err(GuestFailure::Reject(why))) => {
                inbox.dead(
                    delivery,
                    DeadReason::Rejected(cut(&why, limits::DEAD_REASON).into_owned()),
                    now,
                    commit,
                );
                false
            }
            Err(fault) => {
                let failures = delivery.failures + 1;
                if failures < limits::FAILED_ATTEMPTS {
                    log.host(
                        Level::Warn,
                        &format!(
                            "message at {input} failed, attempt {failures} of {}: {}",
                            limits::FAILED_ATTEMPTS,
                            fault.summary
                        ),
                    );
                    let delay = pause.or_else(|| (failures == 1).then_some(Duration::ZERO));
                    inbox.retry(delivery, delay, true, now, commit);
                    self.paused |= pause.is_some();
                    true
                } else {
                    inbox.dead(
                        delivery,
                        DeadReason::Failed(cut(&fault.full(), limits::DEAD_REASON).into_owned()),
                        now,
                        commit,
                    );
                    if self.failing.gave_up() && self.pause(prepared).is_some() {
                        let said = format!(
                            "{SPARED_AFTER} messages in a row were given up: the next ones are tried again after \
                             {} to {} s, until one is handled",
                            PAUSE_FIRST.as_secs(),
                            PAUSE_LONGEST.as_secs()
                        );
                        log.host(Level::Warn, &said);
                    }
                    false
                }
            }
        }
    }

    /// How long to wait before a message is tried again, if the module fails at all of them: the messages are kept for
    /// a build that can, and what a fault costs is not paid without end. Not where they leave no room for others'. Nobody
    /// waits like that under `edge run`, which has no agent.
    fn pause(&self, prepared: &Prepared) -> Option<Duration> {
        let pause = self.failing.pause()?;
        self.on_fitness.as_ref()?;
        let is_full = prepared.shared().hub.pressure().is_high();
        (!is_full).then_some(pause)
    }

    /// The name of the input that a delivery is for, kept so that a call need not make it.
    fn input(&mut self, delivery: &Delivery) -> Arc<str> {
        let name = self.inbox.input(delivery);
        if let Some(known) = self.inputs.iter().find(|known| &***known == name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.inputs.push(name.clone());
        name
    }

    /// Runs the timer that is due first, if one is; else says when one will be.
    fn due_timer(&mut self, prepared: &Arc<Prepared>) -> Worked {
        let now = Instant::now();
        let Some(index) = (0..self.timers.len()).min_by_key(|index| self.timers[*index].next)
        else {
            return Worked::Nothing(None);
        };
        let (name, due) = (self.timers[index].name.clone(), self.timers[index].next);
        if due > now {
            return Worked::Nothing(Some(due));
        }
        let shared = prepared.shared().clone();
        let wall = shared.hub.now();
        let scheduled = Timestamp(
            wall.0
                .saturating_sub(u64::try_from((now - due).as_nanos()).unwrap_or(0)),
        );
        self.step(prepared).begin(0, wall);
        let outcome = self.call(prepared, |instance| {
            instance.tick(name.clone(), scheduled.0)
        });
        let timer = &mut self.timers[index];
        let retry = match &outcome {
            Ok(Err(GuestFailure::Retry(delay))) => {
                timer.retries += 1;
                Some(
                    delay
                        .map_or(limits::RETRY_FIRST * timer.retries, Duration::from_nanos)
                        .min(limits::RETRY_MAX),
                )
            }
            _ => None,
        };
        match retry.filter(|delay| *delay < timer.period) {
            Some(delay) => timer.next = Instant::now() + delay,
            None => {
                timer.retries = 0;
                let missed = (now - due).as_nanos() / timer.period.as_nanos().max(1);
                timer.next =
                    due + timer.period * (u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1);
            }
        }
        let failed = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(GuestFailure::Retry(_))) => Some(None),
            Ok(Err(GuestFailure::Reject(why))) => Some(Some(why)),
            Err(fault) => Some(Some(fault.full())),
        };
        if let Some(why) = failed {
            self.step(prepared).undo();
            if let Some(why) = why {
                shared
                    .log
                    .host(Level::Error, &format!("timer {name} failed: {why}"));
            }
        }
        self.commit(prepared);
        Worked::Some
    }

    fn control(&mut self, prepared: &Arc<Prepared>, control: Control) {
        let shared = prepared.shared().clone();
        self.step(prepared).begin(0, shared.hub.now());
        match control {
            Control::Method(call) => self.method(prepared, call),
            Control::Desired { patch, version } => {
                let outcome = self.call(prepared, |instance| {
                    instance.desired_changed(patch, version)
                });
                let why = match outcome {
                    Ok(Ok(())) => {
                        self.commit(prepared);
                        return;
                    }
                    Ok(Err(GuestFailure::Retry(_))) => {
                        "it asked for a retry, and a later change will bring one".to_owned()
                    }
                    Ok(Err(GuestFailure::Reject(why))) => why,
                    Err(fault) => fault.full(),
                };
                self.step(prepared).undo();
                shared.log.host(
                    Level::Error,
                    &format!("change of desired properties failed: {why}"),
                );
            }
            Control::Swap(_) => {}
        }
    }

    fn method(&mut self, prepared: &Arc<Prepared>, call: MethodCall) {
        let (name, payload) = (call.name.clone(), call.payload.clone());
        let outcome = self.call(prepared, |instance| instance.invoke(name, payload));
        let answer = match outcome {
            Ok(Ok(answer)) if self.commit(prepared) => {
                let answer = MethodResponse {
                    status: answer.status,
                    payload: answer.payload,
                };
                answer_when_durable(prepared, self.committed, call, answer);
                return;
            }
            Ok(Ok(_)) => Err(MethodError::Failed(
                "what the method did was not stored".to_owned(),
            )),
            Ok(Err(why)) => {
                self.step(prepared).undo();
                Ok(MethodResponse {
                    status: 501,
                    payload: serde_json::Value::String(why).to_string(),
                })
            }
            Err(fault) => {
                self.step(prepared).undo();
                Err(MethodError::Failed(fault.full()))
            }
        };
        call.answer(answer);
    }
}

/// What a build may see: whoever can be seen from outside must not tell what a crash takes back.
fn visible(prepared: &Prepared) -> Visible {
    let grants = &prepared.shared().options.grants;
    let writes = grants.dirs.iter().any(|dir| dir.write);
    match writes || !grants.http.is_empty() || prepared.calls_methods() {
        true => Visible::Durable,
        false => Visible::Committed,
    }
}

/// An answer promises that what the method did is kept.
fn answer_when_durable(prepared: &Prepared, lsn: Lsn, call: MethodCall, answer: MethodResponse) {
    let hub = prepared.shared().hub.clone();
    if hub.log().durable_lsn() >= lsn {
        call.answer(Ok(answer));
        return;
    }
    prepared.runtime().spawn(async move {
        let kept = hub.durable(lsn).await;
        call.answer(
            kept.map(|()| answer)
                .map_err(|error| MethodError::Failed(error.to_string())),
        );
    });
}

/// The step, in the instance or outside of it. Should a host function have lost it in a panic, a
/// new one takes its place: nothing of the old one was committed.
fn current<'a>(
    instance: &'a mut Option<Instance>,
    step: &'a mut Option<Box<Step>>,
    prepared: &Prepared,
) -> &'a mut Step {
    match instance.as_mut().and_then(Instance::step) {
        Some(step) => step,
        None => step.get_or_insert_with(|| {
            let shared = prepared.shared();
            Box::new(Step::new(shared.hub.sender(shared.identity.clone())))
        }),
    }
}

impl Prepared {
    /// Who it is on the hub.
    pub fn identity(&self) -> &Identity {
        &self.shared().identity
    }
}
