//! Packets as clients can send them.

use std::num::NonZeroU32;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::super::*;

/// CONNECT and some packets after it.
pub(super) fn conversation() -> impl Strategy<Value = (Version, Vec<Packet>)> {
    prop_oneof![Just(Version::V3), Just(Version::V5)].prop_flat_map(|version| {
        (connect(version), vec(later(version), 0..6)).prop_map(move |(connect, mut packets)| {
            packets.insert(0, Packet::Connect(Box::new(connect)));
            (version, packets)
        })
    })
}

fn later(version: Version) -> BoxedStrategy<Packet> {
    let v5 = version == Version::V5;
    let common = prop_oneof![
        4 => publish(v5).prop_map(Packet::Publish),
        1 => ack(v5, &[Reason::Success, Reason::NotAuthorized, Reason::QuotaExceeded]).prop_map(Packet::PubAck),
        1 => ack(v5, &[Reason::Success, Reason::NoMatchingSubscribers]).prop_map(Packet::PubRec),
        1 => ack(v5, &[Reason::Success, Reason::PacketIdentifierNotFound]).prop_map(Packet::PubRel),
        1 => ack(v5, &[Reason::Success, Reason::PacketIdentifierNotFound]).prop_map(Packet::PubComp),
        1 => subscribe(v5).prop_map(Packet::Subscribe),
        1 => unsubscribe(v5).prop_map(Packet::Unsubscribe),
        1 => Just(Packet::PingReq),
        1 => disconnect(v5).prop_map(Packet::Disconnect),
    ];
    if v5 {
        prop_oneof![9 => common, 1 => auth().prop_map(Packet::Auth)].boxed()
    } else {
        common.boxed()
    }
}

fn text() -> impl Strategy<Value = ByteString> {
    "[^\\x00]{0,12}".prop_map(ByteString::from)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn name() -> impl Strategy<Value = ByteString> {
    "[^\\x00+#]{1,20}".prop_map(ByteString::from)
}

fn filter() -> impl Strategy<Value = ByteString> {
    "(\\$share/g/)?([ab$]{0,3}/|\\+/){0,4}(#|\\+|[a-cü]{1,3})".prop_map(ByteString::from)
}

fn user_properties(v5: bool) -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..if v5 { 3 } else { 1 })
}

/// A value that only version 5 can say.
fn if_v5<T: Clone + std::fmt::Debug + 'static>(
    v5: bool,
    none: T,
    some: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    if v5 { some.boxed() } else { Just(none).boxed() }
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).expect("not 0"))
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn message_properties(v5: bool) -> BoxedStrategy<PublishProperties> {
    let some = (
        any::<bool>(),
        of(any::<u32>()),
        of(text()),
        of(name()),
        of(bytes()),
        user_properties(true),
    )
        .prop_map(
            |(utf8, expiry, content_type, response_topic, correlation_data, user)| {
                PublishProperties {
                    payload_is_utf8: utf8,
                    message_expiry: expiry,
                    content_type,
                    response_topic,
                    correlation_data,
                    user_properties: user,
                }
            },
        );
    if_v5(v5, PublishProperties::default(), some)
}

fn publish(v5: bool) -> impl Strategy<Value = Publish> {
    (
        (name(), bytes(), qos(), any::<bool>(), any::<bool>(), id()),
        if_v5(v5, None, of(1..=u16::MAX)),
        any::<bool>(),
        message_properties(v5),
    )
        .prop_map(
            |((topic, body, qos, dup, retain, id), alias, short, properties)| {
                let alias = alias.and_then(NonZeroU16::new);
                Publish {
                    topic: if short && alias.is_some() {
                        ByteString::new()
                    } else {
                        topic
                    },
                    body,
                    qos,
                    dup: dup && qos > QoS::AtMostOnce,
                    retain,
                    id: (qos > QoS::AtMostOnce).then_some(id),
                    alias,
                    properties: (properties != PublishProperties::default())
                        .then(|| Box::new(properties)),
                }
            },
        )
}

fn ack(v5: bool, reasons: &[Reason]) -> impl Strategy<Value = Ack> + use<> {
    let reasons = proptest::sample::select(reasons.to_vec());
    (
        id(),
        if_v5(v5, Reason::Success, reasons),
        if_v5(v5, None, of(text())),
    )
        .prop_map(|(id, reason, reason_string)| Ack {
            id,
            reason,
            reason_string,
        })
}

