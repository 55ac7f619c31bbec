//! A hub with open topics over a log in memory, which outlives its crashes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use edge_core::{ByteSize, DeviceId, EndpointId, Identity, Priority};
use edge_hub::{Hub, HubConfig};
use edge_identity::{Peer, PeerAddress, Registry};
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Connect, Packet, Publish, PublishProperties, QoS, Version, Will};
use edge_mqtt::{Reason, TopicMapping, TopicRule, Topics, TopicsConfig};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{MemoryLog, MessageLog};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::support::{Client, id};

/// Less than the longest will, which has 65 535 bytes, with its topic.
const MESSAGE_LIMIT: ByteSize = ByteSize(64 << 10);
const QUEUE_LIMIT: ByteSize = ByteSize(64 << 10);

pub struct World {
    pub log: Arc<MemoryLog>,
    pub hub: Arc<Hub>,
    pub registry: Arc<Registry>,
    pub topics: Arc<Topics>,
    pub closing: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl World {
    pub fn new() -> Self {
        Self::over(Arc::new(MemoryLog::default()))
    }

    /// A daemon over what an earlier one stored.
    pub fn over(log: Arc<MemoryLog>) -> Self {
        Self::with_rule(log, "free/#")
    }

    /// The same, with another rule for what those without identity may subscribe.
    pub fn with_rule(log: Arc<MemoryLog>, free: &str) -> Self {
        let config = HubConfig {
            message_limit: MESSAGE_LIMIT,
            ..HubConfig::new(DeviceId::new("gateway").unwrap())
        };
        let hub = Hub::new(config, log.clone());
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
    pub async fn kill(self) -> Arc<MemoryLog> {
        let mut tasks = self.tasks.into_inner().unwrap();
        tasks.shutdown().await;
        self.log
    }

    /// Killed and started again.
    pub async fn crash(self) -> Self {
        Self::over(self.kill().await)
    }

    pub async fn open(&self, hello: Connect) -> Client {
        let (near, far) = tokio::io::duplex(64 << 10);
        let serving = self.topics.serve(far, Peer::plain(PeerAddress::Unix));
        self.tasks.lock().unwrap().spawn(serving);
        let mut client = Client::new(near, hello.version);
        client.send(&Packet::Connect(Box::new(hello))).await;
        client
    }

    /// Connects, and says whether the session was there.
    pub async fn enter(&self, hello: Connect) -> (Client, bool) {
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
    pub async fn anyone(&self, version: Version, name: &str) -> Client {
        self.enter(client::connect(version, name)).await.0
    }

    /// A device with its key.
    pub fn hello(&self, version: Version, name: &str) -> Connect {
        let key = self.registry.get(&device(name)).unwrap();
        let key = key.auth.keys().unwrap().primary.base64();
        Connect {
            user_name: Some(name.into()),
            password: Some(key.as_bytes().to_vec().into()),
            ..client::connect(version, name)
        }
    }

    /// Entries that wait in queues of sessions.
    pub fn waiting(&self) -> u64 {
        let queues = self.log.queues().into_iter();
        let of_sessions = queues.filter(|queue| matches!(queue.endpoint, EndpointId::Session(_)));
        of_sessions.map(|queue| queue.depth).sum()
    }
}

pub fn device(name: &str) -> Identity {
    Identity::Device(DeviceId::new(name).unwrap())
}

/// Longer than its connection.
pub fn kept(version: Version, name: &str) -> Connect {
    Connect {
        clean_start: false,
        session_expiry: u32::MAX,
        ..client::connect(version, name)
    }
}

pub fn retained(topic: &str, n: u16, body: &str) -> Packet {
    Packet::Publish(Publish {
        retain: true,
        ..client::publish(topic, Some(id(n)), body.to_owned())
    })
}

pub fn will(topic: &str, delay: u32) -> Option<Will> {
    Some(Will {
        topic: topic.into(),
        body: Bytes::from_static(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay,
        properties: PublishProperties::default(),
    })
}

pub async fn acknowledged(client: &mut Client, n: u16) {
    match client.hear().await {
        Some(Heard::PubAck(ack)) => assert_eq!((ack.id, ack.reason), (id(n), Reason::Success)),
        other => panic!("expected PUBACK: {other:?}"),
    }
}

/// Looks until it is so; fails after a while that nothing should take.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
