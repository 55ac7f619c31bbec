//! Runs Wasm components as modules.
//!
//! Called by the daemon's wiring, and by `edge run` through it. The only crate that names wasmtime.
//!
//! ```text
//!   bytes ──digest──► inspect ──grants──► cache or compile ──link──► Prepared
//!                                                                       │ start
//!   inbox ─► step: handle(input, message) ─► ok: progress + sends + keys in ONE commit
//!     ▲        │  retry / trap / deadline ─► nothing of the step; the message comes again
//!     └────────┘  reject, third trap ──────► dead letter, with the reason
//! ```
//!
//! Promises
//! - Nothing of a component is compiled before its digest is checked, and nothing runs whose imports go
//!   beyond the baseline and what was granted.
//! - One step at a time per module, whichever handler it enters by; a step is one commit or nothing.
//! - A trap, a deadline or a refused allocation ends the instance, never the module or the host.
//! - A guest that spins or waits delays nobody but itself.
//! - A compiled component is loaded only if this device made it (see [`cache`]).

mod address_space;
pub mod cache;
mod compile;
mod engine;
mod fault;
mod host;
pub mod inspect;
mod instance;
mod logs;
mod module;
mod module_runtime;
mod runtime;
mod scheduler;
mod service;
mod step;

pub use compile::{CompileJob, Compiler, JobError, ParseJobError};
pub use engine::{Allocation, EPOCH, EngineKind};
pub use logs::{Level, LogSink};
pub use module::{Fitness, OnFitness, WasmModule};
pub use module_runtime::{ComponentSource, Fetched, WasmModuleRuntime};
pub use runtime::{CompileObserver, LoadError, Prepared, RuntimeConfig, Source, WasmRuntime};
pub use scheduler::Scheduler;
pub use service::{Service, ServiceEnd};
