//! Opening: from files to the state after the last whole record.
//!
//! ```text
//!   newest whole snapshot ─► records of its active segment and of those after it, one by one
//!                                │ next lsn: do what it says
//!                                │ no record here: is there proof, in a later record, that this was
//!                                │   durable?  yes: damage, go on behind it    no: torn tail, cut
//!                                ▼
//!   the last segment is written on, or the next one begun
//! ```

use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskError, DiskFile};
use super::frame::{HEADER, Header, HeaderFound, LogId, Seed, VERSION};
use super::index;
use super::message::Origins;
use super::queue::Index;
use super::record::{Encoder, Kind, Record};
use super::scan::{Found, Next, Scan};
use super::snapshot::{self, Snapshot, SnapshotError};
use super::state::{At, Segment, State};
use super::upkeep::Spare;
use super::{Active, FileLogConfig, Inner, Stop, segment_name};
use crate::{Change, Lsn, QueueId, SetAside, StateTables, TableError};

/// What opening a log found.
#[derive(Debug, Default)]
pub struct Opening {
    /// There was no log yet.
    pub created: bool,
    /// The newest commit.
    pub lsn: Lsn,
    /// Records read after the snapshot.
    pub replayed: u64,
    /// What was written last and never acknowledged.
    pub torn: Option<Torn>,
    /// What was on the device and cannot be read.
    pub damage: Vec<Damage>,
    /// The state tables were damaged and are kept aside.
    pub set_aside: Option<SetAside>,
    /// Modules whose keys are lost with the state tables, but for those set since the last snapshot.
    pub lost_state: Vec<String>,
}

/// A tail that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes behind that, zeros not counted.
    pub bytes: u64,
}

/// A place that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What stands there.
    pub what: String,
    /// Commits that are lost with it.
    pub commits: u64,
    /// Entries that are known to be lost.
    pub entries: u64,
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The state tables.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// A file cannot be read or made.
    #[error("cannot {doing} {file}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A newer version of this program wrote it.
    #[error("{file} has format {found}, this program knows {VERSION}; start the newer program")]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// Files of two logs in one directory.
    #[error("{file} belongs to another log; move it elsewhere")]
    Foreign {
        /// The file.
        file: String,
    },
    /// A setting that no log can have.
    #[error("segment size {0} is out of range, expected 64KiB to 1GiB")]
    SegmentSize(edge_core::ByteSize),
    /// No thread.
    #[error("cannot start a thread of the log: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

pub(crate) struct Recovered {
    pub(crate) id: LogId,
    pub(crate) inner: Inner,
    pub(crate) opening: Opening,
}

/// How far the state tables were when the newest whole snapshot was made.
pub(crate) fn tables_seen(disk: &dyn Disk) -> Result<Lsn, OpenError> {
    let files = list(disk)?;
    for lsn in snapshots(&files) {
        let file = read_file(disk, &snapshot::name(lsn))?;
        if let Ok(snapshot) = Snapshot::read(&file) {
            return Ok(Lsn(snapshot.applied));
        }
    }
    Ok(Lsn(0))
}

fn list(disk: &dyn Disk) -> Result<Vec<(String, u64)>, OpenError> {
    disk.list().map_err(|source| OpenError::Io {
        doing: "list",
        file: disk.name(),
        source,
    })
}

/// The snapshots among the files, newest first.
fn snapshots(files: &[(String, u64)]) -> Vec<u64> {
    let mut known: Vec<u64> = files
        .iter()
        .filter_map(|(name, _)| snapshot::lsn_of(name))
        .collect();
    known.sort_unstable_by(|a, b| b.cmp(a));
    known
}

fn open(disk: &dyn Disk, name: &str) -> Result<Arc<dyn DiskFile>, OpenError> {
    disk.open(name).map_err(|source| OpenError::Io {
        doing: "open",
        file: name.to_owned(),
        source,
    })
}

