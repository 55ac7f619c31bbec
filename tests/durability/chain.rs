//! Two modules in a row that number their steps, and what must be in the store in the end.
//!
//! ```text
//!   senders ─► source/a ─► first/input1 ┐           ┌─► second/input1 ─► $upstream
//!           ─► source/b ─► first/input2 ┴► first ───┴─► $upstream
//! ```
//!
//! Both are the sample `counter`. What `first` sends goes to `second` and, in the same commit, straight
//! to `$upstream`; so do its reports of repeats. `second` takes the numbers of `first` for its input.

use std::collections::HashMap;
use std::path::Path;

use edge_core::{EndpointId, Message};
use edge_store::{FileLog, FileLogConfig, MessageLog, Seq, Table, Visible};
use serde_json::json;

use super::load::SOURCE;
use crate::support::ledger::{
    Entry, Item, Ledger, Order, Received, Repeats, Rules, Steps, Verdict, judge,
};
use crate::support::{Daemon, Manifest};

/// Settings with segments so small that they change often.
pub const SETTINGS: &str = "[store]\nsegment-size = \"1MiB\"\n[hub]\ntime-to-live = \"24h\"\n";

/// What holds inside: a step has its effect once; only a sender that had no answer repeats itself.
pub const INSIDE: Rules = Rules {
    repeats: Repeats::AsSent,
    order: Order::OfAll,
    steps: Steps::Once,
};

/// What `first` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It runs.
    Running,
    /// It does not, and its inputs wait.
    Stopped,
    /// It runs, and only its reports are kept.
    Draining,
}

/// The chain; another `build` makes both modules start anew.
pub fn manifest(first: First, build: u64) -> Manifest {
    let counter = |manifest: Manifest, name: &str, sender: &str, number: &str| {
        manifest
            .module(name, "counter", json!({"grants": {"state": true}}))
            .env(name, "name", name)
            .env(name, "sender", sender)
            .env(name, "number", number)
            .env(name, "build", &build.to_string())
    };
    let into = |from: &str, to: &str| format!("FROM /messages/modules/{from} INTO {to}");
    let input = |name: &str| format!("BrokeredEndpoint(\"/modules/{name}\")");
    let manifest = counter(Manifest::new(), "first", "sender", "seq");
    let manifest = counter(manifest, "second", "", "first")
        .route(
            "a",
            &into(
                &format!("{SOURCE}/outputs/a"),
                &input("first/inputs/input1"),
            ),
        )
        .route(
            "b",
            &into(
                &format!("{SOURCE}/outputs/b"),
                &input("first/inputs/input2"),
            ),
        );
    if first == First::Draining {
        return manifest.route("reports", &into("first/outputs/report", "$upstream"));
    }
    let manifest = manifest
        .route(
            "on",
            &into("first/outputs/output1", &input("second/inputs/input1")),
        )
        .route("first", &into("first/*", "$upstream"))
        .route("second", &into("second/*", "$upstream"));
    match first {
        First::Stopped => manifest.key("first", "status", json!("stopped")),
        _ => manifest,
    }
}

/// Waits until nothing is left for the modules to do.
#[track_caller]
pub fn drained(daemon: &Daemon) {
    daemon.eventually("the modules have handled all", |daemon| {
        daemon.depth("first/input1") + daemon.depth("first/input2") + daemon.depth("second/input1")
            == 0
    });
}

/// The store of a daemon that has ended.
pub fn open(store: &Path) -> FileLog {
    let (log, opening) = FileLog::open_dir(store, FileLogConfig::default()).unwrap();
    assert!(!opening.created, "{} held no log", store.display());
    assert!(opening.damage.is_empty(), "{:?}", opening.damage);
    assert!(opening.lost_state.is_empty(), "{:?}", opening.lost_state);
    log
}

/// What waits in the queues of an endpoint, in order.
pub fn waiting(log: &FileLog, endpoint: &EndpointId) -> Vec<Message> {
    let mut messages = Vec::new();
    for queue in log.queues() {
        if queue.endpoint != *endpoint {
            continue;
        }
        let (mut from, mut entries) = (Seq(1), Vec::new());
        loop {
            log.read(queue.id, from, 1_000, Visible::Durable, &mut entries);
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            messages.extend(entries.drain(..).map(|entry| entry.message));
        }
    }
    messages
}

