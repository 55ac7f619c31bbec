//! Modules that end, fail, or are unhealthy.

use super::*;

#[tokio::test]
async fn a_crash_loop_of_a_container_follows_the_back_off_numbers() {
    let bench = Bench::with(|_, containers| {
        let behaviour = Behaviour {
            fails_after: Some(Duration::ZERO),
            ..Behaviour::default()
        };
        containers.behave("c", behaviour);
    })
    .await;
    bench.want([container("c")]).await;
    let status = bench.module("c");
    assert_eq!(status.runtime_status, RuntimeStatus::Backoff);
    assert_eq!(status.exit_code, Some(1));
    bench.pass(1_300).await;
    let log = bench.containers.log();
    let starts = log.iter().filter(|line| line.contains("start"));
    let starts: Vec<_> = starts.map(String::as_str).collect();
    let seconds = [0, 10, 30, 70, 150, 310, 610, 910, 1_210];
    assert_eq!(starts, seconds.map(|at| format!("{at} start c")));
    assert_eq!(bench.module("c").restart_count, 8);
    // Ten minutes of running end it.
    bench.containers.behave("c", Behaviour::default());
    bench.pass(900).await;
    assert_eq!(bench.module("c").restart_count, 0);
    bench.containers.log();
    bench.containers.happen("c", failed("trap"));
    bench.pass(10).await;
    assert_eq!(bench.containers.log().len(), 2, "10 s again");
}

#[tokio::test]
async fn a_component_is_started_again_at_once_before_it_cools_off() {
    let bench = Bench::with(|wasm, _| {
        let behaviour = Behaviour {
            fails_after: Some(Duration::from_secs(1)),
            ..Behaviour::default()
        };
        wasm.behave("a", behaviour);
    })
    .await;
    bench
        .want([policy(wasm("a"), RestartPolicy::OnFailure)])
        .await;
    bench.pass(60).await;
    let log = bench.wasm.log();
    let starts: Vec<_> = log.iter().filter(|line| line.contains("start")).collect();
    // Three at once; then 10 s and 20 s after the end.
    assert_eq!(
        starts,
        [
            "0 start a",
            "1 start a",
            "2 start a",
            "3 start a",
            "14 start a",
            "35 start a"
        ]
    );
    let metrics = bench.agent.metrics();
    assert_eq!(metrics.modules[&id("a")].restarts, 5);
}

#[tokio::test]
async fn who_is_done_stays_so_unless_it_is_always_restarted() {
    let bench = Bench::new().await;
    let once = policy(wasm("once"), RestartPolicy::OnFailure);
    bench.want([once, wasm("always")]).await;
    bench.wasm.log();
    for module in ["once", "always"] {
        bench.wasm.happen(module, ModuleEvent::Ended(Outcome::Done));
    }
    bench.pass(100).await;
    assert_eq!(bench.wasm.log(), ["0 stop always", "0 start always"]);
    let status = bench.module("once");
    assert_eq!(status.runtime_status, RuntimeStatus::Stopped);
    assert_eq!(status.exit_code, Some(0));
    assert!(bench.status().settled);
}

#[tokio::test]
async fn who_is_unhealthy_is_restarted_where_the_policy_says_so() {
    let bench = Bench::new().await;
    let ignored = policy(container("ignored"), RestartPolicy::OnFailure);
    let heeded = policy(container("heeded"), RestartPolicy::OnUnhealthy);
    let well = policy(container("well"), RestartPolicy::OnUnhealthy);
    bench.want([ignored, heeded, well]).await;
    bench.containers.log();
    for module in ["ignored", "heeded", "well"] {
        bench.containers.happen(module, unhealthy());
    }
    bench.pass(5).await;
    assert_eq!(
        bench.module("heeded").runtime_status,
        RuntimeStatus::Unhealthy
    );
    bench.containers.happen("well", ModuleEvent::Healthy);
    bench.pass(100).await;
    assert_eq!(
        bench.containers.log(),
        ["10 stop heeded", "10 start heeded"]
    );
    let status = bench.module("ignored");
    assert_eq!(status.runtime_status, RuntimeStatus::Unhealthy);
    assert_eq!(status.description, "unhealthy: no answer");
}

