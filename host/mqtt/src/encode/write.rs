//! The functions of [`super`].

use bytes::BytesMut;

use crate::Reason;
use crate::packet::{PacketId, Version, id};

use super::sink::{Count, Sink, varint_len};
use super::{ConnAck, Delivery, EncodeError, MAX_PACKET, Peer, Properties, Publish};

impl Properties<'_> {
    fn write(&self, sink: &mut dyn Sink) {
        if self.payload_is_utf8 {
            sink.u8_property(id::PAYLOAD_FORMAT, 1);
        }
        if let Some(seconds) = self.message_expiry {
            sink.u32_property(id::MESSAGE_EXPIRY, seconds);
        }
        sink.text_property(id::CONTENT_TYPE, self.content_type);
        sink.text_property(id::RESPONSE_TOPIC, self.response_topic);
        if let Some(data) = self.correlation_data {
            sink.u8(id::CORRELATION_DATA);
            sink.binary(data);
        }
        for number in self.subscription_ids {
            sink.u8(id::SUBSCRIPTION_ID);
            sink.varint(number.get());
        }
        self.user.each(&mut |name, value| {
            sink.u8(id::USER);
            sink.text(name);
            sink.text(value);
        });
    }
}

/// Writes CONNACK. In 3.1.1 nothing if it has no word for the reason: close the connection.
///
/// # Errors
/// See [`EncodeError`].
pub fn connack(out: &mut BytesMut, peer: Peer, ack: &ConnAck<'_>) -> Result<(), EncodeError> {
    let session_present = u8::from(ack.session_present && !ack.reason.is_error());
    if peer.version == Version::V3 {
        if let Some(code) = ack.reason.connack_v3() {
            out.extend_from_slice(&[0x20, 2, session_present, code]);
        }
        return Ok(());
    }
    let properties = |reason_string: Option<&str>, sink: &mut dyn Sink| {
        if let Some(seconds) = ack.session_expiry {
            sink.u32_property(id::SESSION_EXPIRY, seconds);
        }
        if let Some(maximum) = ack.receive_maximum {
            sink.u16_property(id::RECEIVE_MAXIMUM, maximum.get());
        }
        if ack.no_qos2 {
            sink.u8_property(id::MAXIMUM_QOS, 1);
        }
        if ack.no_retain {
            sink.u8_property(id::RETAIN_AVAILABLE, 0);
        }
        if let Some(size) = ack.max_packet_size {
            sink.u32_property(id::MAX_PACKET_SIZE, size.get());
        }
        sink.text_property(id::ASSIGNED_CLIENT_ID, ack.assigned_client_id);
        if ack.topic_alias_maximum > 0 {
            sink.u16_property(id::TOPIC_ALIAS_MAXIMUM, ack.topic_alias_maximum);
        }
        sink.text_property(id::REASON_STRING, reason_string);
        if ack.no_wildcards {
            sink.u8_property(id::WILDCARDS_AVAILABLE, 0);
        }
        if ack.no_subscription_ids {
            sink.u8_property(id::SUBSCRIPTION_IDS_AVAILABLE, 0);
        }
        if ack.no_shared {
            sink.u8_property(id::SHARED_AVAILABLE, 0);
        }
        if let Some(seconds) = ack.server_keep_alive {
            sink.u16_property(id::SERVER_KEEP_ALIVE, seconds);
        }
        sink.text_property(id::SERVER_REFERENCE, ack.server_reference);
    };
    let head = [session_present, ack.reason.code()];
    with_reason(
        out,
        peer,
        Head::new("CONNACK", 0x20, &head),
        ack.reason_string,
        &properties,
        &[],
    )
}

/// Writes PUBLISH and its body.
///
/// # Errors
/// See [`EncodeError`].
pub fn publish(
    out: &mut BytesMut,
    peer: Peer,
    publish: &Publish<'_>,
    body: &[u8],
) -> Result<(), EncodeError> {
    publish_head(out, peer, publish, body.len())?;
    out.extend_from_slice(body);
    Ok(())
}

