//! The log on disk against the least that could do its work: a file that is written and synced.
//!
//! Appending: batches of 512-byte messages, one commit a batch, each waited for until it is on the
//! device. Beside it, in turns, the same number of bytes in the same pieces: `pwrite` and `fdatasync` on
//! files made ahead as the log's segments are. Then acknowledgements at 100 a second, by turns as well.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use edge_core::{
    DeviceId, EndpointId, Message, MessageBuilder, MessageId, ModuleId, Origin, Priority, Source,
    Timestamp,
};
use edge_store::suite::block_on;
use edge_store::{Commit, FileLog, FileLogConfig, LogMetrics, MessageLog, Progress, QueueId, Seq};
use support::{Bench, Goal};

const BODY: usize = 512;

/// Messages in a commit, and the goal for the ratio of rates.
const BATCHES: [usize; 4] = [1, 10, 100, 1_000];

/// The batch whose bytes are counted.
const COUNTED: usize = 100;

/// Numbers that no device compresses.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let bytes = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    bytes.flatten().take(len).collect()
}

struct Subject {
    log: FileLog,
    queue: QueueId,
    messages: Vec<Message>,
    commit: Commit,
    sent: u64,
    settled: u64,
}

impl Subject {
    fn open(dir: &Path) -> Self {
        let (log, _) = FileLog::open_dir(dir, FileLogConfig::default()).expect("opens");
        let module = ModuleId::new("m").expect("valid");
        let queue = log.queue(&EndpointId::module_input(module, "in"), Priority::DEFAULT);
        // Made ahead, of one sender: what is measured begins where the messages are there.
        let origin = Origin::new(Source::Device(DeviceId::new("d").expect("valid")));
        let messages = (1..=1_000).map(|n| Message {
            content: MessageBuilder::new(noise(BODY, n)).build(),
            origin: origin.clone(),
            id: MessageId::default(),
            enqueued: Timestamp(1),
            hops: 0,
        });
        Self {
            log,
            queue,
            messages: messages.collect(),
            commit: Commit::new(),
            sent: 0,
            settled: 0,
        }
    }

    /// Appends a batch and waits until it is on the device.
    fn append(&mut self, batch: usize) {
        for message in &self.messages[..batch] {
            let index = self.commit.message(message.clone());
            self.commit.target(index, self.queue, None);
        }
        self.sent += batch as u64;
        let lsn = self.log.commit(&mut self.commit).expect("committed");
        block_on(self.log.durable(lsn)).expect("durable");
    }

    /// Settles all that was sent, and waits until the log has freed the room.
    fn drain(&mut self) {
        while self.settled < self.sent {
            for _ in 0..1_000.min(self.sent - self.settled) {
                self.settled += 1;
                self.commit.progress(Progress::Settled {
                    queue: self.queue,
                    seq: Seq(self.settled),
                });
            }
            let lsn = self.log.commit(&mut self.commit).expect("committed");
            block_on(self.log.durable(lsn)).expect("durable");
        }
        let begin = Instant::now();
        while self.log.metrics().segments > 3 && begin.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Files of a segment's size, with room reserved and on the device.
struct Bare {
    dir: PathBuf,
    files: Vec<File>,
    at: u64,
    bytes: Vec<u8>,
}

impl Bare {
    fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            files: Vec::new(),
            at: 0,
            bytes: noise(2 << 20, 7),
        }
    }

    /// Makes files for so many bytes, as the log makes its next segment before it needs it.
    fn prepare(&mut self, bytes: u64) {
        let size = FileLogConfig::default().segment_size.0;
        std::fs::remove_dir_all(&self.dir)
            .or_else(ignore_missing)
            .expect("removed");
        std::fs::create_dir(&self.dir).expect("made");
        let count = bytes / size + 2;
        let make = |n| {
            let mut options = File::options();
            let options = options.write(true).create_new(true);
            let file = options.open(self.dir.join(format!("{n}"))).expect("made");
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(&file, flags, 0, size).expect("there is room");
            file.sync_all().expect("synced");
            file
        };
        self.files = (0..count).rev().map(make).collect();
        self.at = 0;
    }

    fn append(&mut self, len: usize) {
        let size = FileLogConfig::default().segment_size.0;
        if self.at + len as u64 > size {
            self.files.pop();
            self.at = 0;
        }
        let file = self.files.last().expect("prepared");
        file.write_all_at(&self.bytes[..len], self.at)
            .expect("written");
        file.sync_data().expect("synced");
        self.at += len as u64;
    }
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// What the kernel counted for this process: bytes given to `write` and the like, and bytes of pages
/// that were made dirty.
fn kernel_counts() -> [f64; 2] {
    let text = std::fs::read_to_string("/proc/self/io").expect("linux");
    ["wchar: ", "write_bytes: "].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|n| n.parse().ok()).expect("a number")
    })
}

#[allow(clippy::cast_precision_loss, reason = "figures")]
fn float(n: u64) -> f64 {
    n as f64
}

fn written(after: &LogMetrics, before: &LogMetrics) -> u64 {
    after.bytes_written - before.bytes_written
}

fn seconds(call: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    call();
    begin.elapsed().as_secs_f64()
}

