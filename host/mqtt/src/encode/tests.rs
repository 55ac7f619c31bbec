//! What is written, read back by the client and by rmqtt-codec.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder as _;

use super::*;
use crate::client::{Heard, ServerProperties, decode};
use crate::packet::{self, QoS};

const V3: Peer = Peer::new(Version::V3);
const V5: Peer = Peer::new(Version::V5);

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

fn written(write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out).expect("fits");
    out
}

/// The one packet in some bytes, which rmqtt-codec can read too.
fn heard(version: Version, bytes: &BytesMut) -> Heard {
    let mut theirs = bytes.clone();
    match version {
        Version::V3 => assert!(matches!(v3::Codec::new(0).decode(&mut theirs), Ok(Some(_)))),
        Version::V5 => assert!(matches!(
            v5::Codec::new(0, 0).decode(&mut theirs),
            Ok(Some(_))
        )),
    }
    assert!(theirs.is_empty());
    let mut bytes = bytes.clone();
    let heard = decode(version, &mut bytes).expect("valid").expect("whole");
    assert!(bytes.is_empty());
    heard
}

fn small(max_packet: usize) -> Peer {
    Peer { max_packet, ..V5 }
}

#[test]
fn connack_of_3_1_1_has_a_return_code_or_is_not_there() {
    let connack = |reason, session_present| {
        let ack = ConnAck {
            reason,
            session_present,
            ..ConnAck::default()
        };
        written(|out| connack(out, V3, &ack))
    };
    assert_eq!(&connack(Reason::Success, true)[..], b"\x20\x02\x01\x00");
    assert_eq!(
        &connack(Reason::ServerUnavailable, true)[..],
        b"\x20\x02\x00\x03"
    );
    assert_eq!(
        &connack(Reason::NotAuthorized, false)[..],
        b"\x20\x02\x00\x05"
    );
    assert!(connack(Reason::MalformedPacket, false).is_empty());
}

#[test]
fn connack_of_5_says_what_was_set_and_no_more() {
    let plain = written(|out| connack(out, V5, &ConnAck::default()));
    assert_eq!(&plain[..], b"\x20\x03\x00\x00\x00");
    let full = ConnAck {
        reason: Reason::Success,
        session_present: true,
        session_expiry: Some(60),
        receive_maximum: NonZeroU16::new(10),
        no_qos2: true,
        no_retain: true,
        max_packet_size: NonZeroU32::new(300_000),
        assigned_client_id: Some("auto-1"),
        topic_alias_maximum: 4,
        reason_string: Some("welcome"),
        no_wildcards: true,
        no_subscription_ids: true,
        no_shared: true,
        server_keep_alive: Some(30),
        server_reference: Some("other"),
    };
    let bytes = written(|out| connack(out, V5, &full));
    let Heard::ConnAck {
        session_present: true,
        code: 0,
        properties,
    } = heard(Version::V5, &bytes)
    else {
        panic!("no CONNACK");
    };
    let numbers = [
        (packet::id::SESSION_EXPIRY, 60),
        (packet::id::RECEIVE_MAXIMUM, 10),
        (packet::id::MAXIMUM_QOS, 1),
        (packet::id::RETAIN_AVAILABLE, 0),
        (packet::id::MAX_PACKET_SIZE, 300_000),
        (packet::id::TOPIC_ALIAS_MAXIMUM, 4),
        (packet::id::WILDCARDS_AVAILABLE, 0),
        (packet::id::SUBSCRIPTION_IDS_AVAILABLE, 0),
        (packet::id::SHARED_AVAILABLE, 0),
        (packet::id::SERVER_KEEP_ALIVE, 30),
    ];
    assert_eq!(properties.numbers, numbers);
    assert_eq!(
        properties.text(packet::id::ASSIGNED_CLIENT_ID),
        Some("auto-1")
    );
    assert_eq!(properties.text(packet::id::REASON_STRING), Some("welcome"));
    assert_eq!(properties.text(packet::id::SERVER_REFERENCE), Some("other"));
}

#[test]
fn a_refusal_never_says_that_there_is_a_session() {
    let refusal = ConnAck {
        reason: Reason::Banned,
        session_present: true,
        ..ConnAck::default()
    };
    for peer in [V3, V5] {
        let bytes = written(|out| connack(out, peer, &refusal));
        assert!(matches!(
            heard(peer.version, &bytes),
            Heard::ConnAck {
                session_present: false,
                ..
            }
        ));
    }
}

