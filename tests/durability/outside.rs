//! What somebody outside has seen, a crash does not take back: `$upstream` is printed, and the daemon
//! is killed while it prints.

use std::time::Duration;

use edge_daemon::types::MessageInfo;

use super::chain::{self, First, SETTINGS};
use super::chance::Chance;
use super::load::{Load, WhenFull};
use crate::support::Daemon;
use crate::support::ledger::{
    Item, Ledger, Order, Receipts, Received, Repeats, Rules, Steps, judge,
};

const ROUNDS: u64 = 8;
const SENDERS: u64 = 4;
/// Messages for upstream that are handed out before their progress is committed.
const BATCH: u64 = 256;

/// What came out of `second`, in the lines of a daemon that was killed perhaps within the last.
pub fn printed(out: &str) -> Vec<Received> {
    let whole = out.rfind('\n').map_or("", |end| &out[..end]);
    let messages = whole.lines().map(|line| {
        let parsed: Result<MessageInfo, _> = serde_json::from_str(line);
        parsed.unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let of_second = messages.filter(|message| {
        message.module.as_deref() == Some("second") && message.output.as_deref() == Some("output1")
    });
    let receipt = |message: MessageInfo| {
        let number = |name: &str| message.properties[name].parse().unwrap();
        let (sender, queue) = (&message.properties["sender"], &message.properties["queue"]);
        Received {
            item: Item::new(sender, queue, number("seq")),
            steps: ["second", "first"]
                .map(|module| (module.to_owned(), number(module)))
                .to_vec(),
        }
    };
    of_second.map(receipt).collect()
}

#[test]
fn what_was_seen_outside_is_not_taken_back_and_all_of_it_comes() {
    let mut chance = Chance::new("outside");
    let mut daemon = Daemon::with(&format!("{SETTINGS}[upstream]\nmessages = \"print\"\n"));
    daemon.apply(&chain::manifest(First::Running, 0));
    let (ledger, socket) = (daemon.dir().join("ledger"), daemon.socket());
    let path = daemon.dir().join("receipts");
    let receipts = Receipts::create(&path).unwrap();
    let keep = |out: &str| {
        for receipt in printed(out) {
            receipts.write(&receipt).unwrap();
        }
    };
    let load = Load::start(SENDERS, &ledger, &socket, WhenFull::Fault, &mut chance);
    load.open();
    for _ in 0..ROUNDS {
        load.more(50 + chance.below(400));
        chance.moment(Duration::from_millis(5));
        daemon.running().kill_now();
        keep(&daemon.stop().out);
        daemon.again();
        load.open();
    }
    load.finish();
    chain::drained(&daemon);
    daemon.waits("$upstream", 0);
    keep(&daemon.stop().code(0).out);

    let entries = Ledger::read(&ledger).unwrap();
    let rules = Rules {
        // A batch for each kill, and whatever senders repeat.
        repeats: Repeats::AtMost(ROUNDS * (BATCH + SENDERS)),
        order: Order::OfFirst,
        steps: Steps::Stable,
    };
    let verdict = judge(&entries, &Receipts::read(&path).unwrap(), rules).expect("what was seen");
    assert!(verdict.received >= verdict.acknowledged);
    eprintln!("outside, {ROUNDS} kills: {verdict}");
}
