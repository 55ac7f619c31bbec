//! The rules of CONNECT, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH and PINGREQ, read from their bytes
//! before rmqtt-codec makes packets of them. It lets through, among others: U+0000, a password without
//! a user name, bytes behind the last field, reserved bits of SUBSCRIBE, broken filters.

use crate::Reason;
use crate::topic::{self, Filter, TopicError};

use super::id;
use super::property::{Ids, Value, walk};
use super::publish::{packet_id, reason};
use super::reader::Reader;
use super::{PacketError, Version};

const CONNECT: &str = "CONNECT";

const CONNECT_IDS: Ids = Ids::new(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAX_PACKET_SIZE,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE_INFORMATION,
    id::REQUEST_PROBLEM_INFORMATION,
    id::USER,
    id::AUTH_METHOD,
    id::AUTH_DATA,
]);

const WILL_IDS: Ids = Ids::new(&[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
]);

/// Bits of the connect flags (3.1.2.3).
mod flag {
    pub(super) const RESERVED: u8 = 0x01;
    pub(super) const CLEAN_START: u8 = 0x02;
    pub(super) const WILL: u8 = 0x04;
    pub(super) const WILL_QOS: u8 = 0x18;
    pub(super) const WILL_RETAIN: u8 = 0x20;
    pub(super) const PASSWORD: u8 = 0x40;
    pub(super) const USER_NAME: u8 = 0x80;
}

/// The version that a CONNECT asks for, as soon as that has been read; `body` may be a part of it.
pub(super) fn version(body: &[u8]) -> Result<Option<Version>, PacketError> {
    const NAMES: [(&[u8], u8); 2] = [(b"\0\x04MQTT", 4), (b"\0\x06MQIsdp", 3)];
    let Some((name, level)) = NAMES
        .iter()
        .find(|(name, _)| body.iter().zip(*name).all(|(a, b)| a == b))
    else {
        return Err(PacketError::new(
            CONNECT,
            Reason::UnsupportedProtocolVersion,
            "asks for another protocol, expected MQTT or MQIsdp",
            "MQTT-3.1.2-1",
        )
        .at(0));
    };
    match body.get(name.len()) {
        None => Ok(None),
        Some(5) if *level == 4 => Ok(Some(Version::V5)),
        Some(asked) if asked == level => Ok(Some(Version::V3)),
        Some(asked) => Err(PacketError::level(*asked).at(name.len())),
    }
}

/// What rmqtt-codec would refuse though it is allowed, and was changed in the buffer to get past it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mended {
    /// An empty client id without clean start, which 5 allows: the flag was set.
    pub(super) kept_session: bool,
    /// A will that expires at once: its expiry was set to 1.
    pub(super) will_expires_at_once: bool,
}

/// Checks CONNECT.
pub(super) fn connect(version: Version, body: &mut [u8]) -> Result<Mended, PacketError> {
    let mut mended = Mended::default();
    let mut will_expiry = None;
    let mut from = Reader::new(CONNECT, body);
    from.binary()?;
    from.u8()?;
    let flags_at = from.at();
    let flags = from.u8()?;
    check_flags(version, flags, &from)?;
    from.u16()?;
    if version == Version::V5 {
        let start = from.at();
        let (mut method, mut data) = (false, false);
        walk(from.properties()?, CONNECT_IDS, |id, _, _| {
            method |= id == id::AUTH_METHOD;
            data |= id == id::AUTH_DATA;
        })?;
        if data && !method {
            return Err(PacketError::protocol(
                CONNECT,
                "has authentication data without a method",
                "3.1.2.11.10",
            )
            .at(start));
        }
    }
    let client_id_at = from.at();
    if from.text()?.is_empty() && flags & flag::CLEAN_START == 0 {
        if version == Version::V3 {
            return Err(PacketError::new(
                CONNECT,
                Reason::ClientIdentifierNotValid,
                "has an empty client id and wants its session kept",
                "MQTT-3.1.3-8",
            )
            .at(client_id_at));
        }
        mended.kept_session = true;
    }
    if flags & flag::WILL != 0 {
        if version == Version::V5 {
            walk(from.properties()?, WILL_IDS, |id, value, at| {
                if let (id::MESSAGE_EXPIRY, Value::Number(0)) = (id, value) {
                    will_expiry = Some(at);
                }
            })?;
        }
        let at = from.at();
        let topic = from.text()?;
        check_will_topic(topic).map_err(|error| error.at(at))?;
        from.binary()?;
    }
    if flags & flag::USER_NAME != 0 {
        from.text()?;
    }
    if flags & flag::PASSWORD != 0 {
        from.binary()?;
    }
    from.end()?;

    if let Some(flags) = body.get_mut(flags_at).filter(|_| mended.kept_session) {
        *flags |= flag::CLEAN_START;
    }
    if let Some(last) = will_expiry.and_then(|at| body.get_mut(at + 3)) {
        *last = 1;
        mended.will_expires_at_once = true;
    }
    Ok(mended)
}

