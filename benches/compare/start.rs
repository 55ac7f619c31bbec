//! From a deployment that is put in force to the first message that its module has handled, as the sink sees it. The
//! message waits for the module already.
//!
//! Cold: component and image are in a registry on this machine, nothing is pulled or compiled. Warm: both are here,
//! and the component is compiled; the container is created and started all the same.

use std::io;
use std::time::{Duration, Instant};

use super::edge::Manifest;
use super::edge::registry::Registry;
use super::load::Ends;
use super::support::{Bench, Goal};
use super::world::{IMAGE, Kind, Site, World, component, module_of, through};

/// Longest wait for the first message.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is deployed, and its modules.
const CASES: [(&str, &[(&str, Kind)]); 3] = [
    ("Wasm", &[("wasm", Kind::Wasm)]),
    ("container", &[("box", Kind::Container)]),
    (
        "Wasm, then container",
        &[("wasm", Kind::Wasm), ("box", Kind::Container)],
    ),
];

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    bench.progress("start: filling the registry");
    let address = publish(site)?;
    let mut cold: Vec<Vec<f64>> = CASES.iter().map(|_| Vec::new()).collect();
    let mut warm = cold.clone();
    let repetitions = if bench.quick { 1 } else { 5 };
    for repetition in 1..=repetitions {
        for (at, (name, modules)) in CASES.iter().enumerate() {
            if !modules.iter().all(|(_, kind)| site.kinds().contains(kind)) {
                continue;
            }
            bench.progress(format_args!("start: {name}: {repetition} of {repetitions}"));
            site.forget(&format!("{address}/image:1"));
            let world = World::new(site)?;
            let mut ends = world.ends()?;
            cold[at].push(first(&world, &mut ends, modules, &address)?);
            // Everything of it goes but what was pulled and compiled.
            for _ in 0..if bench.quick { 1 } else { 2 } {
                world.put(&Manifest::new())?;
                world.wait("the modules are gone", |world| {
                    world.daemon.json("list")["modules"]
                        .as_array()
                        .is_some_and(Vec::is_empty)
                })?;
                warm[at].push(first(&world, &mut ends, modules, &address)?);
            }
        }
    }
    site.remember()?;
    for (values, how) in [(&cold, "cold"), (&warm, "warm")] {
        for ((name, _), values) in CASES.iter().zip(values) {
            if !values.is_empty() {
                bench.figure(
                    &format!("start {how}: {name}"),
                    "time",
                    "ms",
                    values,
                    Goal::None,
                );
            }
        }
        bench.versus(
            &format!("start {how}: Wasm by container"),
            "time",
            &values[0],
            &values[1],
        );
    }
    Ok(())
}

/// Puts component and image in a registry, and gives its address.
pub fn publish(site: &mut Site) -> io::Result<String> {
    if let Some(registry) = &site.registry {
        return Ok(registry.address().to_owned());
    }
    if !std::path::Path::new("/usr/bin/docker-registry").exists() {
        return Err(io::Error::other(
            "docker-registry is not there (.ci/install)",
        ));
    }
    let registry = Registry::start();
    let address = registry.address().to_owned();
    let reference = format!("{address}/component:1");
    super::edge::edge(["push"])
        .arg(component())
        .arg(reference)
        .output("")
        .code(0);
    if let Some(engine) = &site.engine {
        let reference = format!("{address}/image:1");
        engine.docker(&["tag", IMAGE, &reference]);
        engine.docker(&["push", "--quiet", &reference]);
    }
    site.registry = Some(registry);
    Ok(address)
}

/// Milliseconds to the first message.
fn first(
    world: &World,
    ends: &mut Ends,
    modules: &[(&str, Kind)],
    address: &str,
) -> io::Result<f64> {
    let names: Vec<&str> = modules.iter().map(|(name, _)| *name).collect();
    let routes = through(Manifest::new(), &names);
    world.put(&routes)?;
    ends.send(names.first().copied().unwrap_or("sink"), 1)?;
    let mut manifest = routes;
    for (name, kind) in modules {
        let (component, image) = (
            format!("{address}/component:1"),
            format!("{address}/image:1"),
        );
        manifest = module_of(manifest, name, *kind, "filter", &component, &image);
    }
    let request = super::world::request(&manifest, world.daemon.dir())?;
    let begin = Instant::now();
    super::world::put(&world.daemon.socket(), &request)?;
    let handled = ends.first(PATIENCE).map_err(|error| {
        let list = world.daemon.json("list");
        io::Error::other(format!("{error}: {list}"))
    })?;
    Ok((handled - begin).as_secs_f64() * 1e3)
}
