//! Twins, methods and connections.

use super::messages::{NANOS, OTHER};
use super::text::{Kind, Page};
use crate::device::Device;

/// Where twins are answered from: here, not by a parent.
const HERE: &str = "edge_hub";

/// The caller of a method that no module called.
const MANAGEMENT: &str = "management";

pub(super) fn write(page: &mut Page, device: &Device) {
    twins(page, device);
    methods(page, device);
    connections(page, device);
    parent(page);
    sets(page, device);
}

fn twins(page: &mut Page, device: &Device) {
    let twins: Vec<_> = device
        .hub()
        .meters()
        .twins
        .all()
        .into_iter()
        .map(|(id, meter)| (id.map_or(OTHER.to_owned(), |id| id.to_string()), meter))
        .collect();
    page.counted(
        "edgehub_gettwin_total",
        "Times that a twin was asked for.",
        ["source", "id"],
        twins
            .iter()
            .map(|(id, meter)| ([HERE, id], meter.reads.count())),
    );
    page.spread(
        "edgehub_gettwin_duration_seconds",
        "How long it took to read a twin.",
        NANOS,
        ["source", "id"],
        twins
            .iter()
            .map(|(id, meter)| ([HERE, id], meter.reads.read())),
    );
    page.counted(
        "edgehub_reported_properties_total",
        "Changes of reported properties.",
        ["target", "id"],
        twins
            .iter()
            .map(|(id, meter)| ([HERE, id], meter.reports.count())),
    );
    page.spread(
        "edgehub_reported_properties_update_duration_seconds",
        "How long it took to work a change of reported properties in; it is stored with the step that \
         made it.",
        NANOS,
        ["target", "id"],
        twins
            .iter()
            .map(|(id, meter)| ([HERE, id], meter.reports.read())),
    );
}

fn methods(page: &mut Page, device: &Device) {
    let calls: Vec<_> = device
        .hub()
        .meters()
        .calls
        .all()
        .into_iter()
        .map(|(key, meter)| {
            let (from, to) = match key {
                Some(key) => (
                    key.from
                        .map_or(MANAGEMENT.to_owned(), |from| from.to_string()),
                    key.to.to_string(),
                ),
                None => (OTHER.to_owned(), OTHER.to_owned()),
            };
            (from, to, meter)
        })
        .collect();
    page.counted(
        "edgehub_direct_methods_total",
        "Calls of methods that reached somebody who answers methods.",
        ["from", "to"],
        calls
            .iter()
            .map(|(from, to, meter)| ([from, to], meter.calls.count())),
    );
    page.spread(
        "edgehub_direct_method_duration_seconds",
        "How long a call of a method took, whether it was answered or given up.",
        NANOS,
        ["from", "to"],
        calls
            .iter()
            .map(|(from, to, meter)| ([from, to], meter.calls.read())),
    );
}

fn connections(page: &mut Page, device: &Device) {
    let meters = device.hub().meters();
    let clients: Vec<_> = meters
        .clients
        .all()
        .into_iter()
        .map(|(client, meter)| {
            let id = match client {
                Some(Some(identity)) => identity.to_string(),
                Some(None) => "$anonymous".to_owned(),
                None => OTHER.to_owned(),
            };
            (id, meter.connects.get(), meter.disconnects.get())
        })
        .collect();
    page.counted(
        "edgehub_client_connect_success_total",
        "Connections of clients; Wasm modules need none.",
        ["id"],
        clients.iter().map(|(id, connects, _)| ([id], *connects)),
    );
    page.counted(
        "edgehub_client_disconnect_total",
        "Connections of clients that ended.",
        ["id"],
        clients.iter().map(|(id, _, ends)| ([id], *ends)),
    );
    let connected = clients
        .iter()
        .map(|(_, connects, ends)| connects.saturating_sub(*ends));
    page.single(
        "edgehub_connected_clients",
        Kind::Gauge,
        "Clients that are connected; Wasm modules need no connection.",
        connected.sum::<u64>(),
    );
    let refused = meters.refused.all().into_iter();
    let refused = refused.map(|(reason, count)| (reason.unwrap_or(OTHER), count.get()));
    page.counted(
        "edgehub_client_connect_failed_total",
        "Connections of clients that were refused, by reason.",
        ["id", "reason"],
        // Who a client said it is was not proven.
        refused.map(|(reason, count)| (["", reason], count)),
    );
}

/// Of what there is nothing yet, for want of a parent. The names are there, so that dashboards find them.
fn parent(page: &mut Page) {
    for (name, kind, help) in [
        (
            "edgehub_offline_count_total",
            Kind::Counter,
            "Times that an identity lost its parent; none without a parent.",
        ),
        (
            "edgehub_offline_duration_seconds",
            Kind::Summary,
            "How long an identity was without its parent; none without a parent.",
        ),
        (
            "edgeagent_direct_method_invocations_count",
            Kind::Counter,
            "Calls of the agent's own methods; it has none without a parent.",
        ),
    ] {
        page.metric(name, kind, help);
    }
    for (name, kind, help) in [
        (
            "edgeAgent_iothub_syncs_total",
            Kind::Counter,
            "Times that the deployment was asked for at the parent; none without a parent.",
        ),
        (
            "edgeAgent_unsuccessful_iothub_syncs_total",
            Kind::Counter,
            "The same without an answer.",
        ),
    ] {
        page.single(name, kind, help, 0_u64);
    }
}

fn sets(page: &mut Page, device: &Device) {
    let meters = device.hub().meters();
    let kinds = [
        ("outputs", meters.outputs.named(), meters.outputs.unnamed()),
        ("links", meters.links.named(), meters.links.unnamed()),
        ("twins", meters.twins.named(), meters.twins.unnamed()),
        ("methods", meters.calls.named(), meters.calls.unnamed()),
    ];
    page.counted(
        "edge_metrics_unnamed_total",
        "Times that something was counted as $other, because too many sets of labels are told apart \
         already.",
        ["kind"],
        kinds.map(|(kind, _, unnamed)| ([kind], unnamed)),
    );
    let mut metric = page.metric(
        "edge_metrics_sets",
        Kind::Gauge,
        "Sets of labels that are told apart.",
    );
    for (kind, named, _) in kinds {
        metric.sample(&[("kind", kind)], named as u64);
    }
}
