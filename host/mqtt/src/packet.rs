//! What a client sends: one set of packets for MQTT 3.1.1 and 5.
//!
//! A connection owns one [`Decoder`] and feeds it what it reads. Framing, the size limit and every rule
//! of the two specifications that can be judged from one packet (and from CONNECT having come first) are
//! checked here, so that a session gets only packets that a well-behaved client can send. What needs a
//! session's memory is the session's: packet ids in use, topic aliases that were never set, quotas.
//!
//! ```text
//!              CONNECT: the version is learnt
//! [waiting] ───────────────────────────────────► [connected] ── any but CONNECT ──► [connected]
//!     │ anything else                                 │ a second CONNECT, a broken packet
//!     └───────────────► PacketError ◄─────────────────┘    close the connection
//! ```
//!
//! Topics, bodies and values of properties are slices of the read buffer: nothing is copied, and what is
//! kept keeps that part of the buffer alive.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use bytestring::ByteString;

use crate::Reason;

mod convert;
mod decoder;
mod error;
pub(crate) mod heard;
pub mod id;
mod property;
mod publish;
mod reader;
#[cfg(test)]
mod tests;
mod validate;

pub use decoder::Decoder;
pub use error::PacketError;

/// Identifies a packet in flight. Never 0 [MQTT-2.3.1-1].
pub type PacketId = NonZeroU16;

/// Names and values that a client added to a packet, in its order; a name may come more than once.
pub type UserProperties = Vec<(ByteString, ByteString)>;

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3.1.1 (level 4), and 3.1 (level 3, `MQIsdp`), which differs in nothing that is sent.
    V3,
    /// 5.0 (level 5).
    V5,
}

/// How surely a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// 0
    #[default]
    AtMostOnce = 0,
    /// 1
    AtLeastOnce = 1,
    /// 2
    ExactlyOnce = 2,
}

impl QoS {
    /// From the two bits of the wire; 3 is none.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet from a client, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The first packet, and only the first.
    Connect(Box<Connect>),
    /// A message.
    Publish(Publish),
    /// Answers a message of QoS 1.
    PubAck(Ack),
    /// First answer to a message of QoS 2.
    PubRec(Ack),
    /// Releases a message of QoS 2.
    PubRel(Ack),
    /// Last answer to a message of QoS 2.
    PubComp(Ack),
    /// Adds subscriptions.
    Subscribe(Subscribe),
    /// Takes subscriptions away.
    Unsubscribe(Unsubscribe),
    /// Asks for a sign of life.
    PingReq,
    /// The client goes.
    Disconnect(Disconnect),
    /// A step of an enhanced authentication; version 5 only.
    Auth(Auth),
}

/// CONNECT. `Debug` does not show the password and the authentication data.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// What the connection will speak.
    pub version: Version,
    /// Empty: the server chooses one. In 3.1.1 only together with `clean_start`.
    pub client_id: ByteString,
    /// Forget the session of this client id, if there is one.
    pub clean_start: bool,
    /// Longest silence in seconds; 0 for no limit. Close after one and a half times that.
    pub keep_alive: u16,
    /// How long the session outlives the connection, in seconds; `u32::MAX` is for ever. In 3.1.1: 0 with
    /// `clean_start`, for ever without.
    pub session_expiry: u32,
    /// How many messages of QoS 1 and 2 the client takes unacknowledged.
    pub receive_maximum: NonZeroU16,
    /// Largest packet in bytes that the client takes.
    pub max_packet_size: Option<NonZeroU32>,
    /// Highest topic alias that the client takes; 0 for none.
    pub topic_alias_maximum: u16,
    /// Whether CONNACK may have response information.
    pub request_response_information: bool,
    /// Whether packets other than PUBLISH, CONNACK and DISCONNECT may have a reason text and user properties.
    pub request_problem_information: bool,
    /// Name of the enhanced authentication that the client wants.
    pub auth_method: Option<ByteString>,
    /// Its first data.
    pub auth_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
    /// What to publish when the connection is lost.
    pub will: Option<Will>,
    /// User name.
    pub user_name: Option<ByteString>,
    /// Password, any bytes. In 3.1.1 only together with a user name.
    pub password: Option<Bytes>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("session_expiry", &self.session_expiry)
            .field("receive_maximum", &self.receive_maximum)
            .field("max_packet_size", &self.max_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("auth_method", &self.auth_method)
            .field("will", &self.will)
            .field("user_properties", &self.user_properties)
            .finish_non_exhaustive()
    }
}

