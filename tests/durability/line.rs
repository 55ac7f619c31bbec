//! From senders to a hub to its parent, with the ledger over all of it.
//!
//! ```text
//!   Socket   management socket ─► two modules ─┐
//!   Amqp     devices, some in flight ──────────┼─► $upstream ─► parent, which prints: receipts
//!   Mqtt     devices, some in flight ──────────┘        │
//!                                       Watch: what was on its way when a connection ended
//! ```

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use edge_daemon::types::UpstreamInfo;

use super::chain::{self, First, SETTINGS};
use super::chance::Chance;
use super::load::{Load, WhenFull};
use super::{amqp, mqtt, outside};
use crate::support::Daemon;
use crate::support::family::Parent;
use crate::support::ledger::{Entry, Ledger, Order, Receipts, Repeats, Rules, Steps, judge};

const SENDERS: u64 = 4;
/// Of senders with messages in flight, so that an outage of a minute is no flood: some 100 messages a second each.
const PAUSE: Duration = Duration::from_millis(10);
/// What may have come in or been settled between the last look and the end: of senders that send every 10 ms, and
/// of progress that is not on the device yet, because nobody waits for it. A busy machine may be late.
const UNSEEN: u64 = 200;
/// How often the link is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How messages come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Through the management socket, and then through modules.
    Socket,
    /// From devices.
    Amqp,
    /// From devices, on topics that are mapped.
    Mqtt,
}

/// How a connection ended, which says what may have been on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// At once: what waited when the parent was last heard.
    Cut,
    /// Bit by bit: what waited when it was over.
    Loss,
}

enum Senders {
    Socket(Option<Load>),
    Amqp(amqp::Senders),
    Mqtt(mqtt::Senders),
}

/// Senders, a child, and what its parent prints.
pub struct Line {
    pub chance: Chance,
    pub parent: Parent,
    pub child: Parent,
    by: By,
    senders: Senders,
    receipts: Receipts,
    watch: Watch,
    /// What the parent itself may print again because it was killed.
    reprinted: u64,
    /// What waited at each cut: the watch may have last heard the parent before a part of it came.
    at_cut: AtomicU64,
}

impl Line {
    pub fn new(name: &str, by: By) -> Self {
        Self::with(name, by, Duration::from_secs(3_600))
    }

    /// Tokens of the child live for so long, to the second.
    pub fn with(name: &str, by: By, token_life: Duration) -> Self {
        let mut chance = Chance::new(name);
        let parent = Parent::with(
            "upstream.messages = \"print\"\nhub.clock-skew = \"0s\"\nhub.time-to-live = \"24h\"\n",
        );
        let seconds = token_life.as_secs();
        let mut settings = parent.adopt("child1");
        settings += &format!("upstream.token-life = \"{seconds}s\"\n{SETTINGS}");
        // The same port after each start; nobody else is given it meanwhile.
        let topics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let topics = topics.unwrap();
        if by == By::Mqtt {
            settings += &format!(
                "[topics]\nlisten = \"{topics}\"\ntls = false\n\
                 [[topics.rules]]\nidentity = \"s*\"\npublish = [\"load/+\"]\n\
                 [[topics.mappings]]\ntopic = \"load/{{x}}\"\n"
            );
        }
        let child = Parent::with(&settings);
        let folder = child.daemon.dir();
        let senders = senders(by, &parent, &child, topics, &mut chance);
        Self {
            receipts: Receipts::create(&folder.join("receipts")).unwrap(),
            watch: Watch::new(child.daemon.socket()),
            chance,
            parent,
            child,
            by,
            senders,
            reprinted: 0,
            at_cut: AtomicU64::new(0),
        }
    }

    /// Waits until so many more messages are acknowledged.
    #[track_caller]
    pub fn more(&self, count: u64) {
        match &self.senders {
            Senders::Socket(load) => load.as_ref().expect("it goes on").more(count),
            Senders::Amqp(senders) => senders.more(count),
            Senders::Mqtt(senders) => senders.more(count),
        }
    }

    fn keep(&self, out: &str) {
        let printed = match self.by {
            By::Socket => outside::printed(out),
            By::Amqp => amqp::printed(out),
            By::Mqtt => mqtt::printed(out),
        };
        for receipt in printed {
            self.receipts.write(&receipt).unwrap();
        }
    }

    pub fn kill_child(&mut self) {
        self.child.daemon.kill();
        self.child.daemon.again();
        if let Senders::Socket(Some(load)) = &self.senders {
            load.open();
        }
    }

    pub fn kill_parent(&mut self) {
        self.reprinted += self.parent.daemon.depth("$upstream") + UNSEEN;
        self.parent.daemon.running().kill_now();
        let out = self.parent.daemon.stop().out;
        self.keep(&out);
        self.parent.daemon.again();
    }

    /// Takes the link away, and leaves the senders theirs.
    pub fn cut(&self) {
        let waits = look(&self.child.daemon.socket()).map_or(0, |link| link.waiting);
        self.at_cut.fetch_add(waits + UNSEEN, Ordering::SeqCst);
        match self.by {
            By::Socket => sh("ip link set lo down"),
            By::Amqp | By::Mqtt => lose(self.parent.port(), "1"),
        }
    }

    /// Gives it back.
    pub fn mend(&self) {
        match self.by {
            By::Socket => sh("ip link set lo up"),
            By::Amqp | By::Mqtt => sh("iptables -F INPUT"),
        }
    }