/// A number of a module's state.
pub fn state(log: &FileLog, module: &str, key: &str) -> u64 {
    let value = log.get(Table::ModuleState, format!("{module}\0\0{key}").as_bytes());
    value.map_or(0, |bytes| String::from_utf8_lossy(&bytes).parse().unwrap())
}

pub fn text<'m>(message: &'m Message, property: &str) -> &'m str {
    let missing = || panic!("no property {property} in {message:?}");
    message
        .content
        .properties
        .get(property)
        .unwrap_or_else(missing)
}

fn number(message: &Message, property: &str) -> u64 {
    text(message, property).parse().unwrap()
}

/// The message as its sender calls it.
pub fn item(message: &Message) -> Item {
    let (sender, queue) = (text(message, "sender"), text(message, "queue"));
    Item::new(sender, queue, number(message, "seq"))
}

/// What came out of a module, in order.
fn from<'m>(messages: &'m [Message], module: &str, output: &str) -> Vec<&'m Message> {
    let origin = |message: &&Message| {
        let origin = &message.origin;
        let name = origin.module().map(|module| module.as_str().to_owned());
        name.as_deref() == Some(module) && origin.output() == Some(output)
    };
    messages.iter().filter(origin).collect()
}

fn receipts(messages: &[&Message], modules: &[&str]) -> Vec<Received> {
    let receipt = |message: &&Message| Received {
        item: item(message),
        steps: modules
            .iter()
            .map(|module| ((*module).to_owned(), number(message, module)))
            .collect(),
    };
    messages.iter().map(receipt).collect()
}

/// Judges all that a daemon did that has ended in order and had nothing left to do.
#[track_caller]
pub fn judge_all(ledger: &Path, store: &Path) -> Verdict {
    let entries: Vec<Entry> = Ledger::read(ledger).unwrap();
    let log = open(store);
    assert_eq!(log.dead_letters(Seq(1), 10).len(), 0, "dead letters");
    for queue in log.queues() {
        let empty = queue.endpoint == EndpointId::Upstream || queue.depth == 0;
        assert!(empty, "not drained: {queue:?}");
    }
    let upstream = waiting(&log, &EndpointId::Upstream);

    let first = from(&upstream, "first", "output1");
    judge(&entries, &receipts(&first, &["first"]), INSIDE).expect("what first sent upstream");
    let second = from(&upstream, "second", "output1");
    let receipts = receipts(&second, &["second", "first"]);
    let verdict = judge(&entries, &receipts, INSIDE).expect("what second sent upstream");
    assert_eq!(first.len(), second.len(), "one step, two queues");

    check_state(&log, "first", &first, "seq");
    check_state(&log, "second", &second, "first");
    check_reports(&first, &from(&upstream, "first", "report"));
    assert_eq!(
        from(&upstream, "second", "report").len(),
        0,
        "repeats inside"
    );
    verdict
}

/// A module's state holds exactly what it sent: both are one commit.
#[track_caller]
fn check_state(log: &FileLog, module: &str, sent: &[&Message], input: &str) {
    let mut sum = 0;
    for message in sent {
        sum += number(message, input);
        let told = number(message, &format!("{module}-sum"));
        assert_eq!(told, sum, "{module} at {}", item(message));
    }
    let stored = (state(log, module, "count"), state(log, module, "sum"));
    assert_eq!(stored, (sent.len() as u64, sum), "state of {module}");
}

/// `first` reported what its senders repeated, once each, and no gaps: they go on when acknowledged.
#[track_caller]
fn check_reports(sent: &[&Message], reports: &[&Message]) {
    let mut last = HashMap::new();
    let mut repeats = Vec::new();
    for message in sent {
        let item = item(message);
        let lane = (item.sender.clone(), item.queue.clone());
        if last.insert(lane, item.seq) == Some(item.seq) {
            repeats.push(item);
        }
    }
    let reported = |message: &&Message| {
        assert_eq!(text(message, "odd"), "repeat", "{}", item(message));
        item(message)
    };
    let reported: Vec<_> = reports.iter().map(reported).collect();
    assert_eq!(reported, repeats, "repeats that first reported, and made");
}
