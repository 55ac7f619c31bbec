//! The judge itself: each kind of violation, forged, is found and named.

use tempfile::tempdir;

use crate::support::ledger::{
    Entry, Item, Ledger, Order, Receipts, Received, Repeats, Rules, Steps, Verdict, Violation,
    judge,
};

const STRICT: Rules = Rules {
    repeats: Repeats::Forbidden,
    order: Order::OfAll,
    steps: Steps::Once,
};

fn item(seq: u64) -> Item {
    Item::new("anna", "input1", seq)
}

/// A ledger in which these were sent once and acknowledged.
fn acknowledged(seqs: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    let both = |seq| [Entry::Sent(item(seq)), Entry::Acknowledged(item(seq))];
    seqs.into_iter().flat_map(both).collect()
}

fn received(seqs: impl IntoIterator<Item = u64>) -> Vec<Received> {
    seqs.into_iter().map(|seq| item(seq).into()).collect()
}

/// Receipts that passed a module: number and step of each.
fn stepped(pairs: &[(u64, u64)]) -> Vec<Received> {
    let receipt = |&(seq, step): &(u64, u64)| Received {
        item: item(seq),
        steps: vec![("first".to_owned(), step)],
    };
    pairs.iter().map(receipt).collect()
}

#[track_caller]
fn finds(verdict: &Verdict, expected: &[Violation]) {
    assert_eq!(verdict.violations, expected, "{verdict}");
    assert_eq!(verdict.count, expected.len() as u64);
}

#[test]
fn a_faultless_history_holds_and_is_counted() {
    let mut ledger = acknowledged([1, 2, 5]);
    ledger.push(Entry::Sent(item(6)));
    let receipts = stepped(&[(1, 1), (2, 2), (5, 3), (6, 4)]);
    let verdict = judge(&ledger, &receipts, STRICT).expect("faultless");
    let counts = (
        verdict.sent,
        verdict.acknowledged,
        verdict.received,
        verdict.unacknowledged,
    );
    assert_eq!(counts, (4, 3, 4, 1));
    assert_eq!(verdict.steps["first"], 4);
}

#[test]
fn what_was_acknowledged_and_is_missing_is_named() {
    let verdict = judge(&acknowledged(1..=4), &received([1, 3]), STRICT);
    let missing = |seq| Violation::Missing(item(seq));
    finds(&verdict, &[missing(2), missing(4)]);
    assert!(
        verdict
            .to_string()
            .contains("anna to input1 number 2 was acknowledged and is missing"),
        "{verdict}"
    );
}

#[test]
fn what_had_no_answer_may_be_missing_or_there() {
    let ledger = [Entry::Sent(item(1)), Entry::Sent(item(2))];
    judge(&ledger, &received([2]), STRICT).expect("either is right");
}

#[test]
fn what_was_never_sent_is_found() {
    let verdict = judge(&acknowledged([1]), &received([1, 2]), STRICT);
    finds(&verdict, &[Violation::NeverSent(item(2))]);
    let stranger = Item::new("anna", "input2", 1);
    let receipts = [item(1).into(), stranger.clone().into()];
    let verdict = judge(&acknowledged([1]), &receipts, STRICT);
    finds(&verdict, &[Violation::NeverSent(stranger)]);
}

#[test]
fn what_was_refused_each_time_must_not_be_there() {
    let mut ledger = vec![Entry::Sent(item(1)), Entry::Refused(item(1))];
    let verdict = judge(&ledger, &received([1]), STRICT);
    finds(&verdict, &[Violation::RefusedYetTaken(item(1))]);
    ledger.push(Entry::Sent(item(1)));
    judge(&ledger, &received([1]), STRICT).expect("a later try may have been taken");
}

#[test]
fn order_is_kept_for_each_sender_and_queue_and_only_there() {
    let ledger = acknowledged(1..=3);
    let verdict = judge(&ledger, &received([1, 3, 2]), STRICT);
    finds(&verdict, &[Violation::OutOfOrder(item(2), 3)]);
    let any = Rules {
        order: Order::Any,
        ..STRICT
    };
    judge(&ledger, &received([3, 1, 2]), any).expect("no order asked for");

    let mut ledger = acknowledged(1..=2);
    let other = |seq| Item::new("bert", "input1", seq);
    for seq in 1..=2 {
        ledger.extend([Entry::Sent(other(seq)), Entry::Acknowledged(other(seq))]);
    }
    let receipts = [item(1), other(1), other(2), item(2)].map(Received::from);
    judge(&ledger, &receipts, STRICT).expect("senders have no order among each other");
}

#[test]
fn redelivery_may_go_back_where_only_first_copies_are_ordered() {
    let again = |order| Rules {
        repeats: Repeats::AtMost(2),
        order,
        ..STRICT
    };
    let (ledger, receipts) = (acknowledged(1..=4), received([1, 2, 3, 2, 3, 4]));
    let verdict = judge(&ledger, &receipts, again(Order::OfFirst)).expect("redelivered");
    assert_eq!(verdict.repeats, 2);
    let verdict = judge(&ledger, &receipts, again(Order::OfAll));
    finds(&verdict, &[Violation::OutOfOrder(item(2), 3)]);
}

