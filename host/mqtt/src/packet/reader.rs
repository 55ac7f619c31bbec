//! Reads the fields of one packet and knows where it is.

use super::PacketError;

/// A part of a packet that is being read.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    pub(super) packet: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Over a packet without its fixed header.
    pub(super) const fn new(packet: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            packet,
            bytes,
            at: 0,
        }
    }

    /// Bytes from the end of the fixed header.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left() == 0
    }

    pub(super) fn malformed(&self, what: &'static str, clause: &'static str) -> PacketError {
        PacketError::malformed(self.packet, what, clause).at(self.at)
    }

    pub(super) fn protocol(&self, what: &'static str, clause: &'static str) -> PacketError {
        PacketError::protocol(self.packet, what, clause).at(self.at)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], PacketError> {
        match self.bytes.get(self.at..).and_then(|b| b.get(..len)) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.malformed("ends within a field", "2.1.4, 1.5")),
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, PacketError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    pub(super) fn u16(&mut self) -> Result<u16, PacketError> {
        let bytes = self.take(2)?;
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u16::from(*b)))
    }

    pub(super) fn u32(&mut self) -> Result<u32, PacketError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    /// Binary data: a length in two bytes, and that many (1.5.6).
    pub(super) fn binary(&mut self) -> Result<&'a [u8], PacketError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A text (1.5.4): UTF-8, which has no surrogates, without U+0000.
    pub(super) fn text(&mut self) -> Result<&'a str, PacketError> {
        let start = self.at;
        let bytes = self.binary()?;
        let text = str::from_utf8(bytes).map_err(|e| {
            let at = start + 2 + e.valid_up_to();
            PacketError::malformed(self.packet, "a text is not UTF-8", UTF8).at(at)
        })?;
        if bytes.contains(&0) {
            let place = bytes.iter().take_while(|b| **b != 0).count();
            let at = start + 2 + place;
            return Err(PacketError::malformed(self.packet, "a text has U+0000", NUL).at(at));
        }
        Ok(text)
    }

    /// A variable byte integer (1.5.5) in as few bytes as it needs [MQTT-1.5.5-1].
    pub(super) fn varint(&mut self) -> Result<u32, PacketError> {
        let start = self.at;
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(number);
            }
        }
        Err(PacketError::malformed(
            self.packet,
            "a number of variable length takes more bytes than it needs, or more than 4",
            "MQTT-1.5.5-1",
        )
        .at(start))
    }

    /// The properties: their length and as many bytes (2.2.2), to be read on their own.
    pub(super) fn properties(&mut self) -> Result<Self, PacketError> {
        let len = self.varint()?;
        let start = self.at;
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| start.checked_add(len))
            .filter(|end| *end <= self.bytes.len())
            .ok_or_else(|| self.malformed("ends within its properties", "2.2.2.1"))?;
        self.at = end;
        Ok(Self {
            packet: self.packet,
            bytes: &self.bytes[..end],
            at: start,
        })
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), PacketError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.malformed("has bytes behind its last field", "2.1.4"))
    }
}

/// Clauses about texts, in both versions.
pub(super) const UTF8: &str = "MQTT-1.5.4-1, MQTT-1.5.3-1 in 3.1.1";
pub(super) const NUL: &str = "MQTT-1.5.4-2, MQTT-1.5.3-2 in 3.1.1";
