//! The head as clients see it, over streams in memory: what is promised of sessions, order and refusals.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/client.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use edge_core::{DeviceId, Identity, ModuleId, Priority};
use edge_hub::{Caller, Hub, HubConfig, Invocation};
use edge_identity::{Peer, PeerAddress, Registry, Status};
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Connect, Disconnect, Packet, QoS, Version};
use edge_mqtt::{Head, HeadConfig, Reason};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::MemoryLog;
use support::{Client, id};
use tokio::sync::watch;

const INPUTS: &str = "devices/d/modules/m/inputs/#";
const EVENTS: &str = "devices/d/modules/m/messages/events/";

struct World {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    head: Arc<Head>,
    _closing: watch::Sender<bool>,
}

impl World {
    /// Module `m` of device `d`, whose output `o` leads to its own input `i`.
    fn new() -> Self {
        let log = Arc::new(MemoryLog::default());
        let hub = Hub::new(HubConfig::new(DeviceId::new("d").unwrap()), log.clone());
        let text =
            r#"FROM /messages/modules/m/outputs/o INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
        let entry = RouteEntry {
            name: "r".to_owned(),
            route: Route::compile(text, Mode::Compat).unwrap().unwrap(),
            priority: Priority::DEFAULT,
            time_to_live: None,
        };
        hub.set_routes(RouteTable::new(vec![entry]), None);
        let registry = Registry::open(log).unwrap();
        let (closing, closed) = watch::channel(false);
        let head = Head::open(HeadConfig::new(hub.clone(), registry.clone(), closed));
        let world = Self {
            hub,
            registry,
            head,
            _closing: closing,
        };
        let now = world.hub.now();
        world.registry.ensure(&device(), now).unwrap();
        world.registry.ensure(&module(), now).unwrap();
        world
    }

    fn hello(&self, version: Version, who: &Identity) -> Connect {
        let key = self.registry.get(who).unwrap();
        let key = key.auth.keys().unwrap().primary.base64();
        Connect {
            clean_start: false,
            session_expiry: u32::MAX,
            user_name: Some(format!("hub/{who}/?api-version=2021-04-12").into()),
            password: Some(key.as_bytes().to_vec().into()),
            ..client::connect(version, &who.to_string())
        }
    }

    async fn open(&self, hello: Connect) -> Client {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(self.head.serve(far, Peer::plain(PeerAddress::Unix)));
        let mut client = Client::new(near, hello.version);
        client.send(&Packet::Connect(Box::new(hello))).await;
        client
    }

    async fn connect(&self, version: Version, who: &Identity) -> (Client, bool) {
        let mut client = self.open(self.hello(version, who)).await;
        match client.hear().await {
            Some(Heard::ConnAck {
                session_present,
                code: 0,
                ..
            }) => (client, session_present),
            other => panic!("not let in: {other:?}"),
        }
    }
}

fn device() -> Identity {
    Identity::Device(DeviceId::new("d").unwrap())
}

fn module() -> Identity {
    Identity::Module(DeviceId::new("d").unwrap(), ModuleId::new("m").unwrap())
}

#[tokio::test]
async fn a_message_comes_back_as_the_contract_has_it() {
    let world = World::new();
    let (mut client, present) = world.connect(Version::V3, &module()).await;
    assert!(!present);
    assert_eq!(client.subscribe(1, INPUTS).await, [1]);
    let bag = "%24.on=o&%24.mid=1&empty=&na%20sty%26k=a%20b%26c%3Dd%2Fe%2Bf%25g%3Fh%23%C3%A9/";
    client.publish(2, &format!("{EVENTS}{bag}"), "{}").await;
    let (mut acked, mut message) = (false, None);
    while !acked || message.is_none() {
        match client.hear().await {
            Some(Heard::PubAck(ack)) => acked = ack.id == id(2),
            Some(Heard::Publish { topic, dup, .. }) => message = Some((topic, dup)),
            other => panic!("{other:?}"),
        }
    }
    let (topic, dup) = message.expect("it came");
    assert_eq!(
        topic,
        "devices/d/modules/m/inputs/i/%24.mid=1&empty=&na%20sty%26k=a%20b%26c%3Dd%2Fe%2Bf%25g%3Fh%23%C3%A9\
         &%24.cdid=d&%24.cmid=m"
    );
    assert!(!dup);
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_in_order_with_its_id_and_dup() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V3, &module()).await;
    client.subscribe(1, INPUTS).await;
    let topic = format!("{EVENTS}%24.on=o");
    for n in 0..5 {
        client.publish(10 + n, &topic, &n.to_string()).await;
    }
    let (mut first, mut acked) = (Vec::new(), 0);
    while first.len() < 5 || acked < 5 {
        match client.hear().await {
            Some(Heard::PubAck(_)) => acked += 1,
            Some(Heard::Publish { body, id, dup, .. }) => {
                assert!(!dup);
                first.push((body, id.expect("QoS 1")));
            }
            other => panic!("{other:?}"),
        }
    }
    // The second is done; the others are not.
    client.send(&Packet::PubAck(client::ack(first[1].1))).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.hear().await, Some(Heard::PingResp));
    drop(client);
    let (mut client, present) = world.connect(Version::V3, &module()).await;
    assert!(present);
    for (body, id) in [&first[0], &first[2], &first[3], &first[4]] {
        let (_, again, again_id, dup) = client.message().await;
        assert_eq!(
            (again.as_bytes(), again_id, dup),
            (&body[..], Some(*id), true)
        );
    }
}

