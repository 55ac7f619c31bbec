//! Rules of the specifications, one broken packet each.

use bytes::BytesMut;

use super::super::*;
use super::decode_all;
use crate::client;

/// What is said about a packet (behind a good CONNECT, unless it is one).
fn verdict(version: Version, first: u8, body: &[u8]) -> Result<Packet, PacketError> {
    let mut bytes = BytesMut::new();
    if first >> 4 != 1 {
        let hello = Packet::Connect(Box::new(client::connect(version, "c")));
        client::encode(&mut bytes, version, &hello);
    }
    client::raw(&mut bytes, first, body);
    decode_all(&bytes).map(|mut packets| packets.pop().expect("whole"))
}

fn refused(version: Version, first: u8, body: &[u8], reason: Reason, clause: &str) {
    let error = verdict(version, first, body).expect_err(&format!(
        "{version:?} {first:#x} {body:02x?} breaks {clause}"
    ));
    assert_eq!(error.reason(), reason, "{error}");
    assert!(
        error.clause().contains(clause),
        "{error}: expected {clause}"
    );
    assert!(error.to_string().contains(clause), "{error}");
}

fn taken(version: Version, first: u8, body: &[u8]) -> Packet {
    verdict(version, first, body)
        .unwrap_or_else(|error| panic!("{version:?} {first:#x} {body:02x?}: {error}"))
}

use Reason::{
    ClientIdentifierNotValid, MalformedPacket, ProtocolError, TopicAliasInvalid,
    TopicFilterInvalid, TopicNameInvalid, UnsupportedProtocolVersion,
};
use Version::{V3, V5};

#[test]
fn the_first_packet_is_connect_and_only_the_first() {
    for first in [0x30, 0x40, 0x82, 0xc0, 0xe0, 0xf0] {
        let mut bytes = BytesMut::new();
        client::raw(&mut bytes, first, &[]);
        let error = decode_all(&bytes).expect_err("no CONNECT");
        assert_eq!(error.clause(), "MQTT-3.1.0-1");
    }
    for version in [V3, V5] {
        let hello = Packet::Connect(Box::new(client::connect(version, "c")));
        let bytes = super::encode_all(version, &[hello.clone(), hello]);
        let error = decode_all(&bytes).expect_err("second CONNECT");
        assert_eq!(error.clause(), "MQTT-3.1.0-2");
    }
}

#[test]
fn types_of_servers_and_types_that_there_are_not_are_refused() {
    for version in [V3, V5] {
        for first in [0x20, 0x90, 0xb0, 0xd0] {
            refused(version, first, &[], ProtocolError, "2.1.2");
        }
        refused(version, 0x00, &[], MalformedPacket, "2.1.2");
    }
    refused(V3, 0xf0, &[], MalformedPacket, "2.1.2");
}

#[test]
fn reserved_flags_of_the_first_byte_are_as_specified() {
    for version in [V3, V5] {
        for kind in [4u8, 5, 6, 7, 8, 10, 12, 14] {
            let right = u8::from(matches!(kind, 6 | 8 | 10)) * 2;
            for flags in (0..16).filter(|flags| *flags != right) {
                refused(
                    version,
                    kind << 4 | flags,
                    &[0, 1],
                    MalformedPacket,
                    "MQTT-2.1.3-1",
                );
            }
        }
    }
    refused(
        V3,
        0x11,
        b"\0\x04MQTT\x04\x02\0\0\0\x01c",
        MalformedPacket,
        "MQTT-2.2.2-2",
    );
}

#[test]
fn lengths_take_no_more_bytes_than_they_need_in_5() {
    for (version, accepted) in [(V3, true), (V5, false)] {
        let hello = Packet::Connect(Box::new(client::connect(version, "c")));
        let mut bytes = super::encode_all(version, &[hello]);
        bytes.extend_from_slice(&[0xc0, 0x80, 0x00]);
        assert_eq!(decode_all(&bytes).is_ok(), accepted, "{version:?}");
    }
    let mut bytes = BytesMut::from(&[0x10, 0xff, 0xff, 0xff, 0xff][..]);
    assert!(Decoder::new(100).next(&mut bytes).is_err());
    // A property length of two bytes where one does.
    refused(V5, 0x30, b"\0\x01a\x80\0", MalformedPacket, "MQTT-1.5.5-1");
}

