//! The hub's metrics.

use edge_core::Priority;

use super::seconds_since;
use super::text::{Kind, Page};
use crate::device::Device;

pub(super) fn write(page: &mut Page, device: &Device) {
    queues(page, device);
    routes(page, device);
}

fn queues(page: &mut Page, device: &Device) {
    let now = device.hub().now();
    let queues = device.hub().log().queues();
    let named: Vec<_> = queues
        .iter()
        .map(|queue| (queue.endpoint.to_string(), priority(queue.priority), queue))
        .collect();
    let mut length = page.metric(
        "edgehub_queue_length",
        Kind::Gauge,
        "Messages that wait, by queue.",
    );
    for (endpoint, priority, queue) in &named {
        length.sample(
            &[("endpoint", endpoint), ("priority", priority)],
            queue.depth,
        );
    }
    let mut bytes = page.metric(
        "edge_queue_bytes",
        Kind::Gauge,
        "Bytes that waiting messages take, by queue.",
    );
    for (endpoint, priority, queue) in &named {
        bytes.sample(
            &[("endpoint", endpoint), ("priority", priority)],
            queue.bytes,
        );
    }
    let mut oldest = page.metric(
        "edge_queue_oldest_seconds",
        Kind::Gauge,
        "Age of the oldest message that waits, by queue; 0 where none does.",
    );
    for (endpoint, priority, queue) in &named {
        let age = queue.oldest.map_or(0.0, |then| seconds_since(now, then));
        oldest.sample(&[("endpoint", endpoint), ("priority", priority)], age);
    }
}

/// Ranks as manifests have them; queues of routes that name none have the number that stands for it.
fn priority(priority: Priority) -> String {
    priority.0.to_string()
}

fn routes(page: &mut Page, device: &Device) {
    let mut counts = Vec::new();
    device.hub().with_routes(|table| {
        for (index, entry) in table.entries().enumerate() {
            counts.push((entry.name.clone(), table.counters(index)));
        }
    });
    let mut looked = page.metric(
        "edge_route_messages_total",
        Kind::Counter,
        "Messages that a route looked at, by what its condition came to.",
    );
    for (route, counters) in &counts {
        for (outcome, count) in [
            ("matched", counters.matched),
            ("not_matched", counters.not_matched),
            ("undefined", counters.undefined),
        ] {
            looked.sample(&[("route", route), ("outcome", outcome)], count);
        }
    }
    let mut unreadable = page.metric(
        "edge_route_body_unreadable_total",
        Kind::Counter,
        "Messages whose body a route asked for and that was not JSON, or not said to be.",
    );
    for (route, counters) in &counts {
        unreadable.sample(&[("route", route)], counters.body_unreadable);
    }
}
