//! Who is subscribed to what, where their messages wait, and what is retained.
//!
//! ```text
//!   PUBLISH ─► tree of filters ─► places of sessions ─► a queue each, in one commit
//!                                     ▲       │ the session is over
//!                             free ◄──┴───────┴─► emptied ─► free
//! ```
//!
//! A message is in the queues of all subscribers or of none. One that is retained is published and retained
//! in one commit, under the lock of the retained names, so that who subscribes meanwhile gets it either way.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use edge_core::{ByteSize, Content, EndpointId, Priority, Timestamp, limits};
use edge_hub::{Hub, SendRefusal, Sender};
use edge_store::{Commit, CommitError, Lsn, Put, QueueId, Table};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::access::Mapped;
use super::message::{self, Post};
use crate::session::Subscribed;
use crate::tree::{Retained, Tree};

/// Most sessions, alive and asleep.
const PLACES: u32 = 65_536;
/// Most topics with a retained message.
const RETAINED: usize = 100_000;
/// Most bytes of all of them: no limit of the store's holds for them.
const RETAINED_BYTES: usize = 64 << 20;
/// Names read from the table at once.
const PAGE: usize = 1_024;

/// What the tree knows of a subscription.
#[derive(Debug, Clone, Copy)]
struct Receiver {
    queue: QueueId,
    no_local: bool,
}

/// Queues of the sessions that get a message.
pub(super) type Queues = SmallVec<[QueueId; 4]>;

/// Places that are free, and those to be emptied before.
#[derive(Debug, Default)]
struct Places {
    free: BTreeSet<u32>,
    dirty: Vec<u32>,
    /// The first that was never used.
    next: u32,
}

/// What is retained, but for the messages themselves.
#[derive(Debug, Default)]
struct Kept {
    names: Retained<KeptOne>,
    /// Bytes of all, as they are stored.
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct KeptOne {
    ends: Option<Timestamp>,
    bytes: usize,
}

impl Kept {
    fn insert(&mut self, name: &str, one: KeptOne) {
        let before = self.names.insert(name, one);
        self.bytes += one.bytes;
        self.bytes -= before.map_or(0, |before| before.bytes);
    }

    fn remove(&mut self, name: &str) {
        let before = self.names.remove(name);
        self.bytes -= before.map_or(0, |before| before.bytes);
    }

    /// Whether there is room for one more of this size, in the place of what has its name.
    fn has_room(&self, name: &str, bytes: usize) -> bool {
        match self.names.get(name) {
            Some(before) => self.bytes - before.bytes + bytes <= RETAINED_BYTES,
            None => self.names.len() < RETAINED && self.bytes + bytes <= RETAINED_BYTES,
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) hub: Arc<Hub>,
    tree: RwLock<Tree<u32, Receiver>>,
    /// Counts up when the tree changes.
    generation: AtomicU64,
    places: Mutex<Places>,
    retained: Mutex<Kept>,
    /// Places for which too much waits.
    greedy: Mutex<HashSet<u32>>,
    /// How many those are.
    greed: AtomicUsize,
    /// There is something to do for the keeper.
    chores: Arc<Notify>,
}

/// Where a topic leads.
#[derive(Debug)]
pub(super) struct Plan {
    generation: u64,
    pub(super) queues: Queues,
    pub(super) mapped: Option<Mapped>,
}

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error(transparent)]
    Refused(#[from] SendRefusal),
    /// Too much is retained.
    #[error(
        "no room for one more retained message: at most {RETAINED} are kept, with {} MiB",
        RETAINED_BYTES >> 20
    )]
    TooManyRetained,
    #[error(transparent)]
    Store(#[from] CommitError),
}

impl PostError {
    /// Whether it may go when tried again.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Refused(SendRefusal::Full) | Self::Store(_))
    }
}

