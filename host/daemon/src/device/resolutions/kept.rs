//! What references of a deployment stood for: the manifest in the registry, and the component that it named.
//!
//! ```text
//!   table Deployments    resolved/000…012/filter    {"reference":…,"manifest":"sha256:…","component":"sha256:…"}
//! ```
//!
//! Written when a reference is resolved and when its component has come, each time before it counts, so that a
//! start without a network runs what ran before, wherever the tag leads by then. A deployment takes over what was
//! resolved for modules that it leaves as they were; it goes with the deployment that it belongs to.

use std::collections::BTreeSet;

use bytes::Bytes;
use edge_core::{Digest, ModuleId};
use edge_store::{Commit, MessageLog, Put, Table};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Before the numbers of deployments.
const PREFIX: &str = "resolved/";
/// Most entries that are looked at: the kept deployments, with more modules than a device runs.
const MOST: usize = 100_000;

/// What a reference stood for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::device) struct Resolution {
    /// As the deployment has it.
    pub(in crate::device) reference: String,
    /// The hash of the manifest in the registry.
    #[serde(with = "text")]
    pub(in crate::device) manifest: Digest,
    /// The hash of the component, once it is here.
    #[serde(with = "optional_text", default)]
    pub(in crate::device) component: Option<Digest>,
}

/// What is known of a module of a deployment.
pub(in crate::device) fn of(
    log: &dyn MessageLog,
    deployment: u64,
    module: &ModuleId,
) -> Option<Resolution> {
    read(log, key(deployment, module).as_bytes())
}

/// All that is known, of all deployments.
pub(in crate::device) fn all(log: &dyn MessageLog) -> impl Iterator<Item = Resolution> {
    let keys = keys(log, PREFIX);
    keys.into_iter().filter_map(move |key| read(log, &key))
}

/// Adds to a commit what a module's reference stands for.
pub(in crate::device) fn stage(
    deployment: u64,
    module: &ModuleId,
    resolution: &Resolution,
    commit: &mut Commit,
) {
    let text = serde_json::to_vec(resolution).expect("text can be written as JSON");
    commit.put(Put {
        table: Table::Deployments,
        key: Bytes::from(key(deployment, module)),
        value: Some(Bytes::from(text)),
    });
}

/// Adds to a commit that all is forgotten of deployments that are not among `kept`. Says whether there was any.
pub(in crate::device) fn stage_pruning(
    log: &dyn MessageLog,
    kept: &BTreeSet<u64>,
    commit: &mut Commit,
) -> bool {
    let number = |key: &Bytes| -> Option<u64> {
        let text = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
        text.split('/').next()?.parse().ok()
    };
    let keys = keys(log, PREFIX).into_iter();
    let gone = keys.filter(|key| number(key).is_none_or(|number| !kept.contains(&number)));
    let mut any = false;
    for key in gone {
        any = true;
        commit.put(Put {
            table: Table::Deployments,
            key,
            value: None,
        });
    }
    any
}

fn key(deployment: u64, module: &ModuleId) -> String {
    format!("{PREFIX}{deployment:020}/{module}")
}

fn keys(log: &dyn MessageLog, prefix: &str) -> Vec<Bytes> {
    log.keys(Table::Deployments, prefix.as_bytes(), None, MOST)
}

/// A damaged one is as good as none: the registry is asked again.
fn read(log: &dyn MessageLog, key: &[u8]) -> Option<Resolution> {
    let value = log.get(Table::Deployments, key)?;
    let read = serde_json::from_slice(&value);
    read.inspect_err(|error| {
        let key = String::from_utf8_lossy(key);
        warn!(%key, %error, "what a reference stood for is damaged");
    })
    .ok()
}

mod text {
    use edge_core::Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::device) fn serialize<S: Serializer>(
        digest: &Digest,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(in crate::device) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

mod optional_text {
    use edge_core::Digest;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(in crate::device) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.to_string()).serialize(to)
    }

    pub(in crate::device) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Digest>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use edge_store::MemoryLog;

    use super::*;

    #[test]
    fn what_was_resolved_is_found_by_deployment_and_goes_with_it() {
        let log = MemoryLog::default();
        let module = ModuleId::new("filter").expect("name");
        let resolution = |byte: u8| Resolution {
            reference: "r.example/filter:1".to_owned(),
            manifest: Digest([byte; 32]),
            component: (byte > 1).then_some(Digest([byte + 100; 32])),
        };
        let mut commit = Commit::new();
        for number in 1..=3 {
            stage(number.into(), &module, &resolution(number), &mut commit);
        }
        log.commit(&mut commit).expect("commit");
        for number in 1..=3 {
            assert_eq!(of(&log, number.into(), &module), Some(resolution(number)));
        }
        let mut commit = Commit::new();
        assert!(stage_pruning(&log, &BTreeSet::from([2, 4]), &mut commit));
        log.commit(&mut commit).expect("commit");
        assert_eq!(all(&log).collect::<Vec<_>>(), [resolution(2)]);
        assert!(!stage_pruning(
            &log,
            &BTreeSet::from([2]),
            &mut Commit::new()
        ));
    }

    #[test]
    fn a_damaged_entry_is_as_good_as_none() {
        let log = MemoryLog::default();
        let module = ModuleId::new("filter").expect("name");
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Deployments,
            key: Bytes::from(key(1, &module)),
            value: Some(Bytes::from_static(
                b"{\"reference\":\"a\",\"manifest\":\"x\"}",
            )),
        });
        log.commit(&mut commit).expect("commit");
        assert_eq!(of(&log, 1, &module), None);
    }
}
