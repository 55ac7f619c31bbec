//! Clients that want more than is theirs: time, memory, connections.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use edge_mqtt::Reason;
use edge_mqtt::client::Heard;
use edge_mqtt::packet::{Packet, QoS, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{interval, timeout};

use crate::client::{Client, id};
use crate::lines;
use crate::memory::Watermark;
use crate::world::{Site, World};
use crate::{PATIENCE, anyone, bytes_of, enter, eventually, open, ping, welcome};

/// The time that a client has to say who it is.
const HURRY: Duration = Duration::from_secs(30);

/// Waits until the server closes; when it did.
async fn closing(mut stream: impl AsyncRead + Unpin, start: Instant) -> Duration {
    let mut rest = Vec::new();
    let read = timeout(HURRY + PATIENCE, stream.read_to_end(&mut rest)).await;
    read.expect("it is closed").expect("in order");
    assert!(rest.is_empty(), "there is nobody to say something to");
    start.elapsed()
}

#[tokio::test]
async fn whoever_does_not_say_who_it_is_is_closed_after_half_a_minute_and_holds_up_nobody() {
    let world = World::new(Site::Open);
    let hello = bytes_of(world.hello(Version::V5, "somebody"));
    let mut good = anyone(&world, "good").await;
    let start = Instant::now();
    let mut silent = JoinSet::new();
    for part in [0, 1, 2, 9, hello.len() - 1] {
        for _ in 0..20 {
            let mut stream = world.connect();
            stream.write_all(&hello[..part]).await.expect("it listens");
            silent.spawn(closing(stream, start));
        }
    }
    // Says something each second, and would take a minute for it.
    let mut hello = world.hello(Version::V5, "slow");
    hello.user_properties = vec![("x".into(), "y".repeat(60).into())];
    let hello = bytes_of(hello);
    let mut bytes = hello.iter();
    let (drip, mut drips) = tokio::io::split(world.connect());
    silent.spawn(closing(drip, start));
    // Does not take its CONNACK, which is longer than this stream.
    let deaf = open(&world, world.hello(Version::V5, "deaf"), 8).await;
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ended = silent.join_next() => match ended {
                Some(after) => assert!(after.expect("task") >= HURRY),
                None => break,
            },
            _ = second.tick() => {
                ping(&mut good).await;
                if let Some(byte) = bytes.next() {
                    // It may have been closed.
                    let _ = drips.write_all(&[*byte]).await;
                }
            }
        }
    }
    eventually("the deaf one is gone", || world.status().connected == 1).await;
    drop(deaf);
    assert_eq!(world.status().refused, 102);
    ping(&mut good).await;
}

#[tokio::test]
async fn a_connect_byte_by_byte_is_as_good_as_another() {
    for site in [Site::Open, Site::Sdk] {
        for version in [Version::V3, Version::V5] {
            let world = World::new(site);
            let mut client = Client::new(world.connect(), version);
            for byte in bytes_of(world.hello(version, "a")) {
                client.stream.write_all(&[byte]).await.expect("it listens");
                yield_now().await;
            }
            welcome(&mut client).await;
            for byte in [0xc0, 0] {
                client.stream.write_all(&[byte]).await.expect("it listens");
                yield_now().await;
            }
            assert_eq!(client.hear().await, Some(Heard::PingResp));
        }
    }
}

