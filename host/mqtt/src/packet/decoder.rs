//! Framing: where a packet ends, and who reads it.

use bytes::{Buf, BytesMut};

use crate::Reason;

use super::{Packet, PacketError, Version, convert, publish, validate};

/// Takes packets off a connection's read buffer. One for each connection, from its first byte.
///
/// After an error the connection has to end; what is left in the buffer means nothing.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    version: Option<Version>,
    connected: bool,
}

/// The first bytes of a packet (2.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    first: u8,
    /// Bytes of the fixed header.
    len: usize,
    /// Bytes behind it.
    remaining: usize,
    /// Whether the length takes no more bytes than it needs.
    shortest: bool,
}

impl Decoder {
    /// Takes packets of up to `limit` bytes, fixed header included: what CONNACK of version 5 calls the
    /// maximum packet size.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            version: None,
            connected: false,
        }
    }

    /// Sets another limit, from the next packet on.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// What the connection speaks; known as soon as CONNECT has been read so far, even if the rest of
    /// it was refused.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Takes the next packet, or nothing if it is not there yet: read more and call again. Room for
    /// what is missing is the caller's to make, as bytes come, so that a length in a header costs nothing.
    ///
    /// # Errors
    /// A packet that breaks the protocol, that is over the limit (said as soon as its length is known),
    /// or that may not come now: anything but CONNECT first [MQTT-3.1.0-1], CONNECT later
    /// [MQTT-3.1.0-2].
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Packet>, PacketError> {
        let Some(&first) = buf.first() else {
            return Ok(None);
        };
        let kind = Kind::of(first, self.version.filter(|_| self.connected))?;
        let Some(header) = header(buf, kind)? else {
            return Ok(None);
        };
        let size = header.len + header.remaining;
        if size > self.limit {
            return Err(PacketError::too_large(kind.name(), size, self.limit));
        }
        if kind == Kind::Connect && self.version.is_none() {
            let seen = buf.len().min(size);
            let body = buf.get(header.len..seen).unwrap_or_default();
            self.version = validate::version(body)?;
            if self.version.is_none() && seen < size {
                return Ok(None);
            }
        }
        if buf.len() < size {
            return Ok(None);
        }
        // 3.1.1 does not forbid a length in more bytes than it needs.
        if !header.shortest && self.version == Some(Version::V5) {
            return Err(PacketError::malformed(
                kind.name(),
                "its length takes more bytes than it needs",
                "MQTT-1.5.5-1",
            ));
        }
        // Known for all but a CONNECT too short to have one, which is refused as that.
        let version = self.version.unwrap_or(Version::V3);
        let packet = self.whole(kind, version, header, buf)?;
        self.connected = true;
        Ok(Some(packet))
    }

    /// Reads a packet that is there to its end.
    fn whole(
        &self,
        kind: Kind,
        version: Version,
        header: Header,
        buf: &mut BytesMut,
    ) -> Result<Packet, PacketError> {
        let size = header.len + header.remaining;
        let name = kind.name();
        let mut frame = || {
            let mut frame = buf.split_to(size).freeze();
            frame.advance(header.len);
            frame
        };
        let ack = |frame, allowed| publish::ack(version, name, allowed, &frame);
        match kind {
            Kind::Publish => {
                publish::publish(version, header.first & 0x0f, frame()).map(Packet::Publish)
            }
            Kind::PubAck => ack(frame(), &PUBLISH_REASONS).map(Packet::PubAck),
            Kind::PubRec => ack(frame(), &PUBLISH_REASONS).map(Packet::PubRec),
            Kind::PubRel => ack(frame(), &RELEASE_REASONS).map(Packet::PubRel),
            Kind::PubComp => ack(frame(), &RELEASE_REASONS).map(Packet::PubComp),
            Kind::PingReq => {
                validate::nothing(name, &frame())?;
                Ok(Packet::PingReq)
            }
            Kind::Connect => {
                let body = header.len..size;
                let mended = validate::connect(version, buf.get_mut(body).unwrap_or_default())?;
                convert::connect(version, mended, size, buf)
            }
            Kind::Subscribe => {
                validate::subscribe(version, body(buf, header))?;
                convert::subscribe(version, size, buf)
            }
            Kind::Unsubscribe => {
                validate::unsubscribe(version, body(buf, header))?;
                convert::unsubscribe(version, size, buf)
            }
            Kind::Disconnect => {
                let reason = validate::disconnect(version, body(buf, header))?;
                convert::disconnect(version, reason, size, buf)
            }
            Kind::Auth => {
                let reason = validate::auth(body(buf, header))?;
                convert::auth(reason, size, buf)
            }
        }
    }
}

