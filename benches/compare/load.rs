//! The load generator: a source and a sink on one thread, which waits for both.
//!
//! Open loop: each message has a time at which it is to be sent, and its latency counts from there, however late it
//! goes. At saturation so many are under way as [`UNDER_WAY`] says. Every message says its run and its number: what
//! is missing, repeated or out of order is counted.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::environment::Environment;
use super::wire::{Came, Publish, Transport, Wire};
use super::workload;

/// Bytes of a body.
pub const BODY: usize = 256;
/// Messages between source and sink at saturation.
pub const UNDER_WAY: u32 = 2_000;
/// Messages without PUBACK: the hub takes 1 024.
const UNANSWERED: u32 = 1_000;
/// Nothing has come for so long, and nothing is to be sent any more: it is lost.
const STANDSTILL: Duration = Duration::from_secs(15);

const SOURCE: u64 = 0;
const SINK: u64 = 1;

/// How to send.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Messages a second; none: as fast as they pass.
    pub rate: Option<f64>,
    pub messages: u32,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Nanoseconds from each intended time to the arrival, sorted.
    pub latencies: Vec<u64>,
    /// From the first message to the last arrival.
    pub took: Duration,
    /// Between two arrivals.
    pub longest_gap: Duration,
    pub missing: u32,
    pub repeated: u32,
    /// Came after one with a higher number, and were no repeats.
    pub disordered: u32,
}

impl Outcome {
    /// Microseconds below which this share of latencies lies.
    pub fn latency(&self, share: f64) -> f64 {
        super::support::percentile(&self.latencies, share) / 1e3
    }
}

/// A source and a sink, connected.
pub struct Ends {
    source: Wire,
    sink: Wire,
    poll: OwnedFd,
    of: Environment,
    /// Tells the messages of a run from those of the ones before.
    run: u32,
    /// Packet ids go on from run to run.
    next_id: u16,
    blocked: [bool; 2],
}

impl Ends {
    /// Connects both as the modules that they are.
    pub fn open(address: SocketAddr, source: &Environment, sink: &Environment) -> io::Result<Self> {
        let connect = |of: &Environment| {
            let mut wire = Wire::connect(address, Transport::Tls)?;
            let token = workload::token(of)?;
            wire.log_in(&of.client_id(), true, Some((&of.user_name(), &token)))?;
            Ok::<_, io::Error>(wire)
        };
        let mut sink_wire = connect(sink)?;
        sink_wire.subscribe(&sink.inputs())?;
        let mut source_wire = connect(source)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (wire, n) in [(&mut source_wire, SOURCE), (&mut sink_wire, SINK)] {
            wire.ready()?;
            epoll::add(
                &poll,
                wire.stream(),
                epoll::EventData::new_u64(n),
                epoll::EventFlags::IN,
            )?;
        }
        Ok(Self {
            source: source_wire,
            sink: sink_wire,
            poll,
            of: source.clone(),
            run: 0,
            next_id: 1,
            blocked: [false; 2],
        })
    }

    /// Sends messages to an output of the source, and waits for all of them at the sink.
    pub fn go(&mut self, output: &str, plan: Plan) -> io::Result<Outcome> {
        self.run += 1;
        let mut packet = Publish::new(&self.of.output(output), BODY);
        let mut state = State::new(plan);
        let mut events = [MaybeUninit::uninit(); 4];
        loop {
            let now = Instant::now();
            let due = state.due(now);
            while state.sent < due && state.sent - state.answered < UNANSWERED {
                let body = body(self.run, state.sent);
                packet.write(self.next_id, &body, self.source.out());
                self.next_id = self.next_id.checked_add(1).unwrap_or(1);
                state.sent += 1;
            }
            for n in [SOURCE, SINK] {
                self.flush(n)?;
            }
            if state.done() {
                break;
            }
            if state.last.elapsed() > STANDSTILL && state.sent == plan.messages {
                break;
            }
            // epoll waits for whole milliseconds, poll does not.
            poll(
                &mut [PollFd::new(&self.poll, PollFlags::IN)],
                Some(&state.pause()),
            )?;
            let (events, _) = epoll::wait(&self.poll, &mut events, Some(&Timespec::default()))?;
            let mut ready = [false; 2];
            for event in events {
                ready[usize::from(event.data.u64() == SINK)] = true;
            }
            if ready[0] && self.source.fill()? {
                while let Some(came) = self.source.next()? {
                    if !matches!(came, Came::PubAck { .. }) {
                        return Err(io::Error::other("the source got what is no PUBACK"));
                    }
                    state.answered += 1;
                }
            }
            if ready[1] {
                self.receive(&mut state)?;
            }
        }
        Ok(state.outcome())
    }

