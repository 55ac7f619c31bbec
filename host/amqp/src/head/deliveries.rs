//! What is routed to a module's inputs or sent to a device, as far as window and credit go.
//!
//! ```text
//!   inbox ─► window open? ─► transfer, when there is credit ─► accepted: handled
//!                                                             rejected: dead letter
//!                                                             released, modified: again, and first
//! ```
//!
//! A delivery that comes again does so before those behind it in its queue that were not sent yet. Those that
//! were are with the peer already and are not sent twice.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use edge_core::{Identity, Timestamp};
use edge_heads::Bell;
use edge_hub::{DurableWaker, Hub, Inbox, Owner};
use edge_store::{Commit, DeadReason, Delivery, QueueId, Seq, Visible};
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::{SendError, Sender};
use fe2o3_amqp_types::messaging::Outcome;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;

use super::client::{Common, Ending, refuse, told};
use super::condition::Refusal;
use crate::message::{self, Purpose};

/// Bytes of messages that may be with the peer, beyond the first of them.
const FLIGHT_BYTES: usize = 2 << 20;
/// Deliveries taken from queues at a time.
const TAKE: usize = 64;

/// A delivery and what its peer says of it.
type Settled = (Delivery, Result<Outcome, SendError>);
type Flight = Pin<Box<dyn Future<Output = Settled> + Send>>;

/// An inbox that is nobody's any more when this is dropped.
struct Reading {
    hub: Arc<Hub>,
    owner: Owner,
    waker: Arc<DurableWaker>,
    inbox: Inbox,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.hub.detach_reader(&self.owner, &self.waker);
    }
}

struct Deliveries {
    common: Arc<Common>,
    reading: Reading,
    bell: Arc<Bell>,
    progress: Commit,
    /// With the peer.
    flights: FuturesUnordered<Flight>,
    sent: HashSet<(QueueId, Seq)>,
    sent_bytes: usize,
    /// Taken and not sent, in the order in which they go.
    ready: VecDeque<Delivery>,
    /// The queue that has to begin anew, since the last commit.
    came_back: Option<QueueId>,
    taken: Vec<Delivery>,
}

/// Serves a link until it ends.
pub(super) async fn serve(common: Arc<Common>, mut sender: Sender, mut ending: Ending) {
    let refusal = tokio::select! {
        ended = run(&common, &mut sender) => match ended {
            Ok(()) => return,
            Err(refusal) => refusal,
        },
        refusal = told(&mut ending) => refusal,
    };
    refuse(LinkEndpoint::Sender(sender), refusal).await;
}

/// Ends when the peer ends the link, or with what it is told.
async fn run(common: &Arc<Common>, sender: &mut Sender) -> Result<(), Refusal> {
    // The link before this one may still be reading.
    let _turn = common.reading.lock().await;
    let hub = &common.config.hub;
    let owner = match &common.identity {
        Identity::Device(device) => Owner::Device(device.clone()),
        Identity::Module(device, module) if device == hub.device() => Owner::Module(module.clone()),
        // Modules of other devices have no inputs here.
        Identity::Module(..) => {
            sender.on_detach().await;
            return Ok(());
        }
    };
    let bell = Arc::<Bell>::default();
    let waker = DurableWaker::new(bell.clone());
    let inbox = hub.inbox_of(owner.clone(), &waker, Visible::Durable);
    let mut deliveries = Deliveries {
        common: common.clone(),
        reading: Reading {
            hub: hub.clone(),
            owner,
            waker,
            inbox,
        },
        bell,
        progress: Commit::new(),
        flights: FuturesUnordered::new(),
        sent: HashSet::new(),
        sent_bytes: 0,
        ready: VecDeque::new(),
        came_back: None,
        taken: Vec::new(),
    };
    deliveries.run(sender).await
}

/// Sleeps for a span; without one, for ever.
async fn until(span: Option<Duration>) {
    match span {
        Some(span) => sleep(span).await,
        None => std::future::pending().await,
    }
}

