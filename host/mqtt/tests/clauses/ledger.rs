//! Every numbered statement of both specifications: tested here, tested elsewhere, or not, and why.
//!
//! What is not tested is of three kinds:
//!
//! - It binds clients. What the server does with a client that does not keep to it is tested where the
//!   specification says so; other cases have the clause in their names then.
//! - It is about something that this server does not have: QoS 2 to subscribers (granted is 1 at most), shared
//!   subscriptions (refused), enhanced authentication (refused), AUTH and topic aliases that it sends.
//! - It cannot be seen from outside, or is about transports, which `host/http` and `tests/sdk` have.
//!
//! A clause that is added to a case must leave the list below, and a case that is taken away must leave its
//! clause there: a test says so.

use std::collections::BTreeSet;

use crate::script::Case;

/// Numbers as `section: how many`, and single numbers to leave out of them.
struct Numbers {
    spans: &'static [(&'static str, u8)],
    without: &'static [&'static str],
}

impl Numbers {
    fn all(&self) -> BTreeSet<String> {
        let spans = self.spans.iter();
        let all =
            spans.flat_map(|(section, last)| (1..=*last).map(move |n| format!("{section}-{n}")));
        all.filter(|id| !self.without.contains(&id.as_str()))
            .collect()
    }
}

/// Appendix B of 3.1.1.
const THREE: Numbers = Numbers {
    spans: &[
        ("1.5.3", 3),
        ("2.2.2", 2),
        ("2.3.1", 7),
        ("3.1.0", 2),
        ("3.1.2", 24),
        ("3.1.3", 11),
        ("3.1.4", 5),
        ("3.2.0", 1),
        ("3.2.2", 6),
        ("3.3.1", 12),
        ("3.3.2", 3),
        ("3.3.4", 1),
        ("3.3.5", 2),
        ("3.6.1", 1),
        ("3.8.1", 1),
        ("3.8.3", 4),
        ("3.8.4", 6),
        ("3.9.3", 2),
        ("3.10.1", 1),
        ("3.10.3", 2),
        ("3.10.4", 6),
        ("3.12.4", 1),
        ("3.14.1", 1),
        ("3.14.4", 3),
        ("4.1.0", 2),
        ("4.3.1", 1),
        ("4.3.2", 2),
        ("4.3.3", 2),
        ("4.4.0", 1),
        ("4.5.0", 2),
        ("4.6.0", 6),
        ("4.7.1", 3),
        ("4.7.2", 1),
        ("4.7.3", 4),
        ("4.8.0", 2),
        ("6.0.0", 4),
        ("7.0.0", 2),
        ("7.1.1", 1),
        ("7.1.2", 1),
    ],
    without: &[],
};

/// Appendix B of 5.
const FIVE: Numbers = Numbers {
    spans: &[
        ("1.5.4", 3),
        ("1.5.5", 1),
        ("1.5.7", 1),
        ("2.1.3", 1),
        ("2.2.1", 6),
        ("2.2.2", 1),
        ("3.1.0", 2),
        ("3.1.2", 30),
        ("3.1.3", 12),
        ("3.1.4", 6),
        ("3.2.0", 2),
        ("3.2.2", 22),
        ("3.3.1", 13),
        ("3.3.2", 20),
        ("3.3.4", 10),
        ("3.4.2", 3),
        ("3.5.2", 3),
        ("3.6.1", 1),
        ("3.6.2", 3),
        ("3.7.2", 3),
        ("3.8.1", 1),
        ("3.8.3", 5),
        ("3.8.4", 8),
        ("3.9.2", 2),
        ("3.9.3", 2),
        ("3.10.1", 1),
        ("3.10.3", 2),
        ("3.10.4", 6),
        ("3.11.2", 2),
        ("3.11.3", 2),
        ("3.12.4", 1),
        ("3.14.0", 1),
        ("3.14.1", 1),
        ("3.14.2", 4),
        ("3.14.4", 3),
        ("3.15.1", 1),
        ("3.15.2", 3),
        ("4.1.0", 2),
        ("4.2.0", 1),
        ("4.3.1", 1),
        ("4.3.2", 5),
        ("4.3.3", 13),
        ("4.4.0", 2),
        ("4.5.0", 2),
        ("4.6.0", 6),
        ("4.7.0", 1),
        ("4.7.1", 2),
        ("4.7.2", 1),
        ("4.7.3", 4),
        ("4.8.2", 6),
        ("4.9.0", 3),
        ("4.12.0", 7),
        ("4.12.1", 2),
        ("4.13.1", 1),
        ("4.13.2", 1),
        ("6.0.0", 4),
    ],
    // There is no such number.
    without: &["2.2.1-1"],
};