    /// Sends so many to an output, and waits for their PUBACKs only.
    pub fn send(&mut self, output: &str, count: u32) -> io::Result<()> {
        self.run += 1;
        let mut packet = Publish::new(&self.of.output(output), BODY);
        let mut answered = 0;
        for number in 0..count.min(UNANSWERED) {
            packet.write(self.next_id, &body(self.run, number), self.source.out());
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        }
        while !self.source.flush()? {
            std::thread::yield_now();
        }
        let begin = Instant::now();
        while answered < count.min(UNANSWERED) {
            if begin.elapsed() > STANDSTILL {
                return Err(io::Error::other("no PUBACK"));
            }
            if self.source.fill()? {
                while self.source.next()?.is_some() {
                    answered += 1;
                }
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    /// When the first message of the last [`Ends::send`] has come to the sink.
    pub fn first(&mut self, patience: Duration) -> io::Result<Instant> {
        let mut state = State::new(Plan {
            rate: None,
            messages: 1,
        });
        let begin = Instant::now();
        let mut events = [MaybeUninit::uninit(); 4];
        while state.outcome.latencies.is_empty() {
            if begin.elapsed() > patience {
                return Err(io::Error::other("the first message did not come"));
            }
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            let _ = epoll::wait(&self.poll, &mut events, Some(&wait))?;
            self.receive(&mut state)?;
            self.flush(SINK)?;
        }
        Ok(state.last)
    }

    fn receive(&mut self, state: &mut State) -> io::Result<()> {
        if !self.sink.fill()? {
            return Ok(());
        }
        let now = Instant::now();
        let mut answers = std::mem::take(self.sink.out());
        while let Some(came) = self.sink.next()? {
            let Came::Publish { id, body } = came else {
                return Err(io::Error::other("the sink got what is no PUBLISH"));
            };
            let (run, number) =
                numbers(body).ok_or_else(|| io::Error::other("a body that was never sent"))?;
            if run == self.run {
                state.arrived(number, now);
            }
            let [high, low] = id.to_be_bytes();
            answers.extend_from_slice(&[0x40, 2, high, low]);
        }
        *self.sink.out() = answers;
        Ok(())
    }

    fn flush(&mut self, n: u64) -> io::Result<()> {
        let at = usize::from(n == SINK);
        let wire = if n == SINK {
            &mut self.sink
        } else {
            &mut self.source
        };
        let blocked = !wire.flush()?;
        if blocked != self.blocked[at] {
            self.blocked[at] = blocked;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            epoll::modify(
                &self.poll,
                wire.stream(),
                epoll::EventData::new_u64(n),
                flags,
            )?;
        }
        Ok(())
    }
}

/// One run.
struct State {
    plan: Plan,
    begin: Instant,
    sent: u32,
    answered: u32,
    arrived: u32,
    seen: Vec<bool>,
    highest: u32,
    /// Of what arrived last; before that, the begin.
    last: Instant,
    outcome: Outcome,
}

impl State {
    fn new(plan: Plan) -> Self {
        let now = Instant::now();
        Self {
            plan,
            begin: now,
            sent: 0,
            answered: 0,
            arrived: 0,
            seen: vec![false; plan.messages as usize],
            highest: 0,
            last: now,
            outcome: Outcome::default(),
        }
    }

    /// How many are to be sent by now.
    fn due(&self, now: Instant) -> u32 {
        let due = match self.plan.rate {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is positive, and cut at what there is"
            )]
            Some(rate) => ((now - self.begin).as_secs_f64() * rate) as u32 + 1,
            None => self.arrived + UNDER_WAY,
        };
        due.min(self.plan.messages)
    }

    fn intended(&self, number: u32) -> Instant {
        match self.plan.rate {
            Some(rate) => self.begin + Duration::from_secs_f64(f64::from(number) / rate),
            None => self.begin,
        }
    }

    /// Until the next one is to be sent.
    fn pause(&self) -> Timespec {
        let most = Duration::from_millis(100);
        let pause = match self.plan.rate {
            Some(_) if self.sent < self.plan.messages => self
                .intended(self.sent)
                .saturating_duration_since(Instant::now())
                .min(most),
            _ => most,
        };
        Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(pause.subsec_nanos()),
        }
    }

    fn arrived(&mut self, number: u32, now: Instant) {
        match self.seen.get_mut(number as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                self.outcome.repeated += 1;
                return;
            }
        }
        if number < self.highest {
            self.outcome.disordered += 1;
        }
        self.highest = self.highest.max(number);
        if self.arrived > 0 {
            self.outcome.longest_gap = self.outcome.longest_gap.max(now - self.last);
        }
        self.arrived += 1;
        self.last = now;
        let latency = now
            .saturating_duration_since(self.intended(number))
            .as_nanos();
        self.outcome
            .latencies
            .push(u64::try_from(latency).unwrap_or(u64::MAX));
    }

    fn done(&self) -> bool {
        self.arrived == self.plan.messages && self.answered == self.plan.messages
    }

    fn outcome(mut self) -> Outcome {
        self.outcome.took = self.last - self.begin;
        self.outcome.missing = self.plan.messages - self.arrived;
        self.outcome.latencies.sort_unstable();
        self.outcome
    }
}

/// A reading that the filter passes on, all of it in the body.
fn body(run: u32, number: u32) -> Vec<u8> {
    let mut body = format!(
        "{{\"run\":\"{run:06}\",\"number\":\"{number:08}\",\"machine\":{{\"temperature\":31.5,\"pressure\":1.02}},\
         \"ambient\":{{\"temperature\":20.9,\"humidity\":25}},\"text\":\""
    );
    while body.len() < BODY - 2 {
        body.push('x');
    }
    body.push_str("\"}");
    body.into_bytes()
}

/// Its run and number.
fn numbers(body: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(body).ok()?;
    let rest = text.strip_prefix("{\"run\":\"")?;
    let (run, rest) = rest.split_at_checked(6)?;
    let number = rest.strip_prefix("\",\"number\":\"")?.get(..8)?;
    Some((run.parse().ok()?, number.parse().ok()?))
}
