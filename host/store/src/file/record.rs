//! The payload of a record: what a commit says, section by section.
//!
//! ```text
//!   payload    kind u8   lsn - durable lsn at that time   sections
//!   section    tag u8, then as below; each at most once but for QUEUE, in this order
//!
//!   QUEUE      id, endpoint, priority                                    before it is first used
//!   MESSAGES   count, messages (see message.rs)
//!   TARGETS    count of queues, (id, first seq) each;  count, (message ±, place of queue, expiry) each
//!              expiry: 0 none, 1 the time after the message came, 2 as long after it as the one before
//!   PLACES     count, (message, queue, seq, expiry) each                 in records that move entries
//!   LETTERS    count, (message, seq, endpoint, priority, attempts, reason, at) each
//!   SETTLED    count, (queue, first seq, how many) each
//!   ATTEMPTED  count, (queue, seq, attempts, failures) each
//!   PUTS       count, (table u8, key, 0 | 1 value) each
//! ```
//! How much of the log was durable when a record was written tells, later, a torn tail from damage.

use bytes::Bytes;
use edge_core::{DeviceId, EndpointId, Message, ModuleId, Priority, Timestamp};

use super::message::{self, Before, Origins};
use super::wire::{Malformed, Reader, put_bytes, put_delta, put_len, put_str, put_u64};
use crate::{Commit, DeadLetter, DeadReason, Progress, Put, QueueId, Table};

const QUEUE: u8 = 1;
const MESSAGES: u8 = 2;
const TARGETS: u8 = 3;
const PLACES: u8 = 4;
const LETTERS: u8 = 5;
const SETTLED: u8 = 6;
const ATTEMPTED: u8 = 7;
const PUTS: u8 = 8;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A commit.
    Commit = 1,
    /// Entries of another segment, copied forward.
    Moved = 2,
    /// The last of a segment: where each queue's entries lie in it.
    Index = 3,
    /// The log was closed: everything before is on the device.
    Closed = 4,
}

impl Kind {
    /// The kind of a payload and how far behind its own lsn the log was durable.
    pub(crate) fn of(payload: &[u8]) -> Result<(Self, u64), Malformed> {
        let mut reader = Reader::new(payload);
        let kind = match reader.u8()? {
            1 => Self::Commit,
            2 => Self::Moved,
            3 => Self::Index,
            4 => Self::Closed,
            _ => return reader.malformed("a kind of record that is not known"),
        };
        Ok((kind, reader.u64()?))
    }
}

/// An entry as a record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place among the record's messages.
    pub(crate) message: usize,
    pub(crate) queue: QueueId,
    pub(crate) seq: u64,
    pub(crate) expiry: Option<Timestamp>,
}

/// A dead letter as a record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) seq: u64,
    pub(crate) letter: DeadLetter,
}

/// All that a record says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) queues: Vec<(QueueId, EndpointId, Priority)>,
    pub(crate) messages: Vec<Message>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) letters: Vec<Letter>,
    /// Queue, first sequence number, how many.
    pub(crate) settled: Vec<(QueueId, u64, u64)>,
    pub(crate) attempted: Vec<Progress>,
    pub(crate) puts: Vec<Put>,
}

/// Begins a payload.
pub(crate) fn put_kind(out: &mut Vec<u8>, kind: Kind, behind: u64) {
    out.push(kind as u8);
    put_u64(out, behind);
}

pub(crate) fn put_queue(out: &mut Vec<u8>, id: QueueId, endpoint: &EndpointId, priority: Priority) {
    out.push(QUEUE);
    put_len(out, id.index());
    put_endpoint(out, endpoint);
    put_u64(out, priority.0.into());
}

pub(crate) fn put_endpoint(out: &mut Vec<u8>, endpoint: &EndpointId) {
    match endpoint {
        EndpointId::Upstream => out.push(0),
        EndpointId::ModuleInput { module, input } => {
            out.push(1);
            put_str(out, module.as_str());
            put_str(out, input);
        }
        EndpointId::Device(device) => {
            out.push(2);
            put_str(out, device.as_str());
        }
        EndpointId::Session(place) => {
            out.push(3);
            put_u64(out, (*place).into());
        }
    }
}

