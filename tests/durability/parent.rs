//! From module to hub to parent: what the parent prints is what was acknowledged below, in order, whatever is killed
//! on the way.

use std::time::Duration;

use super::chain::{self, First, SETTINGS};
use super::chance::Chance;
use super::load::{Load, WhenFull};
use super::outside::printed;
use crate::support::family::Parent;
use crate::support::ledger::{Ledger, Order, Receipts, Repeats, Rules, Steps, judge};
use crate::support::{Daemon, Manifest};

const ROUNDS: u64 = 6;
const SENDERS: u64 = 4;
/// Messages that may be under way to a parent.
const WINDOW: u64 = 8_192;

fn parent() -> Parent {
    Parent::with("upstream.messages = \"print\"\n")
}

fn print_of(parent: &mut Parent, count: usize) -> Vec<serde_json::Value> {
    (0..count)
        .map(|_| serde_json::from_str(&parent.daemon.running().line()).unwrap())
        .collect()
}

#[test]
fn what_a_child_sends_arrives_in_order_with_all_that_it_says() {
    let mut parent = parent();
    let child = Daemon::with(&parent.adopt("child1"));
    for n in 0..30 {
        let send = child.edge("send $upstream --body").arg(n.to_string());
        send.property("na sty&k", "a b&c=d/é").output("").code(0);
    }
    let printed = print_of(&mut parent, 30);
    for (n, line) in printed.iter().enumerate() {
        assert_eq!(line["body"], n, "{line}");
        assert_eq!(line["device"], "child1", "{line}");
        assert_eq!(line["properties"]["na sty&k"], "a b&c=d/é", "{line}");
    }
    child.waits("$upstream", 0);
}

#[test]
fn a_child_goes_on_when_its_parent_comes_back() {
    let mut parent = parent();
    let mut child = Daemon::with(&parent.adopt("child1"));
    child.send("$upstream", "1");
    assert_eq!(print_of(&mut parent, 1)[0]["body"], 1);
    child.waits("$upstream", 0);
    parent.daemon.kill();
    for n in 2..20 {
        child.send("$upstream", &n.to_string());
    }
    child.kill();
    child.again();
    child.send("$upstream", "20");
    parent.daemon.again();
    for (n, line) in print_of(&mut parent, 19).iter().enumerate() {
        assert_eq!(line["body"], n + 2, "{line}");
    }
    child.waits("$upstream", 0);
}

#[test]
fn an_identity_that_the_parent_does_not_know_waits_and_holds_up_nobody() {
    let mut parent = parent();
    let child = Daemon::with(&parent.adopt("child1"));
    let load = r#"FROM /messages/modules/first/outputs/output1 INTO $upstream"#;
    child.apply(
        &Manifest::new()
            .module(
                "first",
                "counter",
                serde_json::json!({"grants": {"state": true}}),
            )
            .env("first", "name", "first")
            .env("first", "number", "n")
            .env("first", "sender", "")
            .route("up", load),
    );
    for n in 1..4 {
        let send = child.edge("send first/input1 --body x");
        send.property("n", &n.to_string()).output("").code(0);
    }
    child.waits("$upstream", 3);
    child.send("$upstream", "mine");
    assert_eq!(print_of(&mut parent, 1)[0]["body"], "mine");
    child.waits("$upstream", 3);
    parent.add("child1/first");
    for (n, line) in print_of(&mut parent, 3).iter().enumerate() {
        assert_eq!(line["properties"]["n"], (n + 1).to_string(), "{line}");
        assert_eq!(line["module"], "first", "{line}");
    }
    child.waits("$upstream", 0);
}

#[test]
fn three_levels_hand_messages_on() {
    let mut root = parent();
    let middle = Parent::with(&root.adopt("middle"));
    let leaf_settings = middle.adopt("leaf");
    // What the middle speaks for, the root has to know by the same key.
    let known = middle.daemon.json("identity show leaf --keys");
    let key = known["secrets"]["primary_key"]
        .as_str()
        .unwrap_or_else(|| panic!("no key in {known}"));
    let add = root.daemon.edge("identity add leaf --key").arg(key);
    add.output("").code(0);
    let leaf = Daemon::with(&leaf_settings);
    for n in 0..5 {
        leaf.send("$upstream", &n.to_string());
    }
    for (n, line) in print_of(&mut root, 5).iter().enumerate() {
        assert_eq!(
            (&line["body"], &line["device"]),
            (&n.into(), &"leaf".into()),
            "{line}"
        );
    }
    leaf.waits("$upstream", 0);
}

#[test]
fn nothing_acknowledged_is_lost_on_its_way_to_the_parent_whoever_is_killed() {
    let mut chance = Chance::new("parent");
    let mut parent = Parent::with("upstream.messages = \"print\"\n[hub]\ntime-to-live = \"24h\"\n");
    let settings = parent.adopt("child1");
    for module in ["first", "second"] {
        parent.add(&format!("child1/{module}"));
    }
    let mut child = Daemon::with(&format!("{settings}{SETTINGS}"));
    child.apply(&chain::manifest(First::Running, 0));
    let (ledger, socket) = (child.dir().join("ledger"), child.socket());
    let path = child.dir().join("receipts");
    let receipts = Receipts::create(&path).unwrap();
    let keep = |out: &str| {
        for receipt in printed(out) {
            receipts.write(&receipt).unwrap();
        }
    };
    let load = Load::start(SENDERS, &ledger, &socket, WhenFull::Fault, &mut chance);
    load.open();
    for round in 0..ROUNDS {
        load.more(50 + chance.below(400));
        chance.moment(Duration::from_millis(50));
        if round % 2 == 0 {
            child.kill();
            child.again();
            load.open();
        } else {
            parent.daemon.running().kill_now();
            keep(&parent.daemon.stop().out);
            parent.daemon.again();
        }
    }
    load.finish();
    chain::drained(&child);
    child.waits("$upstream", 0);
    parent.daemon.waits("$upstream", 0);
    keep(&parent.daemon.stop().code(0).out);

    let entries = Ledger::read(&ledger).unwrap();
    let rules = Rules {
        repeats: Repeats::AtMost(ROUNDS * (WINDOW + 256 + SENDERS)),
        order: Order::OfFirst,
        steps: Steps::Stable,
    };
    let verdict = judge(&entries, &Receipts::read(&path).unwrap(), rules).expect("what came");
    assert!(verdict.received >= verdict.acknowledged);
    eprintln!("parent, {ROUNDS} kills: {verdict}");
}