fn check_flags(version: Version, flags: u8, from: &Reader<'_>) -> Result<(), PacketError> {
    if flags & flag::RESERVED != 0 {
        return Err(from.malformed("has the reserved connect flag set", "MQTT-3.1.2-3"));
    }
    if flags & flag::WILL == 0 && flags & (flag::WILL_QOS | flag::WILL_RETAIN) != 0 {
        return Err(from.malformed(
            "has a QoS or a retain flag for a will that it has not",
            "MQTT-3.1.2-11, MQTT-3.1.2-13",
        ));
    }
    if flags & flag::WILL_QOS == flag::WILL_QOS {
        return Err(from.malformed(
            "has QoS 3 for its will",
            "MQTT-3.1.2-12, MQTT-3.1.2-14 in 3.1.1",
        ));
    }
    let password_alone = flags & (flag::USER_NAME | flag::PASSWORD) == flag::PASSWORD;
    if version == Version::V3 && password_alone {
        return Err(from.malformed("has a password without a user name", "MQTT-3.1.2-22"));
    }
    Ok(())
}

fn check_will_topic(topic: &str) -> Result<(), PacketError> {
    let refused = |what, clause| {
        Err(PacketError::new(
            CONNECT,
            Reason::TopicNameInvalid,
            what,
            clause,
        ))
    };
    match topic::check_name(topic) {
        Ok(()) => Ok(()),
        Err(TopicError::Empty) => refused("has a will without a topic", "MQTT-4.7.3-1"),
        Err(TopicError::TooDeep) => refused("the topic of its will has over 128 levels", "3.1.3.3"),
        Err(_) => refused("the topic of its will has a wildcard", "MQTT-4.7.1-1"),
    }
}

/// Checks SUBSCRIBE.
pub(super) fn subscribe(version: Version, body: &[u8]) -> Result<(), PacketError> {
    const IDS: Ids = Ids::new(&[id::SUBSCRIPTION_ID, id::USER]);
    let mut from = Reader::new("SUBSCRIBE", body);
    packet_id(&mut from)?;
    if version == Version::V5 {
        walk(from.properties()?, IDS, |_, _, _| {})?;
    }
    if from.is_empty() {
        return Err(from.protocol("has no filter", "MQTT-3.8.3-2, MQTT-3.8.3-3 in 3.1.1"));
    }
    while !from.is_empty() {
        let shared = filter(version, &mut from)?;
        let at = from.at();
        let options = from.u8()?;
        let malformed =
            |what, clause| Err(PacketError::malformed(from.packet, what, clause).at(at));
        if options & 3 == 3 {
            return malformed("asks for QoS 3", "3.8.3.1, MQTT-3.8.3-4 in 3.1.1");
        }
        match version {
            Version::V3 if options > 2 => {
                return malformed("has reserved bits set beside the QoS", "MQTT-3.8.3-4");
            }
            Version::V5 if options & 0xc0 != 0 => {
                return malformed("has reserved bits set in its options", "MQTT-3.8.3-5");
            }
            Version::V5 if options & 0x30 == 0x30 => {
                return Err(from.protocol("asks for retain handling 3", "3.8.3.1"));
            }
            Version::V5 if options & 4 != 0 && shared => {
                return Err(from.protocol(
                    "asks for no local messages on a shared subscription",
                    "MQTT-3.8.3-4",
                ));
            }
            Version::V3 | Version::V5 => {}
        }
    }
    Ok(())
}

