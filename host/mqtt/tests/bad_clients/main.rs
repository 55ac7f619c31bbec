//! Clients that do not behave: what they cost is bounded, they are named in the log, and others do not notice.
//!
//! Memory is counted, in bytes allocated by the process, and never judged by time. The one time here is that
//! after which somebody who does not say who it is must be gone.

#[path = "../support/client.rs"]
mod client;
mod credentials;
#[path = "../support/gate.rs"]
mod gate;
mod greedy;
mod lines;
mod memory;
mod slow;
mod storms;
#[path = "../support/world.rs"]
mod world;

use std::time::Duration;

use bytes::BytesMut;
use client::Client;
use edge_mqtt::client::Heard;
use edge_mqtt::packet::{Connect, Packet, Version};
use tokio::task::yield_now;
use tokio::time::timeout;
use world::World;

/// What does not come about by then does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CONNECT in bytes.
fn bytes_of(hello: Connect) -> BytesMut {
    let mut out = BytesMut::new();
    let version = hello.version;
    edge_mqtt::client::encode(&mut out, version, &Packet::Connect(Box::new(hello)));
    out
}

/// A client of which CONNECT was sent, on a stream that takes so many bytes.
async fn open(world: &World, hello: Connect, room: usize) -> Client {
    let mut client = Client::new(world.connect_by(room), hello.version);
    client.send(&Packet::Connect(Box::new(hello))).await;
    client
}

/// A client that was let in.
async fn enter(world: &World, hello: Connect) -> Client {
    let mut client = open(world, hello, 64 << 10).await;
    welcome(&mut client).await;
    client
}

/// A client of the open topics.
async fn anyone(world: &World, name: &str) -> Client {
    enter(world, world.hello(Version::V5, name)).await
}

/// Hears that it is let in; whether its session was there.
async fn welcome(client: &mut Client) -> bool {
    match client.hear().await {
        Some(Heard::ConnAck {
            session_present,
            code: 0,
            ..
        }) => session_present,
        other => panic!("not let in: {other:?}"),
    }
}

/// Asks for a sign of life, and gets it before anything else.
async fn ping(client: &mut Client) {
    client.send(&Packet::PingReq).await;
    assert_eq!(client.hear().await, Some(Heard::PingResp));
}

/// Waits until something is so.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let looks = async {
        while !is_so() {
            yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, looks).await.is_ok(), "never: {what}");
}
