//! What a connection has, whatever runs on it: its session, what it has taken in and what it sends.
//!
//! ```text
//!   PUBLISH ─► stage ─► commit (a batch) ─► durable ─► PUBACK, in the order in which they came
//!                          │ full: kept, tried again; what comes meanwhile is parked, and then not read
//!   inbox ─► window open? ─► PUBLISH ─► PUBACK ─► progress
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edge_core::{EndpointId, Priority, Timestamp};
use edge_hub::{DurableWaker, Hub, Inbox, Owner};
use edge_store::{Commit, CommitError, DeadReason, Delivery, Lsn, Visible};

use crate::Reason;
use crate::encode::{self, EncodeError, Peer};
use crate::output::Output;
use crate::packet::{PacketId, Publish, QoS};
use crate::session::{LoosePacket, Session};
use crate::window::Window;

/// Bytes that may wait to be written before nothing more is taken from queues.
const OUTPUT: usize = 256 << 10;
/// Bytes of messages in flight, beyond the first of them.
const FLIGHT_BYTES: usize = 2 << 20;
/// Deliveries taken from queues at a time.
const TAKE: usize = 256;
/// Publishes, and their bytes, whose commit is not on the device; then nothing more is read.
const UNACKED: usize = 4_096;
const UNACKED_BYTES: usize = 4 << 20;
/// Publishes, and their bytes, that wait until the store has room; then nothing more is read.
const PARKED: usize = 256;
const PARKED_BYTES: usize = 1 << 20;
/// When a full store is asked again.
pub(crate) const FULL_AGAIN: Duration = Duration::from_millis(50);

/// Why a connection is to end, decided by what runs on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Close {
    /// The client may not do this.
    #[error("denied: {0}")]
    Denied(String),
    /// What it sent cannot be taken.
    #[error("{}: {why}", .reason.text())]
    Refused {
        /// For version 5.
        reason: Reason,
        /// For the log.
        why: String,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(CommitError),
}

impl Close {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Denied(_) => Reason::NotAuthorized,
            Self::Refused { reason, .. } => *reason,
            Self::Store(_) => Reason::Unspecified,
        }
    }

    pub(crate) fn refused(reason: Reason, why: impl ToString) -> Self {
        Self::Refused {
            reason,
            why: why.to_string(),
        }
    }
}

/// Something for the client that waits for a commit to be on the device.
#[derive(Debug)]
pub(crate) enum Reply {
    PubAck(PacketId, Reason),
    PubRec(PacketId),
    PubComp(PacketId, Reason),
    /// A whole packet.
    Packet(Bytes),
    /// A message of QoS 0 or 1 that is in no queue.
    Loose(LoosePacket, QoS),
}

/// The commit of this batch, which has no number yet.
const THIS_BATCH: Lsn = Lsn(u64::MAX);

/// A message as the client is to see it.
pub(crate) enum Shown {
    /// With this QoS; the head of its packet is in the output, the body is to follow.
    Sent(QoS),
    /// The client takes no packet of this size.
    TooLarge(EncodeError),
    /// It has no subscription for it any more.
    Unwanted,
}

/// Writes deliveries in the words of what runs on a connection.
pub(crate) trait Show {
    /// Writes the head of a PUBLISH for a delivery, with the delivery's packet id and whether it is a
    /// repeat, at the QoS that the client is granted.
    fn show(
        &mut self,
        peer: Peer,
        input: &str,
        delivery: &Delivery,
        id: PacketId,
        repeat: bool,
        output: &mut Output,
    ) -> Shown;
}

