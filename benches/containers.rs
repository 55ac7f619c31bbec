//! What the agent adds to the engine's own time: a container from "wanted" to "running" with its image there, and
//! ten at once. Needs root and dockerd; the bare engine and the agent take turns.
//!
//! The agent talks to the engine through a socket that takes down when each call began and ended, so its own time is
//! what is left of the whole beside creating and starting.

#[path = "../tests/support/mod.rs"]
mod edge;
#[path = "containers/engine.rs"]
mod raw;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge::engine::{Engine, IMAGE};
use edge_agent::{Agent, AgentConfig, AgentHandle, Desired, RuntimeStatus};
use edge_core::deployment::{
    ContainerSpec, DesiredStatus, ModuleKind, ModuleSpec, PullPolicy, RestartPolicy,
};
use edge_core::runtime::{BoxFuture, DesiredModule, Open, Resolved};
use edge_core::{DeviceId, ModuleId};
use edge_moby::{Host, KnownImage, Moby, MobyConfig, Stream, Surroundings};
use raw::{Call, Proxy};
use support::{Bench, Goal};

/// What each container is made with.
const OPTIONS: &str =
    r#"{"Cmd":["/bin/sleep","1000"],"StopSignal":"SIGKILL","HostConfig":{"NetworkMode":"none"}}"#;

#[derive(Debug)]
struct Nothing;

impl Host for Nothing {
    fn surroundings(&self, _: &ModuleId) -> Result<Surroundings, String> {
        Ok(Surroundings::default())
    }

    fn known_image(&self, _: &DesiredModule) -> Option<KnownImage> {
        None
    }

    fn image_found<'a>(
        &'a self,
        _: &'a DesiredModule,
        _: KnownImage,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn line(&self, _: &ModuleId, _: Stream, _: &str) {}
}

fn module(name: &str) -> DesiredModule {
    DesiredModule {
        spec: ModuleSpec {
            id: ModuleId::new(name).expect("valid"),
            version: None,
            status: DesiredStatus::Running,
            restart: RestartPolicy::Always,
            startup_order: 0,
            env: BTreeMap::new(),
            kind: ModuleKind::Container(ContainerSpec {
                options: OPTIONS.to_owned(),
                pull: PullPolicy::Never,
                ..ContainerSpec::new(IMAGE)
            }),
        },
        resolved: Resolved::default(),
    }
}

/// Milliseconds.
fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Waits until all of so many modules run.
async fn running(agent: &AgentHandle, generation: u64, count: usize) {
    let mut status = agent.status();
    let all = |status: &Arc<edge_agent::AgentStatus>| {
        let run = |m: &edge_agent::ModuleStatus| m.runtime_status == RuntimeStatus::Running;
        status.generation == generation
            && status.modules.iter().filter(|module| run(module)).count() == count
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), status.wait_for(all)).await;
    waited.expect("containers start").expect("the agent runs");
}

async fn nothing(agent: &AgentHandle) {
    let generation = agent.set_desired(Desired::Modules(Vec::new()));
    let mut status = agent.status();
    let gone = |status: &Arc<edge_agent::AgentStatus>| {
        status.generation == generation && status.modules.is_empty()
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), status.wait_for(gone)).await;
    waited.expect("containers go").expect("the agent runs");
}

/// By the bare engine, all at once.
fn by_engine(socket: &Path, names: &[String]) -> Duration {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let body = OPTIONS.replacen('{', &format!("{{\"Image\":\"{IMAGE}\","), 1);
                raw::call(
                    socket,
                    "POST",
                    &format!("/containers/create?name={name}"),
                    &body,
                );
                raw::call(socket, "POST", &format!("/containers/{name}/start"), "");
            });
        }
    });
    let took = begin.elapsed();
    for name in names {
        raw::call(
            socket,
            "DELETE",
            &format!("/containers/{name}?force=true"),
            "",
        );
    }
    took
}

/// By the agent: the whole, and what the engine took of it to create and start.
async fn by_agent(agent: &AgentHandle, proxy: &Proxy, names: &[String]) -> (Duration, Duration) {
    proxy.take();
    let begin = Instant::now();
    let modules = names.iter().map(|name| module(name)).collect();
    let generation = agent.set_desired(Desired::Modules(modules));
    running(agent, generation, names.len()).await;
    let took = begin.elapsed();
    let calls = proxy.take();
    let engine = calls.iter().filter(|call| is_making(call)).map(Call::took);
    let engine = engine.sum();
    nothing(agent).await;
    (took, engine)
}

fn is_making(call: &Call) -> bool {
    call.path.contains("/containers/create") || call.path.ends_with("/start")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("bench-{n}")).collect()
}

fn main() {
    let bench = Bench::new("containers");
    let engine = Engine::start();
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("starts");
    tokio.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let proxy = Proxy::start(&engine.socket(), &folder.path().join("docker.sock"));
        let config = MobyConfig {
            socket: folder.path().join("docker.sock"),
            network: "none".to_owned(),
            allow: Default::default(),
            device: DeviceId::new("bench").expect("valid"),
        };
        let tokio = tokio::runtime::Handle::current();
        let moby = Moby::new(config, Arc::new(Nothing), Arc::new(Open), tokio);
        let agent = Agent::start(vec![Arc::new(moby)], AgentConfig::default());
        nothing(&agent).await;
        for (case, count, full) in [("one container", 1, 15), ("ten containers at once", 10, 7)] {
            if !bench.wants(case) {
                continue;
            }
            let names = names(count);
            let [mut bare, mut whole, mut own, mut ratio] = [(); 4].map(|()| Vec::new());
            for _ in 0..bench.repetitions(full) {
                let socket = engine.socket();
                let engines = tokio::task::block_in_place(|| by_engine(&socket, &names));
                let (took, making) = by_agent(&agent, &proxy, &names).await;
                bare.push(ms(engines));
                whole.push(ms(took));
                own.push(ms(took.saturating_sub(making)));
                ratio.push(took.as_secs_f64() / engines.as_secs_f64());
            }
            bench.figure(case, "engine", "ms", &bare, Goal::None);
            bench.figure(case, "agent", "ms", &whole, Goal::None);
            match count {
                1 => bench.figure(case, "agent's own", "ms", &own, Goal::AtMost(5.0)),
                _ => bench.figure(case, "to engine", "", &ratio, Goal::AtMost(1.0)),
            }
        }
        agent.shutdown(Duration::from_secs(1)).await;
    });
}
