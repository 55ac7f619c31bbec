//! One compilation in a process of its own: what it is told, and what it does.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

use edge_core::Digest;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Wanted;
use crate::cache::{CacheError, CompileCache, engine_settings};
use crate::engine::{Allocation, EngineKind, Engines};
use crate::runtime::MAX_COMPONENT;

/// How much the process gives way to others: it has about a third of what the daemon has where both
/// want a processor.
const NICENESS: i32 = 5;

/// What the command `compile` is told. The component comes by standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileJob {
    /// The cache's folder.
    pub cache: PathBuf,
    /// What the component's bytes must hash to.
    pub digest: Digest,
    /// The engine that it is for.
    pub engine: EngineKind,
    /// How that engine's instances get their memory; code depends on it.
    pub allocation: Allocation,
    /// All settings of that engine that code depends on, hashed: another build of the program makes
    /// entries that nobody looks for.
    pub settings: Digest,
    /// The process that waits for the entry.
    pub parent: u32,
}

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The compiler does not take the component. Nothing but another component helps.
    #[error("{0}")]
    Refused(String),
    /// Whoever asked is gone.
    #[error("the process that asked for it is gone")]
    Orphan,
    /// The component cannot be read.
    #[error("cannot read the component from standard input")]
    Read(#[source] std::io::Error),
    /// Standard input gave something else.
    #[error(
        "standard input has digest {found}, expected {expected}: the file was changed just now"
    )]
    Digest {
        /// What it hashes to.
        found: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// No engine, or not the one that the entry is for.
    #[error("{0}")]
    Engine(String),
    /// The cache does not take it.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A word that is not a part of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {what}: expected {expected}")]
pub struct ParseJobError {
    found: String,
    what: &'static str,
    expected: &'static str,
}

impl CompileJob {
    pub(super) fn new(
        allocation: Allocation,
        engine: &Engine,
        cache: &CompileCache,
        wanted: &Wanted<'_>,
    ) -> Self {
        Self {
            cache: cache.path().to_owned(),
            digest: wanted.digest,
            engine: wanted.kind,
            allocation,
            settings: engine_settings(engine),
            parent: std::process::id(),
        }
    }

    /// The command line after the program's name.
    pub(super) fn args(&self) -> Vec<OsString> {
        let text = |option: &str, value: &dyn fmt::Display| format!("--{option}={value}").into();
        let mut cache = OsString::from("--cache=");
        cache.push(&self.cache);
        vec![
            "compile".into(),
            cache,
            text("digest", &self.digest),
            text("engine", &self.engine),
            text("allocation", &self.allocation),
            text("settings", &self.settings),
            text("parent", &self.parent),
        ]
    }

    /// Compiles `component` and puts it into the cache. For a process of its own: it is made one that
    /// gives way to others and ends with whoever asked.
    ///
    /// # Errors
    /// There is no entry then.
    pub fn run(&self, component: impl Read) -> Result<(), JobError> {
        self.step_back()?;
        self.make_entry(component)
    }

    fn make_entry(&self, component: impl Read) -> Result<(), JobError> {
        let bytes = self.read(component)?;
        let engines = Engines::new(self.allocation);
        let engine = engines.get(self.engine).map_err(JobError::Engine)?;
        let settings = engine_settings(engine);
        if settings != self.settings {
            return Err(JobError::Engine(format!(
                "the engine has settings {settings}, expected {}: another build of the program",
                self.settings
            )));
        }
        let cache = CompileCache::open(&self.cache)?;
        let component = Component::new(engine, &bytes)
            .map_err(|error| JobError::Refused(format!("{error:#}")))?;
        Ok(cache.store(&self.digest, &component)?)
    }

    /// The daemon and its modules go first, also where memory is short.
    fn step_back(&self) -> Result<(), JobError> {
        // Goes with the thread that started us, which waits for us.
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            tracing::debug!(%error, "not told when the daemon ends");
        }
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid());
        if parent.and_then(|pid| u32::try_from(pid).ok()) != Some(self.parent) {
            return Err(JobError::Orphan);
        }
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "priority not lowered");
        }
        if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
            tracing::debug!(%error, "not the first to go when memory is short");
        }
        Ok(())
    }

    fn read(&self, component: impl Read) -> Result<Vec<u8>, JobError> {
        let mut bytes = Vec::new();
        // One byte over the limit has another digest.
        component
            .take(MAX_COMPONENT.0 + 1)
            .read_to_end(&mut bytes)
            .map_err(JobError::Read)?;
        let found = Digest(Sha256::digest(&bytes).into());
        if found != self.digest {
            return Err(JobError::Digest {
                found,
                expected: self.digest,
            });
        }
        Ok(bytes)
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Concurrent => "concurrent",
        })
    }
}

