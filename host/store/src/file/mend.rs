//! What is done about records and indexes that cannot be read.

use std::sync::Arc;

use super::message::Origins;
use super::meters::add;
use super::queue::{Index, Place};
use super::record::{self, Kind, Record};
use super::scan::{Next, Scan};
use super::{Inner, Shared, segment_name};
use crate::{Progress, QueueId, Seq};

impl Shared {
    /// Entries that cannot be read leave their queue, counted and named.
    pub(crate) fn lose(&self, id: QueueId, from: u64, until: u64, segment: u64, what: &str) {
        let mut inner = self.lock();
        let mut lost = Vec::new();
        for seq in from..until {
            if inner.state.settle(id, seq) {
                lost.push(Progress::Settled {
                    queue: id,
                    seq: Seq(seq),
                });
            }
        }
        add(&self.meters.damaged, lost.len() as u64);
        tracing::error!(
            segment = segment_name(segment),
            queue = id.index(),
            first = from,
            entries = lost.len(),
            what,
            "entries are lost to damage"
        );
        let written = self.write(inner, Kind::Commit, |out, _, _| {
            record::put_progress(out, &lost);
        });
        if let Ok((mut inner, at)) = written {
            inner.state.lsn = at.lsn;
            self.after_change(&inner);
        }
    }

    /// Finds the places of a segment's entries again by reading all of it.
    pub(crate) fn rebuild_index(&self, segment: u64) {
        let limit = match self.lock().state.segments.get(&segment) {
            Some(known) => known.end,
            None => return,
        };
        let scan = self
            .disk
            .open(&segment_name(segment))
            .and_then(|file| Scan::open(&*file, Some(limit), self.seed));
        let mut scan = match scan {
            Ok(scan) => scan,
            Err(error) => {
                tracing::error!(segment, %error, "segment cannot be read");
                return;
            }
        };
        let mut origins = Origins::default();
        let mut places: Vec<(QueueId, Place)> = Vec::new();
        loop {
            let found = match scan.next() {
                Next::Record(found) => found,
                Next::End => break,
                Next::Bad { .. } => match scan.skip_to_record(0) {
                    Some(found) => found,
                    None => break,
                },
            };
            let Some((Kind::Commit | Kind::Moved, _)) = found.kind() else {
                continue;
            };
            let Ok(record) = Record::read(&found.payload, &mut origins) else {
                continue;
            };
            let Ok(offset) = u32::try_from(found.offset) else {
                break;
            };
            let letters = record
                .letters
                .iter()
                .map(|l| (QueueId::DEAD_LETTERS, l.seq));
            let entries = record.entries.iter().map(|entry| (entry.queue, entry.seq));
            places.extend(
                entries
                    .chain(letters)
                    .map(|(id, seq)| (id, Place { seq, offset })),
            );
        }
        places.sort_by_key(|(id, place)| (*id, place.seq));
        let mut inner = self.lock();
        inner.replace_places(segment, &places);
    }
}

impl Inner {
    /// Gives extents of a segment their places anew, unless they are in memory.
    pub(crate) fn replace_places(&mut self, segment: u64, places: &[(QueueId, Place)]) {
        let queues = (0..).map(QueueId::from_index).zip(&mut self.state.queues);
        let dead = std::iter::once((QueueId::DEAD_LETTERS, &mut self.state.dead));
        for (id, queue) in queues.chain(dead) {
            for extent in queue.extents.iter_mut().filter(|e| e.segment == segment) {
                if matches!(extent.index, Index::Open(_) | Index::Sealing(_)) {
                    continue;
                }
                let start = places.partition_point(|(of, p)| (*of, p.seq) < (id, extent.first));
                let mut own: Vec<Place> = Vec::new();
                for (of, place) in &places[start..] {
                    if *of != id || place.seq > extent.last {
                        break;
                    }
                    if own.last().is_none_or(|last| last.offset != place.offset) {
                        own.push(*place);
                    }
                }
                extent.index = Index::Sealing(Arc::new(own));
            }
        }
    }
}
