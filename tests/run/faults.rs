//! What a module does wrong ends its instance and is told; the next message is handled.

use std::time::Duration;

use serde_json::json;

use crate::support::{Edge, Output, run, sample};

fn misbehave() -> Edge {
    run(sample("misbehave")).args("--grant state")
}

fn told(command: &str) -> Edge {
    misbehave().property("do", command).args("--body x")
}

/// Does something that ends the instance, then sends on a message: which must come through.
fn fault(command: &str, more: &str) -> Output {
    let bad = json!({"body": "bad", "properties": {"do": command}});
    let input = format!("{bad}\n{{\"body\":\"next\"}}\n");
    let output = misbehave()
        .args("--format envelope")
        .args(more)
        .output(input);
    let output = output.code(1).prints([json!("next")]);
    let tries = output
        .err
        .matches("message at input1 failed, attempt ")
        .count();
    assert_eq!(tries, 2, "{output:#?}");
    output
        .says("rejected at misbehave/input1 after 3 attempts, \"bad\": ")
        .says("1 message rejected")
}

#[test]
fn a_call_that_does_not_end_misses_its_deadline() {
    let output = fault("loop", "--deadline 100ms");
    output
        .says("more than 100ms of CPU time in one call")
        .within(Duration::from_secs(5));
}

#[test]
fn a_trap_is_told_with_the_functions_that_it_came_from() {
    fault("trap", "")
        .says("trap: wasm `unreachable` instruction executed\n  at ")
        .says("#handle");
    fault("trap", "")
        .does_not_say("unnamed function")
        .does_not_say("_ZN");
}

#[test]
fn a_panic_is_told_with_its_words_and_its_place() {
    let output = fault("panic", "")
        .says("[misbehave] warn: told to panic")
        .says("src/lib.rs:");
    output.says("  at ").says("panic");
}

#[test]
fn a_recursion_without_end_is_told_and_not_listed_frame_by_frame() {
    let output = fault("recurse", "")
        .says("call stack exhausted")
        .says("misbehave::crash::deeper");
    assert!(
        output.err.matches("crash::deeper").count() <= 2,
        "{output:#?}"
    );
}

#[test]
fn memory_over_the_limit_is_refused_and_the_limit_is_named() {
    fault("allocate", "").says("the limit is 64MiB");
    fault("allocate", "--memory 8MiB").says("the limit is 8MiB");
    told("allocate").property("mib", "100").output("").code(1);
    told("allocate").property("mib", "40").output("").code(0);
    told("allocate")
        .property("mib", "100")
        .args("--memory 128MiB")
        .output("")
        .code(0);
}

#[test]
fn exit_ends_the_instance_and_not_the_program() {
    fault("exit", "").says("the guest called exit with status 1");
    told("exit")
        .property("code", "0")
        .output("")
        .code(1)
        .says("exit with status 0");
}

#[test]
fn a_wait_longer_than_the_timeout_is_cut_off() {
    let output = fault("sleep", "--timeout 200ms").says("longer than its timeout of 200ms");
    output.within(Duration::from_secs(5));
    told("sleep")
        .property("ms", "300")
        .args("--deadline 50ms")
        .output("")
        .code(0)
        .silent();
}

#[test]
fn faults_are_the_same_with_a_fresh_instance_for_every_message() {
    for command in ["trap", "loop", "allocate", "exit"] {
        fault(command, "--mode per-message --deadline 100ms");
    }
}

#[test]
fn memory_of_an_instance_ends_with_it() {
    let commands = ["count", "count", "trap", "count"];
    let lines = commands
        .map(|command| format!("{{\"body\":{{}},\"properties\":{{\"do\":\"{command}\"}}}}\n"));
    let seen = |n: u64| json!({"seen": n});
    let output = |mode: &str| {
        misbehave()
            .args("--format envelope --mode")
            .args(mode)
            .output(lines.concat())
    };
    output("resident")
        .code(1)
        .prints([seen(1), seen(2), seen(1)]);
    output("per-message")
        .code(1)
        .prints([seen(1), seen(1), seen(1)]);
}

#[test]
fn a_rejected_message_is_told_once_with_the_reason_and_its_beginning() {
    let output = told("reject")
        .property("reason", "too hot")
        .output("")
        .code(1)
        .prints_nothing();
    assert_eq!(
        output.err,
        "rejected at misbehave/input1: too hot: \"x\"\n1 message rejected\n"
    );
    let long = "y".repeat(10_000);
    let output = misbehave()
        .args("--property do=reject")
        .output(long)
        .code(1);
    assert!(output.err.len() < 300, "{output:#?}");
}

#[test]
fn a_flood_of_logs_is_limited_and_what_was_dropped_is_counted() {
    for (command, first) in [
        ("flood-log", "[misbehave] info: flood: line 0"),
        ("flood-stderr", "[misbehave] warn: line 0"),
    ] {
        let output = told(command)
            .property("count", "10000")
            .output("")
            .code(0)
            .says(first);
        let shown = output
            .err
            .lines()
            .filter(|line| line.contains("line "))
            .count();
        let dropped = output.err.lines().filter_map(|line| {
            let (_, rest) = line.split_once("warn: ")?;
            rest.strip_suffix(" log lines dropped: more than 100 a second")?
                .parse::<usize>()
                .ok()
        });
        let dropped: usize = dropped.sum();
        assert_eq!(shown + dropped, 10_000, "{command}");
        assert!(dropped > 8_000, "{command}: only {dropped} dropped");
    }
}

#[test]
fn logs_below_the_level_are_not_shown() {
    let flood = || told("flood-log").property("count", "3");
    flood().args("--log info").output("").code(0).says("line 2");
    flood().args("--log warn").output("").code(0).silent();
}
