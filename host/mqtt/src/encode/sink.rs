//! Where packets are written to: a buffer, or a count of the bytes that they would take.

use bytes::BytesMut;

use super::EncodeError;

/// Identifiers of properties (2.2.2.2).
pub(crate) mod property {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1a;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1c;
    pub(crate) const REASON_STRING: u8 = 0x1f;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER: u8 = 0x26;
    pub(crate) const MAX_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2a;
}

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
