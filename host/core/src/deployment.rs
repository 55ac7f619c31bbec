//! A deployment: which modules run, with what, and how messages flow among them.
//!
//! What a manifest says, checked and with its defaults filled in. `edge-manifest` reads it from a
//! document; nothing here knows about JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{ByteSize, Digest, ModuleId, Priority};

/// Modules and routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deployment {
    /// In the manifest's order.
    pub modules: Vec<ModuleSpec>,
    /// In the manifest's order.
    pub routes: Vec<RouteSpec>,
    /// Time to live of messages whose route names none; `None`: they never expire.
    pub time_to_live: Option<Duration>,
    /// Desired properties of each module's twin, as JSON text of an object.
    pub desired: BTreeMap<ModuleId, String>,
    /// When it gives way to the last one that worked.
    pub rollback: Rollback,
}

/// When a deployment gives way to the last one that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rollback {
    /// As the device's settings say.
    #[default]
    AsDevice,
    /// Never.
    Never,
    /// When not all of its modules are as they are to be.
    Wanted {
        /// So long after it came; `None`: as the device's settings say.
        within: Option<Duration>,
        /// And have been for so long; `None`: as the device's settings say.
        stable: Option<Duration>,
    },
}

/// A route as a manifest has it. Its text is compiled by `edge-route`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its key in the manifest.
    pub name: String,
    /// `FROM … WHERE … INTO …`.
    pub text: String,
    /// Rank of the queue that it fills.
    pub priority: Priority,
    /// Its own time to live; `None`: that of the deployment.
    pub time_to_live: Option<Duration>,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSpec {
    /// Its name.
    pub id: ModuleId,
    /// The version that the manifest states.
    pub version: Option<String>,
    /// Whether it is to run.
    pub status: DesiredStatus,
    /// When to start it again.
    pub restart: RestartPolicy,
    /// Lower numbers start first.
    pub startup_order: u32,
    /// Settings: environment variables of a container, `wasi:config` and environment of a component.
    pub env: BTreeMap<String, String>,
    /// Container or component.
    pub kind: ModuleKind,
}

/// Whether a module is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DesiredStatus {
    /// It is to run.
    #[default]
    Running,
    /// It is to be there and not run.
    Stopped,
}

/// When to start a module again that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// Not at all.
    Never,
    /// When it failed.
    OnFailure,
    /// When it failed or became unhealthy.
    OnUnhealthy,
    /// However it ended.
    #[default]
    Always,
}

/// What kind of workload a module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleKind {
    /// A Wasm component.
    Wasm(WasmSpec),
    /// A container.
    Container(ContainerSpec),
}

/// A container, and what its engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The image reference; a digest that is pinned is a part of it.
    pub image: String,
    /// `createOptions`: the JSON text of an object with keys sorted at every level and numbers as they
    /// were written. The body of the engine's create call, as far as the deployment gives it.
    pub options: String,
    /// `HostConfig.LogConfig` where the options name none: the JSON text of an object.
    pub logging: Option<String>,
    /// When the image is fetched.
    pub pull: PullPolicy,
    /// For the registry that the image comes from.
    pub credentials: Option<RegistryCredentials>,
}

impl ContainerSpec {
    /// A container of which no more is said than its image.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            options: "{}".to_owned(),
            logging: None,
            pull: PullPolicy::default(),
            credentials: None,
        }
    }

    /// Whether a container that was made from the one is what the other asks for: how its image gets
    /// here does not show in it.
    pub fn same_build(&self, other: &Self) -> bool {
        self.image == other.image && self.options == other.options && self.logging == other.logging
    }
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Each time that a container is made.
    #[default]
    OnCreate,
    /// When it is not there.
    IfAbsent,
    /// Not at all: it must be there.
    Never,
}

/// What a registry asks for. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryCredentials {
    /// The registry: a host, with a port where it needs one.
    pub address: String,
    /// Who.
    pub username: String,
    /// The secret.
    pub password: String,
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryCredentials")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A component and the sandbox around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmSpec {
    /// Where it comes from.
    pub image: ComponentRef,
    /// What it must hash to: the bytes of a file, the manifest of an artifact in a registry.
    pub digest: Option<Digest>,
    /// For the registry that it comes from.
    pub credentials: Option<RegistryCredentials>,
    /// Its sandbox.
    pub options: WasmOptions,
}

impl WasmSpec {
    /// Whether a module that was made from the one is what the other asks for: how its component gets here
    /// does not show in it.
    pub fn same_build(&self, other: &Self) -> bool {
        self.image == other.image && self.digest == other.digest && self.options == other.options
    }
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentRef {
    /// A file, relative to the manifest's folder.
    File(PathBuf),
    /// An OCI artifact.
    Registry(String),
}

/// How instances of a component live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceMode {
    /// One instance; its memory lives from message to message.
    #[default]
    Resident,
    /// A fresh instance for each call.
    PerMessage,
}

/// The sandbox of a component. Defaults deny: nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmOptions {
    /// How instances live.
    pub mode: InstanceMode,
    /// Most linear memory that an instance may have, all its memories together.
    pub memory: ByteSize,
    /// Most CPU time of one call.
    pub deadline: Duration,
    /// Most wall-clock time of one call, waiting included.
    pub timeout: Duration,
    /// Timers by name, and their periods.
    pub timers: BTreeMap<String, Duration>,
    /// Most log lines a second; bursts of ten seconds' worth pass.
    pub log_rate: u32,
    /// Arguments of a service (`wasi:cli/run`).
    pub args: Vec<String>,
    /// What it may reach.
    pub grants: Grants,
}

impl Default for WasmOptions {
    fn default() -> Self {
        Self {
            mode: InstanceMode::Resident,
            memory: ByteSize(64 << 20),
            deadline: Duration::from_millis(500),
            timeout: Duration::from_secs(30),
            timers: BTreeMap::new(),
            log_rate: 100,
            args: Vec::new(),
            grants: Grants::default(),
        }
    }
}

/// What a component may reach beyond the hub. Empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// `wasi:keyvalue`: state of its own.
    pub state: bool,
    /// `wasi:http/outgoing-handler`: origins (`https://api.example`, `http://127.0.0.1:8080`).
    pub http: Vec<String>,
    /// Directories of the host.
    pub dirs: Vec<DirGrant>,
}

/// A directory of the host in a component's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirGrant {
    /// Path on the host.
    pub host: PathBuf,
    /// Path that the guest sees.
    pub guest: String,
    /// Whether it may write.
    pub write: bool,
}
