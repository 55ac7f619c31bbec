//! The machine and this process, as the kernel tells of them. What it does not tell is left out.

use std::collections::BTreeSet;
use std::fs;

use rustix::fs::statvfs;
use rustix::param::{clock_ticks_per_second, page_size};

use super::text::{Kind, Page};

/// The machine, and the program: agent, hub and Wasm modules are one process.
const HOST: &str = "host";
const PROGRAM: &str = "edge";

pub(super) fn write(page: &mut Page) {
    page.single(
        "edgeAgent_host_uptime_seconds",
        Kind::Gauge,
        "Time since the machine started.",
        u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0),
    );
    memory(page);
    cpu(page);
    disks(page);
}

fn memory(page: &mut Page) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/meminfo");
    let total = meminfo(&machine, "MemTotal:");
    let available = meminfo(&machine, "MemAvailable:");
    let resident = read("/proc/self/statm")
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .map(|pages| pages * page_size() as u64);
    let used = total.zip(available).map(|(all, left)| all - left.min(all));
    by_module(
        page,
        "edgeAgent_used_memory_bytes",
        Kind::Gauge,
        "Memory in use: of the machine, and what this program with its Wasm modules has of it.",
        [(HOST, used), (PROGRAM, resident)],
    );
    by_module(
        page,
        "edgeAgent_total_memory_bytes",
        Kind::Gauge,
        "Memory there is; the program may have all of it.",
        [(HOST, total), (PROGRAM, total)],
    );
}

fn by_module(
    page: &mut Page,
    name: &'static str,
    kind: Kind,
    help: &str,
    samples: [(&str, Option<u64>); 2],
) {
    let mut metric = page.metric(name, kind, help);
    for (module, value) in samples {
        if let Some(value) = value {
            metric.sample(&[("module_name", module)], value);
        }
    }
}

/// Bytes of a line of `/proc/meminfo`, which has kibibytes.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

fn cpu(page: &mut Page) {
    let machine = fs::read_to_string("/proc/stat").ok();
    let program = fs::read_to_string("/proc/self/stat").ok();
    let mut metric = page.metric(
        "edge_cpu_seconds_total",
        Kind::Counter,
        "Processor time used: by the whole machine since it started, and by this program.",
    );
    for (module, ticks) in [
        (HOST, machine.as_deref().and_then(machine_ticks)),
        (PROGRAM, program.as_deref().and_then(program_ticks)),
    ] {
        if let Some(ticks) = ticks {
            metric.sample(&[("module_name", module)], seconds(ticks));
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact for 2^53 ticks, millions of years"
)]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// `cpu user nice system idle iowait irq softirq steal …`: all but idle, iowait and steal.
fn machine_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|n| n.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6].map(|place| ticks.get(place).copied().unwrap_or(0));
    (ticks.len() >= 4).then(|| busy.iter().sum())
}

/// `pid (name) state …`, and as the 14th and 15th field the time in user and kernel mode.
fn program_ticks(stat: &str) -> Option<u64> {
    // The name may hold anything, brackets too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

/// A file system on a device of this machine.
struct Disk {
    name: String,
    file_system: String,
    kind: &'static str,
    available: u64,
    total: u64,
}

fn disks(page: &mut Page) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut seen = BTreeSet::new();
    let disks: Vec<_> = mounts
        .lines()
        .filter_map(mount)
        // Others may be on a network, and asking them may hang.
        .filter(|(device, point, _)| device.starts_with("/dev/") || *point == "/")
        .filter(|(device, ..)| seen.insert(*device))
        .filter_map(|(device, point, file_system)| {
            let space = statvfs(point).ok()?;
            Some(Disk {
                name: device.to_owned(),
                file_system: file_system.to_owned(),
                kind: medium(device),
                available: space.f_bavail.saturating_mul(space.f_frsize),
                total: space.f_blocks.saturating_mul(space.f_frsize),
            })
        })
        .collect();
    for (name, help, of) in [
        (
            "edgeAgent_available_disk_space_bytes",
            "Room left, by disk.",
            (|disk| disk.available) as fn(&Disk) -> u64,
        ),
        ("edgeAgent_total_disk_space_bytes", "Size, by disk.", |d| {
            d.total
        }),
    ] {
        let mut metric = page.metric(name, Kind::Gauge, help);
        for disk in &disks {
            let labels = [
                ("disk_name", disk.name.as_str()),
                ("disk_filesystem", disk.file_system.as_str()),
                ("disk_filetype", disk.kind),
            ];
            metric.sample(&labels, of(disk));
        }
    }
}

/// Device, mount point and type of a line of `/proc/self/mounts`. A mount point with spaces, which are
/// written `\040`, is not found and left out.
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let mut fields = line.split(' ');
    Some((fields.next()?, fields.next()?, fields.next()?))
}

/// What a device is made of, as far as the kernel knows: partitions have it at their disk.
fn medium(device: &str) -> &'static str {
    let Some(name) = device.strip_prefix("/dev/") else {
        return "Unknown";
    };
    for at in ["queue/rotational", "../queue/rotational"] {
        let path = format!("/sys/class/block/{name}/{at}");
        match fs::read_to_string(path).as_deref().map(str::trim) {
            Ok("0") => return "SSD",
            Ok("1") => return "HDD",
            _ => {}
        }
    }
    "Unknown"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields_of_a_process() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194304 10 0 0 0 150 50 0 0 20 0 3 0 99";
        assert_eq!(program_ticks(stat), Some(200));
        assert_eq!(program_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn waiting_is_not_counted_as_processor_time() {
        let stat = "cpu  10 1 5 1000 200 2 3 40 0 0\ncpu0 1 1 1 1";
        assert_eq!(machine_ticks(stat), Some(21));
        assert_eq!(machine_ticks("intr 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:  16 kB\nMemAvailable:   4 kB\n";
        assert_eq!(meminfo(text, "MemAvailable:"), Some(4_096));
        assert_eq!(meminfo(text, "Swap:"), None);
    }
}
