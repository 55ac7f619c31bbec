//! Queues, and a sample of all that moves.

use std::collections::BTreeMap;

use edge_core::{EndpointId, Priority, Timestamp};
use edge_store::{MessageLog, QueueStatus};

use super::Device;
use crate::api::types::{QueueInfo, TopSample};

/// The queues of a log, by endpoint and rank. `used`: whether somebody reads one, and whether a route leads to
/// it.
pub(crate) fn queue_infos(
    log: &dyn MessageLog,
    now: Timestamp,
    used: impl Fn(&EndpointId) -> (bool, bool),
) -> Vec<QueueInfo> {
    let info = |queue: QueueStatus| {
        let (reader, routed) = used(&queue.endpoint);
        QueueInfo {
            endpoint: queue.endpoint.to_string(),
            priority: Some(queue.priority)
                .filter(|priority| *priority != Priority::DEFAULT)
                .map(|priority| priority.0),
            depth: queue.depth,
            bytes: queue.bytes,
            oldest: queue.oldest.map(|at| at.to_string()),
            oldest_seconds: queue.oldest.map(|at| now.since(at).as_secs_f64()),
            reader,
            routed,
        }
    };
    let mut queues = log.queues();
    queues.sort_by(|a, b| {
        (a.endpoint.to_string(), a.priority).cmp(&(b.endpoint.to_string(), b.priority))
    });
    let mut queues: Vec<_> = queues.into_iter().map(info).collect();
    queues.retain(|queue| queue.depth > 0 || queue.reader || queue.routed);
    queues
}

impl Device {
    /// The queues, by endpoint and rank. Those without messages, readers and routes are of no interest.
    pub(crate) fn queues(&self) -> Vec<QueueInfo> {
        queue_infos(&**self.hub.log(), self.hub.now(), |endpoint| {
            (self.hub.has_reader(endpoint), self.hub.has_route(endpoint))
        })
    }

    /// What moves, with rates since the sample before, or since the start.
    pub(crate) fn sample(
        &self,
        before: Option<&(edge_core::Timestamp, BTreeMap<String, u64>)>,
    ) -> (edge_core::Timestamp, TopSample) {
        let now = self.hub.now();
        let counts = self.counts();
        let seconds = now
            .since(before.map_or(self.started, |(at, _)| *at))
            .as_secs_f64();
        let rate = |(name, count): (&String, &u64)| {
            let was = before
                .and_then(|(_, counts)| counts.get(name))
                .copied()
                .unwrap_or(0);
            // Exact up to 2^53 messages between two samples.
            #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = count.saturating_sub(was) as f64 / seconds.max(1e-3);
            (name.clone(), rate)
        };
        let pressure = self.hub.pressure();
        let sample = TopSample {
            time: now.to_string(),
            seconds,
            rates: counts.iter().map(rate).collect(),
            counts,
            waiting_bytes: pressure.used,
            waiting_limit: pressure.limit,
            queues: self.queues(),
            modules: self.modules(),
            upstream: self.upstream().map(Into::into),
        };
        (now, sample)
    }

    /// Running counts by name.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let snapshot = serde_json::to_value(self.hub.counters().snapshot());
        let Ok(serde_json::Value::Object(counts)) = snapshot else {
            return BTreeMap::new();
        };
        let count = |(name, count): (String, serde_json::Value)| Some((name, count.as_u64()?));
        counts.into_iter().filter_map(count).collect()
    }
}
