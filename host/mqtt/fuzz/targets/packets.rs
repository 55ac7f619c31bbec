//! Any bytes, as what a client sends and as what a server does.
//!
//! ```text
//! input = mode piece bytes    mode: 0 bytes from the start, 1 behind a CONNECT of 3.1.1, 2 of 5, 3 and 4 from a server
//! ```
//!
//! What is checked: nothing panics; it does not matter how the bytes are cut; nothing is reserved for what
//! has not come; what was read, written again, is read as the same.
#![no_main]

use bytes::BytesMut;
use edge_mqtt::client::{self, connect};
use edge_mqtt::packet::Version;
use edge_mqtt::{Decoder, Packet, PacketError};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

type Read = Result<(Vec<Packet>, usize), PacketError>;

/// All packets in some bytes, and how many bytes are left.
fn read(bytes: &[u8], piece: usize) -> Read {
    let mut decoder = Decoder::new(LIMIT);
    let (mut buf, mut packets) = (BytesMut::with_capacity(bytes.len().max(64)), Vec::new());
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        while let Some(packet) = decoder.next(&mut buf)? {
            packets.push(packet);
        }
        assert!(
            buf.capacity() <= 2 * bytes.len().max(64),
            "room for what has not come"
        );
    }
    Ok((packets, buf.len()))
}

fn from_client(version: Option<Version>, piece: usize, bytes: &[u8]) {
    let mut all = BytesMut::new();
    if let Some(version) = version {
        let hello = Packet::Connect(Box::new(connect(version, "c")));
        client::encode(&mut all, version, &hello);
    }
    all.extend_from_slice(bytes);
    let at_once = read(&all, all.len().max(1));
    assert_eq!(at_once, read(&all, piece));
    let Ok((packets, _)) = at_once else { return };
    let Some(Packet::Connect(hello)) = packets.first() else {
        assert!(packets.is_empty());
        return;
    };
    let mut again = BytesMut::new();
    for packet in &packets {
        client::encode(&mut again, hello.version, packet);
    }
    assert_eq!(read(&again, again.len()), Ok((packets, 0)));
}

fn from_server(version: Version, bytes: &[u8]) {
    let mut buf = BytesMut::from(bytes);
    while let Ok(Some(_)) = client::decode(version, &mut buf) {}
}

fuzz_target!(|input: &[u8]| {
    let [mode, piece, bytes @ ..] = input else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    match mode % 5 {
        0 => from_client(None, piece, bytes),
        1 => from_client(Some(Version::V3), piece, bytes),
        2 => from_client(Some(Version::V5), piece, bytes),
        3 => from_server(Version::V3, bytes),
        _ => from_server(Version::V5, bytes),
    }
});
