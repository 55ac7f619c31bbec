//! What the device reports of its hub: the reported properties of `$edgeHub`, as the seed system has them: who is
//! connected, and since when; the deployment whose routes are in force.
//!
//! ```text
//!   meters of clients ─► report ─► difference to what is reported ─► twin of $edgeHub     every 5 s at most
//! ```
//!
//! With more clients than the twin has room for, it tells of none of them: metrics do.

use std::time::Duration;

use edge_core::{Identity, ModuleId, Timestamp, twin};
use edge_hub::{Side, TwinError};
use serde_json::{Map, Value, json};

use super::Device;
use super::wanted::LastDesired;

/// Shortest time between two reports, as the seed system has it.
const PAUSE: Duration = Duration::from_secs(5);

/// A client, whether it is connected, and when that began and ended last.
type Client = (Identity, bool, Option<Timestamp>, Option<Timestamp>);

impl Device {
    /// Reports for as long as it is driven.
    pub(crate) async fn report_hub(&self) {
        let mut told = None;
        loop {
            let clients = self.clients();
            let now = (self.last_desired(LastDesired::InForce).hub, clients);
            // An idle device reads and writes nothing.
            if told.as_ref() != Some(&now) {
                match self.report_hub_now(now.0, &now.1) {
                    Ok(()) => told = Some(now),
                    Err(error) => tracing::warn!(%error, "the state of the hub was not reported"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn clients(&self) -> Vec<Client> {
        let meters = self.hub.meters().clients.all().into_iter();
        let mut clients: Vec<_> = meters
            .filter_map(|(client, meter)| {
                let identity = client.flatten()?;
                Some((identity, meter.is_connected(), meter.began(), meter.ended()))
            })
            .collect();
        clients.sort_by_cached_key(|(identity, ..)| identity.to_string());
        clients
    }

    fn report_hub_now(&self, version: u64, clients: &[Client]) -> Result<(), TwinError> {
        let hub =
            ModuleId::new("$edgeHub").map_err(|error| TwinError::Invalid(error.to_string()))?;
        let identity = self.identity(&hub);
        let reported = self.hub.twin(&identity, Side::Reported, None)?.properties;
        let change = |clients| {
            let report = report(version, clients);
            let Some(patch) = twin::difference(&reported, &report) else {
                return Ok(());
            };
            let patch = Value::Object(patch).to_string();
            self.hub.change_reported(&identity, &patch).map(drop)
        };
        match change(clients) {
            Err(TwinError::TooLarge { .. }) => change(&[]),
            done => done,
        }
    }
}

fn report(version: u64, clients: &[Client]) -> Map<String, Value> {
    let clients = clients
        .iter()
        .filter_map(|(identity, is_connected, began, ended)| {
            let name = identity.to_string();
            let alone = Map::from_iter([(name.clone(), json!({}))]);
            // A name that cannot be that of a property.
            twin::validate(&alone, false).ok()?;
            let status = if *is_connected {
                "Connected"
            } else {
                "Disconnected"
            };
            let mut client = Map::from_iter([("status".to_owned(), status.into())]);
            for (name, at) in [
                ("lastConnectedTimeUtc", began),
                ("lastDisconnectedTimeUtc", ended),
            ] {
                if let Some(at) = at {
                    client.insert(name.to_owned(), at.to_string().into());
                }
            }
            Some((name, Value::Object(client)))
        });
    let mut report = Map::new();
    for (name, value) in [
        ("schemaVersion", json!("1.1")),
        ("version", json!({ "version": env!("CARGO_PKG_VERSION") })),
        ("lastDesiredVersion", json!(version)),
        // A deployment with a route that cannot be is refused as a whole, and `$edgeAgent` says so.
        (
            "lastDesiredStatus",
            json!({ "code": 200, "description": "" }),
        ),
        ("clients", Value::Object(clients.collect())),
    ] {
        report.insert(name.to_owned(), value);
    }
    report
}

#[cfg(test)]
mod tests {
    use edge_core::DeviceId;

    use super::*;

    #[test]
    fn a_report_has_the_seed_systems_names() {
        let device = |name: &str| Identity::Device(DeviceId::new(name).expect("an id"));
        let at = |seconds: u64| Some(Timestamp(seconds * 1_000_000_000));
        let clients = [
            (device("leaf1"), true, at(10), at(5)),
            (device("leaf2"), false, at(1), at(2)),
            (device("a.b"), true, at(1), None),
        ];
        let report = report(3, &clients);
        assert_eq!(
            report["clients"],
            json!({
                "leaf1": { "status": "Connected", "lastConnectedTimeUtc": "1970-01-01T00:00:10.000Z",
                    "lastDisconnectedTimeUtc": "1970-01-01T00:00:05.000Z" },
                "leaf2": { "status": "Disconnected", "lastConnectedTimeUtc": "1970-01-01T00:00:01.000Z",
                    "lastDisconnectedTimeUtc": "1970-01-01T00:00:02.000Z" },
            })
        );
        assert_eq!(report["lastDesiredVersion"], 3);
        twin::validate(&report, false).expect("a twin can hold it");
    }
}