/// Clauses that no case here is about: of 3.1.1, of 5, and why.
const NOT_HERE: &[(&str, &str, &str)] = &[
    (
        "2.3.1-3 4.5.0-2",
        "4.5.0-2",
        "binds clients: ids of repeats, acknowledgements of what they did not ask for",
    ),
    (
        "3.1.2-23",
        "3.1.2-20 3.1.2-21 3.2.2-21",
        "binds clients: they send PINGREQ in time",
    ),
    (
        "",
        "3.1.2-30",
        "binds clients: nothing but AUTH before CONNACK; no method is accepted here",
    ),
    (
        "",
        "3.2.2-4 3.2.2-5",
        "binds clients: what they do about session present",
    ),
    (
        "",
        "3.2.2-18",
        "binds clients: no alias where the server takes none; this one takes 64",
    ),
    (
        "",
        "3.3.2-10",
        "binds clients: they take all aliases that they say; none is sent here",
    ),
    (
        "",
        "3.3.4-8",
        "binds clients: they send other packets while their quota is used up",
    ),
    (
        "4.6.0-3 4.6.0-4",
        "4.6.0-3 4.6.0-4",
        "order of QoS 2: as PUBACK, from the same list of answers; no PUBREL is sent",
    ),
    (
        "4.3.3-1",
        "4.3.3-1 4.3.3-2 4.3.3-3 4.3.3-4 4.3.3-5 4.3.3-6 4.3.3-7 3.6.2-2 3.6.2-3",
        "not served: QoS 2 to subscribers, who are granted 1 [3.8.4-7 in 5, 3.8.4-6 in 3.1.1]",
    ),
    (
        "",
        "4.3.3-9",
        "no PUBREC with an error is sent: such a message ends the connection",
    ),
    (
        "",
        "4.3.3-13",
        "expiry applies to subscribers' copies, not to the publisher's exchange: no state",
    ),
    (
        "",
        "4.8.2-3 4.8.2-4 4.8.2-5 4.8.2-6",
        "not served: shared subscriptions, which is said in CONNACK and SUBACK",
    ),
    (
        "",
        "4.12.0-2 4.12.0-3 4.12.0-5 4.12.1-1 4.12.1-2 3.15.2-1 3.15.2-2 3.15.2-3",
        "not served: enhanced authentication; no AUTH is ever sent",
    ),
    (
        "3.8.3-2",
        "",
        "about servers without wildcards; the head of Azure's SDKs refuses filters that are not theirs",
    ),
    (
        "3.2.2-6",
        "",
        "no words for it in CONNACK: as all cases that are `rejected .. -`",
    ),
    (
        "4.8.0-2",
        "",
        "a store that is full holds publishers back; one that fails ends the process: tests/durability",
    ),
    (
        "6.0.0-1 6.0.0-2 6.0.0-3 6.0.0-4",
        "6.0.0-1 6.0.0-2 6.0.0-3 6.0.0-4",
        "about WebSocket: host/http and tests/sdk",
    ),
    (
        "7.0.0-1 7.1.2-1",
        "",
        "about clients and bridges: the device is none",
    ),
    (
        "7.0.0-2",
        "",
        "no extensions are required: tests/sdk with mosquitto and paho",
    ),
];

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

/// What is wrong with the list above, given the cases and the other clauses that are tested.
pub fn audit(cases: &[&[Case]], others: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let pick = |pair: (&'static str, &'static str), five: bool| if five { pair.1 } else { pair.0 };
    for (name, numbers, five) in [("3.1.1", THREE, false), ("5", FIVE, true)] {
        let all = numbers.all();
        let mut tested = BTreeSet::new();
        for case in cases.iter().copied().flatten() {
            tested.extend(words(pick((case.v3, case.v5), five)));
        }
        for (three, of_five) in others {
            tested.extend(words(if five { of_five } else { three }));
        }
        // Sections without a number are named for people.
        tested.retain(|id| id.contains('-'));
        let mut excused = BTreeSet::new();
        for (three, of_five, _) in NOT_HERE {
            for id in words(pick((three, of_five), five)) {
                if !excused.insert(id.clone()) {
                    faults.push(format!("{name}: [{id}] is excused twice"));
                }
            }
        }
        for id in tested.union(&excused) {
            if !all.contains(id) {
                faults.push(format!("{name}: there is no [{id}]"));
            }
        }
        for id in tested.intersection(&excused) {
            faults.push(format!("{name}: [{id}] is tested, and excused"));
        }
        for id in &all {
            if !tested.contains(id) && !excused.contains(id) {
                faults.push(format!("{name}: nothing is said of [{id}]"));
            }
        }
    }
    faults
}

/// How many clauses there are, in 3.1.1 and in 5.
pub fn count() -> (usize, usize) {
    (THREE.all().len(), FIVE.all().len())
}
