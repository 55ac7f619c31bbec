//! What every log promises, as checks that each implementation runs in its own tests.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use bytes::Bytes;
use edge_core::{
    DeviceId, EndpointId, Message, MessageBuilder, MessageId, ModuleId, Origin, Priority, Source,
    Timestamp,
};

use crate::{
    Commit, CommitError, DeadLetter, DeadReason, Delivery, MessageLog, Progress, Put, QueueId, Seq,
    Table, Visible,
};

/// Runs every check, each on a fresh log.
///
/// # Panics
/// Where a promise is broken.
pub fn run<L: MessageLog>(open: impl Fn() -> L) {
    entries_come_in_order(&open());
    progress_settles_out_of_order(&open());
    a_commit_is_all_or_nothing_to_readers(&open());
    attempts_are_kept(&open());
    one_message_in_many_queues_is_settled_in_each(&open());
    keys_are_read_back_and_listed_in_order(&open());
    dead_letters_are_kept_until_they_are_forgotten(&open());
    what_is_durable_may_be_seen_outside(&open());
}

fn message(body: &str) -> Message {
    Message {
        content: MessageBuilder::new(body.to_owned()).build(),
        origin: Origin::new(Source::Device(DeviceId::new("d").expect("valid"))),
        id: MessageId::default(),
        enqueued: Timestamp(1),
        hops: 0,
    }
}

fn input(name: &str) -> EndpointId {
    EndpointId::module_input(ModuleId::new("m").expect("valid"), name)
}

fn append(log: &impl MessageLog, queues: &[QueueId], bodies: &[&str]) {
    let mut commit = Commit::new();
    for body in bodies {
        let index = commit.message(message(body));
        for queue in queues {
            commit.target(index, *queue, None);
        }
    }
    log.commit(&mut commit).expect("commits");
    assert!(commit.is_empty(), "a commit that happened is empty");
}

fn settle(log: &impl MessageLog, queue: QueueId, seqs: &[u64]) {
    let mut commit = Commit::new();
    for seq in seqs {
        commit.progress(Progress::Settled {
            queue,
            seq: Seq(*seq),
        });
    }
    log.commit(&mut commit).expect("commits");
}

fn read(log: &impl MessageLog, queue: QueueId, from: Seq, max: usize) -> Vec<Delivery> {
    let mut out = Vec::new();
    log.read(queue, from, max, Visible::Committed, &mut out);
    out
}

fn seqs(log: &impl MessageLog, queue: QueueId) -> Vec<u64> {
    read(log, queue, Seq::ZERO, usize::MAX)
        .iter()
        .map(|d| d.seq.0)
        .collect()
}

fn entries_come_in_order(log: &impl MessageLog) {
    let queue = log.queue(&input("a"), Priority(3));
    assert_eq!(queue, log.queue(&input("a"), Priority(3)));
    assert_ne!(queue, log.queue(&input("a"), Priority(4)));
    append(log, &[queue], &["1", "2"]);
    append(log, &[queue], &["3"]);
    let all = read(log, queue, Seq::ZERO, 10);
    let bodies: Vec<_> = all
        .iter()
        .map(|d| (d.seq.0, d.message.content.body.clone()))
        .collect();
    assert_eq!(bodies, [(1, "1".into()), (2, "2".into()), (3, "3".into())]);
    assert_eq!(
        read(log, queue, Seq(2), 1)[0].seq,
        Seq(2),
        "a reader goes on where it was"
    );
    assert!(read(log, queue, Seq(4), 10).is_empty());
}

fn progress_settles_out_of_order(log: &impl MessageLog) {
    let queue = log.queue(&input("a"), Priority::DEFAULT);
    append(log, &[queue], &["1", "2", "3", "4"]);
    settle(log, queue, &[2, 4]);
    assert_eq!(seqs(log, queue), [1, 3]);
    settle(log, queue, &[1, 1, 99]);
    assert_eq!(
        seqs(log, queue),
        [3],
        "settling twice, or what is not there, does nothing"
    );
    settle(log, queue, &[3]);
    assert_eq!(log.queues()[queue.index()].depth, 0);
    append(log, &[queue], &["5"]);
    assert_eq!(seqs(log, queue), [5], "sequence numbers go on");
    settle(log, queue, &[5]);
    assert_eq!(log.pressure().used, 0);
}

fn a_commit_is_all_or_nothing_to_readers(log: &impl MessageLog) {
    let (a, b) = (
        log.queue(&input("a"), Priority(0)),
        log.queue(&input("b"), Priority(0)),
    );
    append(log, &[a], &["in"]);
    let before = log.durable_lsn();
    let mut step = Commit::new();
    let out = step.message(message("out"));
    step.target(out, b, Some(Timestamp(7)));
    step.progress(Progress::Settled {
        queue: a,
        seq: Seq(1),
    });
    step.put(Put {
        table: Table::ModuleState,
        key: Bytes::from_static(b"k"),
        value: Some(Bytes::from_static(b"v")),
    });
    assert_eq!((seqs(log, b).len(), seqs(log, a).len()), (0, 1));
    let lsn = log.commit(&mut step).expect("commits");
    assert!(lsn > before);
    assert_eq!((seqs(log, b).len(), seqs(log, a).len()), (1, 0));
    assert_eq!(read(log, b, Seq::ZERO, 1)[0].expiry, Some(Timestamp(7)));
    assert_eq!(
        log.get(Table::ModuleState, b"k"),
        Some(Bytes::from_static(b"v"))
    );
}