#[test]
fn protocols_and_levels_are_told_apart() {
    let connect = |name: &[u8], level| {
        let mut body = name.to_vec();
        body.extend_from_slice(&[level, 2, 0, 0]);
        body.extend_from_slice(b"\0\x01c");
        body
    };
    for (name, level) in [(b"\0\x04MQTT".as_slice(), 4), (b"\0\x06MQIsdp", 3)] {
        let Packet::Connect(connect) = taken(V3, 0x10, &connect(name, level)) else {
            panic!("no CONNECT");
        };
        assert_eq!(connect.version, V3);
    }
    for level in [0, 3, 6, 0x84] {
        refused(
            V3,
            0x10,
            &connect(b"\0\x04MQTT", level),
            UnsupportedProtocolVersion,
            "MQTT-3.1.2-2",
        );
    }
    refused(
        V3,
        0x10,
        &connect(b"\0\x06MQIsdp", 4),
        UnsupportedProtocolVersion,
        "MQTT-3.1.2-2",
    );
    for name in [b"\0\x04mqtt".as_slice(), b"\0\x05MQTT5", b"\0\0"] {
        refused(
            V3,
            0x10,
            &connect(name, 4),
            UnsupportedProtocolVersion,
            "MQTT-3.1.2-1",
        );
    }
    assert_eq!(UnsupportedProtocolVersion.connack_v3(), Some(1));
}

#[test]
fn the_version_is_known_though_the_connect_is_refused() {
    let mut bytes = BytesMut::new();
    client::raw(&mut bytes, 0x10, b"\0\x04MQTT\x05\x01\0\0\0\0\x01c");
    let mut decoder = Decoder::new(100);
    decoder.next(&mut bytes).expect_err("reserved flag");
    assert_eq!(decoder.version(), Some(V5));
}

/// A CONNECT of 3.1.1 with these flags and payload.
fn connect_v3(flags: u8, payload: &[u8]) -> Vec<u8> {
    [b"\0\x04MQTT\x04", [flags, 0, 0].as_slice(), payload].concat()
}

/// A CONNECT of 5 with these flags, properties and payload.
fn connect_v5(flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).expect("short");
    [
        b"\0\x04MQTT\x05",
        [flags, 0, 0, len].as_slice(),
        properties,
        payload,
    ]
    .concat()
}

#[test]
fn connect_flags_fit_one_another() {
    for (flags, clause) in [
        (0x03, "MQTT-3.1.2-3"),
        (0x0a, "MQTT-3.1.2-11"),
        (0x22, "MQTT-3.1.2-13"),
        (0x1e, "MQTT-3.1.2-14"),
    ] {
        refused(
            V3,
            0x10,
            &connect_v3(flags, b"\0\x01c"),
            MalformedPacket,
            clause,
        );
        refused(
            V5,
            0x10,
            &connect_v5(flags, &[], b"\0\x01c"),
            MalformedPacket,
            clause,
        );
    }
    let alone = b"\0\x01c\0\x01p";
    refused(
        V3,
        0x10,
        &connect_v3(0x42, alone),
        MalformedPacket,
        "MQTT-3.1.2-22",
    );
    let Packet::Connect(connect) = taken(V5, 0x10, &connect_v5(0x42, &[], alone)) else {
        panic!("no CONNECT");
    };
    assert_eq!(
        (connect.user_name, connect.password),
        (None, Some("p".into()))
    );
}

#[test]
fn connect_has_its_fields_and_nothing_behind_them() {
    refused(
        V3,
        0x10,
        &connect_v3(2, b"\0\x01cx"),
        MalformedPacket,
        "2.1.4",
    );
    refused(
        V3,
        0x10,
        &connect_v3(0x82, b"\0\x01c"),
        MalformedPacket,
        "2.1.4",
    );
    refused(
        V3,
        0x10,
        &connect_v3(0x82, b"\0\x01c\0\x05use"),
        MalformedPacket,
        "2.1.4",
    );
    refused(V3, 0x10, b"\0\x04MQTT", MalformedPacket, "2.1.4");
    refused(V3, 0x10, b"\0", MalformedPacket, "2.1.4");
    refused(
        V5,
        0x10,
        &connect_v5(2, &[], b"\0\x01c\0"),
        MalformedPacket,
        "2.1.4",
    );
    refused(
        V5,
        0x10,
        b"\0\x04MQTT\x05\x02\0\0\x7f\0\x01c",
        MalformedPacket,
        "2.2.2.1",
    );
}

