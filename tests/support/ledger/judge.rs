//! What must hold between what was sent and what was received.
//!
//! Always: nothing acknowledged is missing, and nothing is received that was never sent or that was
//! refused each time. [`Rules`] say the rest.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::{Entry, Item, Received};

/// Violations that a verdict shows; it counts all.
const SHOWN: usize = 20;

/// How often a message may be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Once.
    Forbidden,
    /// As often as it was sent and not refused: each try that had no answer may have been taken.
    AsSent,
    /// Delivery repeats: any message, but no more than so many repeats in all.
    AtMost(u64),
}

/// What order must hold for one sender and queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// None.
    Any,
    /// Of the first copies of each, as MQTT and AMQP promise.
    OfFirst,
    /// Of every copy: the numbers never go down.
    OfAll,
}

/// What must hold of the numbers that modules give to their steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// They count from 1 upwards in the order received: each step had its effect, once.
    Once,
    /// A number may be received again, after whatever is delivered once more, but is always the same
    /// message; new ones count upwards without gaps.
    Stable,
}

/// What one receiver may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Repeats.
    pub repeats: Repeats,
    /// Order.
    pub order: Order,
    /// Steps of modules on the way.
    pub steps: Steps,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The ledger itself makes no sense: the test is wrong.
    Ledger(Item, &'static str),
    /// It was acknowledged, and is not there.
    Missing(Item),
    /// It was never sent.
    NeverSent(Item),
    /// It was refused as often as it was sent, and is there.
    RefusedYetTaken(Item),
    /// It came after one with this number.
    OutOfOrder(Item, u64),
    /// It is there more often than it may be.
    Repeated {
        /// The message.
        item: Item,
        /// How often it is there.
        times: u64,
        /// How often it may be.
        allowed: u64,
    },
    /// There are more repeats in all than may be.
    TooManyRepeats(u64),
    /// A module's step had its effect twice, or took back and did again what had been seen.
    StepTwice {
        /// The message with the later effect.
        item: Item,
        /// The module.
        module: String,
        /// The step.
        step: u64,
    },
    /// Effects of a module's steps are not there.
    StepsLost {
        /// The message with the next effect.
        item: Item,
        /// The module.
        module: String,
        /// The first step that is missing.
        first: u64,
        /// How many are.
        count: u64,
    },
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} number {}", self.sender, self.queue, self.seq)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(item, what) => write!(f, "the ledger is wrong: {item} {what}"),
            Self::Missing(item) => write!(f, "{item} was acknowledged and is missing"),
            Self::NeverSent(item) => write!(f, "{item} was never sent"),
            Self::RefusedYetTaken(item) => write!(f, "{item} was refused and yet taken"),
            Self::OutOfOrder(item, after) => write!(f, "{item} came after number {after}"),
            Self::Repeated {
                item,
                times,
                allowed,
            } => write!(f, "{item} is there {times} times, {allowed} allowed"),
            Self::TooManyRepeats(count) => write!(f, "{count} repeats in all are too many"),
            Self::StepTwice { item, module, step } => {
                write!(f, "step {step} of {module} had effect again, with {item}")
            }
            Self::StepsLost {
                item,
                module,
                first,
                count,
            } => write!(
                f,
                "{count} steps of {module} from {first} on had no effect, before {item}"
            ),
        }
    }
}

/// What the judge found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Messages that were sent.
    pub sent: u64,
    /// Tries at sending them.
    pub tries: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Tries that were refused.
    pub refused: u64,
    /// Receipts.
    pub received: u64,
    /// Receipts of what had been received before.
    pub repeats: u64,
    /// Messages that were received without ever having been acknowledged.
    pub unacknowledged: u64,
    /// Steps of each module.
    pub steps: BTreeMap<String, u64>,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// All violations.
    pub count: u64,
}

impl Verdict {
    /// Whether all is as it must be.
    pub fn holds(&self) -> bool {
        self.count == 0
    }

    /// Expects that all is as it must be.
    #[track_caller]
    pub fn expect(self, what: &str) -> Self {
        assert!(self.holds(), "{what}: {self}");
        self
    }

