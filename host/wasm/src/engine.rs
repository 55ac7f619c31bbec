//! Engines: one for components that only call and return, one for those that speak the async ABI.
//!
//! The split is by the component's type, because concurrency support costs every call of every
//! component of its engine (about half a microsecond) and most components never use it. An engine is
//! made when the first component needs it.

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::address_space;

/// How often the epoch advances: the grain of CPU deadlines.
pub const EPOCH: Duration = Duration::from_millis(10);

/// Stack of a guest in bytes. Deeper recursion is a trap.
const STACK: usize = 512 << 10;
/// Stack of the fibre that runs a guest which may wait; the guest's own stack is part of it.
const ASYNC_STACK: usize = 2 << 20;
/// Largest memory image that is mapped copy-on-write; those of JavaScript and Python guests are big.
const DENSE_IMAGE: u64 = 64 << 20;
/// Address space of one linear memory: 4 GiB with guards need no bounds checks.
const RESERVATION: u64 = 4 << 30;

/// Which engine a component runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Calls and returns only.
    Plain,
    /// The component model's async ABI (WASI 0.3).
    Concurrent,
}

/// How instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Mapped for each instance: nothing is set aside, for a few long-lived instances.
    OnDemand,
    /// From slots set aside at the start: for a fresh instance per message.
    Pooling {
        /// Instances at one time.
        instances: u32,
    },
}

/// The engines of one process.
#[derive(Debug)]
pub struct Engines {
    allocation: Allocation,
    plain: OnceLock<Result<Engine, String>>,
    concurrent: OnceLock<Result<Engine, String>>,
}

impl Engines {
    /// No engine yet.
    pub fn new(allocation: Allocation) -> Self {
        Self {
            allocation,
            plain: OnceLock::new(),
            concurrent: OnceLock::new(),
        }
    }

    /// How instances get their memory.
    pub fn allocation(&self) -> Allocation {
        self.allocation
    }

    /// The engine of a kind; made now if need be.
    ///
    /// # Errors
    /// The machine cannot run it; says why.
    pub fn get(&self, kind: EngineKind) -> Result<&Engine, String> {
        let slot = match kind {
            EngineKind::Plain => &self.plain,
            EngineKind::Concurrent => &self.concurrent,
        };
        slot.get_or_init(|| make(kind, self.allocation))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Advances the epoch of every engine there is.
    pub fn tick(&self) {
        for engine in [&self.plain, &self.concurrent] {
            if let Some(Ok(engine)) = engine.get() {
                engine.increment_epoch();
            }
        }
    }
}

/// Pools are refused where the address space is small (39-bit boards); then smaller memories are
/// tried, which need explicit bounds checks, and last none at all.
fn make(kind: EngineKind, allocation: Allocation) -> Result<Engine, String> {
    let space = address_space::bytes();
    if let Allocation::Pooling { instances } = allocation {
        for reservation in [RESERVATION, 256 << 20] {
            if u64::from(instances).saturating_mul(reservation.saturating_mul(2)) > space / 2 {
                continue;
            }
            let mut config = config(kind, reservation);
            config.allocation_strategy(pool(instances, reservation));
            match Engine::new(&config) {
                Ok(engine) => return Ok(engine),
                Err(error) => {
                    tracing::warn!(instances, reservation, %error, "instance pool refused")
                }
            }
        }
        tracing::warn!(
            instances,
            space,
            "no instance pool: the address space is too small"
        );
    }
    // A thousand resident instances must fit.
    let reservation = if space >= RESERVATION << 13 {
        RESERVATION
    } else {
        64 << 20
    };
    Engine::new(&config(kind, reservation)).map_err(|error| format!("{error:#}"))
}

fn config(kind: EngineKind, reservation: u64) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(kind == EngineKind::Concurrent)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(ASYNC_STACK)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE)
        .memory_reservation(reservation)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

fn pool(instances: u32, reservation: u64) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    let cores = instances.saturating_mul(4);
    pool.total_component_instances(instances)
        .total_core_instances(cores)
        .total_memories(instances)
        .total_tables(cores)
        .total_stacks(instances)
        .max_memory_size(usize::try_from(reservation).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(16 << 10)
        .decommit_batch_size(16)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Bytes of a slot's memory that are cleared by writing rather than by giving the pages back.
const KEEP_RESIDENT: usize = 128 << 10;