pub(crate) fn take_endpoint(reader: &mut Reader<'_>) -> Result<EndpointId, Malformed> {
    match reader.u8()? {
        0 => Ok(EndpointId::Upstream),
        1 => {
            let name = reader.str()?;
            match ModuleId::new(name) {
                Ok(module) => Ok(EndpointId::module_input(module, reader.str()?)),
                Err(_) => reader.malformed("a name that is no module id"),
            }
        }
        2 => match DeviceId::new(reader.str()?) {
            Ok(device) => Ok(EndpointId::Device(device)),
            Err(_) => reader.malformed("a name that is no device id"),
        },
        3 => Ok(EndpointId::Session(reader.u32()?)),
        _ => reader.malformed("a kind of endpoint that is not known"),
    }
}

/// Writes when entries of one record end: mostly as long after they came as the one before.
#[derive(Debug, Default)]
struct Expiries {
    /// Of the entry before that ends: how long after it came.
    span: Option<u64>,
}

impl Expiries {
    fn put(&mut self, out: &mut Vec<u8>, expiry: Option<Timestamp>, message: &Message) {
        let Some(at) = expiry else {
            out.push(0);
            return;
        };
        let span = at.0.wrapping_sub(message.enqueued.0);
        match self.span.replace(span) {
            Some(before) if before == span => out.push(2),
            _ => {
                out.push(1);
                put_delta(out, at.0, message.enqueued.0);
            }
        }
    }

    fn take(
        &mut self,
        reader: &mut Reader<'_>,
        message: &Message,
    ) -> Result<Option<Timestamp>, Malformed> {
        let came = message.enqueued.0;
        let at = match (reader.u8()?, self.span) {
            (0, _) => return Ok(None),
            (1, _) => reader.delta(came)?,
            (2, Some(span)) => came.wrapping_add(span),
            _ => return reader.malformed("neither an expiry nor none"),
        };
        self.span = Some(at.wrapping_sub(came));
        Ok(Some(Timestamp(at)))
    }
}

/// Writes commits; keeps its room from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// For each message of the commit, its place among those that are written.
    places: Vec<u32>,
    /// The queues of the commit, each with the sequence number of its first entry.
    pub(crate) queues: Vec<(QueueId, u64)>,
}

/// A message that no queue takes.
const NOWHERE: u32 = u32::MAX;

impl Encoder {
    /// Writes the sections of a commit. `next` says the sequence number that a queue's next entry gets;
    /// letters are numbered from `first_letter` on.
    pub(crate) fn put(
        &mut self,
        out: &mut Vec<u8>,
        commit: &Commit,
        next: impl Fn(QueueId) -> u64,
        first_letter: u64,
    ) {
        let messages = self.put_messages(out, commit);
        self.put_targets(out, commit, next);
        if !commit.dead.is_empty() {
            out.push(LETTERS);
            put_len(out, commit.dead.len());
            for (offset, letter) in (0u64..).zip(&commit.dead) {
                put_u64(out, messages + offset);
                put_letter(out, first_letter + offset, letter);
            }
        }
        put_progress(out, &commit.progress);
        if !commit.puts.is_empty() {
            out.push(PUTS);
            put_len(out, commit.puts.len());
            for put in &commit.puts {
                out.push(put.table.code());
                put_bytes(out, &put.key);
                match &put.value {
                    Some(value) => {
                        out.push(1);
                        put_bytes(out, value);
                    }
                    None => out.push(0),
                }
            }
        }
    }

    /// Messages with a target, then those of dead letters. Says how many have a target.
    fn put_messages(&mut self, out: &mut Vec<u8>, commit: &Commit) -> u64 {
        self.places.clear();
        self.places.resize(commit.messages.len(), NOWHERE);
        for target in &commit.targets {
            self.places[target.message.0] = 0;
        }
        let mut count = 0u32;
        for place in &mut self.places {
            if *place != NOWHERE {
                *place = count;
                count += 1;
            }
        }
        if count == 0 && commit.dead.is_empty() {
            return 0;
        }
        out.push(MESSAGES);
        put_u64(out, u64::from(count) + commit.dead.len() as u64);
        let mut before = Before::default();
        for (message, place) in commit.messages.iter().zip(&self.places) {
            if *place != NOWHERE {
                message::put(out, message, &mut before);
            }
        }
        for letter in &commit.dead {
            message::put(out, &letter.message, &mut before);
        }
        count.into()
    }