impl Broker {
    /// Reads what is retained. Sessions are made known with [`restore`](Self::restore), and then
    /// [`begin`](Self::begin) says that these were all.
    pub(super) fn open(hub: Arc<Hub>, chores: Arc<Notify>) -> Self {
        let mut retained = Kept::default();
        let log = hub.log();
        let mut after: Option<Bytes> = None;
        loop {
            let page = log.keys(Table::Retained, &[], after.as_deref(), PAGE);
            for key in &page {
                let Ok(name) = std::str::from_utf8(key) else {
                    continue;
                };
                let value = log.get(Table::Retained, key);
                let bytes = value.as_ref().map_or(0, |value| value.len() + name.len());
                match value.and_then(message::kept) {
                    Some(content) => {
                        let ends = content.expiry();
                        retained.insert(name, KeptOne { ends, bytes });
                    }
                    None => {
                        tracing::warn!(topic = name, "retained message left out: it is damaged")
                    }
                }
            }
            after = page.last().cloned();
            if page.len() < PAGE {
                break;
            }
        }
        Self {
            tree: RwLock::default(),
            generation: AtomicU64::new(1),
            places: Mutex::default(),
            retained: Mutex::new(retained),
            greedy: Mutex::default(),
            greed: AtomicUsize::new(0),
            chores,
            hub,
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retained(&self) -> MutexGuard<'_, Kept> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_tree<T>(&self, look: impl FnOnce(&Tree<u32, Receiver>) -> T) -> T {
        look(&self.tree.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_tree<T>(&self, change: impl FnOnce(&mut Tree<u32, Receiver>) -> T) -> T {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut tree);
        self.generation.fetch_add(1, Ordering::Release);
        changed
    }

    // ---- sessions ----

    /// A session that is stored: its place is taken. False if it cannot be: the session is damaged.
    pub(super) fn restore(&self, place: u32, subscriptions: &[Subscribed]) -> bool {
        let mut places = self.places();
        let taken = place < places.next && !places.free.contains(&place);
        if place >= PLACES || taken {
            return false;
        }
        let next = places.next;
        places.free.extend(next..place);
        places.free.remove(&place);
        places.next = next.max(place.saturating_add(1));
        drop(places);
        for subscription in subscriptions {
            self.subscribe(place, subscription);
        }
        true
    }

    /// All sessions that are stored are known: queues of others are emptied.
    pub(super) fn begin(&self) {
        let queues = self.hub.log().queues();
        let mut places = self.places();
        for queue in queues {
            let EndpointId::Session(place) = queue.endpoint else {
                continue;
            };
            let next = places.next;
            if place >= next {
                places.free.extend(next..=place);
                places.next = place.saturating_add(1);
            }
            if queue.depth > 0 && places.free.remove(&place) {
                places.dirty.push(place);
            }
        }
        self.chores.notify_one();
    }

    /// A place for a new session; none: there are too many.
    pub(super) fn take_place(&self) -> Option<u32> {
        let mut places = self.places();
        if let Some(place) = places.free.pop_first() {
            return Some(place);
        }
        let place = places.next;
        (place < PLACES).then(|| {
            places.next += 1;
            place
        })
    }

    /// A session is over: nothing more comes to its place, and what is there is thrown away.
    pub(super) fn leave_place(&self, place: u32, subscriptions: &[Subscribed]) {
        self.change_tree(|tree| {
            for subscription in subscriptions {
                tree.remove(&subscription.filter, &place);
            }
        });
        self.greedy().remove(&place);
        self.places().dirty.push(place);
        self.chores.notify_one();
    }

    /// Looks for places for which more waits than this; whether there are any.
    pub(super) fn find_greedy(&self, limit: ByteSize) -> bool {
        let queues = self.hub.log().queues().into_iter();
        let over = queues.filter(|queue| queue.bytes > limit.0);
        let places: HashSet<_> = over
            .filter_map(|queue| match queue.endpoint {
                EndpointId::Session(place) => Some(place),
                _ => None,
            })
            .collect();
        // Those that nobody has any more are emptied already.
        let dirty: HashSet<_> = self.places().dirty.iter().copied().collect();
        let places: HashSet<_> = places.difference(&dirty).copied().collect();
        self.greed.store(places.len(), Ordering::Relaxed);
        *self.greedy() = places;
        self.greed.load(Ordering::Relaxed) > 0
    }

    /// Whether too much waited for a place when that was last looked at.
    pub(super) fn is_greedy(&self, place: u32) -> bool {
        self.greed.load(Ordering::Relaxed) > 0 && self.greedy().contains(&place)
    }

    fn greedy(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.greedy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place that is to be emptied.
    pub(super) fn next_dirty(&self) -> Option<u32> {
        self.places().dirty.pop()
    }

    /// It is empty, or is to be looked at again.
    pub(super) fn cleaned(&self, place: u32, empty: bool) {
        let mut places = self.places();
        match empty {
            true => {
                places.free.insert(place);
            }
            false => places.dirty.push(place),
        }
    }

    fn queue(&self, place: u32) -> QueueId {
        self.hub
            .queue(&EndpointId::Session(place), Priority::DEFAULT)
    }

    /// Adds a subscription, or changes it; whether it was there.
    pub(super) fn subscribe(&self, place: u32, subscription: &Subscribed) -> bool {
        let receiver = Receiver {
            queue: self.queue(place),
            no_local: subscription.no_local,
        };
        let filter = &subscription.filter;
        match self.change_tree(|tree| tree.insert(filter, place, receiver)) {
            Ok(before) => before.is_some(),
            Err(error) => {
                // Filters are checked before they are stored.
                tracing::warn!(filter, %error, "subscription left out");
                false
            }
        }
    }

    pub(super) fn unsubscribe(&self, place: u32, filter: &str) {
        self.change_tree(|tree| tree.remove(filter, &place));
    }

    // ---- messages ----

    /// Whether a plan is as the tree has it.
    pub(super) fn is_current(&self, plan: &Plan) -> bool {
        plan.generation == self.generation.load(Ordering::Acquire)
    }

    /// Where a topic leads, published by the session at `from`.
    pub(super) fn plan(&self, topic: &str, from: Option<u32>, mapped: Option<Mapped>) -> Plan {
        self.with_tree(|tree| Plan {
            // A change that comes meanwhile waits for the lock, and counts up after it.
            generation: self.generation.load(Ordering::Acquire),
            queues: receivers(tree, topic, from),
            mapped,
        })
    }

    /// Adds a message to a commit: into the queues of its plan, and into the hub if its topic is mapped.
    /// Returns the bytes that it takes.
    pub(super) fn stage(
        &self,
        sender: &mut Sender,
        commit: &mut Commit,
        post: &Post<'_>,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<usize, SendRefusal> {
        let content = Arc::new(post.content(now));
        self.stage_content(sender, commit, post, &content, plan, now)
    }

    fn stage_content(
        &self,
        sender: &mut Sender,
        commit: &mut Commit,
        post: &Post<'_>,
        content: &Arc<Content>,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<usize, SendRefusal> {
        let mut size = content.size();
        let before = commit.savepoint();
        sender.stage_to(
            commit,
            plan.queues.iter().copied(),
            content.clone(),
            expiry(content, now),
            now,
        )?;
        if let Some(mapped) = &plan.mapped {
            let content = Arc::new(post.mapped(&mapped.properties, now));
            size += content.size();
            let staged = sender.stage(commit, mapped.output.as_deref(), content, 0, now);
            staged.inspect_err(|_| commit.rollback(before))?;
        }
        Ok(size)
    }

    /// Publishes and retains a message at once, with what else `commit` holds; an empty one takes away what
    /// was retained. If the store is full nothing happened, and the commit is as it was.
    pub(super) fn retain(
        &self,
        sender: &mut Sender,
        commit: &mut Commit,
        post: &Post<'_>,
        mapped: Option<Mapped>,
        from: Option<u32>,
        now: Timestamp,
    ) -> Result<Lsn, PostError> {
        let before = commit.savepoint();
        let mut retained = self.retained();
        // Under the lock: whoever subscribes is in the tree before it looks for what is retained.
        let plan = self.plan(post.topic, from, mapped);
        let content = Arc::new(post.content(now));
        // An empty one is not kept [MQTT-3.3.1-6].
        let value = (!post.body.is_empty()).then(|| message::keep(&content));
        let one = value.as_ref().map(|value| KeptOne {
            ends: content.expiry(),
            bytes: value.len() + post.topic.len(),
        });
        if one.is_some_and(|one| !retained.has_room(post.topic, one.bytes)) {
            return Err(PostError::TooManyRetained);
        }
        self.stage_content(sender, commit, post, &content, &plan, now)?;
        if one.is_some() || retained.names.get(post.topic).is_some() {
            commit.put(Put {
                table: Table::Retained,
                key: Bytes::copy_from_slice(post.topic.as_bytes()),
                value,
            });
        }
        let lsn = match self.hub.commit(commit) {
            Ok(lsn) => lsn.unwrap_or(Lsn(0)),
            Err(error) => {
                commit.rollback(before);
                return Err(error.into());
            }
        };
        match one {
            Some(one) => retained.insert(post.topic, one),
            None => retained.remove(post.topic),
        }
        Ok(lsn)
    }

    /// Names of retained messages that a filter matches, in order, from after `after` on.
    pub(super) fn retained_names(
        &self,
        filter: &str,
        after: Option<&str>,
        max: usize,
    ) -> Vec<Box<str>> {
        let now = self.hub.now();
        let retained = self.retained();
        let names = retained.names.matching(filter, after);
        let names = names.filter(|(_, one)| one.ends.is_none_or(|ends| ends > now));
        names.map(|(name, _)| name.into()).take(max).collect()
    }

    /// What is retained under a name, to be sent as such.
    pub(super) fn retained_message(&self, name: &str) -> Option<Content> {
        let value = self.hub.log().get(Table::Retained, name.as_bytes())?;
        message::kept(value)
    }

    /// Sends a retained message to one session.
    pub(super) fn stage_retained(
        &self,
        sender: &mut Sender,
        commit: &mut Commit,
        place: u32,
        content: Content,
        now: Timestamp,
    ) -> Result<usize, SendRefusal> {
        let size = content.size();
        let ends = expiry(&content, now);
        sender.stage_to(commit, [self.queue(place)], Arc::new(content), ends, now)?;
        Ok(size)
    }

    /// Forgets what is retained and has expired. Says when the next ends.
    pub(super) fn expire_retained(&self, now: Timestamp) -> Result<Option<Timestamp>, CommitError> {
        let mut retained = self.retained();
        let all = retained.names.iter();
        let over = all.filter(|(_, one)| one.ends.is_some_and(|ends| ends <= now));
        let over: Vec<Box<str>> = over.map(|(name, _)| name.into()).collect();
        let mut commit = Commit::new();
        for name in &over {
            commit.put(Put {
                table: Table::Retained,
                key: Bytes::copy_from_slice(name.as_bytes()),
                value: None,
            });
        }
        self.hub.commit(&mut commit)?;
        for name in &over {
            retained.remove(name);
        }
        Ok(retained.names.iter().filter_map(|(_, one)| one.ends).min())
    }
}

/// The queues of the sessions that get a message.
fn receivers(tree: &Tree<u32, Receiver>, topic: &str, from: Option<u32>) -> Queues {
    let mut queues = Queues::new();
    tree.matches(topic, |place, receiver| {
        if !(receiver.no_local && from == Some(*place)) {
            queues.push(receiver.queue);
        }
    });
    queues.sort_unstable_by_key(|queue| queue.index());
    // A session with several filters that match gets it once.
    queues.dedup();
    queues
}

/// When a message is no longer worth delivering: as its sender says, and not later than any other of the hub.
fn expiry(content: &Content, now: Timestamp) -> Option<Timestamp> {
    let end = now.after(limits::TIME_TO_LIVE);
    Some(content.expiry().map_or(end, |asked| asked.min(end)))
}
