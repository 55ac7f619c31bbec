//! From rmqtt-codec's packets to ours. Each function is given a buffer that begins with one whole packet,
//! which has passed [`super::validate`], and takes it off.

use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder as _;

use crate::Reason;

use super::validate::Mended;
use super::{
    Auth, Connect, Disconnect, Packet, PacketError, PublishProperties, QoS, RetainHandling,
    Subscribe, Subscription, Unsubscribe, Version, Will,
};

/// What rmqtt-codec refuses though we see no fault: the connection ends all the same.
fn refused(packet: &'static str) -> PacketError {
    PacketError::malformed(packet, "cannot be read", "4.13")
}

fn decode_v3(
    packet: &'static str,
    size: usize,
    buf: &mut BytesMut,
) -> Result<v3::Packet, PacketError> {
    let limit = u32::try_from(size).unwrap_or(u32::MAX);
    match v3::Codec::new(limit).decode(buf) {
        Ok(Some((decoded, _))) => Ok(decoded),
        Ok(None) | Err(_) => Err(refused(packet)),
    }
}

fn decode_v5(
    packet: &'static str,
    size: usize,
    buf: &mut BytesMut,
) -> Result<v5::Packet, PacketError> {
    let limit = u32::try_from(size).unwrap_or(u32::MAX);
    match v5::Codec::new(limit, 0).decode(buf) {
        Ok(Some((decoded, _))) => Ok(decoded),
        Ok(None) | Err(_) => Err(refused(packet)),
    }
}

