//! Senders that never give up: each message is tried until it is acknowledged.
//!
//! ```text
//!   gate opened ──► each sender: ledger ─► send ─► acknowledged ─► next number
//!        ▲                                   └ no answer: waits until the gate is opened again
//!        └──────── by the test, when the daemon is ready
//! ```

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use edge_daemon::types::SendRequest;
use edge_daemon::{Client, ClientError};

use super::chance::Chance;
use crate::support::PATIENCE;
use crate::support::ledger::{Item, Ledger};

/// What the module is called that messages come from. There is none; only its name is used.
pub const SOURCE: &str = "source";
/// Outputs that are sent to; each is a queue of its own.
pub const OUTPUTS: [&str; 2] = ["a", "b"];
/// How soon a sender that was refused is let try again.
const RETRY: Duration = Duration::from_millis(100);
/// Most bytes of a body.
const BODY: u64 = 2_048;

/// Running senders.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    ledger: Ledger,
    client: Client,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    /// Counts how often the daemon became ready.
    opened: u64,
    acknowledged: u64,
    refused: u64,
    /// Tries that had no answer since it was opened.
    unanswered: u64,
    /// Senders that wait for it to be opened again.
    idle: usize,
    stop: bool,
    /// What no sender should have met.
    fault: Option<String>,
}

/// What senders do with a refusal because the store is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is none of what is expected.
    Fault,
    /// They wait until the gate is opened again.
    Wait,
}

impl Load {
    /// So many senders; they start when the gate is opened.
    pub fn start(
        senders: u64,
        ledger: &Path,
        socket: &Path,
        when_full: WhenFull,
        chance: &mut Chance,
    ) -> Self {
        let shared = Arc::new(Shared {
            ledger: Ledger::create(ledger).unwrap(),
            client: Client::new(socket),
            gate: Mutex::default(),
            changed: Condvar::new(),
        });
        let sender = |number| {
            let (shared, chance) = (shared.clone(), chance.child());
            std::thread::spawn(move || shared.run(&format!("s{number}"), when_full, chance))
        };
        let threads = (1..=senders).map(sender).collect();
        Self { shared, threads }
    }

    /// The daemon is ready: whoever had no answer tries again.
    pub fn open(&self) {
        self.shared.change(|gate| {
            gate.opened += 1;
            gate.idle = 0;
            gate.unanswered = 0;
        });
    }

    /// Waits until so many more messages are acknowledged.
    #[track_caller]
    pub fn more(&self, count: u64) {
        let before = self.shared.lock().acknowledged;
        self.wait(&format!("{count} more acknowledged"), |gate| {
            gate.acknowledged >= before + count
        });
    }

    /// Waits until every sender has had a refusal, or no answer, since the gate was opened.
    #[track_caller]
    pub fn all_wait(&self) {
        let senders = self.threads.len();
        self.wait("all senders wait", |gate| gate.idle == senders);
    }

    /// Whether a try since the gate was opened had no answer: the daemon is gone, or about to go.
    pub fn lost_the_daemon(&self) -> bool {
        self.shared.lock().unanswered > 0
    }

    /// Refusals because the store is full.
    pub fn refused(&self) -> u64 {
        self.shared.lock().refused
    }

    /// Opens the gate again and again until so many more are acknowledged: room comes when it comes.
    #[track_caller]
    pub fn again(&self, count: u64) {
        let (before, until) = (self.acknowledged(), Instant::now() + PATIENCE);
        while self.acknowledged() < before + count {
            assert!(Instant::now() < until, "no more are taken");
            self.open();
            let (gate, changed) = (self.shared.lock(), &self.shared.changed);
            let few = |gate: &mut Gate| gate.acknowledged < before + count;
            drop(changed.wait_timeout_while(gate, RETRY, few).unwrap());
        }
    }