/// Checks UNSUBSCRIBE.
pub(super) fn unsubscribe(version: Version, body: &[u8]) -> Result<(), PacketError> {
    const IDS: Ids = Ids::new(&[id::USER]);
    let mut from = Reader::new("UNSUBSCRIBE", body);
    packet_id(&mut from)?;
    if version == Version::V5 {
        walk(from.properties()?, IDS, |_, _, _| {})?;
    }
    if from.is_empty() {
        return Err(from.protocol("has no filter", "MQTT-3.10.3-2"));
    }
    while !from.is_empty() {
        filter(version, &mut from)?;
    }
    Ok(())
}

/// Checks a filter, and says whether it is a shared one. 3.1.1 has none of these: what begins with
/// `$share` there is a filter like others, which the session may still refuse.
fn filter(version: Version, from: &mut Reader<'_>) -> Result<bool, PacketError> {
    let at = from.at();
    let text = from.text()?;
    let (what, clause) = match Filter::parse(text) {
        Ok(filter) => return Ok(filter.share.is_some()),
        Err(TopicError::Share) if version == Version::V3 => return Ok(false),
        Err(TopicError::Share) => (
            "a shared filter is not $share/GROUP/FILTER",
            "MQTT-4.8.2-1, MQTT-4.8.2-2",
        ),
        Err(TopicError::Empty) => ("a filter is empty", "MQTT-4.7.3-1"),
        Err(TopicError::MultiLevel) => (
            "a filter has a '#' that is not its whole last level",
            "MQTT-4.7.1-1, MQTT-4.7.1-2 in 3.1.1",
        ),
        Err(TopicError::SingleLevel) => (
            "a filter has a '+' that is not a whole level",
            "MQTT-4.7.1-2, MQTT-4.7.1-3 in 3.1.1",
        ),
        Err(TopicError::TooDeep) => ("a filter has more than 128 levels", "3.8.3"),
        Err(TopicError::Nul | TopicError::TooLong | TopicError::Wildcard) => {
            ("a filter is none", "4.7")
        }
    };
    Err(PacketError::new(from.packet, Reason::TopicFilterInvalid, what, clause).at(at))
}

/// Reasons of a DISCONNECT from a client (3.14.2.1).
const DISCONNECT_REASONS: [Reason; 14] = [
    Reason::Success,
    Reason::DisconnectWithWill,
    Reason::Unspecified,
    Reason::MalformedPacket,
    Reason::ProtocolError,
    Reason::ImplementationSpecific,
    Reason::TopicNameInvalid,
    Reason::ReceiveMaximumExceeded,
    Reason::TopicAliasInvalid,
    Reason::PacketTooLarge,
    Reason::MessageRateTooHigh,
    Reason::QuotaExceeded,
    Reason::AdministrativeAction,
    Reason::PayloadFormatInvalid,
];

/// Checks DISCONNECT and reads its reason.
pub(super) fn disconnect(version: Version, body: &[u8]) -> Result<Reason, PacketError> {
    const IDS: Ids = Ids::new(&[id::SESSION_EXPIRY, id::REASON_STRING, id::USER]);
    let mut from = Reader::new("DISCONNECT", body);
    let mut said = Reason::Success;
    if version == Version::V5 && !from.is_empty() {
        said = reason(&mut from, &DISCONNECT_REASONS)?;
        if !from.is_empty() {
            walk(from.properties()?, IDS, |_, _, _| {})?;
        }
    }
    from.end()?;
    Ok(said)
}

/// Checks AUTH and reads its reason. It never succeeds: that is the server's to say.
pub(super) fn auth(body: &[u8]) -> Result<Reason, PacketError> {
    const IDS: Ids = Ids::new(&[id::AUTH_METHOD, id::AUTH_DATA, id::REASON_STRING, id::USER]);
    let mut from = Reader::new("AUTH", body);
    if from.is_empty() {
        return Err(from.protocol("says success, which only servers may", "3.15.2.1"));
    }
    let said = reason(
        &mut from,
        &[Reason::ContinueAuthentication, Reason::ReAuthenticate],
    )?;
    let mut method = false;
    if !from.is_empty() {
        walk(from.properties()?, IDS, |id, _, _| {
            method |= id == id::AUTH_METHOD;
        })?;
    }
    if !method {
        return Err(from.protocol("has no authentication method", "3.15.2.2.2"));
    }
    from.end()?;
    Ok(said)
}

/// Checks a packet that has nothing behind its fixed header.
pub(super) fn nothing(packet: &'static str, body: &[u8]) -> Result<(), PacketError> {
    Reader::new(packet, body).end()
}
