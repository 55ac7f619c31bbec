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

use crate::Reason;
use crate::packet::{Connect, PacketId, Version};

mod pairs;
mod sink;
#[cfg(test)]
mod tests;
mod write;

pub use pairs::{Each, NoPairs, Pairs};
pub(crate) use sink::{Count, Sink};

pub use write::{
    connack, disconnect, pingresp, puback, pubcomp, publish, publish_head, pubrec, pubrel, suback,
    unsuback,
};

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