#[tokio::test]
async fn an_unhealthy_component_is_stopped_while_it_cools_off() {
    let bench = Bench::new().await;
    bench.want([wasm("a")]).await;
    for _ in 0..3 {
        bench.wasm.happen("a", unhealthy());
        quiet().await;
    }
    bench.wasm.log();
    bench.wasm.happen("a", unhealthy());
    bench.pass(1).await;
    assert_eq!(bench.wasm.log(), ["0 stop a"]);
    let status = bench.module("a");
    assert_eq!(status.runtime_status, RuntimeStatus::Backoff);
    assert_eq!(status.restart_count, 3);
    bench.pass(20).await;
    assert_eq!(bench.wasm.log(), ["10 stop a", "10 start a"]);
    // Who is asked to start afresh does not cool off.
    bench.wasm.happen("a", unhealthy());
    quiet().await;
    bench.agent.restart(&id("a")).await.unwrap();
    quiet().await;
    assert_eq!(bench.module("a").runtime_status, RuntimeStatus::Running);
}

#[tokio::test]
async fn what_is_wanted_anew_ends_a_back_off() {
    let bench = Bench::with(|_, containers| {
        let behaviour = Behaviour {
            fails_after: Some(Duration::ZERO),
            ..Behaviour::default()
        };
        containers.behave("c", behaviour);
    })
    .await;
    bench.want([container("c")]).await;
    bench.pass(3).await;
    bench.containers.behave("c", Behaviour::default());
    bench.containers.log();
    let mut changed = container("c");
    changed.spec.version = Some("2.0".to_owned());
    bench.want([changed]).await;
    assert_eq!(
        bench.containers.log(),
        ["3 prepare c", "3 remove c", "3 start c"]
    );
    assert_eq!(bench.module("c").restart_count, 0);
    assert_eq!(bench.module("c").runtime_status, RuntimeStatus::Running);
}

#[tokio::test]
async fn a_clock_set_back_does_not_prolong_a_back_off() {
    let bench = Bench::new().await;
    bench.want([container("c")]).await;
    bench.containers.happen("c", failed("trap"));
    bench.pass(1).await;
    bench.clock.set_back(HOUR);
    bench.containers.log();
    bench.pass(9).await;
    assert_eq!(bench.containers.log(), ["10 stop c", "10 start c"]);
}

#[tokio::test]
async fn a_restart_asked_for_is_done_at_once_also_in_a_back_off_and_after_a_refusal() {
    let bench = Bench::with(|wasm, _| {
        let refused = Behaviour {
            prepare_fails: VecDeque::from([RuntimeErrorKind::Refused]),
            ..Behaviour::default()
        };
        wasm.behave("refused", refused);
    })
    .await;
    let modules = [
        wasm("a"),
        wasm("refused"),
        stopped(wasm("off")),
        container("c"),
    ];
    bench.want(modules).await;
    bench.containers.happen("c", failed("trap"));
    quiet().await;
    let module = bench.module("refused");
    assert_eq!(module.runtime_status, RuntimeStatus::Failed);
    bench.wasm.log();
    bench.containers.log();
    for module in ["a", "refused", "c"] {
        bench.agent.restart(&id(module)).await.unwrap();
    }
    quiet().await;
    let log = [
        "0 stop a",
        "0 start a",
        "0 prepare refused",
        "0 start refused",
    ];
    assert_eq!(bench.wasm.log(), log);
    assert_eq!(bench.containers.log(), ["0 start c"]);
    let off = bench.agent.restart(&id("off")).await;
    assert_eq!(off, Err(RestartError::Stopped(id("off"))));
    let none = bench.agent.restart(&id("none")).await;
    assert_eq!(none, Err(RestartError::Unknown(id("none"))));
}

