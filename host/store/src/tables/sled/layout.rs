//! What stands in sled's keys and values. Numbers are big-endian.
//!
//! ```text
//!   0x00                                      ► header
//!   table | key                               ► 0 | value                  up to 4 KiB
//!                                               1 | id u64 | length u32    longer: in pieces
//!   0x80+table | id u64 | n u32               ► piece n                    4 KiB, the last one less
//!
//!   header  "edst" | format u32 | applied u64 | pairs u64 | sum u64 | last id u64 | crc32 of all before
//! ```
//!
//! `pairs` and `sum` are over all other keys: how many, and the sum of the crc32 of each.

use super::fault::Fault;
use crate::{Lsn, Table};

/// The header's key.
pub(super) const HEADER_KEY: &[u8] = &[0];

/// Bytes before a key.
pub(super) const CODE: usize = 1;

/// Longest value in one pair of sled's, in bytes. sled keeps up to 20 pairs on a page, and pages must
/// stay small for their own sake and so that they are not put in files that sled does not sync.
pub(super) const PIECE: usize = 4 << 10;

/// The format that is written.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 4] = *b"edst";
const WHOLE: u8 = 0;
const PIECES: u8 = 1;
const PIECE_KEYS: u8 = 0x80;

/// sled's key of a key.
pub(super) fn head_key(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table.code()], key].concat()
}

/// sled's key of a piece of a long value. It has no part of the key in it, because between pieces of one
/// value sled would need all of the key to tell its pages apart.
pub(super) fn piece_key(table: Table, id: u64, n: u32) -> Vec<u8> {
    [
        &[PIECE_KEYS | table.code()],
        &id.to_be_bytes()[..],
        &n.to_be_bytes(),
    ]
    .concat()
}

/// What a key's pair says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// The value.
    Whole(&'a [u8]),
    /// It is long, and in pieces.
    Pieces { id: u64, len: u32 },
}

impl<'a> Stored<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        match bytes.split_first() {
            Some((&WHOLE, value)) => Ok(Self::Whole(value)),
            Some((&PIECES, rest)) => match (rest.first_chunk(), rest.last_chunk()) {
                (Some(id), Some(len)) if rest.len() == 12 => Ok(Self::Pieces {
                    id: u64::from_be_bytes(*id),
                    len: u32::from_be_bytes(*len),
                }),
                _ => Err(Fault::damage("a long value does not say how long")),
            },
            _ => Err(Fault::damage("a value of unknown kind")),
        }
    }

    pub(super) fn write(self) -> Vec<u8> {
        match self {
            Self::Whole(value) => [&[WHOLE], value].concat(),
            Self::Pieces { id, len } => {
                [&[PIECES], &id.to_be_bytes()[..], &len.to_be_bytes()].concat()
            }
        }
    }

    /// How many further pairs there are.
    pub(super) fn pieces(self) -> u32 {
        const PIECE_LEN: u32 = 4 << 10;
        const { assert!(PIECE_LEN as usize == PIECE) };
        match self {
            Self::Whole(_) => 0,
            Self::Pieces { len, .. } => len.div_ceil(PIECE_LEN),
        }
    }
}

/// Says of the other pairs what they must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) applied: Lsn,
    pub(super) pairs: u64,
    pub(super) sum: u64,
    /// The newest id that a long value got.
    pub(super) last_id: u64,
}

impl Header {
    const LEN: usize = 44;

    pub(super) fn count(&mut self, key: &[u8], value: &[u8]) {
        self.pairs = self.pairs.wrapping_add(1);
        self.sum = self.sum.wrapping_add(check(key, value));
    }

    pub(super) fn forget(&mut self, key: &[u8], value: &[u8]) {
        self.pairs = self.pairs.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(check(key, value));
    }

    pub(super) fn write(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_be_bytes());
        bytes.extend(self.applied.0.to_be_bytes());
        bytes.extend(self.pairs.to_be_bytes());
        bytes.extend(self.sum.to_be_bytes());
        bytes.extend(self.last_id.to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let bad = || Fault::damage("the header of the tables is not one");
        let (said, crc) = bytes.split_last_chunk::<4>().ok_or_else(bad)?;
        let rest = said.strip_prefix(&MAGIC).ok_or_else(bad)?;
        if crc32fast::hash(said) != u32::from_be_bytes(*crc) {
            return Err(bad());
        }
        // Later formats keep magic, number and checksum where they are.
        let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        let format = u32::from_be_bytes(*format);
        if format > FORMAT {
            return Err(Fault::NewerFormat(format));
        }
        let (numbers, more) = rest.as_chunks::<8>();
        match numbers {
            [applied, pairs, sum, last_id] if more.is_empty() => Ok(Self {
                applied: Lsn(u64::from_be_bytes(*applied)),
                pairs: u64::from_be_bytes(*pairs),
                sum: u64::from_be_bytes(*sum),
                last_id: u64::from_be_bytes(*last_id),
            }),
            _ => Err(bad()),
        }
    }
}

fn check(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    u64::from(hasher.finalize())
}
