//! What a component costs the agent: from "it passed every check" to its first message, with what was compiled
//! before; and how long messages stand still while another build takes its place under load.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::Thread;
use std::time::{Duration, Instant};

use edge_core::deployment::{
    ComponentRef, DesiredStatus, ModuleKind, ModuleSpec, RestartPolicy, WasmOptions, WasmSpec,
};
use edge_core::runtime::{DesiredModule, ModuleRuntime, Open, Resolved, Run};
use edge_core::{DeviceId, EndpointId, Identity, MessageBuilder, ModuleId, Priority};
use edge_hub::{Hub, HubConfig, Inbox, Owner, Wake};
use edge_route::{Mode, RouteTable};
use edge_store::{Commit, MemoryLog, Visible};
use edge_wasm::cache::CompileCache;
use edge_wasm::{Allocation, Compiler, RuntimeConfig, WasmModuleRuntime, WasmRuntime};
use support::{Bench, Goal, complain, route};

/// Messages a second while builds are swapped.
const LOAD: u32 = 20_000;

fn hub() -> Arc<Hub> {
    let name = DeviceId::new("bench").expect("valid");
    Hub::new(HubConfig::new(name), Arc::new(MemoryLog::default()))
}

fn runtime(hub: &Arc<Hub>, cache: &Path) -> (Arc<WasmRuntime>, WasmModuleRuntime) {
    let runtime = WasmRuntime::new(
        hub.clone(),
        RuntimeConfig {
            allocation: Allocation::OnDemand,
            workers: 1,
            cache: Some(CompileCache::open(cache).expect("a cache")),
            compiler: Compiler::InProcess,
            logs: Arc::new(support::Complaints),
            observer: None,
            tokio: tokio::runtime::Handle::current(),
        },
    );
    (
        runtime.clone(),
        WasmModuleRuntime::new(runtime, Arc::new(Open)),
    )
}

fn id() -> ModuleId {
    ModuleId::new("filter").expect("valid")
}

/// The filter; another number makes another build.
fn filter(build: usize) -> DesiredModule {
    DesiredModule {
        spec: ModuleSpec {
            id: id(),
            version: None,
            status: DesiredStatus::Running,
            restart: RestartPolicy::Always,
            startup_order: 0,
            env: [("build".to_owned(), build.to_string())].into(),
            kind: ModuleKind::Wasm(WasmSpec {
                image: ComponentRef::File("filter.wasm".into()),
                digest: None,
                credentials: None,
                options: WasmOptions::default(),
            }),
        },
        resolved: Resolved {
            component: Some(support::sample("filter.wasm")),
            base: "/".into(),
            ..Resolved::default()
        },
    }
}

/// Milliseconds.
fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

async fn ready(bench: &Bench, cache: &Path) {
    let hub = hub();
    let (runtime, modules) = runtime(&hub, cache);
    let module = filter(0);
    let queue = hub.queue(&EndpointId::module_input(id(), "input1"), Priority::DEFAULT);
    let mut sender = hub.sender(Identity::Device(hub.device().clone()));
    let times = if bench.quick { 20 } else { 300 };
    let [mut checked, mut started, mut first] = [(); 3].map(|()| Vec::new());
    for run in 0..=times {
        let begin = Instant::now();
        let prepared = modules.prepare(&module).await.expect("prepared");
        let verified = Instant::now();
        modules
            .start(&module, &prepared, Run(run))
            .await
            .expect("started");
        let running = Instant::now();
        let mut commit = Commit::new();
        let message = MessageBuilder::new("x")
            .property("temperature", "1.5")
            .build();
        sender
            .stage_for(&mut commit, queue, message, None, hub.now())
            .expect("taken");
        hub.commit(&mut commit).expect("committed");
        hub.wait_until_at_most(0, None);
        let handled = Instant::now();
        modules
            .stop(&id(), Duration::from_secs(10))
            .await
            .expect("stopped");
        // The first one fills the cache.
        if run > 0 {
            checked.push(ms(verified - begin));
            started.push(ms(running - verified));
            first.push(ms(handled - verified));
        }
    }
    let case = "component compiled before";
    bench.figure(case, "checked", "ms", &checked, Goal::None);
    bench.figure(case, "running", "ms", &started, Goal::None);
    bench.figure(case, "ready", "ms", &first, Goal::AtMost(1.0));
    runtime.close();
}

/// Wakes the thread that takes what is routed upstream.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

/// Takes what comes upstream, and says which it was and when it came.
fn collect(hub: &Arc<Hub>, end: &Arc<AtomicBool>) -> Receiver<(u64, Instant)> {
    let (tell, told) = channel();
    let (hub, end) = (hub.clone(), end.clone());
    std::thread::spawn(move || {
        let wake = Arc::new(Unpark(std::thread::current()));
        let mut inbox: Inbox = hub.inbox(Owner::Upstream, wake, Visible::Durable);
        let (mut commit, mut batch) = (Commit::new(), Vec::new());
        while !end.load(Ordering::Acquire) {
            inbox.take(usize::MAX, hub.now(), &mut batch, &mut commit);
            let now = Instant::now();
            if batch.is_empty() {
                std::thread::park_timeout(Duration::from_millis(10));
                continue;
            }
            for delivery in batch.drain(..) {
                let properties = &delivery.message.content.properties;
                let number = properties.get("number").and_then(|n| n.parse().ok());
                inbox.handled(&delivery, &mut commit);
                // Whoever asked has ended.
                let _ = tell.send((number.expect("ours"), now));
            }
            hub.commit(&mut commit).expect("progress");
        }
    });
    told
}

