//! How connections begin, what they may have, and how they end.

use std::time::Duration;

use edge_amqp::Limits;
use edge_core::ByteSize;
use edge_identity::Status;
use edge_store::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::support::{Client, SOON, World, module};
use super::{EVENTS, accepts, refusal, to};

#[tokio::test]
async fn a_peer_without_proof_in_time_or_with_a_bad_frame_is_sent_away() {
    let limits = Limits {
        proof: Duration::from_millis(200),
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let world = World::with(limits, ByteSize(1 << 20));
    let mut client = Client::open(world.dial()).await;
    let mut proven = Client::open(world.dial()).await;
    let token = world.token(&module(), Duration::from_secs(60));
    assert_eq!(proven.put_token(&token).await.0, 200);
    timeout(SOON, client.connection.on_close())
        .await
        .expect("closed")
        .unwrap_err();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut sender = proven.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
    proven.connection.close().await.unwrap();
    let mut silent = world.dial();
    let read = timeout(SOON, silent.read_u8()).await.expect("closed");
    assert!(read.is_err());
    let mut short = world.dial();
    short
        .write_all(b"AMQP\x00\x01\x00\x00\x00\x00\x00\x03")
        .await
        .unwrap();
    short.write_all(&[2, 0, 0, 0]).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, short.read_to_end(&mut answer))
        .await
        .expect("closed")
        .unwrap();
    let mut other = world.dial();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    timeout(SOON, other.read_to_end(&mut answer))
        .await
        .expect("closed")
        .unwrap();
    assert_eq!(world.head.status().connections, 0);
}

/// SASL frames of type 1: a header, then `init` with a mechanism and perhaps a response.
fn sasl_init(mechanism: &str) -> Vec<u8> {
    let name = mechanism.as_bytes();
    let length = u8::try_from(name.len()).unwrap();
    let mut list = vec![0xa3, length];
    list.extend(name);
    let mut body = vec![0x00, 0x53, 0x41, 0xc0, length + 3, 1];
    body.extend(list);
    let size = u32::try_from(8 + body.len()).unwrap();
    let mut bytes = b"AMQP\x03\x01\x00\x00".to_vec();
    bytes.extend(size.to_be_bytes());
    bytes.extend([2, 1, 0, 0]);
    bytes.extend(body);
    bytes
}

/// The code in the outcome of a SASL negotiation.
async fn sasl_outcome(stream: &mut tokio::io::DuplexStream) -> u8 {
    let mut header = [0; 8];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(&header, b"AMQP\x03\x01\x00\x00");
    loop {
        let size = stream.read_u32().await.unwrap() as usize;
        let mut frame = vec![0; size - 4];
        stream.read_exact(&mut frame).await.unwrap();
        // `mechanisms` is 0x40, `outcome` 0x44; its first field is an ubyte.
        let at = frame.windows(2).position(|pair| pair == [0x53, 0x44]);
        if let Some(at) = at {
            let code = frame[at..].iter().position(|byte| *byte == 0x50).unwrap();
            return frame[at + code + 1];
        }
        assert!(frame.windows(7).any(|word| word == b"MSSBCBS"));
    }
}

