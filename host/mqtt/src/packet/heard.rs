//! What a server sends, read for [`crate::client`].

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use crate::Reason;

use super::id;
use super::property::{Ids, Value, walk_many};
use super::publish::{packet_id, reason, slice};
use super::reader::Reader;
use super::{Ack, PacketError, PacketId, QoS, UserProperties, Version};

/// A packet from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// CONNACK.
    ConnAck {
        /// Whether the server had a session.
        session_present: bool,
        /// Return code of 3.1.1, or reason code of 5.
        code: u8,
        /// Properties; version 5.
        properties: Box<ServerProperties>,
    },
    /// PUBLISH.
    Publish {
        /// Topic; may be empty with an alias.
        topic: ByteString,
        /// Body.
        body: Bytes,
        /// QoS.
        qos: QoS,
        /// Whether it may be a repeat.
        dup: bool,
        /// Whether it was retained.
        retain: bool,
        /// Packet id.
        id: Option<PacketId>,
        /// Properties, if there are any; version 5.
        properties: Option<Box<ServerProperties>>,
    },
    /// PUBACK.
    PubAck(Ack),
    /// PUBREC.
    PubRec(Ack),
    /// PUBREL.
    PubRel(Ack),
    /// PUBCOMP.
    PubComp(Ack),
    /// SUBACK.
    SubAck {
        /// Of the SUBSCRIBE.
        id: PacketId,
        /// A return code or reason code for each filter.
        codes: Vec<u8>,
        /// Properties; version 5.
        properties: Box<ServerProperties>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Of the UNSUBSCRIBE.
        id: PacketId,
        /// A reason code for each filter; none in 3.1.1.
        codes: Vec<u8>,
        /// Properties; version 5.
        properties: Box<ServerProperties>,
    },
    /// PINGRESP.
    PingResp,
    /// DISCONNECT; version 5.
    Disconnect {
        /// Why.
        reason: Reason,
        /// Properties.
        properties: Box<ServerProperties>,
    },
}

/// Properties of all that a server sends; those that were there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerProperties {
    /// Properties with a number, by identifier (2.2.2.2), in their order.
    pub numbers: Vec<(u8, u32)>,
    /// Properties with a text, by identifier.
    pub texts: Vec<(u8, ByteString)>,
    /// Correlation data.
    pub correlation_data: Option<Bytes>,
    /// User properties.
    pub user: UserProperties,
}

impl ServerProperties {
    /// The number under an identifier.
    pub fn number(&self, id: u8) -> Option<u32> {
        self.numbers.iter().find(|(i, _)| *i == id).map(|(_, n)| *n)
    }

    /// The text under an identifier.
    pub fn text(&self, id: u8) -> Option<&str> {
        self.texts.iter().find(|(i, _)| *i == id).map(|(_, t)| &**t)
    }

    /// The value of a user property.
    pub fn user(&self, name: &str) -> Option<&str> {
        self.user.iter().find(|(n, _)| n == name).map(|(_, v)| &**v)
    }
}

const CONNACK_IDS: Ids = Ids::new(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::MAX_PACKET_SIZE,
    id::ASSIGNED_CLIENT_ID,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REASON_STRING,
    id::USER,
    id::WILDCARDS_AVAILABLE,
    id::SUBSCRIPTION_IDS_AVAILABLE,
    id::SHARED_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::AUTH_METHOD,
    id::AUTH_DATA,
]);
const PUBLISH_IDS: Ids = Ids::new(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
    id::SUBSCRIPTION_ID,
    id::CONTENT_TYPE,
]);
const ACK_IDS: Ids = Ids::new(&[id::REASON_STRING, id::USER]);
const DISCONNECT_IDS: Ids = Ids::new(&[id::REASON_STRING, id::USER, id::SERVER_REFERENCE]);
const MANY: Ids = Ids::new(&[id::USER, id::SUBSCRIPTION_ID]);

/// Takes the next packet of a server off a buffer, or nothing if it is not there to its end.
///
/// # Errors
/// What no server may send.
pub fn decode(version: Version, buf: &mut BytesMut) -> Result<Option<Heard>, PacketError> {
    let (mut remaining, mut header) = (0, None);
    for (place, byte) in buf.iter().enumerate().skip(1).take(4) {
        remaining |= usize::from(byte & 0x7f) << (7 * (place - 1));
        if byte & 0x80 == 0 {
            header = Some(place + 1);
            break;
        }
    }
    let Some(header) = header else {
        return match buf.len() {
            0..5 => Ok(None),
            _ => Err(PacketError::malformed(
                "packet",
                "its length takes more than 4 bytes",
                "2.1.4",
            )),
        };
    };
    if buf.len() < header + remaining {
        return Ok(None);
    }
    let mut frame = buf.split_to(header + remaining).freeze();
    let first = frame.first().copied().unwrap_or_default();
    frame.advance(header);
    packet(version, first, frame).map(Some)
}

