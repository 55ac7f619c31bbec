//! Properties of version 5 (2.2.2): which packet may have which, how often, and with what values.

use crate::Reason;
use crate::topic;

use super::PacketError;
use super::id;
use super::reader::Reader;

/// A set of identifiers, which are all below 64.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids(u64);

impl Ids {
    pub(super) const fn new(ids: &[u8]) -> Self {
        let (mut set, mut i) = (0, 0);
        while i < ids.len() {
            set |= 1 << ids[i];
            i += 1;
        }
        Self(set)
    }

    const fn has(self, id: u8) -> bool {
        id < 64 && self.0 >> id & 1 == 1
    }
}

/// A value, checked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// Reads properties, all of `allowed`, and shows each with its identifier and the place of its value.
/// User properties may come as often as they like, others once.
pub(super) fn walk<'a>(
    properties: Reader<'a>,
    allowed: Ids,
    visit: impl FnMut(u8, Value<'a>, usize),
) -> Result<(), PacketError> {
    walk_many(properties, allowed, Ids::new(&[id::USER]), visit)
}

/// As [`walk`], with others in `many` that may come more than once.
pub(super) fn walk_many<'a>(
    mut properties: Reader<'a>,
    allowed: Ids,
    many: Ids,
    mut visit: impl FnMut(u8, Value<'a>, usize),
) -> Result<(), PacketError> {
    let mut seen = Ids(0);
    while !properties.is_empty() {
        let start = properties.at();
        let packet = properties.packet;
        let refused = |reason, id, what, clause| {
            PacketError::property(packet, id, reason, what, clause).at(start)
        };
        let id = properties.u8()?;
        if !allowed.has(id) {
            let known = KNOWN.has(id);
            return Err(if known {
                refused(Reason::ProtocolError, id, "may not come here", "2.2.2.2")
            } else {
                refused(Reason::MalformedPacket, id, "is none", "2.2.2.2")
            });
        }
        if seen.has(id) && !many.has(id) {
            return Err(refused(
                Reason::ProtocolError,
                id,
                "comes a second time",
                "2.2.2.2",
            ));
        }
        seen.0 |= 1 << id;
        let at = properties.at();
        let value = value(&mut properties, id)?;
        if let Some((reason, what, clause)) = fault(id, value) {
            return Err(refused(reason, id, what, clause));
        }
        visit(id, value, at);
    }
    Ok(())
}

const KNOWN: Ids = Ids::new(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::SUBSCRIPTION_ID,
    id::SESSION_EXPIRY,
    id::ASSIGNED_CLIENT_ID,
    id::SERVER_KEEP_ALIVE,
    id::AUTH_METHOD,
    id::AUTH_DATA,
    id::REQUEST_PROBLEM_INFORMATION,
    id::WILL_DELAY,
    id::REQUEST_RESPONSE_INFORMATION,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::REASON_STRING,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::TOPIC_ALIAS,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::USER,
    id::MAX_PACKET_SIZE,
    id::WILDCARDS_AVAILABLE,
    id::SUBSCRIPTION_IDS_AVAILABLE,
    id::SHARED_AVAILABLE,
]);

fn value<'a>(from: &mut Reader<'a>, id: u8) -> Result<Value<'a>, PacketError> {
    Ok(match id {
        id::CONTENT_TYPE
        | id::RESPONSE_TOPIC
        | id::AUTH_METHOD
        | id::REASON_STRING
        | id::ASSIGNED_CLIENT_ID
        | id::RESPONSE_INFORMATION
        | id::SERVER_REFERENCE => Value::Text(from.text()?),
        id::USER => Value::Pair(from.text()?, from.text()?),
        id::CORRELATION_DATA | id::AUTH_DATA => Value::Binary(from.binary()?),
        id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY | id::MAX_PACKET_SIZE => {
            Value::Number(from.u32()?)
        }
        id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::TOPIC_ALIAS | id::SERVER_KEEP_ALIVE => {
            Value::Number(from.u16()?.into())
        }
        id::SUBSCRIPTION_ID => Value::Number(from.varint()?),
        _ => Value::Number(from.u8()?.into()),
    })
}

/// What is wrong with a value by itself.
fn fault(id: u8, value: Value<'_>) -> Option<(Reason, &'static str, &'static str)> {
    let protocol = |what, clause| Some((Reason::ProtocolError, what, clause));
    match (id, value) {
        (id::PAYLOAD_FORMAT, Value::Number(2..)) => protocol("is neither 0 nor 1", "3.3.2.3.2"),
        (id::REQUEST_PROBLEM_INFORMATION, Value::Number(2..)) => {
            protocol("is neither 0 nor 1", "3.1.2.11.7")
        }
        (id::REQUEST_RESPONSE_INFORMATION, Value::Number(2..)) => {
            protocol("is neither 0 nor 1", "3.1.2.11.6")
        }
        (id::RECEIVE_MAXIMUM, Value::Number(0)) => protocol("is 0", "3.1.2.11.3"),
        (id::MAX_PACKET_SIZE, Value::Number(0)) => protocol("is 0", "3.1.2.11.4"),
        (id::SUBSCRIPTION_ID, Value::Number(0)) => protocol("is 0", "3.8.2.1.2"),
        (id::TOPIC_ALIAS, Value::Number(0)) => {
            Some((Reason::TopicAliasInvalid, "is 0", "MQTT-3.3.2-8"))
        }
        (id::RESPONSE_TOPIC, Value::Text(name)) if topic::check_name(name).is_err() => Some((
            Reason::TopicNameInvalid,
            "is no topic name",
            "MQTT-3.3.2-13, MQTT-3.3.2-14",
        )),
        _ => None,
    }
}
