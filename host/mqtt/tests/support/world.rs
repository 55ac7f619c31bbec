//! A hub with both heads on it, over a log in memory, under a clock that stands until it is told to go.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_core::{ByteSize, DeviceId, Identity, ModuleId, Priority, Timestamp};
use edge_hub::{Clock, Hub, HubConfig};
use edge_identity::{Peer, PeerAddress, Registry};
use edge_mqtt::client;
use edge_mqtt::packet::{Connect, Version};
use edge_mqtt::{Head, HeadConfig, HeadStatus, TopicRule, Topics, TopicsConfig};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use tokio::io::DuplexStream;
use tokio::sync::watch;

use crate::gate::Gate;

/// Bytes that fit into a stream, in each direction.
const STREAM: usize = 64 << 10;
/// Largest message: packets may have 128 KiB more.
const MESSAGE: ByteSize = ByteSize(128 << 10);

/// Which head a script talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// That of the open topics.
    Open,
    /// That of Azure's SDKs, as module `d/m` whose output `o` leads to its own input `i`.
    Sdk,
}

#[derive(Debug)]
struct Stopped(AtomicU64);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// See the head of this file.
pub struct World {
    site: Site,
    clock: Arc<Stopped>,
    /// The log under the hub.
    pub log: Arc<Gate>,
    pub hub: Arc<Hub>,
    pub registry: Arc<Registry>,
    heads: Heads,
}

struct Heads {
    sdk: Arc<Head>,
    open: Arc<Topics>,
    closing: watch::Sender<bool>,
}

fn device() -> DeviceId {
    DeviceId::new("d").expect("id")
}

fn module() -> Identity {
    Identity::Module(device(), ModuleId::new("m").expect("id"))
}

fn open(hub: &Arc<Hub>, registry: &Arc<Registry>) -> Heads {
    let (closing, closed) = watch::channel(false);
    let sdk = Head::open(HeadConfig::new(
        hub.clone(),
        registry.clone(),
        closed.clone(),
    ));
    let all = ["#", "$open/#"].map(str::to_owned).to_vec();
    let rule = |identity: &str| TopicRule {
        identity: identity.to_owned(),
        publish: all.clone(),
        subscribe: all.clone(),
    };
    let topics = Topics::open(TopicsConfig {
        hub: hub.clone(),
        registry: registry.clone(),
        closing: closed,
        anonymous: true,
        rules: vec![rule("$anonymous"), rule("*")],
        mappings: Vec::new(),
        queue_limit: edge_core::ByteSize(u64::MAX),
    });
    let open = topics.expect("rules");
    tokio::spawn(open.keep());
    Heads { sdk, open, closing }
}

impl World {
    pub fn new(site: Site) -> Self {
        Self::over(site, Gate::default())
    }

    pub fn over(site: Site, log: Gate) -> Self {
        let log = Arc::new(log);
        let clock = Arc::new(Stopped(AtomicU64::new(1_800_000_000_000_000_000)));
        let config = HubConfig {
            message_limit: MESSAGE,
            ..HubConfig::new(device())
        };
        let hub = Hub::with(config, log.clone(), clock.clone(), None);
        let text =
            r#"FROM /messages/modules/m/outputs/o INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
        let route = RouteEntry {
            name: "r".to_owned(),
            route: Route::compile(text, Mode::Compat)
                .expect("a route")
                .expect("one that leads somewhere"),
            priority: Priority::DEFAULT,
            time_to_live: None,
        };
        hub.set_routes(RouteTable::new(vec![route]), None);
        let registry = Registry::open(log.clone()).expect("an empty log");
        let now = hub.now();
        for identity in [Identity::Device(device()), module()] {
            registry.ensure(&identity, now).expect("stored");
        }
        let heads = open(&hub, &registry);
        Self {
            site,
            clock,
            log,
            hub,
            registry,
            heads,
        }
    }

    /// A new connection.
    pub fn connect(&self) -> DuplexStream {
        self.connect_by(STREAM)
    }

    /// A new connection that takes so many bytes in each direction.
    pub fn connect_by(&self, room: usize) -> DuplexStream {
        let (near, far) = tokio::io::duplex(room);
        let peer = Peer::plain(PeerAddress::Unix);
        match self.site {
            Site::Open => tokio::spawn(self.heads.open.serve(far, peer)),
            Site::Sdk => tokio::spawn(self.heads.sdk.serve(far, peer)),
        };
        near
    }

    /// Lets time pass on the hub's clock; timers of connections do not hear of it.
    pub fn pass(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("a short time");
        self.clock.0.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Tells the heads to stop: connections are closed.
    pub fn stop(&self) {
        self.heads.closing.send_replace(true);
    }

    /// New heads on the same hub and log, as after a restart.
    pub fn start(&mut self) {
        self.heads = open(&self.hub, &self.registry);
    }

    /// What the head has done and has.
    pub fn status(&self) -> HeadStatus {
        match self.site {
            Site::Open => self.heads.open.status(),
            Site::Sdk => self.heads.sdk.status(),
        }
    }

    /// A CONNECT that is accepted, with a clean start.
    pub fn hello(&self, version: Version, name: &str) -> Connect {
        if self.site == Site::Open {
            return client::connect(version, name);
        }
        let word = |word| {
            let words = self.words();
            let found = words.into_iter().find(|(name, _)| *name == word);
            found.expect("a word").1
        };
        Connect {
            user_name: Some(word("{USER}").into()),
            password: Some(word("{PASSWORD}").into_bytes().into()),
            ..client::connect(version, &word("{ID}"))
        }
    }

    /// What `{ID}` and the like mean in a script: the bytes of a CONNECT that are not what it is about.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let key = |identity: &Identity| {
            let known = self.registry.get(identity).expect("registered");
            known
                .auth
                .keys()
                .expect("keys")
                .primary
                .base64()
                .to_string()
        };
        match self.site {
            Site::Sdk => vec![
                ("{ID}", "d/m".to_owned()),
                ("{USER}", "hub/d/m/?api-version=2021-04-12".to_owned()),
                ("{PASSWORD}", key(&module())),
                (
                    "{T}",
                    "devices/d/modules/m/messages/events/%24.on=o".to_owned(),
                ),
                ("{F}", "devices/d/modules/m/inputs/#".to_owned()),
            ],
            Site::Open => vec![
                ("{ID}", "open".to_owned()),
                ("{USER}", "d".to_owned()),
                ("{PASSWORD}", key(&Identity::Device(device()))),
                ("{T}", "t/1".to_owned()),
                ("{F}", "t/#".to_owned()),
            ],
        }
    }

    /// Who a client is that just joins: flags of its CONNECT, client id, and what comes behind.
    pub fn who(&self, name: &str) -> (u8, String) {
        match self.site {
            Site::Open => (0, format!("\"{name}\"")),
            Site::Sdk => (0xc0, "\"{ID}\" \"{USER}\" \"{PASSWORD}\"".to_owned()),
        }
    }
}
