//! The gate: nothing starts unverified.
//!
//! A [`ModuleRuntime`](super::ModuleRuntime) asks it when it knows what an artifact hashes to, and before
//! anything of it is compiled or created; the same question for components and images.
//!
//! ```text
//!   reference ─► digest ─► compared with the pin ─► Gate::admit ─► grants ─► compile, create
//!               (runtime)       (runtime)         pinned at all?  (runtime)
//!                                                 signed by whom?
//! ```
//!
//! What a gate asks for is its owner's: [`Open`] asks for nothing, the daemon's for what its settings say.

use std::fmt;
use std::path::PathBuf;

use super::{BoxFuture, DesiredModule, RuntimeErrorKind};
use crate::Digest;

/// What is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it comes from, which says what the digest is of.
    pub origin: ArtifactOrigin,
    /// What it hashes to; the runtime starts this and nothing else.
    pub digest: Digest,
    /// What the deployment pins. The runtime has compared it.
    pub pinned: Option<Digest>,
}

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactOrigin {
    /// A file on this machine. The digest is of its bytes.
    File(PathBuf),
    /// A registry. The digest is of the manifest (or index) there.
    Registry {
        /// Its reference as the deployment has it; a tag in it may lead elsewhere by now.
        reference: String,
    },
    /// An image that the container engine has, and of which it knows no registry. The digest is the
    /// image's id.
    Engine {
        /// Its name as the deployment has it.
        image: String,
    },
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            ArtifactOrigin::File(path) => write!(f, "{}", path.display()),
            ArtifactOrigin::Registry { reference: name }
            | ArtifactOrigin::Engine { image: name } => f.write_str(name),
        }
    }
}

/// An artifact that does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{artifact} may not run: {check}: expected {expected}, found {found}; {next}")]
pub struct GateRefusal {
    /// What it is about.
    pub artifact: String,
    /// Which check.
    pub check: &'static str,
    /// What would have passed.
    pub expected: String,
    /// What there is.
    pub found: String,
    /// What to do about it.
    pub next: String,
    /// Refused: it stays so. Transient: the check could not be made.
    pub kind: RuntimeErrorKind,
}

impl GateRefusal {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        self.kind == RuntimeErrorKind::Transient
    }
}

/// Says whether an artifact may run.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Asked for each build of a module, and for each container that is taken over from an earlier
    /// process. May ask a registry, and so take long.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// It may not, or that cannot be found out now.
    fn admit<'a>(
        &'a self,
        module: &'a DesiredModule,
        artifact: &'a Artifact,
    ) -> BoxFuture<'a, Result<(), GateRefusal>>;
}

/// Lets everything pass: what a developer runs by hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Gate for Open {
    fn admit<'a>(
        &'a self,
        _: &'a DesiredModule,
        _: &'a Artifact,
    ) -> BoxFuture<'a, Result<(), GateRefusal>> {
        Box::pin(async { Ok(()) })
    }
}
