//! How messages come in and go out: lines, envelopes, `--body`, `--input`, `--property`.

use serde_json::json;

use crate::support::{Edge, edge, run, sample};

/// A module that sends on whatever it gets.
fn echo() -> Edge {
    run(sample("misbehave")).args("--grant state")
}

#[test]
fn each_line_is_one_message_and_empty_lines_are_none() {
    let bodies = [json!("a"), json!({"b": 1}), json!("  "), json!("c")];
    let output = echo().output("a\n\n{\"b\":1}\r\n\r\n  \nc");
    output.code(0).silent().prints(bodies);
}

#[test]
fn no_input_is_no_failure() {
    echo().output("").code(0).silent().prints_nothing();
}

#[test]
fn what_is_no_json_goes_out_as_text_and_what_is_no_text_as_base64() {
    let output = echo().output(b"{\"a\":\n\xff\xfe\n25\n\"quoted\"\nnull\n");
    let base64 = json!({"base64": "//4="});
    let bodies = [
        json!("{\"a\":"),
        base64,
        json!(25),
        json!("quoted"),
        json!(null),
    ];
    output.code(0).silent().prints(bodies);
}

#[test]
fn a_line_of_output_says_module_output_body_and_properties_in_this_order() {
    let output = echo()
        .args("--property b=2 --property a=1 --body x")
        .output("");
    let line =
        r#"{"module":"misbehave","output":"output1","body":"x","properties":{"b":"2","a":"1"}}"#;
    assert_eq!(output.code(0).silent().out.trim_end(), line);
}

#[test]
fn a_body_on_the_command_line_is_one_message_and_the_input_is_not_read() {
    let output = echo().args("--body x").output("y\nz\n");
    output.code(0).silent().prints([json!("x")]);
}

#[test]
fn an_empty_body_is_a_message() {
    echo()
        .arg("--body")
        .arg("")
        .output("")
        .code(0)
        .prints([json!("")]);
}

#[test]
fn properties_of_the_command_line_are_on_every_line() {
    let output = echo().property("k", "v=w").output("a\nb\n").code(0);
    for line in output.lines() {
        assert_eq!(line["properties"], json!({"k": "v=w"}));
    }
}

#[test]
fn a_message_goes_to_the_input_that_is_named() {
    let reject = |edge: Edge| {
        edge.args("--property do=reject --body x")
            .output("")
            .code(1)
    };
    reject(echo()).says("rejected at misbehave/input1: told to reject");
    reject(echo().args("--input alarms")).says("rejected at misbehave/alarms: ");
    reject(echo().args("--to misbehave/other")).says("rejected at misbehave/other: ");
    reject(echo().args("--to misbehave --input third")).says("rejected at misbehave/third: ");
}

#[test]
fn to_names_one_of_several_modules() {
    let (filter, echo) = (sample("filter"), sample("misbehave"));
    let both = || edge(["run"]).arg(&filter).arg(&echo).args("--grant state");
    both().args("--body x").output("").code(0).prints_nothing();
    both()
        .args("--body x --to misbehave")
        .output("")
        .code(0)
        .prints([json!("x")]);
    let refused = both().args("--body x --to nobody").output("").refused();
    refused.says("--to nobody: no module of that name takes messages here");
}

#[test]
fn an_envelope_names_input_body_and_properties() {
    let lines = [
        r#"{"input":"alarms","body":{"t":31},"properties":{"do":"reject","reason":"a"}}"#,
        r#"{"body":"text","properties":{"n":2,"yes":true}}"#,
        r#"{"body":{"base64":"AP8="}}"#,
        r#"{"body":[1, 2]}"#,
        r#"{"body":null}"#,
    ];
    let output = echo()
        .args("--format envelope --property k=v")
        .output(lines.join("\n"));
    let output = output
        .code(1)
        .says(r#"rejected at misbehave/alarms: a: "{\"t\":31}""#);
    assert_eq!(
        output.lines()[0]["properties"],
        json!({"k": "v", "n": "2", "yes": "true"})
    );
    output.prints([
        json!("text"),
        json!({"base64": "AP8="}),
        json!([1, 2]),
        json!(null),
    ]);
}

#[test]
fn a_bad_envelope_is_refused_with_its_line_and_the_others_go_on() {
    let bad = [
        "text",
        "[]",
        r#"["input1",1,{}]"#,
        "{}",
        r#"{"boddy":1}"#,
        r#"{"body":1,"input":2}"#,
        r#"{"body":1,"properties":{"k":null}}"#,
        r#"{"body":{"base64":"!"}}"#,
        "{\"body\":\"\u{1}",
    ];
    for line in bad {
        let output = echo()
            .args("--format envelope")
            .output(format!("\n{line}\n{{\"body\":1}}\n"));
        let output = output
            .code(1)
            .says("line 2 refused: ")
            .says("\n1 message refused\n");
        assert_eq!(output.err.lines().count(), 2, "{line}: {output:#?}");
        output.prints([json!(1)]);
    }
}

#[test]
fn a_line_that_is_larger_than_a_message_is_refused_and_the_next_one_is_handled() {
    let (most, over, far) = (
        "x".repeat(256 << 10),
        "y".repeat((256 << 10) + 1),
        "z".repeat(4 << 20),
    );
    let output = echo()
        .output(format!("{most}\n{over}\n{far}\nlast\n"))
        .code(1);
    let output = output
        .says("line 2 refused: ")
        .says("line 3 refused: ")
        .says("256KiB");
    output
        .says("2 messages refused")
        .prints([json!(most), json!("last")]);
}

#[test]
fn many_lines_come_out_whole_and_in_order() {
    let count = 20_000;
    let lines: String = (0..count).map(|n| format!("{n}\n")).collect();
    let output = echo().output(lines).code(0).silent();
    assert_eq!(
        output.bodies(),
        (0..count).map(|n| json!(n)).collect::<Vec<_>>()
    );
}

#[test]
fn a_message_is_handled_when_it_comes_not_when_the_input_ends() {
    let mut running = echo().start();
    for n in 0..3 {
        running.send(&n.to_string());
        assert_eq!(running.body(), json!(n));
    }
    running.close_input();
    running.end().code(0).silent();
}

#[test]
fn wrong_words_end_with_2_and_say_what_was_expected() {
    let cases = [
        ("--property novalue", "NAME=VALUE"),
        ("--timer poll=5", "span of time"),
        ("--timer poll=0s", "at least 1ms"),
        ("--memory lots", "lots"),
        (
            "--grant everything",
            "expected state, http=ORIGIN or dir=HOST:GUEST",
        ),
        ("--method m={", "not JSON"),
        ("--routes lax", "strict"),
        ("--for ever", "span of time"),
        ("--digest sha256:12", "64 hexadecimal digits"),
        ("--manifest m.json", "cannot be used with"),
        ("--nonsense", "--nonsense"),
    ];
    for (words, expected) in cases {
        let output = echo().args(words).output("").code(2).prints_nothing();
        assert!(output.err.contains(expected), "{words}: {output:#?}");
    }
    edge(["run"]).output("").code(2).says("<MODULE.wasm>");
}

#[test]
fn settings_reach_a_module() {
    let filter = || run(sample("filter")).args("--property temperature=31 --body x");
    filter().output("").code(0).prints([json!("x")]);
    filter()
        .args("--env threshold=32")
        .output("")
        .code(0)
        .prints_nothing();
    let wrong = filter().args("--env threshold=warm").output("");
    wrong.code(1).says("setting threshold is no number: warm");
}
