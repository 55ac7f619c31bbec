//! How long things take to begin: a component from a warm cache, `edge run` from exec to its first
//! line, and a fresh instance for each message beside bare wasmtime doing the same.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_core::deployment::{InstanceMode, WasmOptions};
use edge_core::{DeviceId, EndpointId, Identity, MessageBuilder, ModuleId, Priority};
use edge_hub::{Hub, HubConfig};
use edge_store::{Commit, MemoryLog};
use edge_wasm::cache::CompileCache;
use edge_wasm::{Allocation, RuntimeConfig, Source, WasmRuntime};
use support::{Bench, Goal};
use wasmtime::component::{
    Component, ComponentType, InstancePre, Lift, Linker, Lower, Resource, ResourceTable,
    ResourceType, TypedFunc,
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

fn hub() -> Arc<Hub> {
    Hub::new(
        HubConfig::new(DeviceId::new("bench").expect("valid")),
        Arc::new(MemoryLog::default()),
    )
}

fn runtime(
    hub: &Arc<Hub>,
    allocation: Allocation,
    cache: Option<&Path>,
    tokio: &tokio::runtime::Runtime,
) -> Arc<WasmRuntime> {
    WasmRuntime::new(
        hub.clone(),
        RuntimeConfig {
            allocation,
            workers: 1,
            cache: cache.map(|dir| CompileCache::open(dir).expect("a cache")),
            compiler: edge_wasm::Compiler::InProcess,
            logs: Arc::new(support::Complaints),
            observer: None,
            tokio: tokio.handle().clone(),
        },
    )
}

fn filter() -> ModuleId {
    ModuleId::new("filter").expect("valid")
}

/// Puts messages below the filter's threshold in its queue: it looks at them and drops them.
fn send(hub: &Arc<Hub>, count: usize, per_commit: usize) {
    let mut sender = hub.sender(Identity::Device(hub.device().clone()));
    let queue = hub.queue(
        &EndpointId::module_input(filter(), "input1"),
        Priority::DEFAULT,
    );
    let mut commit = Commit::new();
    for sent in 1..=count {
        let message = MessageBuilder::new(vec![b'x'; 256])
            .property("temperature", "1.5")
            .build();
        sender
            .stage_for(&mut commit, queue, message, None, hub.now())
            .expect("taken");
        if commit.len() >= per_commit || sent == count {
            hub.commit(&mut commit).expect("committed");
            hub.wait_until_at_most(4_096, None);
        }
    }
    assert!(
        hub.wait_until_at_most(0, Some(Instant::now() + Duration::from_secs(60))),
        "messages were lost"
    );
}

/// From nothing prepared to the first message handled, the engine and the cache being warm.
fn ready(
    path: &Path,
    cache: &Path,
    tokio: &tokio::runtime::Runtime,
    repetitions: usize,
) -> (Vec<f64>, Vec<f64>) {
    let (mut prepare, mut handled) = (Vec::new(), Vec::new());
    let hub = hub();
    let runtime = runtime(&hub, Allocation::OnDemand, Some(cache), tokio);
    for repetition in 0..repetitions + 3 {
        let begin = Instant::now();
        let prepared = runtime
            .prepare(
                filter(),
                &Source::File(path.to_owned()),
                None,
                WasmOptions::default(),
                BTreeMap::new(),
            )
            .expect("the filter is a module");
        let is_prepared = begin.elapsed();
        let module = runtime.start(prepared);
        send(&hub, 1, 1);
        let is_handled = begin.elapsed();
        if repetition >= 3 {
            prepare.push(is_prepared.as_secs_f64() * 1e3);
            handled.push(is_handled.as_secs_f64() * 1e3);
        }
        assert!(module.stop(Duration::from_secs(1)));
    }
    runtime.close();
    (prepare, handled)
}

/// `edge run` from exec to the first line of output; milliseconds.
fn exec(path: &Path, cache: &Path) -> f64 {
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge"))
        .arg("run")
        .arg(path)
        .env("EDGE_CACHE_DIR", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("edge starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(b"{\"temperature\":31}\n")
        .expect("edge reads");
    stdin.flush().expect("edge reads");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a line");
    let elapsed = begin.elapsed();
    assert!(line.starts_with("{\"module\":\"filter\""), "{line}");
    drop(stdin);
    assert!(child.wait().expect("edge ends").success());
    elapsed.as_secs_f64() * 1e3
}

/// Bare wasmtime with the same component: the least that a fresh instance per call costs.
struct Bare {
    engine: Engine,
    pre: InstancePre<BareState>,
}

struct BareState {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for BareState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

struct Message;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "the filter does not fail here")]
enum Failure {
    #[component(name = "retry")]
    Retry(Option<u64>),
    #[component(name = "reject")]
    Reject(String),
}

type Handle = TypedFunc<(String, Resource<Message>), (Result<(), Failure>,)>;

impl Bare {
    fn new(path: &Path) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(64)
            .total_core_instances(256)
            .total_memories(64)
            .total_tables(256)
            .linear_memory_keep_resident(128 << 10)
            .table_keep_resident(16 << 10)
            .decommit_batch_size(16)
            .pagemap_scan(Enabled::Auto);
        config
            .concurrency_support(false)
            .epoch_interruption(true)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, path)?;
        let mut linker: Linker<BareState> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let mut types = linker.instance("edge:module/types@0.1.0")?;
        types.resource("message", ResourceType::host::<Message>(), |_, _| Ok(()))?;
        types.func_wrap(
            "[method]message.property",
            |_, (_, _): (Resource<Message>, String)| Ok((Some("1.5".to_owned()),)),
        )?;
        types.func_wrap("[method]message.body", |_, (_,): (Resource<Message>,)| {
            Ok((Vec::<u8>::new(),))
        })?;
        #[derive(Clone, Copy, ComponentType, Lift, Lower)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code, reason = "the filter logs nothing here")]
        enum Level {
            #[component(name = "trace")]
            Trace,
            #[component(name = "debug")]
            Debug,
            #[component(name = "info")]
            Info,
            #[component(name = "warn")]
            Warn,
            #[component(name = "error")]
            Error,
            #[component(name = "critical")]
            Critical,
        }
        let mut logging = linker.instance("wasi:logging/logging@0.1.0-draft")?;
        logging.func_wrap("log", |_, (_, _, _): (Level, String, String)| Ok(()))?;
        let mut config = linker.instance("wasi:config/store@0.2.0-rc.1")?;
        #[derive(ComponentType, Lift, Lower)]
        #[component(variant)]
        enum ConfigError {
            #[component(name = "upstream")]
            Upstream(String),
            #[component(name = "io")]
            Io(String),
        }
        config.func_wrap("get", |_, (_,): (String,)| {
            Ok((Ok::<Option<String>, ConfigError>(None),))
        })?;
        #[derive(Clone, Copy, ComponentType, Lift, Lower)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code, reason = "the filter under its threshold sends nothing")]
        enum SendError {
            #[component(name = "too-large")]
            TooLarge,
            #[component(name = "not-allowed")]
            NotAllowed,
            #[component(name = "full")]
            Full,
        }
        let mut send_event = linker.instance("edge:module/send-event@0.1.0")?;
        send_event.func_wrap("send", |_, (_, _): (String, Resource<Message>)| {
            Ok((Ok::<(), SendError>(()),))
        })?;
        Ok(Self {
            pre: linker.instantiate_pre(&component)?,
            engine,
        })
    }

    /// Calls in a second of CPU time.
    fn rate(&self, count: u32) -> wasmtime::Result<f64> {
        let index = self.pre.component();
        let interface = index
            .get_export_index(None, "edge:module/input-handler@0.1.0")
            .expect("a handler");
        let handle = index
            .get_export_index(Some(&interface), "handle")
            .expect("a handler");
        let begin = support::cpu_time();
        for rep in 0..count {
            let state = BareState {
                wasi: WasiCtx::builder().build(),
                table: ResourceTable::new(),
            };
            let mut store = Store::new(&self.engine, state);
            store.set_epoch_deadline(51);
            let instance = self.pre.instantiate(&mut store)?;
            let handle: Handle = instance.get_typed_func(&mut store, handle)?;
            let (handled,) =
                handle.call(&mut store, ("input1".to_owned(), Resource::new_borrow(rep)))?;
            assert!(handled.is_ok());
        }
        Ok(f64::from(count) / (support::cpu_time() - begin).as_secs_f64())
    }
}

