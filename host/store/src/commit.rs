//! What one record of the log says.

use bytes::Bytes;
use edge_core::{EndpointId, Message, Priority, Timestamp};

use crate::{QueueId, Seq};

/// A set of changes that happen together or not at all. Filled step by step and reused: the vectors
/// keep their room, so a batch of messages shares its allocations.
///
/// A step that fails goes back to the [`Savepoint`] taken before it.
#[derive(Debug, Default)]
pub struct Commit {
    pub(crate) messages: Vec<Message>,
    pub(crate) targets: Vec<Target>,
    pub(crate) progress: Vec<Progress>,
    pub(crate) puts: Vec<Put>,
    pub(crate) dead: Vec<DeadLetter>,
}

/// A message of this commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIndex(pub(crate) usize);

/// A queue that a message of the commit goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The message.
    pub message: MessageIndex,
    /// The queue.
    pub queue: QueueId,
    /// When it is no longer worth delivering.
    pub expiry: Option<Timestamp>,
}

/// How far a queue's reader got with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is done with: handled, expired or a dead letter.
    Settled {
        /// The queue.
        queue: QueueId,
        /// The entry.
        seq: Seq,
    },
    /// It was tried and is to be tried again.
    Attempted {
        /// The queue.
        queue: QueueId,
        /// The entry.
        seq: Seq,
        /// Tries so far.
        attempts: u32,
        /// How many of them ended in a trap or a missed deadline.
        failures: u32,
    },
}

/// A kind of state that the log carries beside messages. Keys are unique within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Modules' own key-value state; keys are `module NUL bucket NUL key`.
    ModuleState = 1,
    /// Desired and reported properties of twins.
    Twins = 2,
    /// Devices and modules that may connect, and their keys.
    Identities = 3,
    /// Sessions and subscriptions that outlive a connection.
    Sessions = 4,
    /// The deployment in force and those before it.
    Deployments = 5,
    /// Retained messages of the open topics; keys are topics.
    Retained = 6,
    /// Work that the agent's methods began, by its name.
    Tasks = 7,
    /// What the parent was last seen to want.
    Upstream = 8,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ModuleState,
        Self::Twins,
        Self::Identities,
        Self::Sessions,
        Self::Deployments,
        Self::Retained,
        Self::Tasks,
        Self::Upstream,
    ];

    /// The number that stands for it in files. Never changes.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The table with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.code() == code)
    }

    /// Whether snapshots hold all of it: it is small, and a device is nothing without it.
    pub fn in_snapshots(self) -> bool {
        !matches!(self, Self::ModuleState | Self::Retained)
    }
}

/// A key that gets a value, or is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: Bytes,
    /// Its value; `None` deletes it.
    pub value: Option<Bytes>,
}

/// A message that left its queue unhandled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub message: Message,
    /// The endpoint that it was for.
    pub endpoint: EndpointId,
    /// The priority of its queue.
    pub priority: Priority,
    /// Tries.
    pub attempts: u32,
    /// Why.
    pub reason: DeadReason,
    /// When it was given up.
    pub at: Timestamp,
}

/// Why a message became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadReason {
    /// The receiver rejected it; its words.
    Rejected(String),
    /// Every attempt ended in a trap or a missed deadline; what the last one said.
    Failed(String),
    /// It passed more modules than a message may: routes form a loop.
    Loop,
    /// No route leads to its endpoint any more, nobody reads it, and it had no time to live.
    Abandoned,
}

impl DeadReason {
    /// Stable name, as counters and lists show it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Failed(_) => "failed",
            Self::Loop => "loop",
            Self::Abandoned => "abandoned",
        }
    }
}

impl std::fmt::Display for DeadReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(why) | Self::Failed(why) => write!(f, "{}: {why}", self.code()),
            Self::Loop => f.write_str("loop: passed more modules than a message may"),
            Self::Abandoned => f.write_str("abandoned: no route leads to its endpoint any more"),
        }
    }
}

/// A place in a commit to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint([usize; 5]);

