//! Which deployment of the parent's was taken last: the versions that its two twins had then, in `Table::Upstream`.

use bytes::Bytes;
use edge_store::{Commit, Put, Table};
use serde::{Deserialize, Serialize};

use super::Device;

const KEY: &[u8] = b"deployment";

/// Versions of what is wanted of `$edgeAgent` and `$edgeHub`: `$version` of their desired properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DesiredVersions {
    pub(crate) agent: u64,
    pub(crate) hub: u64,
}

impl Device {
    /// What was taken of the parent last, in force or refused; none: nothing, or there is no parent.
    pub(crate) fn taken(&self) -> Option<DesiredVersions> {
        *self.taken.borrow()
    }

    /// What the reports say that was seen last: the parent's versions, or the number of the deployment here.
    pub(super) fn last_desired(&self) -> DesiredVersions {
        self.taken().unwrap_or_else(|| {
            let number = self.shown().map_or(0, |(record, _)| record.number);
            DesiredVersions {
                agent: number,
                hub: number,
            }
        })
    }

    pub(super) fn read_taken(&self) {
        let value = self.hub.log().get(Table::Upstream, KEY);
        let taken = value.and_then(|value| serde_json::from_slice(&value).ok());
        self.taken.send_replace(taken);
    }

    /// Notes what was taken.
    pub(crate) fn keep_taken(&self, versions: DesiredVersions) {
        self.taken.send_replace(Some(versions));
        let Ok(value) = serde_json::to_vec(&versions) else {
            return;
        };
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Upstream,
            key: Bytes::from_static(KEY),
            value: Some(value.into()),
        });
        if let Err(error) = self.hub.commit(&mut commit) {
            // It is put in force once more after the next start.
            tracing::warn!(%error, "not stored that a deployment of the parent's was taken");
        }
    }
}
