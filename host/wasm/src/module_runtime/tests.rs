//! With real components; `.ci/build-samples` builds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use edge_core::deployment::{
    ContainerSpec, DesiredStatus, DirGrant, ModuleSpec, RestartPolicy, WasmOptions, WasmSpec,
};
use edge_core::runtime::{GateRefusal, Open, Resolved, RuntimeErrorKind};
use edge_core::{ByteSize, Digest, EndpointId, Identity, MessageBuilder, Priority};
use edge_hub::{Hub, HubConfig};
use edge_store::{Commit, MemoryLog};
use tokio::sync::mpsc;

use super::*;
use crate::{Allocation, Level, LogSink, RuntimeConfig};

/// Longest wait for something that happens in any case.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct NoLogs;

impl LogSink for NoLogs {
    fn line(&self, _: &ModuleId, _: Level, _: &str, _: &str) {}
}

/// Holds a module up where it logs.
#[derive(Debug)]
struct Barrier {
    reached: mpsc::UnboundedSender<()>,
    open: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl LogSink for Barrier {
    fn line(&self, _: &ModuleId, _: Level, _: &str, _: &str) {
        let _ = self.reached.send(());
        // An error is the end of the test: open too.
        let _ = self.open.lock().unwrap().recv();
    }
}

struct Bench {
    hub: Arc<Hub>,
    runtime: WasmModuleRuntime,
    events: mpsc::UnboundedReceiver<RuntimeEvent>,
}

impl Bench {
    fn new() -> Self {
        Self::with_logs(Arc::new(NoLogs))
    }

    fn with_logs(logs: Arc<dyn LogSink>) -> Self {
        Self::with(logs, Arc::new(Open))
    }

    fn with(logs: Arc<dyn LogSink>, gate: Arc<dyn Gate>) -> Self {
        let device = edge_core::DeviceId::new("device").unwrap();
        let hub = Hub::new(HubConfig::new(device), Arc::new(MemoryLog::default()));
        let runtime = WasmRuntime::new(
            hub.clone(),
            RuntimeConfig {
                allocation: Allocation::OnDemand,
                workers: 2,
                cache: None,
                compiler: crate::Compiler::InProcess,
                logs,
                observer: None,
                tokio: tokio::runtime::Handle::current(),
            },
        );
        let runtime = WasmModuleRuntime::new(runtime, gate);
        let (tell, events) = mpsc::unbounded_channel();
        runtime.subscribe(Arc::new(move |event| drop(tell.send(event))));
        Self {
            hub,
            runtime,
            events,
        }
    }

    async fn event(&mut self) -> RuntimeEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event in time").unwrap()
    }

    /// Puts a reading that the filter passes on in the module's queue.
    fn send(&self, module: &DesiredModule) {
        self.send_body(module, r#"{"temperature":30}"#);
    }

    fn send_body(&self, module: &DesiredModule, body: &'static str) {
        let mut from = self.hub.sender(Identity::Device(self.hub.device().clone()));
        let endpoint = EndpointId::module_input(module.id().clone(), "input1");
        let queue = self.hub.queue(&endpoint, Priority::DEFAULT);
        let content = MessageBuilder::new(body).json().build();
        let mut commit = Commit::new();
        from.stage_for(&mut commit, queue, content, None, self.hub.now())
            .unwrap();
        self.hub.commit(&mut commit).unwrap();
    }

    fn waiting(&self) -> u64 {
        self.hub
            .log()
            .queues()
            .iter()
            .map(|queue| queue.depth)
            .sum()
    }

    /// Waits until every message is handled.
    async fn all_handled(&self) {
        let hub = self.hub.clone();
        let wait = move || hub.wait_until_at_most(0, Some(Instant::now() + PATIENCE));
        let handled = tokio::task::spawn_blocking(wait).await.unwrap();
        assert!(handled, "{} messages wait", self.waiting());
    }

    async fn run(&self, module: &DesiredModule, run: u64) -> PreparedModule {
        let prepared = self.runtime.prepare(module).await.unwrap();
        let started = self.runtime.start(module, &prepared, Run(run)).await;
        started.unwrap();
        prepared
    }

    async fn refusal(&self, module: &DesiredModule) -> RuntimeError {
        self.runtime.prepare(module).await.unwrap_err()
    }
}

fn sample(name: &str) -> PathBuf {
    let samples = "../../sample-modules/target/wasm32-wasip2/release";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(samples);
    let path = path.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing: build the sample modules with .ci/build-samples",
        path.display()
    );
    path
}

