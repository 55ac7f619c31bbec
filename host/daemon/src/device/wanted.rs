//! Which deployment of the parent's was taken last, in `Table::Upstream`, and what is reported of it.

use bytes::Bytes;
use edge_store::{Commit, CommitError, Put, Table};
use serde::{Deserialize, Serialize};

use super::Device;

const KEY: &[u8] = b"deployment";

/// Versions of what is wanted of `$edgeAgent` and `$edgeHub`: `$version` of their desired properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct DesiredVersions {
    pub(crate) agent: u64,
    pub(crate) hub: u64,
}

/// What became of a deployment of the parent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    #[serde(flatten)]
    pub(crate) versions: DesiredVersions,
    /// Where the parent is. Another one counts its versions anew.
    #[serde(default)]
    pub(crate) parent: String,
    /// The number of the deployment here that it became; none: it was refused.
    #[serde(default)]
    pub(crate) number: Option<u64>,
}

/// How the last deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastDesired {
    InForce,
    Refused,
}

impl Device {
    /// What was taken of the parent last; none: nothing, or there is no parent.
    pub(crate) fn taken(&self) -> Option<Taken> {
        self.taken.borrow().clone()
    }

    /// The versions that reports say were seen last.
    pub(super) fn last_desired(&self, last: LastDesired) -> DesiredVersions {
        let number = self.shown().map_or(0, |(record, _)| record.number);
        let has_parent = self.upstream.get().is_some();
        last_desired(has_parent, self.taken.borrow().as_ref(), number, last)
    }

    pub(super) fn read_taken(&self) {
        let value = self.hub.log().get(Table::Upstream, KEY);
        let taken = value.and_then(|value| serde_json::from_slice(&value).ok());
        self.taken.send_replace(taken);
    }

    /// Notes what was taken.
    ///
    /// # Errors
    /// It is known until the next start only.
    pub(crate) fn keep_taken(&self, taken: Taken) -> Result<(), CommitError> {
        let value =
            serde_json::to_vec(&taken).map_err(|error| CommitError::Failed(error.to_string()))?;
        self.taken.send_replace(Some(taken));
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Upstream,
            key: Bytes::from_static(KEY),
            value: Some(value.into()),
        });
        self.hub.commit(&mut commit).map(drop)
    }
}

/// The parent compares them with what it wants: they are its own while what is in force, or was refused just now, is
/// its; and none of its otherwise. Without a parent they are the number of the deployment here.
fn last_desired(
    has_parent: bool,
    taken: Option<&Taken>,
    number: u64,
    last: LastDesired,
) -> DesiredVersions {
    if !has_parent {
        return DesiredVersions {
            agent: number,
            hub: number,
        };
    }
    let counts = |taken: &&Taken| match taken.number {
        Some(became) => became == number,
        None => last == LastDesired::Refused,
    };
    taken
        .filter(counts)
        .map(|taken| taken.versions)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parents_versions_are_reported_while_its_word_counts() {
        let versions = DesiredVersions { agent: 7, hub: 5 };
        let taken = |number| Taken {
            versions,
            parent: "parent:5671".to_owned(),
            number,
        };
        let (in_force, refused) = (LastDesired::InForce, LastDesired::Refused);
        let is_told =
            |taken: &Taken, number, last| last_desired(true, Some(taken), number, last) == versions;
        assert!(is_told(&taken(Some(3)), 3, in_force));
        // Something was applied here since, or an earlier one was brought back.
        assert!(!is_told(&taken(Some(3)), 4, in_force));
        // Refused just now; and what is in force after a restart, or after something else was applied.
        assert!(is_told(&taken(None), 3, refused));
        assert!(!is_told(&taken(None), 3, in_force));
        let none = last_desired(true, None, 3, in_force);
        assert_eq!(none, DesiredVersions::default());
        let alone = last_desired(false, None, 3, in_force);
        assert_eq!((alone.agent, alone.hub), (3, 3));
    }
}
