//! Deployments as the log keeps them: the one in force, and those before it.
//!
//! ```text
//!   table Deployments    current       {"number":12}
//!                        h/000…012     {"number":12,"name":…,"manifest":…,"components":{…},…}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use edge_core::{Digest, Timestamp};
use edge_route::Mode;
use edge_store::{Commit, MessageLog, Put, Table};
use serde::{Deserialize, Serialize};

use crate::api::types::{DeploymentInfo, DeploymentState};

/// Deployments that are kept, the one in force included: enough to go back.
const KEPT: usize = 10;
/// The number of the deployment in force.
const CURRENT: &[u8] = b"current";
/// Before the numbers of all that are kept.
const HISTORY: &str = "h/";

/// A deployment as it was applied, with all that is needed to run it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Counts the deployments of this device.
    pub(crate) number: u64,
    /// The name of its manifest.
    pub(crate) name: String,
    /// Its text.
    pub(crate) manifest: String,
    /// What paths in it are relative to.
    pub(crate) base: PathBuf,
    /// The language of its routes.
    pub(crate) routes: String,
    /// What components it runs, by module.
    pub(crate) components: BTreeMap<String, String>,
    /// When it was applied, in nanoseconds since 1970.
    pub(crate) applied: u64,
    /// Whether its desired properties have still to be set.
    pub(crate) twins_pending: bool,
    /// Its modules that have an identity because of a deployment, and lose it when they leave.
    #[serde(default)]
    pub(crate) identities: BTreeSet<String>,
    /// Modules that it has left out and that have still to lose their identity.
    #[serde(default)]
    pub(crate) leaving: BTreeSet<String>,
    /// Whether it is known to work.
    #[serde(default)]
    pub(crate) standing: Standing,
    /// The number of the deployment that it brings back.
    #[serde(default)]
    pub(crate) brings_back: Option<u64>,
    /// What gave way to it by itself.
    #[serde(default)]
    pub(crate) instead_of: Option<InsteadOf>,
}

/// Whether a deployment is known to work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Not yet.
    #[default]
    Trial,
    /// All of its modules have run as they were to.
    Good,
    /// They have not, and why.
    Failed(String),
}

/// A deployment that failed and gave way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InsteadOf {
    /// Its number.
    pub(crate) number: u64,
    /// Why it failed.
    pub(crate) why: String,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored deployment {key} is damaged: {why}; apply the manifest again")]
pub(crate) struct Damaged {
    key: String,
    why: String,
}

#[derive(Serialize, Deserialize)]
struct Current {
    number: u64,
}

impl Record {
    /// Whether another one would run just the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.manifest == other.manifest
            && self.base == other.base
            && self.routes == other.routes
            && self.components == other.components
    }

    /// The language of its routes.
    pub(crate) fn mode(&self) -> Mode {
        self.routes.parse().unwrap_or(Mode::Compat)
    }

    /// The components that it names.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.components
            .values()
            .filter_map(|text| text.parse().ok())
    }

    /// For lists.
    pub(crate) fn info(&self) -> DeploymentInfo {
        DeploymentInfo {
            number: self.number,
            name: self.name.clone(),
            applied: Timestamp(self.applied).to_string(),
            routes: self.routes.clone(),
            components: self.components.clone(),
            state: match &self.standing {
                Standing::Trial => DeploymentState::Trial,
                Standing::Good => DeploymentState::Good,
                Standing::Failed(_) => DeploymentState::Failed,
            },
            why: match &self.standing {
                Standing::Failed(why) => Some(why.clone()),
                Standing::Trial | Standing::Good => None,
            },
            brings_back: self.brings_back,
        }
    }

    /// Adds it to a commit as the one in force.
    pub(crate) fn stage(&self, commit: &mut Commit) {
        commit.put(put(
            CURRENT,
            Some(&Current {
                number: self.number,
            }),
        ));
        commit.put(put(history_key(self.number).as_bytes(), Some(self)));
    }
}

fn history_key(number: u64) -> String {
    format!("{HISTORY}{number:020}")
}

