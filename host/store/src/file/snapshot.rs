//! Everything but messages and modules' keys, in one file: how far each queue got and where its entries
//! lie, and the small tables. Recovery begins there and reads on in the log.
//!
//! ```text
//!   0 magic "EDGE-SNP"   8 version u32   12 crc32 of the payload u32   16 length u64   24 payload
//!
//!   payload   log id [16], lsn, applied lsn, lsn up to which all keys are applied, active segment
//!             queues, each: endpoint, priority, next, low, settled runs, attempts, extents
//!             dead letters, the same without endpoint and priority
//!             segments, each: number, end, last lsn, sealed
//!             names of modules that have keys
//!             pairs of the small tables: table u8, key, value
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use edge_core::{EndpointId, Priority, Timestamp};

use super::frame::{LogId, VERSION, u32_at, u64_at};
use super::queue::{Extent, Index, Queue};
use super::record::{put_endpoint, take_endpoint};
use super::state::{Segment, State};
use super::wire::{Malformed, Reader, put_bytes, put_delta, put_len, put_u64};
use crate::Table;

const MAGIC: &[u8; 8] = b"EDGE-SNP";
const HEADER: usize = 24;
const PREFIX: &str = "snapshot-";

/// The name of the snapshot at an lsn.
pub(crate) fn name(lsn: u64) -> String {
    format!("{PREFIX}{lsn:020}")
}

/// The lsn of the snapshot with this name.
pub(crate) fn lsn_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// What a snapshot holds.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) log: LogId,
    /// The newest commit in it.
    pub(crate) lsn: u64,
    /// What the state tables said of themselves.
    pub(crate) applied: u64,
    /// No commit up to this one, and after the one before, set a key.
    pub(crate) keys_upto: u64,
    /// The segment that was written to.
    pub(crate) active: u64,
    pub(crate) queues: Vec<Queue>,
    pub(crate) dead: Queue,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) keepers: BTreeSet<Bytes>,
    /// Table, key, value.
    pub(crate) pairs: Vec<(Table, Bytes, Bytes)>,
}

/// Why a file is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it is damaged: {0}")]
    Malformed(#[from] Malformed),
    #[error("it has format {0}, this program knows {VERSION}")]
    Newer(u32),
}

/// Writes the part that is taken from memory, without the pairs; [`finish`] adds those.
pub(crate) fn begin(
    log: &LogId,
    applied: u64,
    keys_upto: u64,
    active: u64,
    state: &State,
) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out.extend_from_slice(log);
    put_u64(&mut out, state.lsn);
    put_u64(&mut out, applied);
    put_u64(&mut out, keys_upto);
    put_u64(&mut out, active);
    put_len(&mut out, state.queues.len());
    for queue in &state.queues {
        put_endpoint(&mut out, &queue.endpoint);
        put_u64(&mut out, queue.priority.0.into());
        put_queue(&mut out, queue);
    }
    put_queue(&mut out, &state.dead);
    put_len(&mut out, state.segments.len());
    for (number, segment) in &state.segments {
        put_u64(&mut out, *number);
        put_u64(&mut out, segment.end);
        put_u64(&mut out, segment.last_lsn);
        out.push(segment.sealed.into());
    }
    put_len(&mut out, state.keepers.len());
    for keeper in &state.keepers {
        put_bytes(&mut out, keeper);
    }
    out
}

/// A pair of a small table.
pub(crate) fn put_pair(out: &mut Vec<u8>, table: Table, key: &[u8], value: &[u8]) {
    out.push(table.code());
    put_bytes(out, key);
    put_bytes(out, value);
}