#[test]
fn acknowledgements_are_as_short_as_they_can_be() {
    let ack = |peer, reason, text| written(|out| puback(out, peer, id(0x102), reason, text));
    assert_eq!(&ack(V3, Reason::Success, None)[..], b"\x40\x02\x01\x02");
    assert_eq!(&ack(V5, Reason::Success, None)[..], b"\x40\x02\x01\x02");
    assert_eq!(
        &ack(V5, Reason::NotAuthorized, None)[..],
        b"\x40\x03\x01\x02\x87"
    );
    assert_eq!(
        &ack(V5, Reason::NotAuthorized, Some("no"))[..],
        b"\x40\x09\x01\x02\x87\x05\x1f\x00\x02no"
    );
    let rec = written(|out| pubrec(out, V5, id(1), Reason::QuotaExceeded, None));
    assert_eq!(&rec[..], b"\x50\x03\x00\x01\x97");
    let rel = written(|out| pubrel(out, V3, id(1), Reason::Success));
    assert_eq!(&rel[..], b"\x62\x02\x00\x01");
    let comp = written(|out| pubcomp(out, V5, id(1), Reason::PacketIdentifierNotFound));
    assert_eq!(&comp[..], b"\x70\x03\x00\x01\x92");
}

#[test]
fn texts_are_left_out_where_they_are_not_wanted_or_do_not_fit() {
    let with =
        |peer| written(|out| puback(out, peer, id(1), Reason::NotAuthorized, Some("long text")));
    let short = b"\x40\x03\x00\x01\x87";
    let quiet = Peer {
        problem_information: false,
        ..V5
    };
    assert_eq!(&with(quiet)[..], short);
    // With the text it has 18 bytes; without, but through the same path, 6.
    assert_eq!(with(small(18)).len(), 18);
    assert_eq!(&with(small(17))[..], b"\x40\x04\x00\x01\x87\x00");
    let bye = |peer| written(|out| disconnect(out, peer, Reason::ServerBusy, Some("later")));
    assert_eq!(
        bye(quiet).len(),
        bye(V5).len(),
        "DISCONNECT may always say why"
    );
    assert_eq!(&bye(small(5))[..], b"\xe0\x02\x89\x00");
    assert!(bye(V3).is_empty());
}

#[test]
fn what_is_too_large_leaves_the_buffer_as_it_was() {
    let message = Publish {
        topic: &["a/", "b"],
        alias: None,
        delivery: Delivery::AtLeastOnce {
            id: id(1),
            dup: false,
        },
        retain: false,
        properties: Properties::default(),
    };
    let mut out = BytesMut::from(&b"before"[..]);
    let error = publish(&mut out, small(19), &message, b"0123456789");
    let expected = EncodeError::TooLarge {
        packet: "PUBLISH",
        size: 20,
        limit: 19,
    };
    assert_eq!(error, Err(expected));
    assert_eq!(
        puback(&mut out, small(3), id(1), Reason::Success, None).map_err(|e| e.to_string()),
        Err("PUBACK of 4 bytes: the client takes at most 3".to_owned())
    );
    assert!(suback(&mut out, small(7), id(1), &[Reason::Success; 3], None).is_err());
    assert!(connack(&mut out, small(4), &ConnAck::default()).is_err());
    assert_eq!(&out[..], b"before");
    assert_eq!(
        publish(&mut out, small(20), &message, b"0123456789"),
        Ok(())
    );
}

#[test]
fn texts_that_no_packet_can_say_are_refused() {
    let long = "x".repeat(65_536);
    let mut message = Publish {
        topic: &["a", &long],
        alias: None,
        delivery: Delivery::AtMostOnce,
        retain: false,
        properties: Properties::default(),
    };
    let mut out = BytesMut::new();
    let too_long = |len| {
        Err(EncodeError::TextTooLong {
            packet: "PUBLISH",
            len,
        })
    };
    assert_eq!(publish(&mut out, V3, &message, b""), too_long(65_537));
    let pair = [("k", &*long)];
    message.topic = &["a"];
    message.properties.user = &pair;
    assert_eq!(publish(&mut out, V5, &message, b""), too_long(65_536));
    assert!(out.is_empty());
    assert_eq!(publish(&mut out, V3, &message, b""), Ok(()));
}

#[test]
fn suback_and_unsuback_answer_each_filter() {
    let reasons = [Reason::Success, Reason::GrantedQoS2, Reason::NotAuthorized];
    let codes = |version, bytes: &BytesMut| match heard(version, bytes) {
        Heard::SubAck { codes, .. } | Heard::UnsubAck { codes, .. } => codes,
        other => panic!("{other:?}"),
    };
    let ack = |peer| written(|out| suback(out, peer, id(9), &reasons, None));
    assert_eq!(codes(Version::V3, &ack(V3)), [0, 2, 0x80]);
    assert_eq!(codes(Version::V5, &ack(V5)), [0, 2, 0x87]);
    let reasons = [Reason::Success, Reason::NoSubscriptionExisted];
    let ack = |peer| written(|out| unsuback(out, peer, id(9), &reasons));
    assert_eq!(&ack(V3)[..], b"\xb0\x02\x00\x09");
    assert_eq!(codes(Version::V5, &ack(V5)), [0, 0x11]);
}

