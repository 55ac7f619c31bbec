//! Bytes that pass the link, by day: who pays for them by the month has to know.
//!
//! Kept in [`Table::Upstream`], so that a restart does not begin anew; stored a few times an hour and at the end, so that
//! the count costs less than what it counts. `kill -9` loses a quarter of an hour of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use edge_store::{Commit, MessageLog, Put, Table};
use serde::{Deserialize, Serialize};

use crate::Upstream;

/// Days that are kept.
const DAYS: usize = 62;
/// How often it is stored.
const STORE: Duration = Duration::from_secs(900);
const KEY: &[u8] = b"usage";

/// Bytes of a day, without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayUsage {
    /// To the parent.
    pub up: u64,
    /// From it.
    pub down: u64,
}

#[derive(Debug, Default)]
struct Counted {
    /// By date in UTC, as in 2026-11-27.
    days: BTreeMap<String, DayUsage>,
    /// What the connections' own counters said.
    seen: DayUsage,
    /// There is something that was not stored.
    is_new: bool,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<Counted>);

impl Usage {
    /// What was counted before.
    pub(crate) fn read(log: &Arc<dyn MessageLog>) -> Self {
        let days = log.get(Table::Upstream, KEY).map(|value| {
            serde_json::from_slice(&value).unwrap_or_else(|error| {
                tracing::error!(%error, "the count of bytes by day cannot be read, and begins anew");
                BTreeMap::new()
            })
        });
        Self(Mutex::new(Counted {
            days: days.unwrap_or_default(),
            ..Counted::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Days that were counted, the oldest first.
    pub(crate) fn days(&self) -> BTreeMap<String, DayUsage> {
        self.lock().days.clone()
    }

    /// Adds what passed since the last time to a day.
    fn count(&self, day: &str, total: DayUsage) {
        let mut counted = self.lock();
        let up = total.up.saturating_sub(counted.seen.up);
        let down = total.down.saturating_sub(counted.seen.down);
        // Two may count at once.
        counted.seen.up = counted.seen.up.max(total.up);
        counted.seen.down = counted.seen.down.max(total.down);
        if up == 0 && down == 0 {
            return;
        }
        let today = counted.days.entry(day.to_owned()).or_default();
        today.up += up;
        today.down += down;
        counted.is_new = true;
        while counted.days.len() > DAYS {
            counted.days.pop_first();
        }
    }

    /// What is to be stored, if that is news.
    fn news(&self) -> Option<Bytes> {
        let mut counted = self.lock();
        if !std::mem::take(&mut counted.is_new) {
            return None;
        }
        serde_json::to_vec(&counted.days).ok().map(Bytes::from)
    }

    /// It was not stored.
    fn is_news_still(&self) {
        self.lock().is_new = true;
    }
}

impl Upstream {
    /// Counts for as long as the link is kept.
    pub(crate) async fn count_days(&self) -> Infallible {
        loop {
            tokio::time::sleep(STORE).await;
            self.count_day();
            self.store_days();
            self.forget_keys();
        }
    }

    /// Adds what passed since the last time to today.
    pub(crate) fn count_day(&self) {
        let now = self.config.hub.now().to_string();
        let traffic = self.status.traffic();
        let total = DayUsage {
            up: traffic.written(),
            down: traffic.read(),
        };
        self.usage.count(now.get(..10).unwrap_or_default(), total);
    }

    pub(crate) fn store_days(&self) {
        let Some(value) = self.usage.news() else {
            return;
        };
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Upstream,
            key: Bytes::from_static(KEY),
            value: Some(value),
        });
        if let Err(error) = self.config.hub.commit(&mut commit) {
            tracing::warn!(%error, "the count of bytes by day was not stored");
            self.usage.is_news_still();
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_store::MemoryLog;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_day_on_which_they_passed_and_old_days_go() {
        let usage = Usage::default();
        let total = |up, down| DayUsage { up, down };
        usage.count("2026-01-01", total(10, 1));
        usage.count("2026-01-01", total(15, 1));
        usage.count("2026-01-02", total(15, 4));
        usage.count("2026-01-03", total(15, 4));
        let days = usage.days();
        assert_eq!(days["2026-01-01"], total(15, 1));
        assert_eq!(days["2026-01-02"], total(0, 3));
        assert_eq!(days.len(), 2);
        for n in 0..200 {
            usage.count(&format!("2027-{n:03}"), total(100 + n, 4));
        }
        assert_eq!(usage.days().len(), DAYS);
    }

    #[test]
    fn what_was_counted_is_read_again() {
        let log: Arc<dyn MessageLog> = Arc::new(MemoryLog::default());
        let usage = Usage::read(&log);
        assert_eq!(usage.news(), None);
        usage.count("2026-01-01", DayUsage { up: 7, down: 9 });
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Upstream,
            key: Bytes::from_static(KEY),
            value: usage.news(),
        });
        log.commit(&mut commit).unwrap();
        assert_eq!(Usage::read(&log).days(), usage.days());
        assert_eq!(usage.news(), None);
    }
}
