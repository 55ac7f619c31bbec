//! The open topics as clients see them, over streams in memory: who gets what, what is kept, what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/client.rs"]
mod support;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use edge_core::{ByteSize, DeviceId, EndpointId, Identity, Priority};
use edge_hub::{Hub, HubConfig};
use edge_identity::{Peer, PeerAddress, Registry};
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{
    self, Connect, Disconnect, Packet, Publish, PublishProperties, QoS, RetainHandling, Version,
    Will,
};
use edge_mqtt::{Reason, TopicMapping, TopicRule, Topics, TopicsConfig};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{MemoryLog, MessageLog, Seq, Visible};
use support::{Client, id};
use tokio::sync::watch;
use tokio::task::JoinSet;

const QUEUE_LIMIT: ByteSize = ByteSize(64 << 10);

struct World {
    log: Arc<MemoryLog>,
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    topics: Arc<Topics>,
    closing: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl World {
    fn new() -> Self {
        Self::over(Arc::new(MemoryLog::default()))
    }

    /// A daemon over what an earlier one stored.
    fn over(log: Arc<MemoryLog>) -> Self {
        Self::with_rule(log, "free/#")
    }

    /// The same, with another rule for what those without identity may subscribe.
    fn with_rule(log: Arc<MemoryLog>, free: &str) -> Self {
        let hub = Hub::new(
            HubConfig::new(DeviceId::new("gateway").unwrap()),
            log.clone(),
        );
        let text =
            r#"FROM /messages WHERE machine = '7' INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
        let entry = RouteEntry {
            name: "r".to_owned(),
            route: Route::compile(text, Mode::Compat).unwrap().unwrap(),
            priority: Priority::DEFAULT,
            time_to_live: None,
        };
        hub.set_routes(RouteTable::new(vec![entry]), None);
        let registry = Registry::open(log.clone()).unwrap();
        for name in ["press-1", "press-2"] {
            registry.ensure(&device(name), hub.now()).unwrap();
        }
        let rule = |identity: &str, publish: &[&str], subscribe: &[&str]| TopicRule {
            identity: identity.to_owned(),
            publish: publish.iter().map(|&filter| filter.to_owned()).collect(),
            subscribe: subscribe.iter().map(|&filter| filter.to_owned()).collect(),
        };
        let (closing, closed) = watch::channel(false);
        let topics = Topics::open(TopicsConfig {
            hub: hub.clone(),
            registry: registry.clone(),
            closing: closed,
            anonymous: true,
            rules: vec![
                rule(
                    "press-*",
                    &["plant/{device}/#", "plant/all"],
                    &["plant/{device}/#", "plant/all"],
                ),
                rule("$anonymous", &["free/#"], &[free]),
            ],
            mappings: vec![TopicMapping {
                topic: "plant/+/machines/{machine}".to_owned(),
                output: None,
            }],
            queue_limit: QUEUE_LIMIT,
        })
        .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(topics.keep());
        Self {
            tasks: Mutex::new(tasks),
            log,
            hub,
            registry,
            topics,
            closing,
        }
    }

    /// As if the process had been killed: what it was about to do is not done.
    async fn kill(self) -> Arc<MemoryLog> {
        let mut tasks = self.tasks.into_inner().unwrap();
        tasks.shutdown().await;
        self.log
    }

    /// Killed and started again.
    async fn crash(self) -> Self {
        Self::over(self.kill().await)
    }

    async fn open(&self, hello: Connect) -> Client {
        let (near, far) = tokio::io::duplex(64 << 10);
        let serving = self.topics.serve(far, Peer::plain(PeerAddress::Unix));
        self.tasks.lock().unwrap().spawn(serving);
        let mut client = Client::new(near, hello.version);
        client.send(&Packet::Connect(Box::new(hello))).await;
        client
    }

    /// Connects, and says whether the session was there.
    async fn enter(&self, hello: Connect) -> (Client, bool) {
        let mut client = self.open(hello).await;
        match client.hear().await {
            Some(Heard::ConnAck {
                session_present,
                code: 0,
                ..
            }) => (client, session_present),
            other => panic!("not let in: {other:?}"),
        }
    }

    /// Somebody without identity.
    async fn anyone(&self, version: Version, name: &str) -> Client {
        self.enter(client::connect(version, name)).await.0
    }

    /// A device with its key.
    fn hello(&self, version: Version, name: &str) -> Connect {
        let key = self.registry.get(&device(name)).unwrap();
        let key = key.auth.keys().unwrap().primary.base64();
        Connect {
            user_name: Some(name.into()),
            password: Some(key.as_bytes().to_vec().into()),
            ..client::connect(version, name)
        }
    }

    /// Entries that wait in queues of sessions.
    fn waiting(&self) -> u64 {
        let queues = self.log.queues().into_iter();
        let of_sessions = queues.filter(|queue| matches!(queue.endpoint, EndpointId::Session(_)));
        of_sessions.map(|queue| queue.depth).sum()
    }
}

fn device(name: &str) -> Identity {
    Identity::Device(DeviceId::new(name).unwrap())
}

/// Longer than its connection.
fn kept(version: Version, name: &str) -> Connect {
    Connect {
        clean_start: false,
        session_expiry: u32::MAX,
        ..client::connect(version, name)
    }
}

fn retained(topic: &str, n: u16, body: &str) -> Packet {
    Packet::Publish(Publish {
        retain: true,
        ..client::publish(topic, Some(id(n)), body.to_owned())
    })
}

fn will(topic: &str, delay: u32) -> Option<Will> {
    Some(Will {
        topic: topic.into(),
        body: Bytes::from_static(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay,
        properties: PublishProperties::default(),
    })
}

async fn acknowledged(client: &mut Client, n: u16) {
    match client.hear().await {
        Some(Heard::PubAck(ack)) => assert_eq!((ack.id, ack.reason), (id(n), Reason::Success)),
        other => panic!("expected PUBACK: {other:?}"),
    }
}

/// Looks until it is so; fails after a while that nothing should take.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

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
async fn messages_wait_for_a_session_that_sleeps_also_over_a_crash() {
    for version in [Version::V3, Version::V5] {
        let world = World::new();
        let (mut client, present) = world.enter(kept(version, "sleeper")).await;
        assert!(!present);
        client.subscribe(1, "free/#").await;
        drop(client);
        let mut sender = world.anyone(version, "sender").await;
        for n in 1..4 {
            sender.publish(n, "free/a", &n.to_string()).await;
            acknowledged(&mut sender, n).await;
        }
        let world = world.crash().await;
        let mut sender = world.anyone(version, "sender").await;
        sender.publish(1, "free/a", "4").await;
        acknowledged(&mut sender, 1).await;
        let (mut client, present) = world.enter(kept(version, "sleeper")).await;
        assert!(present);
        for n in 1..5 {
            let (_, body, number, dup) = client.message().await;
            assert_eq!((body, dup), (n.to_string(), false));
            let number = number.expect("QoS 1");
            client.send(&Packet::PubAck(client::ack(number))).await;
        }
        eventually("all are settled", || world.waiting() == 0).await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_after_a_crash_with_its_id_and_dup() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/#").await;
    let mut sender = world.anyone(Version::V3, "sender").await;
    sender.publish(1, "free/a", "1").await;
    let (_, body, number, dup) = client.message().await;
    assert_eq!((&*body, dup), ("1", false));
    let world = world.crash().await;
    let (mut client, present) = world.enter(kept(Version::V3, "c")).await;
    assert!(present);
    let again = client.message().await;
    assert_eq!((&*again.1, again.2, again.3), ("1", number, true));
}

#[tokio::test]
async fn a_subscription_ends_with_the_rule_that_allowed_it() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/a").await;
    client.subscribe(2, "free/b").await;
    drop(client);
    let world = World::with_rule(world.kill().await, "free/b");
    let (mut client, present) = world.enter(kept(Version::V3, "c")).await;
    assert!(present);
    let mut sender = world.anyone(Version::V3, "sender").await;
    for (n, topic) in [(1, "free/a"), (2, "free/b")] {
        sender.publish(n, topic, topic).await;
        acknowledged(&mut sender, n).await;
    }
    assert_eq!(client.message().await.1, "free/b");
}

#[tokio::test]
async fn a_session_that_is_over_leaves_nothing_behind() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/#").await;
    drop(client);
    let mut sender = world.anyone(Version::V3, "sender").await;
    for n in 1..10 {
        sender.publish(n, "free/a", "x").await;
        acknowledged(&mut sender, n).await;
    }
    assert_eq!(world.waiting(), 9);
    let mut hello = kept(Version::V3, "c");
    hello.clean_start = true;
    let (mut client, present) = world.enter(hello).await;
    assert!(!present);
    eventually("its queue is emptied", || world.waiting() == 0).await;
    // And it is subscribed to nothing.
    sender.publish(20, "free/a", "y").await;
    acknowledged(&mut sender, 20).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.hear().await, Some(Heard::PingResp));
}