#[test]
fn an_empty_client_id_wants_a_clean_session_in_3_1_1_only() {
    refused(
        V3,
        0x10,
        &connect_v3(0, b"\0\0"),
        ClientIdentifierNotValid,
        "MQTT-3.1.3-8",
    );
    assert_eq!(ClientIdentifierNotValid.connack_v3(), Some(2));
    taken(V3, 0x10, &connect_v3(2, b"\0\0"));
    let Packet::Connect(connect) = taken(V5, 0x10, &connect_v5(0, &[], b"\0\0")) else {
        panic!("no CONNECT");
    };
    assert!(!connect.clean_start);
}

#[test]
fn texts_are_utf_8_without_nul() {
    let nul = b"\0\x02c\0";
    refused(
        V3,
        0x10,
        &connect_v3(2, nul),
        MalformedPacket,
        "MQTT-1.5.3-2",
    );
    refused(
        V5,
        0x10,
        &connect_v5(2, &[], nul),
        MalformedPacket,
        "MQTT-1.5.4-2",
    );
    // A surrogate, a byte that begins nothing, an overlong '/'.
    for bad in [
        b"\0\x03\xed\xa0\x80".as_slice(),
        b"\0\x01\xff",
        b"\0\x02\xc0\xaf",
    ] {
        refused(
            V3,
            0x10,
            &connect_v3(2, bad),
            MalformedPacket,
            "MQTT-1.5.3-1",
        );
        refused(
            V5,
            0x10,
            &connect_v5(2, &[], bad),
            MalformedPacket,
            "MQTT-1.5.4-1",
        );
        refused(V3, 0x30, bad, MalformedPacket, "MQTT-1.5.4-1");
        let subscribe = [b"\0\x01", bad, b"\0"].concat();
        refused(V3, 0x82, &subscribe, MalformedPacket, "MQTT-1.5.4-1");
        // As user name, and as the value of a user property.
        let user = [b"\0\x01c", bad].concat();
        refused(
            V3,
            0x10,
            &connect_v3(0x82, &user),
            MalformedPacket,
            "MQTT-1.5.4-1",
        );
        let property = [b"\x26\0\x01k", bad].concat();
        refused(
            V5,
            0x10,
            &connect_v5(2, &property, b"\0\x01c"),
            MalformedPacket,
            "MQTT-1.5.4-1",
        );
    }
    refused(V3, 0x30, b"\0\x03a\0b", MalformedPacket, "MQTT-1.5.4-2");
    // U+FEFF is a character like others and stays [MQTT-1.5.4-3].
    let Packet::Publish(publish) = taken(V3, 0x30, b"\0\x03\xef\xbb\xbf") else {
        panic!("no PUBLISH");
    };
    assert_eq!(publish.topic, "\u{feff}");
}

#[test]
fn errors_say_where() {
    let error = verdict(V3, 0x10, &connect_v3(2, b"\0\x03ab\xff")).expect_err("not UTF-8");
    assert_eq!(
        error.to_string(),
        "CONNECT, byte 14: a text is not UTF-8 [MQTT-1.5.4-1, MQTT-1.5.3-1 in 3.1.1]"
    );
    let error = verdict(V5, 0x82, b"\0\x01\x02\x0b\0\0\x01a\0").expect_err("identifier 0");
    assert_eq!(
        error.to_string(),
        "SUBSCRIBE, byte 3: property 0x0b is 0 [3.8.2.1.2]"
    );
}

