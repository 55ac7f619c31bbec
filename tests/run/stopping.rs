//! It ends when it should: at Ctrl-C within a second, when nobody reads any more, and never hangs.

use std::time::Duration;

use crate::support::{Edge, Running, edge, run, sample};

const A_SECOND: Duration = Duration::from_secs(1);

fn misbehave() -> Edge {
    run(sample("misbehave")).args("--grant state --format envelope")
}

/// Interrupts it, and expects its end within a second.
#[track_caller]
fn interrupted(running: Running) -> crate::support::Output {
    running.interrupt();
    let (output, took) = running.end_from_now();
    assert!(took < A_SECOND, "{took:?}: {output:#?}");
    output
}

#[test]
fn ctrl_c_ends_it_while_it_waits_for_input() {
    let mut running = misbehave().start();
    running.send(r#"{"body":1}"#);
    running.line();
    interrupted(running).code(130).silent();
}

#[test]
fn ctrl_c_ends_it_while_a_guest_spins_and_says_what_was_left() {
    let mut running = misbehave().args("--deadline 2s").start();
    running.send(r#"{"body":"spinning","properties":{"do":"loop"}}"#);
    running.send(r#"{"body":"behind"}"#);
    running.close_input();
    // From now on it spins for the second time.
    running.says("attempt 1 of 3");
    let output = interrupted(running).code(130);
    output.says("left unhandled: 2 messages for misbehave/input1");
}

#[test]
fn ctrl_c_ends_it_while_a_guest_sleeps() {
    let mut running = misbehave().args("--timeout 2s").start();
    running.send(r#"{"body":"sleeping","properties":{"do":"sleep","ms":20000}}"#);
    running.close_input();
    // From now on it sleeps for the second time.
    running.says("attempt 1 of 3");
    interrupted(running)
        .code(130)
        .says("left unhandled: 1 message for misbehave/input1");
}

#[test]
fn ctrl_c_ends_it_while_a_message_waits_for_its_retry() {
    let mut running = misbehave().start();
    running.send(r#"{"body":"put off","properties":{"do":"retry"}}"#);
    running.send(r#"{"input":"input2","body":"after it"}"#);
    running.line();
    running.close_input();
    interrupted(running)
        .code(130)
        .says("left unhandled: 1 message for misbehave/input1");
}

#[test]
fn ctrl_c_ends_timers() {
    let mut running = run(sample("sensor")).args("--timer poll=20ms").start();
    running.close_input();
    running.line();
    let output = interrupted(running).silent();
    // The input had ended and every message was handled.
    assert!(matches!(output.code, 0 | 130), "{output:#?}");
}

#[test]
fn ctrl_c_ends_a_service() {
    let mut running = run(sample("service")).args("--arg 1000000000").start();
    running.line();
    interrupted(running).code(130);
}

#[test]
fn a_reader_that_has_enough_ends_a_service() {
    let mut running = run(sample("service")).args("--arg 1000000000").start();
    running.line();
    running.close_output();
    let (output, took) = running.end_from_now();
    assert!(took < 2 * A_SECOND, "{took:?}: {}", output.err);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let mut running = misbehave().args("--deadline 60s").start();
    running.send(r#"{"body":1}"#);
    running.line();
    running.send(r#"{"body":"spinning","properties":{"do":"loop"}}"#);
    running.interrupt();
    interrupted(running).code(130);
}

#[test]
fn a_reader_that_has_enough_ends_it() {
    let mut running = run(sample("misbehave")).args("--grant state").start();
    running.send("first");
    running.line();
    running.close_output();
    // The first goes to who reads until then; nothing of the rest can.
    running.send_all("next\n".repeat(200_000).into_bytes());
    let (output, took) = running.end_from_now();
    assert!(took < 5 * A_SECOND, "{took:?}: {output:#?}");
    output.does_not_say("panicked").does_not_say("error");
}

#[test]
fn a_reader_that_has_enough_ends_timers() {
    let mut running = run(sample("sensor")).args("--timer poll=20ms").start();
    running.close_input();
    running.line();
    running.close_output();
    let (output, took) = running.end_from_now();
    assert!(took < 2 * A_SECOND, "{took:?}: {output:#?}");
}

#[test]
fn the_time_that_it_runs_can_be_set() {
    let running = misbehave().args("--for 300ms").start();
    let output = running.end().code(0).silent().within(2 * A_SECOND);
    assert!(output.took >= Duration::from_millis(300));
}

#[test]
fn messages_in_a_circle_of_routes_end_as_rejected() {
    let echo = sample("misbehave");
    let circle = edge(["run"])
        .arg(echo)
        .args("--grant state --body x --route");
    let circle = circle.arg("FROM /messages/modules/misbehave INTO BrokeredEndpoint(\"/modules/misbehave/inputs/input1\")");
    circle
        .output("")
        .code(1)
        .says("1 message rejected")
        .within(5 * A_SECOND);
}

#[test]
fn help_and_version_are_no_failures() {
    for words in [
        "--help",
        "--version",
        "run --help",
        "explain --help",
        "new --help",
        "componentize --help",
    ] {
        let output = edge(words.split(' ')).output("").code(0).silent();
        assert!(output.out.contains("edge"), "{words}: {output:#?}");
    }
    edge(Vec::<&str>::new())
        .output("")
        .code(2)
        .says("Usage: edge");
}