#[test]
fn pingresp_and_disconnect_are_read() {
    let ping = written(|out| {
        pingresp(out);
        Ok(())
    });
    assert_eq!(heard(Version::V3, &ping), Heard::PingResp);
    let bye = written(|out| disconnect(out, V5, Reason::SessionTakenOver, Some("twice")));
    let Heard::Disconnect { reason, properties } = heard(Version::V5, &bye) else {
        panic!("no DISCONNECT");
    };
    assert_eq!(reason, Reason::SessionTakenOver);
    assert_eq!(properties.text(packet::id::REASON_STRING), Some("twice"));
}

#[test]
fn a_peer_takes_what_its_connect_said() {
    let mut connect = crate::client::connect(Version::V5, "c");
    assert_eq!(Peer::of(&connect), V5);
    connect.max_packet_size = NonZeroU32::new(100);
    connect.request_problem_information = false;
    let expected = Peer {
        version: Version::V5,
        max_packet: 100,
        problem_information: false,
    };
    assert_eq!(Peer::of(&connect), expected);
    connect.max_packet_size = Some(NonZeroU32::MAX);
    assert_eq!(Peer::of(&connect).max_packet, V5.max_packet);
}

#[test]
fn a_head_and_its_body_are_what_is_written_in_one() {
    let message = Publish {
        topic: &["a"],
        alias: None,
        delivery: Delivery::AtMostOnce,
        retain: true,
        properties: Properties::default(),
    };
    let body = [7; 300];
    let mut in_one = BytesMut::new();
    publish(&mut in_one, V5, &message, &body).expect("fits");
    let mut in_two = BytesMut::new();
    publish_head(&mut in_two, V5, &message, body.len()).expect("fits");
    in_two.extend_from_slice(&body);
    assert_eq!(in_one, in_two);
}

proptest! {
    #[test]
    fn messages_are_heard_as_they_were_sent(
        five in any::<bool>(),
        topic in vec("[^\\x00+#]{0,9}", 1..4),
        (qos, dup, retain, number) in (0u8..3, any::<bool>(), any::<bool>(), 1..=u16::MAX),
        (alias, utf8, expiry) in (of(1..=u16::MAX), any::<bool>(), of(any::<u32>())),
        (content_type, response_topic) in (of("[^\\x00]{0,9}"), of("[^\\x00+#]{1,9}")),
        correlation in of(vec(any::<u8>(), 0..20)),
        subscriptions in vec(1u32..=268_435_455, 0..3),
        user in vec(("[^\\x00]{0,9}", "[^\\x00]{0,200}"), 0..3),
        body in vec(any::<u8>(), 0..20_000),
    ) {
        let peer = if five { V5 } else { V3 };
        let pieces: Vec<_> = topic.iter().map(String::as_str).collect();
        let subscription_ids: Vec<_> = subscriptions.iter().filter_map(|n| NonZeroU32::new(*n)).collect();
        let pairs = Each(|visit: &mut dyn FnMut(&str, &str)| {
            for (name, value) in &user {
                visit(name, value);
            }
        });
        let message = Publish {
            topic: &pieces,
            alias: alias.and_then(NonZeroU16::new),
            delivery: match qos {
                0 => Delivery::AtMostOnce,
                1 => Delivery::AtLeastOnce { id: id(number), dup },
                _ => Delivery::ExactlyOnce { id: id(number), dup },
            },
            retain,
            properties: Properties {
                payload_is_utf8: utf8,
                message_expiry: expiry,
                content_type: content_type.as_deref(),
                response_topic: response_topic.as_deref(),
                correlation_data: correlation.as_deref(),
                subscription_ids: &subscription_ids,
                user: &pairs,
            },
        };
        let mut bytes = written(|out| publish(out, peer, &message, &body));
        let mut expected = ServerProperties::default();
        if five {
            let mut number = |id, number| expected.numbers.push((id, number));
            if let Some(alias) = alias {
                number(packet::id::TOPIC_ALIAS, alias.into());
            }
            if utf8 {
                number(packet::id::PAYLOAD_FORMAT, 1);
            }
            if let Some(expiry) = expiry {
                number(packet::id::MESSAGE_EXPIRY, expiry);
            }
            for subscription in &subscriptions {
                number(packet::id::SUBSCRIPTION_ID, *subscription);
            }
            let texts = [(packet::id::CONTENT_TYPE, content_type), (packet::id::RESPONSE_TOPIC, response_topic)];
            for (id, text) in texts {
                expected.texts.extend(text.map(|text| (id, text.into())));
            }
            expected.correlation_data = correlation.map(Into::into);
            expected.user = user.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect();
        }
        let heard = decode(peer.version, &mut bytes).expect("valid").expect("whole");
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(heard, Heard::Publish {
            topic: topic.concat().into(),
            body: body.into(),
            qos: QoS::from_bits(qos).expect("0 to 2"),
            dup: dup && qos > 0,
            retain,
            id: (qos > 0).then(|| id(number)),
            properties: (expected != ServerProperties::default()).then(|| Box::new(expected)),
        });
    }
}
