//! Subscribers that do not read: what is for them waits in the store, and others get theirs.

use edge_core::{ByteSize, EndpointId};
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Packet, QoS, Version};
use edge_store::MessageLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, id};
use crate::gate::Gate;
use crate::memory::Watermark;
use crate::world::{Site, World};
use crate::{anyone, enter, eventually, open, ping, welcome};

/// Messages that are published.
const MANY: u16 = 10_000;
/// Those that are published at a time.
const BATCH: u16 = 100;

/// Publishes many messages, each of a kilobyte, while somebody who is quick gets all of them.
async fn publish(world: &World) {
    let mut quick = anyone(world, "quick").await;
    assert_eq!(quick.subscribe(1, "t").await, [1]);
    let mut sender = anyone(world, "sender").await;
    for batch in 0..MANY / BATCH {
        for n in 0..BATCH {
            let body = format!("{:01000}", batch * BATCH + n);
            sender.publish(n + 1, "t", &body).await;
        }
        for n in 0..BATCH {
            let expected = Heard::PubAck(client::ack(id(n + 1)));
            assert_eq!(sender.hear().await, Some(expected));
        }
        for n in 0..BATCH {
            let (_, body, packet, _) = quick.message().await;
            assert_eq!(body.parse(), Ok(batch * BATCH + n));
            let ack = client::ack(packet.expect("QoS 1"));
            quick.send(&Packet::PubAck(ack)).await;
        }
    }
}

/// Messages that wait in queues of sessions.
fn waiting(world: &World) -> u64 {
    let queues = world.log.queues().into_iter();
    let of_sessions = queues.filter(|queue| matches!(queue.endpoint, EndpointId::Session(_)));
    of_sessions.map(|queue| queue.depth).sum()
}

/// A subscriber whose session is kept.
async fn subscriber(world: &World, qos: QoS, room: usize) -> Client {
    let mut hello = world.hello(Version::V5, "slow");
    hello.session_expiry = u32::MAX;
    let mut client = open(world, hello, room).await;
    assert!(!welcome(&mut client).await);
    let subscribe = client::subscribe(id(1), &[("t", qos)]);
    client.send(&Packet::Subscribe(subscribe)).await;
    let heard = client.hear().await;
    assert!(matches!(heard, Some(Heard::SubAck { .. })), "{heard:?}");
    client
}

#[tokio::test]
async fn what_a_slow_reader_does_not_take_waits_in_the_store_and_others_get_theirs() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        // What the store itself takes: its messages are in memory here.
        let world = World::new(Site::Open);
        drop(subscriber(&world, qos, 4 << 10).await);
        let memory = Watermark::set().await;
        publish(&world).await;
        let all = u64::from(MANY);
        eventually("the quick one is done", || waiting(&world) == all).await;
        let asleep = memory.more();
        drop(memory);
        drop(world);

        let world = World::new(Site::Open);
        let mut slow = subscriber(&world, qos, 4 << 10).await;
        let memory = Watermark::set().await;
        publish(&world).await;
        let connected = memory.more();
        let extra = connected.saturating_sub(asleep);
        assert!(
            extra < 2 << 20,
            "{qos:?}: {connected} and not {asleep} bytes"
        );
        // What is in flight waits as well; of QoS 0 what waits to be written does not.
        assert!(waiting(&world) > u64::from(MANY) - 1_000, "{qos:?}");
        drop(memory);

        // Once it reads, all comes, in order.
        for n in 0..MANY {
            let (_, body, packet, dup) = slow.message().await;
            assert_eq!((body.parse(), dup), (Ok(n), false));
            if let Some(packet) = packet {
                slow.send(&Packet::PubAck(client::ack(packet))).await;
            }
        }
        eventually("nothing waits", || waiting(&world) == 0).await;
    }
}

#[tokio::test]
async fn a_slow_reader_is_still_heard() {
    let world = World::new(Site::Open);
    let mut slow = subscriber(&world, QoS::AtLeastOnce, 4 << 10).await;
    publish(&world).await;
    // It publishes though it takes nothing.
    let mut other = enter(&world, world.hello(Version::V5, "other")).await;
    assert_eq!(other.subscribe(1, "u").await, [1]);
    slow.publish(1, "u", "still here").await;
    let (topic, body, ..) = other.message().await;
    assert_eq!((topic.as_str(), body.as_str()), ("u", "still here"));
}