    fn put_targets(&mut self, out: &mut Vec<u8>, commit: &Commit, next: impl Fn(QueueId) -> u64) {
        self.queues.clear();
        if commit.targets.is_empty() {
            return;
        }
        for target in &commit.targets {
            if !self.queues.iter().any(|(id, _)| *id == target.queue) {
                self.queues.push((target.queue, next(target.queue)));
            }
        }
        out.push(TARGETS);
        put_len(out, self.queues.len());
        for (id, first) in &self.queues {
            put_len(out, id.index());
            put_u64(out, *first);
        }
        put_len(out, commit.targets.len());
        let (mut before, mut expiries) = (0, Expiries::default());
        for target in &commit.targets {
            let place = u64::from(self.places[target.message.0]);
            put_delta(out, place, before);
            before = place;
            let queue = self.queues.iter().position(|(id, _)| *id == target.queue);
            put_len(out, queue.unwrap_or_default());
            expiries.put(out, target.expiry, &commit.messages[target.message.0]);
        }
    }
}

fn put_letter(out: &mut Vec<u8>, seq: u64, letter: &DeadLetter) {
    put_u64(out, seq);
    put_endpoint(out, &letter.endpoint);
    put_u64(out, letter.priority.0.into());
    put_u64(out, letter.attempts.into());
    let (code, why) = match &letter.reason {
        DeadReason::Rejected(why) => (1, why.as_str()),
        DeadReason::Failed(why) => (2, why.as_str()),
        DeadReason::Loop => (3, ""),
        DeadReason::Abandoned => (4, ""),
    };
    out.push(code);
    put_str(out, why);
    put_u64(out, letter.at.0);
}

fn take_letter(reader: &mut Reader<'_>, message: Message) -> Result<Letter, Malformed> {
    let seq = reader.u64()?;
    let endpoint = take_endpoint(reader)?;
    let priority = Priority(reader.u32()?);
    let attempts = reader.u32()?;
    let code = reader.u8()?;
    let why = reader.str()?.to_owned();
    let reason = match code {
        1 => DeadReason::Rejected(why),
        2 => DeadReason::Failed(why),
        3 => DeadReason::Loop,
        4 => DeadReason::Abandoned,
        _ => return reader.malformed("a reason that is not known"),
    };
    let letter = DeadLetter {
        message,
        endpoint,
        priority,
        attempts,
        reason,
        at: Timestamp(reader.u64()?),
    };
    Ok(Letter { seq, letter })
}

/// Writes progress; entries of one queue that follow one another, as they do, take one run.
pub(crate) fn put_progress(out: &mut Vec<u8>, progress: &[Progress]) {
    let mut runs: Vec<(QueueId, u64, u64)> = Vec::new();
    let mut attempts = 0;
    for progress in progress {
        match *progress {
            Progress::Settled { queue, seq } => match runs.last_mut() {
                Some((last, first, len)) if *last == queue && first.wrapping_add(*len) == seq.0 => {
                    *len += 1;
                }
                _ => runs.push((queue, seq.0, 1)),
            },
            Progress::Attempted { .. } => attempts += 1,
        }
    }
    put_settled(out, &runs);
    if attempts == 0 {
        return;
    }
    out.push(ATTEMPTED);
    put_u64(out, attempts);
    for progress in progress {
        if let Progress::Attempted {
            queue,
            seq,
            attempts,
            failures,
        } = *progress
        {
            put_len(out, queue.index());
            put_u64(out, seq.0);
            put_u64(out, attempts.into());
            put_u64(out, failures.into());
        }
    }
}

pub(crate) fn put_settled(out: &mut Vec<u8>, runs: &[(QueueId, u64, u64)]) {
    if runs.is_empty() {
        return;
    }
    out.push(SETTLED);
    put_len(out, runs.len());
    for (queue, first, len) in runs {
        put_len(out, queue.index());
        put_u64(out, *first);
        put_u64(out, *len);
    }
}

