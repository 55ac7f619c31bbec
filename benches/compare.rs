//! What a module costs as a container and as a Wasm component: the same source (`benches/modules`) in both, on one
//! `edge daemon` that has everything on its disk, with one load generator.
//!
//! ```text
//!   source (MQTT, TLS) ─► hub ─► module, or two ─► hub ─► sink (MQTT, TLS)
//! ```
//!
//! It makes network and mount namespaces for itself, in which it starts a dockerd and a registry. Without root or
//! Docker the rows of containers are left out, with a word.

#[path = "compare/bytes.rs"]
mod bytes;
#[path = "../tests/support/mod.rs"]
mod edge;
#[path = "modules/container/src/environment.rs"]
#[allow(dead_code, reason = "modules in containers use the rest")]
mod environment;
#[path = "compare/flow.rs"]
mod flow;
#[path = "compare/inside.rs"]
mod inside;
#[path = "compare/load.rs"]
mod load;
#[path = "compare/memory.rs"]
mod memory;
#[path = "compare/neighbour.rs"]
mod neighbour;
#[path = "compare/start.rs"]
mod start;
mod support;
#[path = "compare/update.rs"]
mod update;
#[path = "mqtt/wire.rs"]
#[allow(dead_code, reason = "the load generator of `mqtt` uses the rest")]
mod wire;
#[path = "modules/container/src/workload.rs"]
#[allow(dead_code, reason = "modules in containers use the rest")]
mod workload;
#[path = "compare/world.rs"]
mod world;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use support::Bench;
use world::Site;

/// One question: its name, and what answers it.
type Part = (&'static str, fn(&Bench, &mut Site) -> io::Result<()>);

const PARTS: [Part; 6] = [
    ("flow", flow::run),
    ("start", start::run),
    ("memory", memory::run),
    ("bytes", bytes::run),
    ("update", update::run),
    ("neighbour", neighbour::run),
];

fn main() -> ExitCode {
    if let Some(code) = inside::enter() {
        return code;
    }
    let bench = Bench::new("compare");
    let mut site = Site::open(&bench);
    let mut sound = true;
    for (name, part) in PARTS {
        if !bench.wants(name) {
            continue;
        }
        // A part that fails takes none of the others along, nor leaves anything behind for them.
        let ended = catch_unwind(AssertUnwindSafe(|| part(&bench, &mut site)));
        match ended {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => bench.remark(format_args!("{name} FAILED: {error}")),
            Err(_) => bench.remark(format_args!("{name} FAILED, as it said above")),
        }
        sound = false;
        // An engine that is gone has nothing left.
        let _ = catch_unwind(AssertUnwindSafe(|| site.sweep()));
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
