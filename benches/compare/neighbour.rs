//! A bad neighbour: one module spins, takes memory or floods its log, as a component or in a container, with the
//! limits that both have of themselves (memory: 64 MiB each). How far does the p99 of the others move, at 1 000
//! messages a second?

use std::io;
use std::time::{Duration, Instant};

use super::edge::Manifest;
use super::load::Plan;
use super::support::{Bench, Goal};
use super::world::{Kind, Site, World, module, through};

const RATE: f64 = 1_000.0;
const WORKS: [(&str, &str); 3] = [
    ("spin", "spins"),
    ("allocate", "allocates"),
    ("flood", "floods its log"),
];

/// What the processors are looked at for, as in [`super::world::Usage::shares`].
const SHARES: [&str; 4] = ["daemon", "program", "shim", "engine"];
/// Less of a core than that is rest.
const REST: f64 = 0.1;
/// Longest wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processor time so far, by what it went to.
fn spent(world: &World) -> [Duration; 4] {
    world.usage().shares().map(super::world::Share::cpu)
}

/// Waits until nothing has much to do any more.
fn rest(world: &World) {
    const LOOK: Duration = Duration::from_millis(500);
    let begin = Instant::now();
    let all = || -> Duration { spent(world).iter().sum() };
    let mut before = all();
    while begin.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
        let now = all();
        if now.saturating_sub(before) < LOOK.mul_f64(REST) {
            return;
        }
        before = now;
    }
}

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    let kinds = site.kinds();
    let mut cases: Vec<(String, Option<(Kind, &str)>)> = vec![("no neighbour".to_owned(), None)];
    for kind in kinds {
        for (work, says) in WORKS {
            cases.push((format!("{} {says}", kind.name()), Some((*kind, work))));
        }
    }
    let mut world = World::new(site)?;
    let mut ends = world.ends()?;
    let repetitions = if bench.quick { 1 } else { 3 };
    let messages = if bench.quick { 500 } else { 3_000 };
    // By case and victim.
    let mut p99 = vec![vec![Vec::new(); kinds.len()]; cases.len()];
    // Whether the neighbour does what it is said to do is seen by the processors.
    let mut busy: Vec<[Vec<f64>; 4]> = cases.iter().map(|_| Default::default()).collect();
    for repetition in 1..=repetitions {
        for (at, (name, neighbour)) in cases.iter().enumerate() {
            bench.progress(format_args!(
                "neighbour: {name}: {repetition} of {repetitions}"
            ));
            let mut manifest = Manifest::new();
            for kind in kinds {
                let victim = format!("victim-{}", kind.name());
                manifest = module(through(manifest, &[&victim]), &victim, *kind, "filter");
            }
            if let Some((kind, work)) = neighbour {
                // A queue of its own: what the one before left is not its to handle.
                let bad = format!("bad-{work}-{}-{repetition}", kind.name());
                manifest = module(manifest, &bad, *kind, work);
                // What it is given goes to it alone.
                let route = format!(
                    "FROM /messages/modules/source/outputs/bad INTO BrokeredEndpoint(\"/modules/{bad}/inputs/input1\")"
                );
                manifest = manifest.route("bad", &route);
            }
            world.apply(&manifest, kinds.len() + usize::from(neighbour.is_some()))?;
            for kind in kinds {
                ends.go(
                    &format!("victim-{}", kind.name()),
                    Plan {
                        rate: None,
                        messages: 500,
                    },
                )?;
            }
            // The one before may have left work: a flood of lines is read on when its module is gone.
            rest(&world);
            if neighbour.is_some() {
                // A component is stopped at its deadline, and given the next one.
                ends.send("bad", 200)?;
            }
            let (begin, before) = (Instant::now(), spent(&world));
            for (victim, kind) in kinds.iter().enumerate() {
                let plan = Plan {
                    rate: Some(RATE),
                    messages,
                };
                let outcome = ends.go(&format!("victim-{}", kind.name()), plan)?;
                if outcome.missing > 0 {
                    bench.remark(format_args!(
                        "neighbour: {name}: {} missing at {}",
                        outcome.missing,
                        kind.name()
                    ));
                }
                p99[at][victim].push(outcome.latency(0.99));
            }
            let now = spent(&world);
            for (values, (now, before)) in busy[at].iter_mut().zip(now.iter().zip(before)) {
                let share =
                    now.saturating_sub(before).as_secs_f64() / begin.elapsed().as_secs_f64();
                values.push(100.0 * share);
            }
        }
    }
    for ((name, _), busy) in cases.iter().zip(&busy) {
        for (share, values) in SHARES.iter().zip(busy) {
            bench.figure(name, &format!("CPU {share}"), "% core", values, Goal::None);
        }
    }
    for (victim, kind) in kinds.iter().enumerate() {
        for ((name, _), values) in cases.iter().zip(&p99) {
            let case = format!("{name}: p99 of {}", kind.name());
            bench.figure(&case, "p99", "us", &values[victim], Goal::None);
        }
        for ((name, _), values) in cases.iter().zip(&p99).skip(1) {
            let case = format!("{name}: p99 of {} by without", kind.name());
            bench.versus(&case, "p99", &values[victim], &p99[0][victim]);
        }
    }
    Ok(())
}
