//! Why a packet was refused.

use std::fmt;

use crate::Reason;

/// A packet that breaks the protocol: the connection ends [MQTT-4.8.0-1], [MQTT-4.13.1-1]. `Display`
/// says packet, place, what is wrong, and the clause.
///
/// Before CONNECT was taken, answer with CONNACK: [`PacketError::reason`] in version 5, its
/// [`Reason::connack_v3`] in 3.1.1. Afterwards with DISCONNECT in version 5; in 3.1.1 just close.
///
/// It is one pointer wide, so that what goes well is not slowed down by what could go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketError(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
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
    #[cold]
    fn with(packet: &'static str, what: What, reason: Reason, clause: &'static str) -> Self {
        Self(Box::new(Details {
            packet,
            at: None,
            what,
            reason,
            clause,
        }))
    }

    pub(super) fn new(
        packet: &'static str,
        reason: Reason,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self::with(packet, What::Said(what), reason, clause)
    }

    pub(super) fn malformed(
        packet: &'static str,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self::new(packet, Reason::MalformedPacket, what, clause)
    }

    pub(super) fn protocol(packet: &'static str, what: &'static str, clause: &'static str) -> Self {
        Self::new(packet, Reason::ProtocolError, what, clause)
    }

    pub(super) fn too_large(packet: &'static str, size: usize, limit: usize) -> Self {
        let what = What::TooLarge { size, limit };
        Self::with(packet, what, Reason::PacketTooLarge, "MQTT-3.2.2-15")
    }

    pub(super) fn level(level: u8) -> Self {
        let reason = Reason::UnsupportedProtocolVersion;
        Self::with("CONNECT", What::Level(level), reason, "MQTT-3.1.2-2")
    }

    pub(super) fn property(
        packet: &'static str,
        id: u8,
        reason: Reason,
        what: &'static str,
        clause: &'static str,
    ) -> Self {
        Self::with(packet, What::Property(id, what), reason, clause)
    }

    pub(super) fn at(mut self, at: usize) -> Self {
        self.0.at = Some(at);
        self
    }

    /// What to answer in version 5.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The clause that it breaks, as in `MQTT-3.1.2-24` or `3.1.2.11.3`.
    pub fn clause(&self) -> &'static str {
        self.0.clause
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            packet,
            at,
            what,
            clause,
            ..
        } = &*self.0;
        f.write_str(packet)?;
        if let Some(at) = at {
            write!(f, ", byte {at}")?;
        }
        match what {
            What::Said(what) => write!(f, ": {what}")?,
            What::TooLarge { size, limit } => {
                write!(f, ": {size} bytes, at most {limit} are taken")?;
            }
            What::Level(level) => write!(f, ": protocol level {level}, expected 3, 4 or 5")?,
            What::Property(id, what) => write!(f, ": property {id:#04x} {what}")?,
        }
        write!(f, " [{clause}]")
    }
}

impl std::error::Error for PacketError {}