fn appending(bench: &Bench, log: &mut Subject, bare: &mut Bare) {
    let target = if bench.quick { 0.15 } else { 1.0 };
    for batch in BATCHES {
        let case = format!("{BODY} B, {batch} a batch, sync each");
        if !bench.wants(&case) {
            continue;
        }
        // How long a batch takes, and how many bytes it is.
        let (before, warm) = (log.log.metrics(), 20);
        let took = seconds(|| (0..warm).for_each(|_| log.append(batch)));
        let len = written(&log.log.metrics(), &before) / warm;
        let len = usize::try_from(len).expect("fits");
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let count = ((target / (took / float(warm))) as u64).clamp(20, 10_000);

        let [mut rates, mut bare_rates, mut ratios] = [(); 3].map(|()| Vec::new());
        let [mut by_log, mut by_wchar, mut by_pages] = [(); 3].map(|()| Vec::new());
        for repetition in 0..bench.repetitions(7) {
            log.drain();
            bare.prepare(count * len as u64);
            let (mut took_log, mut took_bare) = (0.0, 0.0);
            let (before, mut counts) = (log.log.metrics(), [0.0; 2]);
            // Turns of a tenth: a slow spell of the device meets both.
            for turn in 0..10 {
                let mut run_log = || {
                    let kernel = kernel_counts();
                    took_log += seconds(|| (0..count / 10).for_each(|_| log.append(batch)));
                    for (sum, (after, before)) in counts
                        .iter_mut()
                        .zip(kernel_counts().into_iter().zip(kernel))
                    {
                        *sum += after - before;
                    }
                };
                let mut run_bare = || {
                    took_bare += seconds(|| (0..count / 10).for_each(|_| bare.append(len)));
                };
                if (turn + repetition) % 2 == 0 {
                    run_log();
                    run_bare();
                } else {
                    run_bare();
                    run_log();
                }
            }
            let messages = float(count / 10 * 10) * float(batch as u64);
            rates.push(messages / took_log);
            bare_rates.push(messages / took_bare);
            ratios.push(took_bare / took_log);
            let after = log.log.metrics();
            let payload = float(after.payload_bytes - before.payload_bytes);
            by_log.push(float(written(&after, &before)) / payload);
            by_wchar.push(counts[0] / payload);
            by_pages.push(counts[1] / payload);
        }
        bench.figure(&case, "rate", "msg/s", &rates, Goal::None);
        bench.figure(&case, "bare file", "msg/s", &bare_rates, Goal::None);
        bench.figure(&case, "ratio", "", &ratios, Goal::AtLeast(0.8));
        if batch == COUNTED {
            let case = format!("{case}: bytes a byte");
            bench.figure(&case, "log", "", &by_log, Goal::AtMost(1.15));
            bench.figure(&case, "wchar", "", &by_wchar, Goal::None);
            bench.figure(&case, "dirtied", "", &by_pages, Goal::None);
        }
    }
}

/// A message every 10 ms, and between any two a write of the same size to a bare file.
fn acknowledging(bench: &Bench, log: &mut Subject, bare: &mut Bare) {
    let case = format!("{BODY} B, acknowledged, 100 a second");
    if !bench.wants(&case) {
        return;
    }
    let sends = if bench.quick { 150 } else { 1_000 };
    let [mut p50, mut p99, mut bare_p50, mut bare_p99, mut syncs] = [(); 5].map(|()| Vec::new());
    for _ in 0..bench.repetitions(3) {
        log.drain();
        bare.prepare(1 << 20);
        let before = log.log.metrics();
        let (mut acknowledged, mut written_bare) = (Vec::new(), Vec::new());
        let nanos = |begin: Instant| u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let begin = Instant::now();
        for send in 0..sends * 2 {
            let due = Duration::from_millis(5) * send;
            thread::sleep(due.saturating_sub(begin.elapsed()));
            let begin = Instant::now();
            if send % 2 == 0 {
                log.append(1);
                acknowledged.push(nanos(begin));
            } else {
                bare.append(BODY + 64);
                written_bare.push(nanos(begin));
            }
        }
        let done = log.log.metrics().syncs() - before.syncs();
        syncs.push(float(done) / float(u64::from(sends)));
        acknowledged.sort_unstable();
        written_bare.sort_unstable();
        for (row, sorted, share) in [
            (&mut p50, &acknowledged, 0.5),
            (&mut p99, &acknowledged, 0.99),
            (&mut bare_p50, &written_bare, 0.5),
            (&mut bare_p99, &written_bare, 0.99),
        ] {
            row.push(support::percentile(sorted, share) / 1e3);
        }
    }
    bench.figure(&case, "p50", "us", &p50, Goal::None);
    bench.figure(&case, "p99", "us", &p99, Goal::None);
    bench.figure(&case, "bare p50", "us", &bare_p50, Goal::None);
    bench.figure(&case, "bare p99", "us", &bare_p99, Goal::None);
    bench.figure(&case, "syncs", "a send", &syncs, Goal::AtMost(1.0));
}

fn main() {
    let bench = Bench::new("log");
    // Beside what is built: a temporary directory may be in memory.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut log = Subject::open(&scratch.path().join("log"));
    let mut bare = Bare::new(scratch.path().join("bare"));
    appending(&bench, &mut log, &mut bare);
    acknowledging(&bench, &mut log, &mut bare);
    log.log.close().expect("closed");
}
