//! The load generator: publishers and subscribers of one run, all on the calling thread, which waits for
//! their sockets together. Packets are made once, and written and read in batches.
//!
//! It checks what it measures: each delivery says who published it and its number, and has to be the
//! next one of that publisher; PUBACKs have to come in the order of their PUBLISHes [MQTT-4.6.0-2].
//!
//! Closed loop unless a load has a pace: a publisher sends the next message when one is acknowledged. With
//! a pace each message has its time, and what it waits beyond that counts as latency.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::wire::{Came, Publish, Transport, Wire};

/// A run that stands still for so long has lost something.
const STANDSTILL: Duration = Duration::from_secs(5);

/// What to send and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub publishers: u32,
    pub subscribers: usize,
    /// Messages of a publisher that may wait for their PUBACKs.
    pub window: u32,
    /// Of all publishers together; each has the same share.
    pub messages: u32,
    /// Nothing new is sent after so long, so that a slow server's run ends.
    pub time: Option<Duration>,
    /// Messages a second of the one publisher; as fast as it goes without.
    pub pace: Option<u32>,
    /// Bytes of a body; its first twelve say who published it, and its number.
    pub body: usize,
    /// Sessions of subscribers end with their connections.
    pub clean: bool,
    pub transport: Transport,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages that were published.
    pub messages: u32,
    /// Deliveries of them that there had to be.
    pub deliveries: u64,
    /// From the first PUBLISH to the last PUBACK.
    pub acknowledged: Duration,
    /// From the first PUBLISH to the last delivery.
    pub delivered: Duration,
    /// Nanoseconds from each PUBLISH, or from when it should have been sent, to its PUBACK; sorted.
    pub latencies: Vec<u64>,
    /// Messages without PUBACK, and deliveries that were missing.
    pub lost: u64,
    /// Deliveries and PUBACKs that were not the next of theirs.
    pub disordered: u64,
    /// CPU time of the generator.
    pub busy: Duration,
}

struct Publisher {
    wire: Wire,
    packet: Publish,
    sent: u32,
    acknowledged: u32,
    /// How many it sends.
    last: u32,
    /// When those in flight were sent.
    since: VecDeque<Instant>,
    blocked: bool,
}

struct Subscriber {
    wire: Wire,
    /// The next number of each publisher.
    next: Vec<u32>,
    blocked: bool,
}

/// A run whose clients are connected.
pub struct Run {
    address: SocketAddr,
    /// Client ids of the subscribers.
    ids: Vec<String>,
    load: Load,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    poll: OwnedFd,
    begin: Instant,
    /// Messages of all publishers.
    messages: u32,
    acknowledged: u32,
    delivered: u64,
    outcome: Outcome,
}

fn connect(address: SocketAddr, load: &Load, id: &str, clean: bool) -> io::Result<Wire> {
    let mut wire = Wire::connect(address, load.transport)?;
    wire.log_in(id, clean, None)?;
    Ok(wire)
}

impl Run {
    /// Connects everybody. `name` tells the run's client ids and topics from those of other runs.
    pub fn connect(address: SocketAddr, name: &str, load: Load) -> io::Result<Self> {
        let ids = (0..load.subscribers).map(|n| format!("{name}-sub-{n}"));
        let ids: Vec<String> = ids.collect();
        let mut subscribers = Vec::new();
        for id in &ids {
            let mut wire = connect(address, &load, id, load.clean)?;
            wire.subscribe(&format!("{name}/#"))?;
            wire.ready()?;
            subscribers.push(Subscriber {
                wire,
                next: vec![0; load.publishers as usize],
                blocked: false,
            });
        }
        let each = load.messages / load.publishers;
        let mut publishers = Vec::new();
        for n in 0..load.publishers {
            let mut wire = connect(address, &load, &format!("{name}-pub-{n}"), true)?;
            wire.ready()?;
            publishers.push(Publisher {
                wire,
                packet: Publish::new(&format!("{name}/{n}"), load.body),
                sent: 0,
                acknowledged: 0,
                last: each,
                since: VecDeque::new(),
                blocked: false,
            });
        }
        Ok(Self {
            address,
            ids,
            load,
            publishers,
            subscribers,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            begin: Instant::now(),
            messages: each * load.publishers,
            acknowledged: 0,
            delivered: 0,
            outcome: Outcome::default(),
        })
    }

