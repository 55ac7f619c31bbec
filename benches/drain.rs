//! A backlog on disk, drained into a Wasm module: a million messages of 256 B wait in one queue, the log
//! was closed and is opened again, and the filter takes them in order and drops them, because they are
//! cold. Once from the page cache, once from the device.
//!
//! Filling and draining are different processes: memory that filling left behind would hide what
//! draining takes. The second one is this program again, told by [`DRAIN`].

mod support;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_core::deployment::WasmOptions;
use edge_core::{DeviceId, EndpointId, Identity, MessageBuilder, ModuleId, Priority};
use edge_hub::{Hub, HubConfig};
use edge_store::{
    Commit, CommitError, DeadLetter, Delivery, Durable, FileLog, FileLogConfig, LogMetrics, Lsn,
    MessageLog, OnDurable, Pressure, QueueId, QueueStatus, Seq, Table, Visible,
};
use edge_wasm::{Allocation, RuntimeConfig, Source, WasmRuntime};
use serde::{Deserialize, Serialize};
use support::{Bench, Goal};

const BODY: usize = 256;
/// Messages in a commit while the queue is filled.
const FILL: u64 = 100;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Set to the folder and the number of messages in the process that drains.
const DRAIN: &str = "EDGE_BENCH_DRAIN";

/// What the process that drains found out.
#[derive(Serialize, Deserialize)]
struct Drained {
    open_ms: f64,
    seconds: f64,
    cpu_seconds: f64,
    growth: u64,
}

/// A log that looks at what is read from it: all entries, in order.
#[derive(Debug)]
struct InOrder {
    log: FileLog,
    /// One past the last that was read.
    end: AtomicU64,
    broken: AtomicBool,
}

impl MessageLog for InOrder {
    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max: usize,
        visible: Visible,
        out: &mut Vec<Delivery>,
    ) {
        let start = out.len();
        self.log.read(queue, from, max, visible, out);
        let Some(first) = out.get(start) else {
            return;
        };
        // What was taken and not begun is read again; nothing is passed over.
        let in_a_row = (first.seq.0..).zip(&out[start..]);
        let in_a_row = { in_a_row }.all(|(seq, delivery)| delivery.seq.0 == seq);
        let read = (out.len() - start) as u64;
        let end = self.end.fetch_max(first.seq.0 + read, Ordering::Relaxed);
        if !in_a_row || first.seq.0 > end {
            self.broken.store(true, Ordering::Relaxed);
        }
    }

    fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId {
        self.log.queue(endpoint, priority)
    }

    fn queues(&self) -> Vec<QueueStatus> {
        self.log.queues()
    }

    fn commit(&self, commit: &mut Commit) -> Result<Lsn, CommitError> {
        self.log.commit(commit)
    }

    fn durable_lsn(&self) -> Lsn {
        self.log.durable_lsn()
    }

    fn durable(&self, lsn: Lsn) -> Durable<'_> {
        self.log.durable(lsn)
    }

    fn when_durable(&self, call: OnDurable) {
        self.log.when_durable(call);
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.log.get(table, key)
    }

    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<Bytes> {
        self.log.keys(table, prefix, after, max)
    }

    fn dead_letters(&self, from: Seq, max: usize) -> Vec<(Seq, DeadLetter)> {
        self.log.dead_letters(from, max)
    }

    fn pressure(&self) -> Pressure {
        self.log.pressure()
    }

    fn metrics(&self) -> LogMetrics {
        self.log.metrics()
    }
}

fn filter() -> ModuleId {
    ModuleId::new("filter").expect("valid")
}

fn hub(log: Arc<dyn MessageLog>) -> Arc<Hub> {
    Hub::new(HubConfig::new(DeviceId::new("bench").expect("valid")), log)
}

fn open(dir: &Path) -> FileLog {
    let (log, opening) =
        FileLog::open_dir(&dir.join("store"), FileLogConfig::default()).expect("opens");
    assert!(opening.damage.is_empty(), "damaged: {opening:?}");
    log
}

fn fill(dir: &Path, count: u64) {
    // What an earlier repetition left.
    let _ = std::fs::remove_dir_all(dir.join("store"));
    let log = Arc::new(open(dir));
    let hub = hub(log.clone());
    let queue = hub.queue(
        &EndpointId::module_input(filter(), "input1"),
        Priority::DEFAULT,
    );
    let mut sender = hub.sender(Identity::Device(hub.device().clone()));
    let mut commit = Commit::new();
    for sent in 1..=count {
        let message = MessageBuilder::new(vec![b'x'; BODY])
            .property("temperature", "20.5")
            .build();
        sender
            .stage_for(&mut commit, queue, message, None, hub.now())
            .expect("taken");
        if sent % FILL == 0 || sent == count {
            hub.commit(&mut commit).expect("committed");
        }
    }
    log.close().expect("closed");
}

/// Megabytes that a log takes on the disk.
fn on_disk(dir: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(dir.join("store/log")).expect("a folder");
    let blocks = files.map(|file| {
        file.and_then(|file| file.metadata())
            .expect("there")
            .blocks()
    });
    let blocks: u64 = blocks.sum();
    mega(blocks * 512)
}

