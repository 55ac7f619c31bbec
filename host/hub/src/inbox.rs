//! The way out: one inbox per module, device or upstream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_core::{DeviceId, EndpointId, ModuleId, Priority, Timestamp, limits};
use edge_store::{Commit, DeadLetter, DeadReason, Delivery, Progress, QueueId, Seq, Visible};

use crate::Hub;
use crate::counters::add;
use crate::meters::{LinkMeter, Links, Meters};

/// Whose messages an inbox holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A module, with all of its inputs.
    Module(ModuleId),
    /// The parent.
    Upstream,
    /// A device, with what is sent to it.
    Device(DeviceId),
    /// A session of the open topics, by its place.
    Session(u32),
}

impl Owner {
    /// Who reads an endpoint.
    pub fn of(endpoint: &EndpointId) -> Self {
        match endpoint {
            EndpointId::Upstream => Self::Upstream,
            EndpointId::ModuleInput { module, .. } => Self::Module(module.clone()),
            EndpointId::Device(device) => Self::Device(device.clone()),
            EndpointId::Session(place) => Self::Session(*place),
        }
    }
}

/// Reads the queues of one owner, the lowest priority number first, each in order.
///
/// Not shared: whoever holds it is the one reader. Deliveries taken and not reported are handed out
/// again after [`rewind`](Self::rewind), or by the next inbox of the same owner.
#[derive(Debug)]
pub struct Inbox {
    hub: Arc<Hub>,
    owner: Owner,
    visible: Visible,
    lanes: Vec<Lane>,
    layout: u64,
    links: Links,
}

/// One queue and how far this reader has read ahead in it.
#[derive(Debug)]
struct Lane {
    queue: QueueId,
    endpoint: EndpointId,
    priority: Priority,
    next: Seq,
    blocked_until: Option<Timestamp>,
}

impl Inbox {
    pub(crate) fn new(hub: Arc<Hub>, owner: Owner, visible: Visible) -> Self {
        Self {
            hub,
            owner,
            visible,
            lanes: Vec::new(),
            layout: 0,
            links: Links::new(),
        }
    }

    /// Queues that were made since the last look.
    fn refresh(&mut self) {
        let layout = self.hub.layout.load(Ordering::Acquire);
        if layout == self.layout {
            return;
        }
        self.layout = layout;
        for (queue, endpoint, priority) in self.hub.queues_of(&self.owner) {
            if !self.lanes.iter().any(|lane| lane.queue == queue) {
                self.lanes.push(Lane {
                    queue,
                    endpoint,
                    priority,
                    next: Seq::ZERO,
                    blocked_until: None,
                });
            }
        }
        self.lanes.sort_by_key(|lane| lane.priority);
    }

    /// Takes up to `max` deliveries that are due. Entries past their time to live are settled in
    /// `commit` instead. Returns when to look again if what waits is blocked until then.
    pub fn take(
        &mut self,
        max: usize,
        now: Timestamp,
        out: &mut Vec<Delivery>,
        commit: &mut Commit,
    ) -> Option<Timestamp> {
        self.refresh();
        self.links.come_back(now);
        let mut again: Option<Timestamp> = None;
        for lane in &mut self.lanes {
            if out.len() >= max {
                break;
            }
            if let Some(until) = lane.blocked_until {
                // A wait that is longer than any can be is a clock that was set back.
                if until > now && until.since(now) <= limits::RETRY_MAX {
                    again = Some(again.map_or(until, |t| t.min(until)));
                    continue;
                }
                lane.blocked_until = None;
            }
            // Read on past what has expired: a reader that gets nothing goes to sleep.
            let mut passed = 0;
            loop {
                if passed >= MAX_EXPIRED {
                    // A commit of its own for so many, and then the rest.
                    return Some(now);
                }
                let start = out.len();
                self.hub
                    .log
                    .read(lane.queue, lane.next, max - start, self.visible, out);
                let Some(last) = out[start..].last() else {
                    break;
                };
                lane.next = last.seq.next();
                let mut kept = start;
                for index in start..out.len() {
                    if out[index].expiry.is_some_and(|at| at <= now) {
                        let delivery = &out[index];
                        let find = |meters: &Meters| lane.meter(meters, delivery);
                        let link = self.links.of(delivery, &self.hub.meters, find);
                        link.expired.add(1);
                        commit.progress(settled(delivery));
                    } else {
                        out.swap(kept, index);
                        kept += 1;
                    }
                }
                let expired = out.len() - kept;
                out.truncate(kept);
                passed += expired;
                if expired > 0 {
                    self.hub.count_expired(&lane.endpoint, expired);
                }
                if kept > start {
                    break;
                }
            }
        }
        again
    }

    /// The input that a delivery is for; empty for upstream.
    pub fn input(&self, delivery: &Delivery) -> &str {
        match self.lane(delivery.queue).map(|lane| &lane.endpoint) {
            Some(EndpointId::ModuleInput { input, .. }) => input,
            _ => "",
        }
    }

    /// The endpoint and priority of a queue of this inbox.
    pub fn queue_name(&self, queue: QueueId) -> (EndpointId, Priority) {
        match self.lane(queue) {
            Some(lane) => (lane.endpoint.clone(), lane.priority),
            None => (EndpointId::Upstream, Priority::DEFAULT),
        }
    }

