//! The hub's MQTT beside mosquitto with each kind of persistence: nothing kept, its default, and all of it
//! saved at each change. QoS 1 over loopback, without TLS, one load generator for all (`mqtt/load.rs`),
//! which shares the machine with the server.
//!
//! `edge daemon` acknowledges what is on its disk; mosquitto acknowledges what it has read. A rate is of
//! deliveries, from the first PUBLISH until the last PUBACK and the last delivery have come. Then each is
//! killed under load, and what was acknowledged and never came is counted (`peers/crash.rs`).
//!
//! No rule engine with SQL is compared with: `RESULTS.md` says what was looked for.

#[path = "peers/cases.rs"]
mod cases;
#[path = "peers/crash.rs"]
mod crash;
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
use std::sync::Once;
use std::time::Duration;

use cases::Case;
use crash::{Crash, Subscriber};
use measure::{Measured, measure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use servers::{Persistence, Server};
use support::{Bench, Goal};
use wire::Transport;

macro_rules! complain {
    ($($words:tt)*) => {
        support::complain("peers", format_args!($($words)*))
    };
}

/// Who is compared.
#[derive(Debug, Clone, Copy)]
enum Peer {
    Edge,
    Mosquitto(Persistence),
}

const PEERS: [Peer; 4] = [
    Peer::Edge,
    Peer::Mosquitto(Persistence::Off),
    Peer::Mosquitto(Persistence::Default),
    Peer::Mosquitto(Persistence::Forced),
];

/// Time of load until each kill.
const KILLS: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_millis(700),
    Duration::from_millis(900),
    Duration::from_millis(1_100),
];

impl Peer {
    /// `None`: it is not installed.
    fn start(self) -> io::Result<Option<Server>> {
        match self {
            Self::Edge => servers::edge(Transport::Plain).map(Some),
            Self::Mosquitto(persistence) => servers::mosquitto(Transport::Plain, persistence),
        }
    }

    /// Those that can be started; `sound` is `false` from then on if one fails.
    fn all(case: &Case, sound: &mut bool) -> Vec<(Self, Server)> {
        let mut servers = Vec::new();
        let mut missing = false;
        for peer in PEERS {
            if peer.takes_too_long(case) {
                complain!("{}: NOT ASKED OF {peer:?}, which takes minutes", case.name);
                continue;
            }
            match peer.start() {
                Ok(Some(server)) => servers.push((peer, server)),
                Ok(None) => missing = true,
                Err(error) => {
                    complain!("NOT MEASURED: {peer:?}: {error}");
                    *sound = false;
                }
            }
        }
        static SAID: Once = Once::new();
        if missing {
            SAID.call_once(|| {
                complain!(
                    "NOT COMPARED WITH mosquitto, which is not installed: apt-get install mosquitto"
                )
            });
        }
        servers
    }

    /// It saves all it has for each client that comes, and what it has had grown to 29 MB.
    fn takes_too_long(self, case: &Case) -> bool {
        matches!(self, Self::Mosquitto(Persistence::Forced)) && case.load.publishers >= 1_000
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::Edge)
    }
}

/// All repetitions of a case, and its figures. `false`: ours lost something, or failed.
fn compare(bench: &Bench, case: &Case, servers: &[(Peer, Server)]) -> bool {
    let mut sound = true;
    let mut all: Vec<Vec<Measured>> = servers.iter().map(|_| Vec::new()).collect();
    // Interleaved, so that a slow spell of the machine meets them all; the first ones warm up.
    let repetitions = if bench.quick { 1..=1 } else { 0..=5 };
    for repetition in repetitions {
        for ((peer, server), all) in servers.iter().zip(&mut all) {
            let mut load = case.load;
            if repetition == 0 {
                load.time = load.time.map(|time| time / 10);
            }
            let name = format!("{}-{repetition}", case.name.replace(' ', "-"));
            match measure(server, &name, load) {
                Ok(run) => {
                    if run.lost > 0 || run.disordered > 0 {
                        let Measured {
                            lost, disordered, ..
                        } = run;
                        complain!(
                            "{}: {} LOST {lost} and had {disordered} out of order",
                            case.name,
                            server.name
                        );
                        sound &= !peer.is_ours();
                    }
                    if repetition > 0 {
                        all.push(run);
                    }
                }
                Err(error) => {
                    complain!("{}: {} FAILED: {error}", case.name, server.name);
                    sound &= !peer.is_ours();
                }
            }
        }
    }
    for ((_, server), runs) in servers.iter().zip(&all) {
        if !runs.is_empty() {
            print(bench, &format!("{}: {}", case.name, server.name), runs);
        }
    }
    ratios(bench, case, servers, &all);
    sound
}

