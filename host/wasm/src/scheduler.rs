//! Runs modules on a few threads: whoever has work gets a slice of a worker, in turn.
//!
//! Guests are called synchronously, so a worker is lost to a guest for as long as its call lasts. The
//! clock thread notices a worker that is stuck in one slice while others wait, and starts another
//! one; surplus workers end when there is nothing to do. So a guest that spins takes a core's share,
//! as the operating system gives it, and never the others' turn.
//!
//! ```text
//!   idle ──schedule──► queued ──worker──► running ──nothing left──► idle
//!                         ▲                  │
//!                         └─more to do───────┘   (woken while running: queued again)
//! ```
//!
//! The same clock thread advances the engines' epoch while anything runs, and wakes modules whose
//! timer or retry is due. It sleeps when nothing runs and nothing is due.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::engine::EPOCH;

/// Workers at the most, however many guests are stuck.
const MAX_WORKERS: usize = 64;
/// The clock goes on ticking this long after the last slice, so that a steady trickle of messages
/// does not pay for starting and stopping it. Not longer: what works once a second is nearly idle.
const CLOCK_LINGERS: Duration = Duration::from_millis(100);
/// A surplus worker ends after this long without work.
const WORKER_LINGERS: Duration = Duration::from_secs(5);

/// What a slice of work ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is more to do now.
    More,
    /// Nothing to do until woken, or until this time.
    Idle(Option<Instant>),
}

/// Something that works in slices, one at a time.
pub(crate) trait Task: Send + Sync + 'static {
    /// Does some work; a few milliseconds of it if there is that much.
    fn run(&self) -> Outcome;
    /// Where the scheduler keeps this task's place.
    fn place(&self) -> &Place;
    /// Whether a turn may run on the thread that woke it: it never waits.
    fn may_run_here(&self) -> bool;
}

/// A thread's own next turn, see [`Scheduler::run_here`].
#[derive(Default)]
enum Here {
    /// Tasks that this thread wakes go to the workers.
    #[default]
    Closed,
    /// The next one stays.
    Open,
    /// It is this.
    Holds(Arc<dyn Task>),
}

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here::Closed) };
}

/// Whether a task waits, runs, or has to run again; and when the clock will wake it next.
#[derive(Debug, Default)]
pub(crate) struct Place {
    state: AtomicU8,
    due: Mutex<Option<Instant>>,
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const AGAIN: u8 = 3;

/// The threads that run modules. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

/// Keeps the epoch advancing.
struct Ticking<'a>(&'a Shared);

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.tickers.fetch_sub(1, Ordering::Release);
    }
}

struct Shared {
    run: Mutex<RunQueue>,
    work: Condvar,
    clock: Mutex<Clock>,
    clock_wake: Condvar,
    clock_sleeps: AtomicBool,
    /// Slices begun, so that the clock can tell whether anything moves.
    slices: AtomicU64,
    on_tick: Box<dyn Fn() + Send + Sync>,
    base_workers: usize,
    /// How many run that are no tasks and need the ticks: services, which tokio's threads poll.
    tickers: AtomicUsize,
    /// How often one of them began to.
    polls: AtomicU64,
    closed: AtomicBool,
}

#[derive(Default)]
struct RunQueue {
    tasks: VecDeque<Arc<dyn Task>>,
    workers: usize,
    idle: usize,
}

#[derive(Default)]
struct Clock {
    due: BinaryHeap<Reverse<Due>>,
    started: bool,
}

