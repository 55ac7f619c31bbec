//! Wires hub, store and module runtimes into one program and offers it as one facade.
//!
//! Called by the command line and by the benchmarks; the only place where all the parts meet.
//!
//! ```text
//!   edge run      ─► LocalDevice: a whole device in one process that keeps nothing
//!   edge daemon   ─► run: settings ─► data directory ─► Device (durable) ─► management API, metrics
//!   edge check    ─► check: looks at settings, machine, engine and daemon
//!   other commands ─► Client ─► the management API's socket
//! ```

mod api;
mod bundle;
pub mod check;
mod client;
mod daemon;
mod data_dir;
mod device;
mod local;
mod metrics;
mod paths;
pub mod settings;
mod signatures;
mod trim;

pub use api::{SocketError, types};
pub use bundle::of_disk as bundle_of_disk;
pub use client::{Client, ClientError, Download, Stream};
pub use daemon::{DaemonConfig, DaemonError, Ended, Ready, run};
pub use data_dir::DataDirError;
pub use device::DeviceError;

pub use local::{
    FeedError, Feeder, Feeders, Interest, LocalConfig, LocalDevice, OnDeadLetter, Skipped,
    StartError, Take, Upstream, UpstreamError,
};
pub use signatures::{FoundSignatures, registry_signatures};

pub use paths::{NoDataDir, cache_dir, config_file, find_socket};

pub use edge_hub::{MethodError, MethodResponse, Section, Snapshot};
pub use edge_store::{DeadLetter, DeadReason, QueueStatus};
pub use edge_wasm::{
    Allocation, CompileJob, CompileObserver, Compiler, EngineKind, JobError, Level, LogSink,
    Prepared, Service, ServiceEnd,
};