fn module(sample_name: &str, change: impl FnOnce(&mut WasmSpec)) -> DesiredModule {
    let mut wasm = WasmSpec {
        image: ComponentRef::File(format!("{sample_name}.wasm").into()),
        digest: None,
        credentials: None,
        options: WasmOptions::default(),
    };
    change(&mut wasm);
    DesiredModule {
        spec: ModuleSpec {
            id: ModuleId::new("m").unwrap(),
            version: None,
            status: DesiredStatus::Running,
            restart: RestartPolicy::Always,
            startup_order: 0,
            env: BTreeMap::new(),
            kind: ModuleKind::Wasm(wasm),
        },
        resolved: Resolved {
            component: Some(sample(sample_name)),
            digest: None,
            signatures: None,
            base: "/".into(),
        },
    }
}

fn filter() -> DesiredModule {
    module("filter", |_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_modules_messages_wait_for_its_next_start() {
    let bench = Bench::new();
    let filter = filter();
    let prepared = bench.run(&filter, 1).await;
    assert!(prepared.digest.is_some());
    bench.send(&filter);
    bench.all_handled().await;
    let twice = bench.runtime.start(&filter, &prepared, Run(2)).await;
    assert!(twice.unwrap_err().is_transient());
    let stopped = bench.runtime.stop(filter.id(), PATIENCE).await;
    assert_eq!(stopped, Ok(Stopped::Ended));
    bench.send(&filter);
    bench.send(&filter);
    assert!(bench.runtime.prepared(filter.id()).is_none());
    assert_eq!(bench.waiting(), 2);
    bench
        .runtime
        .start(&filter, &prepared, Run(3))
        .await
        .unwrap();
    bench.all_handled().await;
    let again = bench.runtime.stop(filter.id(), PATIENCE).await;
    assert_eq!(again, Ok(Stopped::Ended));
    let once_more = bench.runtime.stop(filter.id(), PATIENCE).await;
    assert_eq!(once_more, Ok(Stopped::Ended), "nothing runs any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_with_handlers_are_replaced_while_they_run_and_services_are_not() {
    let bench = Bench::new();
    let filter = filter();
    let old = bench.run(&filter, 1).await;
    let other = module("misbehave", |wasm| wasm.options.grants.state = true);
    let new = bench.runtime.prepare(&other).await.unwrap();
    let service = module("service", |_| {});
    let service = bench.runtime.prepare(&service).await.unwrap();
    assert!(bench.runtime.can_replace(&old, &new));
    assert!(!bench.runtime.can_replace(&old, &service));
    assert!(!bench.runtime.can_replace(&service, &new));
    bench.runtime.replace(&other, &new, Run(2)).await.unwrap();
    bench.send(&other);
    bench.all_handled().await;
    let runs = bench.runtime.prepared(other.id()).unwrap();
    assert_eq!(Some(runs.digest()), new.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_at_every_message_is_spared_and_the_rest_is_kept_for_the_next_build() {
    let bench = Bench::new();
    let misbehave = module("misbehave", |wasm| wasm.options.grants.state = true);
    bench.run(&misbehave, 1).await;
    let filter = filter();
    let prepared = bench.runtime.prepare(&filter).await.unwrap();
    let failed = || bench.hub.counters().snapshot().failed;
    for _ in 0..6 {
        bench.send_body(&misbehave, "trap");
    }
    let end = Instant::now() + PATIENCE;
    while failed() < 3 {
        assert!(Instant::now() < end, "{} failed", failed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Without pauses all would be given up by then; with them it takes 14 s.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = failed();
    assert!(before < 6);
    let begin = Instant::now();
    bench
        .runtime
        .replace(&filter, &prepared, Run(2))
        .await
        .unwrap();
    bench.all_handled().await;
    assert!(begin.elapsed() < Duration::from_secs(7));
    assert_eq!(failed(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_end_is_reported_with_its_run() {
    let mut bench = Bench::new();
    let ends = |args: &str| {
        let args = vec![args.to_owned()];
        module("service", |wasm| wasm.options.args = args)
    };
    bench.run(&ends("2"), 7).await;
    let done = RuntimeEvent {
        module: ModuleId::new("m").unwrap(),
        run: Run(7),
        what: ModuleEvent::Ended(Outcome::Done),
    };
    assert_eq!(bench.event().await, done);
    // Its successor takes its place without a stop in between.
    bench.run(&ends("many"), 8).await;
    let event = bench.event().await;
    assert_eq!(event.run, Run(8));
    let ModuleEvent::Ended(Outcome::Failed { code, description }) = event.what else {
        panic!("{event:?}");
    };
    assert_eq!(code, Some(1));
    assert!(description.contains("returned an error"), "{description}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopped_ends_and_reports_nothing() {
    let mut bench = Bench::new();
    let endless = module("service", |wasm| {
        wasm.options.args = vec![u64::MAX.to_string()];
    });
    let prepared = bench.run(&endless, 1).await;
    let second = bench.runtime.start(&endless, &prepared, Run(2)).await;
    assert!(second.is_err());
    let stopped = bench.runtime.stop(endless.id(), PATIENCE).await;
    assert_eq!(stopped, Ok(Stopped::Ended));
    // The next event is that of the next run.
    let done = module("service", |_| {});
    bench.run(&done, 3).await;
    assert_eq!(bench.event().await.run, Run(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_deployment_must_change_is_refused_and_what_may_come_is_transient() {
    let bench = Bench::new();
    let refused = [
        (
            "digest",
            module("filter", |wasm| wasm.digest = Some(Digest([7; 32]))),
        ),
        ("state", module("misbehave", |_| {})),
        ("registry", {
            let mut module = module("filter", |wasm| {
                wasm.image = ComponentRef::Registry("r.example/filter:1".to_owned());
            });
            module.resolved.component = None;
            module
        }),
        ("container", {
            let mut module = filter();
            module.spec.kind = ModuleKind::Container(ContainerSpec::new("r.example/filter:1"));
            module
        }),
    ];
    for (what, module) in refused {
        let error = bench.refusal(&module).await;
        assert!(!error.is_transient(), "{error}");
        assert!(error.to_string().starts_with("module m: prepare: "));
        assert!(error.why.contains(what), "{error}");
    }
    let mut gone = filter();
    gone.resolved.component = Some("/nowhere/filter.wasm".into());
    let no_directory = module("filter", |wasm| {
        wasm.options.grants.dirs = vec![DirGrant {
            host: "nowhere".into(),
            guest: "/data".to_owned(),
            write: false,
        }];
    });
    for (what, module) in [("/nowhere/filter.wasm", gone), ("/nowhere", no_directory)] {
        let error = bench.refusal(&module).await;
        assert!(error.is_transient(), "{error}");
        assert!(error.why.contains(what), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_have_no_instance_is_unhealthy_until_it_can() {
    let mut bench = Bench::new();
    let starved = module("filter", |wasm| wasm.options.memory = ByteSize(64 << 10));
    bench.run(&starved, 1).await;
    bench.send(&starved);
    let event = bench.event().await;
    assert_eq!(event.run, Run(1));
    let ModuleEvent::Unhealthy { description } = event.what else {
        panic!("{event:?}");
    };
    assert!(description.contains("memory"), "{description}");
    let well = filter();
    let next = bench.runtime.prepare(&well).await.unwrap();
    bench.runtime.replace(&well, &next, Run(2)).await.unwrap();
    bench.send(&well);
    let event = bench.event().await;
    assert_eq!((event.run, event.what), (Run(2), ModuleEvent::Healthy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_in_a_long_step_is_said_to_run_still_and_ends_later() {
    let (reached, mut entered) = mpsc::unbounded_channel();
    let (leave, open) = std::sync::mpsc::channel();
    let bench = Bench::with_logs(Arc::new(Barrier {
        reached,
        open: Mutex::new(open),
    }));
    let filter = filter();
    bench.run(&filter, 1).await;
    // The filter logs that there is no temperature, in the middle of its step.
    bench.send_body(&filter, "{}");
    entered.recv().await.unwrap();
    let first = bench.runtime.stop(filter.id(), Duration::ZERO).await;
    assert_eq!(first, Ok(Stopped::StillRunning));
    drop(leave);
    let then = bench.runtime.stop(filter.id(), PATIENCE).await;
    assert_eq!(then, Ok(Stopped::Ended));
}

/// Lets nothing pass, and keeps what it was asked.
#[derive(Debug)]
struct Closed {
    kind: RuntimeErrorKind,
    asked: Mutex<Vec<Artifact>>,
}

impl Gate for Closed {
    fn admit<'a>(
        &'a self,
        _: &'a DesiredModule,
        artifact: &'a Artifact,
    ) -> BoxFuture<'a, Result<(), GateRefusal>> {
        self.asked.lock().unwrap().push(artifact.clone());
        let refusal = GateRefusal {
            artifact: artifact.to_string(),
            check: "signature",
            expected: "one".to_owned(),
            found: "none".to_owned(),
            next: "sign it".to_owned(),
            kind: self.kind,
        };
        Box::pin(async { Err(refusal) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_does_not_let_pass_is_not_prepared_and_the_gate_knows_digest_and_pin() {
    for kind in [RuntimeErrorKind::Refused, RuntimeErrorKind::Transient] {
        let gate = Arc::new(Closed {
            kind,
            asked: Mutex::default(),
        });
        let bench = Bench::with(Arc::new(NoLogs), gate.clone());
        let bytes = std::fs::read(sample("filter")).unwrap();
        let digest = Digest(<sha2::Sha256 as sha2::Digest>::digest(bytes).into());
        let pinned = module("filter", |wasm| wasm.digest = Some(digest));
        let mut taken_in = filter();
        taken_in.resolved.digest = Some(digest);
        // The gate is asked about what is known; the bytes are compared with that later.
        for module in [&filter(), &pinned, &taken_in] {
            let error = bench.refusal(module).await;
            assert_eq!(error.kind, kind);
            let told = "signature: expected one, found none; sign it";
            assert!(error.why.contains(told), "{error}");
        }
        let asked = gate.asked.lock().unwrap().clone();
        let origin = ArtifactOrigin::File(sample("filter"));
        let expected = [None, Some(digest), None].map(|pinned| Artifact {
            origin: origin.clone(),
            digest,
            pinned,
        });
        assert_eq!(asked, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_let_pass_is_what_runs() {
    let bench = Bench::new();
    let mut changed = filter();
    // Taken in as something else than what is there by now.
    changed.resolved.digest = Some(Digest([7; 32]));
    let error = bench.refusal(&changed).await;
    assert!(
        !error.is_transient() && error.why.contains("digest"),
        "{error}"
    );
}

/// A registry with one component.
#[derive(Debug)]
struct OneComponent {
    manifest: Digest,
    calls: Mutex<Vec<&'static str>>,
}

impl ComponentSource for OneComponent {
    fn resolve<'a>(&'a self, _: &'a DesiredModule) -> BoxFuture<'a, Result<Digest, RuntimeError>> {
        self.calls.lock().unwrap().push("resolve");
        Box::pin(async { Ok(self.manifest) })
    }

    fn fetch<'a>(
        &'a self,
        _: &'a DesiredModule,
        manifest: Digest,
    ) -> BoxFuture<'a, Result<Fetched, RuntimeError>> {
        assert_eq!(manifest, self.manifest);
        self.calls.lock().unwrap().push("fetch");
        let file = sample("filter");
        let bytes = std::fs::read(&file).unwrap();
        let component = Digest(<sha2::Sha256 as sha2::Digest>::digest(bytes).into());
        Box::pin(async move { Ok(Fetched { component, file }) })
    }
}

fn in_registry(pin: Option<Digest>) -> DesiredModule {
    let mut module = module("filter", |wasm| {
        wasm.image = ComponentRef::Registry("r.example/filter:1".to_owned());
        wasm.digest = pin;
    });
    module.resolved.component = None;
    module
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_a_registry_is_fetched_when_pin_and_gate_let_its_manifest_pass() {
    let manifest = Digest([7; 32]);
    let source = || {
        Arc::new(OneComponent {
            manifest,
            calls: Mutex::default(),
        })
    };
    let calls = |source: &OneComponent| source.calls.lock().unwrap().clone();

    let (mut bench, good) = (Bench::new(), source());
    bench.runtime = bench.runtime.with_source(good.clone());
    bench.run(&in_registry(Some(manifest)), 1).await;
    assert_eq!(calls(&good), ["resolve", "fetch"]);

    let (mut bench, pinned) = (Bench::new(), source());
    bench.runtime = bench.runtime.with_source(pinned.clone());
    let error = bench.refusal(&in_registry(Some(Digest([8; 32])))).await;
    assert!(
        error.why.contains("r.example/filter:1 has digest"),
        "{error}"
    );
    assert_eq!(calls(&pinned), ["resolve"]);

    let (gate, closed) = (
        Arc::new(Closed {
            kind: RuntimeErrorKind::Refused,
            asked: Mutex::default(),
        }),
        source(),
    );
    let mut bench = Bench::with(Arc::new(NoLogs), gate.clone());
    bench.runtime = bench.runtime.with_source(closed.clone());
    bench.refusal(&in_registry(None)).await;
    assert_eq!(calls(&closed), ["resolve"]);
    let artifact = Artifact {
        origin: ArtifactOrigin::Registry {
            reference: "r.example/filter:1".to_owned(),
        },
        digest: manifest,
        pinned: None,
    };
    assert_eq!(*gate.asked.lock().unwrap(), [artifact]);
}
