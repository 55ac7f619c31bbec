//! A runtime that does what a test says, and a clock that a test moves.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_core::deployment::{
    ComponentRef, ContainerSpec, DesiredStatus, ModuleKind, ModuleSpec, RestartPolicy, WasmOptions,
    WasmSpec,
};
use edge_core::runtime::{
    Adopted, BoxFuture, DesiredModule, EventSink, ListError, ModuleEvent, ModuleRuntime, Outcome,
    PreparedModule, Resolved, Run, RuntimeError, RuntimeErrorKind, RuntimeEvent, RuntimeKind, Step,
    Stopped,
};
use edge_core::{ModuleId, Timestamp};
use tokio::sync::oneshot;

use crate::clock::Clock;

/// The wall clock when a test begins.
const EPOCH: Timestamp = Timestamp(1_000_000_000_000_000_000);

#[derive(Debug, Default)]
pub(super) struct FakeClock(Mutex<Time>);

#[derive(Debug, Default)]
struct Time {
    elapsed: Duration,
    set_back: Duration,
    sleepers: Vec<(Duration, oneshot::Sender<()>)>,
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        let time = self.0.lock().unwrap();
        let now = EPOCH.after(time.elapsed);
        Timestamp(now.0 - u64::try_from(time.set_back.as_nanos()).unwrap())
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().elapsed
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        if span.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        let mut time = self.0.lock().unwrap();
        let until = time.elapsed + span;
        time.sleepers.push((until, wake));
        Box::pin(async move { drop(woken.await) })
    }
}

impl FakeClock {
    /// Lets time pass, and everything happen that is due in it.
    pub(super) async fn advance(&self, span: Duration) {
        let end = self.elapsed() + span;
        loop {
            quiet().await;
            let mut time = self.0.lock().unwrap();
            time.sleepers.retain(|(_, wake)| !wake.is_closed());
            let due = (0..time.sleepers.len()).min_by_key(|n| time.sleepers[*n].0);
            match due.filter(|n| time.sleepers[*n].0 <= end) {
                Some(due) => {
                    let (at, wake) = time.sleepers.swap_remove(due);
                    time.elapsed = time.elapsed.max(at);
                    let _ = wake.send(());
                }
                None => {
                    time.elapsed = end;
                    return;
                }
            }
        }
    }

    /// Sets the wall clock back; what is being waited for is not touched.
    pub(super) fn set_back(&self, span: Duration) {
        self.0.lock().unwrap().set_back += span;
    }

    /// How many wait for a time.
    pub(super) fn sleepers(&self) -> usize {
        let mut time = self.0.lock().unwrap();
        time.sleepers.retain(|(_, wake)| !wake.is_closed());
        time.sleepers.len()
    }
}

/// Lets every task run until nothing is left to do: here nothing but the clock is waited for.
pub(super) async fn quiet() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// What a module does.
#[derive(Debug, Clone, Default)]
pub(super) struct Behaviour {
    pub(super) prepare_takes: Duration,
    pub(super) prepare_fails: VecDeque<RuntimeErrorKind>,
    pub(super) prepare_panics: bool,
    pub(super) start_fails: VecDeque<RuntimeErrorKind>,
    /// It fails so long after each start.
    pub(super) fails_after: Option<Duration>,
    /// Stops that do not bring it to its end.
    pub(super) stubborn: u32,
    pub(super) replaceable: bool,
    pub(super) found: Option<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Same,
    Other,
}

pub(super) struct Fake {
    kind: RuntimeKind,
    clock: Arc<FakeClock>,
    modules: Mutex<HashMap<ModuleId, Behaviour>>,
    log: Mutex<Vec<String>>,
    sink: Mutex<Option<EventSink>>,
    runs: Mutex<HashMap<ModuleId, Run>>,
    pub(super) list_fails: Mutex<u32>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    pub(super) fn new(kind: RuntimeKind, clock: Arc<FakeClock>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            clock,
            modules: Mutex::default(),
            log: Mutex::default(),
            sink: Mutex::default(),
            runs: Mutex::default(),
            list_fails: Mutex::default(),
        })
    }

    pub(super) fn behave(&self, module: &str, behaviour: Behaviour) {
        self.modules.lock().unwrap().insert(id(module), behaviour);
    }

    fn of<T>(&self, module: &ModuleId, see: impl FnOnce(&mut Behaviour) -> T) -> T {
        see(self
            .modules
            .lock()
            .unwrap()
            .entry(module.clone())
            .or_default())
    }

    fn note(&self, what: &str, module: &ModuleId) {
        let seconds = self.clock.elapsed().as_secs();
        let line = format!("{seconds} {what} {module}");
        self.log.lock().unwrap().push(line);
    }

    /// What was done since the last time, each with its second.
    pub(super) fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Something happens to a module in the run that it is in.
    pub(super) fn happen(&self, module: &str, what: ModuleEvent) {
        let run = self.runs.lock().unwrap()[&id(module)];
        self.tell(id(module), run, what);
    }

    pub(super) fn tell(&self, module: ModuleId, run: Run, what: ModuleEvent) {
        let sink = self.sink.lock().unwrap().clone().unwrap();
        sink(RuntimeEvent { module, run, what });
    }

    fn begin(&self, module: &ModuleId, run: Run) {
        self.runs.lock().unwrap().insert(module.clone(), run);
        let Some(after) = self.of(module, |module| module.fails_after) else {
            return;
        };
        let sink = self.sink.lock().unwrap().clone().unwrap();
        let (clock, module) = (self.clock.clone(), module.clone());
        let event = RuntimeEvent {
            module,
            run,
            what: failed("trap"),
        };
        if after.is_zero() {
            return sink(event);
        }
        tokio::spawn(async move {
            clock.sleep(after).await;
            sink(event);
        });
    }
}