#[tokio::test]
async fn a_session_ends_with_a_clean_start() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V5, &module()).await;
    client.subscribe(1, INPUTS).await;
    drop(client);
    let mut hello = world.hello(Version::V5, &module());
    hello.clean_start = true;
    let mut client = world.open(hello).await;
    let Some(Heard::ConnAck {
        session_present, ..
    }) = client.hear().await
    else {
        panic!("not let in");
    };
    assert!(!session_present);
}

#[tokio::test]
async fn whoever_publishes_or_subscribes_as_somebody_else_is_closed() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V3, &module()).await;
    client.publish(1, "devices/d/messages/events/", "x").await;
    assert_eq!(client.hear().await, None);
    let (mut client, _) = world.connect(Version::V5, &module()).await;
    client
        .publish(1, "devices/d/modules/n/messages/events/", "x")
        .await;
    let heard = client.hear().await;
    assert!(
        matches!(
            heard,
            Some(Heard::Disconnect {
                reason: Reason::NotAuthorized,
                ..
            })
        ),
        "{heard:?}"
    );
    let (mut client, _) = world.connect(Version::V5, &module()).await;
    let other = client::subscribe(id(1), &[("devices/d/modules/n/#", QoS::AtLeastOnce)]);
    client.send(&Packet::Subscribe(other)).await;
    let heard = client.hear().await;
    assert!(matches!(heard, Some(Heard::Disconnect { .. })), "{heard:?}");
}

#[tokio::test]
async fn wrong_credentials_are_told_in_the_words_of_each_version() {
    let world = World::new();
    for (version, code) in [(Version::V3, 5), (Version::V5, 0x87)] {
        let mut hello = world.hello(version, &module());
        hello.password = Some("bm90IGl0".as_bytes().into());
        let mut client = world.open(hello).await;
        let heard = client.hear().await;
        assert!(
            matches!(&heard, Some(Heard::ConnAck { code: said, session_present: false, .. }) if *said == code),
            "{heard:?}"
        );
        assert_eq!(client.hear().await, None);
    }
    let mut hello = world.hello(Version::V3, &module());
    hello.client_id = "d/other".into();
    let heard = world.open(hello).await.hear().await;
    assert!(
        matches!(heard, Some(Heard::ConnAck { code: 2, .. })),
        "{heard:?}"
    );
}

#[tokio::test]
async fn qos_2_is_refused_with_its_reason() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V5, &module()).await;
    let mut publish = client::publish(EVENTS, Some(id(1)), "x");
    publish.qos = QoS::ExactlyOnce;
    client.send(&Packet::Publish(publish)).await;
    let heard = client.hear().await;
    assert!(
        matches!(
            heard,
            Some(Heard::Disconnect {
                reason: Reason::QoSNotSupported,
                ..
            })
        ),
        "{heard:?}"
    );
}

