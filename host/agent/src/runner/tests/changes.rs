//! What is wanted changes.

use super::*;

#[tokio::test]
async fn wanted_modules_are_prepared_and_started_and_unwanted_ones_go() {
    let bench = Bench::new().await;
    assert_eq!(bench.status().last_desired_status.code, 406);
    assert!(!bench.status().settled);
    let generation = bench.want([wasm("a"), stopped(wasm("b"))]).await;
    assert_eq!(
        bench.wasm.log(),
        ["0 prepare a", "0 prepare b", "0 start a"]
    );
    let status = bench.status();
    assert_eq!((status.generation, status.settled), (generation, true));
    assert_eq!(status.last_desired_status.code, 200);
    assert_eq!(bench.module("a").runtime_status, RuntimeStatus::Running);
    assert_eq!(bench.module("b").runtime_status, RuntimeStatus::Stopped);
    assert_eq!(bench.module("b").desired, DesiredState::Stopped);

    bench.want([stopped(wasm("b"))]).await;
    assert_eq!(bench.wasm.log(), ["0 stop a", "0 remove a"]);
    assert!(bench.status().module(&id("a")).is_none());

    bench.agent.set_desired(Desired::Nothing);
    quiet().await;
    assert_eq!(bench.status().last_desired_status.code, 417);
    assert_eq!(bench.status().modules, []);
}

#[tokio::test]
async fn wanting_the_same_again_changes_nothing() {
    let bench = Bench::new().await;
    let first = bench.want([wasm("a")]).await;
    bench.wasm.log();
    let status = bench.status();
    assert_eq!(bench.want([wasm("a")]).await, first);
    assert_eq!(bench.status(), status);
    let second = bench.want([wasm("a"), wasm("b")]).await;
    assert_eq!(second, first + 1);
    assert_eq!(bench.wasm.log(), ["0 prepare b", "0 start b"]);
}

#[tokio::test]
async fn a_slow_preparation_delays_nobody() {
    let bench = Bench::with(|wasm, _| wasm.behave("slow", slow(300))).await;
    bench.want([wasm("slow"), wasm("quick")]).await;
    assert_eq!(bench.module("quick").runtime_status, RuntimeStatus::Running);
    let status = bench.module("slow");
    assert_eq!(status.runtime_status, RuntimeStatus::Downloading);
    assert_eq!(bench.status().last_desired_status.code, 406);
    bench.wasm.log();
    bench.wasm.happen("quick", failed("trap"));
    bench.pass(1).await;
    assert_eq!(bench.wasm.log(), ["0 stop quick", "0 start quick"]);
    assert!(!bench.status().settled);
    bench.pass(300).await;
    assert_eq!(bench.wasm.log(), ["300 start slow"]);
    assert!(bench.status().settled);
}

