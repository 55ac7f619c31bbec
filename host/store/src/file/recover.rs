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

mod segments;

use segments::Tail;

use super::disk::{Disk, DiskFile};
use super::frame::{HEADER, Header, HeaderFound, LogId, Seed};
use super::message::Origins;
use super::opening::{Damage, OpenError, Opening, Torn};
use super::record::Encoder;
use super::scan::Scan;
use super::snapshot::{self, Snapshot, SnapshotError};
use super::state::{Segment, State};
use super::upkeep::Spare;
use super::{Active, FileLogConfig, Inner, Stop, segment_name};
use crate::{Change, Lsn, StateTables};

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