#[tokio::test]
async fn a_length_of_256_mb_is_refused_before_anything_of_it_is_read() {
    for site in [Site::Open, Site::Sdk] {
        let world = World::new(site);
        let mut stranger = world.connect();
        let memory = Watermark::set().await;
        let huge = [0x10, 0xff, 0xff, 0xff, 0x7f];
        stranger.write_all(&huge).await.expect("it listens");
        assert_eq!(stranger.read(&mut [0; 8]).await.expect("closed"), 0);
        assert!(memory.most() < 16 << 10, "{} bytes", memory.most());
        drop(memory);
        for (version, first) in [
            (Version::V3, 0x30),
            (Version::V3, 0x82),
            (Version::V5, 0x30),
            (Version::V5, 0x82),
            (Version::V5, 0xe0),
        ] {
            let mut client = enter(&world, world.hello(version, "a")).await;
            let memory = Watermark::set().await;
            let huge = [first, 0xff, 0xff, 0xff, 0x7f];
            client.stream.write_all(&huge).await.expect("it listens");
            let heard = client.hear().await;
            assert!(memory.most() < 16 << 10, "{} bytes", memory.most());
            let told = matches!(
                heard,
                Some(Heard::Disconnect {
                    reason: Reason::PacketTooLarge,
                    ..
                })
            );
            match version {
                Version::V3 => assert_eq!(heard, None),
                Version::V5 => assert!(told, "{heard:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_length_that_is_allowed_costs_nothing_until_its_bytes_come() {
    let world = World::new(Site::Open);
    let mut good = anyone(&world, "good").await;
    let mut others = Vec::new();
    for n in 0..100 {
        others.push(anyone(&world, &format!("c{n}")).await);
    }
    let memory = Watermark::set().await;
    for other in &mut others {
        // PUBLISH of 250 000 bytes, of which five come.
        let head = [0x30, 0x90, 0xa1, 0x0f, 0, 1, b't', 0, b'x'];
        other.stream.write_all(&head).await.expect("it listens");
    }
    for _ in 0..3 {
        ping(&mut good).await;
    }
    assert!(memory.most() < 100 * (4 << 10), "{} bytes", memory.most());
}

#[tokio::test]
async fn ten_thousand_connections_cost_little_each_and_nothing_when_they_are_gone() {
    const MANY: usize = 10_000;
    let world = World::new(Site::Open);
    let mut good = anyone(&world, "good").await;
    let memory = Watermark::set().await;
    let mut all = Vec::with_capacity(MANY);
    for n in 0..MANY {
        let mut hello = world.hello(Version::V5, &format!("client-{n}"));
        hello.keep_alive = 60;
        // Streams in memory are memory, too: as little of it as a CONNECT needs.
        let mut client = open(&world, hello, 256).await;
        welcome(&mut client).await;
        client.input = bytes::BytesMut::new();
        all.push(client);
    }
    assert_eq!(world.status().connected, MANY + 1);
    // Both ends of each, of which the client's is a kilobyte or so.
    let each = memory.more() / MANY;
    assert!(each < 16 << 10, "{each} bytes each");
    ping(&mut good).await;
    for client in &mut all {
        ping(client).await;
    }
    drop(all);
    eventually("all are gone", || world.status().connected == 1).await;
    ping(&mut good).await;
    let each = memory.more() / MANY;
    assert!(each < 512, "{each} bytes each are left");
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_no_longer_read() {
    let pings = vec![0xc0, 0];
    let publishes = vec![0x32, 5, 0, 1, b't', 0, 1];
    let subscribes = vec![0x82, 6, 0, 1, 0, 1, b't', 0];
    for frame in [pings, publishes, subscribes] {
        let world = World::new(Site::Open);
        let mut good = anyone(&world, "good").await;
        let greedy = enter(&world, world.hello(Version::V3, "greedy")).await;
        let memory = Watermark::set().await;
        let (_unread, mut write) = tokio::io::split(greedy.stream);
        let kind = frame[0];
        let flood = tokio::spawn(async move {
            // A hundred megabytes, and each frame wants an answer.
            let frames = frame.repeat(1_000);
            for _ in 0..(100 << 20) / frames.len() {
                write.write_all(&frames).await.expect("it is there");
            }
        });
        for _ in 0..2_000 {
            ping(&mut good).await;
        }
        assert!(!flood.is_finished(), "{kind:02x}");
        let most = memory.most();
        // Answers that wait to be written, and what they are kept in until then.
        assert!(most < 4 << 20, "{kind:02x}: {most} bytes");
        flood.abort();
    }
}

#[tokio::test]
async fn subscriptions_of_one_client_are_bounded_in_number_and_in_what_they_cost() {
    let kinds = [("deep", 20), ("long", 2), ("plain", 1_000)];
    for (kind, at_least) in kinds {
        let filter = |n: u32| match kind {
            "deep" => format!("{n}{}", "/a".repeat(127)),
            "long" => format!("{n}/{}", "x".repeat(60_000)),
            _ => format!("plant/line-{n}/machine/temperature"),
        };
        let world = World::new(Site::Open);
        let mut good = anyone(&world, "good").await;
        let mut greedy = anyone(&world, "greedy").await;
        let memory = Watermark::set().await;
        let mut granted = 0;
        for n in 0..3_000 {
            match greedy.subscribe(1, &filter(n)).await[..] {
                [1] => granted += 1,
                [0x97] => {}
                ref other => panic!("{other:?}"),
            }
        }
        assert!((at_least..=1_000).contains(&granted), "{kind}: {granted}");
        assert!(memory.more() < 8 << 20, "{kind}: {} bytes", memory.more());
        ping(&mut good).await;
    }
}

#[tokio::test]
async fn topics_of_64_kib_cost_what_their_aliases_cost() {
    let world = World::new(Site::Open);
    let mut greedy = anyone(&world, "greedy").await;
    let memory = Watermark::set().await;
    let topic = |n: u16| format!("{n}/{}", "x".repeat(60_000));
    for n in 1..=1_000 {
        let mut publish = edge_mqtt::client::publish(&topic(n), Some(id(n)), "x");
        publish.alias = NonZeroU16::new(n).filter(|n| n.get() <= 64);
        greedy.send(&Packet::Publish(publish)).await;
        assert!(matches!(greedy.hear().await, Some(Heard::PubAck(_))));
    }
    // 64 aliases, of which CONNACK speaks, and little beside them.
    let most = memory.most();
    assert!(most < 64 * 61_000 + (2 << 20), "{most} bytes");
}

#[tokio::test]
async fn a_thousand_refusals_in_one_packet_are_one_line_in_the_log() {
    lines::collect();
    let world = World::new(Site::Open);
    let mut client = anyone(&world, "curious").await;
    let filters: Vec<_> = (0..1_000).map(|n| format!("$closed/{n}")).collect();
    let filters: Vec<_> = filters.iter().map(|f| (&**f, QoS::AtMostOnce)).collect();
    let subscribe = edge_mqtt::client::subscribe(id(1), &filters);
    client.send(&Packet::Subscribe(subscribe)).await;
    let heard = client.hear().await;
    match &heard {
        Some(Heard::SubAck { codes, .. }) if *codes == [0x87; 1_000] => {}
        other => panic!("{other:?}"),
    }
    let lines = lines::with(&["subscription refused"]);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("$closed/0") && lines[0].contains("999"),
        "{lines:?}"
    );
}