#[tokio::test]
async fn a_build_goes_on_until_its_successor_is_prepared() {
    let bench = Bench::new().await;
    bench.want([build("a", "1")]).await;
    bench.wasm.behave("a", slow(60));
    bench.wasm.log();
    bench.want([build("a", "2")]).await;
    bench.pass(59).await;
    assert_eq!(bench.wasm.log(), ["0 prepare a"]);
    assert_eq!(bench.module("a").runtime_status, RuntimeStatus::Running);
    assert_eq!(bench.module("a").version.as_deref(), Some("1"));
    bench.pass(1).await;
    assert_eq!(bench.wasm.log(), ["60 stop a", "60 remove a", "60 start a"]);
    assert_eq!(bench.module("a").version.as_deref(), Some("2"));
    // A runtime that can take it over does so instead.
    let replaceable = Behaviour {
        replaceable: true,
        ..Behaviour::default()
    };
    bench.wasm.behave("a", replaceable);
    bench.want([build("a", "3")]).await;
    bench.pass(0).await;
    assert_eq!(bench.wasm.log(), ["60 prepare a", "60 replace a"]);
    assert_eq!(bench.module("a").version.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_build_that_is_refused_leaves_the_running_one_alone() {
    let bench = Bench::new().await;
    bench.want([build("a", "1"), wasm("b")]).await;
    let refused = Behaviour {
        prepare_fails: VecDeque::from([RuntimeErrorKind::Refused]),
        ..Behaviour::default()
    };
    bench.wasm.behave("a", refused);
    bench.wasm.log();
    bench.want([build("a", "2"), wasm("b")]).await;
    bench.clock.advance(HOUR).await;
    assert_eq!(bench.wasm.log(), ["0 prepare a"]);
    let status = bench.status();
    assert!(status.settled);
    assert_eq!(status.last_desired_status.code, 500);
    let said = &status.last_desired_status.description;
    assert_eq!(said, "module a: prepare: wrong digest");
    let module = bench.module("a");
    assert_eq!(module.runtime_status, RuntimeStatus::Running);
    assert!(module.conditions[0].permanent);
    // A change of what is wanted is a new chance.
    bench.want([build("a", "3"), wasm("b")]).await;
    assert_eq!(bench.status().last_desired_status.code, 200);
    assert_eq!(bench.module("a").conditions, []);
}

#[tokio::test]
async fn lower_orders_start_first_and_hold_up_the_others_only_for_a_while() {
    let bench = Bench::with(|wasm, _| {
        wasm.behave("first", slow(20));
        wasm.behave("hangs", slow(10_000));
    })
    .await;
    bench
        .want([order(wasm("first"), 1), order(wasm("then"), 2)])
        .await;
    assert_eq!(bench.module("then").runtime_status, RuntimeStatus::Stopped);
    assert!(!bench.status().settled);
    bench.pass(30).await;
    let log = [
        "0 prepare first",
        "0 prepare then",
        "20 start first",
        "20 start then",
    ];
    assert_eq!(bench.wasm.log(), log);
    bench
        .want([order(wasm("hangs"), 1), order(wasm("last"), 2)])
        .await;
    bench.wasm.log();
    bench.pass(100).await;
    assert_eq!(bench.wasm.log(), ["90 start last"]);
}

#[tokio::test]
async fn a_preparation_that_is_not_wanted_any_more_is_given_up() {
    let bench = Bench::with(|wasm, _| wasm.behave("a", slow(100))).await;
    bench.want([build("a", "1")]).await;
    bench.pass(50).await;
    bench.want([build("a", "2")]).await;
    bench.pass(99).await;
    assert_eq!(bench.wasm.log(), ["0 prepare a", "50 prepare a"]);
    bench.want([]).await;
    bench.pass(100).await;
    assert_eq!(bench.wasm.log(), [""; 0]);
    assert!(bench.status().settled);
}

#[tokio::test]
async fn what_is_refused_shows_as_the_last_desired_status_and_changes_nothing() {
    let bench = Bench::new().await;
    let generation = bench.want([wasm("a")]).await;
    bench.wasm.log();
    bench.agent.refuse(LastDesiredStatus {
        code: 412,
        description: "version 2.0 is not supported".to_owned(),
    });
    quiet().await;
    let status = bench.status();
    assert_eq!(status.last_desired_status.code, 412);
    assert_eq!((status.generation, status.settled), (generation, true));
    assert_eq!(bench.module("a").runtime_status, RuntimeStatus::Running);
    // Wanting again what is in place takes that back.
    assert_eq!(bench.want([wasm("a")]).await, generation);
    assert_eq!(bench.status().last_desired_status.code, 200);
    assert_eq!(bench.wasm.log(), [""; 0]);
}

#[tokio::test]
async fn what_a_start_that_failed_has_made_is_removed_with_its_module() {
    let bench = Bench::with(|_, containers| {
        let behaviour = Behaviour {
            start_fails: VecDeque::from([RuntimeErrorKind::Transient, RuntimeErrorKind::Refused]),
            ..Behaviour::default()
        };
        containers.behave("c", behaviour);
    })
    .await;
    bench.want([container("c")]).await;
    assert_eq!(bench.containers.log(), ["0 prepare c", "0 start c"]);
    assert_eq!(bench.module("c").runtime_status, RuntimeStatus::Backoff);
    // It is tried again as it is, and goes with its module.
    bench.pass(10).await;
    assert_eq!(bench.containers.log(), ["10 start c"]);
    assert_eq!(bench.module("c").runtime_status, RuntimeStatus::Failed);
    bench.want([]).await;
    assert_eq!(bench.containers.log(), ["10 remove c"]);
    assert!(bench.status().module(&id("c")).is_none());
}
