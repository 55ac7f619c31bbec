//! Who gets what, and as what: filters, properties, QoS 2, mappings into the hub.

use std::num::NonZeroU32;

use bytes::Bytes;
use edge_core::EndpointId;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{self, Packet, Publish, PublishProperties, QoS, RetainHandling, Version};
use edge_store::{MessageLog, Seq, Visible};

use super::support::id;
use super::world::{World, acknowledged, device, eventually, kept, retained};

#[tokio::test]
async fn a_message_comes_once_to_each_session_with_a_filter_that_matches() {
    let world = World::new();
    let mut one = world.anyone(Version::V3, "one").await;
    assert_eq!(one.subscribe(1, "free/+/x").await, [1]);
    assert_eq!(one.subscribe(2, "free/#").await, [1]);
    let mut other = world.anyone(Version::V5, "other").await;
    assert_eq!(other.subscribe(1, "free/b/#").await, [1]);
    let mut sender = world.anyone(Version::V3, "sender").await;
    sender.publish(1, "free/a/x", "1").await;
    sender.publish(2, "free/b", "2").await;
    acknowledged(&mut sender, 1).await;
    acknowledged(&mut sender, 2).await;
    let (topic, body, number, dup) = one.message().await;
    assert_eq!((&*topic, &*body, dup), ("free/a/x", "1", false));
    assert!(number.is_some());
    assert_eq!(one.message().await.1, "2");
    assert_eq!(other.message().await.1, "2");
}

#[tokio::test]
async fn subscriptions_say_how_they_want_messages() {
    let world = World::new();
    let mut client = world.anyone(Version::V5, "c").await;
    client.send(&retained("free/a", 1, "old")).await;
    acknowledged(&mut client, 1).await;
    let mut subscribe = client::subscribe(id(2), &[("free/a", QoS::AtMostOnce)]);
    subscribe.subscription_id = NonZeroU32::new(77);
    subscribe.filters[0].retain_handling = RetainHandling::Never;
    subscribe.filters[0].retain_as_published = true;
    client.send(&Packet::Subscribe(subscribe)).await;
    assert!(matches!(client.hear().await, Some(Heard::SubAck { codes, .. }) if codes == [0]));
    let mut own = client::subscribe(id(3), &[("free/own", QoS::AtLeastOnce)]);
    own.filters[0].no_local = true;
    client.send(&Packet::Subscribe(own)).await;
    assert!(matches!(client.hear().await, Some(Heard::SubAck { codes, .. }) if codes == [1]));
    client.publish(4, "free/own", "not for me").await;
    acknowledged(&mut client, 4).await;
    let mut sender = world.anyone(Version::V3, "sender").await;
    sender.send(&retained("free/a", 1, "new")).await;
    match client.hear().await {
        Some(Heard::Publish {
            body,
            retain,
            qos,
            properties,
            ..
        }) => {
            assert_eq!(
                (&body[..], retain, qos),
                (&b"new"[..], true, QoS::AtMostOnce)
            );
            let properties = properties.expect("an identifier at least");
            assert_eq!(properties.number(packet::id::SUBSCRIPTION_ID), Some(77));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn properties_of_version_5_come_through() {
    let world = World::new();
    let mut client = world.anyone(Version::V5, "c").await;
    client.subscribe(1, "free/#").await;
    let properties = PublishProperties {
        payload_is_utf8: true,
        message_expiry: Some(100),
        content_type: Some("text/plain".into()),
        response_topic: Some("free/answers".into()),
        correlation_data: Some(Bytes::from_static(&[0, 200])),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
    };
    let publish = Publish {
        properties: Some(Box::new(properties)),
        ..client::publish("free/a", Some(id(2)), "x")
    };
    client.send(&Packet::Publish(publish)).await;
    acknowledged(&mut client, 2).await;
    let Some(Heard::Publish { properties, .. }) = client.hear().await else {
        panic!("no message");
    };
    let got = properties.expect("some");
    assert_eq!(got.number(packet::id::PAYLOAD_FORMAT), Some(1));
    assert!((90..=100).contains(&got.number(packet::id::MESSAGE_EXPIRY).unwrap()));
    assert_eq!(got.text(packet::id::CONTENT_TYPE), Some("text/plain"));
    assert_eq!(got.text(packet::id::RESPONSE_TOPIC), Some("free/answers"));
    assert_eq!(got.correlation_data.as_deref(), Some(&[0, 200][..]));
    let user: Vec<_> = got.user.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(user, [("a", "1"), ("a", "2")]);
}

#[tokio::test]
async fn a_message_of_qos_2_is_published_once_however_often_it_comes() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/#").await;
    let message = |dup| {
        Packet::Publish(Publish {
            qos: QoS::ExactlyOnce,
            dup,
            ..client::publish("free/a", Some(id(9)), "once")
        })
    };
    let (mut sender, _) = world.enter(kept(Version::V3, "sender")).await;
    sender.send(&message(false)).await;
    assert_eq!(sender.hear().await, Some(Heard::PubRec(client::ack(id(9)))));
    sender.send(&message(true)).await;
    assert_eq!(sender.hear().await, Some(Heard::PubRec(client::ack(id(9)))));
    let world = world.crash().await;
    let (mut sender, present) = world.enter(kept(Version::V3, "sender")).await;
    assert!(present);
    sender.send(&message(true)).await;
    assert_eq!(sender.hear().await, Some(Heard::PubRec(client::ack(id(9)))));
    sender.send(&Packet::PubRel(client::ack(id(9)))).await;
    assert_eq!(
        sender.hear().await,
        Some(Heard::PubComp(client::ack(id(9))))
    );
    // Released: the id is free for another.
    sender.send(&message(false)).await;
    assert_eq!(sender.hear().await, Some(Heard::PubRec(client::ack(id(9)))));
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    for _ in 0..2 {
        let (_, body, number, _) = client.message().await;
        assert_eq!(body, "once");
        client
            .send(&Packet::PubAck(client::ack(number.unwrap())))
            .await;
    }
    eventually("there are two and no more", || world.waiting() == 0).await;
}

#[tokio::test]
async fn what_matches_a_mapping_enters_the_hub_as_a_message_of_its_device() {
    let world = World::new();
    let (mut press, _) = world.enter(world.hello(Version::V3, "press-1")).await;
    press.publish(1, "plant/press-1/machines/7", "{}").await;
    press.publish(2, "plant/press-1/machines/8", "{}").await;
    acknowledged(&mut press, 1).await;
    acknowledged(&mut press, 2).await;
    let queues = world.log.queues().into_iter();
    let mut inputs = queues.filter(|q| matches!(q.endpoint, EndpointId::ModuleInput { .. }));
    let queue = inputs.next().expect("the route's");
    let mut entries = Vec::new();
    world
        .log
        .read(queue.id, Seq::ZERO, 10, Visible::Durable, &mut entries);
    assert_eq!(entries.len(), 1, "the other machine is not routed");
    let message = &entries[0].message;
    assert_eq!(message.origin.identity(), device("press-1"));
    let properties: Vec<_> = message.content.properties.iter().collect();
    assert_eq!(
        properties,
        [("mqtt-topic", "plant/press-1/machines/7"), ("machine", "7")]
    );
}