fn attempts_are_kept(log: &impl MessageLog) {
    let queue = log.queue(&input("a"), Priority(0));
    append(log, &[queue], &["1"]);
    let mut commit = Commit::new();
    commit.progress(Progress::Attempted {
        queue,
        seq: Seq(1),
        attempts: 2,
        failures: 1,
    });
    log.commit(&mut commit).expect("commits");
    let again = &read(log, queue, Seq::ZERO, 1)[0];
    assert_eq!((again.attempts, again.failures), (2, 1));
}

fn one_message_in_many_queues_is_settled_in_each(log: &impl MessageLog) {
    let queues = [
        log.queue(&input("a"), Priority(0)),
        log.queue(&EndpointId::Upstream, Priority(0)),
    ];
    append(log, &queues, &["1"]);
    let bodies: Vec<_> = queues
        .iter()
        .map(|q| read(log, *q, Seq::ZERO, 1)[0].message.content.body.as_ptr())
        .collect();
    assert_eq!(bodies[0], bodies[1], "one copy of a body");
    settle(log, queues[0], &[1]);
    assert_eq!(
        (seqs(log, queues[0]).len(), seqs(log, queues[1]).len()),
        (0, 1)
    );
}

fn keys_are_read_back_and_listed_in_order(log: &impl MessageLog) {
    let mut commit = Commit::new();
    for key in ["b/2", "a/1", "b/1", "c"] {
        commit.put(Put {
            table: Table::Twins,
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Some(Bytes::from_static(b"x")),
        });
    }
    commit.put(Put {
        table: Table::Twins,
        key: Bytes::from_static(b"a/1"),
        value: None,
    });
    log.commit(&mut commit).expect("commits");
    assert_eq!(
        log.get(Table::Twins, b"a/1"),
        None,
        "the last word on a key holds"
    );
    assert_eq!(log.get(Table::ModuleState, b"c"), None, "tables are apart");
    assert_eq!(log.keys(Table::Twins, b"b/", None, 9), ["b/1", "b/2"]);
    assert_eq!(log.keys(Table::Twins, b"b/", Some(b"b/1"), 9), ["b/2"]);
    assert_eq!(log.keys(Table::Twins, b"", None, 1), ["b/1"]);
}

fn dead_letters_are_kept_until_they_are_forgotten(log: &impl MessageLog) {
    let queue = log.queue(&input("a"), Priority(7));
    append(log, &[queue], &["bad"]);
    let mut commit = Commit::new();
    for why in ["first", "second"] {
        commit.dead_letter(DeadLetter {
            message: message(why),
            endpoint: input("a"),
            priority: Priority(7),
            attempts: 3,
            reason: DeadReason::Rejected(why.to_owned()),
            at: Timestamp(5),
        });
    }
    commit.progress(Progress::Settled { queue, seq: Seq(1) });
    log.commit(&mut commit).expect("commits");
    let kept = log.dead_letters(Seq::ZERO, 9);
    let seqs: Vec<_> = kept.iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(seqs, [1, 2]);
    let letter = &kept[1].1;
    assert_eq!(letter.message, message("second"));
    assert_eq!(letter.reason, DeadReason::Rejected("second".to_owned()));
    assert_eq!((letter.attempts, letter.priority), (3, Priority(7)));
    assert_eq!((&letter.endpoint, letter.at), (&input("a"), Timestamp(5)));
    assert_eq!(log.pressure().waiting, 0, "dead letters wait for nobody");
    commit.forget_dead_letter(Seq(1));
    log.commit(&mut commit).expect("commits");
    assert_eq!(log.dead_letters(Seq::ZERO, 9).len(), 1);
    assert_eq!(log.dead_letters(Seq(2), 9)[0].0, Seq(2));
    assert_eq!(log.metrics().dead_letters, 1);
}

fn what_is_durable_may_be_seen_outside(log: &impl MessageLog) {
    let queue = log.queue(&input("a"), Priority(0));
    let mut commit = Commit::new();
    let index = commit.message(message("1"));
    commit.target(index, queue, None);
    let lsn = log.commit(&mut commit).expect("commits");
    block_on(log.durable(lsn)).expect("durable");
    assert!(log.durable_lsn() >= lsn);
    let mut out = Vec::new();
    log.read(queue, Seq::ZERO, 9, Visible::Durable, &mut out);
    assert_eq!(out.len(), 1);
}

/// Waits on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Thread(std::thread::Thread);
    impl Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Thread(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Fills a log that has a small limit.
///
/// # Panics
/// Where it takes more than it may, or refuses what it must take.
pub fn fills_up(log: &impl MessageLog) {
    let queue = log.queue(&input("a"), Priority(0));
    let mut taken = 0;
    let refused = loop {
        let mut commit = Commit::new();
        let index = commit.message(message("0123456789"));
        commit.target(index, queue, None);
        match log.commit(&mut commit) {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(
                    commit.targets().len(),
                    1,
                    "what was refused is still in the commit"
                );
                break error;
            }
        }
        assert!(taken < 1_000_000, "never full");
    };
    assert!(matches!(refused, CommitError::Full { .. }) && refused.is_transient());
    assert!(log.pressure().is_high());
    settle(log, queue, &(1..=taken).collect::<Vec<_>>());
    append(log, &[queue], &["again"]);
}
