//! Wires hub, store and module runtimes into one program and offers it as one facade.
//!
//! Called by the command line and by the benchmarks; the only place where all the parts meet.
//!
//! [`LocalDevice`] is a whole device in one process that keeps nothing: what `edge run` is.

mod local;
mod paths;

pub use local::{
    FeedError, Feeder, Feeders, Interest, LocalConfig, LocalDevice, OnDeadLetter, Skipped,
    StartError, Take, Upstream, UpstreamError,
};
pub use paths::cache_dir;

pub use edge_hub::{MethodError, MethodResponse, Section, Snapshot};
pub use edge_store::{DeadLetter, DeadReason, QueueStatus};
pub use edge_wasm::{CompileObserver, Level, LogSink, Prepared, Service, ServiceEnd};
