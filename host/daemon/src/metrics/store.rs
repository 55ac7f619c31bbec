//! The log's metrics; ours.

use edge_store::SYNC_BUCKETS;

use super::text::{Kind, Page};
use crate::device::Device;

pub(super) fn write(page: &mut Page, device: &Device) {
    let metrics = device.hub().log().metrics();
    let pressure = device.hub().pressure();
    for (name, kind, help, value) in [
        (
            "edge_store_bytes_written_total",
            Kind::Counter,
            "Bytes handed to the device, of all files of the log.",
            metrics.bytes_written,
        ),
        (
            "edge_store_messages_total",
            Kind::Counter,
            "Messages appended, each once however many queues it is in.",
            metrics.messages,
        ),
        (
            "edge_store_payload_bytes_total",
            Kind::Counter,
            "Bytes of their bodies and properties.",
            metrics.payload_bytes,
        ),
        (
            "edge_store_commits_total",
            Kind::Counter,
            "Commits.",
            metrics.commits,
        ),
        (
            "edge_store_compacted_bytes_total",
            Kind::Counter,
            "Bytes copied forward to free segments.",
            metrics.compacted_bytes,
        ),
        (
            "edge_store_damaged_total",
            Kind::Counter,
            "Entries lost to damaged records.",
            metrics.damaged,
        ),
        (
            "edge_store_dead_letters_dropped_total",
            Kind::Counter,
            "Dead letters that gave way to newer ones.",
            metrics.dead_letters_dropped,
        ),
        (
            "edge_store_segments",
            Kind::Gauge,
            "Segments there are.",
            metrics.segments,
        ),
        (
            "edge_store_disk_bytes",
            Kind::Gauge,
            "Bytes of the log's files that are in use.",
            metrics.disk_bytes,
        ),
        (
            "edge_store_live_bytes",
            Kind::Gauge,
            "Bytes that waiting messages take.",
            metrics.live_bytes,
        ),
        (
            "edge_store_dead_bytes",
            Kind::Gauge,
            "Bytes of segments that nothing waits for any more.",
            metrics.dead_bytes,
        ),
        (
            "edge_store_overlay_bytes",
            Kind::Gauge,
            "Bytes of keys whose newest value is not in the state tables yet.",
            metrics.overlay_bytes,
        ),
        (
            "edge_store_dead_letters",
            Kind::Gauge,
            "Dead letters kept.",
            metrics.dead_letters,
        ),
        (
            "edge_store_waiting_messages",
            Kind::Gauge,
            "Entries of all queues that wait.",
            pressure.waiting,
        ),
        (
            "edge_store_limit_bytes",
            Kind::Gauge,
            "Bytes of waiting messages at which senders outside are made to wait.",
            pressure.limit,
        ),
    ] {
        page.single(name, kind, help, value);
    }
    page.single(
        "edge_store_bytes_per_message",
        Kind::Gauge,
        "Bytes handed to the device for each message; NaN before the first.",
        ratio(metrics.bytes_written, metrics.messages),
    );
    let mut sync = page.metric(
        "edge_store_sync_seconds",
        Kind::Histogram,
        "How long syncs of the log took.",
    );
    let mut so_far = 0;
    for (bound, count) in SYNC_BUCKETS.iter().zip(metrics.sync_buckets) {
        so_far += count;
        let seconds = std::time::Duration::from_micros(*bound)
            .as_secs_f64()
            .to_string();
        sync.suffixed("_bucket", &[("le", &seconds)], so_far);
    }
    sync.suffixed("_bucket", &[("le", "+Inf")], metrics.syncs());
    let spent = std::time::Duration::from_nanos(metrics.sync_nanos);
    sync.suffixed("_sum", &[], spent.as_secs_f64());
    sync.suffixed("_count", &[], metrics.syncs());
}

fn ratio(part: u64, whole: u64) -> f64 {
    // Exact up to 2^53 bytes.
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
    let ratio = part as f64 / whole as f64;
    if whole == 0 { f64::NAN } else { ratio }
}
