//! MQTT at QoS 1 beside mosquitto and rumqttd: 256-byte bodies over loopback, without TLS unless a case
//! says so, one load generator for all (`mqtt/load.rs`), which shares the machine with the server.
//!
//! `edge daemon` acknowledges what is on its disk; the others keep nothing. A rate is messages a second
//! from the first PUBLISH until the last PUBACK and the last delivery have come, so it is the slower of
//! both. Nothing may be lost, and order is checked: a server that fails in either is named, and if it is
//! ours the benchmark fails.

#[path = "mqtt/hop.rs"]
mod hop;
#[path = "mqtt/load.rs"]
mod load;
#[path = "mqtt/measure.rs"]
mod measure;
#[path = "mqtt/servers.rs"]
mod servers;
mod support;
#[path = "mqtt/wire.rs"]
mod wire;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use load::Load;
use measure::{Measured, float, measure};
use servers::{Persistence, Server};
use support::process::{megabytes, settle};
use support::{Bench, Goal};
use wire::{Transport, Wire};

macro_rules! complain {
    ($($words:tt)*) => {
        support::complain("mqtt", format_args!($($words)*))
    };
}

/// One question.
struct Case {
    name: &'static str,
    load: Load,
    /// Messages of a quick run.
    quick: u32,
    /// Our rate by mosquitto's.
    goal: Goal,
    /// Bytes written for each byte of body.
    written: Goal,
}

/// Bytes of a body.
const BODY: usize = 256;

const PLAIN: Load = Load {
    publishers: 1,
    subscribers: 1,
    window: 100,
    messages: 200_000,
    time: None,
    pace: None,
    body: BODY,
    clean: true,
    transport: Transport::Plain,
};

/// The question of `mqtt/hop.rs`.
const HOP: &str = "one module with Nagle's algorithm";

/// Of clients that stay connected and silent.
const IDLE: usize = 100;

const CASES: [Case; 6] = [
    Case {
        name: "1 to 1, 100 in flight",
        load: PLAIN,
        quick: 20_000,
        goal: Goal::AtLeast(1.5),
        written: Goal::AtMost(1.3),
    },
    Case {
        name: "1 to 1, 1 000 in flight",
        load: Load {
            window: 1_000,
            ..PLAIN
        },
        quick: 20_000,
        goal: Goal::AtLeast(5.0),
        written: Goal::AtMost(1.3),
    },
    Case {
        name: "50 to 1, 1 in flight each",
        load: Load {
            publishers: 50,
            window: 1,
            messages: 20_000,
            ..PLAIN
        },
        quick: 5_000,
        goal: Goal::AtLeast(0.8),
        written: Goal::None,
    },
    Case {
        name: "1 to 50, 100 in flight",
        load: Load {
            subscribers: 50,
            messages: 20_000,
            ..PLAIN
        },
        quick: 1_000,
        goal: Goal::AtLeast(0.8),
        written: Goal::None,
    },
    Case {
        name: "1 to 1, session kept",
        load: Load {
            clean: false,
            ..PLAIN
        },
        quick: 20_000,
        goal: Goal::None,
        written: Goal::None,
    },
    Case {
        name: "1 to 1, TLS",
        load: Load {
            transport: Transport::Tls,
            ..PLAIN
        },
        quick: 20_000,
        goal: Goal::None,
        written: Goal::None,
    },
];

/// All servers that speak over this transport. What cannot be started is named; without ours the
/// benchmark fails in the end.
fn start(transport: Transport, complete: &mut bool) -> Vec<Server> {
    let mut servers = Vec::new();
    match servers::edge(transport) {
        Ok(server) => servers.push(server),
        Err(error) => {
            complain!("NOT MEASURED: edge: {error}");
            *complete = false;
        }
    }
    match servers::mosquitto(transport, Persistence::Off) {
        Ok(Some(server)) => servers.push(server),
        Ok(None) => complain!(
            "NOT COMPARED WITH mosquitto, which is not installed: apt-get install mosquitto"
        ),
        Err(error) => {
            complain!("NOT COMPARED WITH mosquitto: {error}");
            *complete = false;
        }
    }
    if transport == Transport::Plain {
        match servers::rumqttd() {
            Ok(Some(server)) => servers.push(server),
            Ok(None) => complain!("NOT COMPARED WITH rumqttd, which is not built: .ci/build-peers"),
            Err(error) => {
                complain!("NOT COMPARED WITH rumqttd: {error}");
                *complete = false;
            }
        }
    }
    servers
}

/// All repetitions of a case, by server, and their figures. `false`: ours lost something, or failed.
fn compare(bench: &Bench, case: &Case, servers: &[Server]) -> bool {
    let mut load = case.load;
    if bench.quick {
        load.messages = case.quick;
    }
    let mut sound = true;
    let mut all: Vec<Vec<Measured>> = servers.iter().map(|_| Vec::new()).collect();
    // Interleaved, so that a slow spell of the machine meets them all; the first ones warm up.
    for repetition in 0..=bench.repetitions(5) {
        for (server, all) in servers.iter().zip(&mut all) {
            let mut load = load;
            if repetition == 0 {
                load.messages /= 10;
            }
            let name = format!("{}-{repetition}", case.name.replace(' ', "-"));
            match measure(server, &name, load) {
                Ok(run) => {
                    if run.lost > 0 || run.disordered > 0 {
                        complain!(
                            "{}: {} LOST {} and had {} out of order",
                            case.name,
                            server.name,
                            run.lost,
                            run.disordered
                        );
                        sound &= server.name != "edge";
                    }
                    if repetition > 0 {
                        all.push(run);
                    }
                }
                Err(error) => {
                    complain!("{}: {} FAILED: {error}", case.name, server.name);
                    sound &= server.name != "edge";
                }
            }
        }
    }
    for (server, runs) in servers.iter().zip(&all) {
        if !runs.is_empty() {
            print(bench, case, load, server, runs);
        }
    }
    ratios(bench, case, servers, &all);
    sound
}