/// Writes entries that are copied forward.
pub(crate) fn put_moved(
    out: &mut Vec<u8>,
    messages: &[Message],
    entries: &[Entry],
    letters: &[(usize, Letter)],
) {
    out.push(MESSAGES);
    put_len(out, messages.len());
    let mut before = Before::default();
    for message in messages {
        message::put(out, message, &mut before);
    }
    if !entries.is_empty() {
        out.push(PLACES);
        put_len(out, entries.len());
        let mut expiries = Expiries::default();
        for entry in entries {
            put_len(out, entry.message);
            put_len(out, entry.queue.index());
            put_u64(out, entry.seq);
            expiries.put(out, entry.expiry, &messages[entry.message]);
        }
    }
    if !letters.is_empty() {
        out.push(LETTERS);
        put_len(out, letters.len());
        for (message, letter) in letters {
            put_len(out, *message);
            put_letter(out, letter.seq, &letter.letter);
        }
    }
}

impl Record {
    /// Reads a payload of kind `Commit` or `Moved`. Bodies are parts of it, not copies.
    ///
    /// # Errors
    /// It is not what a log of this version writes.
    pub(crate) fn read(payload: &Bytes, origins: &mut Origins) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        reader.u64()?;
        let mut record = Self::default();
        while !reader.is_empty() {
            match reader.u8()? {
                QUEUE => {
                    let id = take_queue(&mut reader)?;
                    let endpoint = take_endpoint(&mut reader)?;
                    let priority = Priority(reader.u32()?);
                    record.queues.push((id, endpoint, priority));
                }
                MESSAGES => {
                    let mut before = Before::default();
                    let count = reader.count()?;
                    record.messages.reserve(count.min(4_096));
                    for _ in 0..count {
                        let message = message::take(&mut reader, payload, &mut before, origins)?;
                        record.messages.push(message);
                    }
                }
                TARGETS => record.take_targets(&mut reader)?,
                PLACES => {
                    let mut expiries = Expiries::default();
                    for _ in 0..reader.count()? {
                        let message = record.take_message(&mut reader)?;
                        let queue = take_queue(&mut reader)?;
                        let seq = reader.u64()?;
                        let expiry = expiries.take(&mut reader, &record.messages[message])?;
                        record.entries.push(Entry {
                            message,
                            queue,
                            seq,
                            expiry,
                        });
                    }
                }
                LETTERS => {
                    for _ in 0..reader.count()? {
                        let message = record.take_message(&mut reader)?;
                        let letter = take_letter(&mut reader, record.messages[message].clone())?;
                        record.letters.push(letter);
                    }
                }
                SETTLED => {
                    for _ in 0..reader.count()? {
                        let queue = take_queue(&mut reader)?;
                        record.settled.push((queue, reader.u64()?, reader.u64()?));
                    }
                }
                ATTEMPTED => {
                    for _ in 0..reader.count()? {
                        record.attempted.push(Progress::Attempted {
                            queue: take_queue(&mut reader)?,
                            seq: crate::Seq(reader.u64()?),
                            attempts: reader.u32()?,
                            failures: reader.u32()?,
                        });
                    }
                }
                PUTS => {
                    for _ in 0..reader.count()? {
                        record.puts.push(take_put(&mut reader, payload)?);
                    }
                }
                _ => return reader.malformed("a section that is not known"),
            }
        }
        Ok(record)
    }

    fn take_message(&self, reader: &mut Reader<'_>) -> Result<usize, Malformed> {
        let message = reader.u64()?;
        match usize::try_from(message) {
            Ok(message) if message < self.messages.len() => Ok(message),
            _ => reader.malformed("a message that the record does not have"),
        }
    }

    fn take_targets(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let mut queues = Vec::new();
        for _ in 0..reader.count()? {
            queues.push((take_queue(reader)?, reader.u64()?));
        }
        let (mut place, mut expiries) = (0, Expiries::default());
        let count = reader.count()?;
        self.entries.reserve(count.min(4_096));
        for _ in 0..count {
            place = reader.delta(place)?;
            let message = usize::try_from(place).unwrap_or(usize::MAX);
            let queue = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
            let (Some(of), Some((queue, seq))) =
                (self.messages.get(message), queues.get_mut(queue))
            else {
                return reader.malformed("an entry of a message or queue that the record lacks");
            };
            self.entries.push(Entry {
                message,
                queue: *queue,
                seq: *seq,
                expiry: expiries.take(reader, of)?,
            });
            *seq = seq.wrapping_add(1);
        }
        Ok(())
    }
}