fn subscribe(v5: bool) -> impl Strategy<Value = Subscribe> {
    let handling = prop_oneof![
        Just(RetainHandling::Always),
        Just(RetainHandling::IfNew),
        Just(RetainHandling::Never)
    ];
    let subscription = (
        filter(),
        qos(),
        if_v5(v5, (false, false), any::<(bool, bool)>()),
        if_v5(v5, RetainHandling::Always, handling),
    )
        .prop_map(
            |(filter, qos, (no_local, retain_as_published), retain_handling)| {
                let shared = filter.starts_with("$share/");
                Subscription {
                    filter,
                    qos,
                    no_local: no_local && !shared,
                    retain_as_published,
                    retain_handling,
                }
            },
        );
    (
        id(),
        if_v5(v5, None, of(1u32..=268_435_455)),
        vec(subscription, 1..4),
        user_properties(v5),
    )
        .prop_map(|(id, number, filters, user_properties)| Subscribe {
            id,
            subscription_id: number.and_then(NonZeroU32::new),
            filters,
            user_properties,
        })
}

fn unsubscribe(v5: bool) -> impl Strategy<Value = Unsubscribe> {
    (id(), vec(filter(), 1..4), user_properties(v5)).prop_map(|(id, filters, user_properties)| {
        Unsubscribe {
            id,
            filters,
            user_properties,
        }
    })
}

fn disconnect(v5: bool) -> impl Strategy<Value = Disconnect> {
    let reasons = prop_oneof![Just(Reason::Success), Just(Reason::DisconnectWithWill)];
    (
        if_v5(v5, Reason::Success, reasons),
        if_v5(v5, None, of(any::<u32>())),
        if_v5(v5, None, of(text())),
    )
        .prop_map(|(reason, session_expiry, reason_string)| Disconnect {
            reason,
            session_expiry,
            reason_string,
        })
}

fn auth() -> impl Strategy<Value = Auth> {
    let reasons = prop_oneof![
        Just(Reason::ContinueAuthentication),
        Just(Reason::ReAuthenticate)
    ];
    (reasons, text(), of(bytes()), of(text())).prop_map(|(reason, method, data, reason_string)| {
        Auth {
            reason,
            method,
            data,
            reason_string,
        }
    })
}

fn will(v5: bool) -> impl Strategy<Value = Will> {
    (
        name(),
        bytes(),
        qos(),
        any::<bool>(),
        if_v5(v5, 0, any::<u32>()),
        message_properties(v5),
    )
        .prop_map(|(topic, body, qos, retain, delay, properties)| Will {
            topic,
            body,
            qos,
            retain,
            delay,
            properties,
        })
}

fn connect(version: Version) -> impl Strategy<Value = Connect> {
    let v5 = version == Version::V5;
    let some = (
        any::<u32>(),
        1..=u16::MAX,
        of(1..=u32::MAX),
        any::<u16>(),
        any::<(bool, bool)>(),
        of(text()),
        of(bytes()),
        user_properties(true),
    )
        .prop_map(|p| (p.0, p.1, p.2, p.3, p.4, p.5, p.6, p.7));
    let none = (0, u16::MAX, None, 0, (false, true), None, None, Vec::new());
    (
        (text(), any::<bool>(), any::<u16>()),
        of(will(v5)),
        (of(text()), of(bytes())),
        if_v5(v5, none, some),
    )
        .prop_map(
            move |((client_id, clean, keep_alive), will, (user_name, password), properties)| {
                let (expiry, receive, size, aliases, (response, problem), method, data, user) =
                    properties;
                let clean_start = clean || !v5 && client_id.is_empty();
                Connect {
                    version,
                    client_id,
                    clean_start,
                    keep_alive,
                    session_expiry: match version {
                        Version::V5 => expiry,
                        Version::V3 if clean_start => 0,
                        Version::V3 => u32::MAX,
                    },
                    receive_maximum: NonZeroU16::new(receive).unwrap_or(NonZeroU16::MAX),
                    max_packet_size: size.and_then(NonZeroU32::new),
                    topic_alias_maximum: aliases,
                    request_response_information: response,
                    request_problem_information: problem,
                    auth_data: data.filter(|_| method.is_some()),
                    auth_method: method,
                    user_properties: user,
                    will,
                    password: password.filter(|_| v5 || user_name.is_some()),
                    user_name,
                }
            },
        )
}
