//! A message's way through two routes and a Wasm module: generator (host) → route with a condition on
//! a property → resident Rust filter → route → collector (host). 256-byte bodies, epochs and limits
//! on; log in memory, and in one case on disk. The rate is one core's; the latency is a single
//! message's, at 1 000 a second.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use edge_core::deployment::{InstanceMode, WasmOptions};
use edge_core::{Content, DeviceId, Identity, MessageBuilder, ModuleId};
use edge_hub::{Hub, HubConfig, Inbox, Owner, Sender, Wake};
use edge_route::{Mode, RouteTable};
use edge_store::{Commit, Delivery, FileLog, FileLogConfig, MemoryLog, MessageLog, Visible};
use edge_wasm::{Allocation, RuntimeConfig, Source, WasmRuntime};
use support::{Bench, Goal, route};

const BODY: usize = 256;

const IN_MEMORY: &str = "resident, 256 B, 32 a commit, one core";
const ON_DISK: &str = "resident, 256 B, 32 a commit, log on disk";

/// The host at the end of the way: takes what is routed upstream, and only what is on the device.
#[derive(Default)]
struct Collector {
    inbox: Mutex<Option<(Inbox, Commit, Vec<Delivery>)>>,
    hub: Mutex<Option<Arc<Hub>>>,
    taken: AtomicU64,
    latencies: Mutex<Vec<u64>>,
    /// Takes what there is; without one it is taken at once, where it is committed.
    thread: OnceLock<Thread>,
}

impl Wake for Collector {
    fn wake(&self) {
        match self.thread.get() {
            Some(thread) => thread.unpark(),
            None => self.take(),
        }
    }
}

impl Collector {
    /// A log on disk wakes on the thread that writes it, which must not wait for a commit of its own.
    fn on_a_thread(self: &Arc<Self>) {
        let own = self.clone();
        let thread = std::thread::spawn(move || {
            loop {
                own.take();
                std::thread::park();
            }
        });
        self.thread
            .set(thread.thread().clone())
            .expect("there is one collector thread");
    }

    fn take(&self) {
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

fn in_memory(mode: InstanceMode) -> Chain {
    chain(mode, Arc::new(MemoryLog::default()))
}

fn chain(mode: InstanceMode, log: Arc<dyn MessageLog>) -> Chain {
    let hub = Hub::new(HubConfig::new(DeviceId::new("bench").expect("valid")), log);
    hub.set_routes(
        RouteTable::new(vec![
            route("FROM /messages/modules/generator/* WHERE kind = 'reading' INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")", Mode::Compat),
            route("FROM /messages/modules/filter/outputs/output1 INTO $upstream", Mode::Compat),
        ]),
        None,
    );
    let collector = Arc::new(Collector::default());
    let inbox = hub.inbox(Owner::Upstream, collector.clone(), Visible::Durable);
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
            compiler: edge_wasm::Compiler::InProcess,
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
    let mut resident = in_memory(InstanceMode::Resident);
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
    // Beside what is built: a temporary directory may be in memory.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (file, _) = FileLog::open_dir(scratch.path(), FileLogConfig::default()).expect("opens");
    let file = Arc::new(file);
    let on_disk = chain(InstanceMode::Resident, file.clone());
    on_disk.collector.on_a_thread();
    let mut chains = vec![
        (
            IN_MEMORY,
            in_memory(InstanceMode::Resident),
            32,
            Goal::AtLeast(300_000.0),
        ),
        (ON_DISK, on_disk, 32, Goal::None),
        (
            "resident, 256 B, 1 a commit, one core",
            in_memory(InstanceMode::Resident),
            1,
            Goal::None,
        ),
        (
            "per message, 256 B, 32 a commit, one core",
            in_memory(InstanceMode::PerMessage),
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
    file.close().expect("closed");

    let case = |wanted: &str| {
        let at = chains.iter().position(|(case, ..)| *case == wanted)?;
        Some(rates[at].iter())
    };
    if let (Some(disk), Some(memory)) = (case(ON_DISK), case(IN_MEMORY)) {
        let (rate, cpu): (Vec<f64>, Vec<f64>) = disk
            .zip(memory)
            .map(|(disk, memory)| (disk.0 / memory.0, disk.1 / memory.1))
            .unzip();
        let case = "resident, log on disk / in memory";
        bench.figure(case, "rate", "", &rate, Goal::AtLeast(0.7));
        bench.figure(case, "per CPU", "", &cpu, Goal::None);
    }
}
