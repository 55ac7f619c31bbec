//! The agent as a whole: its start, its end, what it says, and what it lacks.

use super::*;

#[tokio::test]
async fn who_was_refused_holds_up_nobody_of_a_higher_order() {
    let clock = Arc::new(FakeClock::default());
    let components = Fake::new(RuntimeKind::Wasm, clock.clone());
    let agent = start(vec![components.clone()], &clock);
    let modules = vec![order(wasm("a"), 2)];
    agent.set_desired(Desired::Modules(modules));
    quiet().await;
    agent.set_desired(Desired::Modules(vec![
        order(build("a", "2"), 2),
        order(container("z"), 1),
    ]));
    quiet().await;
    let log = components.log();
    assert_eq!(log.last().map(String::as_str), Some("0 start a"));
    assert_eq!(log.len(), 6, "{log:?}");
    // Nor one that is prepared already.
    agent.set_desired(Desired::Modules(vec![
        order(stopped(build("a", "2")), 2),
        order(container("z"), 1),
    ]));
    quiet().await;
    agent.set_desired(Desired::Modules(vec![
        order(build("a", "2"), 2),
        order(container("y"), 1),
    ]));
    quiet().await;
    assert_eq!(components.log(), ["0 stop a", "0 start a"]);
}

#[tokio::test]
async fn a_kind_without_a_runtime_is_refused_and_hurts_nobody() {
    let clock = Arc::new(FakeClock::default());
    let components = Fake::new(RuntimeKind::Wasm, clock.clone());
    let agent = start(vec![components], &clock);
    agent.set_desired(Desired::Modules(vec![container("c"), wasm("a")]));
    quiet().await;
    let status = agent.status().borrow().clone();
    let module = status.module(&id("c")).unwrap();
    assert_eq!(module.runtime_status, RuntimeStatus::Failed);
    assert_eq!(module.conditions[0].cause, "no container runtime is set up");
    assert!(module.conditions[0].permanent);
    let other = status.module(&id("a")).unwrap();
    assert_eq!(other.runtime_status, RuntimeStatus::Running);
    assert!(status.settled);
}

#[tokio::test]
async fn what_runs_already_is_adopted_replaced_or_removed() {
    let bench = Bench::with(|_, containers| {
        for (name, found) in [
            ("same", Found::Same),
            ("other", Found::Other),
            ("gone", Found::Same),
        ] {
            let found = Some(found);
            let behaviour = Behaviour {
                found,
                ..Behaviour::default()
            };
            containers.behave(name, behaviour);
        }
        *containers.list_fails.lock().unwrap() = 1;
    })
    .await;
    bench.want([container("same"), container("other")]).await;
    assert_eq!(
        bench.containers.log(),
        [""; 0],
        "not before it is known what runs"
    );
    assert!(!bench.status().settled);
    bench.pass(10).await;
    let mut log = bench.containers.log();
    log.sort();
    let expected = [
        "10 adopt other",
        "10 adopt same",
        "10 prepare other",
        "10 remove gone",
        "10 remove other",
        "10 start other",
        "10 stop gone",
        "10 stop other",
    ];
    assert_eq!(log, expected);
    assert_eq!(bench.module("same").runtime_status, RuntimeStatus::Running);
    bench.containers.happen("same", failed("killed"));
    quiet().await;
    assert_eq!(bench.module("same").runtime_status, RuntimeStatus::Backoff);
}

#[tokio::test]
async fn a_shutdown_gives_up_preparations_and_stops_components_only() {
    let bench = Bench::with(|wasm, _| {
        wasm.behave("slow", slow(10_000));
        let stubborn = Behaviour {
            stubborn: 1,
            ..Behaviour::default()
        };
        wasm.behave("stubborn", stubborn);
    })
    .await;
    let modules = [wasm("a"), wasm("slow"), wasm("stubborn"), container("c")];
    bench.want(modules).await;
    bench.wasm.log();
    bench.containers.log();
    let agent = bench.agent.clone();
    let grace = Duration::from_secs(5);
    let shutdown = tokio::spawn(async move { agent.shutdown(grace).await });
    bench.pass(5).await;
    assert_eq!(shutdown.await.unwrap(), [id("stubborn")]);
    assert_eq!(bench.wasm.log(), ["0 stop a", "0 stop stubborn"]);
    assert_eq!(bench.containers.log(), [""; 0]);
    assert_eq!(bench.status().last_desired_status.code, 406);
    assert_eq!(bench.module("a").runtime_status, RuntimeStatus::Stopped);
    assert_eq!(bench.module("c").runtime_status, RuntimeStatus::Running);
    // Afterwards nothing is done any more, and nobody waits for an answer.
    bench.want([wasm("z")]).await;
    assert_eq!(bench.wasm.log(), [""; 0]);
    assert_eq!(bench.agent.shutdown(grace).await, []);
    let restarted = bench.agent.restart(&id("a")).await;
    assert_eq!(restarted, Err(RestartError::ShutDown(id("a"))));
}

#[tokio::test]
async fn an_agent_with_nothing_to_do_waits_for_no_time() {
    let bench = Bench::new().await;
    bench.want([wasm("a"), container("c")]).await;
    assert_eq!(bench.clock.sleepers(), 0);
    let revision = bench.status().revision;
    bench.clock.advance(HOUR).await;
    assert_eq!(bench.status().revision, revision);
}

#[tokio::test]
async fn time_running_and_commands_are_counted() {
    let bench = Bench::with(|_, containers| containers.behave("c", slow(4))).await;
    bench.want([container("c")]).await;
    bench.pass(14).await;
    bench.containers.happen("c", failed("trap"));
    bench.pass(20).await;
    let metrics = bench.agent.metrics();
    let module = &metrics.modules[&id("c")];
    assert_eq!(module.expected_running, Duration::from_secs(34));
    assert_eq!(module.running_correctly, Duration::from_secs(20));
    assert_eq!(module.starts["1.0"], 2);
    assert_eq!(module.prepares["1.0"], 1);
    assert_eq!(metrics.command_latency["create"], Duration::from_secs(4));
    assert_eq!(metrics.deployment_time, Duration::from_secs(4));
    bench.want([stopped(container("c"))]).await;
    bench.pass(100).await;
    let metrics = bench.agent.metrics();
    let module = &metrics.modules[&id("c")];
    assert_eq!(module.expected_running, Duration::from_secs(34));
    assert_eq!(module.stops["1.0"], 1);
}

#[tokio::test]
async fn the_status_as_json_has_the_names_of_iot_edge() {
    let bench = Bench::new().await;
    bench.want([wasm("a")]).await;
    let json = serde_json::to_value(&*bench.status()).unwrap();
    let module = &json["modules"][0];
    assert_eq!(json["lastDesiredStatus"]["code"], 200);
    assert_eq!(module["module"], "a");
    assert_eq!(module["type"], "wasm");
    assert_eq!(module["runtimeStatus"], "running");
    assert_eq!(module["restartPolicy"], "always");
    assert_eq!(module["lastStartTimeUtc"], "2001-09-09T01:46:40.000Z");
    assert_eq!(module["exitCode"], serde_json::Value::Null);
}