#[tokio::test]
async fn a_session_for_which_too_much_waits_is_over_and_its_client_is_told() {
    let world = World::new();
    let (mut sleeper, _) = world.enter(kept(Version::V5, "sleeper")).await;
    sleeper.subscribe(1, "free/#").await;
    drop(sleeper);
    let (mut idler, _) = world.enter(kept(Version::V5, "idler")).await;
    idler.subscribe(1, "free/a").await;
    let (mut reader, _) = world.enter(kept(Version::V5, "reader")).await;
    reader.subscribe(1, "free/a").await;
    let mut sender = world.anyone(Version::V5, "sender").await;
    for n in 1..12 {
        sender.publish(n, "free/a", &"x".repeat(8 << 10)).await;
        acknowledged(&mut sender, n).await;
        let (_, _, number, _) = reader.message().await;
        reader
            .send(&Packet::PubAck(client::ack(number.unwrap())))
            .await;
    }
    // Somebody goes, and the keeper looks around.
    drop(world.enter(kept(Version::V5, "nudge")).await);
    loop {
        match idler.hear().await {
            Some(Heard::Publish { .. }) => {}
            Some(Heard::Disconnect { reason, .. }) => {
                assert_eq!(reason, Reason::QuotaExceeded);
                break;
            }
            other => panic!("expected DISCONNECT: {other:?}"),
        }
    }
    for name in ["sleeper", "idler"] {
        let (_, present) = world.enter(kept(Version::V5, name)).await;
        assert!(!present, "{name}");
    }
    reader.send(&Packet::PingReq).await;
    assert_eq!(reader.hear().await, Some(Heard::PingResp));
    eventually("their queues are emptied", || world.waiting() == 0).await;
}

