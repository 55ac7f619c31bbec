//! What a server sends, appended to a connection's output buffer.
//!
//! Each function writes one packet whole or, on an error, nothing. Nothing is allocated but room in the
//! buffer. What version 3.1.1 has no field for is left out, and what it has no packet for (DISCONNECT)
//! writes nothing: [`crate::Reason`] says what is done instead.
//!
//! Texts of reasons are for people and are left out rather than making a packet too large
//! [MQTT-3.4.2-2], or where the client asked for none [MQTT-3.1.2-29].

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::BytesMut;

use crate::Reason;
use crate::packet::{Connect, PacketId, Version};

mod pairs;
mod sink;
#[cfg(test)]
mod tests;

pub use pairs::{Each, NoPairs, Pairs};
pub(crate) use sink::{Count, Sink, property as id};

use sink::varint_len;

/// Largest packet that the protocol can say: fixed header and 268 435 455 bytes.
const MAX_PACKET: usize = 268_435_460;

/// What the client at the other end takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// What it speaks.
    pub version: Version,
    /// Largest packet that it takes, in bytes.
    pub max_packet: usize,
    /// Whether it wants texts of reasons.
    pub problem_information: bool,
}

impl Peer {
    /// A client that takes all that the protocol has.
    pub const fn new(version: Version) -> Self {
        Self {
            version,
            max_packet: MAX_PACKET,
            problem_information: true,
        }
    }

    /// As it said in CONNECT.
    pub fn of(connect: &Connect) -> Self {
        Self {
            version: connect.version,
            max_packet: connect.max_packet_size.map_or(MAX_PACKET, |n| {
                usize::try_from(n.get())
                    .unwrap_or(MAX_PACKET)
                    .min(MAX_PACKET)
            }),
            problem_information: connect.request_problem_information,
        }
    }
}

/// Why a packet was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Larger than the client takes. Such a message is to be treated as delivered [MQTT-3.1.2-25].
    #[error("{packet} of {size} bytes: the client takes at most {limit}")]
    TooLarge {
        /// Which packet.
        packet: &'static str,
        /// Its size in bytes.
        size: usize,
        /// What the client takes.
        limit: usize,
    },
    /// A topic, name or value is longer than 65 535 bytes, which no packet can say.
    #[error("{packet}: a text of {len} bytes, the protocol has at most 65535")]
    TextTooLong {
        /// Which packet.
        packet: &'static str,
        /// Its length in bytes.
        len: usize,
    },
}

/// CONNACK. `Default` accepts, and says nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// [`Reason::Success`] or why not.
    pub reason: Reason,
    /// Whether there was a session. Written as false when refusing [MQTT-3.2.2-4].
    pub session_present: bool,
    /// Session expiry in seconds, if other than asked for.
    pub session_expiry: Option<u32>,
    /// How many messages of QoS 1 and 2 the server takes unacknowledged.
    pub receive_maximum: Option<NonZeroU16>,
    /// Whether QoS 2 is refused: "maximum QoS" 1.
    pub no_qos2: bool,
    /// Whether retained messages are refused.
    pub no_retain: bool,
    /// Largest packet that the server takes, in bytes.
    pub max_packet_size: Option<NonZeroU32>,
    /// The client id that the server chose.
    pub assigned_client_id: Option<&'a str>,
    /// Highest topic alias that the server takes.
    pub topic_alias_maximum: u16,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// Whether filters with wildcards are refused.
    pub no_wildcards: bool,
    /// Whether subscription identifiers are refused.
    pub no_subscription_ids: bool,
    /// Whether shared subscriptions are refused.
    pub no_shared: bool,
    /// Keep-alive in seconds that the client must use instead of its own.
    pub server_keep_alive: Option<u16>,
    /// Where to go instead.
    pub server_reference: Option<&'a str>,
}

impl Default for ConnAck<'_> {
    fn default() -> Self {
        Self {
            reason: Reason::Success,
            session_present: false,
            session_expiry: None,
            receive_maximum: None,
            no_qos2: false,
            no_retain: false,
            max_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            no_wildcards: false,
            no_subscription_ids: false,
            no_shared: false,
            server_keep_alive: None,
            server_reference: None,
        }
    }
}

/// How a message is delivered: what QoS 0 has no use for cannot be said with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Packet id.
        id: PacketId,
        /// Whether it was sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Packet id.
        id: PacketId,
        /// Whether it was sent before.
        dup: bool,
    },
}

/// PUBLISH, without its body.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The topic in pieces, which are written one after another.
    pub topic: &'a [&'a str],
    /// Number that stands for the topic; version 5.
    pub alias: Option<NonZeroU16>,
    /// QoS, packet id, DUP.
    pub delivery: Delivery,
    /// Whether it is sent because it was retained.
    pub retain: bool,
    /// Properties; version 5.
    pub properties: Properties<'a>,
}

/// Properties of a message to a client of version 5. `Default` is none.
#[derive(Clone, Copy)]
pub struct Properties<'a> {
    /// Whether the body is said to be UTF-8.
    pub payload_is_utf8: bool,
    /// What is left of the lifetime, in seconds.
    pub message_expiry: Option<u32>,
    /// Content type.
    pub content_type: Option<&'a str>,
    /// Where to answer.
    pub response_topic: Option<&'a str>,
    /// Tells answers apart.
    pub correlation_data: Option<&'a [u8]>,
    /// Of the subscriptions that matched.
    pub subscription_ids: &'a [NonZeroU32],
    /// User properties.
    pub user: &'a dyn Pairs,
}

impl Default for Properties<'_> {
    fn default() -> Self {
        Self {
            payload_is_utf8: false,
            message_expiry: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            subscription_ids: &[],
            user: &NoPairs,
        }
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut user = Vec::new();
        self.user
            .each(&mut |name, value| user.push((name.to_owned(), value.to_owned())));
        f.debug_struct("Properties")
            .field("payload_is_utf8", &self.payload_is_utf8)
            .field("message_expiry", &self.message_expiry)
            .field("content_type", &self.content_type)
            .field("response_topic", &self.response_topic)
            .field("correlation_data", &self.correlation_data)
            .field("subscription_ids", &self.subscription_ids)
            .field("user", &user)
            .finish()
    }
}

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
