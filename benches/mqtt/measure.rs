//! One repetition of a load with one server: what the clients saw, and what the kernel counted of the
//! server meanwhile.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]

use std::io;
use std::time::Duration;

use super::load::{Load, Outcome, Run};
use super::servers::Server;
use super::support::process::{Counts, megabytes};

/// What a server still notes of the last PUBACKs is counted, too.
const AFTERMATH: Duration = Duration::from_millis(20);

/// What came of it.
pub struct Measured {
    /// Deliveries a second until the last PUBACK and the last delivery.
    pub rate: f64,
    /// Microseconds of the server's processor time for each delivery.
    pub cpu: f64,
    /// Bytes written to the device for each message that was published.
    pub written: f64,
    /// Proportional memory at the end, all clients connected, megabytes.
    pub pss: f64,
    /// Peak of resident memory in this run, megabytes.
    pub peak: f64,
    /// Share of a core that the load generator took, in percent.
    pub generator: f64,
    /// Nanoseconds until PUBACK, sorted.
    pub latencies: Vec<u64>,
    pub lost: u64,
    pub disordered: u64,
}

/// Runs it. Connecting is not counted.
pub fn measure(server: &Server, name: &str, load: Load) -> io::Result<Measured> {
    let failed = |error| io::Error::other(format!("{error}; it said: {}", server.said()));
    let mut run = Run::connect(server.address, name, load).map_err(failed)?;
    // The peak of resident memory counts from here.
    std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5")?;
    let before = Counts::of(server.pid());
    run.go().map_err(failed)?;
    std::thread::sleep(AFTERMATH);
    let used = Counts::of(server.pid()).since(before);
    let pss = megabytes(server.pid(), "smaps_rollup", "Pss:");
    let peak = megabytes(server.pid(), "status", "VmHWM:");
    let Outcome {
        messages,
        deliveries,
        acknowledged,
        delivered,
        latencies,
        lost,
        disordered,
        busy,
    } = run.close().map_err(failed)?;
    let took = acknowledged.max(delivered).as_secs_f64();
    Ok(Measured {
        rate: float(deliveries) / took,
        cpu: used.cpu.as_secs_f64() * 1e6 / float(deliveries),
        written: float(used.device) / f64::from(messages),
        pss,
        peak,
        generator: 100.0 * busy.as_secs_f64() / took,
        latencies,
        lost,
        disordered,
    })
}

/// A count as a figure.
#[allow(clippy::cast_precision_loss, reason = "figures")]
pub fn float(n: u64) -> f64 {
    n as f64
}
