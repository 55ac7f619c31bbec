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
    /// Not connected.
    Offline {
        /// For so many seconds.
        seconds: u64,
        /// Why, as it was found last.
        why: String,
        /// Whether that passes by itself: the parent may be back at any time.
        passes: bool,
    },
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
    /// When it was connected, or last was not.
    since: Instant,
    /// Why it is not connected, and whether that passes by itself.
    offline: Option<(String, bool)>,
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
                since: Instant::now(),
                offline: Some(("it was not tried yet".to_owned(), true)),
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
        inner.since = Instant::now();
        inner.offline = None;
        inner.connections += 1;
        inner.refused.clear();
    }

    /// Notes that there is no connection; whether that is news. `passes`: nobody has to do anything about it.
    pub(crate) fn offline(&self, why: &str, passes: bool) -> bool {
        let mut inner = self.lock();
        let known = inner.offline.replace((why.to_owned(), passes));
        if known.is_none() {
            inner.since = Instant::now();
        }
        let news = known.is_none_or(|(known, _)| known != why);
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
            state: match (&inner.offline, inner.since.elapsed().as_secs()) {
                (None, seconds) => LinkState::Online(seconds),
                (Some((why, passes)), seconds) => LinkState::Offline {
                    seconds,
                    why: why.clone(),
                    passes: *passes,
                },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_there_was_no_connection_is_counted_whatever_the_reasons_were() {
        let status = Status::default();
        assert!(status.offline("the name cannot be looked up", true));
        assert!(!status.offline("the name cannot be looked up", true));
        status.online();
        let before = Instant::now();
        assert!(status.offline("it is cut", true));
        let since = status.lock().since;
        assert!(since >= before);
        assert!(status.offline("TLS: somebody else", false));
        assert_eq!(status.lock().since, since);
        let state = status.now(0, BTreeMap::new()).state;
        let LinkState::Offline { why, passes, .. } = state else {
            panic!("{state:?}");
        };
        assert_eq!((why.as_str(), passes), ("TLS: somebody else", false));
    }
}