/// Writes PUBLISH up to its body, for a caller that sends the body of `body_len` bytes right after it
/// without copying it.
///
/// # Errors
/// See [`EncodeError`].
pub fn publish_head(
    out: &mut BytesMut,
    peer: Peer,
    publish: &Publish<'_>,
    body_len: usize,
) -> Result<(), EncodeError> {
    const PACKET: &str = "PUBLISH";
    let (qos, packet_id, dup) = match publish.delivery {
        Delivery::AtMostOnce => (0, None, false),
        Delivery::AtLeastOnce { id, dup } => (1, Some(id), dup),
        Delivery::ExactlyOnce { id, dup } => (2, Some(id), dup),
    };
    let topic_len = publish.topic.iter().map(|piece| piece.len()).sum::<usize>();
    let wire_topic_len = u16::try_from(topic_len).map_err(|_| EncodeError::TextTooLong {
        packet: PACKET,
        len: topic_len,
    })?;
    let mut remaining = 2 + topic_len + packet_id.map_or(0, |_| 2) + body_len;
    let properties = match peer.version {
        Version::V3 => None,
        Version::V5 => {
            let mut count = Count::default();
            publish.write_properties(&mut count);
            let len = count.finish(PACKET)?;
            remaining += varint_len(len) + len;
            Some(len)
        }
    };
    let size = fits(PACKET, peer, remaining)?;
    out.reserve(size);
    out.u8(0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(publish.retain));
    out.length(remaining);
    out.u16(wire_topic_len);
    for piece in publish.topic {
        out.extend_from_slice(piece.as_bytes());
    }
    if let Some(id) = packet_id {
        out.u16(id.get());
    }
    if let Some(len) = properties {
        out.length(len);
        publish.write_properties(out);
    }
    Ok(())
}

impl Publish<'_> {
    fn write_properties(&self, sink: &mut dyn Sink) {
        if let Some(alias) = self.alias {
            sink.u16_property(id::TOPIC_ALIAS, alias.get());
        }
        self.properties.write(sink);
    }
}

/// Writes PUBACK. 3.1.1 cannot say anything but success: close the connection instead.
///
/// # Errors
/// See [`EncodeError`].
pub fn puback(
    out: &mut BytesMut,
    peer: Peer,
    id: PacketId,
    reason: Reason,
    text: Option<&str>,
) -> Result<(), EncodeError> {
    acknowledge(out, peer, ("PUBACK", 0x40), id, reason, text)
}

/// Writes PUBREC. As with [`puback`], 3.1.1 knows success only.
///
/// # Errors
/// See [`EncodeError`].
pub fn pubrec(
    out: &mut BytesMut,
    peer: Peer,
    id: PacketId,
    reason: Reason,
    text: Option<&str>,
) -> Result<(), EncodeError> {
    acknowledge(out, peer, ("PUBREC", 0x50), id, reason, text)
}

/// Writes PUBREL.
///
/// # Errors
/// See [`EncodeError`].
pub fn pubrel(
    out: &mut BytesMut,
    peer: Peer,
    id: PacketId,
    reason: Reason,
) -> Result<(), EncodeError> {
    acknowledge(out, peer, ("PUBREL", 0x62), id, reason, None)
}

/// Writes PUBCOMP.
///
/// # Errors
/// See [`EncodeError`].
pub fn pubcomp(
    out: &mut BytesMut,
    peer: Peer,
    id: PacketId,
    reason: Reason,
) -> Result<(), EncodeError> {
    acknowledge(out, peer, ("PUBCOMP", 0x70), id, reason, None)
}

