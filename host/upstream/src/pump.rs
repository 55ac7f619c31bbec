//! Takes what waits for the parent out of its queues, hands it to the lanes, and notes what the parent has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use edge_amqp::client::Links;
use edge_core::{Identity, Timestamp};
use edge_heads::Bell;
use edge_hub::{DurableWaker, Hub, Inbox, Owner};
use edge_store::{Commit, DeadReason, Delivery, QueueId, Seq, Visible};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::dial::Reached;
use crate::lane::{Lane, Verdict};
use crate::status::Status;
use crate::{Signer, back_off, until};

/// Messages, and their bytes, that are taken and not accepted.
pub const WINDOW: usize = 8_192;
const WINDOW_BYTES: usize = 8 << 20;
/// Messages that are taken at a time.
const TAKE: usize = 1_024;
/// A refused identity is tried again after this, doubled with each time.
const REFUSED_FIRST: Duration = Duration::from_secs(2);
const REFUSED_LONGEST: Duration = Duration::from_secs(300);
/// Bounds of [`Patience`].
const PATIENCE_LEAST: Duration = Duration::from_secs(4);
const PATIENCE_MOST: Duration = Duration::from_secs(60);
/// The parent's silence is looked at this often, while it owes an answer.
const LOOK: Duration = Duration::from_secs(1);

/// Works on one connection.
pub(crate) struct Pump {
    hub: Arc<Hub>,
    signer: Signer,
    links: Links,
    bell: Arc<Bell>,
    waker: Arc<DurableWaker>,
    inbox: Inbox,
    progress: Commit,
    lanes: HashMap<Identity, Entry>,
    /// When the first of those is tried again whose messages were passed by.
    retry: Option<Instant>,
    /// Lanes so far.
    count: u64,
    tasks: JoinSet<()>,
    verdicts: mpsc::UnboundedReceiver<Verdict>,
    judges: mpsc::UnboundedSender<Verdict>,
    /// Taken and not accepted: the lane that has it, and its size.
    under_way: HashMap<(QueueId, Seq), (u64, usize)>,
    bytes: usize,
    /// The queues may have more than was taken.
    more: bool,
    /// A question to a silent parent is on its way.
    is_asked: bool,
    taken: Vec<Delivery>,
}

/// An identity that has sent something.
enum Entry {
    Open {
        number: u64,
        deliveries: mpsc::UnboundedSender<Delivery>,
        /// Refusals before this try.
        refusals: u32,
    },
    Refused {
        until: Instant,
        refusals: u32,
        /// Messages of its were passed by.
        passed: bool,
    },
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.hub.detach_reader(&Owner::Upstream, &self.waker);
    }
}

impl Pump {
    pub(crate) fn new(hub: Arc<Hub>, signer: Signer, links: Links) -> Self {
        let bell = Arc::<Bell>::default();
        let waker = DurableWaker::new(bell.clone());
        let inbox = hub.inbox_of(Owner::Upstream, &waker, Visible::Durable);
        let (judges, verdicts) = mpsc::unbounded_channel();
        Self {
            hub,
            signer,
            links,
            bell,
            waker,
            inbox,
            progress: Commit::new(),
            lanes: HashMap::new(),
            retry: None,
            count: 0,
            tasks: JoinSet::new(),
            verdicts,
            judges,
            under_way: HashMap::new(),
            bytes: 0,
            more: true,
            is_asked: false,
            taken: Vec::new(),
        }
    }