    /// Handled: progress goes into the commit.
    pub fn handled(&mut self, delivery: &Delivery, commit: &mut Commit) {
        add(&self.hub.counters.handled, 1);
        let lane = self.lanes.iter().find(|lane| lane.queue == delivery.queue);
        let find = |meters: &Meters| meter(lane, meters, delivery);
        self.links.handled(delivery, &self.hub.meters, find);
        commit.progress(settled(delivery));
    }

    /// To be tried again after `delay`, or after the hub's back-off. Its queue waits until then; what
    /// was already taken of the same queue is to be thrown away, it comes again.
    ///
    /// `failed` counts the try among those that ended in a trap or a missed deadline.
    pub fn retry(
        &mut self,
        delivery: &Delivery,
        delay: Option<Duration>,
        failed: bool,
        now: Timestamp,
        commit: &mut Commit,
    ) {
        add(&self.hub.counters.retried, 1);
        self.link(delivery).retried.add(1);
        let attempts = delivery.attempts.saturating_add(1);
        let delay = delay
            .unwrap_or_else(|| back_off(attempts))
            .min(limits::RETRY_MAX);
        // A guest that asks for a retry at once must not keep a core busy with it.
        let delay = if failed {
            delay
        } else {
            delay.max(SHORTEST_RETRY)
        };
        if let Some(lane) = self.lanes.iter_mut().find(|l| l.queue == delivery.queue) {
            lane.next = delivery.seq;
            lane.blocked_until = Some(now.after(delay));
        }
        commit.progress(Progress::Attempted {
            queue: delivery.queue,
            seq: delivery.seq,
            attempts,
            failures: delivery.failures + u32::from(failed),
        });
    }

    /// Gives back what was taken and not begun: it is handed out again, after what has a better
    /// priority by then.
    pub fn put_back(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            if let Some(lane) = self.lanes.iter_mut().find(|l| l.queue == delivery.queue) {
                lane.next = lane.next.min(delivery.seq);
            }
        }
    }

    /// Not handled because its time to live ended after it was taken.
    pub fn expired(&mut self, delivery: &Delivery, commit: &mut Commit) {
        self.link(delivery).expired.add(1);
        if let Some(lane) = self.lane(delivery.queue) {
            self.hub.count_expired(&lane.endpoint, 1);
        }
        commit.progress(settled(delivery));
    }

    /// Given up: kept as a dead letter.
    pub fn dead(
        &mut self,
        delivery: &Delivery,
        reason: DeadReason,
        now: Timestamp,
        commit: &mut Commit,
    ) {
        let counters = &self.hub.clone().counters;
        let link = self.link(delivery);
        let (counter, by_link) = match reason {
            DeadReason::Rejected(_) => (&counters.rejected, Some(&link.rejected)),
            DeadReason::Failed(_) => (&counters.failed, Some(&link.failed)),
            // Caught where it was sent, before it came to a queue.
            DeadReason::Loop => (&counters.looped, None),
            DeadReason::Abandoned => (&counters.abandoned, Some(&link.abandoned)),
        };
        add(counter, 1);
        if let Some(by_link) = by_link {
            by_link.add(1);
        }
        let lane = self.lane(delivery.queue);
        commit.dead_letter(DeadLetter {
            message: delivery.message.clone(),
            endpoint: lane.map_or(EndpointId::Upstream, |lane| lane.endpoint.clone()),
            priority: lane.map_or(Priority::DEFAULT, |lane| lane.priority),
            attempts: delivery.attempts.saturating_add(1),
            reason,
            at: now,
        });
        commit.progress(settled(delivery));
    }

    /// Hands out again, after `delay`, whatever was taken and has not been settled in the log.
    pub fn rewind(&mut self, delay: Duration, now: Timestamp) {
        self.links.forget();
        for lane in &mut self.lanes {
            lane.next = Seq::ZERO;
            lane.blocked_until = Some(now.after(delay));
        }
    }

    fn lane(&self, queue: QueueId) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.queue == queue)
    }

    /// Where a delivery is counted.
    fn link(&mut self, delivery: &Delivery) -> &LinkMeter {
        let lane = self.lanes.iter().find(|lane| lane.queue == delivery.queue);
        let find = |meters: &Meters| meter(lane, meters, delivery);
        self.links.of(delivery, &self.hub.meters, find)
    }
}

impl Drop for Inbox {
    /// What was handled last is counted too.
    fn drop(&mut self) {
        self.links.come_back(self.hub.now());
    }
}

impl Lane {
    fn meter(&self, meters: &Meters, delivery: &Delivery) -> Arc<LinkMeter> {
        meters.link(&delivery.message.origin, &self.endpoint, self.priority)
    }
}

fn meter(lane: Option<&Lane>, meters: &Meters, delivery: &Delivery) -> Arc<LinkMeter> {
    match lane {
        Some(lane) => lane.meter(meters, delivery),
        // Not a delivery of this inbox.
        None => meters.links.unnamed_set(),
    }
}

fn settled(delivery: &Delivery) -> Progress {
    Progress::Settled {
        queue: delivery.queue,
        seq: delivery.seq,
    }
}

/// Entries that may expire in one go.
const MAX_EXPIRED: usize = 4_096;

/// Shortest wait of a retry that a handler asks for.
const SHORTEST_RETRY: Duration = Duration::from_millis(1);

/// Doubles from the first wait up to the longest.
fn back_off(attempts: u32) -> Duration {
    let factor = 1u32
        .checked_shl(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX);
    limits::RETRY_FIRST
        .saturating_mul(factor)
        .min(limits::RETRY_MAX)
}