fn acknowledge(
    out: &mut BytesMut,
    peer: Peer,
    (packet, first): (&'static str, u8),
    id: PacketId,
    reason: Reason,
    text: Option<&str>,
) -> Result<(), EncodeError> {
    let [high, low] = id.get().to_be_bytes();
    if peer.version == Version::V3 || reason == Reason::Success && text.is_none() {
        fits(packet, peer, 2)?;
        out.extend_from_slice(&[first, 2, high, low]);
        return Ok(());
    }
    let head = [high, low, reason.code()];
    let text = text.filter(|_| peer.problem_information);
    if text.is_none() {
        fits(packet, peer, 3)?;
        out.extend_from_slice(&[first, 3, high, low, reason.code()]);
        return Ok(());
    }
    with_reason(
        out,
        peer,
        Head::new(packet, first, &head),
        text,
        &reason_only,
        &[],
    )
}

/// Writes SUBACK: one reason for each filter, in their order.
///
/// # Errors
/// See [`EncodeError`].
pub fn suback(
    out: &mut BytesMut,
    peer: Peer,
    id: PacketId,
    reasons: &[Reason],
    text: Option<&str>,
) -> Result<(), EncodeError> {
    let id = id.get().to_be_bytes();
    let head = Head::new("SUBACK", 0x90, &id);
    let text = text.filter(|_| peer.problem_information);
    with_reason(out, peer, head, text, &reason_only, reasons)
}

/// Writes UNSUBACK: one reason for each filter, in their order, which 3.1.1 leaves out.
///
/// # Errors
/// See [`EncodeError`].
pub fn unsuback(
    out: &mut BytesMut,
    peer: Peer,
    id: PacketId,
    reasons: &[Reason],
) -> Result<(), EncodeError> {
    let reasons = match peer.version {
        Version::V3 => &[],
        Version::V5 => reasons,
    };
    let id = id.get().to_be_bytes();
    let head = Head::new("UNSUBACK", 0xb0, &id);
    with_reason(out, peer, head, None, &reason_only, reasons)
}

/// Writes PINGRESP.
pub fn pingresp(out: &mut BytesMut) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Writes DISCONNECT; nothing in 3.1.1, where the connection is just closed.
///
/// # Errors
/// See [`EncodeError`].
pub fn disconnect(
    out: &mut BytesMut,
    peer: Peer,
    reason: Reason,
    text: Option<&str>,
) -> Result<(), EncodeError> {
    if peer.version == Version::V3 {
        return Ok(());
    }
    let head = [reason.code()];
    with_reason(
        out,
        peer,
        Head::new("DISCONNECT", 0xe0, &head),
        text,
        &reason_only,
        &[],
    )
}

/// A packet up to its properties.
#[derive(Clone, Copy)]
struct Head<'a> {
    packet: &'static str,
    first: u8,
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    const fn new(packet: &'static str, first: u8, bytes: &'a [u8]) -> Self {
        Self {
            packet,
            first,
            bytes,
        }
    }
}

/// Properties with nothing but the text of a reason.
fn reason_only(text: Option<&str>, sink: &mut dyn Sink) {
    sink.text_property(id::REASON_STRING, text);
}

/// Writes a packet of head, properties (version 5) and one byte for each reason; without the text if it
/// does not fit with it.
fn with_reason(
    out: &mut BytesMut,
    peer: Peer,
    head: Head<'_>,
    text: Option<&str>,
    properties: &dyn Fn(Option<&str>, &mut dyn Sink),
    reasons: &[Reason],
) -> Result<(), EncodeError> {
    let layout = |text: Option<&str>| {
        let mut remaining = head.bytes.len() + reasons.len();
        let len = match peer.version {
            Version::V3 => None,
            Version::V5 => {
                let mut count = Count::default();
                properties(text, &mut count);
                let len = count.finish(head.packet)?;
                remaining += varint_len(len) + len;
                Some(len)
            }
        };
        fits(head.packet, peer, remaining)?;
        Ok((remaining, len))
    };
    let (text, (remaining, properties_len)) = match layout(text) {
        Ok(layout) => (text, layout),
        Err(_) if text.is_some() => (None, layout(None)?),
        Err(error) => return Err(error),
    };
    out.reserve(1 + varint_len(remaining) + remaining);
    out.u8(head.first);
    out.length(remaining);
    out.extend_from_slice(head.bytes);
    if let Some(len) = properties_len {
        out.length(len);
        properties(text, out);
    }
    for reason in reasons {
        out.u8(match peer.version {
            Version::V3 => reason.suback_v3(),
            Version::V5 => reason.code(),
        });
    }
    Ok(())
}

/// The size of a packet with this remaining length, if the client takes it.
fn fits(packet: &'static str, peer: Peer, remaining: usize) -> Result<usize, EncodeError> {
    let size = 1 + varint_len(remaining) + remaining;
    let limit = peer.max_packet.min(MAX_PACKET);
    if size > limit {
        return Err(EncodeError::TooLarge {
            packet,
            size,
            limit,
        });
    }
    Ok(size)
}