impl Deliveries {
    async fn run(&mut self, sender: &mut Sender) -> Result<(), Refusal> {
        loop {
            // First: what was accepted is not to be read again behind one that came back.
            self.commit()?;
            let again = self.take();
            if self.has_room()
                && let Some(delivery) = self.ready.pop_front()
            {
                if !self.send(sender, delivery).await? {
                    return self.commit();
                }
                // There may be more, or one that goes before it.
                continue;
            }
            let wait = again.map(|at| at.since(self.common.config.hub.now()));
            tokio::select! {
                biased;
                Some(settled) = self.flights.next() => self.settle(settled),
                () = self.bell.rung() => {}
                () = until(wait) => {}
                error = sender.on_detach() => {
                    tracing::debug!(client = %self.common.identity, %error, "link of deliveries ended");
                    return self.commit();
                }
            }
            // Outcomes come in ranges: all that are there go into one commit.
            while let Some(Some(settled)) = self.flights.next().now_or_never() {
                self.settle(settled);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.sent.len() < self.common.window as usize
            && (self.sent_bytes < FLIGHT_BYTES || self.sent.is_empty())
    }

    /// Takes from the queues what the window has room for; when to look again.
    fn take(&mut self) -> Option<Timestamp> {
        if !self.ready.is_empty() || !self.has_room() {
            return None;
        }
        let now = self.common.config.hub.now();
        loop {
            let mut taken = std::mem::take(&mut self.taken);
            let again = self
                .reading
                .inbox
                .take(TAKE, now, &mut taken, &mut self.progress);
            let nothing = taken.is_empty();
            // What the peer has already is behind one that came back.
            let sent = &self.sent;
            let fresh = taken.drain(..);
            let fresh = fresh.filter(|delivery| !sent.contains(&(delivery.queue, delivery.seq)));
            self.ready.extend(fresh);
            self.taken = taken;
            if nothing || !self.ready.is_empty() {
                return again;
            }
        }
    }

    /// Sends one delivery as soon as there is credit; false if the link is over.
    async fn send(&mut self, sender: &mut Sender, delivery: Delivery) -> Result<bool, Refusal> {
        let content = &delivery.message.content;
        let purpose = match &self.common.identity {
            Identity::Device(_) => Purpose::DeviceBound,
            Identity::Module(..) => Purpose::Input {
                input: self.reading.inbox.input(&delivery),
                origin: &delivery.message.origin,
            },
        };
        let message = message::write(content, purpose);
        let (place, bytes) = ((delivery.queue, delivery.seq), content.size());
        let now = self.common.config.hub.now();
        let left = delivery.expiry.map(|at| at.since(now));
        let sending = sender.send_batchable(message);
        tokio::pin!(sending);
        let sent = loop {
            tokio::select! {
                biased;
                // First: what comes back with new credit goes before what waited for it.
                Some(settled) = self.flights.next() => {
                    self.settle(settled);
                    let came_back = self.came_back;
                    self.commit()?;
                    if came_back == Some(delivery.queue) {
                        // One before it goes first; it is read again after that.
                        return Ok(true);
                    }
                }
                sent = &mut sending => break sent,
                // Credit may come after its time to live has ended.
                () = until(left) => {
                    self.reading.inbox.expired(&delivery, &mut self.progress);
                    return Ok(true);
                }
            }
        };
        let now = self.common.config.hub.now();
        match sent {
            Ok(outcome) => {
                self.sent.insert(place);
                self.sent_bytes += bytes;
                self.flights
                    .push(Box::pin(async move { (delivery, outcome.await) }));
                Ok(true)
            }
            Err(error @ (SendError::MessageSizeExceeded(_) | SendError::MessageEncodeError)) => {
                tracing::warn!(client = %self.common.identity, %error, "message put with the dead letters");
                let why = DeadReason::Rejected(error.to_string());
                let (inbox, progress) = (&mut self.reading.inbox, &mut self.progress);
                inbox.dead(&delivery, why, now, progress);
                Ok(true)
            }
            Err(error) => {
                tracing::debug!(client = %self.common.identity, %error, "link of deliveries ended");
                Ok(false)
            }
        }
    }

    /// Takes up what the peer says of a delivery.
    fn settle(&mut self, (delivery, outcome): Settled) {
        self.sent.remove(&(delivery.queue, delivery.seq));
        self.sent_bytes -= delivery.message.content.size();
        let now = self.common.config.hub.now();
        let (inbox, progress) = (&mut self.reading.inbox, &mut self.progress);
        let rejected = |why: String| DeadReason::Rejected(format!("the client answered: {why}"));
        match outcome {
            Ok(Outcome::Accepted(_)) => inbox.handled(&delivery, progress),
            Ok(Outcome::Rejected(outcome)) => {
                let why = match outcome.error {
                    Some(error) => {
                        let said = error.description.unwrap_or_default();
                        format!("{:?} {said}", error.condition)
                    }
                    None => "rejected".to_owned(),
                };
                inbox.dead(&delivery, rejected(why), now, progress);
            }
            Ok(Outcome::Modified(outcome)) if outcome.undeliverable_here == Some(true) => {
                let why = rejected("undeliverable here".to_owned());
                inbox.dead(&delivery, why, now, progress);
            }
            Ok(Outcome::Released(_) | Outcome::Modified(_))
            | Err(SendError::NonTerminalDeliveryState | SendError::IllegalDeliveryState) => {
                inbox.retry(&delivery, None, false, now, progress);
                self.ready.retain(|ready| ready.queue != delivery.queue);
                self.came_back = Some(delivery.queue);
            }
            // The link is over: it comes again with the next one.
            Err(_) => {}
        }
    }

    /// Commits how far the peer has got.
    fn commit(&mut self) -> Result<(), Refusal> {
        self.came_back = None;
        match self.common.config.hub.commit(&mut self.progress) {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::internal(error)),
        }
    }
}
