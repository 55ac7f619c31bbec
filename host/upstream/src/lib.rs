//! The link to the parent, be it another of our devices or a cloud that speaks AMQP as IoT Hub does.
//!
//! Called by the daemon, which hands in who we are to the parent and how it is reached.
//!
//! ```text
//!   offline ─► dial (several at a time, back-off with jitter) ─► connected ─► lost, or silent too long ─► offline
//!                                                                   │
//!        queue of the parent ─► pump ─► lane per identity: token, link, batches ─► accepted ─► progress
//! ```
//!
//! Promises
//! - One connection, whatever the number of identities.
//! - What an identity sent arrives in its order. Progress is noted when the parent has accepted: nothing is lost,
//!   and what was under way when the link was cut comes twice: no more than 8 192 messages (`pump.rs`).
//! - An identity that the parent refuses waits, and holds up nobody else.
//! - Who is behind this device is taken over from a parent of our kind, and kept: known ones work offline.
//! - Offline costs nothing but tries to connect. What waits stays in the log, under the log's limits.
//! - What the parent rejects becomes a dead letter with the parent's reason.

mod dial;
mod lane;
mod left_keys;
mod presence;
mod pump;
mod scope;
mod status;
mod usage;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edge_amqp::client::{LinkFault, Links, Offer, ParentConnection};
use edge_core::{EndpointId, Identity};
use edge_heads::{Bell, Live};
use edge_hub::{Hub, ReportListener};
use edge_identity::{Registry, Secret, Token, Watcher};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

pub use dial::{Address, BadParent, DialError, Dialer, Proxy, Transport, Trust};
use status::Status;
pub use status::{LinkState, UpstreamStatus};
pub use usage::DayUsage;
use usage::Usage;

/// Identities that have links for twins, methods and messages to them; a parent takes 4 096 on a connection, and those
/// that send have to be let in as well.
const MOST_PRESENT: usize = 2_048;
/// With more identities than that, those that are connected here have links after this.
const CROWDED: Duration = Duration::from_secs(5);
/// The wait after the first failure, doubled with each up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A parent that cannot be reached is tried this often: short, so that messages flow as soon as it can be; a try
/// costs less than a heartbeat.
const LONGEST_WAIT: Duration = Duration::from_millis(1_500);
/// A parent that answers and lets us not in is tried this often.
const LONGEST_REFUSED: Duration = Duration::from_secs(60);

/// What the link works with.
#[derive(Debug)]
pub struct UpstreamConfig {
    /// Where messages wait.
    pub hub: Arc<Hub>,
    /// Whose keys sign for devices below this one.
    pub registry: Arc<Registry>,
    /// Who is connected here.
    pub live: Arc<Live>,
    /// Our own key at the parent; it signs for our modules as well.
    pub key: Secret,
    /// The hub's name in tokens.
    pub hub_name: String,
    /// How long a token holds; renewed after three quarters of it.
    pub token_life: Duration,
    /// How the parent is reached.
    pub dialer: Dialer,
    /// Takes what the parent wants of the device as a whole.
    pub system: Arc<dyn System>,
    /// Turns true when the link is to end.
    pub closing: watch::Receiver<bool>,
}

/// What is wanted of the device as a whole, and not of one of its modules.
pub trait System: Send + Sync + fmt::Debug {
    /// Whether an identity's desired properties are about the device as a whole.
    fn is_of_system(&self, identity: &Identity) -> bool;

    /// What the parent wants, all of it, with the parent's version: told at each connection and each change. Must
    /// not block.
    fn wanted(&self, identity: &Identity, version: u64, properties: &Map<String, Value>);
}

/// The link; it runs as long as [`run`](Self::run) does.
#[derive(Debug)]
pub struct Upstream {
    config: UpstreamConfig,
    status: Status,
    usage: Usage,
    roster: Arc<Roster>,
}

/// Whom we speak for, and who is to be told of what.
#[derive(Debug, Default)]
struct Roster {
    /// Identities came or went.
    changed: Arc<Bell>,
    /// What somebody reports changed.
    bells: Mutex<HashMap<Identity, Arc<Bell>>>,
}