/// A will: the message that is published when the connection ends without DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where to. Valid, without wildcards.
    pub topic: ByteString,
    /// Body.
    pub body: Bytes,
    /// How surely.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Seconds to wait before publishing; version 5.
    pub delay: u32,
    /// Properties; version 5.
    pub properties: PublishProperties,
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Valid, without wildcards. Empty only if `alias` says which topic is meant.
    pub topic: ByteString,
    /// Body.
    pub body: Bytes,
    /// How surely.
    pub qos: QoS,
    /// Whether it may be a repeat.
    pub dup: bool,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Packet id; there exactly if QoS is over 0.
    pub id: Option<PacketId>,
    /// Number that stands, or is to stand, for the topic; version 5.
    pub alias: Option<NonZeroU16>,
    /// Properties, if there are any; version 5.
    pub properties: Option<Box<PublishProperties>>,
}

/// Properties of a message in version 5.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishProperties {
    /// Whether the sender says that the body is UTF-8. Not checked.
    pub payload_is_utf8: bool,
    /// Lifetime in seconds.
    pub message_expiry: Option<u32>,
    /// Content type.
    pub content_type: Option<ByteString>,
    /// Where to answer. Valid, without wildcards.
    pub response_topic: Option<ByteString>,
    /// Tells answers apart.
    pub correlation_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// What it answers.
    pub id: PacketId,
    /// One that the packet may have; [`Reason::Success`] in 3.1.1.
    pub reason: Reason,
    /// Text for people.
    pub reason_string: Option<ByteString>,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// To be repeated in SUBACK.
    pub id: PacketId,
    /// To be sent along with messages that match; version 5, at most 268 435 455.
    pub subscription_id: Option<NonZeroU32>,
    /// At least one.
    pub filters: Vec<Subscription>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Valid; with `$share/…/` still on it ([`crate::topic::Filter`] takes it apart).
    pub filter: ByteString,
    /// Highest QoS to deliver with.
    pub qos: QoS,
    /// Whether the client's own messages are left out. Not on shared subscriptions.
    pub no_local: bool,
    /// Whether messages keep their retain flag.
    pub retain_as_published: bool,
    /// What of the retained messages to send.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// At each SUBSCRIBE. In 3.1.1 always.
    #[default]
    Always = 0,
    /// If the subscription was not there before.
    IfNew = 1,
    /// Not at all.
    Never = 2,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// To be repeated in UNSUBACK.
    pub id: PacketId,
    /// At least one; each valid.
    pub filters: Vec<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// [`Reason::Success`] in 3.1.1: the will is dropped.
    pub reason: Reason,
    /// Replaces the one of CONNECT, in seconds. Refuse it if that was 0 and this is not.
    pub session_expiry: Option<u32>,
    /// Text for people.
    pub reason_string: Option<ByteString>,
}

/// AUTH. `Debug` does not show the data.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// [`Reason::ContinueAuthentication`] or [`Reason::ReAuthenticate`].
    pub reason: Reason,
    /// The method; must be that of CONNECT.
    pub method: ByteString,
    /// Its data.
    pub data: Option<Bytes>,
    /// Text for people.
    pub reason_string: Option<ByteString>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("method", &self.method)
            .field("data", &self.data.as_ref().map(|_| "…"))
            .field("reason_string", &self.reason_string)
            .finish()
    }
}
