//! `edge push`: store a component in a registry.
//!
//! In the CNCF layout, with the names of what it imports and exports as they are in it: who pulls it can
//! say no before it has come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, anyhow, bail};
use edge_core::Timestamp;
use edge_oci::{PushOptions, Reference};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

use crate::exit::Exit;
use crate::output;
use crate::registries::{Access, block_on};

/// Store a component in a registry. Prints its reference with the digest.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The component.
    file: PathBuf,
    /// Where it goes, as in registry.example/filter:1.2.
    reference: Reference,
    /// Something that is said of it, as in org.opencontainers.image.version=1.2. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    access: Access,
}

fn annotation(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let file = args.file.display();
    let component = std::fs::read(&args.file).with_context(|| format!("read {file}"));
    let component = component.map_err(Exit::usage)?;
    let mut options = names(&component)
        .with_context(|| format!("{file} is not pushed"))
        .map_err(Exit::usage)?;
    options.created = modified(&args.file).map_err(Exit::usage)?;
    options.title = args
        .file
        .file_name()
        .and_then(|name| Some(name.to_str()?.to_owned()));
    options.annotations = BTreeMap::from_iter(args.annotation);
    let reference = &args.reference;
    let (registries, credentials) = args.access.open(reference).map_err(Exit::usage)?;
    let pushed = block_on(async {
        let pushed = registries
            .push(reference, credentials.as_ref(), component.into(), options)
            .await;
        pushed.with_context(|| format!("push {file}"))
    });
    let digest = pushed.map_err(Exit::incomplete)?;
    output::line(&reference.with_digest(digest).to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// When a file was written: the same file is the same artifact, whenever it is pushed.
fn modified(path: &Path) -> anyhow::Result<Timestamp> {
    let context = || format!("read {}", path.display());
    let time = std::fs::metadata(path).and_then(|meta| meta.modified());
    let since = time.with_context(context)?.duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Ok(Timestamp(nanos.try_into().unwrap_or(u64::MAX)))
}

/// Version and layer in the head of a component (Component Model, "Binary Format").
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

/// What a component imports and exports.
fn names(component: &[u8]) -> anyhow::Result<PushOptions> {
    const HINT: &str = "`edge componentize` makes one of a core module";
    // Of a core module the decoder would read what its toolchain left about the component to be.
    if component.get(4..8) != Some(&COMPONENT) {
        bail!("it is no Wasm component; {HINT}");
    }
    let decoded = wit_component::decode(component)
        .map_err(|error| anyhow!("it is no Wasm component: {error:#}; {HINT}"))?;
    let (resolve, world) = match &decoded {
        DecodedWasm::Component(resolve, world) => (resolve, &resolve.worlds[*world]),
        DecodedWasm::WitPackage(..) => {
            bail!(
                "it is a WIT package, interfaces without code: push the component that was built from it"
            )
        }
    };
    Ok(PushOptions {
        imports: world_keys(resolve, world.imports.iter()),
        exports: world_keys(resolve, world.exports.iter()),
        ..PushOptions::default()
    })
}

fn world_keys<'w>(
    resolve: &Resolve,
    items: impl Iterator<Item = (&'w WorldKey, &'w WorldItem)>,
) -> Vec<String> {
    // Types of its own have names as well, and nobody has to stand behind them.
    let items = items.filter(|(_, item)| !matches!(item, WorldItem::Type { .. }));
    items.map(|(key, _)| resolve.name_world_key(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_not_pushed() {
        // The start of a core module.
        let core = b"\0asm\x01\0\0\0";
        for (bytes, why) in [
            (&core[..], "no Wasm component"),
            (b"text", "no Wasm component"),
        ] {
            let error = names(bytes).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_empty_component_imports_nothing() {
        let options = names(b"\0asm\x0d\0\x01\0").expect("a component");
        assert_eq!((options.imports, options.exports), (Vec::new(), Vec::new()));
    }

    #[test]
    fn annotations_have_a_name() {
        assert_eq!(annotation("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(annotation("=b").is_err() && annotation("a").is_err());
    }
}
