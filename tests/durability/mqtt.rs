//! The same over MQTT: clients of the open topics publish and subscribe while the daemon is killed.
//!
//! ```text
//!   sender ─► ledger ─► PUBLISH, some in flight ─► PUBACK ─► ledger
//!                  └ connection lost: again, what was not acknowledged, in order, with its id and DUP
//!   receiver ─► PUBLISH ─► receipt ─► PUBACK
//! ```
//!
//! A receiver tells a repeat that the server owns up to (the same message with the same id, and DUP) from a
//! copy that its sender made by sending again. The first is no receipt, but has to be within the window.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Connect, Packet, PacketId, Publish, QoS, Version};
use serde_json::Value;

use super::chance::Chance;
use crate::support::ledger::{
    Item, Ledger, Order, Receipts, Received, Repeats, Rules, Steps, judge,
};
use crate::support::{Daemon, PATIENCE};

const SENDERS: u64 = 4;
const RECEIVERS: usize = 2;
const TOPICS: [&str; 2] = ["load/a", "load/b"];
/// Most messages of one sender in flight.
const FLIGHT: u64 = 50;
/// Most messages in flight to a receiver, as the server has it.
const WINDOW: usize = 1_000;
/// Most bytes of a body beyond what names the message.
const BODY: u64 = 1_024;
/// How long a client looks at a time for something to hear.
const LOOK: Duration = Duration::from_millis(20);

fn rounds() -> u64 {
    match std::env::var_os("EDGE_LONG_TESTS") {
        Some(_) => 100,
        None => 8,
    }
}

/// What all clients know.
struct Shared {
    address: SocketAddr,
    ledger: Ledger,
    /// Passwords of the senders, by their number; none: they are nobody.
    passwords: Vec<String>,
    /// Between one message of a sender and its next.
    pause: Duration,
    acknowledged: AtomicU64,
    /// No new messages are sent.
    last: AtomicBool,
    /// All is over.
    stop: AtomicBool,
    faults: Mutex<Vec<String>>,
}

impl Shared {
    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }
}

/// A client's end of a connection.
struct Wire {
    stream: TcpStream,
    input: BytesMut,
    version: Version,
}

impl Wire {
    /// Connects to a session that is kept, and says whether it was there.
    fn open(
        address: SocketAddr,
        version: Version,
        name: &str,
        password: Option<&String>,
    ) -> io::Result<(Self, bool)> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        let mut wire = Self {
            stream,
            input: BytesMut::new(),
            version,
        };
        let hello = Connect {
            clean_start: false,
            session_expiry: 3_600,
            user_name: password.map(|_| name.into()),
            password: password.map(|password| password.as_bytes().to_vec().into()),
            ..client::connect(version, name)
        };
        wire.send(&Packet::Connect(Box::new(hello)))?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match wire.hear()? {
                Some(Heard::ConnAck {
                    session_present,
                    code: 0,
                    ..
                }) => return Ok((wire, session_present)),
                Some(other) => return Err(io::Error::other(format!("{name}: {other:?}"))),
                None => {}
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let mut out = BytesMut::new();
        client::encode(&mut out, self.version, packet);
        self.stream.write_all(&out)
    }

