//! Numbers and strings in files: integers as LEB128, strings and bytes with their length before them.

use edge_core::DeviceId;

/// Bytes that do not say what they should; `at` counts from the start of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(crate) struct Malformed {
    pub(crate) what: &'static str,
    pub(crate) at: usize,
}

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// A difference, small in either direction.
pub(crate) fn put_delta(out: &mut Vec<u8>, value: u64, before: u64) {
    let delta = value.wrapping_sub(before).cast_signed();
    put_u64(out, ((delta << 1) ^ (delta >> 63)).cast_unsigned());
}

pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u64(out, len as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Reads what the functions above wrote. Never past the end, whatever the bytes say.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn malformed<T>(&self, what: &'static str) -> Read<T> {
        Err(Malformed { what, at: self.at })
    }

    pub(crate) fn u8(&mut self) -> Read<u8> {
        let Some(byte) = self.bytes.get(self.at) else {
            return self.malformed("the end, expected a byte");
        };
        self.at += 1;
        Ok(*byte)
    }

    pub(crate) fn u64(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return self.malformed("a number over 64 bits");
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.malformed("a number over 64 bits")
    }

    pub(crate) fn u32(&mut self) -> Read<u32> {
        let value = self.u64()?;
        u32::try_from(value).or_else(|_| self.malformed("a number over 32 bits"))
    }

    pub(crate) fn delta(&mut self, before: u64) -> Read<u64> {
        let value = self.u64()?;
        let delta = (value >> 1).cast_signed() ^ -((value & 1).cast_signed());
        Ok(before.wrapping_add(delta.cast_unsigned()))
    }

    /// A count of things that take at least one byte each: more than there are bytes is malformed, and
    /// nothing is allocated for it.
    pub(crate) fn count(&mut self) -> Read<usize> {
        let count = self.u64()?;
        let left = self.bytes.len() - self.at;
        match usize::try_from(count) {
            Ok(count) if count <= left => Ok(count),
            _ => self.malformed("a count beyond the end"),
        }
    }

    /// Where the bytes lie in what is read.
    pub(crate) fn range(&mut self) -> Read<std::ops::Range<usize>> {
        let len = self.count()?;
        let start = self.at;
        self.at += len;
        Ok(start..self.at)
    }

    pub(crate) fn bytes(&mut self) -> Read<&'a [u8]> {
        let range = self.range()?;
        Ok(&self.bytes[range])
    }

    pub(crate) fn str(&mut self) -> Read<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).or_else(|_| self.malformed("text that is not UTF-8"))
    }

    pub(crate) fn device(&mut self) -> Read<DeviceId> {
        let name = self.str()?;
        DeviceId::new(name).or_else(|_| self.malformed("a name that is no device id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(a: u64, b: u64, text: String, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_u64(&mut out, a);
            put_delta(&mut out, a, b);
            put_str(&mut out, &text);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u64(), Ok(a));
            prop_assert_eq!(reader.delta(b), Ok(a));
            prop_assert_eq!(reader.str(), Ok(text.as_str()));
            prop_assert_eq!(reader.bytes(), Ok(bytes.as_slice()));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_never_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.str().is_ok() && reader.delta(7).is_ok() && !reader.is_empty() {}
        }
    }
}