struct Due {
    at: Instant,
    task: Weak<dyn Task>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.0.run();
        f.debug_struct("Scheduler")
            .field("queued", &run.tasks.len())
            .field("workers", &run.workers)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn run(&self) -> MutexGuard<'_, RunQueue> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a task for this thread, if it waits for one.
fn keep_here(task: &Arc<dyn Task>) -> bool {
    HERE.with(|here| {
        let mut here = here.borrow_mut();
        let keep = matches!(*here, Here::Open) && task.may_run_here();
        if keep {
            *here = Here::Holds(task.clone());
        }
        keep
    })
}

impl Scheduler {
    /// Threads start when there is work. `on_tick` is called every [`EPOCH`] while anything runs.
    pub fn new(workers: usize, on_tick: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            run: Mutex::default(),
            work: Condvar::new(),
            clock: Mutex::default(),
            clock_wake: Condvar::new(),
            clock_sleeps: AtomicBool::new(false),
            slices: AtomicU64::new(0),
            on_tick: Box::new(on_tick),
            base_workers: workers.clamp(1, MAX_WORKERS),
            tickers: AtomicUsize::new(0),
            polls: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }))
    }

    /// Gives a task a turn, soon. Waking one that waits or runs already costs next to nothing.
    pub(crate) fn wake(&self, task: &Arc<dyn Task>) {
        let place = &task.place().state;
        loop {
            let (from, to) = match place.load(Ordering::Acquire) {
                IDLE => (IDLE, QUEUED),
                RUNNING => (RUNNING, AGAIN),
                _ => return,
            };
            if place
                .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                if to == QUEUED && !keep_here(task) {
                    self.enqueue(task.clone());
                }
                return;
            }
        }
    }

    /// Does `work`, and then one turn of the first task that it woke, on this thread: waking a worker
    /// costs more than a short turn does. What is left after that turn, and every other task, goes to
    /// the workers. For threads that bring messages; not for those of an async runtime.
    pub(crate) fn run_here<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Hands the task over, whether `work` returned or panicked.
        struct Close<'a>(&'a Scheduler);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                let here = HERE.with(|here| here.take());
                if let Here::Holds(task) = here {
                    match std::thread::panicking() {
                        true => self.0.enqueue(task),
                        false => self.0.slice(task),
                    }
                }
            }
        }
        HERE.with(|here| *here.borrow_mut() = Here::Open);
        let _close = Close(self);
        work()
    }

    fn enqueue(&self, task: Arc<dyn Task>) {
        let mut run = self.0.run();
        run.tasks.push_back(task);
        if run.idle > 0 {
            drop(run);
            self.0.work.notify_one();
        } else if run.workers < self.0.base_workers {
            self.add_worker(&mut run);
        }
    }

    fn add_worker(&self, run: &mut RunQueue) {
        let scheduler = self.clone();
        let name = format!("wasm-{}", run.workers);
        let started = std::thread::Builder::new()
            .name(name)
            .spawn(move || scheduler.work());
        match started {
            Ok(_) => run.workers += 1,
            // Those that there are go on; only with none at all does nothing move.
            Err(error) => {
                tracing::error!(%error, workers = run.workers, "cannot start a worker thread")
            }
        }
    }

    fn work(&self) {
        let shared = &self.0;
        loop {
            let mut run = shared.run();
            let task = loop {
                if shared.closed.load(Ordering::Acquire) {
                    run.workers -= 1;
                    return;
                }
                if let Some(task) = run.tasks.pop_front() {
                    break task;
                }
                run.idle += 1;
                let (guard, timeout) = shared
                    .work
                    .wait_timeout(run, WORKER_LINGERS)
                    .unwrap_or_else(PoisonError::into_inner);
                run = guard;
                run.idle -= 1;
                if timeout.timed_out() && run.tasks.is_empty() && run.workers > shared.base_workers
                {
                    run.workers -= 1;
                    return;
                }
            };
            drop(run);
            self.slice(task);
        }
    }

    fn slice(&self, task: Arc<dyn Task>) {
        let first = self.0.slices.fetch_add(1, Ordering::SeqCst) == 0;
        self.start_clock(first);
        task.place().state.store(RUNNING, Ordering::Release);
        // A panic in host code ends this slice, not the worker; the task's lock tells the next one.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.run()));
        let outcome = outcome.unwrap_or_else(|_| {
            tracing::error!("a module's slice panicked");
            Outcome::Idle(None)
        });
        let place = &task.place().state;
        if let Outcome::Idle(again) = outcome {
            if let Some(at) = again {
                self.wake_at(at, &task);
            }
            let idle = place.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if idle.is_ok() {
                return;
            }
        }
        place.store(QUEUED, Ordering::Release);
        self.enqueue(task);
    }

    /// Wakes a task at a time, unless it is gone by then. One entry a task: a later one than it has
    /// is asked for again when that one has come.
    pub(crate) fn wake_at(&self, at: Instant, task: &Arc<dyn Task>) {
        let mut clock = self.0.clock();
        {
            let mut due = task
                .place()
                .due
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if due.is_some_and(|due| due <= at) {
                return;
            }
            *due = Some(at);
        }
        let earliest = clock.due.peek().is_none_or(|due| at < due.0.at);
        clock.due.push(Reverse(Due {
            at,
            task: Arc::downgrade(task),
        }));
        self.ensure_clock(&mut clock);
        if earliest {
            self.0.clock_wake.notify_one();
        }
    }

    /// Polls `work`, in which guests run, with the epoch advancing as in a slice. While it waits, the
    /// clock may sleep.
    pub(crate) async fn ticking<F: Future>(&self, work: F) -> F::Output {
        self.ensure_clock(&mut self.0.clock());
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            let _ticking = self.keep_ticking();
            work.as_mut().poll(context)
        })
        .await
    }

    /// The epoch advances also while no task runs, until what this returns is dropped.
    fn keep_ticking(&self) -> Ticking<'_> {
        self.0.tickers.fetch_add(1, Ordering::Release);
        self.0.polls.fetch_add(1, Ordering::SeqCst);
        self.start_clock(false);
        Ticking(&self.0)
    }

    fn start_clock(&self, first: bool) {
        if first {
            self.ensure_clock(&mut self.0.clock());
        }
        if self.0.clock_sleeps.swap(false, Ordering::SeqCst) {
            // Under its lock, so that the word cannot fall between its look and its sleep.
            let _clock = self.0.clock();
            self.0.clock_wake.notify_one();
        }
    }

    fn ensure_clock(&self, clock: &mut Clock) {
        if clock.started {
            return;
        }
        let scheduler = self.clone();
        let started = std::thread::Builder::new()
            .name("wasm-clock".to_owned())
            .spawn(move || scheduler.keep_time());
        match started {
            Ok(_) => clock.started = true,
            Err(error) => {
                tracing::error!(%error, "cannot start the clock thread: deadlines are not enforced")
            }
        }
    }

    fn keep_time(&self) {
        let shared = &self.0;
        let (mut seen, mut seen_polls, mut quiet_since) = (0, 0, Instant::now());
        let mut next_tick = Instant::now() + EPOCH;
        let mut clock = shared.clock();
        while !shared.closed.load(Ordering::Acquire) {
            let now = Instant::now();
            // Only the time makes an epoch pass, however often something else wakes this thread.
            let ticked = now >= next_tick;
            if ticked {
                (shared.on_tick)();
                next_tick = now + EPOCH;
            }
            while clock.due.peek().is_some_and(|due| due.0.at <= now) {
                if let Some(Reverse(due)) = clock.due.pop()
                    && let Some(task) = due.task.upgrade()
                {
                    *task
                        .place()
                        .due
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = None;
                    drop(clock);
                    self.wake(&task);
                    clock = shared.clock();
                }
            }
            let slices = shared.slices.load(Ordering::Relaxed);
            let (running, waiting) = {
                let run = shared.run();
                (run.workers > run.idle, !run.tasks.is_empty())
            };
            let polls = shared.polls.load(Ordering::Relaxed);
            let polled = polls != seen_polls || shared.tickers.load(Ordering::Acquire) > 0;
            seen_polls = polls;
            if running || polled || slices != seen {
                quiet_since = now;
            }
            if ticked && waiting && slices == seen {
                // A whole tick without a new slice while somebody waits: every worker is stuck.
                let mut run = shared.run();
                if run.idle == 0 && run.workers < MAX_WORKERS {
                    self.add_worker(&mut run);
                }
            }
            if ticked {
                seen = slices;
            }
            let until_due = clock
                .due
                .peek()
                .map(|due| due.0.at.saturating_duration_since(now));
            let quiet = now.duration_since(quiet_since) >= CLOCK_LINGERS;
            let wait = match (quiet, until_due) {
                (false, due) => {
                    let tick = next_tick.saturating_duration_since(now);
                    due.map_or(tick, |due| due.min(tick))
                }
                (true, Some(due)) => due,
                (true, None) => Duration::from_secs(3600),
            };
            if quiet {
                // In one order with what `start_clock` and its callers do: either they see the flag, or
                // this thread sees what has begun since its look.
                shared.clock_sleeps.store(true, Ordering::SeqCst);
                if shared.slices.load(Ordering::SeqCst) != slices
                    || shared.polls.load(Ordering::SeqCst) != polls
                {
                    shared.clock_sleeps.store(false, Ordering::SeqCst);
                    continue;
                }
            }
            clock = shared
                .clock_wake
                .wait_timeout(clock, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Ends all threads after the slices that they are in.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.work.notify_all();
        self.0.clock_wake.notify_all();
    }
}

#[cfg(test)]
mod tests;
