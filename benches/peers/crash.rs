//! `kill -9` of a server that is under load, and what is left of what it had acknowledged.
//!
//! One publisher with 100 in flight, one subscriber with a session that is kept. After the restart the
//! subscriber comes back first, and subscribes again if its session is gone; then the publisher, which sends
//! again what was not acknowledged, with DUP, and some more. Lost is what was acknowledged, before or after,
//! and never came.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::load::{number, packet_id};
use super::servers::Server;
use super::wire::{Came, Publish, Transport, Wire};

const TOPIC: &str = "crash/0";
const BODY: usize = 256;
const WINDOW: usize = 100;
/// Messages that are sent after the restart beside those that were not acknowledged.
const MORE: u32 = 1_000;
/// When nothing has come for so long, nothing comes any more.
const STANDSTILL: Duration = Duration::from_secs(2);

/// What the subscriber does while the server is under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriber {
    Reads,
    IsAway,
}

/// What came of one kill.
#[derive(Debug, Default)]
pub struct Crash {
    /// PUBACKs before the kill, and after it.
    pub before: u32,
    pub after: u32,
    /// Messages with a PUBACK that never came.
    pub lost: u32,
    /// Deliveries of messages that had come.
    pub repeated: u32,
    /// Messages that came for the first time after one with a higher number had.
    pub disordered: u32,
    /// From the start of the process until it listens.
    pub restart: Duration,
}

/// Both clients: what they know outlives their connections.
struct Clients {
    address: SocketAddr,
    publisher: Option<Wire>,
    subscriber: Option<Wire>,
    packet: Publish,
    /// Numbers from here on were not sent, and will not be.
    next: u32,
    last: u32,
    /// Sent, and without PUBACK.
    waits: VecDeque<u32>,
    acknowledged: Vec<bool>,
    /// How often each number came.
    came: Vec<u32>,
    highest: Option<u32>,
    disordered: u32,
}