#[tokio::test]
async fn what_a_connection_without_session_had_waiting_is_gone_after_a_crash() {
    let world = World::new();
    let mut client = world.anyone(Version::V3, "c").await;
    client.subscribe(1, "free/#").await;
    let mut sender = world.anyone(Version::V3, "sender").await;
    sender.publish(1, "free/a", "x").await;
    acknowledged(&mut sender, 1).await;
    let world = world.crash().await;
    eventually("its queue is emptied", || world.waiting() == 0).await;
}

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
async fn what_no_rule_allows_is_refused_with_a_reason() {
    let world = World::new();
    let (mut press, _) = world.enter(world.hello(Version::V5, "press-1")).await;
    assert_eq!(press.subscribe(1, "plant/press-1/+").await, [1]);
    assert_eq!(press.subscribe(2, "plant/+/state").await, [0x87]);
    assert_eq!(press.subscribe(3, "#").await, [0x87]);
    assert_eq!(press.subscribe(4, "$share/g/plant/all").await, [0x9e]);
    press.publish(5, "plant/press-1/state", "on").await;
    acknowledged(&mut press, 5).await;
    press.publish(6, "plant/press-2/state", "on").await;
    loop {
        match press.hear().await {
            Some(Heard::Publish { .. }) => {}
            Some(Heard::Disconnect { reason, .. }) => {
                assert_eq!(reason, Reason::NotAuthorized);
                break;
            }
            other => panic!("expected DISCONNECT: {other:?}"),
        }
    }
    assert_eq!(press.hear().await, None);
    // Version 3 is closed without a word.
    let mut anyone = world.anyone(Version::V3, "a").await;
    assert_eq!(anyone.subscribe(1, "plant/#").await, [0x80]);
    anyone.publish(2, "plant/all", "x").await;
    assert_eq!(anyone.hear().await, None);
    // A will is judged when it is left.
    let mut hello = client::connect(Version::V5, "w");
    hello.will = will("plant/all", 0);
    let mut client = world.open(hello).await;
    assert!(matches!(
        client.hear().await,
        Some(Heard::ConnAck { code: 0x87, .. })
    ));
}

