//! Random operations, power cuts and failures, against a log that is a list.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::disk::Failure;
use super::*;

/// What a log is to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    queues: [BTreeMap<u64, String>; QUEUES],
    next: [u64; QUEUES],
    attempts: BTreeMap<(usize, u64), (u32, u32)>,
    keys: BTreeMap<u8, u8>,
    letters: BTreeSet<u64>,
    next_letter: u64,
}

const QUEUES: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// Messages into the queues of a mask, settling the nth that waits, setting a key: one step.
    Step {
        mask: u8,
        bodies: Vec<u16>,
        settle: Vec<(usize, usize)>,
        key: Option<(u8, u8)>,
    },
    Attempt(usize, usize, u32),
    Letter(u8),
    Forget(usize),
    /// Many messages at once, to fill segments.
    Fill(usize, u16),
    /// Settles everything of a queue.
    Drain(usize),
    Durable,
    Read(usize, usize),
    Close,
    /// The power fails; the number says what of the unsynced is kept.
    Cut(u64),
    /// An operation of the disk fails, so many from now.
    Fail(u8, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..QUEUES;
    prop_oneof![
        8 => (
            1u8..8,
            prop::collection::vec(0u16..900, 0..4),
            prop::collection::vec((queue.clone(), 0usize..9), 0..4),
            prop::option::of((0u8..6, any::<u8>())),
        )
            .prop_map(|(mask, bodies, settle, key)| Op::Step { mask, bodies, settle, key }),
        1 => (queue.clone(), 0usize..9, 1u32..9).prop_map(|(q, n, a)| Op::Attempt(q, n, a)),
        1 => any::<u8>().prop_map(Op::Letter),
        1 => (0usize..4).prop_map(Op::Forget),
        3 => (queue.clone(), 50u16..400).prop_map(|(q, n)| Op::Fill(q, n)),
        2 => queue.clone().prop_map(Op::Drain),
        2 => Just(Op::Durable),
        3 => (queue, 0usize..200).prop_map(|(q, n)| Op::Read(q, n)),
        1 => Just(Op::Close),
        2 => any::<u64>().prop_map(Op::Cut),
        1 => (0u8..12, any::<bool>()).prop_map(|(n, full)| Op::Fail(n, full)),
    ]
}