/// Lets the kernel forget what it has of the log in memory.
fn forget_pages(dir: &Path) {
    for file in std::fs::read_dir(dir.join("store/log")).expect("a folder") {
        let file = File::open(file.expect("there").path()).expect("opens");
        file.sync_all().expect("synced");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("taken");
    }
}

/// Kilobytes from a line of `/proc/self/status`.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).expect("a number")
}

/// The process that drains.
fn drain(dir: &Path, count: u64) -> Drained {
    let begin = Instant::now();
    let log = open(dir);
    let open_ms = begin.elapsed().as_secs_f64() * 1e3;
    let log = Arc::new(InOrder {
        log,
        end: AtomicU64::new(1),
        broken: AtomicBool::new(false),
    });
    let hub = hub(log.clone());
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("starts");
    let cache = edge_wasm::cache::CompileCache::open(&dir.join("cache")).expect("a cache");
    let runtime = WasmRuntime::new(
        hub.clone(),
        RuntimeConfig {
            allocation: Allocation::OnDemand,
            workers: 1,
            cache: Some(cache),
            compiler: edge_wasm::Compiler::InProcess,
            logs: Arc::new(support::Complaints),
            observer: None,
            tokio: tokio.handle().clone(),
        },
    );
    let prepared = runtime
        .prepare(
            filter(),
            &Source::File(support::sample("filter.wasm")),
            None,
            WasmOptions::default(),
            Default::default(),
        )
        .expect("the filter is a module");
    assert_eq!(hub.pressure().waiting, count, "the log kept another number");

    // From here on the kernel notes the most anew.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let before = status("VmRSS");
    let (begin, cpu) = (Instant::now(), support::cpu_time());
    runtime.start(prepared);
    while hub.pressure().waiting > 0 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", hub.log().queues());
        std::thread::sleep(Duration::from_millis(1));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_seconds = (support::cpu_time() - cpu).as_secs_f64();
    let growth = status("VmHWM").saturating_sub(before);

    assert!(!log.broken.load(Ordering::Relaxed), "out of order");
    assert_eq!(log.end.load(Ordering::Relaxed), count + 1, "not all read");
    runtime.close();
    let counts = hub.counters().snapshot();
    assert_eq!(counts.handled, count, "{counts:?}");
    // What is drained is dropped a moment later.
    let begin = Instant::now();
    while log.metrics().segments > 1 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", log.metrics());
        std::thread::sleep(Duration::from_millis(10));
    }
    log.log.close().expect("closed");
    Drained {
        open_ms,
        seconds,
        cpu_seconds,
        growth: growth << 10,
    }
}

/// Runs this program again to drain.
fn in_a_new_process(dir: &Path, count: u64) -> Drained {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own)
        .env(DRAIN, format!("{count} {}", dir.display()))
        .stderr(Stdio::inherit())
        .output()
        .expect("starts");
    assert!(output.status.success(), "draining: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("what was found out")
}

#[allow(clippy::cast_precision_loss, reason = "figures")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[allow(
    clippy::print_stdout,
    reason = "this is how the process that drains answers"
)]
fn main() {
    if let Ok(what) = std::env::var(DRAIN) {
        let (count, dir) = what.split_once(' ').expect("a number and a folder");
        let drained = drain(Path::new(dir), count.parse().expect("a number"));
        println!(
            "{}",
            serde_json::to_string(&drained).expect("plain numbers")
        );
        return;
    }
    let bench = Bench::new("drain");
    let count: u64 = if bench.quick { 100_000 } else { 1_000_000 };
    // Beside what is built: a temporary directory may be in memory.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // The first one compiles the filter.
    fill(scratch.path(), 1);
    in_a_new_process(scratch.path(), 1);

    let what = if bench.quick { "100 000" } else { "1 000 000" };
    for (from, cold) in [("page cache", false), ("device", true)] {
        let case = format!("{what} of {BODY} B, from the {from}");
        if !bench.wants(&case) {
            continue;
        }
        let [mut rate, mut per_cpu, mut growth, mut open] = [(); 4].map(|()| Vec::new());
        let [mut before, mut after] = [(); 2].map(|()| Vec::new());
        for _ in 0..bench.repetitions(3) {
            fill(scratch.path(), count);
            before.push(on_disk(scratch.path()));
            if cold {
                forget_pages(scratch.path());
            }
            let drained = in_a_new_process(scratch.path(), count);
            after.push(on_disk(scratch.path()));
            #[allow(clippy::cast_precision_loss, reason = "figures")]
            let count = count as f64;
            rate.push(count / drained.seconds);
            per_cpu.push(count / drained.cpu_seconds);
            growth.push(mega(drained.growth));
            open.push(drained.open_ms);
        }
        bench.figure(&case, "rate", "msg/s", &rate, Goal::AtLeast(300_000.0));
        bench.figure(&case, "per CPU", "msg/s", &per_cpu, Goal::None);
        bench.figure(&case, "RSS growth", "MB", &growth, Goal::AtMost(16.0));
        bench.figure(&case, "opening", "ms", &open, Goal::None);
        bench.figure(&case, "disk full", "MB", &before, Goal::None);
        bench.figure(&case, "disk empty", "MB", &after, Goal::None);
    }
}
