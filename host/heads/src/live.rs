//! Who is connected, by client id: one connection at a time.
//!
//! ```text
//!   newcomer ── nobody there ─────────────────────────────────► seated
//!       │
//!       └ somebody there ─ often lately? ─ wait ─► told to go ─► gone ─► seated
//!                                            │                     └ not in time ─► refused, for now
//!                                            └ a newer newcomer ─► refused
//! ```
//!
//! The newest wins [MQTT-3.1.4-2], but two programs that fight over one identity win turns that grow
//! longer: from the fourth take-over within a minute on, a newcomer waits, up to half a minute, while the
//! one that is there goes on working.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::Bell;

/// Take-overs that nobody waits for.
const FREE: u32 = 3;
/// The wait of the first one after that; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait: less than the 60 s after which SDKs give up on CONNACK.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Take-overs are forgotten when there was none for so long.
const PEACE: Duration = Duration::from_secs(60);
/// Fights that are remembered; past that the oldest are forgotten.
const FIGHTS: usize = 1_024;
/// A connection that was told to go is gone by then.
const GRACE: Duration = Duration::from_secs(5);

/// Why a newcomer is not seated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSeat {
    /// A newer one came while it waited.
    Superseded,
    /// The old connection does not end.
    Stuck,
}

/// Told to a connection from outside.
#[derive(Debug, Default)]
pub struct Handle {
    told: Mutex<Told>,
    bell: Arc<Bell>,
}

/// What a connection was told since it last looked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Another connection has its client id now.
    pub go: bool,
    /// What is known of its identity has changed.
    pub recheck: bool,
}

impl Handle {
    /// Rings this bell when there is something to be told.
    pub fn new(bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            bell,
        })
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.ring();
    }

    /// Resolves when it was told something.
    pub async fn rung(&self) {
        self.bell.rung().await;
    }

    /// Rung when it was told something.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// What it is to do, told once.
    pub fn told(&self) -> Told {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Entry {
    number: u64,
    handle: Arc<Handle>,
    gone: Arc<Notify>,
}

#[derive(Debug)]
struct Fight {
    count: u32,
    last: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    seated: HashMap<Arc<str>, Entry>,
    /// The newest of the newcomers that wait.
    next: HashMap<Arc<str>, u64>,
    fights: HashMap<Arc<str>, Fight>,
}

/// All live connections of one kind.
#[derive(Debug, Default)]
pub struct Live {
    inner: Mutex<Inner>,
    number: AtomicU64,
    taken_over: AtomicU64,
}

/// A client id that belongs to a connection until this is dropped.
#[derive(Debug)]
pub struct Seat {
    live: Arc<Live>,
    client: Arc<str>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.live.lock();
        if let Some(entry) = inner.seated.get(&self.client)
            && entry.number == self.number
        {
            let gone = entry.gone.clone();
            inner.seated.remove(&self.client);
            gone.notify_waiters();
        }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that gave way to another one.
    pub fn taken_over(&self) -> u64 {
        self.taken_over.load(Ordering::Relaxed)
    }

    /// Whether somebody is connected as a client.
    pub fn is_connected(&self, client: &str) -> bool {
        self.lock().seated.contains_key(client)
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.lock().seated.len()
    }

    /// Seats a newcomer, in the place of whoever has its client id.
    ///
    /// # Errors
    /// It was not seated; whoever is there goes on.
    pub async fn enter(
        self: &Arc<Self>,
        client: &Arc<str>,
        handle: &Arc<Handle>,
    ) -> Result<Seat, NoSeat> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let mut waited = false;
        loop {
            let (gone, told, wait) = {
                let mut inner = self.lock();
                let inner = &mut *inner;
                let next = inner.next.get(client).copied().unwrap_or_default();
                if next > number {
                    return Err(NoSeat::Superseded);
                }
                let Some(entry) = inner.seated.get(client) else {
                    inner.next.remove(client);
                    let entry = Entry {
                        number,
                        handle: handle.clone(),
                        gone: Arc::default(),
                    };
                    inner.seated.insert(client.clone(), entry);
                    return Ok(Seat {
                        live: self.clone(),
                        client: client.clone(),
                        number,
                    });
                };
                inner.next.insert(client.clone(), number);
                let wait = match waited {
                    true => Duration::ZERO,
                    false => turn(&mut inner.fights, client, Instant::now()),
                };
                (entry.gone.clone(), entry.handle.clone(), wait)
            };
            let left = gone.notified();
            tokio::pin!(left);
            // From here on a notification is not missed.
            left.as_mut().enable();
            if !wait.is_zero() {
                tracing::warn!(
                    %client,
                    wait = %edge_core::format_duration(wait),
                    "two programs connect with one identity: the newcomer waits"
                );
                waited = true;
                // Whether it leaves by itself or the time is up: look again.
                let _ = timeout(wait, left).await;
                continue;
            }
            if !self.is_seated(client, &told) {
                continue;
            }
            told.tell(|told| told.go = true);
            self.taken_over.fetch_add(1, Ordering::Relaxed);
            if timeout(GRACE, left).await.is_err() {
                return Err(NoSeat::Stuck);
            }
            waited = true;
        }
    }

    fn is_seated(&self, client: &Arc<str>, handle: &Arc<Handle>) -> bool {
        let inner = self.lock();
        let entry = inner.seated.get(client);
        entry.is_some_and(|entry| Arc::ptr_eq(&entry.handle, handle))
    }

    /// Has every connection look around.
    pub fn ring_all(&self) {
        for entry in self.lock().seated.values() {
            entry.handle.bell.ring();
        }
    }

    /// Has every connection looked at again whose client begins with this identity, be it that of a module
    /// of it or one of several.
    pub fn recheck(&self, identity: &str) {
        for (client, entry) in &self.lock().seated {
            let rest = client.strip_prefix(identity);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                entry.handle.tell(|told| told.recheck = true);
            }
        }
    }
}