    /// Sends all messages and waits until they have come, or nothing comes any more.
    pub fn go(&mut self) -> io::Result<()> {
        let wires = self.publishers.iter().map(|publisher| &publisher.wire);
        let wires = wires.chain(self.subscribers.iter().map(|subscriber| &subscriber.wire));
        for (n, wire) in wires.enumerate() {
            let data = epoll::EventData::new_u64(n as u64);
            epoll::add(&self.poll, wire.stream(), data, epoll::EventFlags::IN)?;
        }
        let busy = thread_time();
        self.begin = Instant::now();
        for n in 0..self.publishers.len() {
            self.publish(n, self.begin)?;
        }
        let mut events = [MaybeUninit::uninit(); 128];
        while !self.done() {
            let due = self.due();
            let mut wait = STANDSTILL;
            if let Some(due) = due {
                // epoll waits for whole milliseconds, poll does not.
                let rest = timespec(due.duration_since(Instant::now()));
                poll(&mut [PollFd::new(&self.poll, PollFlags::IN)], Some(&rest))?;
                wait = Duration::ZERO;
            }
            let (events, _) = epoll::wait(&self.poll, &mut events, Some(&timespec(wait)))?;
            let now = Instant::now();
            self.out_of_time(now);
            if due.is_some_and(|due| due <= now) {
                self.publish(0, now)?;
            } else if events.is_empty() && due.is_none() {
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
        self.outcome.messages = self.messages;
        self.outcome.deliveries = self.deliveries();
        self.outcome.lost = u64::from(self.messages - self.acknowledged)
            + self.deliveries().saturating_sub(self.delivered);
        Ok(())
    }

    /// Disconnects everybody.
    pub fn close(self) -> io::Result<Outcome> {
        let mut outcome = self.outcome;
        let publishers = self.publishers.into_iter().map(|publisher| publisher.wire);
        let subscribers = self.subscribers.into_iter();
        for wire in publishers.chain(subscribers.map(|subscriber| subscriber.wire)) {
            // A server that has lost something may have closed the connection, too.
            wire.log_out().or_else(|error| match outcome.lost {
                0 => Err(error),
                _ => Ok(()),
            })?;
        }
        if !self.load.clean {
            for id in &self.ids {
                // What the server kept for them would be carried from run to run.
                connect(self.address, &self.load, id, true)?.log_out()?;
            }
        }
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    fn deliveries(&self) -> u64 {
        u64::from(self.messages) * self.subscribers.len() as u64
    }

    fn done(&self) -> bool {
        self.acknowledged == self.messages && self.delivered == self.deliveries()
    }

    /// When the next message has to be sent, if it has a time and may be sent.
    fn due(&self) -> Option<Instant> {
        let publisher = &self.publishers[0];
        let window = publisher.acknowledged + self.load.window;
        let sends = publisher.sent < publisher.last.min(window);
        let pace = self.load.pace.filter(|_| sends)?;
        Some(self.begin + Duration::from_secs(1) * publisher.sent / pace)
    }

    /// Ends the sending when its time is over.
    fn out_of_time(&mut self, now: Instant) {
        if self.load.time.is_none_or(|time| now < self.begin + time) {
            return;
        }
        self.load.time = None;
        for publisher in &mut self.publishers {
            publisher.last = publisher.sent;
        }
        self.messages = self.publishers.iter().map(|publisher| publisher.sent).sum();
    }

    fn publisher(&mut self, n: usize) -> io::Result<()> {
        let publisher = &mut self.publishers[n];
        let read = publisher.wire.fill()?;
        let now = Instant::now();
        if read {
            while let Some(came) = publisher.wire.next()? {
                let Came::PubAck { id } = came else {
                    return Err(io::Error::other("a publisher got what is no PUBACK"));
                };
                if id != packet_id(publisher.acknowledged) {
                    self.outcome.disordered += 1;
                }
                publisher.acknowledged += 1;
                self.acknowledged += 1;
                if let Some(since) = publisher.since.pop_front() {
                    let nanoseconds = u64::try_from(now.duration_since(since).as_nanos());
                    let nanoseconds = nanoseconds.expect("less than centuries");
                    self.outcome.latencies.push(nanoseconds);
                }
            }
            self.outcome.acknowledged = now - self.begin;
        }
        self.publish(n, now)
    }

    /// Sends as many as may be in flight.
    fn publish(&mut self, n: usize, now: Instant) -> io::Result<()> {
        let publisher = &mut self.publishers[n];
        let most = (publisher.acknowledged + self.load.window).min(publisher.last);
        let mut begin = [0; 12];
        begin[..4].copy_from_slice(&u32::try_from(n).expect("a few").to_be_bytes());
        while publisher.sent < most {
            let mut since = now;
            if let Some(pace) = self.load.pace {
                since = self.begin + Duration::from_secs(1) * publisher.sent / pace;
                if since > now {
                    break;
                }
            }
            publisher.since.push_back(since);
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
                let next = subscriber.next.get_mut(number(body, 0) as usize);
                let Some(next) = next.filter(|_| body.len() == self.load.body) else {
                    return Err(io::Error::other("a body that was never sent"));
                };
                if number(body, 8) != *next {
                    self.outcome.disordered += 1;
                }
                *next = number(body, 8) + 1;
                self.delivered += 1;
                let [high, low] = id.to_be_bytes();
                answers.extend_from_slice(&[0x40, 2, high, low]);
            }
            *subscriber.wire.out() = answers;
            self.outcome.delivered = self.begin.elapsed();
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

/// A number in a body; what none of ours has where there is none.
pub fn number(body: &[u8], at: usize) -> u32 {
    let bytes = body.get(at..at + 4).and_then(|four| four.try_into().ok());
    bytes.map_or(u32::MAX, u32::from_be_bytes)
}

/// Packet ids count up from 1, past the longest window.
pub fn packet_id(number: u32) -> u16 {
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

fn timespec(time: Duration) -> Timespec {
    Timespec::try_from(time).expect("a few seconds")
}

/// CPU time of the calling thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
