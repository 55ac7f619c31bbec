//! `edge componentize`: makes a component out of a core Wasm module, such as clang writes.
//!
//! What a core module lacks is the types of what it imports and exports. They come from the WIT
//! world that it was built for: from folders given with `--wit`, or from what a bindings generator
//! put into the module. There is no adapter for WASI preview 1: a module that calls it is refused,
//! and told which calls they are.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Make a component out of a core Wasm module, such as clang writes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The core module.
    core: PathBuf,
    /// Where the component goes.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A folder of WIT. May be given several times; later ones may refer to earlier ones. Needed
    /// unless the module says itself which world it was built for.
    #[arg(long, value_name = "DIR")]
    wit: Vec<PathBuf>,
    /// The world, of the last folder. Needed when it has several.
    #[arg(long, requires = "wit")]
    world: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The core module or the WIT cannot be read, they do not fit, or the component cannot be written.
pub fn run(args: Args) -> Result<ExitCode> {
    let core = fs::read(&args.core).with_context(|| format!("read {}", args.core.display()))?;
    let component = componentize(core, &args.wit, args.world.as_deref())
        .with_context(|| format!("make a component of {}", args.core.display()))?;
    write(&args.output, &component)?;
    Ok(ExitCode::SUCCESS)
}

/// A component of a core module.
fn componentize(mut core: Vec<u8>, wit: &[PathBuf], world: Option<&str>) -> Result<Vec<u8>> {
    let facts = Facts::read(&core)?;
    if !facts.preview1.is_empty() {
        let calls: Vec<_> = facts.preview1.into_iter().collect();
        bail!(
            "it calls WASI preview 1, for which there is no adapter: {}\n\
             these come with stdio, files, clocks and exit(); leave them out, or build for wasm32-wasip2",
            calls.join(", ")
        );
    }
    if wit.is_empty() {
        ensure!(
            facts.typed,
            "nothing says which world it was built for: name the folder of its WIT with --wit"
        );
    } else {
        let (resolve, world) = load(wit, world)?;
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)
            .context("add the types of the world")?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|mut encoder| encoder.encode())
        .context("its imports and exports do not fit the world")
}

/// What matters here of a core module.
#[derive(Debug, Default)]
struct Facts {
    /// Imported functions of WASI preview 1.
    preview1: BTreeSet<String>,
    /// Whether a bindings generator left the world's types in it.
    typed: bool,
}

impl Facts {
    fn read(core: &[u8]) -> Result<Self> {
        let mut facts = Self::default();
        for payload in Parser::new(0).parse_all(core) {
            match payload.context("it is not WebAssembly, or broken")? {
                Payload::Version {
                    encoding: Encoding::Component,
                    ..
                } => bail!("it is a component already"),
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import.context("its imports are broken")?;
                        if import.module == "wasi_snapshot_preview1"
                            || import.module == "wasi_unstable"
                        {
                            facts.preview1.insert(import.name.to_owned());
                        }
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    facts.typed = true;
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

fn load(dirs: &[PathBuf], world: Option<&str>) -> Result<(Resolve, wit_parser::WorldId)> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for dir in dirs {
        let pushed = resolve.push_path(dir);
        last = Some(
            pushed
                .with_context(|| format!("read the WIT of {}", dir.display()))?
                .0,
        );
    }
    let packages: Vec<_> = last.into_iter().collect();
    let world = resolve.select_world(&packages, world)?;
    Ok((resolve, world))
}

/// Writes a file whole or not at all: somebody may be watching it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?;
    let mut part = name.to_os_string();
    part.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(part);
    let written = fs::File::create(&part)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // The half file is of no use; the error that counts is the one above.
        fs::remove_file(&part).ok();
    }
    written.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests;