    /// Works until the connection is of no use; says why.
    pub(crate) async fn run(&mut self, status: &Status, patience: &mut Patience) -> String {
        let mut verdicts = Vec::new();
        let mut silence = Silence::new(status);
        loop {
            // Before anything is taken: what was passed by comes before what came after it.
            if self.retry.is_some_and(|at| at <= Instant::now()) {
                self.forgive();
            }
            let again = self.take(status);
            if let Err(error) = self.commit() {
                return error;
            }
            if self.more && self.has_room() {
                // Others have their turn.
                tokio::task::yield_now().await;
                if self.verdicts.is_empty() {
                    continue;
                }
            }
            let now = self.hub.now();
            let wait = again.map(|at| at.since(now));
            let retry = self.retry;
            let is_waiting = !self.under_way.is_empty();
            tokio::select! {
                biased;
                count = self.verdicts.recv_many(&mut verdicts, TAKE) => {
                    if count == 0 {
                        return "the lanes are gone".to_owned();
                    }
                    // How fast a question is answered says nothing of messages.
                    if verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Answered)) {
                        patience.was_right(silence.span());
                    }
                    for verdict in verdicts.drain(..) {
                        if let Some(why) = self.judge(verdict, status) {
                            return why;
                        }
                    }
                }
                () = self.bell.rung(), if self.has_room() => self.more = true,
                () = until(wait.map(|wait| Instant::now() + wait)) => self.more = true,
                () = until(retry) => {}
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a lane of the parent's link panicked");
                        return "a part of the link failed".to_owned();
                    }
                }
                () = sleep(LOOK), if is_waiting => {}
            }
            silence.look(status, is_waiting);
            if silence.span() > patience.limit() / 2 && !self.is_asked {
                self.ask();
            }
            if silence.span() > patience.limit() {
                patience.ran_out();
                let seconds = silence.span().as_secs();
                return format!("the parent has been silent for {seconds} s");
            }
        }
    }

    /// The connection is over: what was settled is noted, the rest comes again.
    pub(crate) async fn end(mut self) {
        self.tasks.shutdown().await;
        if let Err(error) = self.commit() {
            tracing::warn!(%error, "progress of the parent's link not stored");
        }
    }

    /// Asks the parent something that it answers at once: one without room for messages is silent as well.
    fn ask(&mut self) {
        self.is_asked = true;
        let (signer, links, answered) =
            (self.signer.clone(), self.links.clone(), self.judges.clone());
        let own = Identity::Device(self.hub.device().clone());
        self.tasks.spawn(async move {
            // A refusal is an answer, too; whoever is gone says nothing.
            let _ = signer.prove(&links, &own).await;
            let _ = answered.send(Verdict::Answered);
        });
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < WINDOW && (self.bytes < WINDOW_BYTES || self.under_way.is_empty())
    }

    /// Takes from the queues and hands to the lanes, once; when to look again.
    fn take(&mut self, status: &Status) -> Option<Timestamp> {
        if !self.more || !self.has_room() {
            return None;
        }
        let room = (WINDOW - self.under_way.len()).min(TAKE);
        let mut taken = std::mem::take(&mut self.taken);
        let now = self.hub.now();
        let again = self.inbox.take(room, now, &mut taken, &mut self.progress);
        self.more = !taken.is_empty();
        for delivery in taken.drain(..) {
            let place = (delivery.queue, delivery.seq);
            if !self.under_way.contains_key(&place) {
                self.hand(delivery, status);
            }
        }
        self.taken = taken;
        again
    }

    fn hand(&mut self, delivery: Delivery, status: &Status) {
        let identity = delivery.message.origin.identity();
        let refusals = match self.lanes.get_mut(&identity) {
            Some(Entry::Open {
                number, deliveries, ..
            }) => {
                let size = delivery.message.content.size();
                let place = (delivery.queue, delivery.seq);
                if deliveries.send(delivery).is_ok() {
                    self.under_way.insert(place, (*number, size));
                    self.bytes += size;
                }
                // A lane that is gone has said why, and what it had comes again.
                return;
            }
            // Once one was passed by, so is all that came after it, until they are read again in their order.
            Some(Entry::Refused { until, passed, .. }) if *passed || *until > Instant::now() => {
                *passed = true;
                let until = *until;
                self.retry_at(until);
                return;
            }
            Some(Entry::Refused { refusals, .. }) => *refusals,
            None => 0,
        };
        status.refused(&identity, None);
        self.count += 1;
        let (deliveries, lane) = mpsc::unbounded_channel();
        let lane = Lane {
            identity: identity.clone(),
            links: self.links.clone(),
            signer: self.signer.clone(),
            deliveries: lane,
            verdicts: self.judges.clone(),
        };
        self.tasks.spawn(lane.run());
        let entry = Entry::Open {
            number: self.count,
            deliveries,
            refusals,
        };
        self.lanes.insert(identity, entry);
        self.hand(delivery, status);
    }

    /// Takes up what became of deliveries; says why if the connection is over.
    fn judge(&mut self, verdict: Verdict, status: &Status) -> Option<String> {
        let (mut accepted, mut rejected) = (0, 0);
        match verdict {
            Verdict::Accepted(deliveries) => {
                self.is_let_in(deliveries.first());
                for delivery in &deliveries {
                    self.landed(delivery);
                    self.inbox.handled(delivery, &mut self.progress);
                }
                accepted = deliveries.len() as u64;
            }
            Verdict::Rejected(delivery, why) => {
                tracing::warn!(from = %delivery.message.origin.identity(), %why, "message put with the dead letters");
                self.landed(&delivery);
                let now = self.hub.now();
                let reason = DeadReason::Rejected(why);
                self.inbox.dead(&delivery, reason, now, &mut self.progress);
                rejected = 1;
            }
            Verdict::Refused(identity, why) => {
                tracing::warn!(client = %identity, %why, "the parent takes nothing of an identity; its messages wait");
                status.refused(&identity, Some(&why));
                self.put_back(identity);
            }
            Verdict::Ended(identity, why) => {
                tracing::debug!(client = %identity, %why, "the link on which an identity sends was ended");
                self.put_back(identity);
            }
            Verdict::Answered => self.is_asked = false,
            Verdict::Lost(why) => return Some(why),
        }
        let under_way = self.under_way.len() as u64;
        status.settled(accepted, rejected, under_way);
        None
    }

    /// The next refusal of whoever sent this is the first one again.
    fn is_let_in(&mut self, sent: Option<&Delivery>) {
        let identity = sent.map(|delivery| delivery.message.origin.identity());
        if let Some(Entry::Open { refusals, .. }) = identity.and_then(|i| self.lanes.get_mut(&i)) {
            *refusals = 0;
        }
    }

    fn landed(&mut self, delivery: &Delivery) {
        if let Some((_, size)) = self.under_way.remove(&(delivery.queue, delivery.seq)) {
            self.bytes -= size;
        }
    }

    /// Passes an identity by for a while.
    fn put_back(&mut self, identity: Identity) {
        let Some(Entry::Open {
            number, refusals, ..
        }) = self.lanes.get(&identity)
        else {
            return;
        };
        let (number, refusals) = (*number, refusals.saturating_add(1));
        let bytes = &mut self.bytes;
        self.under_way.retain(|_, (lane, size)| {
            let is_its = *lane == number;
            *bytes -= if is_its { *size } else { 0 };
            !is_its
        });
        let until = Instant::now() + back_off(refusals, REFUSED_FIRST, REFUSED_LONGEST);
        self.retry_at(until);
        let entry = Entry::Refused {
            until,
            refusals,
            // What it had, and what came for it when it was gone already.
            passed: true,
        };
        self.lanes.insert(identity, entry);
    }

    fn retry_at(&mut self, at: Instant) {
        self.retry = Some(self.retry.map_or(at, |retry| retry.min(at)));
    }

    /// Reads again what was passed by, now that its time has come.
    fn forgive(&mut self) {
        // What was accepted is settled in the log before it is read again.
        if self.commit().is_ok() {
            self.retry = None;
            self.inbox.rewind(Duration::ZERO, self.hub.now());
            for entry in self.lanes.values_mut() {
                if let Entry::Refused { passed, .. } = entry {
                    *passed = false;
                }
            }
            self.more = true;
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        match self.hub.commit(&mut self.progress) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the store failed: {error}")),
        }
    }
}

