//! Retained messages and wills.

use edge_mqtt::Reason;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Connect, Disconnect, Packet, Version};
use edge_store::{MessageLog, Table};

use super::world::{World, acknowledged, eventually, kept, retained, will};

#[tokio::test]
async fn a_new_subscriber_gets_what_is_retained_until_it_is_cleared_also_over_a_crash() {
    let world = World::new();
    let mut sender = world.anyone(Version::V5, "sender").await;
    for (n, topic) in (1..).zip(["free/a", "free/b", "free/b/c"]) {
        sender.send(&retained(topic, n, topic)).await;
        acknowledged(&mut sender, n).await;
    }
    let world = world.crash().await;
    let mut client = world.anyone(Version::V5, "c").await;
    client.subscribe(1, "free/b/#").await;
    for expected in ["free/b", "free/b/c"] {
        match client.hear().await {
            Some(Heard::Publish {
                topic,
                body,
                retain: true,
                ..
            }) => assert_eq!((&*topic, &body[..]), (expected, expected.as_bytes())),
            other => panic!("{other:?}"),
        }
    }
    // Who is subscribed sees a new one as any other message.
    let mut sender = world.anyone(Version::V5, "sender").await;
    sender.send(&retained("free/b", 1, "")).await;
    match client.hear().await {
        Some(Heard::Publish { body, retain, .. }) => assert_eq!((body.len(), retain), (0, false)),
        other => panic!("{other:?}"),
    }
    let world = world.crash().await;
    let mut client = world.anyone(Version::V5, "c").await;
    client.subscribe(1, "free/b").await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.hear().await, Some(Heard::PingResp));
}

#[tokio::test]
async fn a_will_is_published_when_its_client_is_lost_and_not_when_it_leaves() {
    let world = World::new();
    let mut client = world.anyone(Version::V3, "c").await;
    client.subscribe(1, "free/wills/#").await;
    for (name, orderly) in [("left", true), ("lost", false)] {
        let mut hello = client::connect(Version::V3, name);
        hello.will = will(&format!("free/wills/{name}"), 0);
        let (mut leaver, _) = world.enter(hello).await;
        if orderly {
            let goodbye = Disconnect {
                reason: Reason::Success,
                session_expiry: None,
                reason_string: None,
            };
            leaver.send(&Packet::Disconnect(goodbye)).await;
            assert_eq!(leaver.hear().await, None);
        }
    }
    let (topic, body, ..) = client.message().await;
    assert_eq!((&*topic, &*body), ("free/wills/lost", "gone"));
}

#[tokio::test]
async fn a_will_that_waits_is_not_published_if_its_client_comes_back() {
    let world = World::new();
    let mut client = world.anyone(Version::V5, "c").await;
    client.subscribe(1, "free/wills/#").await;
    let hello = |name: &str, delay| Connect {
        will: will(&format!("free/wills/{name}"), delay),
        ..kept(Version::V5, name)
    };
    drop(world.enter(hello("back", 1)).await);
    let (_back, present) = world.enter(hello("back", 1)).await;
    assert!(present);
    drop(world.enter(hello("away", 1)).await);
    assert_eq!(client.message().await.0, "free/wills/away");
    // One that begins anew ends the session before, and with it the will's delay.
    drop(world.enter(hello("anew", 1_000)).await);
    let mut anew = hello("anew", 1_000);
    anew.clean_start = true;
    let (_anew, present) = world.enter(anew).await;
    assert!(!present);
    assert_eq!(client.message().await.0, "free/wills/anew");
}

#[tokio::test]
async fn wills_of_those_who_were_connected_are_published_after_a_crash() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/wills/#").await;
    let mut hello = client::connect(Version::V3, "lost");
    hello.will = will("free/wills/lost", 0);
    let (_lost, _) = world.enter(hello).await;
    let world = world.crash().await;
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    assert_eq!(client.message().await.0, "free/wills/lost");
    // Once.
    let world = world.crash().await;
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    let (_, _, number, dup) = client.message().await;
    assert!(dup);
    client
        .send(&Packet::PubAck(client::ack(number.unwrap())))
        .await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.hear().await, Some(Heard::PingResp));
}

#[tokio::test]
async fn a_will_that_is_too_large_does_not_keep_its_session_in_the_store() {
    let world = World::new();
    let mut hello = client::connect(Version::V5, "lost");
    hello.will = will("free/wills/lost", 0);
    hello.will.as_mut().unwrap().body = vec![b'x'; 65_535].into();
    let (lost, _) = world.enter(hello).await;
    let stored = || world.log.keys(Table::Sessions, b"o\0", None, 10).len();
    assert_eq!(stored(), 1);
    drop(lost);
    eventually("it is forgotten", || stored() == 0).await;
}