fn main() {
    let bench = Bench::new("start");
    let path = support::sample("filter.wasm");
    let cache = tempfile::tempdir().expect("a folder");
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("starts");

    let (prepare, handled) = ready(&path, cache.path(), &tokio, bench.repetitions(101));
    bench.figure(
        "warm cache: checked, loaded, linked",
        "time",
        "ms",
        &prepare,
        Goal::None,
    );
    bench.figure(
        "warm cache: first message handled",
        "time",
        "ms",
        &handled,
        Goal::AtMost(1.0),
    );

    exec(&path, cache.path());
    let times: Vec<f64> = (0..bench.repetitions(51))
        .map(|_| exec(&path, cache.path()))
        .collect();
    bench.figure(
        "edge run, exec to first line, warm cache",
        "time",
        "ms",
        &times,
        Goal::AtMost(15.0),
    );

    support::pin_to_one_core();
    let bare = Bare::new(&path).expect("bare wasmtime runs the filter");
    let hub = hub();
    let ours = runtime(&hub, Allocation::Pooling { instances: 64 }, None, &tokio);
    let options = WasmOptions {
        mode: InstanceMode::PerMessage,
        ..WasmOptions::default()
    };
    let prepared = ours
        .prepare(
            filter(),
            &Source::File(path),
            None,
            options,
            BTreeMap::new(),
        )
        .expect("the filter is a module");
    let module = ours.start(prepared);
    let count: u32 = if bench.quick { 20_000 } else { 100_000 };
    let (mut bare_rates, mut our_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    bare.rate(count / 10).expect("the filter handles");
    send(&hub, count as usize / 10, 32);
    for _ in 0..bench.repetitions(7) {
        let bare_rate = bare.rate(count).expect("the filter handles");
        let begin = support::cpu_time();
        send(&hub, count as usize, 32);
        let our_rate = f64::from(count) / (support::cpu_time() - begin).as_secs_f64();
        bare_rates.push(bare_rate);
        our_rates.push(our_rate);
        ratios.push(our_rate / bare_rate);
    }
    bench.figure(
        "fresh instance per call, bare wasmtime",
        "rate",
        "1/s",
        &bare_rates,
        Goal::None,
    );
    bench.figure(
        "fresh instance per message, through the hub",
        "rate",
        "msg/s",
        &our_rates,
        Goal::None,
    );
    bench.figure(
        "through the hub against bare wasmtime",
        "ratio",
        "",
        &ratios,
        Goal::AtLeast(0.8),
    );
    assert!(module.stop(Duration::from_secs(1)));
    ours.close();
}
