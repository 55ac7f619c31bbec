//! The link to the parent.

use edge_upstream::LinkState;

use super::text::{Kind, Page};
use crate::device::Device;

pub(super) fn write(page: &mut Page, device: &Device) {
    let Some(status) = device.upstream() else {
        return;
    };
    let connected = matches!(status.state, LinkState::Online(_));
    let mut gauge = |name, help, value: u64| {
        page.metric(name, Kind::Gauge, help).sample(&[], value);
    };
    gauge(
        "edge_upstream_connected",
        "Whether the parent is connected.",
        connected.into(),
    );
    gauge(
        "edge_upstream_waiting",
        "Messages that wait for the parent, those that are with it included.",
        status.waiting,
    );
    gauge(
        "edge_upstream_under_way",
        "Messages that the parent has and has not accepted.",
        status.under_way,
    );
    gauge(
        "edge_upstream_refused_identities",
        "Identities that the parent does not let in.",
        status.refused.len() as u64,
    );
    page.metric(
        "edge_upstream_connections_total",
        Kind::Counter,
        "Connections to the parent.",
    )
    .sample(&[], status.connections);
    let mut bytes = page.metric(
        "edge_upstream_bytes_total",
        Kind::Counter,
        "Bytes to and from the parent, without TLS.",
    );
    bytes.sample(&[("direction", "up")], status.bytes_up);
    bytes.sample(&[("direction", "down")], status.bytes_down);
    let mut today = page.metric(
        "edge_upstream_day_bytes",
        Kind::Gauge,
        "Bytes to and from the parent on the newest day in UTC, without TLS; kept over restarts.",
    );
    let bytes = status.days.values().next_back().copied();
    let bytes = bytes.unwrap_or_default();
    today.sample(&[("direction", "up")], bytes.up);
    today.sample(&[("direction", "down")], bytes.down);
    let mut messages = page.metric(
        "edge_upstream_messages_total",
        Kind::Counter,
        "Messages for the parent, by what it said of them.",
    );
    messages.sample(&[("outcome", "accepted")], status.accepted);
    messages.sample(&[("outcome", "rejected")], status.rejected);
}
