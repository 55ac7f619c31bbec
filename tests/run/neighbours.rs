//! A module that behaves badly costs its neighbours time, not messages.

use std::path::PathBuf;

use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::support::{Edge, edge, sample, sample_as};

/// Copies of `misbehave` beside a filter, which sends them and `$upstream` what routes let pass.
struct Neighbours {
    dir: TempDir,
    bad: Vec<String>,
}

impl Neighbours {
    fn new(count: usize) -> Self {
        let bad = (0..count).map(|n| format!("bad{n}")).collect();
        Self {
            dir: tempdir().unwrap(),
            bad,
        }
    }

    fn run(&self) -> Edge {
        let copy = |name: &String| sample_as("misbehave", self.dir.path(), name);
        let paths: Vec<PathBuf> = self.bad.iter().map(copy).collect();
        let good = edge(["run"]).arg(sample("filter"));
        let mut command = paths.iter().fold(good, |command, path| command.arg(path));
        for name in &self.bad {
            let from = "FROM /messages/modules/filter/outputs/output1 WHERE is_defined(do)";
            command = command.arg("--route").arg(format!(
                "{from} INTO BrokeredEndpoint(\"/modules/{name}/inputs/input1\")"
            ));
        }
        command
            .arg("--route")
            .arg("FROM /messages/modules/filter/outputs/output1 INTO $upstream")
            .args("--grant state --format envelope --property temperature=31")
    }
}

#[test]
fn messages_of_others_get_through_while_modules_spin() {
    // More of them than there are workers.
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let neighbours = Neighbours::new(workers + 1);
    let mut running = neighbours.run().args("--deadline 60s").start();
    running.send(r#"{"body":"spin","properties":{"do":"loop"}}"#);
    assert_eq!(running.body(), json!("spin"));
    for n in 0..50 {
        running.send(&json!({ "body": n }).to_string());
        assert_eq!(running.body(), json!(n));
    }
    running.interrupt();
    let output = running.end().code(130);
    for name in &neighbours.bad {
        let left = format!("left unhandled: 1 message for {name}/input1");
        assert!(output.err.contains(&left), "{output:#?}");
    }
}

#[test]
fn a_message_that_one_module_fails_at_reaches_the_others() {
    let neighbours = Neighbours::new(2);
    let input = "{\"body\":1,\"properties\":{\"do\":\"trap\"}}\n{\"body\":2}\n";
    let output = neighbours.run().output(input).code(1);
    output
        .says("rejected at bad0/input1 after 3 attempts")
        .says("rejected at bad1/input1 after 3 attempts")
        .says("2 messages rejected")
        .prints([json!(1), json!(2)]);
}

#[test]
fn a_busy_timer_does_not_shorten_the_deadlines_of_others() {
    let begin = std::time::Instant::now();
    let running = edge(["run"])
        .arg(sample("misbehave"))
        .arg(sample("sensor"))
        .args("--to misbehave --grant state --timer t=1ms --deadline 300ms --property do=loop --body x")
        .start();
    running.says("after 3 attempts");
    // Three calls, each of which had its whole deadline.
    assert!(begin.elapsed().as_millis() >= 900, "{:?}", begin.elapsed());
    running.interrupt();
    running.end();
}