impl ModuleRuntime for Fake {
    fn kind(&self) -> RuntimeKind {
        self.kind
    }

    fn subscribe(&self, sink: EventSink) {
        *self.sink.lock().unwrap() = Some(sink);
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ModuleId>, ListError>> {
        Box::pin(async {
            let mut fails = self.list_fails.lock().unwrap();
            if *fails > 0 {
                *fails -= 1;
                return Err(ListError("the engine does not answer".to_owned()));
            }
            let modules = self.modules.lock().unwrap();
            let found = modules.iter().filter(|(_, m)| m.found.is_some());
            Ok(found.map(|(id, _)| id.clone()).collect())
        })
    }

    fn adopt<'a>(
        &'a self,
        module: &'a DesiredModule,
        run: Run,
    ) -> BoxFuture<'a, Result<Adopted, RuntimeError>> {
        Box::pin(async move {
            self.note("adopt", module.id());
            self.runs.lock().unwrap().insert(module.id().clone(), run);
            Ok(match self.of(module.id(), |m| m.found) {
                Some(Found::Same) => Adopted::Running(prepared()),
                Some(Found::Other) => Adopted::Other,
                None => Adopted::Absent,
            })
        })
    }

    fn prepare<'a>(
        &'a self,
        module: &'a DesiredModule,
    ) -> BoxFuture<'a, Result<PreparedModule, RuntimeError>> {
        Box::pin(async move {
            self.note("prepare", module.id());
            let behaviour = self.of(module.id(), |m| m.clone());
            self.clock.sleep(behaviour.prepare_takes).await;
            assert!(!behaviour.prepare_panics, "as the test says");
            match self.of(module.id(), |m| m.prepare_fails.pop_front()) {
                Some(kind) => Err(error(module.id(), Step::Prepare, kind)),
                None => Ok(prepared()),
            }
        })
    }

    fn start<'a>(
        &'a self,
        module: &'a DesiredModule,
        _: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            self.note("start", module.id());
            if let Some(kind) = self.of(module.id(), |m| m.start_fails.pop_front()) {
                return Err(error(module.id(), Step::Start, kind));
            }
            self.begin(module.id(), run);
            Ok(())
        })
    }

    fn can_replace(&self, _: &PreparedModule, _: &PreparedModule) -> bool {
        self.modules.lock().unwrap().values().any(|m| m.replaceable)
    }

    fn replace<'a>(
        &'a self,
        module: &'a DesiredModule,
        _: &'a PreparedModule,
        run: Run,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            self.note("replace", module.id());
            self.begin(module.id(), run);
            Ok(())
        })
    }

    fn stop<'a>(
        &'a self,
        module: &'a ModuleId,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Stopped, RuntimeError>> {
        Box::pin(async move {
            self.note("stop", module);
            let stubborn = self.of(module, |m| {
                let stubborn = m.stubborn > 0;
                m.stubborn = m.stubborn.saturating_sub(1);
                stubborn
            });
            if stubborn {
                self.clock.sleep(grace).await;
                return Ok(Stopped::StillRunning);
            }
            Ok(Stopped::Ended)
        })
    }

    fn remove<'a>(&'a self, module: &'a ModuleId) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            self.note("remove", module);
            Ok(())
        })
    }
}

fn prepared() -> PreparedModule {
    PreparedModule {
        digest: None,
        token: Arc::new(()),
    }
}

fn error(module: &ModuleId, step: Step, kind: RuntimeErrorKind) -> RuntimeError {
    match kind {
        RuntimeErrorKind::Refused => RuntimeError::refused(module, step, "wrong digest"),
        RuntimeErrorKind::Transient => RuntimeError::transient(module, step, "disk busy"),
    }
}

pub(super) fn failed(description: &str) -> ModuleEvent {
    ModuleEvent::Ended(Outcome::Failed {
        description: description.to_owned(),
        code: Some(1),
    })
}

pub(super) fn id(name: &str) -> ModuleId {
    ModuleId::new(name).unwrap()
}

/// A component that is always restarted.
pub(super) fn wasm(name: &str) -> DesiredModule {
    let spec = ModuleSpec {
        id: id(name),
        version: Some("1.0".to_owned()),
        status: DesiredStatus::Running,
        restart: RestartPolicy::Always,
        startup_order: 0,
        env: BTreeMap::new(),
        kind: ModuleKind::Wasm(WasmSpec {
            image: ComponentRef::File("m.wasm".into()),
            digest: None,
            credentials: None,
            options: WasmOptions::default(),
        }),
    };
    DesiredModule {
        spec,
        resolved: Resolved::default(),
    }
}

/// A container that is always restarted.
pub(super) fn container(name: &str) -> DesiredModule {
    let mut module = wasm(name);
    module.spec.kind = ModuleKind::Container(ContainerSpec::new("r.example/m:1"));
    module
}

/// Another build.
pub(super) fn build(name: &str, version: &str) -> DesiredModule {
    let mut module = wasm(name);
    module.spec.version = Some(version.to_owned());
    module
}
