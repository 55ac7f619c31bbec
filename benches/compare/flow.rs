//! Rate, latency and processor time: through one module of either kind, and through two in each order.
//!
//! One daemon has all modules; those that a case does not need have nothing to do. Cases take turns.

use std::io;
use std::time::Duration;

use super::edge::Manifest;
use super::load::{Ends, Outcome, Plan};
use super::support::{Bench, Goal};
use super::world::{Kind, Site, World, module, through};

use Kind::{Container, Wasm};

/// One way from the source to the sink: its name, and its modules with their kind and work.
struct Way {
    name: &'static str,
    modules: &'static [(&'static str, Kind, &'static str)],
}

const WAYS: [Way; 9] = [
    Way {
        name: "no module",
        modules: &[],
    },
    Way {
        name: "pass, Wasm",
        modules: &[("pass-w", Wasm, "pass")],
    },
    Way {
        name: "pass, container",
        modules: &[("pass-c", Container, "pass")],
    },
    Way {
        name: "filter, Wasm",
        modules: &[("filter-w", Wasm, "filter")],
    },
    Way {
        name: "filter, container",
        modules: &[("filter-c", Container, "filter")],
    },
    Way {
        name: "hop Wasm → Wasm",
        modules: &[("ww-1", Wasm, "pass"), ("ww-2", Wasm, "pass")],
    },
    Way {
        name: "hop Wasm → container",
        modules: &[("wc-1", Wasm, "pass"), ("wc-2", Container, "pass")],
    },
    Way {
        name: "hop container → Wasm",
        modules: &[("cw-1", Container, "pass"), ("cw-2", Wasm, "pass")],
    },
    Way {
        name: "hop container → container",
        modules: &[("cc-1", Container, "pass"), ("cc-2", Container, "pass")],
    },
];

/// The speeds: what to call them, messages a second, seconds in a full and in a quick run.
const SPEEDS: [(&str, f64, f64, f64); 3] = [
    ("1/s", 1.0, 15.0, 0.0),
    ("1 000/s", 1_000.0, 4.0, 1.0),
    ("10 000/s", 10_000.0, 2.0, 0.5),
];
/// Messages of a run at saturation, full and quick.
const SATURATION: (u32, u32) = (40_000, 5_000);
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Way {
    /// Whether it is measured on this machine.
    fn can_be_had(&self, kinds: &[Kind]) -> bool {
        self.modules.iter().all(|(_, kind, _)| kinds.contains(kind))
    }

    /// The source's output.
    fn output(&self) -> &'static str {
        self.modules.first().map_or("sink", |(name, _, _)| name)
    }
}

/// One run of a way at a speed.
struct Measured {
    outcome: Outcome,
    /// Milliseconds of processor time for 1 000 messages: all of it, the daemon's.
    cpu: f64,
    daemon: f64,
}

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    let mut world = World::new(site)?;
    let ways: Vec<&Way> = WAYS
        .iter()
        .filter(|way| way.can_be_had(site.kinds()))
        .collect();
    let mut manifest = Manifest::new();
    let mut count = 0;
    for way in &ways {
        for (name, kind, work) in way.modules {
            manifest = module(manifest, name, *kind, work);
            count += 1;
        }
        let names: Vec<&str> = way.modules.iter().map(|(name, _, _)| *name).collect();
        manifest = through(manifest, &names);
    }
    bench.progress("flow: bringing up the modules");
    world.apply(&manifest, count)?;
    let mut ends = world.ends()?;
    for way in &ways {
        measure(
            &world,
            &mut ends,
            way,
            Plan {
                rate: None,
                messages: 2_000,
            },
        )?;
    }
    let mut saturated: Vec<Vec<f64>> = Vec::new();
    let (full, quick) = SATURATION;
    let messages = if bench.quick { quick } else { full };
    let runs = turns(
        bench,
        &world,
        &mut ends,
        &ways,
        "saturation",
        Plan {
            rate: None,
            messages,
        },
    )?;
    for (way, runs) in ways.iter().zip(&runs) {
        let rates = column(runs, |run| rate(&run.outcome));
        bench.figure(way.name, "rate", "msg/s", &rates, Goal::None);
        cpu(bench, way.name, runs);
        saturated.push(rates);
    }
    against(bench, &ways, "rate", &saturated);
    for (name, rate, full, quick) in SPEEDS {
        let seconds = if bench.quick { quick } else { full };
        if seconds <= 0.0 {
            continue;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand"
        )]
        let messages = (rate * seconds) as u32;
        let runs = turns(
            bench,
            &world,
            &mut ends,
            &ways,
            name,
            Plan {
                rate: Some(rate),
                messages,
            },
        )?;
        let mut medians = Vec::new();
        for (way, runs) in ways.iter().zip(&runs) {
            let case = format!("{}, {name}", way.name);
            for (metric, share) in SHARES {
                // A share that is not one message of a run is not told by it.
                if f64::from(messages) * (1.0 - share) >= 1.0 || share == 0.5 {
                    bench.figure(
                        &case,
                        metric,
                        "us",
                        &column(runs, |run| run.outcome.latency(share)),
                        Goal::None,
                    );
                }
            }
            if rate >= 1_000.0 {
                cpu(bench, &case, runs);
            }
            medians.push(column(runs, |run| run.outcome.latency(0.5)));
        }
        against(bench, &ways, &format!("p50 {name}"), &medians);
    }
    Ok(())
}