#[test]
fn wills_have_a_topic_that_is_a_name() {
    for (bad, clause) in [
        (b"\0\x01c\0\0\0\0".as_slice(), "MQTT-4.7.3-1"),
        (b"\0\x01c\0\x03a/#\0\0", "MQTT-4.7.1-1"),
        (b"\0\x01c\0\x01+\0\0", "MQTT-4.7.1-1"),
    ] {
        refused(V3, 0x10, &connect_v3(6, bad), TopicNameInvalid, clause);
    }
    let payload = |expiry: &[u8]| [b"\0\x01c\x05\x02", expiry, b"\0\x01t\0\x01m"].concat();
    for expiry in [0u32, 1, 300] {
        let body = connect_v5(6, &[], &payload(&expiry.to_be_bytes()));
        let Packet::Connect(connect) = taken(V5, 0x10, &body) else {
            panic!("no CONNECT");
        };
        let will = connect.will.expect("a will");
        assert_eq!(will.properties.message_expiry, Some(expiry));
    }
    // A topic alias is no property of a will.
    let alias = b"\0\x01c\x03\x23\0\x01\0\x01t\0\0";
    refused(
        V5,
        0x10,
        &connect_v5(6, &[], alias),
        ProtocolError,
        "2.2.2.2",
    );
}

#[test]
fn properties_come_where_they_may_once_and_with_good_values() {
    let connect = |properties: &[u8]| connect_v5(2, properties, b"\0\x01c");
    for (properties, reason, clause) in [
        (b"\x23\0\x01".as_slice(), ProtocolError, "2.2.2.2"),
        (b"\x7e\0", MalformedPacket, "2.2.2.2"),
        (b"\xff\0", MalformedPacket, "2.2.2.2"),
        (b"\x21\0\x01\x21\0\x01", ProtocolError, "2.2.2.2"),
        (b"\x21\0\0", ProtocolError, "3.1.2.11.3"),
        (b"\x27\0\0\0\0", ProtocolError, "3.1.2.11.4"),
        (b"\x17\x02", ProtocolError, "3.1.2.11.7"),
        (b"\x19\x02", ProtocolError, "3.1.2.11.6"),
        (b"\x16\0\x01d", ProtocolError, "3.1.2.11.10"),
        (b"\x11\0\0\0", MalformedPacket, "2.1.4"),
    ] {
        refused(V5, 0x10, &connect(properties), reason, clause);
    }
    taken(
        V5,
        0x10,
        &connect(b"\x15\0\x01m\x16\0\x01d\x26\0\x01k\0\x01v\x26\0\x01k\0\x01v"),
    );
    let publish = |properties: &[u8]| {
        let len = u8::try_from(properties.len()).expect("short");
        [b"\0\x01a", [len].as_slice(), properties].concat()
    };
    for (properties, reason, clause) in [
        (b"\x0b\x01".as_slice(), ProtocolError, "2.2.2.2"),
        (b"\x23\0\0", TopicAliasInvalid, "MQTT-3.3.2-8"),
        (b"\x01\x02", ProtocolError, "3.3.2.3.2"),
        (b"\x08\0\x01#", TopicNameInvalid, "MQTT-3.3.2-14"),
        (b"\x08\0\0", TopicNameInvalid, "MQTT-3.3.2-13"),
        (b"\x03\0\x01a\x03\0\x01b", ProtocolError, "2.2.2.2"),
        (b"\x26\0\x01a", MalformedPacket, "2.1.4"),
    ] {
        refused(V5, 0x30, &publish(properties), reason, clause);
    }
    let subscribe = |properties: &[u8]| {
        let len = u8::try_from(properties.len()).expect("short");
        [b"\0\x01", [len].as_slice(), properties, b"\0\x01a\0"].concat()
    };
    refused(V5, 0x82, &subscribe(b"\x0b\0"), ProtocolError, "3.8.2.1.2");
    refused(
        V5,
        0x82,
        &subscribe(b"\x0b\x01\x0b\x02"),
        ProtocolError,
        "2.2.2.2",
    );
    refused(V5, 0xa2, &subscribe(b"\x0b\x01"), ProtocolError, "2.2.2.2");
}

