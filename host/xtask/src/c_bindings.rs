//! C bindings of a WIT world: `WORLD.h` and `WORLD.c`, which are committed, so that a guest in C
//! needs nothing but clang and `edge componentize`.
//!
//! The world's type information is not written as an object file, as it usually is:
//! `edge componentize --wit` adds it. Those of the sample, and of projects that `edge new` makes:
//!
//! ```text
//! cargo xtask c-bindings --wit wit --wit sample-modules/filter-c/wit --out sample-modules/filter-c/gen
//! ```

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use wit_bindgen_c::{Enabled, Opts};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

/// What to read and where to write.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder of WIT. May be given several times; later ones may refer to earlier ones.
    #[arg(long, required = true)]
    wit: Vec<PathBuf>,
    /// The world, of the last folder; needed when it has several.
    #[arg(long)]
    world: Option<String>,
    /// Where the files go.
    #[arg(long, short)]
    out: PathBuf,
}

/// Writes the bindings.
///
/// # Errors
/// The WIT cannot be read, the world is not in it, or the files cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for dir in &args.wit {
        let pushed = resolve.push_path(dir);
        last = Some(
            pushed
                .with_context(|| format!("read WIT of {}", dir.display()))?
                .0,
        );
    }
    let Some(package) = last else {
        bail!("no folder of WIT");
    };
    let world = resolve.select_world(&[package], args.world.as_deref())?;
    let options = Opts {
        no_object_file: true,
        autodrop_borrows: Enabled::Yes, // a handler that forgets it would trap
        ..Opts::default()
    };
    let mut files = Files::default();
    let mut generator: Box<dyn WorldGenerator> = options.build();
    generator.generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    for (name, content) in files.iter() {
        let path = args.out.join(name);
        let text = std::str::from_utf8(content).with_context(|| format!("{name} is no text"))?;
        fs::write(&path, without_force_link(text))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The generated file ends with a reference to the object file that is not made here.
fn without_force_link(source: &str) -> &str {
    let end = source.find("\n// Ensure that the *_component_type.o object is linked in");
    end.map_or(source, |end| &source[..end])
}