/// Fills in the header. Pairs go to the end of the file, without a count.
pub(crate) fn finish(out: &mut [u8]) {
    let (header, payload) = out.split_at_mut(HEADER);
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    header[16..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
}

fn put_queue(out: &mut Vec<u8>, queue: &Queue) {
    put_u64(out, queue.next);
    put_u64(out, queue.low);
    put_len(out, queue.settled.iter().len());
    let mut before = queue.low;
    for (start, end) in queue.settled.iter() {
        put_delta(out, start, before);
        put_delta(out, end, start);
        before = end;
    }
    put_len(out, queue.attempts.len());
    for (seq, (attempts, failures)) in &queue.attempts {
        put_u64(out, *seq);
        put_u64(out, (*attempts).into());
        put_u64(out, (*failures).into());
    }
    put_len(out, queue.extents.len());
    for extent in &queue.extents {
        put_u64(out, extent.first);
        put_u64(out, extent.last - extent.first);
        put_u64(out, extent.segment);
        put_u64(out, extent.live);
        put_u64(out, extent.bytes);
        put_u64(out, extent.since.0);
        put_delta(out, extent.until.0, extent.since.0);
        // An index that is only in memory is found again by reading the segment.
        let (at, count) = match extent.index {
            Index::Disk { at, count } => (at, count),
            Index::Open(_) | Index::Sealing(_) | Index::Unknown => (0, 0),
        };
        put_u64(out, at.into());
        put_u64(out, count.into());
    }
}

fn take_queue(
    reader: &mut Reader<'_>,
    endpoint: EndpointId,
    priority: Priority,
    active: u64,
) -> Result<Queue, Malformed> {
    let mut queue = Queue::new(endpoint, priority);
    queue.next = reader.u64()?;
    queue.low = reader.u64()?;
    queue.window.start = queue.next;
    let mut before = queue.low;
    for _ in 0..reader.count()? {
        let start = reader.delta(before)?;
        let end = reader.delta(start)?;
        queue.settled.insert_run(start, end);
        before = end;
    }
    for _ in 0..reader.count()? {
        let seq = reader.u64()?;
        queue.attempts.insert(seq, (reader.u32()?, reader.u32()?));
    }
    for _ in 0..reader.count()? {
        let first = reader.u64()?;
        let last = first.saturating_add(reader.u64()?);
        let (segment, live, bytes) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let since = reader.u64()?;
        let mut extent = Extent {
            first,
            last,
            segment,
            live,
            bytes,
            since: Timestamp(since),
            until: Timestamp(reader.delta(since)?),
            index: Index::Unknown,
        };
        let (at, count) = (reader.u32()?, reader.u32()?);
        if extent.segment == active {
            // Filled as the segment is read again.
            extent.index = Index::Open(Vec::new());
        } else if count > 0 {
            extent.index = Index::Disk { at, count };
        }
        queue.waiting += extent.live;
        queue.bytes += extent.bytes;
        queue.extents.push_back(extent);
    }
    Ok(queue)
}

impl Snapshot {
    /// Reads a whole file.
    ///
    /// # Errors
    /// It is no snapshot, or not a whole one.
    pub(crate) fn read(file: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |what| Err(SnapshotError::Damaged(what));
        if file.len() < HEADER || &file[..8] != MAGIC {
            return damaged("no header");
        }
        let payload = &file[HEADER..];
        if u64_at(file, 16) != payload.len() as u64 {
            return damaged("another length than it says");
        }
        if u32_at(file, 12) != crc32fast::hash(payload) {
            return damaged("the checksum is wrong");
        }
        let version = u32_at(file, 8);
        if version != VERSION {
            return Err(SnapshotError::Newer(version));
        }
        let Some((id, rest)) = payload.split_at_checked(16) else {
            return damaged("no log id");
        };
        let mut log = LogId::default();
        log.copy_from_slice(id);
        let mut reader = Reader::new(rest);
        let (lsn, applied) = (reader.u64()?, reader.u64()?);
        let (keys_upto, active) = (reader.u64()?, reader.u64()?);
        let mut queues = Vec::new();
        for _ in 0..reader.count()? {
            let endpoint = take_endpoint(&mut reader)?;
            let priority = Priority(reader.u32()?);
            queues.push(take_queue(&mut reader, endpoint, priority, active)?);
        }
        let dead = take_queue(&mut reader, EndpointId::Upstream, Priority::DEFAULT, active)?;
        let mut segments = BTreeMap::new();
        for _ in 0..reader.count()? {
            let number = reader.u64()?;
            let segment = Segment {
                end: reader.u64()?,
                last_lsn: reader.u64()?,
                sealed: reader.u8()? != 0,
                ..Segment::default()
            };
            segments.insert(number, segment);
        }
        let mut keepers = BTreeSet::new();
        for _ in 0..reader.count()? {
            keepers.insert(Bytes::copy_from_slice(reader.bytes()?));
        }
        let mut pairs = Vec::new();
        while !reader.is_empty() {
            let Some(table) = Table::from_code(reader.u8()?) else {
                return damaged("a table that is not known");
            };
            let key = Bytes::copy_from_slice(reader.bytes()?);
            pairs.push((table, key, Bytes::copy_from_slice(reader.bytes()?)));
        }
        Ok(Self {
            log,
            lsn,
            applied,
            keys_upto,
            active,
            queues,
            dead,
            segments,
            keepers,
            pairs,
        })
    }
}
