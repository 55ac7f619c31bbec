//! How long messages stand still while another build of a module takes its place, at 1 000 messages a second: the
//! longest time between two that come out, and the longest way of one.

use std::io;
use std::time::Duration;

use super::edge::Manifest;
use super::load::{Ends, Outcome, Plan};
use super::support::{Bench, Goal};
use super::world::{Kind, Site, World, module, through};

const RATE: f64 = 1_000.0;
/// Messages before the update comes.
const BEFORE: Duration = Duration::from_millis(500);

/// Modules that messages go through one after the other, and are updated in one deployment.
struct Chain {
    label: String,
    modules: Vec<(String, Kind)>,
}

impl Chain {
    /// One of each kind alone, then both one after the other.
    fn all(kinds: &[Kind]) -> Vec<Self> {
        let alone = kinds.iter().map(|kind| Self {
            label: kind.name().to_owned(),
            modules: vec![(kind.name().to_owned(), *kind)],
        });
        let mixed = (kinds.len() > 1).then(|| Self {
            label: "Wasm, then container".to_owned(),
            modules: kinds
                .iter()
                .map(|kind| (format!("mixed-{}", kind.name()), *kind))
                .collect(),
        });
        alone.chain(mixed).collect()
    }

    /// The first module's name, which is that of the source's output.
    fn name(&self) -> &str {
        self.modules
            .first()
            .map_or("source", |(name, _)| name.as_str())
    }
}

/// All chains; those modules have a new build that are in the chain `updated`.
fn manifest(chains: &[Chain], updated: Option<(usize, &str)>) -> Manifest {
    let mut manifest = Manifest::new();
    for (at, chain) in chains.iter().enumerate() {
        let names: Vec<&str> = chain
            .modules
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        manifest = through(manifest, &names);
        for (name, kind) in &chain.modules {
            manifest = module(manifest, name, *kind, "filter");
            if let Some((_, build)) = updated.filter(|(updated, _)| *updated == at) {
                manifest = manifest.env(name, "build", build);
            }
        }
    }
    manifest
}

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    let mut world = World::new(site)?;
    let mut ends = world.ends()?;
    let chains = Chain::all(site.kinds());
    let modules = chains.iter().map(|chain| chain.modules.len()).sum();
    world.apply(&manifest(&chains, None), modules)?;
    let repetitions = if bench.quick { 1 } else { 5 };
    let [mut gap, mut longest, mut without] = [(); 3].map(|()| vec![Vec::new(); chains.len()]);
    for repetition in 1..=repetitions {
        for (at, chain) in chains.iter().enumerate() {
            let (name, label) = (chain.name(), &chain.label);
            bench.progress(format_args!(
                "update: {label}: {repetition} of {repetitions}"
            ));
            let plan = Plan {
                rate: Some(RATE),
                messages: 1_500,
            };
            without[at].push(ms(ends.go(name, plan)?.longest_gap));
            let build = format!("{repetition}-{at}");
            let manifest = manifest(&chains, Some((at, &build)));
            let request = super::world::request(&manifest, world.daemon.dir())?;
            let outcome = updated(&mut ends, name, &world, request)?;
            let is_wasm = chain.modules.iter().all(|(_, kind)| *kind == Kind::Wasm);
            if outcome.missing > 0 || (is_wasm && outcome.repeated + outcome.disordered > 0) {
                bench.remark(format_args!(
                    "update: {label}: {} missing, {} repeated, {} out of order",
                    outcome.missing, outcome.repeated, outcome.disordered
                ));
            }
            gap[at].push(ms(outcome.longest_gap));
            longest[at].push(outcome.latency(1.0) / 1e3);
            // Each begins with the builds that the next one's manifest has for the others.
            world.apply(&self::manifest(&chains, None), modules)?;
        }
    }
    for (at, chain) in chains.iter().enumerate() {
        let case = format!("update at 1 000/s: {}", chain.label);
        bench.figure(&case, "no update", "ms", &without[at], Goal::None);
        bench.figure(&case, "gap", "ms", &gap[at], Goal::None);
        bench.figure(&case, "longest", "ms", &longest[at], Goal::None);
    }
    if let [wasm, container, ..] = &gap[..] {
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
