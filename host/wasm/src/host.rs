//! What a guest can call, and what stands behind it.
//!
//! One file per interface. Each function converts and delegates; who may do what was settled when the
//! module was prepared. `edge:module/types` and `send-event` are bound by hand, because they are on the
//! way of every message: strings are read in place in the guest's memory, and bodies go to it without
//! a copy in between.

pub(crate) mod bindings;
mod config;
mod http;
mod keyvalue;
mod logging;
mod messages;
mod methods;
mod stdio;
mod twin;

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use edge_core::deployment::{DirGrant, WasmOptions};
use edge_core::{ByteSize, Identity, ModuleId};
use edge_hub::Hub;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{ResourceLimiter, Result, UpdateDeadline};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub(crate) use http::AllowedOrigins;
pub(crate) use messages::{GuestFailure, GuestMessage, GuestMessages, GuestResponse};

use crate::engine::EPOCH;
use crate::fault::TimedOut;
use crate::logs::{Level, ModuleLog};
use crate::step::Step;

/// Core instances, tables and memories of one component; JavaScript and Python guests have some twenty.
const MAX_CORE_INSTANCES: usize = 200;
/// Elements of all tables of an instance.
const MAX_TABLE_ELEMENTS: usize = 1_000_000;

/// What all instances of a module share.
#[derive(Debug)]
pub(crate) struct ModuleShared {
    pub(crate) id: ModuleId,
    pub(crate) identity: Identity,
    pub(crate) hub: Arc<Hub>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) options: WasmOptions,
    pub(crate) origins: AllowedOrigins,
    pub(crate) dirs: Vec<GrantedDir>,
    pub(crate) log: Arc<ModuleLog>,
}

/// A directory of the host, opened once: what is renamed or mounted over it later changes nothing.
#[derive(Debug)]
pub(crate) struct GrantedDir {
    dir: cap_std::fs::Dir,
    guest: String,
    permissions: FsPerms,
}

impl GrantedDir {
    /// # Errors
    /// It is not there, or no directory.
    pub(crate) fn open(grant: &DirGrant) -> std::io::Result<Self> {
        Ok(Self {
            dir: cap_std::fs::Dir::open_ambient_dir(&grant.host, cap_std::ambient_authority())?,
            guest: grant.guest.clone(),
            permissions: if grant.write {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            },
        })
    }

    /// A path that leads to the open directory and nowhere else: wasmtime-wasi takes paths only.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.dir.as_raw_fd())
    }
}

/// The data of one instance's store.
pub(crate) struct HostState {
    pub(crate) shared: Arc<ModuleShared>,
    pub(crate) messages: GuestMessages,
    pub(crate) limiter: Limiter,
    /// Nanoseconds that the current call has spent waiting; they do not count as CPU time.
    pub(crate) waited: Arc<AtomicU64>,
    /// When the current call began, of guests that can wait.
    pub(crate) armed: Option<Instant>,
    /// There while a call runs.
    pub(crate) step: Option<Box<Step>>,
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    http_hooks: AllowedOrigins,
}

impl HostState {
    /// # Errors
    /// A granted directory cannot be opened; names it.
    pub(crate) fn new(shared: Arc<ModuleShared>) -> Result<Self, String> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stdio::LogStream::new(shared.log.clone(), Level::Info));
        wasi.stderr(stdio::LogStream::new(shared.log.clone(), Level::Warn));
        for (name, value) in &shared.env {
            wasi.env(name, value);
        }
        wasi.arg(shared.id.as_str());
        wasi.args(&shared.options.args);
        for dir in &shared.dirs {
            wasi.preopened_dir(dir.path(), &dir.guest, dir.permissions)
                .map_err(|error| format!("granted directory {}: {error:#}", dir.guest))?;
        }
        Ok(Self {
            messages: GuestMessages::new(shared.options.memory),
            limiter: Limiter::new(shared.options.memory),
            waited: Arc::default(),
            armed: None,
            step: None,
            wasi: wasi.build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            http_hooks: shared.origins.clone(),
            shared,
        })
    }

    /// What to do when the epochs of a call are used up: time that the guest has waited is given
    /// back, within the call's timeout.
    pub(crate) fn deadline_reached(&self) -> Result<UpdateDeadline> {
        let Some(armed) = self.armed else {
            return Ok(UpdateDeadline::Interrupt);
        };
        let (elapsed, options) = (armed.elapsed(), &self.shared.options);
        if elapsed >= options.timeout {
            return Err(TimedOut(options.timeout).into());
        }
        let waited = Duration::from_nanos(self.waited.load(Relaxed));
        let left = options
            .deadline
            .saturating_sub(elapsed.saturating_sub(waited));
        if left.is_zero() {
            return Ok(UpdateDeadline::Interrupt);
        }
        let ticks = left.as_nanos().div_ceil(EPOCH.as_nanos());
        Ok(UpdateDeadline::Continue(u64::try_from(ticks).unwrap_or(1)))
    }

    /// How long the current call may still take, waiting included.
    pub(crate) fn time_left(&self) -> Duration {
        match self.armed {
            Some(armed) => self.shared.options.timeout.saturating_sub(armed.elapsed()),
            None => Duration::MAX,
        }
    }

    /// The step that the current call belongs to.
    ///
    /// # Errors
    /// A trap: guests call only from within a call, and then there is one.
    fn step(&mut self) -> Result<&mut Step> {
        self.step
            .as_deref_mut()
            .ok_or_else(|| wasmtime::format_err!("called outside of any handler"))
    }
}

impl std::fmt::Debug for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostState")
            .field("module", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.http_hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// How guests are called; decides which form of WASI they are linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CallMode {
    /// On the worker's stack: guests that never wait.
    Sync,
    /// On a fibre, which leaves a wait interruptible.
    Async,
}

/// Offers everything that a guest may import. What a module was not granted never gets this far.
pub(crate) fn link(linker: &mut Linker<HostState>, mode: CallMode) -> Result<()> {
    match mode {
        CallMode::Sync => {
            wasmtime_wasi::p2::add_to_linker_sync(linker)?;
            wasmtime_wasi_http::p2::add_only_http_to_linker_sync(linker)?;
        }
        CallMode::Async => {
            wasmtime_wasi::p2::add_to_linker_async(linker)?;
            wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
        }
    }
    messages::add_to_linker(linker)?;
    bindings::Imports::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Also offers WASI 0.3, to components of the concurrent engine.
pub(crate) fn link_concurrent(linker: &mut Linker<HostState>) -> Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)
}

/// Holds an instance to its memory.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    elements: usize,
    /// Size asked for by the last allocation that was refused.
    pub(crate) refused: Option<usize>,
}

impl Limiter {
    fn new(limit: ByteSize) -> Self {
        Self {
            limit: usize::try_from(limit.0).unwrap_or(usize::MAX),
            used: 0,
            elements: 0,
            refused: None,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let all = self.used.saturating_add(desired.saturating_sub(current));
        if all > self.limit {
            self.refused = Some(all);
            return Ok(false);
        }
        self.used = all;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let all = self
            .elements
            .saturating_add(desired.saturating_sub(current));
        if all > MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        self.elements = all;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_CORE_INSTANCES
    }
}
