//! The other side, for tests and benchmarks: writes what a client sends, reads what a server does.
//!
//! Texts over 65 535 bytes are cut, as no packet can say them; else what is written is what is asked for,
//! valid or not, so that a test can break rules.

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::Reason;
use crate::encode::{Count, Pairs, Sink};
use crate::packet::{
    Ack, Auth, Connect, Disconnect, Packet, PacketId, Publish, PublishProperties, QoS,
    RetainHandling, Subscribe, Subscription, Unsubscribe, Version, Will, id,
};

pub use crate::packet::heard::{Heard, ServerProperties, decode};

/// A CONNECT with this client id, a clean start, no keep-alive, and nothing else.
pub fn connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        client_id: client_id.into(),
        clean_start: true,
        keep_alive: 0,
        session_expiry: 0,
        receive_maximum: NonZeroU16::MAX,
        max_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        auth_method: None,
        auth_data: None,
        user_properties: Vec::new(),
        will: None,
        user_name: None,
        password: None,
    }
}

/// A PUBLISH of QoS 1 with a packet id, or of QoS 0 without one, and nothing else.
pub fn publish(topic: &str, id: Option<PacketId>, body: impl Into<Bytes>) -> Publish {
    Publish {
        topic: topic.into(),
        body: body.into(),
        qos: match id {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        },
        dup: false,
        retain: false,
        id,
        alias: None,
        properties: None,
    }
}

/// A SUBSCRIBE to these filters, and nothing else.
pub fn subscribe(id: PacketId, filters: &[(&str, QoS)]) -> Subscribe {
    Subscribe {
        id,
        subscription_id: None,
        filters: filters
            .iter()
            .map(|(filter, qos)| Subscription {
                filter: (*filter).into(),
                qos: *qos,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Always,
            })
            .collect(),
        user_properties: Vec::new(),
    }
}

/// An acknowledgement that says success.
pub const fn ack(id: PacketId) -> Ack {
    Ack {
        id,
        reason: Reason::Success,
        reason_string: None,
    }
}

/// Writes a packet. What 3.1.1 has no field for is left out.
pub fn encode(out: &mut BytesMut, version: Version, packet: &Packet) {
    match packet {
        Packet::Connect(connect) => write(out, 0x10, &|sink| write_connect(connect, sink)),
        Packet::Publish(publish) => {
            let flags =
                u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
            write(out, 0x30 | flags, &|sink| {
                write_publish(version, publish, sink);
            });
        }
        Packet::PubAck(ack) => write(out, 0x40, &|sink| write_ack(version, ack, sink)),
        Packet::PubRec(ack) => write(out, 0x50, &|sink| write_ack(version, ack, sink)),
        Packet::PubRel(ack) => write(out, 0x62, &|sink| write_ack(version, ack, sink)),
        Packet::PubComp(ack) => write(out, 0x70, &|sink| write_ack(version, ack, sink)),
        Packet::Subscribe(subscribe) => write(out, 0x82, &|sink| {
            write_subscribe(version, subscribe, sink);
        }),
        Packet::Unsubscribe(unsubscribe) => write(out, 0xa2, &|sink| {
            write_unsubscribe(version, unsubscribe, sink);
        }),
        Packet::PingReq => write(out, 0xc0, &|_| {}),
        Packet::Disconnect(disconnect) => write(out, 0xe0, &|sink| {
            write_disconnect(version, disconnect, sink);
        }),
        Packet::Auth(auth) => write(out, 0xf0, &|sink| write_auth(auth, sink)),
    }
}

/// Writes a packet of these bytes behind a fixed header that counts them.
pub fn raw(out: &mut BytesMut, first: u8, body: &[u8]) {
    write(out, first, &|sink| sink.put(body));
}

type Write<'a> = &'a dyn Fn(&mut dyn Sink);

fn write(out: &mut BytesMut, first: u8, body: Write<'_>) {
    out.u8(first);
    with_length(out, body);
}

fn with_length(sink: &mut dyn Sink, content: Write<'_>) {
    let mut count = Count::default();
    content(&mut count);
    sink.length(count.len());
    content(sink);
}

fn write_user(user: &dyn Pairs, sink: &mut dyn Sink) {
    user.each(&mut |name, value| {
        sink.u8(id::USER);
        sink.text(name);
        sink.text(value);
    });
}

fn write_connect(connect: &Connect, sink: &mut dyn Sink) {
    sink.text("MQTT");
    sink.u8(match connect.version {
        Version::V3 => 4,
        Version::V5 => 5,
    });
    let mut flags = u8::from(connect.clean_start) << 1
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.user_name.is_some()) << 7;
    if let Some(will) = &connect.will {
        flags |= 4 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
    }
    sink.u8(flags);
    sink.u16(connect.keep_alive);
    if connect.version == Version::V5 {
        with_length(sink, &|sink| write_connect_properties(connect, sink));
    }
    sink.text(&connect.client_id);
    if let Some(will) = &connect.will {
        write_will(connect.version, will, sink);
    }
    if let Some(user_name) = &connect.user_name {
        sink.text(user_name);
    }
    if let Some(password) = &connect.password {
        sink.binary(password);
    }
}

