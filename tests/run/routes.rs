//! `--route` and `--routes`.

use serde_json::json;
use tempfile::tempdir;

use crate::support::{Edge, edge, run, sample, sample_as};

fn echo() -> Edge {
    run(sample("misbehave")).args("--grant state")
}

#[test]
fn messages_pass_from_module_to_module_as_routes_say() {
    let dir = tempdir().unwrap();
    let (a, b) = (
        sample_as("misbehave", dir.path(), "a"),
        sample_as("filter", dir.path(), "b"),
    );
    let command = edge(["run"]).arg(a).arg(b).args("--grant state");
    let command = command.arg("--route").arg("FROM /messages/modules/a WHERE $body.t > 10 INTO BrokeredEndpoint(\"/modules/b/inputs/input1\")");
    let command = command
        .arg("--route")
        .arg("FROM /messages/modules/b/outputs/output1 INTO $upstream");
    let lines = "{\"t\":31,\"temperature\":31}\n{\"t\":1,\"temperature\":31}\n{\"t\":31,\"temperature\":3}\n";
    let output = command.output(lines).code(0).silent();
    assert_eq!(output.lines()[0]["module"], json!("b"));
    output.prints([json!({"t": 31, "temperature": 31})]);
}

#[test]
fn what_no_route_takes_is_not_printed() {
    let none = echo()
        .arg("--route")
        .arg("FROM /messages/modules/nobody INTO $upstream");
    none.args("--body x").output("").code(0).prints_nothing();
}

#[test]
fn a_condition_decides_what_is_printed() {
    let some = echo()
        .arg("--route")
        .arg("FROM /messages/* WHERE $body.t >= 2 AND k = 'v' INTO $upstream");
    let some = some
        .property("k", "v")
        .output("{\"t\":1}\n{\"t\":2}\ntext\n");
    some.code(0).prints([json!({"t": 2})]);
}

#[test]
fn the_same_message_is_printed_once_for_every_endpoint() {
    let twice = echo()
        .args("--body x")
        .arg("--route")
        .arg("FROM /messages/* INTO $upstream");
    let twice = twice
        .arg("--route")
        .arg("FROM /messages/modules/* INTO $upstream");
    twice.output("").code(0).prints([json!("x")]);
}

#[test]
fn a_wrong_route_is_told_with_its_place() {
    let wrong = |route: &str| {
        echo()
            .args("--body x --route")
            .arg(route)
            .output("")
            .refused()
    };
    wrong("FROM /messages WHERE INTO $upstream").says("route --route 1: line 1, column ");
    wrong("FROM /messages\nWHERE a = \nINTO $upstream").says("line 3, column ");
    wrong("FROM /messages INTO nowhere").says("line 1, column ");
}

#[test]
fn strict_routes_refuse_what_compat_lets_pass() {
    let with = |mode: &str| {
        let route = "FROM /messages/* INTO $upstream WHERE false";
        echo()
            .args("--body x --routes")
            .args(mode)
            .arg("--route")
            .arg(route)
            .output("")
    };
    with("compat").code(0).prints([json!("x")]);
    with("strict").refused().says("line 1, column ");
}
