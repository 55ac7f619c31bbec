//! Compiling what is not in the cache, in this process or in one of its own.
//!
//! The compiler takes hundreds of megabytes and every core, and the allocator keeps much of that for
//! the process that ran it. So a daemon leaves it to a process that ends.
//!
//! ```text
//!   cache ─miss─► turn ─► cache ─miss─► `edge compile` ─entry─► cache, MAC checked ─► Component
//!                                          │ cannot be started, keeps no entry ─► compiled here, said
//!                                          └ refuses it, dies, takes too long ─► an error with its name
//! ```
//!
//! Promises: one such process at a time, and components that are in the cache do not wait for it; what
//! comes of it is loaded from the cache only, so it is checked like any other entry; it does not
//! outlive the daemon.

mod child;
mod job;

use std::path::PathBuf;
use std::time::Instant;

use edge_core::{ByteSize, Digest};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::{CompileCache, Lookup};
use crate::engine::EngineKind;
use crate::runtime::{LoadError, Source, WasmRuntime};

pub(crate) use child::Child;
use child::Failure;
pub use job::{CompileJob, JobError, ParseJobError};

/// Bytes that the compile cache may take; what was unused for longest goes first.
const MAX_CACHE: u64 = 1 << 30;

/// Where components are compiled that are not in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compiler {
    /// Here. What there is for a process that soon ends.
    #[default]
    InProcess,
    /// In a process of this program, which has the command `compile` (see [`CompileJob`]). Needs a
    /// cache; without one components are compiled here.
    Child(PathBuf),
}

/// A component to be compiled.
pub(crate) struct Wanted<'a> {
    pub(crate) kind: EngineKind,
    pub(crate) source: &'a Source,
    pub(crate) bytes: &'a [u8],
    pub(crate) digest: Digest,
}

impl WasmRuntime {
    /// The compiled component, from the cache where it is there and ours.
    pub(crate) fn component(&self, wanted: &Wanted<'_>) -> Result<Component, LoadError> {
        let engine = self.engines.get(wanted.kind).map_err(LoadError::Engine)?;
        let (cache, compiler) = match (&self.cache, &self.compiler) {
            (None, _) => return self.compile_here(engine, wanted),
            (Some(cache), compiler) => (cache, compiler),
        };
        if let Some(component) = cached(cache, engine, wanted) {
            return Ok(component);
        }
        let Some(child) = compiler else {
            let component = self.compile_here(engine, wanted)?;
            keep(cache, &component, wanted);
            return Ok(component);
        };
        let _turn = child.turn();
        // Whoever had the turn may have compiled the same.
        if let Some(component) = cached(cache, engine, wanted) {
            return Ok(component);
        }
        let why = match self.compile_apart(child, engine, cache, wanted)? {
            Ok(()) => match cached(cache, engine, wanted) {
                Some(component) => return Ok(component),
                None => "its entry is not in the cache, or not usable".to_owned(),
            },
            Err(why) => why,
        };
        tracing::warn!(component = %wanted.source, digest = %wanted.digest, why, "compiling in this process, which takes memory for good");
        let component = self.compile_here(engine, wanted)?;
        keep(cache, &component, wanted);
        Ok(component)
    }

    /// Compiles on the calling thread, and others as far as there are processors.
    fn compile_here(&self, engine: &Engine, wanted: &Wanted<'_>) -> Result<Component, LoadError> {
        self.observed(wanted, || {
            Component::new(engine, wanted.bytes).map_err(|error| LoadError::Compile {
                name: wanted.source.to_string(),
                why: format!("{error:#}"),
            })
        })
    }

    /// Has it compiled by a process. `Err` within `Ok`: it can be tried here, and why.
    fn compile_apart(
        &self,
        child: &Child,
        engine: &Engine,
        cache: &CompileCache,
        wanted: &Wanted<'_>,
    ) -> Result<Result<(), String>, LoadError> {
        let job = CompileJob::new(self.engines.allocation(), engine, cache, wanted);
        let done = self.observed(wanted, || child.run(&job.args(), wanted));
        let name = || wanted.source.to_string();
        match done {
            Ok(()) => {
                if let Err(error) = cache.prune(MAX_CACHE) {
                    tracing::warn!(%error, "compile cache not pruned");
                }
                Ok(Ok(()))
            }
            Err(failure @ (Failure::NotStarted(_) | Failure::NotKept(_))) => {
                Ok(Err(failure.to_string()))
            }
            Err(Failure::Refused(why)) => Err(LoadError::Compile { name: name(), why }),
            Err(failure @ (Failure::Died { .. } | Failure::Late(_) | Failure::Stopped)) => {
                Err(LoadError::Compiler {
                    name: name(),
                    why: failure.to_string(),
                })
            }
        }
    }

    fn observed<T, E>(
        &self,
        wanted: &Wanted<'_>,
        compile: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _shown = self.observer.as_ref().map(|observer| {
            let size = ByteSize(wanted.bytes.len() as u64);
            observer.compiling(&wanted.source.to_string(), size)
        });
        let begin = Instant::now();
        let done = compile()?;
        tracing::debug!(component = %wanted.source, elapsed = ?begin.elapsed(), "component compiled");
        Ok(done)
    }
}

/// What the cache has. Whatever is wrong with it is said, and the component compiled anew.
fn cached(cache: &CompileCache, engine: &Engine, wanted: &Wanted<'_>) -> Option<Component> {
    let (component, digest) = (wanted.source, wanted.digest);
    match cache.load(engine, &digest) {
        Ok(Lookup::Hit(component)) => return Some(component),
        Ok(Lookup::Miss) => {}
        Ok(Lookup::Rebuild { reason }) => {
            tracing::warn!(%component, %digest, %reason, "compiled component thrown away");
        }
        Err(error) => {
            tracing::warn!(%component, %digest, %error, "compile cache not readable");
        }
    }
    None
}

fn keep(cache: &CompileCache, compiled: &Component, wanted: &Wanted<'_>) {
    let (component, digest) = (wanted.source, wanted.digest);
    let kept = cache
        .store(&digest, compiled)
        .and_then(|()| cache.prune(MAX_CACHE));
    if let Err(error) = kept {
        tracing::warn!(%component, %digest, %error, "compiled component not kept");
    }
}

#[cfg(test)]
mod tests;
