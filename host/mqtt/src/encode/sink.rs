//! Where packets are written to: a buffer, or a count of the bytes that they would take.

use bytes::BytesMut;

use super::EncodeError;

/// Takes the bytes of a packet. Writing twice, once to count, is what spares a buffer in between: lengths
/// stand before what they measure.
pub(crate) trait Sink {
    /// Takes bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Takes bytes with their length in two bytes before them.
    fn binary(&mut self, bytes: &[u8]);

    fn u8(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    fn u16(&mut self, number: u16) {
        self.put(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    /// A variable byte integer (1.5.5), at most 268 435 455.
    fn varint(&mut self, number: u32) {
        let mut rest = number;
        loop {
            let low = rest.to_le_bytes()[0] & 0x7f;
            rest >>= 7;
            if rest == 0 {
                return self.u8(low);
            }
            self.u8(low | 0x80);
        }
    }

    /// A length that [`super::fits`] let pass.
    fn length(&mut self, len: usize) {
        self.varint(u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn u8_property(&mut self, id: u8, value: u8) {
        self.put(&[id, value]);
    }

    fn u16_property(&mut self, id: u8, value: u16) {
        self.u8(id);
        self.u16(value);
    }

    fn u32_property(&mut self, id: u8, value: u32) {
        self.u8(id);
        self.put(&value.to_be_bytes());
    }

    fn text_property(&mut self, id: u8, value: Option<&str>) {
        if let Some(text) = value {
            self.u8(id);
            self.text(text);
        }
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    /// Of what is longer than a length can say, which [`Count`] refuses before, it writes the beginning.
    fn binary(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(len);
        self.extend_from_slice(&bytes[..usize::from(len)]);
    }
}

/// Counts, and notes what is too long to be said.
#[derive(Debug, Default)]
pub(crate) struct Count {
    len: usize,
    too_long: Option<usize>,
}

impl Count {
    /// The bytes counted, with what is too long.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The bytes counted.
    pub(crate) fn finish(self, packet: &'static str) -> Result<usize, EncodeError> {
        match self.too_long {
            None => Ok(self.len),
            Some(len) => Err(EncodeError::TextTooLong { packet, len }),
        }
    }
}

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
    }

    fn binary(&mut self, bytes: &[u8]) {
        if bytes.len() > usize::from(u16::MAX) {
            self.too_long = Some(bytes.len());
        }
        self.len += 2 + bytes.len();
    }
}

/// Bytes of a variable byte integer.
pub(super) const fn varint_len(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
