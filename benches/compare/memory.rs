//! Memory for each module, with everything that comes with it: what all processes that take part take more than
//! without any module, by the number of modules. Each module has handled a message.

use std::io;
use std::time::Duration;

use super::edge::Manifest;
use super::support::process::settle;
use super::support::{Bench, Goal};
use super::world::{Kind, Site, Usage, World, module};

/// Numbers of modules, full and quick.
const COUNTS: ([usize; 4], [usize; 2]) = ([1, 10, 100, 1_000], [1, 10]);
/// More containers than that are not started.
const MOST_CONTAINERS: usize = 100;

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    let counts: &[usize] = if bench.quick { &COUNTS.1 } else { &COUNTS.0 };
    for count in counts {
        for (name, kinds) in [
            ("Wasm", &[Kind::Wasm][..]),
            ("containers", &[Kind::Container][..]),
            (
                "half Wasm, half containers",
                &[Kind::Wasm, Kind::Container][..],
            ),
        ] {
            let containers = if kinds.contains(&Kind::Container) {
                *count
            } else {
                0
            };
            let half = kinds.len() == 2;
            if !kinds.iter().all(|kind| site.kinds().contains(kind))
                || containers > MOST_CONTAINERS
                || (bench.quick && containers > 3 && *count > 3 && half)
                || (half && *count == 1)
            {
                continue;
            }
            case(bench, site, name, kinds, *count)?;
        }
    }
    Ok(())
}

fn case(bench: &Bench, site: &Site, name: &str, kinds: &[Kind], count: usize) -> io::Result<()> {
    let case = format!("memory: {count} {name}");
    bench.progress(&case);
    let mut world = World::new(site)?;
    let mut ends = world.ends()?;
    let rest = |world: &World| match bench.quick {
        true => std::thread::sleep(Duration::from_secs(1)),
        false => settle(world.pid()),
    };
    rest(&world);
    let before = split(&world.usage());
    let mut manifest = Manifest::new();
    for number in 0..count {
        let module_name = format!("m-{number}");
        manifest = module(
            manifest,
            &module_name,
            kinds[number % kinds.len()],
            "filter",
        );
        // One message goes to all of them. What they send on goes nowhere.
        let route = format!(
            "FROM /messages/modules/source/outputs/all INTO BrokeredEndpoint(\"/modules/{module_name}/inputs/input1\")"
        );
        manifest = manifest.route(&module_name, &route);
    }
    world.apply(&manifest, count)?;
    ends.send("all", 1)?;
    world.wait("all modules have handled a message", |world| {
        world.waiting() == 0
    })?;
    rest(&world);
    // Its own fluctuation is told by looking more than once.
    let mut parts: Vec<[f64; 4]> = Vec::new();
    for _ in 0..3 {
        let now = split(&world.usage());
        let mut part = [0.0; 4];
        #[allow(clippy::cast_precision_loss, reason = "figures")]
        for (part, (now, before)) in part.iter_mut().zip(now.iter().zip(before)) {
            *part = (now - before) / count as f64;
        }
        parts.push(part);
        std::thread::sleep(Duration::from_millis(300));
    }
    let all: Vec<f64> = parts.iter().map(|part| part.iter().sum()).collect();
    bench.figure(&case, "PSS each", "kB", &all, Goal::None);
    let containers = kinds.contains(&Kind::Container);
    for (at, metric) in ["daemon", "program", "shim", "engine"].iter().enumerate() {
        if at == 0 || containers {
            let values: Vec<f64> = parts.iter().map(|part| part[at]).collect();
            bench.figure(&case, &format!("of it {metric}"), "kB", &values, Goal::None);
        }
    }
    let _ = world.put(&Manifest::new());
    Ok(())
}

fn split(usage: &Usage) -> [f64; 4] {
    usage.shares().map(super::world::Share::memory)
}