pub(crate) fn take_queue(reader: &mut Reader<'_>) -> Result<QueueId, Malformed> {
    reader.u32().map(QueueId::from_index)
}

fn take_put(reader: &mut Reader<'_>, payload: &Bytes) -> Result<Put, Malformed> {
    let Some(table) = Table::from_code(reader.u8()?) else {
        return reader.malformed("a table that is not known");
    };
    // Copied, because it stays long after the record.
    let copy = |reader: &mut Reader<'_>| -> Result<Bytes, Malformed> {
        Ok(Bytes::copy_from_slice(&payload[reader.range()?]))
    };
    let key = copy(reader)?;
    let value = match reader.u8()? {
        0 => None,
        1 => Some(copy(reader)?),
        _ => return reader.malformed("neither a value nor a deletion"),
    };
    Ok(Put { table, key, value })
}

#[cfg(test)]
mod tests {
    use edge_core::{Content, MessageId, Origin, Properties, Source};
    use proptest::prelude::*;
    use std::sync::Arc;

    use super::*;

    fn properties() -> impl Strategy<Value = Properties> {
        let some = proptest::collection::vec(("[ab]", "[xy]?"), 0..3);
        prop_oneof![2 => Just(Vec::new()), 3 => some].prop_map(|pairs| {
            let mut all = Properties::new();
            pairs
                .iter()
                .for_each(|(name, value)| all.push_stored(name, value));
            all
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let ids = (0u64..2, 0u64..5, 0u64..3, "d|e");
        (ids, properties(), properties(), any::<Vec<u8>>()).prop_map(
            |((start, count, enqueued, device), properties, system, body)| Message {
                content: Arc::new(Content {
                    body: body.into(),
                    properties,
                    system,
                }),
                origin: Origin::new(Source::Device(DeviceId::new(&device).expect("id"))),
                id: MessageId { start, count },
                enqueued: Timestamp(enqueued),
                hops: 1,
            },
        )
    }

    fn entry() -> impl Strategy<Value = (u32, Option<Timestamp>)> {
        (0u32..3, proptest::option::of((0u64..4).prop_map(Timestamp)))
    }

    proptest! {
        #[test]
        fn what_is_left_out_of_a_record_is_there_when_it_is_read(
            all in proptest::collection::vec((message(), entry(), entry()), 1..8)
        ) {
            let (mut commit, mut expected, mut next) = (Commit::new(), Vec::new(), [0u64; 3]);
            for (place, (message, one, other)) in all.iter().enumerate() {
                let index = commit.message(message.clone());
                for (queue, expiry) in [one, other] {
                    let id = QueueId::from_index(*queue);
                    commit.target(index, id, *expiry);
                    let seq = &mut next[*queue as usize];
                    expected.push(Entry { message: place, queue: id, seq: *seq, expiry: *expiry });
                    *seq += 1;
                }
            }
            let mut out = Vec::new();
            put_kind(&mut out, Kind::Commit, 0);
            Encoder::default().put(&mut out, &commit, |_| 0, 0);
            let record = Record::read(&out.into(), &mut Origins::default()).expect("it was written so");
            let messages: Vec<_> = all.iter().map(|(message, ..)| message.clone()).collect();
            prop_assert_eq!(&record.messages, &messages);
            prop_assert_eq!(&record.entries, &expected);

            let mut out = Vec::new();
            put_kind(&mut out, Kind::Moved, 0);
            put_moved(&mut out, &messages, &expected, &[]);
            let moved = Record::read(&out.into(), &mut Origins::default()).expect("it was written so");
            prop_assert_eq!(moved.messages, messages);
            prop_assert_eq!(moved.entries, expected);
        }
    }
}
