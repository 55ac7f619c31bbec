//! The same over AMQP, from device to hub to parent: devices send on links of their own while either daemon is killed.
//!
//! ```text
//!   sender ─► ledger ─► transfer, some in flight ─► accepted ─► ledger         the parent prints: receipts
//!                  └ connection lost: again, what was not accepted, in order
//! ```

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use edge_amqp::client::{Links, ParentConnection, Turn};
use edge_amqp::{Address, Traffic};
use edge_core::Identity;
use edge_daemon::types::MessageInfo;
use edge_identity::{ConnectionString, Token};
use fe2o3_amqp_types::messaging::{ApplicationProperties, Data, Message, Outcome};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::chain::SETTINGS;
use super::chance::Chance;
use crate::support::family::Parent;
use crate::support::ledger::{
    Item, Ledger, Order, Receipts, Received, Repeats, Rules, Steps, judge,
};
use crate::support::{Daemon, Manifest, PATIENCE};

const ROUNDS: u64 = 6;
const SENDERS: u64 = 4;
/// Most messages of one sender in flight.
const FLIGHT: u64 = 50;
/// Messages that may be under way to a parent.
const WINDOW: u64 = 8_192;
/// Most bytes of a body.
const BODY: u64 = 1_024;

struct Shared {
    ledger: Ledger,
    port: u16,
    trust: Arc<rustls::ClientConfig>,
    /// Between one message of a sender and its next.
    pause: Duration,
    acknowledged: AtomicU64,
    /// No new messages are sent.
    last: AtomicBool,
}

/// A device that sends until it is told to stop, and until all of it is accepted.
struct Sender {
    shared: Arc<Shared>,
    who: ConnectionString,
    chance: Chance,
    /// Sent and not accepted, the oldest first.
    flight: VecDeque<(Item, String)>,
    next: u64,
}

