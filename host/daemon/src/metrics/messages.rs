//! Messages by who and where.

use std::collections::BTreeMap;

use edge_core::{DeviceId, EndpointId, Origin, Priority};
use edge_hub::meters::{Distribution, LinkMeter, OutputMeter};

use super::text::{Kind, Page};
use crate::device::Device;

/// Stands for all that the hub no longer tells apart, because there are too many.
pub(super) const OTHER: &str = "$other";

/// Where a message came from.
struct From {
    id: String,
    output: String,
}

/// Where it went.
struct To {
    id: String,
    input: String,
    priority: String,
}

fn from(origin: Option<&Origin>) -> From {
    let Some(origin) = origin else {
        return From {
            id: OTHER.to_owned(),
            output: OTHER.to_owned(),
        };
    };
    From {
        id: origin.identity().to_string(),
        output: origin.output().unwrap_or_default().to_owned(),
    }
}

fn to(device: &DeviceId, way: Option<(&EndpointId, Priority)>) -> To {
    let Some((endpoint, priority)) = way else {
        return To {
            id: OTHER.to_owned(),
            input: OTHER.to_owned(),
            priority: OTHER.to_owned(),
        };
    };
    let (id, input) = match endpoint {
        EndpointId::Upstream => ("upstream".to_owned(), String::new()),
        EndpointId::ModuleInput { module, input } => {
            (format!("{device}/{module}"), input.to_string())
        }
        EndpointId::Device(device) => (device.to_string(), String::new()),
        EndpointId::Session(_) => (endpoint.to_string(), String::new()),
    };
    To {
        id,
        input,
        priority: priority.0.to_string(),
    }
}

pub(super) fn write(page: &mut Page, device: &Device) {
    let meters = device.hub().meters();
    let outputs: Vec<_> = meters
        .outputs
        .all()
        .into_iter()
        .map(|(origin, meter)| (from(origin.as_deref()), meter))
        .collect();
    let links: Vec<_> = meters
        .links
        .all()
        .into_iter()
        .map(|(key, meter)| {
            let origin = key.as_ref().map(|key| &*key.origin);
            let way = key.as_ref().map(|key| (&key.endpoint, key.priority));
            (from(origin), to(device.name(), way), meter)
        })
        .collect();
    let outputs: Vec<_> = outputs.iter().map(|(from, m)| (from, &**m)).collect();
    let links: Vec<_> = links.iter().map(|(from, to, m)| (from, to, &**m)).collect();
    counts(page, &outputs, &links);
    spreads(page, &outputs, &links);
    lost(page, device, &outputs, &links);
}

type Outputs<'m> = [(&'m From, &'m OutputMeter)];
type Links<'m> = [(&'m From, &'m To, &'m LinkMeter)];

fn counts(page: &mut Page, outputs: &Outputs<'_>, links: &Links<'_>) {
    page.counted(
        "edgehub_messages_received_total",
        "Messages taken in.",
        ["route_output", "id"],
        outputs
            .iter()
            .map(|(from, meter)| ([&from.output, &from.id], meter.sizes.count())),
    );
    page.counted(
        "edgehub_messages_sent_total",
        "Deliveries that were handled.",
        [
            "from",
            "to",
            "from_route_output",
            "to_route_input",
            "priority",
        ],
        links.iter().map(|(from, to, meter)| {
            let labels = [&from.id, &to.id, &from.output, &to.input, &to.priority];
            (labels, meter.sending.count())
        }),
    );
    let mut retries = BTreeMap::new();
    for (_, to, meter) in links {
        *retries.entry(&to.id).or_insert(0) += meter.retried.get();
    }
    let mut metric = page.metric(
        "edgehub_operation_retry_total",
        Kind::Counter,
        "Deliveries put off for another try, by who is to get them.",
    );
    for (id, count) in retries {
        metric.sample(&[("id", id), ("operation", "deliver")], count);
    }
}

fn spreads(page: &mut Page, outputs: &Outputs<'_>, links: &Links<'_>) {
    page.spread(
        "edgehub_message_size_bytes",
        "Sizes of the messages taken in, with their properties.",
        1.0,
        ["id"],
        outputs
            .iter()
            .map(|(from, meter)| ([&from.id], meter.sizes.read())),
    );
    page.spread(
        "edgehub_message_send_duration_seconds",
        "From being handed to a receiver until it came back for more, having handled and stored what it \
         took; one time for all that it took together.",
        NANOS,
        ["from", "to", "from_route_output", "to_route_input"],
        links.iter().map(|(from, to, meter)| {
            let labels = [&from.id, &to.id, &from.output, &to.input];
            (labels, meter.sending.read())
        }),
    );
    page.spread(
        "edgehub_message_process_duration_seconds",
        "From being taken in until the receiver came back for more, having handled and stored it.",
        NANOS,
        ["from", "to", "priority"],
        links.iter().map(|(from, to, meter)| {
            let labels = [&from.id, &to.id, &to.priority];
            (labels, meter.processing.read())
        }),
    );
}

/// Seconds in a nanosecond.
pub(super) const NANOS: f64 = 1e-9;

fn lost(page: &mut Page, device: &Device, outputs: &Outputs<'_>, links: &Links<'_>) {
    let mut dropped: BTreeMap<[&str; 3], u64> = BTreeMap::new();
    for (from, meter) in outputs {
        for (reason, count) in [
            ("no_route", &meter.no_route),
            ("too_large", &meter.too_large),
            ("loop", &meter.looped),
        ] {
            *dropped.entry([reason, &from.id, &from.output]).or_default() += count.get();
        }
    }
    for (from, _, meter) in links {
        for (reason, count) in [
            ("ttl_expiry", &meter.expired),
            ("rejected", &meter.rejected),
            ("failed", &meter.failed),
            ("abandoned", &meter.abandoned),
        ] {
            *dropped.entry([reason, &from.id, &from.output]).or_default() += count.get();
        }
    }
    // The log makes room without looking at who sent what goes.
    let over_quota = device.hub().log().metrics().dropped_over_quota;
    dropped.insert(["over_quota", "", ""], over_quota);
    page.counted(
        "edgehub_messages_dropped_total",
        "Messages that left unhandled, by reason.",
        ["reason", "from", "from_route_output"],
        dropped.iter().map(|(labels, count)| (*labels, *count)),
    );
    let unack = outputs.iter().flat_map(|(from, meter)| {
        [
            ("storage_failure", &meter.not_stored_failed),
            ("storage_full", &meter.not_stored_full),
        ]
        .map(|(reason, count)| ([reason, &*from.id, &*from.output], count.get()))
    });
    page.counted(
        "edgehub_messages_unack_total",
        "Messages that the store did not take, so that their senders have to send them again.",
        ["reason", "from", "from_route_output"],
        unack,
    );
}

/// Adds up what has the same labels.
pub(super) fn summed<L: Ord>(
    parts: impl IntoIterator<Item = (L, Distribution)>,
) -> BTreeMap<L, Distribution> {
    let mut sums: BTreeMap<L, Distribution> = BTreeMap::new();
    for (labels, part) in parts {
        match sums.get_mut(&labels) {
            Some(sum) => sum.merge(&part),
            None => {
                sums.insert(labels, part);
            }
        }
    }
    sums
}