/// Sends numbered messages at a steady rate until told to end; says how many.
fn load(hub: &Arc<Hub>, end: &AtomicBool) -> u64 {
    let generator = ModuleId::new("generator").expect("valid");
    let mut sender = hub.sender(Identity::Module(hub.device().clone(), generator));
    let (begin, mut count, mut commit) = (Instant::now(), 0_u32, Commit::new());
    while !end.load(Ordering::Acquire) {
        while begin.elapsed() < Duration::from_secs(1) / LOAD * count {
            std::hint::spin_loop();
        }
        let message = MessageBuilder::new(vec![b'x'; 256])
            .property("temperature", "31.5")
            .property("number", &count.to_string())
            .build();
        sender
            .stage(&mut commit, Some("out"), message, 0, hub.now())
            .expect("taken");
        hub.commit(&mut commit).expect("committed");
        count += 1;
    }
    u64::from(count)
}

async fn swap(bench: &Bench, cache: &Path) {
    let hub = hub();
    hub.set_routes(
        RouteTable::new(vec![
            route("FROM /messages/modules/generator/* INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")", Mode::Compat),
            route("FROM /messages/modules/filter/outputs/output1 INTO $upstream", Mode::Compat),
        ]),
        None,
    );
    let (runtime, modules) = runtime(&hub, cache);
    let builds = [filter(0), filter(1)];
    let mut prepared = Vec::new();
    for build in &builds {
        prepared.push(modules.prepare(build).await.expect("prepared"));
    }
    modules
        .start(&builds[0], &prepared[0], Run(0))
        .await
        .expect("started");
    let [sent, end] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let told = collect(&hub, &end);
    let generator = std::thread::spawn({
        let (hub, sent) = (hub.clone(), sent.clone());
        move || load(&hub, &sent)
    });
    let swaps = if bench.quick { 10 } else { 100 };
    let pause = Duration::from_millis(50);
    // What stood still without a swap, for comparison, comes first.
    let quiet = Instant::now();
    tokio::time::sleep(pause * 10).await;
    let mut spans = Vec::new();
    for run in 1..=swaps {
        tokio::time::sleep(pause).await;
        let build = run % 2;
        let begin = Instant::now();
        modules
            .replace(&builds[build], &prepared[build], Run(run as u64))
            .await
            .expect("replaced");
        spans.push((begin, Instant::now()));
    }
    tokio::time::sleep(pause).await;
    sent.store(true, Ordering::Release);
    let count = generator.join().expect("the load ends");
    let took: Vec<(u64, Instant)> = tokio::task::block_in_place(|| {
        let patience = Duration::from_secs(20);
        (0..count)
            .map_while(|_| told.recv_timeout(patience).ok())
            .collect()
    });
    end.store(true, Ordering::Release);
    let in_order = took.iter().map(|(number, _)| *number).eq(0..count);
    if !in_order || told.try_recv().is_ok() {
        complain(
            "agent",
            "messages were lost, repeated or out of order while builds were swapped",
        );
        std::process::exit(1);
    }
    // A gap belongs to a swap that it reaches into, or that ended just before it.
    let near = Duration::from_millis(5);
    let longest = |from: Instant, to: Instant| {
        let gaps = took
            .windows(2)
            .filter(|two| two[1].1 >= from && two[0].1 <= to);
        gaps.map(|two| two[1].1 - two[0].1).max().map_or(0.0, ms)
    };
    let mut gaps: Vec<f64> = spans
        .iter()
        .map(|(from, to)| longest(*from, *to + near))
        .collect();
    let without: Vec<f64> = (0..10)
        .map(|n| longest(quiet + pause * n, quiet + pause * n + near))
        .collect();
    let case = "swap of builds, 20 000 messages a second";
    bench.figure(case, "no swap", "ms", &without, Goal::None);
    bench.figure(case, "gap", "ms", &gaps, Goal::None);
    gaps.sort_by(f64::total_cmp);
    let worst = gaps.last().copied().unwrap_or(f64::NAN);
    bench.figure(case, "worst gap", "ms", &[worst], Goal::AtMost(5.0));
    modules
        .stop(&id(), Duration::from_secs(10))
        .await
        .expect("stopped");
    runtime.close();
}

fn main() {
    let bench = Bench::new("agent");
    let cache = tempfile::tempdir().expect("a folder");
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("starts");
    tokio.block_on(async {
        if bench.wants("component compiled before") {
            ready(&bench, cache.path()).await;
        }
        if bench.wants("swap of builds") {
            swap(&bench, cache.path()).await;
        }
    });
}