fn print(bench: &Bench, case: &Case, load: Load, server: &Server, runs: &[Measured]) {
    let name = format!("{}: {}", case.name, server.name);
    let column =
        |figure: &dyn Fn(&Measured) -> f64| -> Vec<f64> { runs.iter().map(figure).collect() };
    bench.figure(&name, "rate", "msg/s", &column(&|run| run.rate), Goal::None);
    if load.window == 1 {
        for (metric, share) in [("PUBACK p50", 0.5), ("PUBACK p99", 0.99)] {
            let values = column(&|run| support::percentile(&run.latencies, share) / 1e3);
            bench.figure(&name, metric, "us", &values, Goal::None);
        }
    }
    bench.figure(&name, "CPU", "us/msg", &column(&|run| run.cpu), Goal::None);
    bench.figure(
        &name,
        "peak RSS",
        "MB",
        &column(&|run| run.peak),
        Goal::None,
    );
    let generator = column(&|run| run.generator);
    bench.figure(&name, "generator", "% core", &generator, Goal::None);
    if server.name == "edge" {
        #[allow(clippy::cast_precision_loss, reason = "figures")]
        let written = column(&|run| run.written / load.body as f64);
        bench.figure(&name, "written", "B/B", &written, case.written);
        let faults = column(&|run| float(run.lost + run.disordered));
        bench.figure(&name, "faults", "", &faults, Goal::AtMost(0.0));
    }
}

/// Ours by the others', of repetitions next to each other.
fn ratios(bench: &Bench, case: &Case, servers: &[Server], all: &[Vec<Measured>]) {
    let of = |name: &str| servers.iter().position(|server| server.name == name);
    let Some(ours) = of("edge") else {
        return;
    };
    for (peer, goal, cpu_goal) in [
        ("mosquitto", case.goal, Goal::AtMost(1.0)),
        ("rumqttd", Goal::None, Goal::None),
    ] {
        let Some(theirs) = of(peer) else {
            continue;
        };
        let pairs = all[ours].iter().zip(&all[theirs]);
        let (rate, cpu): (Vec<f64>, Vec<f64>) = pairs
            .map(|(ours, theirs)| (ours.rate / theirs.rate, ours.cpu / theirs.cpu))
            .unzip();
        if rate.is_empty() {
            continue;
        }
        let name = format!("{}: edge / {peer}", case.name);
        bench.figure(&name, "rate", "", &rate, goal);
        bench.figure(&name, "CPU", "", &cpu, cpu_goal);
    }
}

/// Messages through a module as Azure's SDKs make it, one after the other.
fn hop(bench: &Bench, servers: &[Server]) -> bool {
    let mut sound = true;
    let messages = if bench.quick { 20 } else { 100 };
    for server in servers {
        let mut rates = Vec::new();
        for repetition in 0..bench.repetitions(5) {
            match hop::rate(server.address, &repetition.to_string(), messages) {
                Ok(rate) => rates.push(rate),
                Err(error) => {
                    complain!("{HOP}: {} FAILED: {error}", server.name);
                    sound &= server.name != "edge";
                }
            }
        }
        let name = format!("{HOP}: {}", server.name);
        bench.figure(&name, "rate", "msg/s", &rates, Goal::None);
    }
    sound
}

/// Memory of the daemon while devices are connected in TLS and silent.
fn idle(bench: &Bench) -> io::Result<()> {
    let server = servers::edge(Transport::Tls)?;
    let mut wires = Vec::new();
    for n in 0..IDLE {
        let mut wire = Wire::connect(server.address, Transport::Tls)?;
        let id = format!("idle-{n}");
        wire.log_in(&id, true, None)?;
        wire.subscribe(&format!("devices/{id}/#"))?;
        wires.push(wire);
    }
    if !bench.quick {
        settle(server.pid());
    }
    let mut memory = Vec::new();
    for _ in 0..bench.repetitions(3) {
        std::thread::sleep(Duration::from_millis(500));
        memory.push(megabytes(server.pid(), "smaps_rollup", "Pss:"));
    }
    let case = "100 idle clients in TLS: edge";
    bench.figure(case, "PSS", "MB", &memory, Goal::AtMost(40.0));
    for wire in wires {
        wire.log_out()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let bench = Bench::new("mqtt");
    let mut sound = true;
    for transport in [Transport::Plain, Transport::Tls] {
        let hops = transport == Transport::Plain && bench.wants(HOP);
        let cases = CASES.iter().filter(|case| bench.wants(case.name));
        let cases: Vec<_> = cases
            .filter(|case| case.load.transport == transport)
            .collect();
        if cases.is_empty() && !hops {
            continue;
        }
        let servers = start(transport, &mut sound);
        if hops {
            sound &= hop(&bench, &servers);
        }
        for case in cases {
            sound &= compare(&bench, case, &servers);
        }
    }
    if bench.wants("idle")
        && let Err(error) = idle(&bench)
    {
        complain!("NOT MEASURED: idle clients: {error}");
        sound = false;
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
