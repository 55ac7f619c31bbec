//! A client over a stream in memory.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Packet, PacketId, QoS, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn id(n: u16) -> PacketId {
    NonZeroU16::new(n).expect("not 0")
}

pub struct Client {
    pub stream: DuplexStream,
    pub input: BytesMut,
    pub version: Version,
}

impl Client {
    pub fn new(stream: DuplexStream, version: Version) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            version,
        }
    }

    pub async fn send(&mut self, packet: &Packet) {
        let mut out = BytesMut::new();
        client::encode(&mut out, self.version, packet);
        self.stream.write_all(&out).await.expect("it listens");
    }

    /// The next packet; none: it was closed.
    pub async fn hear(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = client::decode(self.version, &mut self.input).expect("valid") {
                return Some(heard);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            if read.expect("it says something").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn subscribe(&mut self, n: u16, filter: &str) -> Vec<u8> {
        let subscribe = client::subscribe(id(n), &[(filter, QoS::AtLeastOnce)]);
        self.send(&Packet::Subscribe(subscribe)).await;
        match self.hear().await {
            Some(Heard::SubAck { codes, .. }) => codes,
            other => panic!("expected SUBACK: {other:?}"),
        }
    }

    pub async fn publish(&mut self, n: u16, topic: &str, body: &str) {
        let publish = client::publish(topic, Some(id(n)), body.to_owned());
        self.send(&Packet::Publish(publish)).await;
    }

    /// The next message: topic, body, packet id, DUP.
    pub async fn message(&mut self) -> (String, String, Option<PacketId>, bool) {
        match self.hear().await {
            Some(Heard::Publish {
                topic,
                body,
                id,
                dup,
                ..
            }) => {
                let body = String::from_utf8(body.to_vec()).expect("text");
                (topic.to_string(), body, id, dup)
            }
            other => panic!("expected a message: {other:?}"),
        }
    }
}