/// Kills the server after this time of load.
pub fn run(server: &mut Server, subscriber: Subscriber, after: Duration) -> io::Result<Crash> {
    let mut clients = Clients {
        address: server.address,
        publisher: None,
        subscriber: None,
        packet: Publish::new(TOPIC, BODY),
        next: 0,
        last: u32::MAX,
        waits: VecDeque::new(),
        acknowledged: Vec::new(),
        came: Vec::new(),
        highest: None,
        disordered: 0,
    };
    clients.subscribe()?;
    if subscriber == Subscriber::IsAway
        && let Some(wire) = clients.subscriber.take()
    {
        wire.log_out()?;
    }
    clients.connect_publisher()?;
    let until = Instant::now() + after;
    clients.talk(|_| Instant::now() >= until)?;
    server.kill()?;
    // What it had sent still comes.
    clients.last = 0;
    clients.talk(|clients| clients.publisher.is_none() && clients.subscriber.is_none())?;
    let before = clients.count_acknowledged();

    let restart = server.start_again()?;
    clients.subscribe()?;
    clients.last = clients.next + MORE;
    clients.connect_publisher()?;
    clients.talk(Clients::all_came)?;
    let acknowledged = clients.count_acknowledged();
    if acknowledged < clients.last {
        let without = clients.last - acknowledged;
        return Err(io::Error::other(format!("{without} without PUBACK")));
    }
    let each = clients.acknowledged.iter().zip(&clients.came);
    let lost = each.filter(|(acknowledged, came)| **acknowledged && **came == 0);
    Ok(Crash {
        before,
        after: acknowledged - before,
        lost: count(lost.count()),
        repeated: clients.came.iter().map(|came| came.saturating_sub(1)).sum(),
        disordered: clients.disordered,
        restart,
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("numbers are 32 bits wide")
}

impl Clients {
    fn subscribe(&mut self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address, Transport::Plain)?;
        if !wire.log_in("crash-sub", false, None)? {
            wire.subscribe(TOPIC)?;
        }
        wire.ready()?;
        self.subscriber = Some(wire);
        Ok(())
    }

    /// Connects it, and sends again what was not acknowledged.
    fn connect_publisher(&mut self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address, Transport::Plain)?;
        wire.log_in("crash-pub", false, None)?;
        wire.ready()?;
        for number in &self.waits {
            let out = wire.out();
            let at = out.len();
            self.packet.write(packet_id(*number), &body(*number), out);
            // DUP [MQTT-3.3.1-1].
            out[at] |= 0x08;
        }
        self.publisher = Some(wire);
        Ok(())
    }

    /// Until this is so, or nothing comes any more.
    fn talk(&mut self, mut enough: impl FnMut(&Self) -> bool) -> io::Result<()> {
        let mut heard = Instant::now();
        while !enough(self) && heard.elapsed() < STANDSTILL {
            self.publish();
            if self.wait()? {
                heard = Instant::now();
            }
            if let Some(mut wire) = self.publisher.take() {
                self.publisher = self.take_acks(&mut wire)?.then_some(wire);
            }
            if let Some(mut wire) = self.subscriber.take() {
                self.subscriber = self.take_messages(&mut wire)?.then_some(wire);
            }
        }
        Ok(())
    }

    fn all_came(&self) -> bool {
        self.waits.is_empty()
            && self.next == self.last
            && self.came.len() == self.last as usize
            && self.came.iter().all(|came| *came > 0)
    }

    fn count_acknowledged(&self) -> u32 {
        count(self.acknowledged.iter().filter(|yes| **yes).count())
    }

    fn publish(&mut self) {
        let Some(wire) = &mut self.publisher else {
            return;
        };
        while self.waits.len() < WINDOW && self.next < self.last {
            let id = packet_id(self.next);
            self.packet.write(id, &body(self.next), wire.out());
            self.waits.push_back(self.next);
            self.acknowledged.push(false);
            self.next += 1;
        }
    }

    /// Writes what goes and waits for more to read. `false`: nothing came.
    fn wait(&mut self) -> io::Result<bool> {
        let mut sockets = Vec::with_capacity(2);
        for wire in [&mut self.publisher, &mut self.subscriber] {
            let Some(wire) = wire else { continue };
            let mut flags = PollFlags::IN;
            // Of a connection that is over, reading tells.
            flags.set(PollFlags::OUT, matches!(wire.flush(), Ok(false)));
            sockets.push(PollFd::new(wire.stream(), flags));
        }
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        Ok(poll(&mut sockets, Some(&wait))? > 0)
    }

    /// `false`: the connection is over.
    fn take_acks(&mut self, wire: &mut Wire) -> io::Result<bool> {
        let open = wire.fill().is_ok();
        while let Some(came) = wire.next()? {
            let Came::PubAck { id } = came else {
                return Err(io::Error::other("the publisher got what is no PUBACK"));
            };
            let place = self.waits.iter().position(|n| packet_id(*n) == id);
            let number = place.and_then(|place| self.waits.remove(place));
            let Some(number) = number else {
                return Err(io::Error::other("PUBACK of what was not sent"));
            };
            self.acknowledged[number as usize] = true;
        }
        Ok(open)
    }

    /// `false`: the connection is over.
    fn take_messages(&mut self, wire: &mut Wire) -> io::Result<bool> {
        let open = wire.fill().is_ok();
        let mut answers = std::mem::take(wire.out());
        while let Some(came) = wire.next()? {
            let Came::Publish { id, body } = came else {
                return Err(io::Error::other("the subscriber got what is no PUBLISH"));
            };
            let number = number(body, 8);
            if body.len() != BODY || number >= self.next {
                return Err(io::Error::other("a body that was never sent"));
            }
            self.came.resize(self.next as usize, 0);
            let came = &mut self.came[number as usize];
            *came += 1;
            if *came == 1 && self.highest.is_some_and(|highest| number < highest) {
                self.disordered += 1;
            }
            self.highest = self.highest.max(Some(number));
            let [high, low] = id.to_be_bytes();
            answers.extend_from_slice(&[0x40, 2, high, low]);
        }
        *wire.out() = answers;
        Ok(open)
    }
}

/// The begin of a body that has this number.
fn body(number: u32) -> [u8; 12] {
    let mut body = [0; 12];
    body[8..].copy_from_slice(&number.to_be_bytes());
    body
}