#[test]
fn publish_has_a_good_qos_id_and_topic() {
    for version in [V3, V5] {
        refused(
            version,
            0x36,
            b"\0\x01a\0\x01\0",
            MalformedPacket,
            "MQTT-3.3.1-4",
        );
        refused(version, 0x38, b"\0\x01a\0", MalformedPacket, "MQTT-3.3.1-2");
        refused(
            version,
            0x32,
            b"\0\x01a\0\0\0",
            ProtocolError,
            "MQTT-2.3.1-1",
        );
        refused(version, 0x32, b"\0\x01a\0", MalformedPacket, "2.1.4");
        refused(version, 0x30, b"\0\x05ab", MalformedPacket, "2.1.4");
        refused(version, 0x30, b"\0", MalformedPacket, "2.1.4");
        refused(
            version,
            0x30,
            b"\0\x03a/+\0",
            TopicNameInvalid,
            "MQTT-3.3.2-2",
        );
        refused(
            version,
            0x30,
            b"\0\x01#\0",
            TopicNameInvalid,
            "MQTT-3.3.2-2",
        );
        refused(version, 0x30, b"\0\0\0", ProtocolError, "MQTT-4.7.3-1");
    }
    let deep = [b"\0\x80".as_slice(), &[b'/'; 128]].concat();
    refused(V3, 0x30, &deep, TopicNameInvalid, "3.3.2.1");
    let Packet::Publish(publish) = taken(V5, 0x30, b"\0\0\x03\x23\0\x05body") else {
        panic!("no PUBLISH");
    };
    assert_eq!((&*publish.topic, publish.alias), ("", NonZeroU16::new(5)));
    assert_eq!((publish.body, publish.properties), ("body".into(), None));
}

#[test]
fn acknowledgements_have_an_id_and_a_reason_of_theirs() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        refused(V3, first, b"\0\0", ProtocolError, "MQTT-2.3.1-1");
        refused(V3, first, b"\0", MalformedPacket, "2.1.4");
        refused(V3, first, b"\0\x01\0", MalformedPacket, "2.1.4");
        refused(V5, first, b"\0\x01\x81", ProtocolError, "2.4");
        refused(V5, first, b"\0\x01\0\0\0", MalformedPacket, "2.1.4");
        refused(V5, first, b"\0\x01\0\x02\x0b\x01", ProtocolError, "2.2.2.2");
        taken(V5, first, b"\0\x01\0\0");
    }
    refused(V5, 0x40, b"\0\x01\x92", ProtocolError, "2.4");
    refused(V5, 0x62, b"\0\x01\x87", ProtocolError, "2.4");
    let ack = |reason, text: &'static str| Ack {
        id: PacketId::MIN,
        reason,
        reason_string: Some(text.into()),
    };
    assert_eq!(
        taken(V5, 0x40, b"\0\x01\x87\x04\x1f\0\x01x"),
        Packet::PubAck(ack(Reason::NotAuthorized, "x"))
    );
    assert_eq!(
        taken(V5, 0x70, b"\0\x01\x92\x04\x1f\0\x01y"),
        Packet::PubComp(ack(Reason::PacketIdentifierNotFound, "y"))
    );
}

#[test]
fn subscriptions_have_filters_and_options_that_there_are() {
    refused(V3, 0x82, b"\0\x01", ProtocolError, "MQTT-3.8.3-3");
    refused(V5, 0x82, b"\0\x01\0", ProtocolError, "MQTT-3.8.3-2");
    refused(V3, 0xa2, b"\0\x01", ProtocolError, "MQTT-3.10.3-2");
    refused(V3, 0x82, b"\0\0\0\x01a\0", ProtocolError, "MQTT-2.3.1-1");
    refused(V3, 0xa2, b"\0\0\0\x01a", ProtocolError, "MQTT-2.3.1-1");
    refused(V3, 0x82, b"\0\x01\0\x01a", MalformedPacket, "2.1.4");
    for options in [3, 4, 0x40, 0x80] {
        refused(
            V3,
            0x82,
            &[0, 1, 0, 1, b'a', options],
            MalformedPacket,
            "MQTT-3.8.3-4",
        );
    }
    let with = |options| [0, 1, 0, 0, 1, b'a', options];
    for (options, reason, clause) in [
        (0x03, MalformedPacket, "3.8.3.1"),
        (0x40, MalformedPacket, "MQTT-3.8.3-5"),
        (0x80, MalformedPacket, "MQTT-3.8.3-5"),
        (0x30, ProtocolError, "3.8.3.1"),
    ] {
        refused(V5, 0x82, &with(options), reason, clause);
    }
    let Packet::Subscribe(subscribe) = taken(V5, 0x82, &with(0x2e)) else {
        panic!("no SUBSCRIBE");
    };
    assert_eq!(
        subscribe.filters,
        [Subscription {
            filter: "a".into(),
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::Never,
        }]
    );
}