fn qos(qos: v5::QoS) -> QoS {
    match qos {
        v5::QoS::AtMostOnce => QoS::AtMostOnce,
        v5::QoS::AtLeastOnce => QoS::AtLeastOnce,
        v5::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

pub(super) fn connect(
    version: Version,
    mended: Mended,
    size: usize,
    buf: &mut BytesMut,
) -> Result<Packet, PacketError> {
    const NAME: &str = "CONNECT";
    let connect = match version {
        Version::V3 => match decode_v3(NAME, size, buf)? {
            v3::Packet::Connect(connect) => connect_v3(*connect),
            _ => return Err(refused(NAME)),
        },
        Version::V5 => match decode_v5(NAME, size, buf)? {
            v5::Packet::Connect(connect) => connect_v5(*connect, mended),
            _ => return Err(refused(NAME)),
        },
    };
    Ok(Packet::Connect(Box::new(connect)))
}

fn connect_v3(from: v3::Connect) -> Connect {
    Connect {
        version: Version::V3,
        client_id: from.client_id,
        clean_start: from.clean_session,
        keep_alive: from.keep_alive,
        session_expiry: if from.clean_session { 0 } else { u32::MAX },
        receive_maximum: NonZeroU16::MAX,
        max_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        auth_method: None,
        auth_data: None,
        user_properties: Vec::new(),
        will: from.last_will.map(|will| Will {
            topic: will.topic,
            body: will.message,
            qos: qos(will.qos),
            retain: will.retain,
            delay: 0,
            properties: PublishProperties::default(),
        }),
        user_name: from.username,
        password: from.password,
    }
}

fn connect_v5(from: v5::Connect, mended: Mended) -> Connect {
    Connect {
        version: Version::V5,
        client_id: from.client_id,
        clean_start: from.clean_start && !mended.kept_session,
        keep_alive: from.keep_alive,
        session_expiry: from.session_expiry_interval_secs,
        receive_maximum: from.receive_max.unwrap_or(NonZeroU16::MAX),
        max_packet_size: from.max_packet_size,
        topic_alias_maximum: from.topic_alias_max,
        request_response_information: from.request_response_info,
        request_problem_information: from.request_problem_info,
        auth_method: from.auth_method,
        auth_data: from.auth_data,
        user_properties: from.user_properties,
        will: from.last_will.map(|will| Will {
            topic: will.topic,
            body: will.message,
            qos: qos(will.qos),
            retain: will.retain,
            delay: will.will_delay_interval_sec.unwrap_or(0),
            properties: PublishProperties {
                payload_is_utf8: will.is_utf8_payload.unwrap_or(false),
                message_expiry: match will.message_expiry_interval {
                    Some(_) if mended.will_expires_at_once => Some(0),
                    expiry => expiry.map(|seconds| seconds.get()),
                },
                content_type: will.content_type,
                response_topic: will.response_topic,
                correlation_data: will.correlation_data,
                user_properties: will.user_properties,
            },
        }),
        user_name: from.username,
        password: from.password,
    }
}

pub(super) fn subscribe(
    version: Version,
    size: usize,
    buf: &mut BytesMut,
) -> Result<Packet, PacketError> {
    const NAME: &str = "SUBSCRIBE";
    let subscribe = match version {
        Version::V3 => match decode_v3(NAME, size, buf)? {
            v3::Packet::Subscribe {
                packet_id,
                topic_filters,
            } => Subscribe {
                id: packet_id,
                subscription_id: None,
                filters: topic_filters
                    .into_iter()
                    .map(|(filter, maximum)| Subscription {
                        filter,
                        qos: qos(maximum),
                        no_local: false,
                        retain_as_published: false,
                        retain_handling: RetainHandling::Always,
                    })
                    .collect(),
                user_properties: Vec::new(),
            },
            _ => return Err(refused(NAME)),
        },
        Version::V5 => match decode_v5(NAME, size, buf)? {
            v5::Packet::Subscribe(from) => Subscribe {
                id: from.packet_id,
                subscription_id: from.id,
                filters: from
                    .topic_filters
                    .into_iter()
                    .map(|(filter, options)| Subscription {
                        filter,
                        qos: qos(options.qos),
                        no_local: options.no_local,
                        retain_as_published: options.retain_as_published,
                        retain_handling: match options.retain_handling {
                            v5::RetainHandling::AtSubscribe => RetainHandling::Always,
                            v5::RetainHandling::AtSubscribeNew => RetainHandling::IfNew,
                            v5::RetainHandling::NoAtSubscribe => RetainHandling::Never,
                        },
                    })
                    .collect(),
                user_properties: from.user_properties,
            },
            _ => return Err(refused(NAME)),
        },
    };
    Ok(Packet::Subscribe(subscribe))
}

pub(super) fn unsubscribe(
    version: Version,
    size: usize,
    buf: &mut BytesMut,
) -> Result<Packet, PacketError> {
    const NAME: &str = "UNSUBSCRIBE";
    let unsubscribe = match version {
        Version::V3 => match decode_v3(NAME, size, buf)? {
            v3::Packet::Unsubscribe {
                packet_id,
                topic_filters,
            } => Unsubscribe {
                id: packet_id,
                filters: topic_filters,
                user_properties: Vec::new(),
            },
            _ => return Err(refused(NAME)),
        },
        Version::V5 => match decode_v5(NAME, size, buf)? {
            v5::Packet::Unsubscribe(from) => Unsubscribe {
                id: from.packet_id,
                filters: from.topic_filters,
                user_properties: from.user_properties,
            },
            _ => return Err(refused(NAME)),
        },
    };
    Ok(Packet::Unsubscribe(unsubscribe))
}

pub(super) fn disconnect(
    version: Version,
    reason: Reason,
    size: usize,
    buf: &mut BytesMut,
) -> Result<Packet, PacketError> {
    const NAME: &str = "DISCONNECT";
    let mut disconnect = Disconnect {
        reason,
        session_expiry: None,
        reason_string: None,
    };
    match version {
        Version::V3 => match decode_v3(NAME, size, buf)? {
            v3::Packet::Disconnect => {}
            _ => return Err(refused(NAME)),
        },
        Version::V5 => match decode_v5(NAME, size, buf)? {
            v5::Packet::Disconnect(from) => {
                disconnect.session_expiry = from.session_expiry_interval_secs;
                disconnect.reason_string = from.reason_string;
            }
            _ => return Err(refused(NAME)),
        },
    }
    Ok(Packet::Disconnect(disconnect))
}

pub(super) fn auth(reason: Reason, size: usize, buf: &mut BytesMut) -> Result<Packet, PacketError> {
    const NAME: &str = "AUTH";
    match decode_v5(NAME, size, buf)? {
        v5::Packet::Auth(from) => Ok(Packet::Auth(Auth {
            reason,
            method: from.auth_method.ok_or_else(|| refused(NAME))?,
            data: from.auth_data,
            reason_string: from.reason_string,
        })),
        _ => Err(refused(NAME)),
    }
}