fn read_file(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, OpenError> {
    let file = open(disk, name)?;
    let read = || {
        let len = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    read().map_err(|source| OpenError::Io {
        doing: "read",
        file: name.to_owned(),
        source,
    })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    tables: &'a dyn StateTables,
    size: u64,
    state: State,
    id: Option<LogId>,
    opening: Opening,
    origins: Origins,
    /// Records up to this one are in the snapshot.
    snapshot: u64,
    /// And keys up to this one in the tables.
    keys_upto: u64,
}

pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    tables: &Arc<dyn StateTables>,
    config: &FileLogConfig,
) -> Result<Recovered, OpenError> {
    let size = config.segment_size;
    if !(FileLogConfig::MIN_SEGMENT..=FileLogConfig::MAX_SEGMENT).contains(&size) {
        return Err(OpenError::SegmentSize(size));
    }
    let recovery = Recovery {
        disk: &**disk,
        tables: &**tables,
        size: size.0,
        state: State::new(config.cache.0),
        id: None,
        opening: Opening::default(),
        origins: Origins::default(),
        snapshot: 0,
        keys_upto: tables.applied().0,
    };
    recovery.run()
}

impl Recovery<'_> {
    fn run(mut self) -> Result<Recovered, OpenError> {
        let files = list(self.disk)?;
        let mut numbers: Vec<u64> = files
            .iter()
            .filter_map(|(name, _)| name.strip_suffix(".log")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".new")) {
            self.remove(name)?;
        }
        let start = self.take_snapshot(&files, &numbers)?;
        // A segment that the snapshot does not know was dropped, and its file was left.
        for number in numbers.iter().filter(|number| **number < start) {
            if !self.state.segments.contains_key(number) {
                self.remove(&segment_name(*number))?;
            }
        }
        self.find_id(&files, &numbers)?;
        numbers.retain(|number| *number >= start);
        let tail = self.scan_all(&numbers)?;
        if self.tables.applied().0 > self.state.lsn {
            self.damage(
                "state",
                0,
                "the tables are ahead of the log, which lost its end",
                0,
            );
            self.state.lsn = self.tables.applied().0;
        }
        self.finish(tail)
    }

    /// Begins with the newest whole snapshot, if there is one; says in which segment to read on.
    fn take_snapshot(
        &mut self,
        files: &[(String, u64)],
        numbers: &[u64],
    ) -> Result<u64, OpenError> {
        for lsn in snapshots(files) {
            let file = snapshot::name(lsn);
            match Snapshot::read(&read_file(self.disk, &file)?) {
                Ok(mut snapshot) => {
                    self.id = Some(snapshot.log);
                    self.snapshot = snapshot.lsn;
                    self.state.restore(&mut snapshot);
                    self.forget_missing(numbers);
                    self.restore_tables(&snapshot)?;
                    self.keys_upto = self.tables.applied().0.max(snapshot.keys_upto);
                    return Ok(self.first_to_read(snapshot.active));
                }
                Err(SnapshotError::Newer(found)) => return Err(OpenError::Newer { file, found }),
                Err(error) => self.damage(&file, 0, &error.to_string(), 0),
            }
        }
        Ok(0)
    }

    /// Keys may have been set, and not applied, before the segment that the snapshot ends in.
    fn first_to_read(&self, active: u64) -> u64 {
        let later = |(_, segment): &(&u64, &Segment)| segment.last_lsn > self.keys_upto;
        let first = self.state.segments.iter().find(later);
        first.map_or(active, |(number, _)| (*number).min(active))
    }

    /// The id that checksums are seeded with: of the snapshot, of its own file, or of any header.
    fn find_id(&mut self, files: &[(String, u64)], numbers: &[u64]) -> Result<(), OpenError> {
        if self.id.is_none() && files.iter().any(|(name, _)| name == ID) {
            let bytes = read_file(self.disk, ID)?;
            self.id = id_in(&bytes);
            if self.id.is_none() {
                self.damage(ID, 0, "it is no id with its checksum", 0);
            }
        }
        for number in numbers {
            if self.id.is_some() {
                break;
            }
            let mut bytes = [0; HEADER as usize];
            let name = segment_name(*number);
            let read = open(self.disk, &name)?.read_at(&mut bytes, 0);
            read.map_err(|source| OpenError::Io {
                doing: "read",
                file: name,
                source,
            })?;
            if let HeaderFound::Good(header) = Header::read(&bytes) {
                self.id = Some(header.log);
            }
        }
        Ok(())
    }

    fn seed(&self) -> Seed {
        Seed::of(&self.id.unwrap_or_default())
    }

    fn forget_missing(&mut self, numbers: &[u64]) {
        let known: Vec<u64> = self.state.segments.keys().copied().collect();
        for number in known {
            if numbers.binary_search(&number).is_err() {
                let lost = self.state.forget_segment(number);
                if lost > 0 {
                    self.damage(&segment_name(number), 0, "the file is missing", lost);
                }
            }
        }
    }

    /// Tables that are behind the snapshot were lost: the small ones are in it.
    fn restore_tables(&mut self, snapshot: &Snapshot) -> Result<(), OpenError> {
        if self.tables.applied().0 >= snapshot.applied {
            return Ok(());
        }
        let keepers = self.state.keepers.iter();
        self.opening.lost_state = keepers
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        let pairs = snapshot.pairs.iter();
        let changes: Vec<Change<'_>> = pairs
            .map(|(table, key, value)| Change {
                table: *table,
                key,
                value: Some(value),
            })
            .collect();
        Ok(self.tables.apply(&changes, Lsn(snapshot.applied))?)
    }

    /// Reads segments one after the other. Says which one is to be written on.
    fn scan_all(&mut self, numbers: &[u64]) -> Result<Option<Tail>, OpenError> {
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
            end.offset = (found.offset + super::frame::FRAME + found.payload.len()) as u64;
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
    fn seal(&mut self, number: u64) {
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

    fn finish(mut self, tail: Option<Tail>) -> Result<Recovered, OpenError> {
        let id = match self.id {
            Some(id) => id,
            None => self.new_id()?,
        };
        if self.state.gaps > 0 {
            let lost = self.state.gaps;
            self.damage("queues", 0, "the records of entries are lost", lost);
        }
        self.opening.created = tail.is_none() && self.snapshot == 0;
        self.opening.lsn = Lsn(self.state.lsn);
        let mut buffer = Vec::new();
        let (active, buffer_at) = match tail {
            Some(tail) if !tail.sealed => {
                let end = tail.end;
                if !tail.header_is_good {
                    self.write_header(&tail, id)?;
                }
                let active = Active {
                    number: tail.number,
                    file: tail.file,
                    end,
                };
                (active, end)
            }
            tail => {
                let last = self.state.segments.last_key_value().map_or(0, |(n, _)| *n);
                let number = tail.as_ref().map_or(last, |tail| tail.number) + 1;
                if let Some(tail) = tail {
                    self.seal(tail.number);
                }
                let name = segment_name(number);
                let file = self
                    .disk
                    .create(&name, self.size)
                    .map_err(|source| OpenError::Io {
                        doing: "make",
                        file: name,
                        source,
                    })?;
                let header = Header {
                    log: id,
                    number,
                    first_lsn: self.state.lsn + 1,
                };
                buffer.extend_from_slice(&header.write());
                let segment = Segment {
                    end: HEADER.into(),
                    last_lsn: self.state.lsn,
                    ..Segment::default()
                };
                self.state.segments.insert(number, segment);
                let active = Active {
                    number,
                    file,
                    end: HEADER.into(),
                };
                (active, 0)
            }
        };
        for (number, segment) in &mut self.state.segments {
            segment.sealed = *number != active.number;
        }
        for queue in &mut self.state.queues {
            queue.window.start = queue.next;
            queue.window.read_to = match queue.waiting {
                0 => queue.next,
                _ => queue.low,
            };
        }
        let inner = Inner {
            active,
            buffer,
            buffer_at,
            encoder: Encoder::default(),
            pieces: std::collections::VecDeque::new(),
            recycled: Vec::new(),
            pending: 0,
            spare: Spare::Wanted,
            failed: None,
            stop: Stop::No,
            snapshot_due: false,
            last_snapshot: 0,
            since_snapshot: 0,
            undefined: Vec::new(),
            compact_after: None,
            tight: false,
            urgent: false,
            dropped_for_room: false,
            state: self.state,
        };
        Ok(Recovered {
            id,
            inner,
            opening: self.opening,
        })
    }

    fn write_header(&self, tail: &Tail, log: LogId) -> Result<(), OpenError> {
        let header = Header {
            log,
            number: tail.number,
            first_lsn: self.state.lsn + 1,
        };
        let written = tail.file.write_at(&header.write(), 0);
        written
            .and_then(|()| tail.file.sync())
            .map_err(|source| OpenError::Io {
                doing: "write the header of",
                file: segment_name(tail.number),
                source,
            })
    }

    fn damage(&mut self, file: &str, offset: u64, what: &str, entries: u64) {
        self.opening.damage.push(Damage {
            file: file.to_owned(),
            offset,
            what: what.to_owned(),
            commits: 0,
            entries,
        });
    }

    fn torn(&mut self, file: &str, offset: usize, scan: &Scan) {
        self.opening.torn = Some(Torn {
            file: file.to_owned(),
            offset: offset as u64,
            bytes: scan.bytes_from(offset),
        });
    }

    fn remove(&self, name: &str) -> Result<(), OpenError> {
        self.disk.remove(name).map_err(|source| OpenError::Io {
            doing: "remove",
            file: name.to_owned(),
            source,
        })
    }
}

/// The last segment that was used.
struct Tail {
    number: u64,
    file: Arc<dyn DiskFile>,
    end: u64,
    /// It ends with its index: the next record goes to a new one.
    sealed: bool,
    header_is_good: bool,
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

/// The file that has the id of the log, beside snapshots and headers: without it nothing can be read.
const ID: &str = "log-id";

/// An id and its checksum.
fn id_in(bytes: &[u8]) -> Option<LogId> {
    let (id, crc) = bytes.split_first_chunk::<16>()?;
    (crc == crc32fast::hash(id).to_le_bytes()).then_some(*id)
}

impl Recovery<'_> {
    fn new_id(&self) -> Result<LogId, OpenError> {
        let mut id = LogId::default();
        let drawn = getrandom::fill(&mut id).map_err(io::Error::other);
        let mut file = id.to_vec();
        file.extend_from_slice(&crc32fast::hash(&id).to_le_bytes());
        drawn
            .and_then(|()| self.disk.replace(ID, &file))
            .map_err(|source| OpenError::Io {
                doing: "write",
                file: ID.to_owned(),
                source,
            })?;
        Ok(id)
    }
}
