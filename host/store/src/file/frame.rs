//! Headers of files and frames of records.
//!
//! ```text
//!   segment   0 magic "EDGE-LOG"   8 version u32   12 header length u32   16 log id [16]
//!            32 number u64        40 first lsn u64  48 reserved [12]      60 crc32 of 0..60
//!            64 records, one after the other, then zeros
//!
//!   record    0 length of the payload u32   4 crc32 of length, lsn and payload, seeded, u32   8 lsn u64   16 payload
//! ```
//! All numbers are little-endian. A length of 0 is the end: no payload is empty.

use crc32fast::Hasher;

use super::wire::Malformed;

/// Version of all formats of the log's files.
pub(crate) const VERSION: u32 = 1;
/// Bytes before the first record of a segment.
pub(crate) const HEADER: u32 = 64;
/// Bytes before a record's payload.
pub(crate) const FRAME: usize = 16;

const MAGIC: &[u8; 8] = b"EDGE-LOG";

/// Tells the files of one log from those of another.
pub(crate) type LogId = [u8; 16];

/// Begins the checksums of a log's records. It comes from the log's id, which nobody outside knows: a
/// message's body cannot pass for a record when a damaged place is searched for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn of(log: &LogId) -> Self {
        Self(crc32fast::hash(log))
    }
}

/// The head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) log: LogId,
    pub(crate) number: u64,
    pub(crate) first_lsn: u64,
}

/// What stands where a header is to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    /// One of ours.
    Good(Header),
    /// Nothing yet: the file was made and not used.
    Blank,
    /// A header of a version that this program does not know.
    Newer(u32),
    /// Something else.
    Damaged,
}

impl Header {
    pub(crate) fn write(&self) -> [u8; HEADER as usize] {
        let mut out = [0; HEADER as usize];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&HEADER.to_le_bytes());
        out[16..32].copy_from_slice(&self.log);
        out[32..40].copy_from_slice(&self.number.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_lsn.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> HeaderFound {
        let Some(bytes) = bytes.get(..HEADER as usize) else {
            return match bytes.iter().all(|byte| *byte == 0) {
                true => HeaderFound::Blank,
                false => HeaderFound::Damaged,
            };
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return HeaderFound::Blank;
        }
        if &bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return HeaderFound::Damaged;
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return HeaderFound::Newer(version);
        }
        let mut log = LogId::default();
        log.copy_from_slice(&bytes[16..32]);
        HeaderFound::Good(Self {
            log,
            number: u64_at(bytes, 32),
            first_lsn: u64_at(bytes, 40),
        })
    }
}

/// `at + 4` must not be past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// `at + 8` must not be past the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Leaves room for a frame; says where it begins.
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME]);
    start
}

/// Fills in the frame of the payload that was written since [`begin`].
pub(crate) fn finish(out: &mut [u8], start: usize, lsn: u64, seed: Seed) -> Result<(), TooLong> {
    let payload = start + FRAME;
    let len = u32::try_from(out.len() - payload).map_err(|_| TooLong)?;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 8..payload].copy_from_slice(&lsn.to_le_bytes());
    let crc = checksum(&out[start..], seed);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// A record of over 4 GiB.
#[derive(Debug)]
pub(crate) struct TooLong;

/// Of a frame and its payload.
fn checksum(frame: &[u8], seed: Seed) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed.0);
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    hasher.finalize()
}

/// A record that was found, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) lsn: u64,
    /// Of frame and payload.
    pub(crate) len: usize,
}

/// The record at the start of `bytes`; `None` where zeros stand for the end.
pub(crate) fn read(bytes: &[u8], seed: Seed) -> Result<Option<Frame>, Malformed> {
    let bad = |what| Err(Malformed { what, at: 0 });
    let Some(head) = bytes.get(..FRAME) else {
        return match bytes.iter().all(|byte| *byte == 0) {
            true => Ok(None),
            false => bad("half a record's frame"),
        };
    };
    let len = u32_at(head, 0) as usize;
    if len == 0 {
        // Garbage with a length of 0 is no end.
        return match head.iter().all(|byte| *byte == 0) {
            true => Ok(None),
            false => bad("a record without a length"),
        };
    }
    let Some(frame) = bytes.get(..FRAME + len) else {
        return bad("a record that is longer than the file");
    };
    if checksum(frame, seed) != u32_at(head, 4) {
        return bad("a record whose checksum is wrong");
    }
    Ok(Some(Frame {
        lsn: u64_at(head, 8),
        len: FRAME + len,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_any_bit_flipped_is_damaged() {
        let header = Header {
            log: [7; 16],
            number: 3,
            first_lsn: 99,
        };
        let good = header.write();
        assert_eq!(Header::read(&good), HeaderFound::Good(header));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::read(&bad), HeaderFound::Damaged, "bit {bit}");
        }
        assert_eq!(Header::read(&[0; 64]), HeaderFound::Blank);
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_refused() {
        let mut good = Vec::new();
        let start = begin(&mut good);
        good.extend_from_slice(b"payload");
        let seed = Seed::of(&[7; 16]);
        finish(&mut good, start, 5, seed).unwrap();
        let frame = Frame { lsn: 5, len: 23 };
        assert_eq!(read(&good, seed), Ok(Some(frame)));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad, seed).is_err(), "bit {bit}");
        }
        for cut in 1..good.len() {
            assert!(read(&good[..cut], seed).is_err(), "cut at {cut}");
        }
        assert_eq!(read(&[0; 40], seed), Ok(None));
        let foreign = Seed::of(&[8; 16]);
        assert!(read(&good, foreign).is_err(), "a record of another log");
    }
}
