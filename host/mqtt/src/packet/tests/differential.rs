//! rmqtt-codec as a second opinion on the packets that it does not decode for us, and as the author of
//! packets that our client did not write.

use bytes::BytesMut;
use proptest::prelude::*;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::super::*;
use super::{decode_all, encode_all, generate};
use crate::client;

/// What rmqtt-codec says about one packet.
fn theirs(version: Version, mut bytes: BytesMut) -> Option<Theirs> {
    match version {
        Version::V3 => v3::Codec::new(0)
            .decode(&mut bytes)
            .ok()?
            .map(|(p, _)| Theirs::V3(p)),
        Version::V5 => v5::Codec::new(0, 0)
            .decode(&mut bytes)
            .ok()?
            .map(|(p, _)| Theirs::V5(p)),
    }
}

#[derive(Debug)]
enum Theirs {
    V3(v3::Packet),
    V5(v5::Packet),
}

/// Whether it refuses this though it is allowed: see `convert`. An expiry of 0 in PUBLISH is one too.
fn known_to_be_refused(packet: &Packet) -> bool {
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.as_ref();
            connect.client_id.is_empty() && !connect.clean_start
                || will.is_some_and(|will| will.properties.message_expiry == Some(0))
        }
        Packet::Publish(publish) => publish
            .properties
            .as_ref()
            .is_some_and(|properties| properties.message_expiry == Some(0)),
        _ => false,
    }
}

fn same(ours: &Packet, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (
            Packet::Publish(a),
            Theirs::V3(v3::Packet::Publish(b)) | Theirs::V5(v5::Packet::Publish(b)),
        ) => {
            let properties = a.properties.as_deref().cloned().unwrap_or_default();
            let other = b.properties.clone().unwrap_or_default();
            a.topic == b.topic
                && a.body == b.payload
                && a.qos as u8 == b.qos.value()
                && (a.dup, a.retain, a.id) == (b.dup, b.retain, b.packet_id)
                && a.alias == other.topic_alias
                && properties.payload_is_utf8 == other.is_utf8_payload
                && properties.message_expiry == other.message_expiry_interval.map(|n| n.get())
                && properties.content_type == other.content_type
                && properties.response_topic == other.response_topic
                && properties.correlation_data == other.correlation_data
                && properties.user_properties == other.user_properties
        }
        (Packet::PubAck(a), Theirs::V3(v3::Packet::PublishAck { packet_id }))
        | (Packet::PubRec(a), Theirs::V3(v3::Packet::PublishReceived { packet_id }))
        | (Packet::PubRel(a), Theirs::V3(v3::Packet::PublishRelease { packet_id }))
        | (Packet::PubComp(a), Theirs::V3(v3::Packet::PublishComplete { packet_id })) => {
            *a == client::ack(*packet_id)
        }
        (Packet::PubAck(a), Theirs::V5(v5::Packet::PublishAck(b)))
        | (Packet::PubRec(a), Theirs::V5(v5::Packet::PublishReceived(b))) => {
            a.id == b.packet_id
                && a.reason.code() == u8::from(b.reason_code)
                && a.reason_string == b.reason_string
        }
        (Packet::PubRel(a), Theirs::V5(v5::Packet::PublishRelease(b)))
        | (Packet::PubComp(a), Theirs::V5(v5::Packet::PublishComplete(b))) => {
            a.id == b.packet_id
                && a.reason.code() == u8::from(b.reason_code)
                && a.reason_string == b.reason_string
        }
        (
            Packet::PingReq,
            Theirs::V3(v3::Packet::PingRequest) | Theirs::V5(v5::Packet::PingRequest),
        ) => true,
        // These it decodes for us.
        (
            Packet::Connect(_),
            Theirs::V3(v3::Packet::Connect(_)) | Theirs::V5(v5::Packet::Connect(_)),
        )
        | (
            Packet::Subscribe(_),
            Theirs::V3(v3::Packet::Subscribe { .. }) | Theirs::V5(v5::Packet::Subscribe(_)),
        )
        | (
            Packet::Unsubscribe(_),
            Theirs::V3(v3::Packet::Unsubscribe { .. }) | Theirs::V5(v5::Packet::Unsubscribe(_)),
        )
        | (
            Packet::Disconnect(_),
            Theirs::V3(v3::Packet::Disconnect) | Theirs::V5(v5::Packet::Disconnect(_)),
        )
        | (Packet::Auth(_), Theirs::V5(v5::Packet::Auth(_))) => true,
        _ => false,
    }
}

proptest! {
    #[test]
    fn rmqtt_codec_reads_the_same_in_our_packets((version, packets) in generate::conversation()) {
        for packet in packets.iter().filter(|p| !known_to_be_refused(p)) {
            let bytes = encode_all(version, std::slice::from_ref(packet));
            let theirs = theirs(version, bytes);
            prop_assert!(theirs.as_ref().is_some_and(|theirs| same(packet, theirs)), "{:?}", theirs);
        }
    }

    #[test]
    fn what_rmqtt_codec_refuses_we_refuse(
        (version, mut packets) in generate::conversation(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let hello = encode_all(version, &packets[..1]);
        let last = packets.pop().expect("one at least");
        let mut bytes = encode_all(version, std::slice::from_ref(&last));
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut all = if packets.is_empty() { BytesMut::new() } else { hello };
        all.extend_from_slice(&bytes);
        if let Ok(read) = decode_all(&all) {
            // A changed length leaves a part of a packet, or makes two.
            let Some(packet) = read.get(packets.len().min(1)) else { return Ok(()) };
            let version = match &read[0] {
                Packet::Connect(connect) => connect.version,
                other => panic!("{other:?}"),
            };
            if !known_to_be_refused(packet) {
                let theirs = theirs(version, bytes);
                prop_assert!(theirs.as_ref().is_some_and(|theirs| same(packet, theirs)), "{:?}", theirs);
            }
        }
    }
}

#[test]
fn packets_that_rmqtt_codec_writes_are_read() {
    let mut bytes = BytesMut::new();
    let mut codec = v5::Codec::new(0, 0);
    let mut write = |packet| codec.encode(packet, &mut bytes).expect("encode");
    write(v5::Packet::Connect(Box::new(v5::Connect {
        client_id: "edge1/mod1".into(),
        keep_alive: 60,
        session_expiry_interval_secs: 3_600,
        topic_alias_max: 7,
        username: Some("u".into()),
        password: Some("p".into()),
        ..v5::Connect::default()
    })));
    write(v5::Packet::Subscribe(v5::Subscribe {
        packet_id: PacketId::MIN,
        id: std::num::NonZeroU32::new(5),
        user_properties: Vec::new(),
        topic_filters: vec![("a/+".into(), v5::SubscriptionOptions::default())],
    }));
    let packets = decode_all(&bytes).expect("valid");
    let mut connect = client::connect(Version::V5, "edge1/mod1");
    connect.clean_start = false;
    connect.keep_alive = 60;
    connect.session_expiry = 3_600;
    connect.topic_alias_maximum = 7;
    connect.user_name = Some("u".into());
    connect.password = Some("p".into());
    let mut subscribe = client::subscribe(PacketId::MIN, &[("a/+", QoS::AtMostOnce)]);
    subscribe.subscription_id = std::num::NonZeroU32::new(5);
    assert_eq!(
        packets,
        [
            Packet::Connect(Box::new(connect)),
            Packet::Subscribe(subscribe)
        ]
    );
}
