//! The hub itself: what everybody shares.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use edge_core::{
    ByteSize, DeviceId, EndpointId, Identity, MessageId, Origin, Priority, Timestamp, limits,
};
use edge_route::{RouteEntry, RouteTable};
use edge_store::{
    Commit, CommitError, DeadLetter, Durable, Lsn, MessageLog, Pressure, QueueId, Visible,
};
use smallvec::SmallVec;

use crate::counters::{Counters, add};
use crate::durable::{Awaiting, DurableWaker};
use crate::meters::Meters;
use crate::taps::Taps;
use crate::twins::{ReportListener, TwinListeners, reporters};
use crate::unread::Unread;
use crate::{Clock, Inbox, Methods, Owner, Sender, SystemClock, Tap};

/// Called when there is something new to read. Must not block and must not call back into the hub.
pub trait Wake: Send + Sync {
    /// Entries arrived in a queue of the inbox that this waker was registered with.
    fn wake(&self);
}

/// Hears of messages that left their queue unhandled, after the fact is committed, and of those that came into none.
/// Must not block.
pub trait Observer: Send + Sync {
    /// No route takes the messages of an output: told with the first of them.
    fn unrouted(&self, _origin: &Origin) {}
    /// A message became a dead letter.
    fn dead_lettered(&self, _letter: &DeadLetter) {}
    /// Entries of an endpoint expired.
    fn expired(&self, _endpoint: &EndpointId, _count: usize) {}
}

/// Settings of a hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// This device.
    pub device: DeviceId,
    /// Largest message.
    pub message_limit: ByteSize,
    /// Largest twin section.
    pub twin_limit: ByteSize,
    /// Largest payload of a method.
    pub method_limit: ByteSize,
}

impl HubConfig {
    /// The default limits for a device.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            message_limit: limits::MESSAGE,
            twin_limit: limits::TWIN,
            method_limit: limits::METHOD,
        }
    }
}

/// The routes in force, with the queue of each.
pub(crate) struct Routing {
    pub(crate) table: RouteTable,
    pub(crate) queues: Vec<QueueId>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) generation: u64,
}

/// Shared by all senders and inboxes; cheap to clone as an `Arc`.
pub struct Hub {
    pub(crate) config: HubConfig,
    pub(crate) log: Arc<dyn MessageLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Counters,
    pub(crate) meters: Arc<Meters>,
    pub(crate) unread: Unread,
    pub(crate) methods: Methods,
    pub(crate) twin_listeners: RwLock<TwinListeners>,
    observer: Option<Box<dyn Observer>>,
    pub(crate) reports: ArcSwapOption<Arc<dyn ReportListener>>,
    routing: ArcSwap<Routing>,
    readers: RwLock<Readers>,
    /// Who is to be woken when the commits that they wait for are on the device.
    awaiting: Awaiting,
    /// The newest commit of this process.
    newest: AtomicU64,
    /// Held from reading a twin or a dead letter to the commit that changes it.
    changing: Mutex<()>,
    pub(crate) taps: Taps,
    /// Counts up whenever a queue or a waker is added, so that inboxes look again.
    pub(crate) layout: AtomicU64,
    start: u64,
    count: AtomicU64,
    progress: Progress,
}

