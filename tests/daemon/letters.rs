//! Messages that were given up.

use serde_json::json;

use crate::support::{Daemon, Manifest};

fn with_letters(count: usize) -> Daemon {
    let daemon = Daemon::start();
    daemon.apply(&Manifest::new().module("filter", "filter", json!({})));
    for n in 0..count {
        daemon.send("filter/input1", &format!("{{\"temperature\":\"t{n}\"}}"));
    }
    waits(&daemon, count);
    daemon
}

fn letters(daemon: &Daemon) -> Vec<u64> {
    let list = daemon.json("dead-letters list");
    let list = list.as_array().unwrap().iter();
    list.map(|letter| letter["number"].as_u64().unwrap())
        .collect()
}

#[track_caller]
fn waits(daemon: &Daemon, count: usize) {
    daemon.eventually(&format!("{count} dead letters"), |daemon| {
        letters(daemon).len() == count
    });
}

#[test]
fn they_are_listed_with_the_reason_and_shown_in_full() {
    let daemon = with_letters(2);
    let all = letters(&daemon);
    let table = daemon.edge("dead-letters list").output("").code(0);
    assert_eq!(table.out.lines().count(), 3, "{table:#?}");
    assert!(
        table.out.contains("filter/input1") && table.out.contains("temperature is no number"),
        "{table:#?}"
    );
    let one = daemon.json(&format!("dead-letters show {}", all[1]));
    assert_eq!(
        one["message"]["body"],
        json!({"temperature": "t1"}),
        "{one}"
    );
    assert_eq!(one["code"], "rejected");
    daemon
        .edge("dead-letters show 4711")
        .output("")
        .code(2)
        .says("there is no dead letter 4711");
}

#[test]
fn what_is_replayed_is_tried_again_and_what_is_dropped_is_gone_for_good() {
    let mut daemon = with_letters(3);
    let before = letters(&daemon);
    let replayed = daemon.json(&format!("dead-letters replay {}", before[0]));
    assert_eq!(replayed["done"], json!([before[0]]));
    // It is rejected again, and so comes back under another number.
    daemon.eventually("it comes back", |daemon| {
        let now = letters(daemon);
        now.len() == 3 && !now.contains(&before[0])
    });
    daemon.json(&format!("dead-letters drop {}", before[1]));
    assert_eq!(letters(&daemon).len(), 2);
    daemon.kill();
    daemon.again();
    assert_eq!(letters(&daemon).len(), 2);
    let dropped = daemon.json("dead-letters drop --all");
    assert_eq!(dropped["done"].as_array().unwrap().len(), 2);
    assert!(letters(&daemon).is_empty());
}

#[test]
fn numbers_that_are_none_are_said_one_by_one() {
    let daemon = with_letters(1);
    let there = letters(&daemon)[0];
    let output = daemon
        .edge(&format!("dead-letters drop {there} 4711"))
        .output("")
        .code(1);
    assert_eq!(output.out, "dropped: 1\n");
    output.says("not dropped: 4711: there is no dead letter 4711");
}