    /// The next packet, if one comes soon.
    fn hear(&mut self) -> io::Result<Option<Heard>> {
        loop {
            if let Some(heard) =
                client::decode(self.version, &mut self.input).map_err(io::Error::other)?
            {
                return Ok(Some(heard));
            }
            let mut room = [0; 16 << 10];
            match self.stream.read(&mut room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.input.extend_from_slice(&room[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Half of the clients speak the one version, half the other.
fn version(number: u64) -> Version {
    match number % 2 {
        0 => Version::V3,
        _ => Version::V5,
    }
}

/// Runs a connection after another until all is over.
fn connected(
    shared: &Shared,
    number: u64,
    name: &str,
    password: Option<&String>,
    mut run: impl FnMut(Wire, bool) -> io::Result<()>,
) {
    while !shared.stop.load(Ordering::Relaxed) {
        let connection = Wire::open(shared.address, version(number), name, password);
        let ended = connection.and_then(|(wire, present)| run(wire, present));
        match ended {
            Ok(()) => return,
            // The daemon is gone, or not there yet.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn sender(shared: &Shared, number: u64, mut chance: Chance) {
    let name = format!("s{number}");
    let mut next = [0; TOPICS.len()];
    let mut flight: VecDeque<(PacketId, Publish, Item)> = VecDeque::new();
    let mut packet = 0u16;
    let mut connection = |mut wire: Wire, _: bool| {
        for (_, publish, item) in &mut flight {
            shared.ledger.sent(item)?;
            publish.dup = true;
            wire.send(&Packet::Publish(publish.clone()))?;
        }
        loop {
            let most = 1 + chance.below(FLIGHT);
            while (flight.len() as u64) < most && !shared.last.load(Ordering::Relaxed) {
                let topic = usize::from(chance.below(2) == 1);
                next[topic] += 1;
                let item = Item::new(&name, TOPICS[topic], next[topic]);
                packet = packet % 60_000 + 1;
                let id = NonZeroU16::new(packet).expect("not 0");
                let filler = usize::try_from(chance.below(BODY)).expect("small");
                let body = format!("{name} {} {}", item.seq, "x".repeat(filler));
                let publish = client::publish(TOPICS[topic], Some(id), body);
                std::thread::sleep(shared.pause);
                shared.ledger.sent(&item)?;
                flight.push_back((id, publish.clone(), item));
                wire.send(&Packet::Publish(publish))?;
            }
            match wire.hear()? {
                Some(Heard::PubAck(ack)) => match flight.pop_front() {
                    Some((id, _, item)) if id == ack.id => {
                        shared.ledger.acknowledged(&item)?;
                        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    other => {
                        // [MQTT-4.6.0-2]: in the order in which they were sent.
                        shared.fault(format!("{name}: {ack:?} for {other:?}"));
                        return Ok(());
                    }
                },
                Some(other) => {
                    shared.fault(format!("{name}: {other:?}"));
                    return Ok(());
                }
                None => {}
            }
            let done = flight.is_empty() && shared.last.load(Ordering::Relaxed);
            if done || shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    };
    let password = shared
        .passwords
        .get(usize::try_from(number).expect("small"));
    connected(shared, number, &name, password, &mut connection);
}

/// What a receiver knows.
struct Receiver {
    name: String,
    receipts: Receipts,
    /// The ids with which a message came.
    seen: HashMap<Item, HashSet<PacketId>>,
    /// Repeats that were flagged, of this connection, and most of any.
    repeats: usize,
    most: usize,
}

impl Receiver {
    fn take(&mut self, topic: &str, body: &[u8], id: PacketId, dup: bool) -> Result<(), String> {
        let name = &self.name;
        let text = std::str::from_utf8(body).map_err(|error| format!("{name}: {error}"))?;
        let mut words = text.split(' ');
        let (sender, seq) = (words.next(), words.next().and_then(|seq| seq.parse().ok()));
        let (Some(sender), Some(seq)) = (sender, seq) else {
            return Err(format!("{name}: {text:?}"));
        };
        let item = Item::new(sender, topic, seq);
        let ids = self.seen.entry(item.clone()).or_default();
        let again = !ids.insert(id);
        if again && dup {
            self.repeats += 1;
            self.most = self.most.max(self.repeats);
            return match self.repeats <= WINDOW {
                true => Ok(()),
                false => Err(format!("{name}: more repeats than were in flight: {item}")),
            };
        }
        if again && ids.len() == 1 {
            return Err(format!(
                "{name}: {item} came again with id {id}, without DUP"
            ));
        }
        self.receipts
            .write(&item.into())
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn receiver(shared: &Shared, number: usize, receipts: &Path) -> (usize, usize) {
    let mut receiver = Receiver {
        name: format!("r{number}"),
        receipts: Receipts::create(receipts).unwrap(),
        seen: HashMap::new(),
        repeats: 0,
        most: 0,
    };
    let name = receiver.name.clone();
    let mut subscribed = false;
    let mut connection = |mut wire: Wire, present: bool| {
        receiver.repeats = 0;
        if subscribed && !present {
            shared.fault(format!("{}: its session is gone", receiver.name));
            return Ok(());
        }
        if !subscribed {
            let id = NonZeroU16::MIN;
            let subscribe = client::subscribe(id, &[("load/#", QoS::AtLeastOnce)]);
            wire.send(&Packet::Subscribe(subscribe))?;
        }
        while !shared.stop.load(Ordering::Relaxed) {
            match wire.hear()? {
                Some(Heard::SubAck { codes, .. }) if codes == [1] => subscribed = true,
                Some(Heard::Publish {
                    topic,
                    body,
                    id: Some(id),
                    dup,
                    ..
                }) => {
                    if let Err(fault) = receiver.take(&topic, &body, id, dup) {
                        shared.fault(fault);
                        return Ok(());
                    }
                    wire.send(&Packet::PubAck(client::ack(id)))?;
                }
                Some(other) => {
                    shared.fault(format!("{}: {other:?}", receiver.name));
                    return Ok(());
                }
                None => {}
            }
        }
        Ok(())
    };
    let number = u64::try_from(number).expect("small");
    connected(shared, number, &name, None, &mut connection);
    (receiver.seen.len(), receiver.most)
}

#[track_caller]
fn wait(shared: &Shared, what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        let faults = shared.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert!(Instant::now() < until, "not in time: {what}");
        drop(faults);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn nothing_published_is_lost_or_out_of_order_across_kills_and_repeats_are_flagged() {
    let mut chance = Chance::new("mqtt");
    // The same port after each start; nobody else is given it meanwhile.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut daemon = Daemon::with(&format!(
        "[topics]\nlisten = \"{address}\"\ntls = false\nanonymous = true\n\
         [[topics.rules]]\nidentity = \"$anonymous\"\npublish = [\"load/+\"]\nsubscribe = [\"load/#\"]\n"
    ));
    let ledger = daemon.dir().join("ledger");
    let shared = Arc::new(Shared {
        address,
        ledger: Ledger::create(&ledger).unwrap(),
        passwords: Vec::new(),
        pause: Duration::ZERO,
        acknowledged: AtomicU64::new(0),
        last: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        faults: Mutex::default(),
    });
    let paths: Vec<_> = (0..RECEIVERS)
        .map(|n| daemon.dir().join(format!("receipts-{n}")))
        .collect();
    let receivers: Vec<JoinHandle<_>> = (0..RECEIVERS)
        .map(|number| {
            let (shared, path) = (shared.clone(), paths[number].clone());
            std::thread::spawn(move || receiver(&shared, number, &path))
        })
        .collect();
    // Both are subscribed before anything is published.
    wait(&shared, "two sessions", || {
        sessions(&daemon).len() == RECEIVERS
    });
    let senders: Vec<JoinHandle<_>> = (0..SENDERS)
        .map(|number| {
            let (shared, chance) = (shared.clone(), chance.child());
            std::thread::spawn(move || sender(&shared, number, chance))
        })
        .collect();
    let rounds = rounds();
    for _ in 0..rounds {
        let more = shared.acknowledged.load(Ordering::Relaxed) + chance.below(1_500);
        wait(&shared, "more are acknowledged", || {
            shared.acknowledged.load(Ordering::Relaxed) >= more
        });
        chance.moment(Duration::from_millis(5));
        daemon.kill();
        daemon.again();
    }
    shared.last.store(true, Ordering::Relaxed);
    wait(&shared, "the senders end", || {
        senders.iter().all(JoinHandle::is_finished)
    });
    wait(&shared, "all is delivered", || {
        sessions(&daemon).iter().all(|depth| *depth == 0)
    });
    shared.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    let ends: Vec<_> = receivers
        .into_iter()
        .map(|receiver| receiver.join().unwrap())
        .collect();
    assert_eq!(*shared.faults.lock().unwrap(), Vec::<String>::new());
    let entries = Ledger::read(&ledger).unwrap();
    for (path, (_, most)) in paths.iter().zip(ends) {
        let rules = Rules {
            repeats: Repeats::AsSent,
            order: Order::OfFirst,
            steps: Steps::Once,
        };
        let verdict =
            judge(&entries, &Receipts::read(path).unwrap(), rules).expect("what was sent");
        eprintln!("mqtt, {rounds} kills: {verdict}; {most} repeats at most after one");
    }
}

/// Senders to a gateway, which have identities there.
pub struct Senders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    /// One for each password; they are called `s0`, `s1` and so on.
    pub fn start(
        address: SocketAddr,
        passwords: Vec<String>,
        ledger: &Path,
        pause: Duration,
        chance: &mut Chance,
    ) -> Self {
        let count = passwords.len() as u64;
        let shared = Arc::new(Shared {
            address,
            ledger: Ledger::create(ledger).unwrap(),
            passwords,
            pause,
            acknowledged: AtomicU64::new(0),
            last: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            faults: Mutex::default(),
        });
        let threads = (0..count).map(|number| {
            let (shared, chance) = (shared.clone(), chance.child());
            std::thread::spawn(move || sender(&shared, number, chance))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// Waits until so many more were acknowledged.
    #[track_caller]
    pub fn more(&self, count: u64) {
        let acknowledged = &self.shared.acknowledged;
        let wanted = acknowledged.load(Ordering::Relaxed) + count;
        wait(&self.shared, "more are acknowledged", || {
            acknowledged.load(Ordering::Relaxed) >= wanted
        });
    }

    /// Waits until all that they sent is acknowledged.
    #[track_caller]
    pub fn finish(&mut self) {
        self.shared.last.store(true, Ordering::Relaxed);
        wait(&self.shared, "the senders end", || {
            self.threads.iter().all(JoinHandle::is_finished)
        });
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        assert_eq!(*self.shared.faults.lock().unwrap(), Vec::<String>::new());
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// What a parent printed of all that they sent, but for a last line that a kill cut short.
pub fn printed(out: &str) -> Vec<Received> {
    let whole = out.rfind('\n').map_or("", |end| &out[..end]);
    let receipt = |line: &str| {
        let message: Value = serde_json::from_str(line).unwrap();
        let body = message["body"].as_str().unwrap_or_else(|| panic!("{line}"));
        let mut words = body.split(' ');
        let (sender, seq) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(message["device"], sender, "{line}");
        let topic = format!("load/{}", message["properties"]["x"].as_str().unwrap());
        Item::new(sender, &topic, seq.parse().unwrap()).into()
    };
    whole.lines().map(receipt).collect()
}

/// How much waits in the queue of each session that is subscribed to something.
fn sessions(daemon: &Daemon) -> Vec<u64> {
    let queues = daemon.json("queues");
    let queues = queues.as_array().expect("a list");
    let is_session = |queue: &&Value| {
        queue["endpoint"]
            .as_str()
            .is_some_and(|e| e.starts_with("$session"))
    };
    let depth = |queue: &Value| queue["depth"].as_u64().expect("a number");
    queues.iter().filter(is_session).map(depth).collect()
}