/// Counts a take-over, and says how long it is to wait.
fn turn(fights: &mut HashMap<Arc<str>, Fight>, client: &Arc<str>, now: Instant) -> Duration {
    if fights.len() >= FIGHTS {
        fights.retain(|_, fight| now.duration_since(fight.last) < PEACE);
        if fights.len() >= FIGHTS {
            fights.clear();
        }
    }
    let fight = fights.entry(client.clone()).or_insert(Fight {
        count: 0,
        last: now,
    });
    if now.duration_since(fight.last) >= PEACE {
        fight.count = 0;
    }
    fight.count += 1;
    fight.last = now;
    match fight.count.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(n) => FIRST_WAIT
            .saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX))
            .min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> Arc<Handle> {
        Handle::new(Arc::default())
    }

    #[tokio::test]
    async fn the_newest_wins_once_the_old_one_is_gone() {
        let live = Arc::<Live>::default();
        let client: Arc<str> = "d/m".into();
        let old = handle();
        let seat = live.enter(&client, &old).await.expect("free");
        let newcomer = tokio::spawn({
            let (live, client) = (live.clone(), client.clone());
            async move { live.enter(&client, &handle()).await }
        });
        std::future::poll_fn(|context| old.bell.poll(context)).await;
        assert!(old.told().go);
        assert!(!newcomer.is_finished());
        drop(seat);
        let seat = newcomer.await.expect("task").expect("seated");
        assert_eq!(live.connected(), 1);
        drop(seat);
        assert_eq!(live.connected(), 0);
    }

    #[tokio::test]
    async fn of_two_newcomers_the_first_is_refused() {
        let live = Arc::<Live>::default();
        let client: Arc<str> = "d".into();
        let old = handle();
        let seat = live.enter(&client, &old).await.expect("free");
        let enter = || {
            let (live, client) = (live.clone(), client.clone());
            tokio::spawn(async move { live.enter(&client, &handle()).await })
        };
        let first = enter();
        std::future::poll_fn(|context| old.bell.poll(context)).await;
        old.told();
        let second = enter();
        std::future::poll_fn(|context| old.bell.poll(context)).await;
        drop(seat);
        let (first, second) = (first.await.expect("task"), second.await.expect("task"));
        assert_eq!(first.expect_err("superseded"), NoSeat::Superseded);
        assert!(second.is_ok());
    }

    #[test]
    fn turns_grow_longer_while_two_fight_and_not_beyond_what_clients_wait() {
        let (mut fights, client, start) = (HashMap::new(), "x".into(), Instant::now());
        let waits: Vec<_> = (0..12).map(|_| turn(&mut fights, &client, start)).collect();
        assert_eq!(waits[..3], [Duration::ZERO; 3]);
        assert_eq!(waits[3..5], [FIRST_WAIT, 2 * FIRST_WAIT]);
        assert_eq!(waits[11], LONGEST_WAIT);
        let later = start + PEACE;
        assert_eq!(turn(&mut fights, &client, later), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_device_and_its_modules_are_rechecked_and_nobody_else() {
        let live = Arc::<Live>::default();
        let mut seats = Vec::new();
        let mut handles = Vec::new();
        for name in ["d", "d/m", "de", "x/d"] {
            let handle = handle();
            seats.push(live.enter(&name.into(), &handle).await.expect("free"));
            handles.push(handle);
        }
        live.recheck("d");
        let told: Vec<_> = handles.iter().map(|h| h.told().recheck).collect();
        assert_eq!(told, [true, true, false, false]);
    }
}