fn write_connect_properties(connect: &Connect, sink: &mut dyn Sink) {
    if connect.session_expiry > 0 {
        sink.u32_property(id::SESSION_EXPIRY, connect.session_expiry);
    }
    if connect.receive_maximum < NonZeroU16::MAX {
        sink.u16_property(id::RECEIVE_MAXIMUM, connect.receive_maximum.get());
    }
    if let Some(size) = connect.max_packet_size {
        sink.u32_property(id::MAX_PACKET_SIZE, size.get());
    }
    if connect.topic_alias_maximum > 0 {
        sink.u16_property(id::TOPIC_ALIAS_MAXIMUM, connect.topic_alias_maximum);
    }
    if connect.request_response_information {
        sink.u8_property(id::REQUEST_RESPONSE_INFORMATION, 1);
    }
    if !connect.request_problem_information {
        sink.u8_property(id::REQUEST_PROBLEM_INFORMATION, 0);
    }
    sink.text_property(id::AUTH_METHOD, connect.auth_method.as_deref());
    if let Some(data) = &connect.auth_data {
        sink.u8(id::AUTH_DATA);
        sink.binary(data);
    }
    write_user(&connect.user_properties, sink);
}

fn write_will(version: Version, will: &Will, sink: &mut dyn Sink) {
    if version == Version::V5 {
        with_length(sink, &|sink| {
            if will.delay > 0 {
                sink.u32_property(id::WILL_DELAY, will.delay);
            }
            write_message_properties(&will.properties, sink);
        });
    }
    sink.text(&will.topic);
    sink.binary(&will.body);
}

fn write_publish(version: Version, publish: &Publish, sink: &mut dyn Sink) {
    sink.text(&publish.topic);
    if let Some(id) = publish.id {
        sink.u16(id.get());
    }
    if version == Version::V5 {
        with_length(sink, &|sink| {
            if let Some(alias) = publish.alias {
                sink.u16_property(id::TOPIC_ALIAS, alias.get());
            }
            if let Some(properties) = &publish.properties {
                write_message_properties(properties, sink);
            }
        });
    }
    sink.put(&publish.body);
}

fn write_message_properties(properties: &PublishProperties, sink: &mut dyn Sink) {
    if properties.payload_is_utf8 {
        sink.u8_property(id::PAYLOAD_FORMAT, 1);
    }
    if let Some(seconds) = properties.message_expiry {
        sink.u32_property(id::MESSAGE_EXPIRY, seconds);
    }
    sink.text_property(id::CONTENT_TYPE, properties.content_type.as_deref());
    sink.text_property(id::RESPONSE_TOPIC, properties.response_topic.as_deref());
    if let Some(data) = &properties.correlation_data {
        sink.u8(id::CORRELATION_DATA);
        sink.binary(data);
    }
    write_user(&properties.user_properties, sink);
}

fn write_ack(version: Version, ack: &Ack, sink: &mut dyn Sink) {
    sink.u16(ack.id.get());
    let plain = ack.reason == Reason::Success && ack.reason_string.is_none();
    if version == Version::V5 && !plain {
        sink.u8(ack.reason.code());
        write_reason_string(ack.reason_string.as_ref(), sink);
    }
}

fn write_reason_string(text: Option<&ByteString>, sink: &mut dyn Sink) {
    if let Some(text) = text {
        with_length(sink, &|sink| {
            sink.text_property(id::REASON_STRING, Some(text));
        });
    }
}

fn write_subscribe(version: Version, subscribe: &Subscribe, sink: &mut dyn Sink) {
    sink.u16(subscribe.id.get());
    if version == Version::V5 {
        with_length(sink, &|sink| {
            if let Some(number) = subscribe.subscription_id {
                sink.u8(id::SUBSCRIPTION_ID);
                sink.varint(number.get());
            }
            write_user(&subscribe.user_properties, sink);
        });
    }
    for subscription in &subscribe.filters {
        sink.text(&subscription.filter);
        let mut options = subscription.qos as u8;
        if version == Version::V5 {
            options |= u8::from(subscription.no_local) << 2
                | u8::from(subscription.retain_as_published) << 3
                | (subscription.retain_handling as u8) << 4;
        }
        sink.u8(options);
    }
}

fn write_unsubscribe(version: Version, unsubscribe: &Unsubscribe, sink: &mut dyn Sink) {
    sink.u16(unsubscribe.id.get());
    if version == Version::V5 {
        with_length(sink, &|sink| write_user(&unsubscribe.user_properties, sink));
    }
    for filter in &unsubscribe.filters {
        sink.text(filter);
    }
}

fn write_disconnect(version: Version, disconnect: &Disconnect, sink: &mut dyn Sink) {
    let plain = disconnect.session_expiry.is_none() && disconnect.reason_string.is_none();
    if version == Version::V3 || plain && disconnect.reason == Reason::Success {
        return;
    }
    sink.u8(disconnect.reason.code());
    if !plain {
        with_length(sink, &|sink| {
            if let Some(seconds) = disconnect.session_expiry {
                sink.u32_property(id::SESSION_EXPIRY, seconds);
            }
            sink.text_property(id::REASON_STRING, disconnect.reason_string.as_deref());
        });
    }
}

fn write_auth(auth: &Auth, sink: &mut dyn Sink) {
    sink.u8(auth.reason.code());
    with_length(sink, &|sink| {
        sink.text_property(id::AUTH_METHOD, Some(&auth.method));
        if let Some(data) = &auth.data {
            sink.u8(id::AUTH_DATA);
            sink.binary(data);
        }
        sink.text_property(id::REASON_STRING, auth.reason_string.as_deref());
    });
}
