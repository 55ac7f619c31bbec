//! The load generator: publishers and subscribers of one run, all on the calling thread, which waits for
//! their sockets together. Packets are made once, and written and read in batches.
//!
//! It checks what it measures: each delivery says who published it and its number, and has to be the
//! next one of that publisher; PUBACKs have to come in the order of their PUBLISHes [MQTT-4.6.0-2].

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::wire::{Came, Publish, Transport, Wire};

/// Bytes of a body; its first twelve say who published it, and its number.
pub const BODY: usize = 256;

/// A run that stands still for so long has lost something.
const STANDSTILL: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// What to send and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub publishers: u32,
    pub subscribers: usize,
    /// Messages of a publisher that may wait for their PUBACKs.
    pub window: u32,
    /// Of all publishers together; each has the same share.
    pub messages: u32,
    /// Sessions of subscribers end with their connections.
    pub clean: bool,
    pub transport: Transport,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From the first PUBLISH to the last PUBACK.
    pub acknowledged: Duration,
    /// From the first PUBLISH to the last delivery.
    pub delivered: Duration,
    /// Nanoseconds from each PUBLISH to its PUBACK, sorted; of runs with one in flight.
    pub latencies: Vec<u64>,
    /// Messages without PUBACK, and deliveries that were missing.
    pub lost: u64,
    /// Deliveries and PUBACKs that were not the next of theirs.
    pub disordered: u64,
    /// CPU time of the generator.
    pub busy: Duration,
}

impl Load {
    /// How many messages subscribers get.
    pub fn deliveries(&self) -> u64 {
        u64::from(self.messages) * self.subscribers as u64
    }
}

struct Publisher {
    wire: Wire,
    packet: Publish,
    sent: u32,
    acknowledged: u32,
    /// When the one in flight was sent.
    since: Option<Instant>,
    blocked: bool,
}

struct Subscriber {
    wire: Wire,
    /// The next number of each publisher.
    next: Vec<u32>,
    blocked: bool,
}

struct Run {
    load: Load,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    poll: OwnedFd,
    begin: Instant,
    /// Messages of one publisher.
    each: u32,
    acknowledged: u32,
    delivered: u64,
    outcome: Outcome,
}