/// How long nothing has been heard of the parent while something waits for its answer.
struct Silence {
    read: u64,
    since: Instant,
}

impl Silence {
    fn new(status: &Status) -> Self {
        Self {
            read: status.traffic().read(),
            since: Instant::now(),
        }
    }

    fn look(&mut self, status: &Status, is_waiting: bool) {
        let read = status.traffic().read();
        if read != self.read || !is_waiting {
            self.read = read;
            self.since = Instant::now();
        }
    }

    fn span(&self) -> Duration {
        self.since.elapsed()
    }
}

/// How long a parent may be silent that owes an answer: short, because TCP notices an outage late and comes back
/// later still; longer where answers have taken longer, because a slow link is not a dead one. Outages that it ran out
/// in do not make it longer: then the next one would be noticed late.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// It ran out, and whether that was right is not known yet.
    in_doubt: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit: PATIENCE_LEAST,
            in_doubt: false,
        }
    }
}

impl Patience {
    fn limit(&self) -> Duration {
        self.limit
    }

    /// An answer came after so long.
    fn was_right(&mut self, silence: Duration) {
        self.limit = (silence * 4)
            .clamp(PATIENCE_LEAST, PATIENCE_MOST)
            .max(self.limit * 7 / 8);
    }

    /// No answer came.
    fn ran_out(&mut self) {
        self.in_doubt = true;
    }

    /// The parent can be reached again. Could it be all the while, then it was only slow.
    pub(crate) fn reached(&mut self, first: &Reached) {
        self.was_right(first.trip);
        if std::mem::take(&mut self.in_doubt) && first.at_once {
            self.limit = (self.limit * 2).min(PATIENCE_MOST);
        }
    }

    /// The parent cannot be reached: it was right to give it up.
    pub(crate) fn unreached(&mut self) {
        self.in_doubt = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);

    fn reached(trip: Duration, at_once: bool) -> Reached {
        Reached { trip, at_once }
    }

    #[test]
    fn patience_grows_with_slow_answers_and_shrinks_with_fast_ones() {
        let mut patience = Patience::default();
        patience.was_right(Duration::from_secs(5));
        assert_eq!(patience.limit(), Duration::from_secs(20));
        for _ in 0..20 {
            patience.was_right(FAST);
        }
        assert_eq!(patience.limit(), PATIENCE_LEAST);
        patience.reached(&reached(Duration::from_secs(3), true));
        assert_eq!(patience.limit(), Duration::from_secs(12));
    }

    #[test]
    fn patience_grows_if_the_parent_was_there_all_the_while() {
        let mut patience = Patience::default();
        for _ in 0..20 {
            patience.ran_out();
            patience.reached(&reached(FAST, true));
        }
        assert!(patience.limit() > PATIENCE_MOST * 3 / 4);
    }

    #[test]
    fn patience_does_not_grow_with_outages() {
        let mut patience = Patience::default();
        for _ in 0..20 {
            patience.ran_out();
            patience.unreached();
            patience.reached(&reached(FAST, true));
            patience.ran_out();
            patience.reached(&reached(FAST, false));
        }
        assert_eq!(patience.limit(), PATIENCE_LEAST);
    }
}