#[tokio::test]
async fn twins_are_answered_and_changes_come_with_their_version() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V3, &module()).await;
    client.subscribe(1, "$iothub/twin/res/#").await;
    client
        .subscribe(2, "$iothub/twin/PATCH/properties/desired/#")
        .await;
    client.publish(3, "$iothub/twin/GET/?$rid=a", " ").await;
    let (topic, body, ..) = client.message().await;
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=a");
    assert_eq!(
        body,
        r#"{"desired":{"$version":1},"reported":{"$version":1}}"#
    );
    assert!(matches!(client.hear().await, Some(Heard::PubAck(_))));
    client
        .publish(
            4,
            "$iothub/twin/PATCH/properties/reported/?$rid=b",
            r#"{"x":1}"#,
        )
        .await;
    let (topic, body, ..) = client.message().await;
    assert_eq!(
        (topic.as_str(), body.as_str()),
        ("$iothub/twin/res/204/?$rid=b&$version=2", "")
    );
    assert!(matches!(client.hear().await, Some(Heard::PubAck(_))));
    client
        .publish(5, "$iothub/twin/PATCH/properties/reported/?$rid=c", "[]")
        .await;
    let (topic, body, ..) = client.message().await;
    assert_eq!(topic, "$iothub/twin/res/400/?$rid=c");
    assert!(body.contains("\"errorCode\":400004"), "{body}");
    assert!(matches!(client.hear().await, Some(Heard::PubAck(_))));
    world.hub.set_desired(&module(), r#"{"on":true}"#).unwrap();
    let (topic, body, ..) = client.message().await;
    assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=2");
    assert_eq!(body, r#"{"$version":2,"on":true}"#);
}

#[tokio::test]
async fn desired_properties_that_changed_meanwhile_come_after_a_reconnect() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V3, &module()).await;
    client
        .subscribe(1, "$iothub/twin/PATCH/properties/desired/#")
        .await;
    world.hub.set_desired(&module(), r#"{"a":1}"#).unwrap();
    let (_, _, packet, _) = client.message().await;
    client
        .send(&Packet::PubAck(client::ack(packet.expect("QoS 1"))))
        .await;
    let end = Disconnect {
        reason: Reason::Success,
        session_expiry: None,
        reason_string: None,
    };
    client.send(&Packet::Disconnect(end)).await;
    assert_eq!(client.hear().await, None);
    world.hub.set_desired(&module(), r#"{"b":2}"#).unwrap();
    let (mut client, present) = world.connect(Version::V3, &module()).await;
    assert!(present);
    let (_, body, ..) = client.message().await;
    assert_eq!(body, r#"{"$version":3,"a":1,"b":2}"#);
}

#[tokio::test]
async fn methods_are_called_and_answered() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V3, &module()).await;
    client.subscribe(1, "$iothub/methods/POST/#").await;
    let hub = world.hub.clone();
    let call = tokio::spawn(async move {
        let invocation = Invocation {
            caller: Caller::Outside,
            target: &module(),
            name: "reset",
            payload: r#"{"now":true}"#,
            connect_timeout: Duration::ZERO,
            response_timeout: support::PATIENCE,
        };
        hub.methods().call(invocation, tokio::time::sleep).await
    });
    let (topic, body, ..) = client.message().await;
    assert_eq!(body, r#"{"now":true}"#);
    let rid = topic
        .strip_prefix("$iothub/methods/POST/reset/?$rid=")
        .expect("topic");
    let answer = format!("$iothub/methods/res/207/?$rid={rid}");
    client.publish(2, &answer, "").await;
    let answer = call.await.expect("task").expect("answered");
    assert_eq!((answer.status, answer.payload.as_str()), (207, "null"));
}

#[tokio::test]
async fn an_identity_that_is_disabled_is_cut_off_at_once() {
    let world = World::new();
    let (mut client, _) = world.connect(Version::V5, &module()).await;
    let now = world.hub.now();
    world
        .registry
        .set_status(&module(), Status::Disabled, now)
        .unwrap();
    let heard = client.hear().await;
    assert!(
        matches!(
            heard,
            Some(Heard::Disconnect {
                reason: Reason::NotAuthorized,
                ..
            })
        ),
        "{heard:?}"
    );
}

#[tokio::test]
async fn the_newest_connection_of_a_client_wins() {
    let world = World::new();
    let (mut old, _) = world.connect(Version::V5, &module()).await;
    let (mut new, _) = world.connect(Version::V5, &module()).await;
    let heard = old.hear().await;
    assert!(
        matches!(
            heard,
            Some(Heard::Disconnect {
                reason: Reason::SessionTakenOver,
                ..
            })
        ),
        "{heard:?}"
    );
    new.send(&Packet::PingReq).await;
    assert_eq!(new.hear().await, Some(Heard::PingResp));
    assert_eq!(world.head.status().taken_over, 1);
}