/// See the head of this file.
pub(crate) struct Link {
    pub(crate) hub: Arc<Hub>,
    pub(crate) peer: Peer,
    pub(crate) output: Output,
    pub(crate) session: Session,
    pub(crate) durable: Arc<DurableWaker>,
    /// What the client published.
    pub(crate) commit: Commit,
    staged_bytes: usize,
    /// How far the client has got with what it was sent.
    progress: Commit,
    replies: VecDeque<(Lsn, Reply)>,
    /// Replies of this batch, at the end of `replies`.
    fresh: usize,
    batches: VecDeque<(Lsn, usize)>,
    /// Bytes of those batches.
    unacked_bytes: usize,
    unacked: usize,
    parked: VecDeque<Publish>,
    parked_bytes: usize,
    stuck: bool,
    inbox: Option<(Owner, Inbox)>,
    lanes: Vec<(edge_store::QueueId, usize, Lsn)>,
    window: Window,
    receive_maximum: usize,
    taken: Vec<Delivery>,
    /// Something in a queue waits for its time.
    pub(crate) again: Option<Timestamp>,
    /// Queues may have more than was taken.
    more: bool,
}

impl Link {
    pub(crate) fn new(
        hub: Arc<Hub>,
        peer: Peer,
        session: Session,
        durable: Arc<DurableWaker>,
        receive_maximum: usize,
    ) -> Self {
        Self {
            hub,
            peer,
            output: Output::default(),
            session,
            durable,
            commit: Commit::new(),
            staged_bytes: 0,
            progress: Commit::new(),
            replies: VecDeque::new(),
            fresh: 0,
            batches: VecDeque::new(),
            unacked_bytes: 0,
            unacked: 0,
            parked: VecDeque::new(),
            parked_bytes: 0,
            stuck: false,
            inbox: None,
            lanes: Vec::new(),
            window: Window::default(),
            receive_maximum,
            taken: Vec::new(),
            again: None,
            more: false,
        }
    }

    // ---- what comes in ----

    /// A reply that goes out when this batch is on the device.
    pub(crate) fn reply(&mut self, reply: Reply) {
        self.fresh += 1;
        self.replies.push_back((THIS_BATCH, reply));
    }

    /// A reply that goes out when a commit of its own is on the device, and after those before it. What
    /// was staged before that commit has to be committed before it, with [`commit_batch`](Self::commit_batch).
    pub(crate) fn reply_after(&mut self, lsn: Lsn, reply: Reply) {
        self.await_durable(lsn);
        match self.fresh {
            0 => self.replies.push_back((lsn, reply)),
            // The batch is stuck: its commit comes later, and so is after this one.
            _ => self.reply(reply),
        }
    }

    fn await_durable(&self, lsn: Lsn) {
        if lsn > self.hub.durable_lsn() {
            self.hub.hurry(lsn);
            self.hub.wake_when_durable(lsn, &self.durable);
        }
    }

    /// A message was staged; `answered`: with a reply to come.
    pub(crate) fn staged(&mut self, bytes: usize, answered: bool) {
        self.staged_bytes += bytes;
        self.unacked += usize::from(answered);
    }

    /// Messages of the client that wait for their answer.
    pub(crate) fn unanswered(&self) -> usize {
        let parked = self.parked.iter().filter(|publish| publish.id.is_some());
        self.unacked + parked.count()
    }

