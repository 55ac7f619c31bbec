use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::StreamHead;
use crate::support::{Client, EchoHead, PATIENCE, World, plain};

type Socket = WebSocketStream<DuplexStream>;

/// As Python's SDK asks for it.
fn request(protocols: &str) -> String {
    format!(
        "GET /$iothub/websocket HTTP/1.1\r\nUpgrade: websocket\r\nHost: edgegw:443\r\n\
         Origin: https://edgegw:443\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-Websocket-Version: 13\r\nConnection: Upgrade\r\n\
         Sec-Websocket-Protocol: {protocols}\r\n\r\n"
    )
}

/// A WebSocket to a head that echoes.
async fn echo(world: &World) -> (Socket, Option<tokio::task::JoinHandle<()>>) {
    let (head, mut came) = EchoHead::new("mqtt");
    let mut client = Client::of(&world.gateway(vec![head]), plain());
    client.send(request("mqtt").as_bytes()).await;
    assert_eq!(client.answer().await.status, 101);
    let peer = came.recv().await.expect("somebody came");
    assert!(peer.websocket && !peer.encrypted);
    assert_eq!(peer.address, plain().address);
    let socket = WebSocketStream::from_raw_socket(client.stream, Role::Client, None).await;
    (socket, client.serving)
}

async fn next(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(PATIENCE, socket.next()).await;
    next.expect("in time")
        .expect("not the end")
        .expect("a frame")
}

#[tokio::test]
async fn the_sub_protocol_is_echoed_and_the_first_that_is_spoken_is_chosen() {
    let world = World::new();
    let (mqtt, mut to_mqtt) = EchoHead::new("mqtt");
    let (amqp, mut to_amqp) = EchoHead::new("AMQPWSB10");
    let heads: Vec<Arc<dyn StreamHead>> = vec![mqtt, amqp];
    let gateway = world.gateway(heads);
    for (offered, chosen) in [
        ("mqtt", "mqtt"),
        ("AMQPWSB10", "AMQPWSB10"),
        ("mqttv3.1, mqtt", "mqtt"),
    ] {
        let mut client = Client::of(&gateway, plain());
        client.send(request(offered).as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), Some(chosen));
        // RFC 6455, section 1.3.
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert_eq!(answer.header("sec-websocket-accept"), Some(accept));
        assert_eq!(answer.header("sec-websocket-extensions"), None);
        let came = match chosen {
            "mqtt" => to_mqtt.recv().await,
            _ => to_amqp.recv().await,
        };
        assert!(came.is_some());
    }
    for bad in ["soap", ""] {
        let mut client = Client::of(&gateway, plain());
        client.send(request(bad).as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400);
        assert!(answer.message().contains("mqtt, AMQPWSB10"));
    }
}

#[tokio::test]
async fn a_client_library_connects_with_a_query_after_the_path() {
    let world = World::new();
    let (head, _came) = EchoHead::new("mqtt");
    let client = Client::of(&world.gateway(vec![head]), plain());
    let request = http::Request::get("ws://edgegw/$iothub/websocket?iothub-no-client-cert=true")
        .header("Host", "edgegw")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", "mqtt")
        .header(
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        )
        .body(())
        .expect("a request");
    let (mut socket, answer) = client_async(request, client.stream).await.expect("101");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mqtt");
    socket
        .send(Message::binary(b"abc".as_slice()))
        .await
        .expect("sent");
    assert_eq!(next(&mut socket).await, Message::binary(b"abc".as_slice()));
}

#[tokio::test]
async fn frames_however_they_are_cut_are_one_stream() {
    let world = World::new();
    let (mut socket, _serving) = echo(&world).await;
    let frame = |bytes: &'static [u8], opcode, last| {
        Message::Frame(Frame::message(bytes, OpCode::Data(opcode), last))
    };
    for message in [
        Message::binary(b"one ".as_slice()),
        Message::binary(b"".as_slice()),
        frame(b"t", Data::Binary, false),
        frame(b"w", Data::Continue, false),
        // Between the pieces of a message, as RFC 6455, section 5.4 allows.
        Message::Ping(b"there?".as_slice().into()),
        frame(b"o ", Data::Continue, true),
        Message::binary(b"three".as_slice()),
    ] {
        socket.send(message).await.expect("sent");
    }
    let (mut echoed, mut pongs) = (Vec::new(), 0);
    while echoed.len() < b"one two three".len() || pongs == 0 {
        match next(&mut socket).await {
            Message::Binary(bytes) => echoed.extend_from_slice(&bytes),
            Message::Pong(bytes) => {
                assert_eq!(&bytes[..], b"there?");
                pongs += 1;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(echoed, b"one two three");
}

#[tokio::test]
async fn more_than_fits_into_buffers_arrives_whole() {
    let world = World::new();
    let (socket, _serving) = echo(&world).await;
    let (mut write, mut read) = socket.split();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sending = async {
        for piece in sent.chunks(300_000) {
            write
                .send(Message::binary(piece.to_vec()))
                .await
                .expect("sent");
        }
    };
    let reading = async {
        let mut echoed = Vec::new();
        while echoed.len() < sent.len() {
            let next = read.next().await.expect("not the end").expect("a frame");
            echoed.extend_from_slice(&next.into_data());
        }
        echoed
    };
    let both = async { tokio::join!(sending, reading) };
    let ((), echoed) = tokio::time::timeout(PATIENCE, both).await.expect("in time");
    assert!(echoed == sent);
}

#[tokio::test]
async fn a_close_is_answered_and_ends_the_connection() {
    let world = World::new();
    let (mut socket, serving) = echo(&world).await;
    socket.close(None).await.expect("sent");
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
    let ended = tokio::time::timeout(PATIENCE, serving.expect("it is served")).await;
    ended.expect("in time").expect("without a panic");
}

#[tokio::test]
async fn text_and_messages_without_end_are_refused() {
    let world = World::new();
    for bad in [Message::text("hello"), Message::binary(vec![0; 2 << 20])] {
        let (mut socket, serving) = echo(&world).await;
        // The other end may be gone before all of it is sent.
        let _ = socket.send(bad).await;
        let ended = tokio::time::timeout(PATIENCE, serving.expect("it is served")).await;
        ended.expect("in time").expect("without a panic");
    }
    // Frames that are not masked, as only a server sends them (RFC 6455, section 5.1).
    let (head, _came) = EchoHead::new("mqtt");
    let mut client = Client::of(&world.gateway(vec![head]), plain());
    client.send(request("mqtt").as_bytes()).await;
    client.answer().await;
    client.stream.write_all(&[0x82, 1, 7]).await.expect("sent");
    let mut rest = Vec::new();
    let end = client.stream.read_to_end(&mut rest);
    tokio::time::timeout(PATIENCE, end)
        .await
        .expect("in time")
        .expect("the end");
    assert!(!rest.contains(&7), "it is not echoed");
}