fn put(key: &[u8], value: Option<&impl Serialize>) -> Put {
    let json = |value| {
        let text = serde_json::to_vec(value).expect("text and numbers can be written as JSON");
        Bytes::from(text)
    };
    Put {
        table: Table::Deployments,
        key: Bytes::copy_from_slice(key),
        value: value.map(json),
    }
}

/// The deployment in force.
pub(crate) fn current(log: &dyn MessageLog) -> Result<Option<Record>, Damaged> {
    let Some(current) = read::<Current>(log, CURRENT)? else {
        return Ok(None);
    };
    let key = history_key(current.number);
    match read(log, key.as_bytes())? {
        Some(record) => Ok(Some(record)),
        None => Err(Damaged {
            key,
            why: "it is not there".to_owned(),
        }),
    }
}

/// The highest number that was given out, 0 if none was.
pub(crate) fn last_number(log: &dyn MessageLog) -> u64 {
    let number = |key: &Bytes| -> Option<u64> {
        std::str::from_utf8(key)
            .ok()?
            .strip_prefix(HISTORY)?
            .parse()
            .ok()
    };
    keys(log).iter().rev().find_map(number).unwrap_or(0)
}

/// The deployments that are kept, newest first. Damaged ones are left out.
pub(crate) fn history(log: &dyn MessageLog) -> Vec<Record> {
    let keys = keys(log);
    let records = keys.iter().rev().filter_map(|key| read(log, key).ok()?);
    records.collect()
}

/// Adds to a commit that the oldest ones are forgotten, `new` among the kept ones.
pub(crate) fn stage_pruning(log: &dyn MessageLog, new: u64, commit: &mut Commit) {
    let new = history_key(new);
    let keys = keys(log);
    let others: Vec<_> = keys.iter().filter(|key| **key != new.as_bytes()).collect();
    let surplus = (others.len() + 1).saturating_sub(KEPT);
    for key in others.into_iter().take(surplus) {
        commit.put(put(key, None::<&Current>));
    }
}

fn keys(log: &dyn MessageLog) -> Vec<Bytes> {
    log.keys(Table::Deployments, HISTORY.as_bytes(), None, KEPT * 4)
}

fn read<T: for<'a> Deserialize<'a>>(
    log: &dyn MessageLog,
    key: &[u8],
) -> Result<Option<T>, Damaged> {
    let Some(value) = log.get(Table::Deployments, key) else {
        return Ok(None);
    };
    serde_json::from_slice(&value)
        .map(Some)
        .map_err(|error| Damaged {
            key: String::from_utf8_lossy(key).into_owned(),
            why: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use edge_store::MemoryLog;

    use super::*;

    #[test]
    fn the_last_ten_are_kept_and_the_newest_is_in_force() {
        let log = MemoryLog::default();
        for number in 1..=13 {
            let record = Record {
                number,
                name: "m.json".to_owned(),
                manifest: "{}".to_owned(),
                base: "/".into(),
                routes: "compat".to_owned(),
                components: BTreeMap::new(),
                applied: 0,
                twins_pending: false,
                identities: BTreeSet::new(),
                leaving: BTreeSet::new(),
                standing: Standing::Trial,
                brings_back: None,
                instead_of: None,
            };
            let mut commit = Commit::new();
            record.stage(&mut commit);
            stage_pruning(&log, number, &mut commit);
            log.commit(&mut commit).expect("commit");
            assert_eq!(current(&log).expect("whole"), Some(record));
        }
        let numbers: Vec<_> = history(&log).iter().map(|record| record.number).collect();
        assert_eq!(numbers, (4..=13).rev().collect::<Vec<_>>());
        assert_eq!(last_number(&log), 13);
    }

    #[test]
    fn a_damaged_record_says_so() {
        let log = MemoryLog::default();
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Deployments,
            key: Bytes::from_static(CURRENT),
            value: Some(Bytes::from_static(b"{")),
        });
        log.commit(&mut commit).expect("commit");
        let error = current(&log).expect_err("it is damaged").to_string();
        assert!(
            error.starts_with("the stored deployment current is damaged"),
            "{error}"
        );
    }
}