/// Connects everybody, sends all messages and waits until they have come, or nothing comes any more.
/// `name` tells the run's client ids and topics from those of other runs.
pub fn run(address: SocketAddr, name: &str, load: Load) -> io::Result<Outcome> {
    let connect = |id: &str, clean| {
        let mut wire = Wire::connect(address, load.transport)?;
        wire.log_in(id, clean, None)?;
        Ok::<_, io::Error>(wire)
    };
    let ids = (0..load.subscribers).map(|n| format!("{name}-sub-{n}"));
    let ids: Vec<String> = ids.collect();
    let mut subscribers = Vec::new();
    for id in &ids {
        let mut wire = connect(id, load.clean)?;
        wire.subscribe(&format!("{name}/#"))?;
        wire.ready()?;
        subscribers.push(Subscriber {
            wire,
            next: vec![0; load.publishers as usize],
            blocked: false,
        });
    }
    let mut publishers = Vec::new();
    for n in 0..load.publishers {
        let mut wire = connect(&format!("{name}-pub-{n}"), true)?;
        wire.ready()?;
        publishers.push(Publisher {
            wire,
            packet: Publish::new(&format!("{name}/{n}"), BODY),
            sent: 0,
            acknowledged: 0,
            since: None,
            blocked: false,
        });
    }
    let mut run = Run {
        load,
        publishers,
        subscribers,
        poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        begin: Instant::now(),
        each: load.messages / load.publishers,
        acknowledged: 0,
        delivered: 0,
        outcome: Outcome::default(),
    };
    run.go()?;
    let Run {
        publishers,
        subscribers,
        mut outcome,
        ..
    } = run;
    let wires = publishers.into_iter().map(|publisher| publisher.wire);
    for wire in wires.chain(subscribers.into_iter().map(|subscriber| subscriber.wire)) {
        // A server that has lost something may have closed the connection, too.
        wire.log_out().or_else(|error| match outcome.lost {
            0 => Err(error),
            _ => Ok(()),
        })?;
    }
    if !load.clean {
        for id in &ids {
            // What the server kept for them would be carried from run to run.
            connect(id, true)?.log_out()?;
        }
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

impl Run {
    fn done(&self) -> bool {
        self.acknowledged == self.load.messages && self.delivered == self.load.deliveries()
    }

    fn go(&mut self) -> io::Result<()> {
        let wires = self.publishers.iter().map(|publisher| &publisher.wire);
        let wires = wires.chain(self.subscribers.iter().map(|subscriber| &subscriber.wire));
        for (n, wire) in wires.enumerate() {
            let data = epoll::EventData::new_u64(n as u64);
            epoll::add(&self.poll, wire.stream(), data, epoll::EventFlags::IN)?;
        }
        let busy = thread_time();
        self.begin = Instant::now();
        for n in 0..self.publishers.len() {
            self.publish(n)?;
        }
        let mut events = [MaybeUninit::uninit(); 128];
        while !self.done() {
            let (events, _) = epoll::wait(&self.poll, &mut events, Some(&STANDSTILL))?;
            if events.is_empty() {
                break;
            }
            for event in events {
                let n = usize::try_from(event.data.u64()).expect("a place in a list");
                match n.checked_sub(self.publishers.len()) {
                    None => self.publisher(n)?,
                    Some(n) => self.subscriber(n)?,
                }
            }
        }
        self.outcome.busy = thread_time() - busy;
        self.outcome.lost = u64::from(self.load.messages - self.acknowledged)
            + self.load.deliveries().saturating_sub(self.delivered);
        Ok(())
    }

    fn publisher(&mut self, n: usize) -> io::Result<()> {
        let publisher = &mut self.publishers[n];
        if publisher.wire.fill()? {
            while let Some(came) = publisher.wire.next()? {
                let Came::PubAck { id } = came else {
                    return Err(io::Error::other("a publisher got what is no PUBACK"));
                };
                if id != packet_id(publisher.acknowledged) {
                    self.outcome.disordered += 1;
                }
                publisher.acknowledged += 1;
                self.acknowledged += 1;
                if let Some(since) = publisher.since.take() {
                    let nanoseconds = u64::try_from(since.elapsed().as_nanos());
                    let nanoseconds = nanoseconds.expect("less than centuries");
                    self.outcome.latencies.push(nanoseconds);
                }
            }
        }
        if self.acknowledged == self.load.messages && self.outcome.acknowledged.is_zero() {
            self.outcome.acknowledged = self.begin.elapsed();
        }
        self.publish(n)
    }

    /// Sends as many as may be in flight.
    fn publish(&mut self, n: usize) -> io::Result<()> {
        let publisher = &mut self.publishers[n];
        let most = (publisher.acknowledged + self.load.window).min(self.each);
        if publisher.sent < most && self.load.window == 1 {
            publisher.since = Some(Instant::now());
        }
        let mut begin = [0; 12];
        begin[..4].copy_from_slice(&u32::try_from(n).expect("a few").to_be_bytes());
        while publisher.sent < most {
            begin[8..].copy_from_slice(&publisher.sent.to_be_bytes());
            let id = packet_id(publisher.sent);
            publisher.packet.write(id, &begin, publisher.wire.out());
            publisher.sent += 1;
        }
        flush(&self.poll, n, &mut publisher.wire, &mut publisher.blocked)
    }

    fn subscriber(&mut self, n: usize) -> io::Result<()> {
        let subscriber = &mut self.subscribers[n];
        if subscriber.wire.fill()? {
            let mut answers = std::mem::take(subscriber.wire.out());
            while let Some(came) = subscriber.wire.next()? {
                let Came::Publish { id, body } = came else {
                    return Err(io::Error::other("a subscriber got what is no PUBLISH"));
                };
                let number = |at: usize| {
                    let bytes = body.get(at..at + 4).and_then(|four| four.try_into().ok());
                    bytes.map_or(u32::MAX, u32::from_be_bytes)
                };
                let next = subscriber.next.get_mut(number(0) as usize);
                let Some(next) = next.filter(|_| body.len() == BODY) else {
                    return Err(io::Error::other("a body that was never sent"));
                };
                if number(8) != *next {
                    self.outcome.disordered += 1;
                }
                *next = number(8) + 1;
                self.delivered += 1;
                let [high, low] = id.to_be_bytes();
                answers.extend_from_slice(&[0x40, 2, high, low]);
            }
            *subscriber.wire.out() = answers;
            if self.delivered == self.load.deliveries() {
                self.outcome.delivered = self.begin.elapsed();
            }
        }
        let token = self.publishers.len() + n;
        flush(
            &self.poll,
            token,
            &mut subscriber.wire,
            &mut subscriber.blocked,
        )
    }
}

/// Packet ids count up from 1, past the longest window.
fn packet_id(number: u32) -> u16 {
    u16::try_from(number % 65_000).expect("it is less") + 1
}

/// Writes what goes, and lets the socket tell when the rest does.
fn flush(poll: &OwnedFd, token: usize, wire: &mut Wire, blocked: &mut bool) -> io::Result<()> {
    let now = !wire.flush()?;
    if now != *blocked {
        *blocked = now;
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, now);
        let data = epoll::EventData::new_u64(token as u64);
        epoll::modify(poll, wire.stream(), data, flags)?;
    }
    Ok(())
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