    /// Whether publishes wait for room: then others wait behind them.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck || !self.parked.is_empty() || self.hub.pressure().is_high()
    }

    pub(crate) fn park(&mut self, publish: Publish) {
        self.parked_bytes += publish.body.len() + publish.topic.len();
        self.parked.push_back(publish);
    }

    /// Takes publishes that waited, in their order, as long as there is room.
    pub(crate) fn resume(
        &mut self,
        mut take: impl FnMut(&mut Self, Publish) -> Result<(), Close>,
    ) -> Result<(), Close> {
        // Mostly there is none, and this is in the way of each message.
        while !self.parked.is_empty() && !self.stuck && !self.hub.pressure().is_high() {
            let Some(publish) = self.parked.pop_front() else {
                break;
            };
            self.parked_bytes -= publish.body.len() + publish.topic.len();
            // Those behind it do not hold up the one whose turn it is.
            let mut behind = std::mem::take(&mut self.parked);
            let taken = take(self, publish);
            let waits_again = !self.parked.is_empty();
            self.parked.append(&mut behind);
            taken?;
            if waits_again {
                break;
            }
        }
        Ok(())
    }

    /// Whether something waits for room in the store.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.stuck || !self.parked.is_empty()
    }

    /// Whether more may be read from the client.
    pub(crate) fn may_read(&self) -> bool {
        !self.is_held_back() && self.output.len() < 2 * OUTPUT
    }

    /// Whether nothing is read from the client because the store has to keep up first.
    pub(crate) fn is_held_back(&self) -> bool {
        self.parked.len() >= PARKED
            || self.parked_bytes >= PARKED_BYTES
            || self.unacked >= UNACKED
            || self.unacked_bytes + self.staged_bytes >= UNACKED_BYTES
    }

    /// Commits what was staged in this batch. If the store is full, it is kept and tried again.
    pub(crate) fn commit_batch(&mut self) -> Result<(), Close> {
        let lsn = match self.hub.commit(&mut self.commit) {
            Ok(lsn) => lsn.unwrap_or(Lsn(0)),
            Err(CommitError::Full { .. }) => {
                self.stuck = true;
                return Ok(());
            }
            Err(error) => return Err(Close::Store(error)),
        };
        self.stuck = false;
        if self.staged_bytes > 0 {
            self.batches.push_back((lsn, self.staged_bytes));
            self.unacked_bytes += std::mem::take(&mut self.staged_bytes);
        }
        let from = self.replies.len() - self.fresh;
        for (at, _) in self.replies.range_mut(from..) {
            *at = lsn;
        }
        if self.fresh > 0 {
            self.await_durable(lsn);
        }
        self.fresh = 0;
        Ok(())
    }

    /// Writes the replies whose commit is on the device.
    pub(crate) fn flush_replies(&mut self) {
        let durable = self.hub.durable_lsn();
        while let Some((lsn, _)) = self.replies.front()
            && *lsn <= durable
        {
            let Some((_, reply)) = self.replies.pop_front() else {
                break;
            };
            self.write(reply);
        }
        while let Some((lsn, bytes)) = self.batches.front()
            && *lsn <= durable
        {
            self.unacked_bytes -= bytes;
            self.batches.pop_front();
        }
    }

    fn write(&mut self, reply: Reply) {
        let written = match reply {
            Reply::PubAck(id, reason) => {
                self.unacked = self.unacked.saturating_sub(1);
                encode::puback(self.output.tail(), self.peer, id, reason, None)
            }
            Reply::PubRec(id) => {
                self.unacked = self.unacked.saturating_sub(1);
                encode::pubrec(self.output.tail(), self.peer, id, Reason::Success, None)
            }
            Reply::PubComp(id, reason) => {
                encode::pubcomp(self.output.tail(), self.peer, id, reason)
            }
            Reply::Packet(packet) => {
                self.output.body(&packet);
                Ok(())
            }
            Reply::Loose(packet, qos) => {
                self.send_loose(packet, qos);
                Ok(())
            }
        };
        if let Err(error) = written {
            tracing::warn!(client = %self.session.client, %error, "answer not sent");
        }
    }

    /// Sends a message that is in no queue.
    pub(crate) fn send_loose(&mut self, packet: LoosePacket, qos: QoS) {
        let delivery = match qos {
            QoS::AtMostOnce => encode::Delivery::AtMostOnce,
            _ => match self.session.loose.send(packet.clone()) {
                Some(id) => encode::Delivery::AtLeastOnce { id, dup: false },
                None => {
                    tracing::warn!(client = %self.session.client, "answer not sent: the client acknowledges nothing");
                    return;
                }
            },
        };
        self.write_loose(&packet, delivery);
    }

    fn write_loose(&mut self, packet: &LoosePacket, delivery: encode::Delivery) {
        let publish = encode::Publish {
            topic: &[&packet.topic],
            alias: None,
            delivery,
            retain: false,
            properties: encode::Properties::default(),
        };
        match encode::publish_head(self.output.tail(), self.peer, &publish, packet.body.len()) {
            Ok(()) => self.output.body(&packet.body),
            Err(error) => {
                tracing::warn!(client = %self.session.client, %error, "answer not sent");
                if let encode::Delivery::AtLeastOnce { id, .. } = delivery {
                    self.session.loose.acknowledged(id);
                }
            }
        }
    }

    /// Sends again what the client has not acknowledged of what is in no queue.
    pub(crate) fn repeat_loose(&mut self) {
        let waiting: Vec<_> = self
            .session
            .loose
            .waiting()
            .map(|(id, packet)| (id, packet.clone()))
            .collect();
        for (id, packet) in waiting {
            self.write_loose(&packet, encode::Delivery::AtLeastOnce { id, dup: true });
        }
    }

    // ---- what goes out ----

    /// Begins to read the queues of an owner.
    pub(crate) fn read(&mut self, owner: Owner) {
        if self.inbox.is_none() {
            let inbox = self
                .hub
                .inbox_of(owner.clone(), &self.durable, Visible::Durable);
            self.inbox = Some((owner, inbox));
            self.more = true;
        }
    }

    /// Reads no more. What is in flight comes again.
    pub(crate) fn stop_reading(&mut self) {
        if let Some((owner, inbox)) = self.inbox.take() {
            self.hub.detach_reader(&owner, &self.durable);
            drop(inbox);
            self.window = Window::default();
            self.lanes.clear();
        }
    }

    /// There may be more to read.
    pub(crate) fn look_again(&mut self) {
        self.more = true;
    }

    /// The client acknowledged a message; whether there was one.
    pub(crate) fn acknowledged(&mut self, id: PacketId, rejected: Option<Reason>) -> bool {
        let Some(delivery) = self.window.acknowledged(id) else {
            return self.session.loose.acknowledged(id);
        };
        if let Some((_, inbox)) = &mut self.inbox {
            match rejected {
                None => inbox.handled(&delivery, &mut self.progress),
                Some(reason) => {
                    let why = format!("the client answered: {reason}");
                    let now = self.hub.now();
                    inbox.dead(
                        &delivery,
                        DeadReason::Rejected(why),
                        now,
                        &mut self.progress,
                    );
                }
            }
        }
        self.more = true;
        true
    }

    /// Whether there may be something to send that was not for want of room in the output.
    pub(crate) fn is_held_up(&self) -> bool {
        self.more && self.output.len() >= OUTPUT
    }

    fn has_room(&self) -> bool {
        self.output.len() < OUTPUT
            && self.window.len() < self.receive_maximum
            && (self.window.bytes() < FLIGHT_BYTES || self.window.len() == 0)
    }

    /// Takes from the queues what the window and the output have room for.
    pub(crate) fn pump(&mut self, show: &mut impl Show) {
        while self.more && self.has_room() {
            let Some((_, inbox)) = &mut self.inbox else {
                self.more = false;
                return;
            };
            let room = self.receive_maximum - self.window.len();
            let mut taken = std::mem::take(&mut self.taken);
            let now = self.hub.now();
            self.again = inbox.take(room.min(TAKE), now, &mut taken, &mut self.progress);
            if taken.is_empty() {
                self.taken = taken;
                self.more = false;
                return;
            }
            let mut held = None;
            for (at, delivery) in taken.iter().enumerate() {
                if !self.has_room() || !self.send(delivery, show) {
                    held = Some(at);
                    break;
                }
            }
            if let (Some(at), Some((_, inbox))) = (held, &mut self.inbox) {
                inbox.put_back(&taken[at..]);
                taken.clear();
                self.taken = taken;
                // An acknowledgement, or the lane's commit, begins anew.
                self.more = self.output.len() >= OUTPUT;
                return;
            }
            taken.clear();
            self.taken = taken;
        }
    }

    /// Sends one delivery; false if it has to wait.
    fn send(&mut self, delivery: &Delivery, show: &mut impl Show) -> bool {
        let (lane, ready) = self.lane(delivery);
        let admitted = self.window.admits(lane, delivery.queue, delivery.seq);
        if ready > self.hub.durable_lsn() || !admitted {
            return false;
        }
        let old = !self.hub.is_of_this_start(delivery.message.id);
        let repeat = self.session.sent[lane].send(delivery.seq, old);
        let Some((_, inbox)) = &mut self.inbox else {
            return false;
        };
        let id = crate::window::id_of(lane, delivery.seq);
        match show.show(
            self.peer,
            inbox.input(delivery),
            delivery,
            id,
            repeat,
            &mut self.output,
        ) {
            Shown::Sent(QoS::AtMostOnce) => {
                self.output.body(&delivery.message.content.body);
                inbox.handled(delivery, &mut self.progress);
            }
            Shown::Sent(_) => {
                self.output.body(&delivery.message.content.body);
                self.window.sent(lane, delivery.clone());
            }
            Shown::TooLarge(error) => {
                // As if it had been delivered [MQTT-3.1.2-25], but not in silence.
                tracing::warn!(client = %self.session.client, %error, "message put with the dead letters");
                let now = self.hub.now();
                let why = DeadReason::Rejected(error.to_string());
                inbox.dead(delivery, why, now, &mut self.progress);
            }
            Shown::Unwanted => inbox.handled(delivery, &mut self.progress),
        }
        true
    }

    /// The lane of a delivery's queue, and the commit after which it may be used.
    fn lane(&mut self, delivery: &Delivery) -> (usize, Lsn) {
        let known = self
            .lanes
            .iter()
            .find(|(queue, ..)| *queue == delivery.queue);
        if let Some((_, lane, ready)) = known {
            return (*lane, *ready);
        }
        let (endpoint, priority) = match &self.inbox {
            Some((_, inbox)) => inbox.queue_name(delivery.queue),
            None => (EndpointId::Upstream, Priority::DEFAULT),
        };
        let (lane, new) = self.session.lane(&endpoint, priority);
        let mut ready = Lsn(0);
        if new && self.session.outlives() {
            // Before anything of it is sent, so that its ids are the same after a crash.
            let mut commit = Commit::new();
            self.session.stage(&mut commit);
            match self.hub.commit(&mut commit) {
                Ok(lsn) => ready = lsn.unwrap_or(Lsn(0)),
                Err(error) => {
                    tracing::warn!(client = %self.session.client, %error, "session not stored");
                }
            }
            self.await_durable(ready);
        }
        self.lanes.push((delivery.queue, lane, ready));
        (lane, ready)
    }

    /// Commits how far the client has got.
    pub(crate) fn commit_progress(&mut self) -> Result<(), Close> {
        if self.progress.is_empty() {
            return Ok(());
        }
        match self.hub.commit(&mut self.progress) {
            Ok(_) => Ok(()),
            Err(error) => Err(Close::Store(error)),
        }
    }

    /// The connection ends; what is left is the session. What the client published before the end is
    /// committed: many say what they have to say and go in one breath.
    pub(crate) fn end(mut self) -> Session {
        if let Err(error) = self.commit_batch() {
            tracing::warn!(client = %self.session.client, %error, "last messages not stored");
            self.stuck = true;
        }
        if self.stuck {
            // It was not acknowledged, and comes again if its QoS says so.
            self.session.read_unreleased(&**self.hub.log());
        }
        if let Err(error) = self.commit_progress() {
            tracing::warn!(client = %self.session.client, %error, "progress not stored");
        }
        self.stop_reading();
        self.session
    }
}
