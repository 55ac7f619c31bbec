//! Bytes of one module: in a registry, which is what goes over the wire, and on the disk of the device.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use super::edge::Manifest;
use super::start::publish;
use super::support::{Bench, Goal};
use super::world::{Site, World, component, module_of, program, through};

pub fn run(bench: &Bench, site: &mut Site) -> io::Result<()> {
    bench.progress("bytes");
    let address = publish(site)?;
    let built = |path: &Path| fs::metadata(path).map(|found| kb(found.len()));
    bench.figure(
        "bytes: Wasm",
        "as built",
        "kB",
        &[built(&component())?],
        Goal::None,
    );
    bench.figure(
        "bytes: Wasm",
        "on wire",
        "kB",
        &[on_wire(&address, "component")?],
        Goal::None,
    );
    if site.engine.is_some() {
        bench.figure(
            "bytes: container",
            "as built",
            "kB",
            &[built(&program())?],
            Goal::None,
        );
        bench.figure(
            "bytes: container",
            "on wire",
            "kB",
            &[on_wire(&address, "image")?],
            Goal::None,
        );
    }
    for kind in site.kinds() {
        let mut world = World::new(site)?;
        let mut ends = world.ends()?;
        site.forget(&format!("{address}/image:1"));
        // The log is reserved ahead of need, and is everybody's.
        let taken = |world: &World| {
            let engine = site
                .engine
                .as_ref()
                .map_or(0, |engine| disk(&engine.data()));
            disk(&world.daemon.data()) - disk(&world.daemon.data().join("store")) + engine
        };
        let before = taken(&world);
        let manifest = module_of(
            through(Manifest::new(), &["module"]),
            "module",
            *kind,
            "filter",
            &format!("{address}/component:1"),
            &format!("{address}/image:1"),
        );
        world.apply(&manifest, 1)?;
        ends.go(
            "module",
            super::load::Plan {
                rate: None,
                messages: 1,
            },
        )?;
        let more = taken(&world).saturating_sub(before);
        bench.figure(
            &format!("bytes: {}", kind.name()),
            "on disk",
            "kB",
            &[kb(more)],
            Goal::None,
        );
    }
    site.remember()
}

#[allow(clippy::cast_precision_loss, reason = "figures")]
fn kb(bytes: u64) -> f64 {
    bytes as f64 / 1e3
}

/// Manifest, config and layers, as the registry hands them out, without heads and TLS.
fn on_wire(address: &str, name: &str) -> io::Result<f64> {
    let text = get(address, &format!("/v2/{name}/manifests/1"))?;
    let manifest: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let parts = layers.iter().chain([&manifest["config"]]);
    let bytes: u64 = parts.filter_map(|part| part["size"].as_u64()).sum();
    Ok(kb(bytes + text.len() as u64))
}

fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json\r\n\
         Accept: application/vnd.docker.distribution.manifest.v2+json\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{path}: {answer}"))),
    }
}

/// What files in a folder take of the disk. What is mounted in other namespaces is not seen from here.
fn disk(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(found) = entry.path().symlink_metadata() else {
            continue;
        };
        sum += found.blocks() * 512;
        if found.is_dir() {
            sum += disk(&entry.path());
        }
    }
    sum
}