impl Sender {
    fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            // The daemon may be gone, or not there yet; what it cannot be is wrong for ever: the test has its time.
            while self.connection().await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }

    /// Works on a connection until it is over, or nothing is left to do.
    async fn connection(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let host = self.who.gateway.clone().unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.shared.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.clone())?;
        let tls = TlsConnector::from(self.shared.trust.clone());
        let stream = tls.connect(name, stream).await?;
        let identity = Identity::Device(self.who.device.clone());
        let device = identity.to_string();
        let traffic = Arc::<Traffic>::default();
        let mut connection = ParentConnection::open(stream, &device, &host, traffic).await?;
        let links = connection.links();
        // An outcome does not hear of the connection's end.
        tokio::select! {
            done = self.work(&links, identity) => done,
            why = connection.ended() => Err(why.into()),
        }
    }

    async fn work(
        &mut self,
        links: &Links,
        identity: Identity,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let device = identity.to_string();
        let now = std::time::UNIX_EPOCH.elapsed()?;
        let expires = edge_core::Timestamp(u64::try_from(now.as_nanos())?);
        let expires = expires.after(Duration::from_secs(600));
        let token = Token::make(&self.who.hub, &identity, &self.who.key, expires);
        links
            .put_token(&self.who.hub, &identity, token.as_ref())
            .await?;
        let address = Address::Events(identity);
        let mut link = links.sender(&address, None, Turn::First).await?;
        let mut outcomes = VecDeque::new();
        for (item, body) in &self.flight {
            self.shared.ledger.sent(item)?;
            outcomes.push_back(link.send_batchable(message(item, body)).await?);
        }
        loop {
            let most = 1 + self.chance.below(FLIGHT);
            while (self.flight.len() as u64) < most && !self.shared.last.load(Ordering::Relaxed) {
                self.next += 1;
                let item = Item::new(&device, "events", self.next);
                let filler = usize::try_from(self.chance.below(BODY)).unwrap();
                let body = format!("\"{}\"", "x".repeat(filler));
                let message = message(&item, &body);
                if !self.shared.pause.is_zero() {
                    tokio::time::sleep(self.shared.pause).await;
                }
                self.shared.ledger.sent(&item)?;
                self.flight.push_back((item, body));
                outcomes.push_back(link.send_batchable(message).await?);
            }
            let Some(outcome) = outcomes.pop_front() else {
                return Ok(());
            };
            match outcome.await? {
                Outcome::Accepted(_) => {}
                other => return Err(format!("{device}: {other:?}").into()),
            }
            let (item, _) = self.flight.pop_front().unwrap();
            self.shared.ledger.acknowledged(&item)?;
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn message(item: &Item, body: &str) -> Message<Data> {
    let mut properties = ApplicationProperties::default();
    let number = SimpleValue::String(item.seq.to_string());
    properties.0.insert("seq".to_owned(), number);
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: None,
        application_properties: Some(properties),
        body: Data(Binary::from(body.as_bytes().to_vec())),
        footer: None,
    }
}

/// What the parent printed, but for a last line that a kill cut short.
pub fn printed(out: &str) -> Vec<Received> {
    let whole = out.rfind('\n').map_or("", |end| &out[..end]);
    let receipt = |line: &str| {
        let message: MessageInfo =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Received {
            item: Item::new(
                &message.device,
                "events",
                message.properties["seq"].parse().unwrap(),
            ),
            steps: Vec::new(),
        }
    };
    whole.lines().map(receipt).collect()
}

fn trust(daemon: &Daemon) -> Arc<rustls::ClientConfig> {
    let bundle = daemon.edge("certificates --bundle").output("").code(0).out;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Arc::new(config)
}

/// Senders to a gateway.
pub struct Senders {
    shared: Arc<Shared>,
    /// By the number of the sender.
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    /// One for each connection string.
    pub fn start(
        gateway: &Parent,
        senders: Vec<ConnectionString>,
        ledger: &Path,
        pause: Duration,
        chance: &mut Chance,
    ) -> Self {
        let shared = Arc::new(Shared {
            ledger: Ledger::create(ledger).unwrap(),
            port: gateway.port(),
            trust: trust(&gateway.daemon),
            pause,
            acknowledged: AtomicU64::new(0),
            last: AtomicBool::new(false),
        });
        let threads = senders.into_iter().map(|who| {
            let sender = Sender {
                shared: shared.clone(),
                who,
                chance: chance.child(),
                flight: VecDeque::new(),
                next: 0,
            };
            std::thread::spawn(|| sender.run())
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// Waits until so many more were accepted.
    #[track_caller]
    pub fn more(&self, count: u64) {
        let wanted = self.shared.acknowledged.load(Ordering::Relaxed) + count;
        let until = Instant::now() + PATIENCE;
        while self.shared.acknowledged.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "nothing is accepted");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Says that whoever is let in ends once all of its messages are accepted.
    pub fn last(&self) {
        self.shared.last.store(true, Ordering::Relaxed);
    }

    /// Waits for the end of all.
    pub fn finish(&mut self) {
        self.last();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        // A failed test does not wait for them: they end with the process.
        self.last();
    }
}

/// Devices behind a gateway, which its parent has told it of.
pub fn behind(root: &Parent, middle: &Parent) -> Vec<ConnectionString> {
    let device = |n| {
        let add = format!("identity add s{n} --behind child1");
        root.daemon.edge(&add).output("").code(0);
        middle.told(&format!("s{n}")).parse().unwrap()
    };
    (0..SENDERS).map(device).collect()
}

/// Devices that send to a gateway, which hands all on to its parent.
struct Chain {
    root: Parent,
    middle: Parent,
    senders: Senders,
    folder: PathBuf,
    receipts: Receipts,
}

impl Chain {
    fn start(chance: &mut Chance) -> Self {
        let root = Parent::with("upstream.messages = \"print\"\n[hub]\ntime-to-live = \"24h\"\n");
        let middle = Parent::with(&format!("{}{SETTINGS}", root.adopt("child1")));
        middle
            .daemon
            .apply(&Manifest::new().route("up", "FROM /messages/* INTO $upstream"));
        let folder = middle.daemon.dir().to_owned();
        let senders = behind(&root, &middle);
        let ledger = folder.join("ledger");
        let senders = Senders::start(&middle, senders, &ledger, Duration::ZERO, chance);
        Self {
            receipts: Receipts::create(&folder.join("receipts")).unwrap(),
            root,
            middle,
            senders,
            folder,
        }
    }

    fn kill_root(&mut self) {
        self.root.daemon.running().kill_now();
        let out = self.root.daemon.stop().out;
        self.keep(&out);
    }

    fn keep(&self, out: &str) {
        for receipt in printed(out) {
            self.receipts.write(&receipt).unwrap();
        }
    }

    /// Waits for all, and judges what came.
    fn end(mut self, interruptions: u64) -> String {
        self.senders.finish();
        self.middle.daemon.waits("$upstream", 0);
        self.root.daemon.waits("$upstream", 0);
        let out = self.root.daemon.stop().code(0).out;
        self.keep(&out);
        let entries = Ledger::read(&self.folder.join("ledger")).unwrap();
        assert!(fs::metadata(self.folder.join("receipts")).unwrap().len() > 0);
        let rules = Rules {
            repeats: Repeats::AtMost(interruptions * (WINDOW + SENDERS * FLIGHT)),
            order: Order::OfFirst,
            steps: Steps::Stable,
        };
        let received = Receipts::read(&self.folder.join("receipts")).unwrap();
        let verdict = judge(&entries, &received, rules).expect("what came");
        assert!(verdict.received >= verdict.acknowledged);
        verdict.to_string()
    }
}

#[test]
fn nothing_that_was_accepted_is_lost_on_its_way_to_the_parent_whoever_is_killed() {
    let mut chance = Chance::new("amqp");
    let mut chain = Chain::start(&mut chance);
    for round in 0..ROUNDS {
        chain.senders.more(50 + chance.below(400));
        chance.moment(Duration::from_millis(50));
        if round % 2 == 0 {
            chain.middle.daemon.kill();
            chain.middle.daemon.again();
        } else {
            chain.kill_root();
            chain.root.daemon.again();
        }
    }
    chain.senders.last();
    eprintln!("AMQP, {ROUNDS} kills: {}", chain.end(ROUNDS));
}

#[test]
fn who_is_kept_out_by_the_parent_or_goes_to_another_gateway_loses_nothing_and_holds_up_nobody() {
    let mut chance = Chance::new("amqp-out");
    let mut chain = Chain::start(&mut chance);
    chain.senders.more(200);
    let change = |chain: &Chain, words: &str| {
        let change = chain.root.daemon.edge(&format!("identity {words}"));
        change.output("").code(0);
    };
    let status = |gateway: &Daemon, name: &str| {
        let list = gateway.json("identity list");
        let known = list.as_array().unwrap().iter();
        let mut known = known.filter(|known| known["identity"] == name);
        known.next().map(|known| known["status"] == "enabled")
    };
    change(&chain, "disable s0");
    let middle = &chain.middle.daemon;
    middle.eventually("it is kept out", |m| status(m, "s0") == Some(false));
    // The others go on, on the connection that there is.
    chain.senders.more(1_000);
    change(&chain, "enable s0");
    middle.eventually("it is let in", |m| status(m, "s0") == Some(true));
    chain.senders.more(1_000);
    let device = middle.call("GET", "/v1/device", "").1;
    let device: serde_json::Value = serde_json::from_str(&device).unwrap();
    assert_eq!(device["upstream"]["connections"], 1, "{device}");
    // One is moved while its messages wait at its old gateway, which has its key no more when it is connected.
    chain.kill_root();
    chain.senders.more(400);
    chain.middle.daemon.kill();
    chain.root.daemon.again();
    change(&chain, "move s1 --nowhere");
    chain.middle.daemon.again();
    let middle = &chain.middle.daemon;
    middle.eventually("it is gone", |m| status(m, "s1").is_none());
    chain.senders.last();
    let moved = chain.senders.threads.remove(1);
    for thread in chain.senders.threads.drain(..) {
        thread.join().unwrap();
    }
    middle.waits("$upstream", 0);
    change(&chain, "move s1 --behind child1");
    chain.senders.threads.push(moved);
    eprintln!("AMQP, kept out and moved: {}", chain.end(4));
}
