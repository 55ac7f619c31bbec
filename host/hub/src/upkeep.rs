//! Queues that nobody reads: what expired in them leaves, and what nobody will ever read is given up.

use std::sync::Arc;
use std::time::Duration;

use edge_core::{EndpointId, Timestamp, limits};
use edge_store::{
    Commit, CommitError, DeadLetter, DeadReason, Delivery, Progress, QueueStatus, Seq, Visible,
};

use crate::counters::add;
use crate::{Hub, Owner, Wake};

/// Entries looked at before a commit.
const BATCH: usize = 64;

/// When to look again at entries that are not on the device yet.
const NOT_YET: Duration = Duration::from_secs(1);

/// When to look again after the log took nothing.
const REFUSED: Duration = Duration::from_secs(60);

/// Why a dead letter was not put back into its queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is none with this number.
    #[error("there is no dead letter {0}")]
    Unknown(u64),
    /// The log did not take it.
    #[error(transparent)]
    Store(#[from] CommitError),
}

impl Hub {
    /// Settles what expired at the head of queues that have no reader, and gives up, as dead letters,
    /// what waits without a time to live for an endpoint that no route leads to any more. Says when to
    /// come again, if anything there ends at all. Queues that are read expire as they are read.
    ///
    /// # Errors
    /// The log did not take it; nothing is lost, come again.
    pub fn sweep(&self, now: Timestamp) -> Result<Option<Timestamp>, CommitError> {
        self.unread.begin();
        let unread = |queue: &QueueStatus| queue.depth > 0 && !self.has_reader(&queue.endpoint);
        for queue in self.log.queues().into_iter().filter(unread) {
            let routed = self.has_route(&queue.endpoint);
            match self.sweep_queue(&queue, routed, now) {
                Ok(Some(next)) => self.unread.again(next),
                Ok(None) => {}
                Err(error) => {
                    self.unread.again(now.after(REFUSED));
                    return Err(error);
                }
            }
        }
        Ok(self.unread.next())
    }

    /// When the next [`sweep`](Self::sweep) is due, if anything waits for one.
    pub fn next_sweep(&self) -> Option<Timestamp> {
        self.unread.next()
    }

    /// Whom to wake when a sweep is due sooner than [`next_sweep`](Self::next_sweep) said before: not for
    /// each message, and never while queues without a reader are empty. One waker; a later one takes its
    /// place.
    pub fn when_unread(&self, bell: Arc<dyn Wake>) {
        self.unread.set_bell(bell);
    }

    fn sweep_queue(
        &self,
        queue: &QueueStatus,
        routed: bool,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, CommitError> {
        let mut commit = Commit::new();
        let mut batch = Vec::new();
        let mut from = Seq::ZERO;
        let mut settled = 0;
        loop {
            batch.clear();
            self.log
                .read(queue.id, from, BATCH, Visible::Durable, &mut batch);
            let mut next = None;
            let mut expired = 0;
            let meter = |delivery: &Delivery| {
                let origin = &delivery.message.origin;
                self.meters.link(origin, &queue.endpoint, queue.priority)
            };
            for delivery in &batch {
                from = delivery.seq.next();
                let abandoned = delivery.message.enqueued.after(limits::TIME_TO_LIVE);
                match delivery.expiry {
                    Some(at) if at <= now => {
                        meter(delivery).expired.add(1);
                        expired += 1;
                    }
                    None if !routed && abandoned <= now => {
                        add(&self.counters.abandoned, 1);
                        meter(delivery).abandoned.add(1);
                        commit.dead_letter(DeadLetter {
                            message: delivery.message.clone(),
                            endpoint: queue.endpoint.clone(),
                            priority: queue.priority,
                            attempts: delivery.attempts,
                            reason: DeadReason::Abandoned,
                            at: now,
                        });
                    }
                    Some(at) => next = Some(at),
                    None if !routed => next = Some(abandoned),
                    // It waits for its reader, however long.
                    None => {
                        self.commit(&mut commit)?;
                        self.count_expired(&queue.endpoint, expired);
                        return Ok(None);
                    }
                }
                if next.is_some() {
                    break;
                }
                commit.progress(Progress::Settled {
                    queue: queue.id,
                    seq: delivery.seq,
                });
            }
            self.commit(&mut commit)?;
            if expired > 0 {
                self.count_expired(&queue.endpoint, expired);
            }
            if next.is_some() {
                return Ok(next);
            }
            settled += batch.len() as u64;
            if batch.len() < BATCH {
                return Ok((settled < queue.depth).then(|| now.after(NOT_YET)));
            }
        }
    }

    /// Throws away up to `max` entries of the queues of an owner that is no more. Says whether there are more.
    ///
    /// # Errors
    /// The log did not take it; come again.
    pub fn purge(&self, owner: &Owner, max: usize) -> Result<bool, CommitError> {
        let mut commit = Commit::new();
        let mut batch = Vec::new();
        for (queue, ..) in self.queues_of(owner) {
            let (room, all) = (max - batch.len(), Visible::Committed);
            self.log.read(queue, Seq::ZERO, room, all, &mut batch);
        }
        for delivery in &batch {
            commit.progress(Progress::Settled {
                queue: delivery.queue,
                seq: delivery.seq,
            });
        }
        self.commit(&mut commit)?;
        Ok(!batch.is_empty())
    }

    /// Puts a dead letter back into the queue that it came from, as new: with no tries counted and the
    /// time to live of the routes in force.
    ///
    /// # Errors
    /// It is as before.
    pub fn replay_dead_letter(&self, seq: Seq) -> Result<EndpointId, ReplayError> {
        let _one_at_a_time = self.changing();
        let letters = self.log.dead_letters(seq, 1);
        let Some((_, letter)) = letters.into_iter().find(|(found, _)| *found == seq) else {
            return Err(ReplayError::Unknown(seq.0));
        };
        let queue = self.queue(&letter.endpoint, letter.priority);
        let mut commit = Commit::new();
        let place = commit.message(edge_core::Message {
            // Or a message that was caught in a loop would be caught again at once.
            hops: 0,
            ..letter.message
        });
        let expiry = self.routing().time_to_live.map(|ttl| self.now().after(ttl));
        commit.target(place, queue, expiry);
        commit.forget_dead_letter(seq);
        self.commit(&mut commit)?;
        Ok(letter.endpoint)
    }

    /// Forgets a dead letter. Says whether there was one.
    ///
    /// # Errors
    /// It is as before.
    pub fn drop_dead_letter(&self, seq: Seq) -> Result<bool, CommitError> {
        let letters = self.log.dead_letters(seq, 1);
        if !letters.iter().any(|(found, _)| *found == seq) {
            return Ok(false);
        }
        let mut commit = Commit::new();
        commit.forget_dead_letter(seq);
        self.commit(&mut commit)?;
        Ok(true)
    }
}