impl Commit {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message; it is kept only if it also gets a target.
    pub fn message(&mut self, message: Message) -> MessageIndex {
        self.messages.push(message);
        MessageIndex(self.messages.len() - 1)
    }

    /// Puts a message of this commit in a queue.
    pub fn target(&mut self, message: MessageIndex, queue: QueueId, expiry: Option<Timestamp>) {
        self.targets.push(Target {
            message,
            queue,
            expiry,
        });
    }

    /// Notes a reader's progress.
    pub fn progress(&mut self, progress: Progress) {
        self.progress.push(progress);
    }

    /// Sets or deletes a key.
    pub fn put(&mut self, put: Put) {
        self.puts.push(put);
    }

    /// Gives up a dead letter for good: it was replayed, or nobody wants it.
    pub fn forget_dead_letter(&mut self, seq: Seq) {
        self.progress.push(Progress::Settled {
            queue: QueueId::DEAD_LETTERS,
            seq,
        });
    }

    /// Keeps a message that left its queue unhandled.
    pub fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead.push(letter);
    }

    /// Messages added since a savepoint.
    pub fn messages_since(&self, savepoint: Savepoint) -> usize {
        self.messages.len() - savepoint.0[0]
    }

    /// Keys set or deleted since a savepoint.
    pub fn puts_since(&self, savepoint: Savepoint) -> usize {
        self.puts.len() - savepoint.0[3]
    }

    /// Messages in it.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Its messages, with and without targets.
    pub fn messages(&self) -> impl Iterator<Item = (MessageIndex, &Message)> {
        let all = self.messages.iter().enumerate();
        all.map(|(index, message)| (MessageIndex(index), message))
    }

    /// The queues that a message goes to.
    pub fn queues_of(&self, message: MessageIndex) -> impl Iterator<Item = QueueId> {
        let its = move |target: &&Target| target.message == message;
        self.targets.iter().filter(its).map(|target| target.queue)
    }

    /// Where its messages go.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The dead letters in it.
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead
    }

    /// The newest value that this commit gives a key, if it names it at all.
    pub fn pending(&self, table: Table, key: &[u8]) -> Option<Option<&Bytes>> {
        self.puts
            .iter()
            .rev()
            .find(|put| put.table == table && put.key == key)
            .map(|put| put.value.as_ref())
    }

    /// The keys that this commit sets or deletes, oldest change first.
    pub fn puts(&self) -> &[Put] {
        &self.puts
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
            && self.progress.is_empty()
            && self.puts.is_empty()
            && self.dead.is_empty()
    }

    /// The place reached so far.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint([
            self.messages.len(),
            self.targets.len(),
            self.progress.len(),
            self.puts.len(),
            self.dead.len(),
        ])
    }

    /// Forgets all that was added after a savepoint.
    pub fn rollback(&mut self, to: Savepoint) {
        let [messages, targets, progress, puts, dead] = to.0;
        self.messages.truncate(messages);
        self.targets.truncate(targets);
        self.progress.truncate(progress);
        self.puts.truncate(puts);
        self.dead.truncate(dead);
    }

    /// Empties it and keeps its room.
    pub fn clear(&mut self) {
        self.rollback(Savepoint([0; 5]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut commit = Commit::new();
        let put = |value: &'static str| Put {
            table: Table::ModuleState,
            key: Bytes::from_static(b"k"),
            value: Some(Bytes::from_static(value.as_bytes())),
        };
        commit.put(put("kept"));
        let before = commit.savepoint();
        commit.put(put("lost"));
        commit.progress(Progress::Settled {
            queue: QueueId::from_index(0),
            seq: Seq(1),
        });
        assert_eq!(
            commit.pending(Table::ModuleState, b"k"),
            Some(Some(&Bytes::from_static(b"lost")))
        );
        commit.rollback(before);
        assert_eq!(
            commit.pending(Table::ModuleState, b"k"),
            Some(Some(&Bytes::from_static(b"kept")))
        );
        assert_eq!(commit.puts().len(), 1);
        assert!(!commit.is_empty());
        commit.clear();
        assert!(commit.is_empty());
    }
}