#[tokio::test]
async fn two_identities_may_use_one_client_id() {
    let world = World::new();
    let hello = |name: &str| Connect {
        client_id: "same".into(),
        ..world.hello(Version::V5, name)
    };
    let (mut one, _) = world.enter(hello("press-1")).await;
    let (mut two, _) = world.enter(hello("press-2")).await;
    for client in [&mut one, &mut two] {
        client.send(&Packet::PingReq).await;
        assert_eq!(client.hear().await, Some(Heard::PingResp));
    }
}

#[tokio::test]
async fn an_empty_client_id_is_answered_with_one() {
    let world = World::new();
    let mut client = world.open(client::connect(Version::V5, "")).await;
    let Some(Heard::ConnAck { properties, .. }) = client.hear().await else {
        panic!("not let in");
    };
    let given = properties
        .text(packet::id::ASSIGNED_CLIENT_ID)
        .expect("one is given");
    assert!(given.starts_with("auto-"), "{given}");
}

#[tokio::test]
async fn a_wrong_key_and_a_name_without_key_are_not_let_in() {
    let world = World::new();
    let mut hello = world.hello(Version::V3, "press-1");
    hello.password = Some(Bytes::from_static(b"wrong"));
    let mut client = world.open(hello).await;
    assert!(matches!(
        client.hear().await,
        Some(Heard::ConnAck { code: 5, .. })
    ));
    let mut hello = world.hello(Version::V3, "press-1");
    hello.password = None;
    let mut client = world.open(hello).await;
    assert!(matches!(
        client.hear().await,
        Some(Heard::ConnAck { code: 5, .. })
    ));
}

#[tokio::test]
async fn connections_are_counted_by_identity_and_refusals_by_reason() {
    let world = World::new();
    let (press, _) = world.enter(world.hello(Version::V3, "press-1")).await;
    let mut hello = world.hello(Version::V3, "press-1");
    hello.password = Some(Bytes::from_static(b"wrong"));
    let mut wrong = world.open(hello).await;
    assert!(matches!(
        wrong.hear().await,
        Some(Heard::ConnAck { code: 5, .. })
    ));
    drop(press);
    let clients = || {
        let all = world.hub.meters().clients.all().into_iter();
        let counts = all.map(|(id, meter)| (id, meter.connects.get(), meter.disconnects.get()));
        counts.collect::<Vec<_>>()
    };
    let expected = [(Some(Some(device("press-1"))), 1, 1)];
    eventually("it has gone", || clients() == expected).await;
    let refused = world.hub.meters().refused.all();
    let refused: Vec<_> = refused
        .iter()
        .map(|(reason, count)| (*reason, count.get()))
        .collect();
    assert_eq!(refused, [(Some("not authorized"), 1)]);
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

#[tokio::test]
async fn sessions_of_an_identity_that_is_removed_are_forgotten() {
    let world = World::new();
    let hello = Connect {
        clean_start: false,
        session_expiry: u32::MAX,
        ..world.hello(Version::V3, "press-1")
    };
    let (mut press, _) = world.enter(hello).await;
    press.subscribe(1, "plant/all").await;
    drop(press);
    eventually("it sleeps", || world.topics.status().asleep == 1).await;
    world.registry.remove(&device("press-1")).unwrap();
    eventually("it is forgotten", || world.topics.status().asleep == 0).await;
}

#[tokio::test]
async fn clients_are_told_when_the_daemon_stops() {
    let world = World::new();
    let mut client = world.anyone(Version::V5, "c").await;
    world.closing.send_replace(true);
    match client.hear().await {
        Some(Heard::Disconnect { reason, .. }) => assert_eq!(reason, Reason::ServerShuttingDown),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.hear().await, None);
    assert!(world.hub.pressure().waiting == 0);
}
