//! A message's way through two routes and a Wasm module: generator (host) → route with a condition on
//! a property → resident Rust filter → route → collector (host). 256-byte bodies, epochs and limits
//! on, log in memory. The rate is one core's; the latency is a single message's, at 1 000 a second.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_core::deployment::{InstanceMode, WasmOptions};
use edge_core::{Content, DeviceId, Identity, MessageBuilder, ModuleId, Priority};
use edge_hub::{Hub, HubConfig, Inbox, Owner, Sender, Wake};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{Commit, Delivery, MemoryLog};
use edge_wasm::{Allocation, RuntimeConfig, Source, WasmRuntime};
use support::{Bench, Goal};

const BODY: usize = 256;

/// The host at the end of the way: takes what is routed upstream at once, where it is committed.
#[derive(Default)]
struct Collector {
    inbox: Mutex<Option<(Inbox, Commit, Vec<Delivery>)>>,
    hub: Mutex<Option<Arc<Hub>>>,
    taken: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

impl Wake for Collector {
    fn wake(&self) {
        let Ok(mut slot) = self.inbox.try_lock() else {
            return;
        };
        let hub = self.hub.lock().expect("not poisoned").clone();
        let (Some((inbox, commit, batch)), Some(hub)) = (slot.as_mut(), hub) else {
            return;
        };
        let now = hub.now();
        inbox.take(usize::MAX, now, batch, commit);
        let mut latencies = self.latencies.lock().expect("not poisoned");
        for delivery in batch.drain(..) {
            let sent = delivery
                .message
                .content
                .properties
                .get("sent")
                .and_then(|s| s.parse().ok());
            latencies.extend(sent.map(|sent: u64| now.0.saturating_sub(sent)));
            inbox.handled(&delivery, commit);
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        hub.commit(commit).expect("the log takes progress");
    }
}

struct Chain {
    hub: Arc<Hub>,
    generator: Sender,
    collector: Arc<Collector>,
    runtime: Arc<WasmRuntime>,
    _tokio: tokio::runtime::Runtime,
}

fn chain(mode: InstanceMode) -> Chain {
    let hub = Hub::new(
        HubConfig::new(DeviceId::new("bench").expect("valid")),
        Arc::new(MemoryLog::default()),
    );
    let route = |text: &str| RouteEntry {
        name: text.to_owned(),
        route: Route::compile(text, Mode::Compat)
            .expect("compiles")
            .expect("not blank"),
        priority: Priority::DEFAULT,
        time_to_live: None,
    };
    hub.set_routes(
        RouteTable::new(vec![
            route("FROM /messages/modules/generator/* WHERE kind = 'reading' INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")"),
            route("FROM /messages/modules/filter/outputs/output1 INTO $upstream"),
        ]),
        None,
    );
    let collector = Arc::new(Collector::default());
    let inbox = hub.inbox(Owner::Upstream, collector.clone());
    *collector.inbox.lock().expect("not poisoned") = Some((inbox, Commit::new(), Vec::new()));
    *collector.hub.lock().expect("not poisoned") = Some(hub.clone());
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("starts");
    let runtime = WasmRuntime::new(
        hub.clone(),
        RuntimeConfig {
            allocation: match mode {
                InstanceMode::Resident => Allocation::OnDemand,
                InstanceMode::PerMessage => Allocation::Pooling { instances: 64 },
            },
            workers: 1,
            cache: None,
            logs: Arc::new(support::Complaints),
            observer: None,
            tokio: tokio.handle().clone(),
        },
    );
    let options = WasmOptions {
        mode,
        ..WasmOptions::default()
    };
    let filter = ModuleId::new("filter").expect("valid");
    let prepared = runtime
        .prepare(
            filter,
            &Source::File(support::sample("filter.wasm")),
            None,
            options,
            Default::default(),
        )
        .expect("the filter is a module");
    runtime.start(prepared);
    let identity = Identity::Module(
        hub.device().clone(),
        ModuleId::new("generator").expect("valid"),
    );
    Chain {
        generator: hub.sender(identity),
        hub,
        collector,
        runtime,
        _tokio: tokio,
    }
}

fn message(sent: Option<u64>) -> Arc<Content> {
    let message = MessageBuilder::new(vec![b'x'; BODY])
        .property("kind", "reading")
        .property("temperature", "31.5");
    match sent {
        Some(sent) => message.property("sent", &sent.to_string()),
        None => message,
    }
    .build()
}

impl Chain {
    fn wait(&self, taken: u64) {
        let begin = Instant::now();
        while self.collector.taken.load(Ordering::Relaxed) < taken {
            std::thread::sleep(Duration::from_micros(50));
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "messages were lost: {:?} {:?}",
                self.hub.log().queues(),
                self.hub.counters().snapshot()
            );
        }
    }