#[tokio::test]
async fn mssbcbs_proves_nothing_and_a_token_that_is_put_afterwards_does() {
    let world = World::new();
    let open = || async {
        let mut stream = world.dial();
        stream.write_all(&sasl_init("MSSBCBS")).await.unwrap();
        let code = timeout(SOON, sasl_outcome(&mut stream)).await;
        assert_eq!(code.expect("an outcome"), 0);
        Client::open(stream).await
    };
    let refused = refusal(open().await.sender(EVENTS).await).await;
    assert!(refused.contains("UnauthorizedAccess"), "{refused}");
    let mut client = open().await;
    let token = world.token(&module(), Duration::from_secs(60));
    assert_eq!(client.put_token(&token).await.0, 200);
    let mut sender = client.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
    // What was not offered is refused.
    let mut stream = world.dial();
    stream.write_all(&sasl_init("GSSAPI")).await.unwrap();
    assert_eq!(timeout(SOON, sasl_outcome(&mut stream)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_connection_has_as_many_sessions_as_it_may() {
    let limits = Limits {
        sessions: 3,
        ..Limits::default()
    };
    let world = World::with(limits, ByteSize(1 << 20));
    let mut client = world.connect(&module()).await;
    for _ in 0..2 {
        let begun = fe2o3_amqp::Session::begin(&mut client.connection);
        std::mem::forget(timeout(SOON, begun).await.unwrap().unwrap());
    }
    let more = fe2o3_amqp::Session::begin(&mut client.connection);
    assert!(timeout(SOON, more).await.unwrap().is_err());
    // Those that it has go on.
    let mut sender = client.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
}

#[tokio::test]
async fn a_connection_has_as_many_identities_as_it_may_and_one_that_went_makes_room() {
    let limits = Limits {
        identities: 2,
        ..Limits::default()
    };
    let world = World::with(limits, ByteSize(1 << 20));
    let other = |name: &str| {
        let identity = edge_core::Identity::Device(edge_core::DeviceId::new(name).unwrap());
        world.registry.ensure(&identity, world.hub.now()).unwrap();
        identity
    };
    let mut client = world.connect(&module()).await;
    let hour = Duration::from_secs(3_600);
    let token = |identity| world.token(identity, hour);
    let (one, two) = (other("one"), other("two"));
    assert_eq!(client.put_token(&token(&one)).await.0, 200);
    let (status, why) = client.put_token(&token(&two)).await;
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("too many identities"), "{why}");
    // Those that it has are renewed all the same.
    assert_eq!(client.put_token(&token(&one)).await.0, 200);
    let now = world.hub.now();
    let disabled = world.registry.set_status(&one, Status::Disabled, now);
    disabled.unwrap();
    let room = async {
        while client.put_token(&token(&two)).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, room).await.expect("there is room");
}

#[tokio::test]
async fn a_frame_that_is_larger_than_was_agreed_on_ends_its_connection_and_no_other() {
    let limits = Limits {
        frame: 1_024,
        ..Limits::default()
    };
    let world = World::with(limits, ByteSize(1 << 20));
    // A message of many such frames comes through.
    let mut good = world.connect(&module()).await;
    let mut sender = good.sender(EVENTS).await.unwrap();
    let body = "x".repeat(10_000);
    accepts(&mut sender, to("up", &body)).await;
    let mut bad = world.dial();
    bad.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
    // As much as was said to come is not waited for.
    bad.write_all(&[0, 0, 4, 1, 2, 0, 0, 0]).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, bad.read_to_end(&mut answer))
        .await
        .expect("closed")
        .unwrap();
    accepts(&mut sender, to("up", "1")).await;
    assert_eq!(world.head.status().connections, 1);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_cut_off_and_its_identity_is_free() {
    let limits = Limits {
        idle: Duration::from_millis(400),
        ..Limits::default()
    };
    let world = World::with(limits, ByteSize(1 << 20));
    // A connection whose bytes stop, which TCP does not notice.
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let mut head = world.dial();
    let stop = std::sync::Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut head, &mut far) => {}
            () = stopped.notified() => {}
        }
        // Both ends stay open.
        tokio::time::sleep(SOON * 2).await;
    });
    let mut client = Client::open(near).await;
    let token = world.token(&module(), Duration::from_secs(60));
    assert_eq!(client.put_token(&token).await.0, 200);
    stop.notify_one();
    let gone = async {
        while world.head.status().connections > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.expect("it is cut off");
}

#[tokio::test]
async fn the_end_of_the_hub_closes_connections_with_a_word() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    world.closing.send_replace(true);
    let error = timeout(SOON, client.connection.on_close())
        .await
        .expect("closed");
    let error = format!("{:?}", error.unwrap_err());
    assert!(error.contains("ConnectionForced"), "{error}");
    // Nothing of it is left in the tables of twins.
    assert_eq!(world.hub.log().get(Table::Twins, b"desired\0d/m"), None);
}

#[tokio::test]
async fn a_session_has_as_many_links_as_it_may() {
    let limits = Limits {
        links: 4,
        ..Limits::default()
    };
    let world = World::with(limits, ByteSize(1 << 20));
    let mut client = world.connect(&module()).await;
    // Two of them are those of the token.
    let mut senders = Vec::new();
    for _ in 0..2 {
        senders.push(client.sender(EVENTS).await.unwrap());
    }
    let refused = refusal(client.sender(EVENTS).await).await;
    assert!(refused.contains("too many links"), "{refused}");
    for sender in &mut senders {
        accepts(sender, to("up", "1")).await;
    }
    // One that ends makes room.
    let ends = senders.pop().unwrap().close();
    timeout(SOON, ends).await.unwrap().unwrap();
    let third = timeout(SOON, async {
        loop {
            // Its end is heard of a moment later than its peer hears that it ended.
            if let Ok(sender) = client.sender(EVENTS).await {
                break sender;
            }
        }
    });
    let mut third = third.await.unwrap();
    accepts(&mut third, to("up", "2")).await;
}