#[test]
fn repeats_are_found_where_they_are_forbidden_and_bounded_elsewhere() {
    let twice = |allowed| Violation::Repeated {
        item: item(2),
        times: 2,
        allowed,
    };
    let with = |repeats| Rules { repeats, ..STRICT };
    let receipts = received([1, 2, 2]);
    finds(&judge(&acknowledged(1..=2), &receipts, STRICT), &[twice(1)]);
    // One try cannot make two copies; two can.
    let verdict = judge(&acknowledged(1..=2), &receipts, with(Repeats::AsSent));
    finds(&verdict, &[twice(1)]);
    let mut ledger = acknowledged(1..=1);
    ledger.push(Entry::Sent(item(2)));
    ledger.extend(acknowledged([2]));
    judge(&ledger, &receipts, with(Repeats::AsSent)).expect("two tries");
    finds(&judge(&ledger, &receipts, STRICT), &[twice(1)]);

    let ledger = acknowledged(1..=2);
    judge(&ledger, &receipts, with(Repeats::AtMost(1))).expect("one repeat");
    let verdict = judge(&ledger, &received([1, 1, 2, 2]), with(Repeats::AtMost(1)));
    finds(&verdict, &[Violation::TooManyRepeats(2)]);
}

#[test]
fn a_step_with_effect_twice_is_found() {
    let twice = |seq, step| Violation::StepTwice {
        item: item(seq),
        module: "first".to_owned(),
        step,
    };
    let ledger = acknowledged(1..=3);
    // A number given again: what the step before had stored was lost, what it had sent was not.
    let verdict = judge(&ledger, &stepped(&[(1, 1), (2, 2), (3, 2)]), STRICT);
    finds(&verdict, &[twice(3, 2)]);
    // The same outside: a step was seen, taken back, and done with another message.
    let stable = Rules {
        repeats: Repeats::AtMost(10),
        order: Order::OfFirst,
        steps: Steps::Stable,
    };
    let verdict = judge(&ledger, &stepped(&[(1, 1), (2, 2), (3, 2)]), stable);
    finds(&verdict, &[twice(3, 2)]);
    let again = stepped(&[(1, 1), (2, 2), (1, 1), (2, 2), (3, 3)]);
    judge(&ledger, &again, stable).expect("the same steps, delivered again");
}

#[test]
fn a_step_without_effect_is_found() {
    let verdict = judge(&acknowledged(1..=2), &stepped(&[(1, 1), (2, 4)]), STRICT);
    let lost = Violation::StepsLost {
        item: item(2),
        module: "first".to_owned(),
        first: 2,
        count: 2,
    };
    finds(&verdict, &[lost]);
}

#[test]
fn a_ledger_that_makes_no_sense_is_found() {
    let answered = [Entry::Acknowledged(item(1))];
    let backwards = [Entry::Sent(item(2)), Entry::Sent(item(1))];
    let sent_once = [
        Entry::Sent(item(1)),
        Entry::Refused(item(1)),
        Entry::Acknowledged(item(1)),
    ];
    for ledger in [&answered[..], &backwards, &sent_once] {
        let verdict = judge(ledger, &[], STRICT);
        assert!(
            matches!(verdict.violations[0], Violation::Ledger(..)),
            "{verdict}"
        );
    }
}

#[test]
fn all_violations_are_counted_and_the_first_are_shown() {
    let verdict = judge(&acknowledged(1..=1_000), &[], STRICT);
    assert_eq!((verdict.count, verdict.violations.len()), (1_000, 20));
    assert_eq!(verdict.violations[0], Violation::Missing(item(1)));
}

#[test]
fn a_ledger_is_read_as_it_was_written_up_to_an_unfinished_line() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("ledger");
    let ledger = Ledger::create(&path).unwrap();
    std::thread::scope(|scope| {
        for sender in ["anna", "bert", "cleo"] {
            let ledger = &ledger;
            scope.spawn(move || {
                for seq in 1..=50 {
                    let item = Item::new(sender, "input1", seq);
                    ledger.sent(&item).unwrap();
                    match seq % 10 {
                        0 => ledger.refused(&item).unwrap(),
                        _ => ledger.acknowledged(&item).unwrap(),
                    }
                }
            });
        }
    });
    assert!(Ledger::create(&path).is_err(), "none is overwritten");
    let entries = Ledger::read(&path).unwrap();
    assert_eq!(entries.len(), 300);
    let anna: Vec<_> = entries
        .iter()
        .filter(|entry| matches!(entry, Entry::Sent(item) if item.sender == "anna"))
        .collect();
    assert_eq!(anna.len(), 50);

    let mut text = std::fs::read(&path).unwrap();
    text.truncate(text.len() - 3);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(Ledger::read(&path).unwrap().len(), 299);
    std::fs::write(&path, "{\"sent\":1}\n").unwrap();
    let error = Ledger::read(&path).unwrap_err().to_string();
    assert!(error.contains("ledger:1: "), "{error}");

    let path = dir.path().join("receipts");
    let receipts = Receipts::create(&path).unwrap();
    let written = stepped(&[(3, 7)]);
    receipts.write_synced(&written[0]).unwrap();
    assert_eq!(Receipts::read(&path).unwrap(), written);
}
