//! Containers as modules, on an engine with Docker's API (Moby, Podman): [`ModuleRuntime`] number two.
//!
//! Called by the agent; the daemon makes one [`Moby`] and lends it a [`Host`].
//!
//! ```text
//!   prepare   options ─► checked against what is allowed ─► image: fetched, digest compared ─► gate ─► image id
//!   start     body (options, environment, mounts, labels) ─► create from the image id ─► start ─► watched
//!   watch     events of the engine │ a round now and then │ the engine is back ─► inspect ─► ended, (un)healthy
//!   adopt     label of the build is the same, and it runs ─► gate ─► watched
//! ```
//!
//! Promises
//! - A container is created from an image's id, which is a hash of what is in it: moving a tag changes
//!   nothing of what was checked.
//! - What `createOptions` say reaches the engine as it was written, known to us or not. Keys are compared
//!   as engines compare them, without regard to case, so no spelling gets past a check.
//! - Containers that are not this device's (by their labels) are neither stopped nor removed.
//! - An event only says where to look: what is reported is what the engine answers then.
//!
//! [`ModuleRuntime`]: edge_core::runtime::ModuleRuntime

mod body;
mod engine;
mod image;
mod options;
mod output;
mod runtime;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use edge_core::runtime::{BoxFuture, DesiredModule};
use edge_core::{DeviceId, Digest, ModuleId};

pub use options::Allow;
pub use runtime::Moby;

/// What containers run on, and what they may.
#[derive(Debug, Clone)]
pub struct MobyConfig {
    /// The engine's socket.
    pub socket: PathBuf,
    /// The network of containers that name none; made where it is missing.
    pub network: String,
    /// What containers may ask for.
    pub allow: BTreeSet<Allow>,
    /// Whose containers they are: several devices may share an engine.
    pub device: DeviceId,
}

/// What a module finds around it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Variables; they win over those of the deployment.
    pub environment: Vec<(String, String)>,
    /// Folders of the host, and where they are in the container. They must exist.
    pub mounts: Vec<(PathBuf, String)>,
    /// A name by which the container reaches this host, unless its options say where that is.
    pub hostname: Option<String>,
}

/// Where a container wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Out,
    /// Standard error.
    Err,
}

/// What an image's name stood for when it was resolved. A tag is resolved once in a deployment, wherever it leads
/// later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownImage {
    /// The image's id.
    pub id: Digest,
    /// The hash of its manifest in the registry, by which it can be fetched again; `None`: it came from none.
    pub manifest: Option<Digest>,
}

/// The daemon, as containers see it.
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// What a module finds around it. Asked for each start; the same answer as long as the module's
    /// identity is the same, or its container is made anew.
    ///
    /// # Errors
    /// Why there is nothing yet; it is asked again.
    fn surroundings(&self, module: &ModuleId) -> Result<Surroundings, String>;

    /// What the module's image was found to be earlier in this deployment.
    fn known_image(&self, module: &DesiredModule) -> Option<KnownImage>;

    /// Takes down what the module's image was found to be; on the device when this comes back.
    ///
    /// # Errors
    /// It is not, and why.
    fn image_found<'a>(
        &'a self,
        module: &'a DesiredModule,
        image: KnownImage,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// A line that a container wrote. Must not block.
    fn line(&self, module: &ModuleId, stream: Stream, line: &str);
}
