//! What the kernel counts of another process.

use std::time::Duration;

/// Milliseconds in which the kernel counts CPU time.
const TICK: u64 = 10;

/// What the kernel counted of a process so far.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub cpu: Duration,
    /// Bytes of calls that write, to files, pipes and sockets.
    pub calls: u64,
    /// Bytes that were to go to the device.
    pub device: u64,
}

impl Counts {
    /// Of a process that runs.
    pub fn of(pid: u32) -> Self {
        let io = proc(pid, "io");
        // The name, in brackets, may hold anything.
        let stat = proc(pid, "stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|n| n.parse::<u64>().expect("a number")).sum();
        Self {
            cpu: Duration::from_millis(ticks * TICK),
            calls: number(&io, "wchar:"),
            device: number(&io, "write_bytes:"),
        }
    }

    /// What came since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            calls: self.calls - before.calls,
            device: self.device - before.device,
        }
    }
}

/// A file of `/proc/PID`.
pub fn proc(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs, and may be looked at")
}

/// The number after a name.
pub fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|n| n.parse().ok()).expect(name)
}

/// Megabytes (10⁶ bytes) after a name that counts in KiB, in a file of `/proc/PID`.
pub fn megabytes(pid: u32, file: &str, name: &str) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "figures")]
    let bytes = (number(&proc(pid, file), name) << 10) as f64;
    bytes / 1e6
}

/// Waits until it neither writes nor starts or ends threads for a while: what became free is tidied up
/// a second later, and surplus threads end after five.
pub fn settle(pid: u32) {
    const QUIET: Duration = Duration::from_secs(6);
    const PATIENCE: Duration = Duration::from_secs(60);
    let look = || {
        (
            Counts::of(pid).device,
            number(&proc(pid, "status"), "Threads:"),
        )
    };
    let begin = std::time::Instant::now();
    let (mut last, mut since) = (look(), begin);
    while since.elapsed() < QUIET && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
        let now = look();
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
    }
}

/// All processes that come from this one, itself first, with their names. Those that end meanwhile are left out.
pub fn tree(root: u32) -> Vec<(u32, String)> {
    let mut all: Vec<(u32, u32, String)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // The name, in brackets, may hold anything.
        if let Some((head, rest)) = stat.rsplit_once(") ")
            && let Some((_, name)) = head.split_once('(')
            && let Some(parent) = rest.split(' ').nth(1).and_then(|word| word.parse().ok())
        {
            all.push((pid, parent, name.to_owned()));
        }
    }
    let mut found: Vec<(u32, String)> = Vec::new();
    let mut wanted = vec![root];
    while let Some(next) = wanted.pop() {
        for (pid, parent, name) in &all {
            if *pid == next {
                found.push((*pid, name.clone()));
            } else if *parent == next {
                wanted.push(*pid);
            }
        }
    }
    found
}

/// Proportional memory in kilobytes (10³ bytes); nothing of a process that ended.
pub fn proportional(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1.024
}

/// Processor time, user's and system's; nothing of a process that ended.
pub fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2);
    Duration::from_millis(ticks.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>() * TICK)
}