    /// Messages a second, and a second of CPU time, sent as fast as they are taken.
    fn rate(&mut self, count: u64, per_commit: usize) -> (f64, f64) {
        let before = self.collector.taken.load(Ordering::Relaxed);
        let mut commit = Commit::new();
        let (begin, cpu) = (Instant::now(), support::cpu_time());
        for sent in 0..count {
            let now = self.hub.now();
            self.generator
                .stage(&mut commit, Some("out"), message(None), 0, now)
                .expect("taken");
            if commit.len() >= per_commit || sent + 1 == count {
                self.hub.commit(&mut commit).expect("committed");
                self.hub.wait_until_at_most(4_096, None);
            }
        }
        self.wait(before + count);
        let seconds = begin.elapsed().as_secs_f64();
        let cpu_seconds = (support::cpu_time() - cpu).as_secs_f64();
        self.collector
            .latencies
            .lock()
            .expect("not poisoned")
            .clear();
        #[allow(clippy::cast_precision_loss, reason = "figures")]
        let count = count as f64;
        (count / seconds, count / cpu_seconds)
    }

    /// Nanoseconds from intended sending time to the collector, sorted; open loop.
    fn latencies(&mut self, per_second: u64, seconds: f64, here: bool) -> Vec<u64> {
        let before = self.collector.taken.load(Ordering::Relaxed);
        let period = Duration::from_nanos(1_000_000_000 / per_second);
        let mut commit = Commit::new();
        let (begin, mut count) = (Instant::now(), 0u32);
        let wall = self.hub.now().0;
        while begin.elapsed().as_secs_f64() < seconds {
            let due = period * count;
            while begin.elapsed() < due {
                // A generator that sleeps wakes late, and would measure its own sleep.
                std::hint::spin_loop();
            }
            let intended = wall + u64::try_from(due.as_nanos()).expect("fits");
            let now = self.hub.now();
            let content = message(Some(intended));
            self.generator
                .stage(&mut commit, Some("out"), content, 0, now)
                .expect("taken");
            let hub = self.hub.clone();
            match here {
                true => self.runtime.run_here(|| hub.commit(&mut commit)),
                false => hub.commit(&mut commit),
            }
            .expect("committed");
            count += 1;
        }
        self.wait(before + u64::from(count));
        let mut latencies =
            std::mem::take(&mut *self.collector.latencies.lock().expect("not poisoned"));
        latencies.sort_unstable();
        latencies
    }
}

fn main() {
    let bench = Bench::new("hop");
    let (count, seconds) = if bench.quick {
        (100_000, 1.0)
    } else {
        (1_000_000, 5.0)
    };

    let cases = [
        (
            "single message at 1 000/s, as edge run feeds",
            true,
            Goal::AtMost(20.0),
        ),
        (
            "single message at 1 000/s, by way of a worker",
            false,
            Goal::None,
        ),
    ];
    let mut resident = chain(InstanceMode::Resident);
    resident.rate(count / 10, 32);
    for (case, here, goal) in cases.into_iter().filter(|(case, ..)| bench.wants(case)) {
        let mut rows = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..bench.repetitions(3) {
            let latencies = resident.latencies(1_000, seconds, here);
            for (row, share) in rows.iter_mut().zip([0.5, 0.9, 0.99]) {
                row.push(support::percentile(&latencies, share) / 1e3);
            }
        }
        let [p50, p90, p99] = rows;
        bench.figure(case, "p50", "us", &p50, goal);
        bench.figure(case, "p90", "us", &p90, Goal::None);
        bench.figure(case, "p99", "us", &p99, Goal::None);
    }
    resident.runtime.close();

    support::pin_to_one_core();
    let mut chains = vec![
        (
            "resident, 256 B, 32 a commit, one core",
            chain(InstanceMode::Resident),
            32,
            Goal::AtLeast(300_000.0),
        ),
        (
            "resident, 256 B, 1 a commit, one core",
            chain(InstanceMode::Resident),
            1,
            Goal::None,
        ),
        (
            "per message, 256 B, 32 a commit, one core",
            chain(InstanceMode::PerMessage),
            32,
            Goal::None,
        ),
    ];
    chains.retain(|(case, ..)| bench.wants(case));
    let mut rates: Vec<Vec<(f64, f64)>> = vec![Vec::new(); chains.len()];
    for (_, chain, per_commit, _) in &mut chains {
        chain.rate(count / 10, *per_commit);
    }
    // Interleaved, so that a slow spell of the machine meets them all.
    for _ in 0..bench.repetitions(5) {
        for ((_, chain, per_commit, _), rates) in chains.iter_mut().zip(&mut rates) {
            rates.push(chain.rate(count / 2, *per_commit));
        }
    }
    for ((case, chain, _, goal), rates) in chains.iter().zip(&rates) {
        let (rates, cpu): (Vec<f64>, Vec<f64>) = rates.iter().copied().unzip();
        bench.figure(case, "rate", "msg/s", &rates, *goal);
        bench.figure(case, "per CPU", "msg/s", &cpu, Goal::None);
        chain.runtime.close();
    }
}