impl FromStr for EngineKind {
    type Err = ParseJobError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "plain" => Ok(Self::Plain),
            "concurrent" => Ok(Self::Concurrent),
            _ => Err(ParseJobError {
                found: text.to_owned(),
                what: "engine",
                expected: "plain or concurrent",
            }),
        }
    }
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnDemand => f.write_str("on-demand"),
            Self::Pooling { instances } => write!(f, "pooling:{instances}"),
        }
    }
}

impl FromStr for Allocation {
    type Err = ParseJobError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "on-demand" {
            return Ok(Self::OnDemand);
        }
        let instances = text.strip_prefix("pooling:").and_then(|n| n.parse().ok());
        instances
            .map(|instances| Self::Pooling { instances })
            .ok_or_else(|| ParseJobError {
                found: text.to_owned(),
                what: "allocation",
                expected: "on-demand or pooling:INSTANCES",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_a_word_is_read_back() {
        for kind in [EngineKind::Plain, EngineKind::Concurrent] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for allocation in [Allocation::OnDemand, Allocation::Pooling { instances: 70 }] {
            assert_eq!(allocation.to_string().parse(), Ok(allocation));
        }
        for bad in ["", "pooling", "pooling:", "pooling:-1", "plain"] {
            assert!(bad.parse::<Allocation>().is_err(), "{bad}");
        }
        assert!("on-demand".parse::<EngineKind>().is_err());
    }

    const GOOD: &str = r#"(component (core module (func (result i32) i32.const 1)))"#;

    fn settings() -> Digest {
        let engines = Engines::new(Allocation::OnDemand);
        engine_settings(engines.get(EngineKind::Plain).expect("an engine"))
    }

    /// What becomes of a component's bytes, and the cache.
    fn entry(
        bytes: &[u8],
        digest: Digest,
        settings: Digest,
    ) -> (Result<(), JobError>, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        let job = CompileJob {
            cache: dir.path().join("cache"),
            digest,
            engine: EngineKind::Plain,
            allocation: Allocation::OnDemand,
            settings,
            parent: 0,
        };
        (job.make_entry(bytes), dir)
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    #[test]
    fn the_entry_is_what_the_engine_of_the_asking_process_loads() {
        let bytes = wat::parse_str(GOOD).expect("valid text");
        let (made, dir) = entry(&bytes, digest(&bytes), settings());
        made.expect("made");
        let cache = CompileCache::open(&dir.path().join("cache")).expect("opens");
        let engines = Engines::new(Allocation::OnDemand);
        let hit = |kind| {
            let engine = engines.get(kind).expect("an engine");
            matches!(
                cache.load(engine, &digest(&bytes)),
                Ok(crate::cache::Lookup::Hit(_))
            )
        };
        assert!(hit(EngineKind::Plain));
        assert!(!hit(EngineKind::Concurrent));
    }

    #[test]
    fn other_bytes_or_settings_than_asked_for_leave_no_entry() {
        let bytes = wat::parse_str(GOOD).expect("valid text");
        let (made, dir) = entry(&bytes, Digest([1; 32]), settings());
        assert!(matches!(made, Err(JobError::Digest { .. })), "{made:?}");
        assert!(!dir.path().join("cache").exists());
        let (made, dir) = entry(&bytes, digest(&bytes), Digest([1; 32]));
        assert!(matches!(made, Err(JobError::Engine(_))), "{made:?}");
        assert!(!dir.path().join("cache").exists());
    }

    #[test]
    fn what_the_compiler_does_not_take_is_refused_with_its_words() {
        let bad = wat::parse_str(r#"(component (core module (func (result i32) i64.const 1)))"#);
        let bytes = bad.expect("well-formed text");
        let (made, _dir) = entry(&bytes, digest(&bytes), settings());
        let Err(JobError::Refused(why)) = made else {
            panic!("{made:?}");
        };
        assert!(why.contains("type mismatch"), "{why}");
    }
}
