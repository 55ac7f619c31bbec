//! From module to hub to parent: what the parent prints is what was acknowledged below, in order, whatever is killed
//! on the way.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use edge_mqtt::client;
use edge_mqtt::packet::{Connect, Packet, Version};

use super::chain::{self, First, SETTINGS};
use super::chance::Chance;
use super::load::{Load, WhenFull};
use super::outside::printed;
use crate::support::family::Parent;
use crate::support::ledger::{Ledger, Order, Receipts, Repeats, Rules, Steps, judge};
use crate::support::namespace::isolated;
use crate::support::{Daemon, Manifest};

const ROUNDS: u64 = 6;
const SENDERS: u64 = 4;
/// Messages that may be under way to a parent.
const WINDOW: u64 = 8_192;

/// Of tokens that end in an outage.
const TOKEN_LIFE: Duration = Duration::from_secs(6);

/// Where plain MQTT devices publish.
const TOPICS: &str = "[topics]\nlisten = \"127.0.0.1:1883\"\ntls = false\n\
    [[topics.rules]]\nidentity = \"leaf*\"\npublish = [\"t/#\"]\n\
    [[topics.mappings]]\ntopic = \"t/{x}\"\n";

fn parent() -> Parent {
    Parent::with("upstream.messages = \"print\"\n")
}

fn print_of(parent: &mut Parent, count: usize) -> Vec<serde_json::Value> {
    (0..count)
        .map(|_| serde_json::from_str(&parent.daemon.running().line()).unwrap())
        .collect()
}

#[test]
fn what_a_child_sends_arrives_in_order_with_all_that_it_says() {
    let mut parent = parent();
    let child = Daemon::with(&parent.adopt("child1"));
    for n in 0..30 {
        let send = child.edge("send $upstream --body").arg(n.to_string());
        send.property("na sty&k", "a b&c=d/é").output("").code(0);
    }
    let printed = print_of(&mut parent, 30);
    for (n, line) in printed.iter().enumerate() {
        assert_eq!(line["body"], n, "{line}");
        assert_eq!(line["device"], "child1", "{line}");
        assert_eq!(line["properties"]["na sty&k"], "a b&c=d/é", "{line}");
    }
    child.waits("$upstream", 0);
}

#[test]
fn a_child_goes_on_when_its_parent_comes_back() {
    let mut parent = parent();
    let mut child = Daemon::with(&parent.adopt("child1"));
    child.send("$upstream", "1");
    assert_eq!(print_of(&mut parent, 1)[0]["body"], 1);
    child.waits("$upstream", 0);
    parent.daemon.kill();
    for n in 2..20 {
        child.send("$upstream", &n.to_string());
    }
    child.kill();
    child.again();
    child.send("$upstream", "20");
    parent.daemon.again();
    for (n, line) in print_of(&mut parent, 19).iter().enumerate() {
        assert_eq!(line["body"], n + 2, "{line}");
    }
    child.waits("$upstream", 0);
}

#[test]
fn three_levels_hand_messages_on() {
    let mut root = parent();
    let middle = Parent::with(&root.adopt("middle"));
    let add = root.daemon.edge("identity add leaf --edge --behind middle");
    add.output("").code(0);
    let leaf = Daemon::with(&middle.adopt_told("leaf"));
    for n in 0..5 {
        leaf.send("$upstream", &n.to_string());
    }
    for (n, line) in print_of(&mut root, 5).iter().enumerate() {
        assert_eq!(
            (&line["body"], &line["device"]),
            (&n.into(), &"leaf".into()),
            "{line}"
        );
    }
    leaf.waits("$upstream", 0);
}

/// Senders, the chain of modules on a child, and what its parent prints.
struct Line {
    chance: Chance,
    parent: Parent,
    child: Daemon,
    load: Option<Load>,
    receipts: Receipts,
}

impl Line {
    fn new(name: &str) -> Self {
        Self::with(name, Duration::from_secs(3_600))
    }

