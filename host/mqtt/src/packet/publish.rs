//! PUBLISH and the four acknowledgements: what a busy connection consists of. Read here and not by
//! rmqtt-codec, which puts each PUBLISH into a box of its own and reads texts a second time.

use std::num::NonZeroU16;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use crate::Reason;
use crate::topic::{self, TopicError};

use super::id;
use super::property::{Ids, Value, walk};
use super::reader::{NUL, Reader, UTF8};
use super::{Ack, PacketError, Publish, PublishProperties, QoS, Version};

const PUBLISH: &str = "PUBLISH";

/// What PUBLISH may have from a client: a subscription identifier is the server's to add [MQTT-3.3.4-6].
const PUBLISH_IDS: Ids = Ids::new(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
    id::CONTENT_TYPE,
]);

const ACK_IDS: Ids = Ids::new(&[id::REASON_STRING, id::USER]);

/// Reads PUBLISH; `flags` are the low four bits of its first byte, `frame` what is behind the fixed header.
pub(super) fn publish(
    version: Version,
    flags: u8,
    mut frame: Bytes,
) -> Result<Publish, PacketError> {
    let qos = QoS::from_bits(flags >> 1 & 3)
        .ok_or_else(|| PacketError::malformed(PUBLISH, "has QoS 3", "MQTT-3.3.1-4"))?;
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    if dup && qos == QoS::AtMostOnce {
        return Err(PacketError::malformed(
            PUBLISH,
            "is marked as repeated with QoS 0",
            "MQTT-3.3.1-2",
        ));
    }
    let mut head = Reader::new(PUBLISH, &frame);
    let topic_len = head.binary()?.len();
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(packet_id(&mut head)?),
    };
    let (mut alias, mut properties) = (None, None);
    if version == Version::V5 {
        let block = head.properties()?;
        if !block.is_empty() {
            (alias, properties) = message_properties(block, &frame)?;
        }
    }
    let body = head.at();
    frame.advance(2);
    let topic = topic_name(frame.split_to(topic_len), alias)?;
    frame.advance(body - 2 - topic_len);
    Ok(Publish {
        topic,
        body: frame,
        qos,
        dup,
        retain,
        id: packet_id,
        alias,
        properties,
    })
}

fn topic_name(bytes: Bytes, alias: Option<NonZeroU16>) -> Result<ByteString, PacketError> {
    if bytes.is_empty() && alias.is_some() {
        return Ok(ByteString::new());
    }
    let name = ByteString::try_from(bytes)
        .map_err(|_| PacketError::malformed(PUBLISH, "its topic is not UTF-8", UTF8).at(2))?;
    match topic::check_name(&name) {
        Ok(()) => Ok(name),
        Err(TopicError::Nul) => {
            Err(PacketError::malformed(PUBLISH, "its topic has U+0000", NUL).at(2))
        }
        Err(TopicError::Empty) => Err(PacketError::protocol(
            PUBLISH,
            "has neither a topic nor an alias",
            "MQTT-4.7.3-1, 3.3.2.3.4",
        )
        .at(2)),
        Err(TopicError::TooDeep) => Err(PacketError::new(
            PUBLISH,
            Reason::TopicNameInvalid,
            "its topic has more than 128 levels",
            "3.3.2.1",
        )
        .at(2)),
        Err(_) => Err(PacketError::new(
            PUBLISH,
            Reason::TopicNameInvalid,
            "its topic has a wildcard",
            "MQTT-3.3.2-2",
        )
        .at(2)),
    }
}

type Properties = (Option<NonZeroU16>, Option<Box<PublishProperties>>);

fn message_properties(block: Reader<'_>, frame: &Bytes) -> Result<Properties, PacketError> {
    let mut alias = None;
    let mut found: Option<Box<PublishProperties>> = None;
    walk(block, PUBLISH_IDS, |id, value, _| {
        if id == id::TOPIC_ALIAS {
            if let Value::Number(number) = value {
                alias = u16::try_from(number).ok().and_then(NonZeroU16::new);
            }
            return;
        }
        let properties = found.get_or_insert_default();
        match (id, value) {
            (id::PAYLOAD_FORMAT, Value::Number(format)) => {
                properties.payload_is_utf8 = format == 1;
            }
            (id::MESSAGE_EXPIRY, Value::Number(seconds)) => {
                properties.message_expiry = Some(seconds);
            }
            (id::RESPONSE_TOPIC, Value::Text(text)) => {
                properties.response_topic = Some(slice(frame, text));
            }
            (id::CONTENT_TYPE, Value::Text(text)) => {
                properties.content_type = Some(slice(frame, text));
            }
            (id::CORRELATION_DATA, Value::Binary(data)) => {
                properties.correlation_data = Some(frame.slice_ref(data));
            }
            (_, Value::Pair(name, value)) => properties
                .user_properties
                .push((slice(frame, name), slice(frame, value))),
            _ => {}
        }
    })?;
    // What says no more than its absence would is the same as none.
    Ok((
        alias,
        found.filter(|found| **found != PublishProperties::default()),
    ))
}

/// A text of a packet as a slice of it.
pub(super) fn slice(frame: &Bytes, text: &str) -> ByteString {
    // Cannot fail: it was read as a text. That is checked again rather than trusted.
    ByteString::try_from(frame.slice_ref(text.as_bytes())).unwrap_or_default()
}

pub(super) fn packet_id(from: &mut Reader<'_>) -> Result<NonZeroU16, PacketError> {
    let at = from.at();
    NonZeroU16::new(from.u16()?).ok_or_else(|| {
        PacketError::protocol(
            from.packet,
            "its packet id is 0",
            "MQTT-2.2.1-3, MQTT-2.3.1-1 in 3.1.1",
        )
        .at(at)
    })
}

/// Reads PUBACK, PUBREC, PUBREL or PUBCOMP; `allowed` are the reasons that it may have.
pub(super) fn ack(
    version: Version,
    packet: &'static str,
    allowed: &[Reason],
    frame: &Bytes,
) -> Result<Ack, PacketError> {
    let mut from = Reader::new(packet, frame);
    let mut ack = Ack {
        id: packet_id(&mut from)?,
        reason: Reason::Success,
        reason_string: None,
    };
    if version == Version::V5 && !from.is_empty() {
        ack.reason = reason(&mut from, allowed)?;
        if !from.is_empty() {
            walk(from.properties()?, ACK_IDS, |_, value, _| {
                if let Value::Text(text) = value {
                    ack.reason_string = Some(slice(frame, text));
                }
            })?;
        }
    }
    from.end()?;
    Ok(ack)
}

/// Reads a reason, one of those that a client may give here.
pub(super) fn reason(from: &mut Reader<'_>, allowed: &[Reason]) -> Result<Reason, PacketError> {
    let at = from.at();
    Reason::from_code(from.u8()?)
        .filter(|reason| allowed.contains(reason))
        .ok_or_else(|| {
            PacketError::protocol(from.packet, "has a reason code that it cannot have", "2.4")
                .at(at)
        })
}
