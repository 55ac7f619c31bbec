//! Why a packet was refused.

use std::fmt;

use crate::Reason;

/// A packet that breaks the protocol: the connection ends [MQTT-4.8.0-1], [MQTT-4.13.1-1]. `Display`
/// says packet, place, what is wrong, and the clause.
///
/// Before CONNECT was taken, answer with CONNACK: [`PacketError::reason`] in version 5, its
/// [`Reason::connack_v3`] in 3.1.1. Afterwards with DISCONNECT in version 5; in 3.1.1 just close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketError {
    packet: &'static str,
    /// Byte of the packet after its fixed header.
    at: Option<usize>,
    what: What,
    reason: Reason,
    clause: &'static str,
}

/// What is wrong: mostly a constant text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Said(&'static str),
    TooLarge { size: usize, limit: usize },
    Level(u8),
    Property(u8, &'static str),
}

impl PacketError {
    pub(super) const fn new(
        packet: &'static str,
        reason: Reason,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self {
            packet,
            at: None,
            what: What::Said(what),
            reason,
            clause,
        }
    }

    pub(super) const fn malformed(
        packet: &'static str,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self::new(packet, Reason::MalformedPacket, what, clause)
    }

    pub(super) const fn protocol(
        packet: &'static str,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self::new(packet, Reason::ProtocolError, what, clause)
    }

    pub(super) const fn too_large(packet: &'static str, size: usize, limit: usize) -> Self {
        Self {
            packet,
            at: None,
            what: What::TooLarge { size, limit },
            reason: Reason::PacketTooLarge,
            clause: "MQTT-3.2.2-15",
        }
    }

    pub(super) const fn level(level: u8) -> Self {
        Self {
            packet: "CONNECT",
            at: None,
            what: What::Level(level),
            reason: Reason::UnsupportedProtocolVersion,
            clause: "MQTT-3.1.2-2",
        }
    }

    pub(super) const fn property(
        packet: &'static str,
        id: u8,
        reason: Reason,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self {
            packet,
            at: None,
            what: What::Property(id, what),
            reason,
            clause,
        }
    }

    pub(super) const fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }

    /// What to answer in version 5.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The clause that it breaks, as in `MQTT-3.1.2-24` or `3.1.2.11.3`.
    pub const fn clause(&self) -> &'static str {
        self.clause
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.packet)?;
        if let Some(at) = self.at {
            write!(f, ", byte {at}")?;
        }
        match self.what {
            What::Said(what) => write!(f, ": {what}")?,
            What::TooLarge { size, limit } => {
                write!(f, ": {size} bytes, at most {limit} are taken")?;
            }
            What::Level(level) => write!(f, ": protocol level {level}, expected 3, 4 or 5")?,
            What::Property(id, what) => write!(f, ": property {id:#04x} {what}")?,
        }
        write!(f, " [{}]", self.clause)
    }
}

impl std::error::Error for PacketError {}
