//! Counts of what the log does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::{LogMetrics, SYNC_BUCKETS};

use super::Shared;

#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) bytes_written: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) payload_bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) dropped_over_quota: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) dead_letters_dropped: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS.len() + 1],
    sync_nanos: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

impl Meters {
    pub(crate) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS.partition_point(|bound| *bound < micros);
        add(&self.sync_buckets[bucket], 1);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&self.sync_nanos, nanos);
    }
}

impl Shared {
    pub(crate) fn metrics(&self) -> LogMetrics {
        let meters = &self.meters;
        let inner = self.lock();
        let state = &inner.state;
        let disk_bytes = state.segments.values().map(|segment| segment.end).sum();
        let dead_segments = state.segments.values().filter(|s| s.sealed && s.live == 0);
        LogMetrics {
            bytes_written: meters.bytes_written.load(Relaxed),
            messages: meters.messages.load(Relaxed),
            payload_bytes: meters.payload_bytes.load(Relaxed),
            commits: meters.commits.load(Relaxed),
            sync_buckets: std::array::from_fn(|index| meters.sync_buckets[index].load(Relaxed)),
            sync_nanos: meters.sync_nanos.load(Relaxed),
            segments: state.segments.len() as u64,
            disk_bytes,
            live_bytes: state.used,
            dead_bytes: dead_segments.map(|segment| segment.end).sum(),
            compacted_bytes: meters.compacted_bytes.load(Relaxed),
            dropped_over_quota: meters.dropped_over_quota.load(Relaxed),
            damaged: meters.damaged.load(Relaxed),
            dead_letters: state.dead.waiting,
            dead_letters_dropped: meters.dead_letters_dropped.load(Relaxed),
            overlay_bytes: state.overlay.bytes(),
        }
    }
}