#[test]
fn filters_are_well_formed() {
    for (filter, clause) in [
        ("", "MQTT-4.7.3-1"),
        ("a/#/b", "MQTT-4.7.1-2"),
        ("a#", "MQTT-4.7.1-2"),
        ("a+", "MQTT-4.7.1-3"),
        ("+a", "MQTT-4.7.1-3"),
    ] {
        let len = u8::try_from(filter.len()).expect("short");
        let wire = [&[0, len], filter.as_bytes()].concat();
        refused(
            V3,
            0x82,
            &[b"\0\x01", &*wire, b"\0"].concat(),
            TopicFilterInvalid,
            clause,
        );
        refused(
            V5,
            0x82,
            &[b"\0\x01\0", &*wire, b"\0"].concat(),
            TopicFilterInvalid,
            clause,
        );
        refused(
            V3,
            0xa2,
            &[b"\0\x01", &*wire].concat(),
            TopicFilterInvalid,
            clause,
        );
    }
    let nul = b"\0\x01\0\x02a\0\0";
    refused(V3, 0x82, nul, MalformedPacket, "MQTT-1.5.3-2");
}

#[test]
fn shared_filters_are_judged_in_5_only() {
    for filter in ["$share", "$share/g", "$share//a", "$share/+/a"] {
        let len = u8::try_from(filter.len()).expect("short");
        let wire = [&[0, len], filter.as_bytes(), b"\0"].concat();
        refused(
            V5,
            0x82,
            &[b"\0\x01\0", &*wire].concat(),
            TopicFilterInvalid,
            "MQTT-4.8.2-1",
        );
        taken(V3, 0x82, &[b"\0\x01", &*wire].concat());
    }
    let no_local = b"\0\x01\0\0\x0a$share/g/a\x04";
    refused(V5, 0x82, no_local, ProtocolError, "MQTT-3.8.3-4");
}

#[test]
fn what_has_nothing_in_it_has_nothing_behind_it() {
    for version in [V3, V5] {
        refused(version, 0xc0, &[0], MalformedPacket, "2.1.4");
        assert_eq!(taken(version, 0xc0, &[]), Packet::PingReq);
    }
    refused(V3, 0xe0, &[0], MalformedPacket, "2.1.4");
}

#[test]
fn disconnect_has_a_reason_of_clients() {
    for bad in [0x87, 0x8e, 0x01, 0xff] {
        refused(V5, 0xe0, &[bad], ProtocolError, "2.4");
    }
    refused(V5, 0xe0, b"\0\x04\x1c\0\x01x", ProtocolError, "2.2.2.2");
    refused(V5, 0xe0, b"\0\0\0", MalformedPacket, "2.1.4");
    for (body, reason, session_expiry) in [
        (b"".as_slice(), Reason::Success, None),
        (b"\x04", Reason::DisconnectWithWill, None),
        (b"\0\x05\x11\0\0\0\x07", Reason::Success, Some(7)),
    ] {
        let Packet::Disconnect(disconnect) = taken(V5, 0xe0, body) else {
            panic!("no DISCONNECT");
        };
        assert_eq!(
            (disconnect.reason, disconnect.session_expiry),
            (reason, session_expiry)
        );
    }
}

#[test]
fn auth_names_its_method_and_never_succeeds() {
    refused(V5, 0xf0, &[], ProtocolError, "3.15.2.1");
    refused(V5, 0xf0, b"\0\x04\x15\0\x01m", ProtocolError, "2.4");
    refused(V5, 0xf0, b"\x18\0", ProtocolError, "3.15.2.2.2");
    refused(V5, 0xf0, b"\x18", ProtocolError, "3.15.2.2.2");
    taken(V5, 0xf0, b"\x19\x04\x15\0\x01m");
}