/// The packet at the beginning of a buffer, without its fixed header.
fn body(buf: &BytesMut, header: Header) -> &[u8] {
    buf.get(header.len..header.len + header.remaining)
        .unwrap_or_default()
}

/// Reasons of PUBACK and PUBREC (3.4.2.1).
const PUBLISH_REASONS: [Reason; 9] = [
    Reason::Success,
    Reason::NoMatchingSubscribers,
    Reason::Unspecified,
    Reason::ImplementationSpecific,
    Reason::NotAuthorized,
    Reason::TopicNameInvalid,
    Reason::PacketIdentifierInUse,
    Reason::QuotaExceeded,
    Reason::PayloadFormatInvalid,
];

/// Reasons of PUBREL and PUBCOMP (3.6.2.1).
const RELEASE_REASONS: [Reason; 2] = [Reason::Success, Reason::PacketIdentifierNotFound];

/// Packets that a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
    Auth,
}

impl Kind {
    /// By the first byte: its type, and the flags reserved with it [MQTT-2.1.3-1]. `connected` is the
    /// version if CONNECT has been taken.
    fn of(first: u8, connected: Option<Version>) -> Result<Self, PacketError> {
        let kind = match first >> 4 {
            1 => Self::Connect,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            10 => Self::Unsubscribe,
            12 => Self::PingReq,
            14 => Self::Disconnect,
            15 if connected != Some(Version::V3) => Self::Auth,
            0 | 15 => {
                return Err(PacketError::malformed(
                    "packet",
                    "is of a type that there is not",
                    "2.1.2",
                ));
            }
            _ => {
                return Err(PacketError::protocol(
                    "packet",
                    "is of a type that only servers send",
                    "2.1.2",
                ));
            }
        };
        let expected = match kind {
            Self::Publish => first & 0x0f,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 2,
            _ => 0,
        };
        let name = kind.name();
        match (kind, connected) {
            (Self::Connect, Some(_)) => Err(PacketError::protocol(
                name,
                "comes a second time",
                "MQTT-3.1.0-2",
            )),
            (Self::Connect, None) | (_, Some(_)) if first & 0x0f == expected => Ok(kind),
            (Self::Connect, None) | (_, Some(_)) => Err(PacketError::malformed(
                name,
                "has reserved flags set in its first byte",
                "MQTT-2.1.3-1, MQTT-2.2.2-2 in 3.1.1",
            )),
            (_, None) => Err(PacketError::protocol(
                name,
                "comes before CONNECT",
                "MQTT-3.1.0-1",
            )),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::PingReq => "PINGREQ",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

/// Reads a fixed header, if it is there to its end.
fn header(buf: &[u8], kind: Kind) -> Result<Option<Header>, PacketError> {
    let mut remaining = 0;
    for (place, byte) in buf.iter().enumerate().skip(1).take(4) {
        remaining |= usize::from(byte & 0x7f) << (7 * (place - 1));
        if byte & 0x80 == 0 {
            return Ok(Some(Header {
                first: buf.first().copied().unwrap_or_default(),
                len: place + 1,
                remaining,
                shortest: *byte != 0 || place == 1,
            }));
        }
    }
    if buf.len() > 4 {
        return Err(PacketError::malformed(
            kind.name(),
            "its length takes more than 4 bytes",
            "2.1.4, 2.2.3 in 3.1.1",
        ));
    }
    Ok(None)
}