/// Lets callers wait for commits; costs a commit one load while nobody does.
#[derive(Default)]
struct Progress {
    waiters: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Progress {
    fn notify(&self) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    fn wait(&self, done: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
        // Looks again now and then whatever happens: the cost is nothing, and a waiter cannot hang.
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = loop {
            if done() {
                break true;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break false;
            }
            let wait = left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
            guard = self
                .changed
                .wait_timeout(guard, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        reached
    }
}

/// Who reads what. Every queue is known here before anything is put in it.
#[derive(Default)]
struct Readers {
    owners: HashMap<Owner, Owned>,
    by_queue: Vec<Slot>,
}

/// The queues of one owner, and who reads them.
#[derive(Default)]
struct Owned {
    reader: Option<Reader>,
    queues: Vec<(QueueId, EndpointId, Priority)>,
}

impl Readers {
    /// Takes up a queue. They come in the order of their numbers, without gaps.
    fn learn(&mut self, id: QueueId, endpoint: &EndpointId, priority: Priority, routed: bool) {
        let owned = self.owners.entry(Owner::of(endpoint)).or_default();
        owned.queues.push((id, endpoint.clone(), priority));
        self.by_queue.push(match &owned.reader {
            Some(reader) => Slot::Read(reader.clone()),
            None => Slot::Unread { routed },
        });
    }
}

/// Who is to know of new entries of a queue.
enum Slot {
    Read(Reader),
    /// The sweeper, if they end; without a time to live only those to which no route leads do.
    Unread {
        routed: bool,
    },
}

/// A queue into which a commit puts something.
struct Grown {
    queue: QueueId,
    /// When the first of it ends.
    ends: Timestamp,
    /// Whether some of it has no end.
    endless: bool,
}

const ENDLESS: Timestamp = Timestamp(u64::MAX);

#[derive(Clone)]
struct Reader {
    waker: Arc<DurableWaker>,
    visible: Visible,
    /// A client that waits for what is durable: commits with something for it go to the device at once. The parent
    /// takes batches, and is not waited for.
    is_waiting: bool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("config", &self.config)
            .field("log", &self.log)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub over a log, without routes.
    pub fn new(config: HubConfig, log: Arc<dyn MessageLog>) -> Arc<Self> {
        Self::with(config, log, Arc::new(SystemClock), None)
    }

    /// A hub with a clock and an observer of one's own.
    pub fn with(
        config: HubConfig,
        log: Arc<dyn MessageLog>,
        clock: Arc<dyn Clock>,
        observer: Option<Box<dyn Observer>>,
    ) -> Arc<Self> {
        // Random, because a clock that was set back must not bring the ids of an earlier start again.
        let start = getrandom::u64().unwrap_or_else(|_| clock.now().0);
        let hub = Arc::new_cyclic(|me: &Weak<Self>| {
            let me = me.clone();
            log.when_durable(Box::new(move |lsn| {
                if let Some(hub) = me.upgrade() {
                    hub.awaiting.wake(lsn);
                }
            }));
            let meters = Arc::<Meters>::default();
            Self {
                methods: Methods::new(config.method_limit, meters.clone()),
                counters: Counters::new(meters.clone()),
                meters,
                unread: Unread::default(),
                config,
                log,
                clock,
                observer,
                reports: ArcSwapOption::empty(),
                twin_listeners: RwLock::default(),
                routing: ArcSwap::from_pointee(Routing {
                    table: RouteTable::new(Vec::new()),
                    queues: Vec::new(),
                    time_to_live: Some(limits::TIME_TO_LIVE),
                    generation: 0,
                }),
                readers: RwLock::default(),
                awaiting: Awaiting::default(),
                newest: AtomicU64::new(0),
                changing: Mutex::default(),
                taps: Taps::default(),
                layout: AtomicU64::new(0),
                start,
                count: AtomicU64::new(0),
                progress: Progress::default(),
            }
        });
        // What was stored by an earlier process is in queues that this one has not named yet.
        hub.refresh_readers();
        hub
    }

    /// This device.
    pub fn device(&self) -> &DeviceId {
        &self.config.device
    }

    /// The largest message that it takes, body and properties together.
    pub fn message_limit(&self) -> ByteSize {
        self.config.message_limit
    }

    /// The log under it.
    pub fn log(&self) -> &Arc<dyn MessageLog> {
        &self.log
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The same by who and where, with durations.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Direct methods.
    pub fn methods(&self) -> &Methods {
        &self.methods
    }

    /// Now, by the hub's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How full the log is.
    pub fn pressure(&self) -> Pressure {
        self.log.pressure()
    }

    /// Puts new routes in force, all at once. Messages already in queues stay there.
    pub fn set_routes(&self, table: RouteTable, time_to_live: Option<Duration>) {
        let queue = |entry: &RouteEntry| {
            self.queue(&EndpointId::from(entry.route.endpoint()), entry.priority)
        };
        let queues = table.entries().map(queue).collect();
        let generation = self.routing.load().generation + 1;
        self.routing.store(Arc::new(Routing {
            table,
            queues,
            time_to_live,
            generation,
        }));
        self.refresh_readers();
    }

    pub(crate) fn routing(&self) -> arc_swap::Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// The routes in force, with their counters.
    pub fn with_routes<T>(&self, look: impl FnOnce(&RouteTable) -> T) -> T {
        look(&self.routing.load().table)
    }

    /// Lets an identity send. Whoever makes a sender has proved who it is.
    pub fn sender(self: &Arc<Self>, identity: Identity) -> Sender {
        Sender::new(self.clone(), identity)
    }

    /// Reads what is routed to an owner. One inbox per owner; a later one takes the waker's place.
    /// Whoever has effects outside the log reads what is durable only, so that nobody outside sees a
    /// message that a crash takes back.
    pub fn inbox(self: &Arc<Self>, owner: Owner, waker: Arc<dyn Wake>, visible: Visible) -> Inbox {
        self.inbox_of(owner, &DurableWaker::new(waker), visible)
    }

    /// The same for somebody who also waits for commits of their own.
    pub fn inbox_of(
        self: &Arc<Self>,
        owner: Owner,
        waker: &Arc<DurableWaker>,
        visible: Visible,
    ) -> Inbox {
        self.write_readers(|readers| {
            let Readers { owners, by_queue } = readers;
            let owned = owners.entry(owner.clone()).or_default();
            let reader = Reader {
                waker: waker.clone(),
                visible,
                is_waiting: visible == Visible::Durable && owner != Owner::Upstream,
            };
            for (queue, ..) in &owned.queues {
                by_queue[queue.index()] = Slot::Read(reader.clone());
            }
            owned.reader = Some(reader);
        });
        self.layout.fetch_add(1, Ordering::Release);
        waker.wake();
        if visible == Visible::Durable {
            // What was committed before somebody looked for it here becomes durable without a word.
            let newest = self.newest_lsn();
            self.hurry(newest);
            self.wake_when_durable(newest, waker);
        }
        Inbox::new(self.clone(), owner, visible)
    }

    /// Whether anybody reads the queues of an endpoint.
    pub fn has_reader(&self, endpoint: &EndpointId) -> bool {
        let owner = Owner::of(endpoint);
        self.read_readers(|readers| {
            let owned = readers.owners.get(&owner);
            owned.is_some_and(|owned| owned.reader.is_some())
        })
    }

    /// Whether a route leads to an endpoint, or something else does that is no route: messages to devices
    /// and to sessions wait for them.
    pub fn has_route(&self, endpoint: &EndpointId) -> bool {
        if let EndpointId::Device(_) | EndpointId::Session(_) = endpoint {
            return true;
        }
        let routing = self.routing();
        let mut endpoints = routing.table.entries().map(|entry| entry.route.endpoint());
        endpoints.any(|known| EndpointId::from(known) == *endpoint)
    }

    /// Resolves when a commit is on the device, and may be told to the outside.
    pub fn durable(&self, lsn: Lsn) -> Durable<'_> {
        self.log.durable(lsn)
    }

    /// The newest commit of this process, on the device or not.
    pub fn newest_lsn(&self) -> Lsn {
        Lsn(self.newest.load(Ordering::SeqCst))
    }

    /// The newest commit that is on the device, and with it all before.
    pub fn durable_lsn(&self) -> Lsn {
        self.log.durable_lsn()
    }

    /// Somebody outside waits for a commit: it goes to the device as soon as that is free.
    pub fn hurry(&self, lsn: Lsn) {
        self.log.hurry(lsn);
    }

    /// Wakes somebody whenever more commits are on the device, until this one is.
    pub fn wake_when_durable(&self, lsn: Lsn, waiting: &Arc<DurableWaker>) {
        self.awaiting.add(lsn, waiting, || self.log.durable_lsn());
    }

    /// Tells a tap of every message that is committed from now on, until [`remove_tap`](Self::remove_tap).
    pub fn add_tap(&self, tap: Arc<dyn Tap>) {
        self.taps.add(tap);
    }

    /// Tells a tap nothing more.
    pub fn remove_tap(&self, tap: &Arc<dyn Tap>) {
        self.taps.remove(tap);
    }

    /// No longer wakes the reader of an owner. Its queues stay.
    pub fn detach(&self, owner: &Owner) {
        self.detach_if(owner, |_| true);
    }

    /// The same, unless somebody else has become its reader since.
    pub fn detach_reader(&self, owner: &Owner, waker: &Arc<DurableWaker>) {
        self.detach_if(owner, |reader| Arc::ptr_eq(&reader.waker, waker));
    }

    fn detach_if(&self, owner: &Owner, is_meant: impl FnOnce(&Reader) -> bool) {
        self.write_readers(|readers| {
            let Readers { owners, by_queue } = readers;
            let Some(owned) = owners.get_mut(owner) else {
                return;
            };
            if !owned.reader.as_ref().is_some_and(is_meant) {
                return;
            }
            owned.reader = None;
            for (queue, endpoint, _) in &owned.queues {
                let routed = self.has_route(endpoint);
                by_queue[queue.index()] = Slot::Unread { routed };
            }
        });
        // What waits for it may end before it comes back.
        self.unread.ends(Timestamp(0));
    }

    fn write_readers<T>(&self, change: impl FnOnce(&mut Readers) -> T) -> T {
        change(&mut self.readers.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings what is known of queues up to date after routes changed, or another hand made queues.
    pub(crate) fn refresh_readers(&self) {
        self.write_readers(|readers| {
            // Listed under the lock: an older list must not take the place of a newer one.
            let queues = self.log.queues();
            readers.by_queue.clear();
            for owned in readers.owners.values_mut() {
                owned.queues.clear();
            }
            for queue in &queues {
                let routed = self.has_route(&queue.endpoint);
                readers.learn(queue.id, &queue.endpoint, queue.priority, routed);
            }
        });
        self.layout.fetch_add(1, Ordering::Release);
        let wakers: Vec<_> = self.read_readers(|readers| {
            let all = readers.owners.values();
            all.filter_map(|owned| owned.reader.clone()).collect()
        });
        wakers.iter().for_each(|reader| reader.waker.wake());
    }

    /// The queues of an owner.
    pub(crate) fn queues_of(&self, owner: &Owner) -> Vec<(QueueId, EndpointId, Priority)> {
        self.read_readers(|readers| {
            let owned = readers.owners.get(owner);
            owned.map_or_else(Vec::new, |owned| owned.queues.clone())
        })
    }

    fn read_readers<T>(&self, look: impl FnOnce(&Readers) -> T) -> T {
        look(&self.readers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends a commit, wakes who is to read of it, and empties it.
    ///
    /// # Errors
    /// Nothing happened then; the commit is as it was.
    pub fn commit(&self, commit: &mut Commit) -> Result<Option<Lsn>, CommitError> {
        if commit.is_empty() {
            commit.clear();
            return Ok(None);
        }
        let mut grown: SmallVec<[Grown; 8]> = SmallVec::new();
        for target in commit.targets() {
            let ends = target.expiry.unwrap_or(ENDLESS);
            match grown.iter_mut().find(|grown| grown.queue == target.queue) {
                Some(grown) => {
                    grown.ends = grown.ends.min(ends);
                    grown.endless |= ends == ENDLESS;
                }
                None => grown.push(Grown {
                    queue: target.queue,
                    ends,
                    endless: ends == ENDLESS,
                }),
            }
        }
        let dead: SmallVec<[DeadLetter; 0]> = match &self.observer {
            Some(_) => commit.dead_letters().iter().cloned().collect(),
            None => SmallVec::new(),
        };
        let tapped = self.taps.taken_from(commit);
        let reports = self.reports.load();
        let reported = match &*reports {
            Some(_) => reporters(commit),
            None => SmallVec::new(),
        };
        let lsn = match self.log.commit(commit) {
            Ok(lsn) => lsn,
            Err(error) => {
                self.count_refused(commit, &error);
                return Err(error);
            }
        };
        self.newest.fetch_max(lsn.0, Ordering::SeqCst);
        if !grown.is_empty() {
            let mut ends = ENDLESS;
            let readers: SmallVec<[Reader; 8]> = self.read_readers(|readers| {
                let mut reader = |grown: &Grown| match readers.by_queue.get(grown.queue.index())? {
                    Slot::Read(reader) => Some(reader.clone()),
                    Slot::Unread { routed } => {
                        ends = ends.min(grown.ends);
                        if grown.endless && !routed {
                            ends = ends.min(self.now().after(limits::TIME_TO_LIVE));
                        }
                        None
                    }
                };
                grown.iter().filter_map(&mut reader).collect()
            });
            if ends < ENDLESS {
                self.unread.ends(ends);
            }
            if readers.iter().any(|reader| reader.is_waiting) {
                self.hurry(lsn);
            }
            for reader in readers {
                match reader.visible {
                    Visible::Committed => reader.waker.wake(),
                    Visible::Durable => self.wake_when_durable(lsn, &reader.waker),
                }
            }
        }
        if let Some(tapped) = tapped {
            self.taps.tell(&tapped);
        }
        if let Some(listener) = &*reports {
            reported
                .iter()
                .for_each(|identity| listener.reported_changed(identity));
        }
        if let Some(observer) = &self.observer {
            dead.iter()
                .for_each(|letter| observer.dead_lettered(letter));
        }
        if self.progress.waiters.load(Ordering::SeqCst) > 0 {
            self.progress.notify();
        }
        Ok(Some(lsn))
    }

    /// Their senders know; what is sent again is counted again.
    fn count_refused(&self, commit: &Commit, error: &CommitError) {
        for (_, message) in commit.messages() {
            let meter = self.meters.outputs.get(&message.origin);
            match error {
                CommitError::Full { .. } => meter.not_stored_full.add(1),
                CommitError::Failed(_) => meter.not_stored_failed.add(1),
            }
        }
    }

    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the queues hold at most `waiting` entries and the log has room, or until
    /// `deadline`. Says whether it came to that.
    pub fn wait_until_at_most(&self, waiting: u64, deadline: Option<Instant>) -> bool {
        let done = || {
            let pressure = self.log.pressure();
            pressure.waiting <= waiting && !pressure.is_high()
        };
        done() || self.progress.wait(done, deadline)
    }

    /// The queue of an endpoint, made if need be.
    pub fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId {
        let owner = Owner::of(endpoint);
        let known = self.read_readers(|readers| {
            let queues = &readers.owners.get(&owner)?.queues;
            let mut same = queues
                .iter()
                .filter(|(_, e, p)| e == endpoint && *p == priority);
            same.next().map(|(id, ..)| *id)
        });
        if let Some(id) = known {
            return id;
        }
        let (id, in_order) = self.write_readers(|readers| {
            let id = self.log.queue(endpoint, priority);
            let in_order = id.index() == readers.by_queue.len();
            if in_order {
                readers.learn(id, endpoint, priority, self.has_route(endpoint));
            }
            (id, in_order)
        });
        match in_order {
            true => {
                self.layout.fetch_add(1, Ordering::Release);
            }
            false => self.refresh_readers(),
        }
        id
    }

    /// Whether a message was taken in since this start of the hub.
    pub fn is_of_this_start(&self, id: MessageId) -> bool {
        id.start == self.start
    }

    pub(crate) fn next_id(&self) -> MessageId {
        MessageId {
            start: self.start,
            count: self.count.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(crate) fn observer(&self) -> Option<&dyn Observer> {
        self.observer.as_deref()
    }

    pub(crate) fn count_expired(&self, endpoint: &EndpointId, count: usize) {
        add(&self.counters.expired, count);
        if let Some(observer) = &self.observer {
            observer.expired(endpoint, count);
        }
    }
}
