//! Where each queue's entries lie in a full segment: the last record of the segment.
//!
//! ```text
//!   payload   kind u8   lsn   count of extents, each: queue, first seq, last seq, count of places
//!             then all places in that order, each: seq u64, offset of the record u32
//! ```
//! A place stands for the entries from its number up to that of the next place. Places have a fixed
//! size, so that a reader looks one up without reading the others.

use super::Seal;
use super::frame::{self, FRAME, Seed, u32_at, u64_at};
use super::queue::{Index, Place};
use super::record::{Kind, put_kind, take_queue};
use super::wire::{Malformed, Reader, put_len, put_u64};
use crate::QueueId;

/// Bytes of a place in a file.
pub(crate) const PLACE: usize = 12;

/// Where the index of a segment is.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) segment: u64,
    /// Bytes of the segment with its index.
    pub(crate) end: u64,
    pub(crate) extents: Vec<WrittenExtent>,
}

/// Where the places of an extent are.
#[derive(Debug)]
pub(crate) struct WrittenExtent {
    pub(crate) queue: QueueId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) index: Index,
}

/// The record that goes to `end` of a full segment; `None` if it would be beyond what an offset can
/// say, and the places stay in memory.
pub(crate) fn encode(
    seal: &Seal,
    segment: u64,
    end: u64,
    lsn: u64,
    seed: Seed,
) -> Option<(Vec<u8>, Written)> {
    let mut out = Vec::new();
    let start = frame::begin(&mut out);
    // It goes to the device with the records before it, and is no proof of them.
    put_kind(&mut out, Kind::Index, lsn);
    put_len(&mut out, seal.extents.len());
    for extent in &seal.extents {
        put_len(&mut out, extent.queue.index());
        put_u64(&mut out, extent.first);
        put_u64(&mut out, extent.last);
        put_len(&mut out, extent.places.len());
    }
    let mut extents = Vec::new();
    for extent in &seal.extents {
        let index = Index::Disk {
            at: u32::try_from(end + out.len() as u64).ok()?,
            count: u32::try_from(extent.places.len()).ok()?,
        };
        extents.push(WrittenExtent {
            queue: extent.queue,
            first: extent.first,
            last: extent.last,
            index,
        });
        for place in extent.places.iter() {
            out.extend_from_slice(&place.seq.to_le_bytes());
            out.extend_from_slice(&place.offset.to_le_bytes());
        }
    }
    frame::finish(&mut out, start, lsn, seed).ok()?;
    let end = end + out.len() as u64;
    let written = Written {
        segment,
        end,
        extents,
    };
    Some((out, written))
}

/// Reads the payload of an index record that begins at `offset` of its segment.
pub(crate) fn decode(payload: &[u8], offset: u64) -> Result<Vec<WrittenExtent>, Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    reader.u64()?;
    let mut heads = Vec::new();
    for _ in 0..reader.count()? {
        heads.push((
            take_queue(&mut reader)?,
            reader.u64()?,
            reader.u64()?,
            reader.u32()?,
        ));
    }
    let mut at = offset + (FRAME + reader.at()) as u64;
    let mut extents = Vec::new();
    for (queue, first, last, count) in heads {
        let Ok(here) = u32::try_from(at) else {
            return reader.malformed("an index that is too far into the segment");
        };
        extents.push(WrittenExtent {
            queue,
            first,
            last,
            index: Index::Disk { at: here, count },
        });
        at += u64::from(count) * PLACE as u64;
    }
    if at != offset + (FRAME + payload.len()) as u64 {
        return reader.malformed("an index with another number of places than it says");
    }
    Ok(extents)
}

/// The places in `bytes`.
pub(crate) fn places(bytes: &[u8]) -> impl Iterator<Item = Place> {
    bytes.chunks_exact(PLACE).map(|place| Place {
        seq: u64_at(place, 0),
        offset: u32_at(place, 8),
    })
}