    /// Tokens of the child live for so long, to the second.
    fn with(name: &str, token_life: Duration) -> Self {
        let mut chance = Chance::new(name);
        let parent = Parent::with(
            "upstream.messages = \"print\"\nhub.clock-skew = \"0s\"\nhub.time-to-live = \"24h\"\n",
        );
        let seconds = token_life.as_secs();
        let settings = parent.adopt("child1");
        let settings = format!("{settings}upstream.token-life = \"{seconds}s\"\n");
        let child = Daemon::with(&format!("{settings}{SETTINGS}"));
        child.apply(&chain::manifest(First::Running, 0));
        let (ledger, socket) = (child.dir().join("ledger"), child.socket());
        let receipts = Receipts::create(&child.dir().join("receipts")).unwrap();
        let load = Load::start(SENDERS, &ledger, &socket, WhenFull::Fault, &mut chance);
        load.open();
        Self {
            chance,
            parent,
            child,
            load: Some(load),
            receipts,
        }
    }

    fn load(&self) -> &Load {
        self.load.as_ref().expect("it goes on")
    }

    fn keep(&self, out: &str) {
        for receipt in printed(out) {
            self.receipts.write(&receipt).unwrap();
        }
    }

    fn kill_child(&mut self) {
        self.child.kill();
        self.child.again();
        self.load().open();
    }

    fn kill_parent(&mut self) {
        self.parent.daemon.running().kill_now();
        let out = self.parent.daemon.stop().out;
        self.keep(&out);
        self.parent.daemon.again();
    }