#[tokio::test]
async fn a_slow_reader_gives_way_to_its_next_connection_which_gets_all_of_it() {
    let world = World::new(Site::Open);
    let slow = subscriber(&world, QoS::AtLeastOnce, 4 << 10).await;
    publish(&world).await;
    // The one before is still there, and reads nothing.
    let mut hello = world.hello(Version::V5, "slow");
    hello.clean_start = false;
    let mut next = open(&world, hello, 64 << 10).await;
    assert!(welcome(&mut next).await);
    let (mut repeats, mut news) = (0, 0);
    for n in 0..MANY {
        let (_, body, packet, dup) = next.message().await;
        assert_eq!(body.parse(), Ok(n));
        match dup {
            true => repeats += 1,
            false => news += 1,
        }
        assert!(!dup || news == 0, "what was sent before comes first");
        let ack = client::ack(packet.expect("QoS 1"));
        next.send(&Packet::PubAck(ack)).await;
    }
    assert!(repeats > 0 && repeats <= 1_000, "{repeats} repeats");
    drop(slow);
}

#[tokio::test]
async fn who_is_held_back_for_the_store_is_not_taken_for_silent() {
    const MORE: u16 = 6_000;
    let world = World::new(Site::Sdk);
    let topic = "devices/d/modules/m/messages/events/%24.on=o";
    let mut hello = world.hello(Version::V3, "m");
    hello.keep_alive = 1;
    let held = enter(&world, hello).await;
    let clock = World::new(Site::Open);
    let mut silent = clock.hello(Version::V3, "silent");
    silent.keep_alive = 2;
    let mut silent = enter(&clock, silent).await;

    world.log.hold();
    let (read, mut write) = tokio::io::split(held.stream);
    let sends = tokio::spawn(async move {
        for n in 1..=MORE {
            let mut out = bytes::BytesMut::new();
            let publish = client::publish(topic, Some(id(n)), "x");
            client::encode(&mut out, Version::V3, &Packet::Publish(publish));
            write.write_all(&out).await.expect("it is there");
        }
        write
    });
    // It is three seconds until this one is closed: twice what the other may be silent.
    assert_eq!(silent.hear().await, None);
    assert!(!sends.is_finished(), "it is not held back");
    world.log.release();
    let write = sends.await.expect("all is taken");
    let mut held = Client::new(read.unsplit(write), Version::V3);
    for n in 1..=MORE {
        let expected = Heard::PubAck(client::ack(id(n)));
        assert_eq!(held.hear().await, Some(expected));
    }
}

#[tokio::test]
async fn what_does_not_fit_into_the_store_waits_and_comes_in_order() {
    const MORE: u16 = 1_000;
    let room = ByteSize(256 << 10);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let world = World::over(Site::Open, Gate::with_room(room));
        drop(subscriber(&world, QoS::AtLeastOnce, 64 << 10).await);
        eventually("it sleeps", || world.status().asleep == 1).await;
        let sender = enter(&world, world.hello(Version::V3, "sender")).await;
        let (mut read, mut write) = tokio::io::split(sender.stream);
        let sends = tokio::spawn(async move {
            for n in 1..=MORE {
                let mut out = bytes::BytesMut::new();
                let mut publish = client::publish("t", Some(id(n)), format!("{n:01000}"));
                publish.qos = qos;
                client::encode(&mut out, Version::V3, &Packet::Publish(publish));
                write.write_all(&out).await.expect("it is there");
            }
            write
        });
        // Others are served while it waits.
        let mut good = anyone(&world, "good").await;
        eventually("the store is full", || world.hub.pressure().is_high()).await;
        for _ in 0..100 {
            ping(&mut good).await;
        }
        assert!(waiting(&world) < u64::from(MORE));

        // Somebody reads, and makes room.
        let mut slow = world.hello(Version::V3, "slow");
        slow.clean_start = false;
        let mut slow = open(&world, slow, 64 << 10).await;
        assert!(welcome(&mut slow).await);
        for n in 1..=MORE {
            let (_, body, packet, _) = slow.message().await;
            assert_eq!(body.parse(), Ok(n));
            let ack = client::ack(packet.expect("QoS 1"));
            slow.send(&Packet::PubAck(ack)).await;
        }
        sends.await.expect("all is taken");
        let mut answers = vec![0; usize::from(MORE) * 4];
        read.read_exact(&mut answers)
            .await
            .expect("all is answered");
        let kind = if qos == QoS::AtLeastOnce { 0x40 } else { 0x50 };
        for (answer, n) in answers.chunks(4).zip(1..=MORE) {
            let [high, low] = n.to_be_bytes();
            assert_eq!(answer, [kind, 2, high, low]);
        }
    }
}
