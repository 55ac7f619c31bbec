//! Reading a segment from end to end.

use std::io;

use bytes::Bytes;

use super::disk::DiskFile;
use super::frame::{self, FRAME, HEADER, HeaderFound, Seed};
use super::record::Kind;

/// A whole segment in memory.
#[derive(Clone)]
pub(crate) struct Scan {
    bytes: Bytes,
    at: usize,
    seed: Seed,
}

/// A record of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) offset: usize,
    pub(crate) lsn: u64,
    pub(crate) payload: Bytes,
}

/// Bytes of an allocation that is certain to go back to the system when it is freed. Smaller ones do so
/// only at first: with each, glibc raises the size from which it does, up to 32 MiB, and a process that
/// read some segments would keep the memory of one for good. What is not used of it is never touched.
const MAPPED: usize = 33 << 20;

/// What comes next in a segment.
pub(crate) enum Next {
    Record(Found),
    /// Zeros: the end.
    End,
    /// No record here.
    Bad {
        offset: usize,
        what: &'static str,
    },
}

impl Scan {
    /// Reads a segment; `limit` bytes of it, or all.
    pub(crate) fn open(file: &dyn DiskFile, limit: Option<u64>, seed: Seed) -> io::Result<Self> {
        let len = limit.map_or_else(|| file.size(), Ok)?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = Vec::with_capacity(len.max(MAPPED));
        bytes.resize(len, 0);
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Self {
            bytes: bytes.into(),
            at: HEADER as usize,
            seed,
        })
    }

    pub(crate) fn header(&self) -> HeaderFound {
        frame::Header::read(&self.bytes)
    }

    /// Whether nothing but zeros follows.
    pub(crate) fn rest_is_blank(&self) -> bool {
        self.bytes_from(self.at()) == 0
    }

    /// Bytes from `offset` on, zeros at the end not counted.
    pub(crate) fn bytes_from(&self, offset: usize) -> u64 {
        let rest = &self.bytes[offset.min(self.bytes.len())..];
        let used = rest.iter().rposition(|byte| *byte != 0);
        used.map_or(0, |last| last as u64 + 1)
    }

    pub(crate) fn at(&self) -> usize {
        self.at.min(self.bytes.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn next(&mut self) -> Next {
        let offset = self.at();
        match frame::read(&self.bytes[offset..], self.seed) {
            Ok(Some(frame)) => {
                self.at = offset + frame.len;
                Next::Record(Found {
                    offset,
                    lsn: frame.lsn,
                    payload: self.bytes.slice(offset + FRAME..offset + frame.len),
                })
            }
            Ok(None) if self.bytes[offset..].iter().all(|byte| *byte == 0) => Next::End,
            Ok(None) => Next::Bad {
                offset,
                what: "zeros before the end",
            },
            Err(malformed) => Next::Bad {
                offset,
                what: malformed.what,
            },
        }
    }

    /// The first whole record behind a bad one whose lsn may follow on `lsn`. The scan goes on there.
    pub(crate) fn skip_to_record(&mut self, lsn: u64) -> Option<Found> {
        for offset in self.at() + 1..self.bytes.len().saturating_sub(FRAME) {
            let bytes = &self.bytes[offset..];
            // Numbers rise by one a record, so few places need their checksum looked at.
            let found = frame::u64_at(bytes, 8);
            if found < lsn || found - lsn > 1 << 32 || frame::u32_at(bytes, 0) == 0 {
                continue;
            }
            if let Ok(Some(frame)) = frame::read(bytes, self.seed) {
                self.at = offset + frame.len;
                return Some(Found {
                    offset,
                    lsn: frame.lsn,
                    payload: self.bytes.slice(offset + FRAME..offset + frame.len),
                });
            }
        }
        None
    }
}

impl Found {
    /// Its kind, and the newest commit that was durable when it was written.
    pub(crate) fn kind(&self) -> Option<(Kind, u64)> {
        let (kind, behind) = Kind::of(&self.payload).ok()?;
        Some((kind, self.lsn.saturating_sub(behind)))
    }
}
