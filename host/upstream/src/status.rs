//! How the link stands, for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use edge_amqp::Traffic;
use edge_core::Identity;

use crate::DayUsage;

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Connected, for so many seconds.
    Online(u64),
    /// Not connected, and why.
    Offline(String),
}

/// How the link stands, and what passed it since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// Whether it is connected.
    pub state: LinkState,
    /// Connections so far.
    pub connections: u64,
    /// Bytes on the wire, without TLS.
    pub bytes_up: u64,
    /// Bytes on the wire, without TLS.
    pub bytes_down: u64,
    /// The same by day in UTC, also from before the start.
    pub days: BTreeMap<String, DayUsage>,
    /// Messages that wait for it, those that are with it included.
    pub waiting: u64,
    /// Messages that the parent accepted.
    pub accepted: u64,
    /// Messages that it rejected.
    pub rejected: u64,
    /// Messages that are with it.
    pub under_way: u64,
    /// Identities that it does not let in, and why.
    pub refused: Vec<(Identity, String)>,
}

#[derive(Debug)]
struct Inner {
    since: Result<Instant, String>,
    connections: u64,
    accepted: u64,
    rejected: u64,
    under_way: u64,
    refused: Vec<(Identity, String)>,
}

/// See [`UpstreamStatus`].
#[derive(Debug)]
pub(crate) struct Status {
    traffic: Arc<Traffic>,
    inner: Mutex<Inner>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            traffic: Arc::default(),
            inner: Mutex::new(Inner {
                since: Err("it was not tried yet".to_owned()),
                connections: 0,
                accepted: 0,
                rejected: 0,
                under_way: 0,
                refused: Vec::new(),
            }),
        }
    }
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(crate) fn online(&self) {
        let mut inner = self.lock();
        inner.since = Ok(Instant::now());
        inner.connections += 1;
        inner.refused.clear();
    }

    /// Notes that there is no connection; whether that is news.
    pub(crate) fn offline(&self, why: &str) -> bool {
        let mut inner = self.lock();
        let news = inner.since.as_ref().err().is_none_or(|known| known != why);
        inner.since = Err(why.to_owned());
        inner.under_way = 0;
        news
    }

    pub(crate) fn settled(&self, accepted: u64, rejected: u64, under_way: u64) {
        let mut inner = self.lock();
        inner.accepted += accepted;
        inner.rejected += rejected;
        inner.under_way = under_way;
    }

    pub(crate) fn refused(&self, identity: &Identity, why: Option<&str>) {
        let mut inner = self.lock();
        inner.refused.retain(|(known, _)| known != identity);
        if let Some(why) = why {
            inner.refused.push((identity.clone(), why.to_owned()));
        }
    }

    pub(crate) fn now(&self, waiting: u64, days: BTreeMap<String, DayUsage>) -> UpstreamStatus {
        let inner = self.lock();
        UpstreamStatus {
            state: match &inner.since {
                Ok(since) => LinkState::Online(since.elapsed().as_secs()),
                Err(why) => LinkState::Offline(why.clone()),
            },
            connections: inner.connections,
            bytes_up: self.traffic.written(),
            bytes_down: self.traffic.read(),
            days,
            waiting,
            accepted: inner.accepted,
            rejected: inner.rejected,
            under_way: inner.under_way,
            refused: inner.refused.clone(),
        }
    }
}
