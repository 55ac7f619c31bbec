//! Reading segments again, record by record, and what to make of places where there is none.

use std::sync::Arc;

use super::super::disk::DiskFile;
use super::super::frame::{FRAME, HEADER, HeaderFound};
use super::super::index;
use super::super::queue::Index;
use super::super::record::{Kind, Record};
use super::super::scan::{Found, Next, Scan};
use super::super::segment_name;
use super::super::state::At;
use super::{Recovery, open};
use crate::QueueId;
use crate::file::opening::OpenError;

impl Recovery<'_> {
    /// Reads segments one after the other. Says which one is to be written on.
    pub(super) fn scan_all(&mut self, numbers: &[u64]) -> Result<Option<Tail>, OpenError> {
        let mut tail: Option<Tail> = None;
        let mut blank: Vec<u64> = Vec::new();
        for (at, number) in numbers.iter().enumerate() {
            let name = segment_name(*number);
            let file = open(self.disk, &name)?;
            let scan = Scan::open(&*file, None, self.seed()).map_err(|source| OpenError::Io {
                doing: "read",
                file: name.clone(),
                source,
            })?;
            if !self.check_header(&scan, *number)? {
                blank.push(*number);
                continue;
            }
            if let Some(before) = tail.take() {
                self.seal(before.number);
            }
            let (end, cut) = self.scan(scan, *number, &numbers[at + 1..])?;
            let mut this = Tail {
                number: *number,
                file,
                end: end.offset,
                sealed: end.sealed,
                header_is_good: end.header_is_good,
            };
            if cut {
                self.cut(&mut this, &numbers[at + 1..])?;
                blank.clear();
                tail = Some(this);
                break;
            }
            tail = Some(this);
        }
        // A segment that was made ahead is as good as a new one; there is one at most.
        for number in blank {
            self.remove(&segment_name(number))?;
        }
        Ok(tail)
    }

    /// Says whether the segment was used.
    fn check_header(&mut self, scan: &Scan, number: u64) -> Result<bool, OpenError> {
        let file = segment_name(number);
        match scan.header() {
            HeaderFound::Good(header) => {
                if *self.id.get_or_insert(header.log) != header.log || header.number != number {
                    return Err(OpenError::Foreign { file });
                }
                Ok(true)
            }
            HeaderFound::Newer(found) => Err(OpenError::Newer { file, found }),
            HeaderFound::Blank => Ok(!scan.rest_is_blank()),
            HeaderFound::Damaged => Ok(true),
        }
    }

    /// Reads the records of a segment. Says where they end, and whether the log ends there.
    fn scan(
        &mut self,
        mut scan: Scan,
        number: u64,
        later: &[u64],
    ) -> Result<(End, bool), OpenError> {
        let file = segment_name(number);
        let known = self.state.segments.entry(number).or_default();
        known.end = HEADER.into();
        let header_is_good = matches!(scan.header(), HeaderFound::Good(_));
        let mut header_named = header_is_good;
        let first = self.state.lsn + 1;
        let mut end = End {
            offset: HEADER.into(),
            sealed: false,
            header_is_good,
        };
        loop {
            let (found, bad) = match scan.next() {
                Next::End => break,
                Next::Record(found) if self.follows(&found) => (Some(found), None),
                Next::Record(found) => {
                    let offset = found.offset;
                    let ahead = found.lsn > self.state.lsn && found.kind().is_some();
                    let found = match ahead {
                        true => Some(found),
                        false => scan.skip_to_record(self.state.lsn + 1),
                    };
                    (found, Some((offset, "a gap in the log")))
                }
                Next::Bad { offset, what } => {
                    (scan.skip_to_record(self.state.lsn), Some((offset, what)))
                }
            };
            if let Some((offset, what)) = bad {
                match self.judge(found.as_ref(), &scan, later)? {
                    Verdict::Torn => {
                        end.offset = offset as u64;
                        end.sealed = false;
                        self.torn(&file, offset, &scan);
                        return Ok((end, true));
                    }
                    Verdict::Damaged { commits } => {
                        self.damage(&file, offset as u64, what, 0);
                        if let Some(last) = self.opening.damage.last_mut() {
                            last.commits = commits;
                        }
                    }
                }
            }
            let Some(found) = found else {
                // The rest of this segment is lost, the next one goes on.
                end.offset = scan.len() as u64;
                break;
            };
            let old = found.lsn <= self.state.lsn && !self.follows(&found);
            if bad.is_some() && old {
                continue;
            }
            // A header that was never durable is no damage; it is written again either way.
            let durable = found.kind().map_or(0, |(_, durable)| durable);
            if !header_named && (durable >= first || found.lsn <= self.snapshot) {
                self.damage(&file, 0, "the header is damaged", 0);
                header_named = true;
            }
            end.sealed = self.take(&found, number, &file);
            end.offset = (found.offset + FRAME + found.payload.len()) as u64;
            let lsn = self.state.lsn;
            if let Some(segment) = self.state.segments.get_mut(&number) {
                segment.end = end.offset;
                segment.last_lsn = found.lsn.min(lsn);
            }
        }
        Ok((end, false))
    }

    /// Whether a record is the one that comes next, or one that the snapshot has.
    fn follows(&self, found: &Found) -> bool {
        match found.kind() {
            Some((Kind::Index, _)) => found.lsn <= self.state.lsn,
            Some(_) => found.lsn <= self.snapshot || found.lsn == self.state.lsn + 1,
            None => false,
        }
    }

    /// Something is missing before `found`, or before the end of the segment.
    fn judge(
        &self,
        found: Option<&Found>,
        rest: &Scan,
        later: &[u64],
    ) -> Result<Verdict, OpenError> {
        let expected = self.state.lsn + 1;
        // An index has the number of the last commit before it.
        let missing = |found: &Found| match found.kind() {
            Some((Kind::Index, _)) => found.lsn.saturating_sub(expected - 1),
            _ => found.lsn.saturating_sub(expected),
        };
        let proof = |found: &Found| found.kind().is_some_and(|(_, durable)| durable >= expected);
        let mut commits = found.map(missing);
        let mut proved = found.is_some_and(proof);
        let mut rest = rest.clone();
        let mut scans = later.iter();
        while !proved && commits != Some(0) {
            match rest.next() {
                Next::Record(found) => {
                    commits = commits.or(Some(missing(&found)));
                    proved = proof(&found);
                }
                Next::Bad { .. } if let Some(found) = rest.skip_to_record(expected) => {
                    commits = commits.or(Some(missing(&found)));
                    proved = proof(&found);
                }
                Next::End | Next::Bad { .. } => {
                    let Some(number) = scans.next() else {
                        break;
                    };
                    let name = segment_name(*number);
                    let file = open(self.disk, &name)?;
                    rest =
                        Scan::open(&*file, None, self.seed()).map_err(|source| OpenError::Io {
                            doing: "read",
                            file: name,
                            source,
                        })?;
                }
            }
        }
        Ok(match commits {
            // What cannot be read held no commit: an index.
            Some(0) => Verdict::Damaged { commits: 0 },
            Some(commits) if proved => Verdict::Damaged { commits },
            _ => Verdict::Torn,
        })
    }

    /// Does what a record says. Says whether it is the last of its segment.
    fn take(&mut self, found: &Found, number: u64, file: &str) -> bool {
        let Some((kind, _)) = found.kind() else {
            return false;
        };
        if kind == Kind::Index {
            match index::decode(&found.payload, found.offset as u64) {
                Ok(extents) => self.install(number, &extents),
                Err(error) => self.damage(file, found.offset as u64, &error.to_string(), 0),
            }
            self.state.lsn = self.state.lsn.max(found.lsn);
            return true;
        }
        let at = At {
            lsn: found.lsn,
            segment: number,
            offset: u32::try_from(found.offset).unwrap_or(u32::MAX),
        };
        let again = found.lsn <= self.snapshot;
        if kind == Kind::Closed {
            self.state.lsn = self.state.lsn.max(found.lsn);
            return false;
        }
        let record = match Record::read(&found.payload, &mut self.origins) {
            Ok(record) => record,
            Err(error) => {
                self.damage(file, found.offset as u64, &error.to_string(), 0);
                self.state.lsn = self.state.lsn.max(found.lsn);
                return false;
            }
        };
        let puts = found.lsn > self.keys_upto;
        if again {
            if puts {
                self.state.replay_puts(record.puts);
            }
            for entry in &record.entries {
                self.state.found_again(entry.queue, entry.seq, at);
            }
            for letter in &record.letters {
                self.state
                    .found_again(QueueId::DEAD_LETTERS, letter.seq, at);
            }
            return false;
        }
        self.opening.replayed += 1;
        self.state.replay(kind, record, at, puts);
        false
    }

    /// Takes the places of a full segment out of memory where its index has the same.
    fn install(&mut self, number: u64, extents: &[index::WrittenExtent]) {
        for written in extents {
            let Some(queue) = self.state.queue_mut(written.queue) else {
                continue;
            };
            let Some(at) = queue.extent(written.last) else {
                continue;
            };
            let extent = &mut queue.extents[at];
            if extent.segment == number
                && extent.last == written.last
                && extent.first >= written.first
            {
                extent.index = written.index.clone();
            }
        }
    }

    /// A segment is not written any more: the places that are in memory stay as they are.
    pub(super) fn seal(&mut self, number: u64) {
        if let Some(segment) = self.state.segments.get_mut(&number) {
            segment.sealed = true;
        }
        for queue in self.state.queues.iter_mut().chain([&mut self.state.dead]) {
            for extent in queue.extents.iter_mut().filter(|e| e.segment == number) {
                if let Index::Open(places) = &mut extent.index {
                    extent.index = Index::Sealing(Arc::new(std::mem::take(places)));
                }
            }
        }
    }

    /// Takes away what was never acknowledged, so that it cannot come back behind what is written next.
    fn cut(&mut self, tail: &mut Tail, later: &[u64]) -> Result<(), OpenError> {
        let failed = |file: String| {
            move |source| OpenError::Io {
                doing: "cut the torn end of",
                file,
                source,
            }
        };
        for number in later {
            let name = segment_name(*number);
            let file = open(self.disk, &name)?;
            file.zero_from(0, 0).map_err(failed(name.clone()))?;
            self.remove(&name)?;
        }
        let name = segment_name(tail.number);
        tail.file
            .zero_from(tail.end, self.size)
            .map_err(failed(name))
    }
}

/// The last segment that was used.
pub(super) struct Tail {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) end: u64,
    /// It ends with its index: the next record goes to a new one.
    pub(super) sealed: bool,
    pub(super) header_is_good: bool,
}

/// Where the records of a segment end.
struct End {
    offset: u64,
    sealed: bool,
    header_is_good: bool,
}

enum Verdict {
    /// It was never durable, nor anything behind it.
    Torn,
    /// It was durable; so many commits are lost.
    Damaged { commits: u64 },
}