struct World {
    disk: TestDisk,
    tables: Arc<MemoryTables>,
    log: Option<FileLog>,
    ids: Vec<QueueId>,
    model: Model,
    /// The model after each commit since the last opening.
    history: BTreeMap<u64, Model>,
    durable: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            disk: TestDisk::default(),
            tables: Arc::default(),
            log: None,
            ids: Vec::new(),
            model: Model {
                next: [1; QUEUES],
                next_letter: 1,
                ..Model::default()
            },
            history: BTreeMap::new(),
            durable: 0,
        };
        world.history.insert(0, world.model.clone());
        world.open();
        world
    }

    /// Opens the log, and finds in it one of the states since what was durable.
    fn open(&mut self) {
        // An opening that fails changes nothing that the next one would miss.
        let tables: Arc<dyn StateTables> = self.tables.clone();
        let try_open = || FileLog::open(Arc::new(self.disk.clone()), tables.clone(), config());
        let (log, opening) = try_open().or_else(|_| try_open()).unwrap();
        assert!(opening.damage.is_empty(), "{opening:?}");
        let lsn = opening.lsn.0;
        assert!(lsn >= self.durable, "{lsn} < {}: {opening:?}", self.durable);
        let (_, model) = self.history.range(..=lsn).next_back().unwrap();
        self.model = model.clone();
        self.durable = lsn;
        self.history = BTreeMap::from([(lsn, self.model.clone())]);
        let name = |n: usize| input(&format!("q{n}"));
        self.ids = (0..QUEUES)
            .map(|n| log.queue(&name(n), Priority(u32::try_from(n).unwrap())))
            .collect();
        self.log = Some(log);
        self.check();
    }

    fn check(&self) {
        let log = self.log.as_ref().unwrap();
        for (n, id) in self.ids.iter().enumerate() {
            let left = waiting(log, *id);
            let expected: Vec<_> = self.model.queues[n]
                .iter()
                .map(|(seq, body)| (*seq, body.clone()))
                .collect();
            assert_eq!(left, expected, "queue {n}");
            for delivery in read(log, *id, 0, 20) {
                let attempts = self.model.attempts.get(&(n, delivery.seq.0));
                let expected = attempts.copied().unwrap_or_default();
                assert_eq!((delivery.attempts, delivery.failures), expected);
            }
        }
        for key in 0..6u8 {
            let expected = self
                .model
                .keys
                .get(&key)
                .map(|v| Bytes::copy_from_slice(&[*v]));
            assert_eq!(log.get(Table::ModuleState, &[key]), expected, "key {key}");
        }
        let letters: BTreeSet<u64> = log
            .dead_letters(Seq(0), usize::MAX)
            .iter()
            .map(|(seq, _)| seq.0)
            .collect();
        assert_eq!(letters, self.model.letters);
        let waits: usize = self.model.queues.iter().map(BTreeMap::len).sum();
        assert_eq!(log.pressure().waiting, waits as u64);
        assert_eq!(log.metrics().damaged, 0);
    }

    /// Commits; the model follows if the log took it.
    fn commit(&mut self, mut commit: Commit, change: impl FnOnce(&mut Model)) {
        let log = self.log.as_ref().unwrap();
        match log.commit(&mut commit) {
            Ok(lsn) => {
                change(&mut self.model);
                self.history.insert(lsn.0, self.model.clone());
            }
            Err(error) if error.is_transient() => {}
            Err(_) => self.cut(7),
        }
    }

    fn nth(&self, queue: usize, n: usize) -> Option<u64> {
        self.model.queues[queue].keys().nth(n).copied()
    }

    fn cut(&mut self, mut seed: u64) {
        let mut choose = |choices: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            usize::try_from((seed >> 33) % choices as u64).unwrap()
        };
        if let Some(log) = &self.log {
            self.durable = self.durable.max(log.durable_lsn().0);
        }
        // The old log goes on for a moment, on files and tables that nobody will see.
        let tables = || Arc::new(self.tables.copy());
        let (after, tables) = self.disk.cut_power_with(&mut choose, tables);
        self.log = None;
        self.tables = tables;
        self.disk = after;
        self.open();
    }

    fn messages(
        &mut self,
        mask: u8,
        bodies: &[String],
        mut commit: Commit,
        more: impl FnOnce(&mut Model),
    ) {
        let into: Vec<usize> = (0..QUEUES).filter(|n| mask & (1 << n) != 0).collect();
        for body in bodies {
            let index = commit.message(message(body));
            for queue in &into {
                commit.target(index, self.ids[*queue], None);
            }
        }
        self.commit(commit, |model| {
            for body in bodies {
                for queue in &into {
                    model.queues[*queue].insert(model.next[*queue], body.clone());
                    model.next[*queue] += 1;
                }
            }
            more(model);
        });
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Step {
                mask,
                bodies,
                settle,
                key,
            } => {
                let mut commit = Commit::new();
                let bodies: Vec<String> = bodies.iter().map(|n| body(*n)).collect();
                let done: Vec<(usize, u64)> = settle
                    .iter()
                    .filter_map(|(queue, n)| Some((*queue, self.nth(*queue, *n)?)))
                    .collect();
                for (queue, seq) in &done {
                    commit.progress(Progress::Settled {
                        queue: self.ids[*queue],
                        seq: Seq(*seq),
                    });
                }
                if let Some((key, value)) = key {
                    commit.put(Put {
                        table: Table::ModuleState,
                        key: Bytes::copy_from_slice(&[*key]),
                        value: (*value > 50).then(|| Bytes::copy_from_slice(&[*value])),
                    });
                }
                if commit.is_empty() && bodies.is_empty() {
                    return;
                }
                let key = *key;
                self.messages(*mask, &bodies, commit, |model| {
                    for (queue, seq) in done {
                        model.queues[queue].remove(&seq);
                        model.attempts.remove(&(queue, seq));
                    }
                    match key {
                        Some((key, value)) if value > 50 => {
                            model.keys.insert(key, value);
                        }
                        Some((key, _)) => {
                            model.keys.remove(&key);
                        }
                        None => {}
                    }
                });
            }
            Op::Attempt(queue, n, attempts) => {
                let Some(seq) = self.nth(*queue, *n) else {
                    return;
                };
                let mut commit = Commit::new();
                commit.progress(Progress::Attempted {
                    queue: self.ids[*queue],
                    seq: Seq(seq),
                    attempts: *attempts,
                    failures: 1,
                });
                self.commit(commit, |model| {
                    model.attempts.insert((*queue, seq), (*attempts, 1));
                });
            }
            Op::Letter(n) => {
                let mut commit = Commit::new();
                commit.dead_letter(crate::DeadLetter {
                    message: message(&body((*n).into())),
                    endpoint: input("q0"),
                    priority: Priority(0),
                    attempts: 1,
                    reason: crate::DeadReason::Loop,
                    at: Timestamp(3),
                });
                self.commit(commit, |model| {
                    model.letters.insert(model.next_letter);
                    model.next_letter += 1;
                });
            }
            Op::Forget(n) => {
                let Some(seq) = self.model.letters.iter().nth(*n).copied() else {
                    return;
                };
                let mut commit = Commit::new();
                commit.forget_dead_letter(Seq(seq));
                self.commit(commit, |model| {
                    model.letters.remove(&seq);
                });
            }
            Op::Fill(queue, n) => {
                for start in (0..*n).step_by(40) {
                    let bodies: Vec<String> = (start..(start + 40).min(*n)).map(body).collect();
                    self.messages(1 << queue, &bodies, Commit::new(), |_| {});
                }
            }
            Op::Drain(queue) => {
                let mut commit = Commit::new();
                let all: Vec<u64> = self.model.queues[*queue].keys().copied().collect();
                for seq in &all {
                    commit.progress(Progress::Settled {
                        queue: self.ids[*queue],
                        seq: Seq(*seq),
                    });
                }
                if all.is_empty() {
                    return;
                }
                let queue = *queue;
                self.commit(commit, |model| {
                    model.queues[queue].clear();
                    model.attempts.retain(|(of, _), _| *of != queue);
                });
            }
            Op::Durable => {
                let log = self.log.as_ref().unwrap();
                let newest = *self.history.keys().next_back().unwrap();
                match block_on(log.durable(Lsn(newest))) {
                    Ok(()) => self.durable = newest,
                    Err(_) => self.cut(3),
                }
            }
            Op::Read(queue, from) => {
                let log = self.log.as_ref().unwrap();
                let from = *from as u64;
                let read: Vec<u64> = read(log, self.ids[*queue], from, 10)
                    .iter()
                    .map(|d| d.seq.0)
                    .collect();
                let expected: Vec<u64> = self.model.queues[*queue]
                    .range(from..)
                    .map(|(seq, _)| *seq)
                    .take(10)
                    .collect();
                assert_eq!(read, expected);
            }
            Op::Close => {
                let log = self.log.take().unwrap();
                let closed = log.close();
                drop(log);
                match closed {
                    Ok(()) => {
                        let newest = *self.history.keys().next_back().unwrap();
                        self.durable = newest;
                        self.open();
                    }
                    Err(_) => self.cut(1),
                }
            }
            Op::Cut(seed) => self.cut(*seed),
            Op::Fail(n, full) => {
                let failure = if *full {
                    Failure::Full
                } else {
                    Failure::Broken
                };
                self.disk.fail_at((*n).into(), failure);
            }
        }
    }
}

fn body(n: u16) -> String {
    format!("{n:0>width$}", width = usize::from(n % 300) + 10)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("EDGE_LONG_TESTS").map_or(60, |_| 3_000),
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]
    #[test]
    fn a_log_is_a_list_whatever_happens_to_the_device(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        world.check();
        world.cut(5);
    }
}