fn print(bench: &Bench, name: &str, runs: &[Measured]) {
    type Figure = fn(&Measured) -> f64;
    let figures: [(&str, &str, Figure); 8] = [
        ("rate", "msg/s", |run| run.rate),
        ("PUBACK p50", "us", |run| {
            support::percentile(&run.latencies, 0.5) / 1e3
        }),
        ("PUBACK p99", "us", |run| {
            support::percentile(&run.latencies, 0.99) / 1e3
        }),
        ("CPU", "us/msg", |run| run.cpu),
        ("written", "B/msg", |run| run.written),
        ("PSS", "MB", |run| run.pss),
        ("peak RSS", "MB", |run| run.peak),
        ("generator", "% core", |run| run.generator),
    ];
    for (metric, unit, figure) in figures {
        let values: Vec<f64> = runs.iter().map(figure).collect();
        bench.figure(name, metric, unit, &values, Goal::None);
    }
}

/// Ours by the others', of repetitions next to each other. One that keeps nothing is what we want to be
/// no slower than.
fn ratios(bench: &Bench, case: &Case, servers: &[(Peer, Server)], all: &[Vec<Measured>]) {
    let ours = servers.iter().position(|(peer, _)| peer.is_ours());
    let Some(ours) = ours else { return };
    for (theirs, (peer, server)) in servers.iter().enumerate() {
        let Peer::Mosquitto(persistence) = peer else {
            continue;
        };
        let pairs = all[ours].iter().zip(&all[theirs]);
        let (rate, mut cpu): (Vec<f64>, Vec<f64>) = pairs
            .map(|(ours, theirs)| (ours.rate / theirs.rate, ours.cpu / theirs.cpu))
            .unzip();
        // Short runs may be shorter than what the kernel counts in.
        cpu.retain(|ratio| ratio.is_finite());
        if rate.is_empty() {
            continue;
        }
        let judged = *persistence == Persistence::Off && case.load.pace.is_none();
        let (least, most) = if judged {
            (Goal::AtLeast(1.0), Goal::AtMost(1.0))
        } else {
            (Goal::None, Goal::None)
        };
        let name = format!("{}: edge / {}", case.name, server.name);
        bench.figure(&name, "rate", "", &rate, least);
        if !cpu.is_empty() {
            bench.figure(&name, "CPU", "", &cpu, most);
        }
    }
}

/// Kills each server under load, a new one each time. `false`: ours lost something, or failed.
fn crashes(bench: &Bench, name: &str, subscriber: Subscriber) -> bool {
    let mut sound = true;
    let mut all: Vec<Vec<Crash>> = PEERS.iter().map(|_| Vec::new()).collect();
    let mut names = PEERS.map(|_| "");
    let kills = if bench.quick { &KILLS[..1] } else { &KILLS };
    for after in kills {
        for (n, peer) in PEERS.into_iter().enumerate() {
            let crash = peer.start().and_then(|server| {
                let Some(mut server) = server else {
                    return Ok(None);
                };
                names[n] = server.name;
                crash::run(&mut server, subscriber, *after).map(Some)
            });
            match crash {
                Ok(Some(crash)) => {
                    sound &= !peer.is_ours() || (crash.lost == 0 && crash.disordered == 0);
                    all[n].push(crash);
                }
                Ok(None) => {}
                Err(error) => {
                    complain!("{name}: {peer:?} FAILED: {error}");
                    sound &= !peer.is_ours();
                }
            }
        }
    }
    for ((peer, server), crashes) in PEERS.into_iter().zip(names).zip(&all) {
        if crashes.is_empty() {
            continue;
        }
        type Figure = fn(&Crash) -> f64;
        let none = match peer {
            Peer::Edge => Goal::AtMost(0.0),
            Peer::Mosquitto(_) => Goal::None,
        };
        let figures: [(&str, &str, Figure, Goal); 5] = [
            (
                "PUBACKs",
                "msg",
                |c| f64::from(c.before + c.after),
                Goal::None,
            ),
            ("lost", "msg", |c| f64::from(c.lost), none),
            ("repeated", "msg", |c| f64::from(c.repeated), Goal::None),
            ("disordered", "msg", |c| f64::from(c.disordered), none),
            (
                "restart",
                "ms",
                |c| c.restart.as_secs_f64() * 1e3,
                Goal::None,
            ),
        ];
        for (metric, unit, figure, goal) in figures {
            let values: Vec<f64> = crashes.iter().map(figure).collect();
            bench.figure(&format!("{name}: {server}"), metric, unit, &values, goal);
        }
    }
    sound
}

/// A thousand clients are more than the usual limit of open files allows, here and in servers.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        complain!("open files stay at their limit: {error}");
    }
}

fn main() -> ExitCode {
    let bench = Bench::new("peers");
    open_many_files();
    let mut sound = true;
    let cases = cases::all(bench.quick);
    let cases: Vec<_> = cases
        .iter()
        .filter(|case| bench.wants(&case.name))
        .collect();
    for case in cases {
        // New ones for each case: what one leaves in a server's memory and files is no part of the next.
        let servers = Peer::all(case, &mut sound);
        sound &= compare(&bench, case, &servers);
    }
    for (name, subscriber) in [
        ("kill -9, the subscriber reads", Subscriber::Reads),
        ("kill -9, the subscriber is away", Subscriber::IsAway),
    ] {
        if bench.wants(name) {
            sound &= crashes(&bench, name, subscriber);
        }
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