fn packet(version: Version, first: u8, frame: Bytes) -> Result<Heard, PacketError> {
    let ack = |name| {
        let allowed = Reason::ALL;
        super::publish::ack(version, name, allowed, &frame)
    };
    match first {
        0x20 => {
            let mut from = Reader::new("CONNACK", &frame);
            let flags = from.u8()?;
            if flags > 1 {
                return Err(from.malformed("has reserved flags set", "3.2.2.1"));
            }
            let code = from.u8()?;
            let properties = properties(version, &mut from, CONNACK_IDS, &frame)?;
            from.end()?;
            Ok(Heard::ConnAck {
                session_present: flags == 1,
                code,
                properties,
            })
        }
        0x30..=0x3f => publish(version, first, frame),
        0x40 => ack("PUBACK").map(Heard::PubAck),
        0x50 => ack("PUBREC").map(Heard::PubRec),
        0x62 => ack("PUBREL").map(Heard::PubRel),
        0x70 => ack("PUBCOMP").map(Heard::PubComp),
        0x90 | 0xb0 => {
            let name = if first == 0x90 { "SUBACK" } else { "UNSUBACK" };
            let mut from = Reader::new(name, &frame);
            let id = packet_id(&mut from)?;
            let properties = properties(version, &mut from, ACK_IDS, &frame)?;
            let codes = from.take(from.left())?.to_vec();
            Ok(match first {
                0x90 => Heard::SubAck {
                    id,
                    codes,
                    properties,
                },
                _ => Heard::UnsubAck {
                    id,
                    codes,
                    properties,
                },
            })
        }
        0xd0 => {
            Reader::new("PINGRESP", &frame).end()?;
            Ok(Heard::PingResp)
        }
        0xe0 if version == Version::V5 => {
            let mut from = Reader::new("DISCONNECT", &frame);
            let mut said = Reason::Success;
            let mut found = Box::default();
            if !from.is_empty() {
                said = reason(&mut from, Reason::ALL)?;
                if !from.is_empty() {
                    found = properties(version, &mut from, DISCONNECT_IDS, &frame)?;
                }
            }
            from.end()?;
            Ok(Heard::Disconnect {
                reason: said,
                properties: found,
            })
        }
        _ => Err(PacketError::protocol(
            "packet",
            "is none that a server sends",
            "2.1.2",
        )),
    }
}

fn publish(version: Version, first: u8, mut frame: Bytes) -> Result<Heard, PacketError> {
    let mut from = Reader::new("PUBLISH", &frame);
    let topic = slice(&frame, from.text()?);
    let qos = QoS::from_bits(first >> 1 & 3)
        .ok_or_else(|| from.malformed("has QoS 3", "MQTT-3.3.1-4"))?;
    let id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(packet_id(&mut from)?),
    };
    let properties = match version {
        Version::V3 => None,
        Version::V5 => Some(properties(version, &mut from, PUBLISH_IDS, &frame)?)
            .filter(|properties| **properties != ServerProperties::default()),
    };
    let body = from.at();
    frame.advance(body);
    Ok(Heard::Publish {
        topic,
        body: frame,
        qos,
        dup: first & 8 != 0,
        retain: first & 1 != 0,
        id,
        properties,
    })
}

fn properties(
    version: Version,
    from: &mut Reader<'_>,
    allowed: Ids,
    frame: &Bytes,
) -> Result<Box<ServerProperties>, PacketError> {
    let mut found = Box::<ServerProperties>::default();
    if version == Version::V3 {
        return Ok(found);
    }
    walk_many(
        from.properties()?,
        allowed,
        MANY,
        |id, value, _| match value {
            Value::Number(number) => found.numbers.push((id, number)),
            Value::Text(text) => found.texts.push((id, slice(frame, text))),
            Value::Binary(data) if id == id::CORRELATION_DATA => {
                found.correlation_data = Some(frame.slice_ref(data));
            }
            Value::Binary(_) => {}
            Value::Pair(name, value) => found.user.push((slice(frame, name), slice(frame, value))),
        },
    )?;
    Ok(found)
}
