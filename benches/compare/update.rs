//! How long messages stand still while another build of a module takes its place, at 1 000 messages a second: the
//! longest time between two that come out, and the longest way of one.

use std::io;
use std::time::Duration;

use super::edge::Manifest;
use super::load::{Ends, Outcome, Plan};
use super::support::{Bench, Goal};
use super::world::{Site, World, module, through};

const RATE: f64 = 1_000.0;
/// Messages before the update comes.
const BEFORE: Duration = Duration::from_millis(500);

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    let mut gaps: Vec<Vec<f64>> = Vec::new();
    let mut world = World::new(site)?;
    let mut ends = world.ends()?;
    let kinds = site.kinds();
    let make = |world: &mut World| -> io::Result<()> {
        let mut manifest = Manifest::new();
        for kind in kinds {
            let name = kind.name();
            manifest = module(through(manifest, &[name]), name, *kind, "filter");
        }
        world.apply(&manifest, kinds.len())
    };
    make(&mut world)?;
    let repetitions = if bench.quick { 1 } else { 5 };
    let [mut gap, mut longest, mut without] = [(); 3].map(|()| vec![Vec::new(); kinds.len()]);
    for repetition in 1..=repetitions {
        for (at, kind) in kinds.iter().enumerate() {
            bench.progress(format_args!(
                "update: {}: {repetition} of {repetitions}",
                kind.name()
            ));
            let name = kind.name();
            let quiet = ends.go(
                name,
                Plan {
                    rate: Some(RATE),
                    messages: 1_500,
                },
            )?;
            without[at].push(ms(quiet.longest_gap));
            let mut manifest = Manifest::new();
            for other in kinds {
                let other_name = other.name();
                manifest = module(
                    through(manifest, &[other_name]),
                    other_name,
                    *other,
                    "filter",
                );
                if other == kind {
                    manifest = manifest.env(other_name, "build", &format!("{repetition}-{at}"));
                }
            }
            let request = super::world::request(&manifest, world.daemon.dir())?;
            let outcome = updated(&mut ends, name, &world, request)?;
            if outcome.missing > 0
                || (kind.name() == "Wasm" && outcome.repeated + outcome.disordered > 0)
            {
                bench.remark(format_args!(
                    "update: {name}: {} missing, {} repeated, {} out of order",
                    outcome.missing, outcome.repeated, outcome.disordered
                ));
            }
            gap[at].push(ms(outcome.longest_gap));
            longest[at].push(outcome.latency(1.0) / 1e3);
            // Each begins with the builds that the next one's manifest has for the other.
            make(&mut world)?;
        }
    }
    for (at, kind) in kinds.iter().enumerate() {
        let case = format!("update at 1 000/s: {}", kind.name());
        bench.figure(&case, "no update", "ms", &without[at], Goal::None);
        bench.figure(&case, "gap", "ms", &gap[at], Goal::None);
        bench.figure(&case, "longest", "ms", &longest[at], Goal::None);
        gaps.push(gap[at].clone());
    }
    if let [wasm, container] = &gaps[..] {
        bench.versus("update: Wasm by container", "gap", wasm, container);
    }
    Ok(())
}

/// A run in which an update comes.
fn updated(ends: &mut Ends, name: &str, world: &World, request: String) -> io::Result<Outcome> {
    let socket = world.daemon.socket();
    let put = std::thread::spawn(move || {
        std::thread::sleep(BEFORE);
        super::world::put(&socket, &request)
    });
    let outcome = ends.go(
        name,
        Plan {
            rate: Some(RATE),
            messages: 4_000,
        },
    )?;
    put.join()
        .map_err(|_| io::Error::other("the update failed"))??;
    Ok(outcome)
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