/// Runs all ways, one after the other, and that again and again.
fn turns(
    bench: &Bench,
    world: &World,
    ends: &mut Ends,
    ways: &[&Way],
    speed: &str,
    plan: Plan,
) -> io::Result<Vec<Vec<Measured>>> {
    let repetitions = match plan.rate {
        Some(1.0) => 1,
        _ if bench.quick => 2,
        _ => 5,
    };
    let mut all: Vec<Vec<Measured>> = ways.iter().map(|_| Vec::new()).collect();
    for repetition in 1..=repetitions {
        for (way, all) in ways.iter().zip(&mut all) {
            bench.progress(format_args!(
                "flow: {}, {speed}: {repetition} of {repetitions}",
                way.name
            ));
            let run = measure(world, ends, way, plan)?;
            let Outcome {
                missing,
                repeated,
                disordered,
                ..
            } = run.outcome;
            if missing + repeated + disordered > 0 {
                bench.remark(format_args!(
                    "{}, {speed}: {missing} missing, {repeated} repeated, {disordered} out of order",
                    way.name
                ));
            }
            all.push(run);
        }
    }
    Ok(all)
}

fn measure(world: &World, ends: &mut Ends, way: &Way, plan: Plan) -> io::Result<Measured> {
    let usage = world.usage();
    let times = || usage.shares().map(|share| share.cpu());
    let before = times();
    let outcome = ends.go(way.output(), plan)?;
    // What is tidied up behind the last message belongs to it.
    std::thread::sleep(Duration::from_millis(50));
    let spent: Vec<f64> = times()
        .iter()
        .zip(before)
        .map(|(now, before)| (*now - before).as_secs_f64())
        .collect();
    let each = |seconds: f64| seconds * 1e6 / f64::from(plan.messages);
    Ok(Measured {
        outcome,
        cpu: each(spent.iter().sum()),
        daemon: each(spent[0]),
    })
}

fn cpu(bench: &Bench, case: &str, runs: &[Measured]) {
    bench.figure(
        case,
        "CPU",
        "ms/1000",
        &column(runs, |run| run.cpu),
        Goal::None,
    );
    bench.figure(
        case,
        "CPU daemon",
        "ms/1000",
        &column(runs, |run| run.daemon),
        Goal::None,
    );
}

/// Container by Wasm, where both were measured.
fn against(bench: &Bench, ways: &[&Way], metric: &str, values: &[Vec<f64>]) {
    let of = |name: &str| ways.iter().position(|way| way.name == name);
    for (title, wasm, container) in [
        ("pass: Wasm by container", "pass, Wasm", "pass, container"),
        (
            "filter: Wasm by container",
            "filter, Wasm",
            "filter, container",
        ),
        (
            "two modules: Wasm by container",
            "hop Wasm → Wasm",
            "hop container → container",
        ),
    ] {
        if let (Some(wasm), Some(container)) = (of(wasm), of(container)) {
            bench.versus(title, metric, &values[wasm], &values[container]);
        }
    }
}

fn rate(outcome: &Outcome) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "figures")]
    let count = outcome.latencies.len() as f64;
    count / outcome.took.as_secs_f64()
}

fn column(runs: &[Measured], figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
    runs.iter().map(figure).collect()
}
