//! What is taken, what is not and why, and that it does not matter how the bytes come.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::client;

mod differential;
mod generate;
mod rules;

/// Decodes everything in some bytes, given at once.
fn decode_all(bytes: &[u8]) -> Result<Vec<Packet>, PacketError> {
    decode_in_pieces(bytes, bytes.len().max(1))
}

/// Decodes everything in some bytes, given in pieces of this length.
fn decode_in_pieces(bytes: &[u8], piece: usize) -> Result<Vec<Packet>, PacketError> {
    let mut decoder = Decoder::new(1 << 20);
    let (mut buf, mut packets) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        while let Some(packet) = decoder.next(&mut buf)? {
            packets.push(packet);
        }
    }
    Ok(packets)
}

fn encode_all(version: Version, packets: &[Packet]) -> BytesMut {
    let mut out = BytesMut::new();
    for packet in packets {
        client::encode(&mut out, version, packet);
    }
    out
}

proptest! {
    #[test]
    fn what_a_client_writes_is_what_is_read_however_it_is_cut(
        (version, packets) in generate::conversation(),
        piece in 1usize..40,
    ) {
        let bytes = encode_all(version, &packets);
        let read = decode_in_pieces(&bytes, piece);
        prop_assert_eq!(read.as_ref(), Ok(&packets));
        let again = encode_all(version, &read.expect("checked"));
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn broken_bytes_give_the_same_answer_at_once_and_one_at_a_time(
        (version, packets) in generate::conversation(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode_all(version, &packets);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let (at_once, single) = (decode_all(&bytes), decode_in_pieces(&bytes, 1));
        match (&at_once, &single) {
            (Err(a), Err(b)) => prop_assert_eq!(a, b),
            _ => prop_assert_eq!(at_once, single),
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_all(&bytes);
        for version in [Version::V3, Version::V5] {
            let mut all = encode_all(version, &[Packet::Connect(Box::new(client::connect(version, "c")))]);
            all.extend_from_slice(&bytes);
            let _ = decode_all(&all);
        }
    }
}

#[test]
fn a_length_over_the_limit_is_refused_at_its_header_and_takes_no_memory() {
    let mut decoder = Decoder::new(1_000);
    let mut buf = BytesMut::with_capacity(64);
    let hello = Packet::Connect(Box::new(client::connect(Version::V5, "c")));
    client::encode(&mut buf, Version::V5, &hello);
    assert!(matches!(
        decoder.next(&mut buf),
        Ok(Some(Packet::Connect(_)))
    ));
    buf.extend_from_slice(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
    let room = buf.capacity();
    let error = decoder.next(&mut buf).expect_err("256 MB");
    assert_eq!(error.reason(), Reason::PacketTooLarge);
    assert_eq!(
        error.to_string(),
        "PUBLISH: 268435460 bytes, at most 1000 are taken [MQTT-3.2.2-15]"
    );
    assert_eq!(buf.capacity(), room);
}

#[test]
fn a_length_within_the_limit_reserves_nothing_before_its_bytes_come() {
    let mut decoder = Decoder::new(usize::MAX);
    let mut buf = BytesMut::with_capacity(64);
    buf.extend_from_slice(&[0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4]);
    let room = buf.capacity();
    assert_eq!(decoder.next(&mut buf), Ok(None));
    assert_eq!(buf.capacity(), room);
}

#[test]
fn the_limit_counts_the_fixed_header() {
    for (limit, fits) in [(9, true), (8, false)] {
        let mut buf = BytesMut::new();
        client::encode(
            &mut buf,
            Version::V3,
            &Packet::Connect(Box::new(client::connect(Version::V3, "c"))),
        );
        let mut decoder = Decoder::new(100);
        decoder.next(&mut buf).expect("CONNECT");
        decoder.set_limit(limit);
        let message = client::publish("a/b", None, "12");
        client::encode(&mut buf, Version::V3, &Packet::Publish(message));
        assert_eq!(buf.len(), 9);
        assert_eq!(decoder.next(&mut buf).is_ok(), fits);
    }
}

#[test]
fn the_first_byte_of_something_else_is_enough_to_refuse_it() {
    // TLS to the port without it, HTTP, and a packet before CONNECT.
    for (byte, reason) in [
        (0x16, Reason::MalformedPacket),
        (b'G', Reason::ProtocolError),
        (0x30, Reason::ProtocolError),
        (0x00, Reason::MalformedPacket),
    ] {
        let mut buf = BytesMut::from(&[byte][..]);
        let error = Decoder::new(100).next(&mut buf).expect_err("not MQTT");
        assert_eq!(error.reason(), reason, "{byte:#x}: {error}");
    }
}

#[test]
fn bodies_and_topics_are_slices_of_what_was_read() {
    for version in [Version::V3, Version::V5] {
        let mut buf = BytesMut::with_capacity(4096);
        let hello = Packet::Connect(Box::new(client::connect(version, "c")));
        client::encode(&mut buf, version, &hello);
        let mut message = client::publish("a/b", PacketId::new(1), vec![7; 1000]);
        if version == Version::V5 {
            message.properties = Some(Box::new(PublishProperties {
                user_properties: vec![("k".into(), "v".into())],
                ..PublishProperties::default()
            }));
        }
        client::encode(&mut buf, version, &Packet::Publish(message));
        let read = buf.as_ptr_range();
        let mut decoder = Decoder::new(10_000);
        decoder.next(&mut buf).expect("CONNECT");
        let Ok(Some(Packet::Publish(publish))) = decoder.next(&mut buf) else {
            panic!("no PUBLISH");
        };
        assert!(read.contains(&publish.body.as_ptr()));
        assert!(read.contains(&publish.topic.as_ptr()));
        for (name, value) in publish.properties.iter().flat_map(|p| &p.user_properties) {
            assert!(read.contains(&name.as_ptr()) && read.contains(&value.as_ptr()));
        }
    }
}

#[test]
fn secrets_are_not_shown() {
    let mut connect = client::connect(Version::V5, "c");
    connect.password = Some("hunter2".into());
    connect.auth_data = Some("hunter2".into());
    assert!(!format!("{connect:?}").contains("hunter2"));
    let auth = Auth {
        reason: Reason::ReAuthenticate,
        method: "m".into(),
        data: Some("hunter2".into()),
        reason_string: None,
    };
    assert!(!format!("{auth:?}").contains("hunter2"));
}