    fn violated(&mut self, violation: Violation) {
        self.count += 1;
        if self.violations.len() < SHOWN {
            self.violations.push(violation);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages sent in {} tries, {} acknowledged, {} tries refused; {} received, {} of them \
             repeats, {} never acknowledged; {} violations",
            self.sent,
            self.tries,
            self.acknowledged,
            self.refused,
            self.received,
            self.repeats,
            self.unacknowledged,
            self.count
        )?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// What is known of one message.
#[derive(Default)]
struct Known {
    sent: u64,
    refused: u64,
    acknowledged: bool,
    received: u64,
}

/// What is known of one sender and queue.
#[derive(Default)]
struct Lane {
    messages: BTreeMap<u64, Known>,
    /// The number received last, and the highest.
    last: u64,
    highest: u64,
}

type Lanes<'a> = BTreeMap<(&'a str, &'a str), Lane>;

/// Judges what one receiver got of all that is in the ledger.
pub fn judge(ledger: &[Entry], received: &[Received], rules: Rules) -> Verdict {
    let mut verdict = Verdict::default();
    let mut lanes = Lanes::new();
    for entry in ledger {
        enter(&mut lanes, entry, &mut verdict);
    }
    for receipt in received {
        verdict.received += 1;
        receive(&mut lanes, &receipt.item, rules.order, &mut verdict);
    }
    for ((sender, queue), lane) in &lanes {
        for (seq, known) in &lane.messages {
            let item = Item::new(sender, queue, *seq);
            weigh(item, known, rules.repeats, &mut verdict);
        }
    }
    if let Repeats::AtMost(most) = rules.repeats
        && verdict.repeats > most
    {
        verdict.violated(Violation::TooManyRepeats(verdict.repeats));
    }
    follow_steps(received, rules.steps, &mut verdict);
    verdict
}

fn lane<'l, 'a>(lanes: &'l mut Lanes<'a>, item: &'a Item) -> &'l mut Lane {
    lanes.entry((&item.sender, &item.queue)).or_default()
}

/// Takes in an entry of the ledger.
fn enter<'a>(lanes: &mut Lanes<'a>, entry: &'a Entry, verdict: &mut Verdict) {
    let (Entry::Sent(item) | Entry::Acknowledged(item) | Entry::Refused(item)) = entry;
    let lane = lane(lanes, item);
    let newest = lane.messages.last_key_value().map_or(0, |(seq, _)| *seq);
    if let Entry::Sent(_) = entry {
        if item.seq <= newest && !lane.messages.contains_key(&item.seq) {
            verdict.violated(Violation::Ledger(item.clone(), "is sent after a later one"));
        }
        lane.messages.entry(item.seq).or_default().sent += 1;
        return;
    }
    let Some(known) = lane.messages.get_mut(&item.seq) else {
        verdict.violated(Violation::Ledger(
            item.clone(),
            "is answered before it is sent",
        ));
        return;
    };
    match entry {
        Entry::Acknowledged(_) => known.acknowledged = true,
        _ => known.refused += 1,
    }
    if known.refused + u64::from(known.acknowledged) > known.sent {
        let what = "has more answers than tries";
        verdict.violated(Violation::Ledger(item.clone(), what));
    }
}

/// Takes in a receipt.
fn receive<'a>(lanes: &mut Lanes<'a>, item: &'a Item, order: Order, verdict: &mut Verdict) {
    let lane = lane(lanes, item);
    let Some(known) = lane.messages.get_mut(&item.seq) else {
        verdict.violated(Violation::NeverSent(item.clone()));
        return;
    };
    known.received += 1;
    verdict.repeats += u64::from(known.received > 1);
    let after = match order {
        Order::Any => None,
        Order::OfFirst => (known.received == 1).then_some(lane.highest),
        Order::OfAll => Some(lane.last),
    };
    if let Some(after) = after.filter(|after| *after > item.seq) {
        verdict.violated(Violation::OutOfOrder(item.clone(), after));
    }
    lane.last = item.seq;
    lane.highest = lane.highest.max(item.seq);
}

/// Weighs how often a message was received against how often it was sent.
fn weigh(item: Item, known: &Known, repeats: Repeats, verdict: &mut Verdict) {
    verdict.sent += 1;
    verdict.tries += known.sent;
    verdict.refused += known.refused;
    verdict.acknowledged += u64::from(known.acknowledged);
    verdict.unacknowledged += u64::from(!known.acknowledged && known.received > 0);
    let taken = known.sent.saturating_sub(known.refused);
    let times = known.received;
    let allowed = match repeats {
        Repeats::Forbidden => 1,
        Repeats::AsSent => taken,
        Repeats::AtMost(_) => u64::MAX,
    };
    if known.acknowledged && times == 0 {
        verdict.violated(Violation::Missing(item));
    } else if taken == 0 && times > 0 {
        verdict.violated(Violation::RefusedYetTaken(item));
    } else if times > allowed {
        verdict.violated(Violation::Repeated {
            item,
            times,
            allowed,
        });
    }
}

/// Follows the numbers of the modules' steps.
fn follow_steps(received: &[Received], rule: Steps, verdict: &mut Verdict) {
    let mut effects: HashMap<&str, BTreeMap<u64, &Item>> = HashMap::new();
    for receipt in received {
        let item = &receipt.item;
        for (module, step) in &receipt.steps {
            let seen = effects.entry(module).or_default();
            let last = seen.last_key_value().map_or(0, |(step, _)| *step);
            if *step <= last {
                if rule == Steps::Once || seen.get(step) != Some(&item) {
                    verdict.violated(Violation::StepTwice {
                        item: item.clone(),
                        module: module.clone(),
                        step: *step,
                    });
                }
                continue;
            }
            if *step > last + 1 {
                verdict.violated(Violation::StepsLost {
                    item: item.clone(),
                    module: module.clone(),
                    first: last + 1,
                    count: step - last - 1,
                });
            }
            seen.insert(*step, item);
        }
    }
    verdict.steps = effects
        .into_iter()
        .map(|(module, seen)| (module.to_owned(), seen.len() as u64))
        .collect();
}