    /// All that was acknowledged has come, in order, and no more of it twice than was on its way when a connection
    /// ended.
    pub fn judge(mut self, what: &str, ends: Ends) {
        match &mut self.senders {
            Senders::Socket(load) => {
                load.take().expect("it goes on").finish();
                chain::drained(&self.child.daemon);
            }
            Senders::Amqp(senders) => senders.finish(),
            Senders::Mqtt(senders) => senders.finish(),
        }
        self.child.daemon.waits("$upstream", 0);
        self.parent.daemon.waits("$upstream", 0);
        let (ended, may_repeat) = self.watch.end(ends);
        let out = self.parent.daemon.stop().code(0).out;
        self.keep(&out);
        let folder = self.child.daemon.dir();
        let entries = Ledger::read(&folder.join("ledger")).unwrap();
        let receipts = Receipts::read(&folder.join("receipts")).unwrap();
        // Who sends again without an answer makes copies of its own.
        let sent = entries.iter().filter_map(|entry| match entry {
            Entry::Sent(item) => Some(item),
            Entry::Acknowledged(_) | Entry::Refused(_) => None,
        });
        let tries = sent.clone().count();
        let copies = (tries - sent.collect::<HashSet<_>>().len()) as u64;
        let at_cut = self.at_cut.load(Ordering::SeqCst);
        let most = may_repeat + at_cut + self.reprinted + copies;
        let rules = Rules {
            repeats: Repeats::AtMost(most),
            order: Order::OfFirst,
            steps: Steps::Stable,
        };
        let verdict = judge(&entries, &receipts, rules).expect("what came");
        assert!(verdict.received >= verdict.acknowledged);
        eprintln!(
            "{what} by {:?}, {ended} connections ended, {most} repeats at most: {verdict}",
            self.by
        );
    }
}

fn senders(
    by: By,
    parent: &Parent,
    child: &Parent,
    topics: SocketAddr,
    chance: &mut Chance,
) -> Senders {
    let ledger = child.daemon.dir().join("ledger");
    match by {
        By::Socket => {
            child.daemon.apply(&chain::manifest(First::Running, 0));
            let socket = child.daemon.socket();
            let load = Load::start(SENDERS, &ledger, &socket, WhenFull::Fault, chance);
            load.open();
            Senders::Socket(Some(load))
        }
        By::Amqp => {
            let who = amqp::behind(parent, child);
            Senders::Amqp(amqp::Senders::start(child, who, &ledger, PAUSE, chance))
        }
        By::Mqtt => {
            let who = amqp::behind(parent, child).into_iter();
            let keys = who.map(|who| who.key.base64().to_string()).collect();
            Senders::Mqtt(mqtt::Senders::start(topics, keys, &ledger, PAUSE, chance))
        }
    }
}

/// Runs a command in this namespace.
pub fn sh(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Loses packets to and from a port, by chance: on the loopback device, so each packet once, where it arrives.
pub fn lose(port: u16, probability: &str) {
    for rule in ["--dport", "--sport"] {
        sh(&format!(
            "iptables -A INPUT -i lo -p tcp {rule} {port} -m statistic --mode random --probability {probability} -j DROP"
        ));
    }
}

/// How a child's link to its parent stands.
pub fn upstream(child: &Daemon) -> UpstreamInfo {
    look(&child.socket()).expect("it runs and has a parent")
}

/// Messages that the parent has accepted of a child since its start.
pub fn accepted(child: &Daemon) -> u64 {
    upstream(child).accepted
}

fn look(socket: &Path) -> Option<UpstreamInfo> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let request = "GET /v1/device HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let device: serde_json::Value = serde_json::from_str(body).ok()?;
    serde_json::from_value(device["upstream"].clone()).ok()
}

/// Looks at a child's link all the time, and adds up what was on its way when connections ended.
struct Watch {
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    ended: AtomicU64,
    /// What waited when the parent was last heard, and what did when the end was seen.
    when_heard: AtomicU64,
    when_over: AtomicU64,
}

impl Watch {
    fn new(socket: PathBuf) -> Self {
        let seen = Arc::<Seen>::default();
        let own = seen.clone();
        std::thread::spawn(move || {
            // The connection that there is, what was accepted on it, and what waited.
            let mut last: Option<(u64, u64, u64, u64)> = None;
            while !own.stop.load(Ordering::SeqCst) {
                let now = look(&socket).filter(|link| link.connected);
                let same = last.zip(now.as_ref());
                let same = same.is_some_and(|(last, now)| last.0 == now.connections);
                if let Some((_, _, when_heard, when_over)) = last.take_if(|_| !same) {
                    own.ended.fetch_add(1, Ordering::SeqCst);
                    own.when_heard
                        .fetch_add(when_heard + UNSEEN, Ordering::SeqCst);
                    own.when_over
                        .fetch_add(when_over + UNSEEN, Ordering::SeqCst);
                }
                if let Some(now) = now {
                    let heard = match last {
                        Some((_, accepted, waited, _)) if accepted == now.accepted => waited,
                        _ => now.waiting,
                    };
                    last = Some((now.connections, now.accepted, heard, now.waiting));
                }
                std::thread::sleep(LOOK);
            }
        });
        Self { seen }
    }

    /// Connections that ended, and messages that may have come twice for it.
    fn end(&self, ends: Ends) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let most = match ends {
            Ends::Cut => of(&self.seen.when_heard),
            Ends::Loss => of(&self.seen.when_over),
        };
        (of(&self.seen.ended), most)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
    }
}
