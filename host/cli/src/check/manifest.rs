//! A manifest, without a daemon: all that its reader finds, and the components that it names.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use edge_core::deployment::{ComponentRef, Deployment, ModuleKind};
use edge_manifest::{Mistake, ReadOptions, Severity, render};
use edge_route::Mode;
use serde::Serialize;

use super::{Counts, Output};
use crate::exit::Exit;
use crate::output;

#[derive(Serialize)]
struct Report<'a> {
    manifest: String,
    /// What is wrong in the document.
    mistakes: &'a [Mistake],
    /// What is wrong with the files that it names.
    files: &'a [String],
    #[serde(flatten)]
    counts: Counts,
}

/// Checks a manifest and prints what is wrong.
pub(super) fn check(path: &Path, mode: Mode, output: Output) -> Result<Counts, Exit> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read manifest {name}"))
        .map_err(Exit::usage)?;
    let (mistakes, files) = match edge_manifest::read(&text, &ReadOptions { routes: mode }) {
        Ok(read) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            (read.warnings, files(&read.deployment, folder))
        }
        Err(mistakes) => (mistakes, Vec::new()),
    };
    let count = |severity| {
        let these = mistakes
            .iter()
            .filter(|mistake| mistake.severity == severity);
        these.count()
    };
    let counts = Counts {
        errors: count(Severity::Error) + files.len(),
        warnings: count(Severity::Warning),
    };
    match output {
        Output::Json => output::json(&Report {
            manifest: name,
            mistakes: &mistakes,
            files: &files,
            counts,
        })?,
        Output::Text => {
            // One by one: a line of ours is one line, and what follows it is indented.
            for mistake in &mistakes {
                output::line(render(&name, std::slice::from_ref(mistake)).trim_end())?;
            }
            for file in &files {
                output::line(&format!("{name}: error: {file}"))?;
            }
            output::line(&format!("{name}: {counts}"))?;
        }
    }
    Ok(counts)
}

/// Components that are not there, or are none.
fn files(deployment: &Deployment, folder: &Path) -> Vec<String> {
    let wrong = deployment.modules.iter().filter_map(|spec| {
        let ModuleKind::Wasm(wasm) = &spec.kind else {
            return None;
        };
        let ComponentRef::File(file) = &wasm.image else {
            return None;
        };
        let path = folder.join(file);
        let wrong = component(&path).err()?;
        let (module, path) = (&spec.id, path.display());
        Some(format!(
            "module {module}: component {path}: {wrong}; paths are relative to the manifest's folder"
        ))
    });
    wrong.collect()
}

/// Whether a file begins as a component does (component model, binary format: preamble).
fn component(path: &Path) -> Result<(), String> {
    let mut start = [0; 8];
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.read_exact(&mut start);
    match (read, &start) {
        (Ok(()), [0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        (Ok(()), [0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            Err("it is a core module, no component: `edge componentize` makes one of it".to_owned())
        }
        (Ok(()), [b'(', ..]) => Ok(()),
        (Err(error), _) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(error.to_string())
        }
        _ => Err("it is no WebAssembly".to_owned()),
    }
}
