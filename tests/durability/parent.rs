//! From module to hub to parent: what the parent prints is what was acknowledged below, in order, whatever is killed
//! on the way.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use edge_mqtt::client;
use edge_mqtt::packet::{Connect, Packet, Version};

use super::line::{By, Ends, Line};
use crate::support::family::Parent;
use crate::support::namespace::isolated;
use crate::support::{Daemon, Manifest};

const ROUNDS: u64 = 6;

/// Where plain MQTT devices publish.
const TOPICS: &str = "[topics]\nlisten = \"127.0.0.1:1883\"\ntls = false\n\
    [[topics.rules]]\nidentity = \"leaf*\"\npublish = [\"t/#\"]\n\
    [[topics.mappings]]\ntopic = \"t/{x}\"\n";

pub fn parent() -> Parent {
    Parent::with("upstream.messages = \"print\"\n")
}

pub fn print_of(parent: &mut Parent, count: usize) -> Vec<serde_json::Value> {
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
    let mut next = 2;
    while next <= 20 {
        let n = print_of(&mut parent, 1)[0]["body"].as_u64().unwrap();
        // What the parent had printed a moment before its end it may print again.
        assert!(n <= next, "{n} before {next}");
        next += u64::from(n == next);
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

/// Kills the child and the parent in turn.
fn kills(by: By) {
    let mut line = Line::new("parent", by);
    for round in 0..ROUNDS {
        let count = 50 + line.chance.below(400);
        line.more(count);
        line.chance.moment(Duration::from_millis(50));
        match round % 2 {
            0 => line.kill_child(),
            _ => line.kill_parent(),
        }
    }
    line.judge("kills", Ends::Cut);
}

#[test]
fn nothing_acknowledged_is_lost_on_its_way_to_the_parent_whoever_is_killed() {
    kills(By::Socket);
}

#[test]
fn nothing_that_was_published_is_lost_on_its_way_to_the_parent_whoever_is_killed() {
    kills(By::Mqtt);
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

isolated! {
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