    /// How many messages were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared.lock().acknowledged
    }

    /// Ends the senders when what they have under way is acknowledged; says how many messages were.
    #[track_caller]
    pub fn finish(mut self) -> u64 {
        self.end();
        let until = Instant::now() + PATIENCE;
        let threads = std::mem::take(&mut self.threads);
        while !threads.iter().all(JoinHandle::is_finished) {
            assert!(
                Instant::now() < until,
                "they do not end: {:?}",
                *self.shared.lock()
            );
            self.open();
            let gate = self.shared.lock();
            drop(self.shared.changed.wait_timeout(gate, RETRY).unwrap());
        }
        let gate = self.shared.lock();
        assert_eq!(gate.fault, None);
        gate.acknowledged
    }

    fn end(&self) {
        self.shared.change(|gate| gate.stop = true);
    }

    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&Gate) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut gate = self.shared.lock();
        loop {
            assert!(gate.fault.is_none(), "{}", gate.fault.as_deref().unwrap());
            if holds(&gate) {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in time: {what}: {:?}", *gate);
            gate = self.shared.changed.wait_timeout(gate, left).unwrap().0;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A failed test does not wait for them: they end with the process.
        self.end();
    }
}

/// How one try went.
enum Tried {
    Taken,
    NoAnswer,
    Full,
    Fault(String),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Gate)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until the gate was opened more often than this; says how often, `None` for the end.
    fn opened_after(&self, seen: u64, busy: bool) -> Option<u64> {
        let mut gate = self.lock();
        if gate.opened == seen {
            gate.idle += 1;
            self.changed.notify_all();
        }
        // Only who has nothing under way may end.
        while gate.opened == seen && (busy || !gate.stop) {
            gate = self.changed.wait(gate).unwrap();
        }
        (busy || !gate.stop).then_some(gate.opened)
    }

    fn run(&self, sender: &str, when_full: WhenFull, mut chance: Chance) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut numbers = [0; OUTPUTS.len()];
        let Some(mut opened) = self.opened_after(0, false) else {
            return;
        };
        loop {
            if self.lock().stop {
                return;
            }
            let output = usize::from(chance.below(2) == 1);
            numbers[output] += 1;
            let item = Item::new(sender, OUTPUTS[output], numbers[output]);
            let request = request(&item, &mut chance);
            loop {
                self.ledger.sent(&item).unwrap();
                let tried = match runtime.block_on(self.client.send(&request)) {
                    Ok(sent) if sent.queues == 1 => Tried::Taken,
                    Ok(sent) => Tried::Fault(format!("{item} went to {} queues", sent.queues)),
                    Err(ClientError::Refused(body)) if body.code == "full" => Tried::Full,
                    Err(ClientError::NotRunning { .. } | ClientError::Connection { .. }) => {
                        Tried::NoAnswer
                    }
                    // It may have been taken all the same.
                    Err(ClientError::Refused(body))
                        if body.code == "store-failed" && when_full == WhenFull::Wait =>
                    {
                        Tried::NoAnswer
                    }
                    Err(error) => Tried::Fault(format!("{item}: {error}")),
                };
                match tried {
                    Tried::Taken => {
                        self.ledger.acknowledged(&item).unwrap();
                        self.change(|gate| gate.acknowledged += 1);
                        break;
                    }
                    Tried::NoAnswer => self.change(|gate| gate.unanswered += 1),
                    Tried::Full if when_full == WhenFull::Wait => {
                        self.ledger.refused(&item).unwrap();
                        self.change(|gate| gate.refused += 1);
                    }
                    Tried::Full => {
                        return self.change(|gate| gate.fault = Some(format!("{item}: full")));
                    }
                    Tried::Fault(fault) => return self.change(|gate| gate.fault = Some(fault)),
                }
                opened = self.opened_after(opened, true).expect("busy ones go on");
            }
        }
    }
}

fn request(item: &Item, chance: &mut Chance) -> SendRequest {
    let size = usize::try_from(chance.below(BODY)).expect("small");
    let mut request = SendRequest::new(&vec![b'x'; size]);
    request.from = Some(format!("{SOURCE}/{}", item.queue));
    let properties = [
        ("sender", item.sender.clone()),
        ("queue", item.queue.clone()),
        ("seq", item.seq.to_string()),
    ];
    request.properties = properties.map(|(k, v)| (k.to_owned(), v)).into();
    request
}