#[tokio::test]
async fn transient_failures_are_tried_again_for_ever_and_panics_are_such_failures() {
    let bench = Bench::with(|wasm, _| {
        let busy = Behaviour {
            prepare_fails: VecDeque::from([RuntimeErrorKind::Transient; 2]),
            start_fails: VecDeque::from([RuntimeErrorKind::Transient]),
            ..Behaviour::default()
        };
        wasm.behave("busy", busy);
        let panics = Behaviour {
            prepare_panics: true,
            ..Behaviour::default()
        };
        wasm.behave("panics", panics);
    })
    .await;
    let never = policy(wasm("busy"), RestartPolicy::Never);
    bench.want([never, wasm("panics")]).await;
    let status = bench.module("busy");
    assert_eq!(status.runtime_status, RuntimeStatus::Backoff);
    assert!(!status.conditions[0].permanent);
    let said = bench.status().last_desired_status.description.clone();
    assert!(
        said.contains("module panics: prepare: the host failed"),
        "{said}"
    );
    bench.pass(200).await;
    let log = bench.wasm.log();
    let tried: Vec<_> = log.iter().filter(|line| line.contains("busy")).collect();
    let expected = [
        "0 prepare busy",
        "10 prepare busy",
        "30 prepare busy",
        "30 start busy",
        "40 start busy",
    ];
    assert_eq!(tried, expected);
    assert_eq!(bench.module("busy").runtime_status, RuntimeStatus::Running);
    let panics = log.iter().filter(|line| line.contains("panics")).count();
    assert_eq!(panics, 5, "at 0, 10, 30, 70 and 150 s");
}

#[tokio::test]
async fn events_of_an_earlier_run_mean_nothing() {
    let bench = Bench::new().await;
    bench.want([wasm("a")]).await;
    bench.agent.restart(&id("a")).await.unwrap();
    quiet().await;
    bench.wasm.log();
    bench.wasm.tell(id("a"), Run(1), failed("late"));
    bench.pass(1).await;
    assert_eq!(bench.wasm.log(), [""; 0]);
    assert_eq!(bench.module("a").last_exit, None);
}

#[tokio::test]
async fn nothing_is_started_beside_what_does_not_end() {
    let bench = Bench::new().await;
    bench.want([build("a", "1")]).await;
    let stubborn = Behaviour {
        stubborn: 2,
        ..Behaviour::default()
    };
    bench.wasm.behave("a", stubborn);
    bench.wasm.log();
    bench.want([build("a", "2")]).await;
    bench.pass(30).await;
    assert_eq!(bench.wasm.log(), ["0 prepare a", "0 stop a", "20 stop a"]);
    let said = bench.module("a").description;
    assert!(
        said.contains("what it does has not ended within 10s"),
        "{said}"
    );
    bench.pass(30).await;
    let log = ["50 stop a", "50 remove a", "50 start a"];
    assert_eq!(bench.wasm.log(), log);
}

#[tokio::test]
async fn restarts_of_an_earlier_process_count_on() {
    let bench = Bench::with(|_, containers| {
        let behaviour = Behaviour {
            found: Some(Found::Same),
            ..Behaviour::default()
        };
        containers.behave("c", behaviour);
    })
    .await;
    let before = History {
        restarts: 5,
        cool_offs: 3,
        ..History::default()
    };
    let restarts = BTreeMap::from([(id("c"), before)]);
    let desired = Desired::Modules(vec![container("c")]);
    bench.agent.resume(desired, restarts);
    quiet().await;
    assert_eq!(bench.module("c").restart_count, 5);
    bench.containers.log();
    bench.containers.happen("c", failed("again"));
    bench.pass(79).await;
    assert_eq!(bench.containers.log(), [""; 0], "10 s · 2³");
    bench.pass(1).await;
    assert_eq!(bench.containers.log(), ["80 stop c", "80 start c"]);
    assert_eq!(bench.module("c").restart_count, 6);
    // Of another deployment nothing is known.
    bench.want([container("d")]).await;
    bench.want([container("c")]).await;
    assert_eq!(bench.module("c").restart_count, 0);
}