impl Roster {
    fn bells(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Bell>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Roster {
    fn changed(&self, _: &Identity) {
        self.changed.ring();
    }
}

impl ReportListener for Roster {
    fn reported_changed(&self, identity: &Identity) {
        if let Some(bell) = self.bells().get(identity) {
            bell.ring();
        }
    }
}

/// Signs for whom we speak for.
#[derive(Debug, Clone)]
pub(crate) struct Signer(Arc<Upstream>);

impl Signer {
    /// A token for an identity: by our own key for our modules, by its device's key for others (at every level, a
    /// device's key is its modules' as well), also by one that it left here, and by ours where it is known by a
    /// certificate: parents take a gateway's word for those behind it (`edge identity add --behind`).
    fn token(&self, identity: &Identity) -> String {
        let config = &self.0.config;
        let device = identity.device();
        let expires = config.hub.now().after(config.token_life);
        let make = |key: &Secret| Token::make(&config.hub_name, identity, key, expires).to_string();
        if device == config.hub.device() {
            return make(&config.key);
        }
        let (log, now) = (config.hub.log().as_ref(), config.hub.now());
        let signers = [&Identity::Device(device.clone()), identity];
        let key = signers
            .into_iter()
            .find_map(|signer| match config.registry.get(signer) {
                Some(entry) => entry.auth.keys().map(|keys| keys.primary.clone()),
                None => left_keys::find(log, signer, now),
            });
        make(key.as_ref().unwrap_or(&config.key))
    }
}

impl Signer {
    /// Puts a token for an identity; what the parent offers, and when the next one is due.
    async fn prove(
        &self,
        links: &Links,
        identity: &Identity,
    ) -> Result<(Offer, Instant), LinkFault> {
        let token = self.token(identity);
        let hub = &self.0.config.hub_name;
        let offer = links.put_token(hub, identity, &token).await?;
        Ok((offer, Instant::now() + self.0.config.token_life * 3 / 4))
    }
}

impl Upstream {
    /// Not connected yet.
    pub fn new(config: UpstreamConfig) -> Arc<Self> {
        let roster = Arc::<Roster>::default();
        config.registry.watch(roster.clone());
        config.hub.listen_to_reports(roster.clone());
        let usage = Usage::read(config.hub.log());
        let upstream = Self {
            config,
            status: Status::default(),
            usage,
            roster,
        };
        upstream.forget_keys();
        Arc::new(upstream)
    }

    fn forget_keys(&self) {
        let hub = &self.config.hub;
        if let Err(error) = left_keys::forget(hub.log().as_ref(), hub.now()) {
            tracing::warn!(%error, "keys of identities that left were not forgotten");
        }
    }

    /// How it stands.
    pub fn status(&self) -> UpstreamStatus {
        self.count_day();
        let hub = &self.config.hub;
        let queues = hub.log().queues().into_iter();
        let waiting = queues.filter(|queue| queue.endpoint == EndpointId::Upstream);
        let waiting = waiting.map(|queue| queue.depth).sum();
        self.status.now(waiting, self.usage.days())
    }

    /// Keeps the link until it is to end.
    pub async fn run(self: &Arc<Self>) {
        let mut closing = self.config.closing.clone();
        let stopping = async move {
            // A sender that is gone is an end, too.
            let _ = closing.wait_for(|closing| *closing).await;
        };
        tokio::select! {
            () = stopping => {}
            never = self.keep() => match never {},
            never = self.count_days() => match never {},
        }
        self.status.offline("the daemon stops", true);
        self.count_day();
        self.store_days();
    }

    async fn keep(self: &Arc<Self>) -> std::convert::Infallible {
        let mut failures = 0u32;
        let mut refusals = 0u32;
        let mut patience = pump::Patience::default();
        loop {
            let (why, refused, passes) = match self.connect(&mut patience).await {
                Ok(connection) => {
                    (failures, refusals) = (0, 0);
                    self.status.online();
                    tracing::info!(parent = %self.config.dialer.address, "connected to the parent");
                    (self.serve(connection, &mut patience).await, false, true)
                }
                Err(error) => {
                    let refused = matches!(error, DialError::Refused(_));
                    (error.to_string(), refused, error.passes())
                }
            };
            if self.status.offline(&why, passes) {
                tracing::warn!(parent = %self.config.dialer.address, %why, "no connection to the parent");
            }
            let wait = if refused {
                refusals = refusals.saturating_add(1);
                back_off(refusals, FIRST_WAIT, LONGEST_REFUSED)
            } else {
                failures = failures.saturating_add(1);
                back_off(failures, FIRST_WAIT, LONGEST_WAIT)
            };
            sleep(wait).await;
        }
    }

    async fn connect(&self, patience: &mut pump::Patience) -> Result<ParentConnection, DialError> {
        let config = &self.config;
        let dialled = config.dialer.dial().await;
        let (stream, reached) = dialled.inspect_err(|_| patience.unreached())?;
        patience.reached(&reached);
        let (name, traffic) = (config.hub.device().as_str(), self.status.traffic().clone());
        let host = &config.dialer.address.host;
        let opening = ParentConnection::open(stream, name, host, traffic);
        match tokio::time::timeout(dial::PATIENCE, opening).await {
            Ok(opened) => opened.map_err(|fault| match fault {
                LinkFault::Lost(why) => DialError::Cut(why),
                LinkFault::Refused(why) => DialError::Refused(why),
            }),
            Err(_) => Err(DialError::Silent),
        }
    }

    /// Works on a connection until it is over; says why.
    async fn serve(
        self: &Arc<Self>,
        mut connection: ParentConnection,
        patience: &mut pump::Patience,
    ) -> String {
        let links = connection.links();
        let signer = Signer(self.clone());
        let follower = signer.clone();
        let mut pump = pump::Pump::new(self.config.hub.clone(), signer, links.clone());
        let why = tokio::select! {
            why = connection.ended() => why,
            why = pump.run(&self.status, patience) => why,
            never = self.clone().present(&links) => match never {},
            never = self.follow(&follower, &links) => match never {},
        };
        pump.end().await;
        why
    }
}

impl Upstream {
    /// Lets the parent know of whom we speak for, as they come and go.
    async fn present(self: Arc<Self>, links: &Links) -> std::convert::Infallible {
        let mut tasks = JoinSet::new();
        let mut present: HashMap<Identity, AbortHandle> = HashMap::new();
        loop {
            let mut entries = self.config.registry.list();
            entries.retain(|entry| entry.is_enabled());
            let is_crowded = entries.len() > MOST_PRESENT;
            if is_crowded {
                let own = self.config.hub.device();
                // The device itself, those that are connected, those that have links; as few as can be lose theirs.
                entries.sort_by_cached_key(|entry| {
                    let is_own = entry.identity.device() == own;
                    let is_connected = self.config.live.is_connected(&entry.identity.to_string());
                    let is_present = present.contains_key(&entry.identity);
                    (!is_own, !is_connected, !is_present, entry.from_parent)
                });
            }
            let wanted = entries.iter().take(MOST_PRESENT);
            let wanted: HashSet<Identity> = wanted.map(|entry| entry.identity.clone()).collect();
            present.retain(|identity, task| {
                let stays = wanted.contains(identity);
                if !stays {
                    task.abort();
                    self.roster.bells().remove(identity);
                }
                stays
            });
            for identity in wanted {
                if present.contains_key(&identity) {
                    continue;
                }
                let bell = Arc::<Bell>::default();
                self.roster.bells().insert(identity.clone(), bell.clone());
                let serving = presence::serve(self.clone(), links.clone(), identity.clone(), bell);
                present.insert(identity, tasks.spawn(serving));
            }
            let again = is_crowded.then(|| Instant::now() + CROWDED);
            loop {
                tokio::select! {
                    () = self.roster.changed.rung() => break,
                    () = until(again) => break,
                    Some(ended) = tasks.join_next() => {
                        if let Err(error) = ended && error.is_panic() {
                            tracing::error!(%error, "an identity's link to the parent panicked");
                        }
                    }
                }
            }
        }
    }
}

/// The wait after so many failures in a row: doubled each time, and up to a quarter less, so that devices which
/// lost their parent together do not come back together.
pub(crate) fn back_off(failures: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1));
    let wait = first
        .saturating_mul(doubled.unwrap_or(u32::MAX))
        .min(longest);
    let less = getrandom::u32().unwrap_or_default() % 256;
    wait - wait * less / 1024
}

/// Sleeps until a moment; without one, for ever.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ() {
        let waits: Vec<_> = (1..12)
            .map(|n| back_off(n, FIRST_WAIT, LONGEST_WAIT))
            .collect();
        assert!(waits[0] <= FIRST_WAIT && waits[0] >= FIRST_WAIT * 3 / 4);
        assert!(waits[10] <= LONGEST_WAIT && waits[10] >= LONGEST_WAIT * 3 / 4);
        assert!(back_off(u32::MAX, FIRST_WAIT, LONGEST_REFUSED) <= LONGEST_REFUSED);
    }
}