    /// All that was acknowledged has come, in order; `cuts`: as often as a window may come twice.
    fn judge(mut self, cuts: u64) {
        self.load.take().expect("it goes on").finish();
        chain::drained(&self.child);
        self.child.waits("$upstream", 0);
        self.parent.daemon.waits("$upstream", 0);
        let out = self.parent.daemon.stop().code(0).out;
        self.keep(&out);
        let entries = Ledger::read(&self.child.dir().join("ledger")).unwrap();
        let receipts = Receipts::read(&self.child.dir().join("receipts")).unwrap();
        let rules = Rules {
            repeats: Repeats::AtMost(cuts * (WINDOW + 256 + SENDERS)),
            order: Order::OfFirst,
            steps: Steps::Stable,
        };
        let verdict = judge(&entries, &receipts, rules).expect("what came");
        assert!(verdict.received >= verdict.acknowledged);
        eprintln!("parent, {cuts} cuts: {verdict}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_on_its_way_to_the_parent_whoever_is_killed() {
    let mut line = Line::new("parent");
    for round in 0..ROUNDS {
        let count = 50 + line.chance.below(400);
        line.load().more(count);
        line.chance.moment(Duration::from_millis(50));
        match round % 2 {
            0 => line.kill_child(),
            _ => line.kill_parent(),
        }
    }
    line.judge(ROUNDS);
}

/// Runs a command in this namespace.
fn sh(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Loses packets to and from a port, by chance.
fn lose(port: u16, probability: &str) {
    for rule in ["--dport", "--sport"] {
        sh(&format!(
            "iptables -A INPUT -i lo -p tcp {rule} {port} -m statistic --mode random --probability {probability} -j DROP"
        ));
    }
}

/// Connections of this namespace to a port.
fn connections(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let lines = table.lines().skip(1);
    let to_port = lines.filter(|line| {
        let mut words = line.split_whitespace().skip(2);
        let ends = words
            .next()
            .is_some_and(|address| address.ends_with(&remote));
        // Established.
        ends && words.next() == Some("01")
    });
    to_port.count()
}

/// Hardly anything gets through: nine packets of twenty are lost, or four of five where there is time for it.
fn loss() -> &'static str {
    match std::env::var_os("EDGE_LONG_TESTS") {
        Some(_) => "0.8",
        None => "0.45",
    }
}

/// A parent at the other end of a round trip of 2.5 s. The link is cut and the child killed, and packets are lost from
/// the cut on until all has been sent.
fn far_away(loss: Option<&str>) {
    let far = Far::new(Duration::from_millis(1_250));
    let mut parent = parent();
    far.to(parent.port());
    let mut child = Daemon::with(&parent.adopt_at("child1", far.port));
    let send = |child: &Daemon, numbers: std::ops::Range<u64>| {
        for n in numbers {
            child.send("$upstream", &n.to_string());
        }
    };
    let mut seen = 0;
    let mut comes = |parent: &mut Parent, until: u64| {
        while seen < until {
            let n = print_of(parent, 1)[0]["body"].as_u64().unwrap();
            // What was under way when the link was cut comes twice, and nothing out of turn.
            assert!(n <= seen, "{n} after {seen}");
            seen = seen.max(n + 1);
        }
    };
    send(&child, 0..50);
    child.eventually("the first is there", |child| accepted(child) > 0);
    send(&child, 50..100);
    let lossy = loss.map(|loss| lose(parent.port(), loss));
    far.cut();
    send(&child, 100..150);
    child.kill();
    child.again();
    send(&child, 150..200);
    if lossy.is_some() {
        std::thread::sleep(Duration::from_secs(5));
        sh("iptables -F INPUT");
    }
    // A dozen round trips until anything is accepted again.
    child.eventually("it is connected", |child| {
        upstream(child)["connected"] == true
    });
    child.eventually("messages are accepted", |child| accepted(child) > 0);
    child.waits("$upstream", 0);
    comes(&mut parent, 200);
}

isolated! {
    /// Cuts of which some are shorter than TCP's patience and some longer than ours, and a word of the parent's
    /// meanwhile.
    fn nothing_is_lost_when_the_link_is_cut_and_comes_back() {
        let mut line = Line::new("cuts");
        let cuts: &[u64] = match std::env::var_os("EDGE_LONG_TESTS") {
            Some(_) => &[100, 500, 1_500, 3_000, 6_000, 12_000, 30_000, 60_000, 300, 100, 100],
            None => &[100, 500, 1_500, 6_000, 100],
        };
        for (round, cut) in cuts.iter().enumerate() {
            let count = 50 + line.chance.below(200);
            line.load().more(count);
            sh("ip link set lo down");
            let wanted = format!("twin set child1/first {{\"round\":{round}}}");
            line.parent.daemon.edge(&wanted).output("").code(0);
            std::thread::sleep(Duration::from_millis(*cut));
            sh("ip link set lo up");
            let back = Instant::now();
            line.child.eventually("what was wanted meanwhile is there", |child| {
                child.json("twin get first")["desired"]["properties"]["round"] == round
            });
            eprintln!("cut for {cut} ms, back after {} ms", back.elapsed().as_millis());
        }
        line.judge(cuts.len() as u64);
    }

    fn nothing_is_lost_over_a_link_that_loses_packets() {
        let line = Line::new("loss");
        lose(line.parent.port(), loss());
        line.load().more(300);
        std::thread::sleep(Duration::from_secs(3));
        line.load().more(300);
        sh("iptables -F INPUT");
        line.judge(20);
    }

    /// Tokens that are renewed while the link is up, and end at the parent while it is down.
    fn nothing_is_lost_when_tokens_end_during_an_outage() {
        const ENDED: &str = "the token expired at";
        let mut line = Line::with("tokens", TOKEN_LIFE);
        line.load().more(200);
        // Whoever is connected for longer than a token lives was given another one.
        std::thread::sleep(TOKEN_LIFE + Duration::from_secs(1));
        line.load().more(200);
        let said = line.parent.daemon.running().said();
        assert!(!said.contains(ENDED), "{said}");
        sh("ip link set lo down");
        line.load().more(200);
        // The parent has heard nothing of the end of the link: it goes by the token alone.
        line.parent.daemon.running().says(ENDED);
        sh("ip link set lo up");
        let before = accepted(&line.child);
        line.load().more(200);
        line.child.eventually("messages flow again", |child| accepted(child) >= before + 200);
        line.judge(2);
    }

    /// A satellite's round trip, 2.5 s: messages flow, and nothing is lost when it is cut.
    fn messages_flow_over_a_link_with_a_long_round_trip() {
        far_away(None);
    }

    /// The same, and packets are lost beyond it.
    fn messages_flow_over_a_link_with_a_long_round_trip_that_loses_packets() {
        far_away(Some(loss()));
    }

    /// One packet of six, each way: messages flow all the same.
    fn messages_flow_over_a_link_that_loses_some_packets() {
        let line = Line::new("some-loss");
        lose(line.parent.port(), "0.16");
        let before = accepted(&line.child);
        line.load().more(300);
        line.child.eventually("messages get through all the same", |child| {
            accepted(child) >= before + 300
        });
        sh("iptables -F INPUT");
        line.judge(20);
    }

    fn an_identity_that_the_parent_does_not_know_waits_and_holds_up_nobody() {
        const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ==";
        let mut parent = parent();
        let settings = parent.adopt("child1");
        let child = Daemon::with(&format!("{settings}{TOPICS}"));
        child.apply(&Manifest::new().route("up", "FROM /messages/* INTO $upstream"));
        let add = format!("identity add leaf --key {KEY}");
        child.edge(&add).output("").code(0);
        let _leaf = publish("leaf", KEY);
        child.waits("$upstream", 1);
        child.send("$upstream", "\"mine\"");
        assert_eq!(print_of(&mut parent, 1)[0]["body"], "mine");
        child.waits("$upstream", 1);
        parent.daemon.edge(&add).output("").code(0);
        assert_eq!(print_of(&mut parent, 1)[0]["device"], "leaf");
        child.waits("$upstream", 0);
    }

    fn two_hundred_clients_share_one_connection() {
        const CLIENTS: usize = 200;
        const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ==";
        let mut parent = parent();
        let settings = parent.adopt("child1");
        let child = Daemon::with(&format!("{settings}{TOPICS}"));
        child.apply(&Manifest::new().route("up", "FROM /messages/* INTO $upstream"));
        for n in 0..CLIENTS {
            for daemon in [&parent.daemon, &child] {
                let add = daemon.edge(&format!("identity add leaf{n} --key {KEY}"));
                add.output("").code(0);
            }
        }
        let clients: Vec<_> = (0..CLIENTS).map(|n| publish(&format!("leaf{n}"), KEY)).collect();
        let mut devices: Vec<_> = print_of(&mut parent, CLIENTS)
            .iter()
            .map(|line| line["device"].as_str().unwrap().to_owned())
            .collect();
        devices.sort();
        devices.dedup();
        assert_eq!(devices.len(), CLIENTS);
        assert_eq!(connections(parent.port()), 1);
        assert_eq!(connections(1883), CLIENTS);
        drop(clients);
    }
}

/// How a child's link to its parent stands.
fn upstream(child: &Daemon) -> serde_json::Value {
    let (_, device) = child.call("GET", "/v1/device", "");
    let device: serde_json::Value = serde_json::from_str(&device).unwrap();
    device["upstream"].clone()
}

/// Messages that the parent has accepted of a child since its start.
fn accepted(child: &Daemon) -> u64 {
    upstream(child)["accepted"].as_u64().unwrap()
}

/// A place on the way that takes its time: what comes in goes out that much later, each way.
struct Far {
    port: u16,
    target: Arc<AtomicU16>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Far {
    fn new(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = Self {
            port: listener.local_addr().unwrap().port(),
            target: Arc::default(),
            open: Arc::default(),
        };
        let (target, open) = (far.target.clone(), far.open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = target.load(Ordering::SeqCst);
                // Nobody there: the client sees its connection end.
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let ends = [client, server];
                let again = ends.each_ref().map(|end| end.try_clone().unwrap());
                open.lock().unwrap().extend(again);
                let [client, server] = ends.each_ref().map(|end| end.try_clone().unwrap());
                later(client, server, delay);
                let [client, server] = ends;
                later(server, client, delay);
            }
        });
        far
    }

    fn to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// Ends all connections.
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Copies, each piece when its time has come.
fn later(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (pieces, waiting) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length) = from.read(&mut piece) {
            let due = Instant::now() + delay;
            // The other half has ended.
            if length == 0 || pieces.send((due, piece[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, piece) in waiting {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Connects a plain MQTT device and has it publish one message; the connection stays open.
fn publish(device: &str, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect("127.0.0.1:1883").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut send = |packet: Packet, answer: u8| {
        let mut out = BytesMut::new();
        client::encode(&mut out, Version::V3, &packet);
        stream.write_all(&out).unwrap();
        // CONNACK and PUBACK of 3.1.1 have four bytes.
        let mut read = [0; 4];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(read[0], answer, "{device}: {read:?}");
        read[3]
    };
    let hello = Connect {
        user_name: Some(device.into()),
        password: Some(key.as_bytes().to_vec().into()),
        ..client::connect(Version::V3, device)
    };
    assert_eq!(send(Packet::Connect(Box::new(hello)), 0x20), 0);
    let id: edge_mqtt::packet::PacketId = std::num::NonZeroU16::MIN;
    let message = client::publish("t/x", Some(id), "{}");
    send(Packet::Publish(message), 0x40);
    stream
}
