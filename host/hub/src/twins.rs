//! Twins: what is wanted of a module or device, and what it says of itself.
//!
//! A section is one value in the log's table of twins, so a module's report is part of its step.

use std::sync::PoisonError;
use std::time::Instant;

use bytes::Bytes;
use edge_core::{ByteSize, Identity, twin};
use edge_store::{Commit, CommitError, Lsn, Put, Table};
use serde_json::{Map, Value};

use crate::Hub;
use crate::meters::nanos;

/// One half of a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is wanted.
    Desired,
    /// What is.
    Reported,
}

/// One half of a twin at one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Section {
    /// Counts its changes.
    pub version: u64,
    /// The properties.
    pub properties: Map<String, Value>,
}

/// Why a twin was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// Not a JSON object, or something in it that a twin cannot hold.
    #[error("{0}")]
    Invalid(String),
    /// The section would be too large.
    #[error("the section would have {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What it would have.
        size: usize,
        /// What it may have.
        limit: ByteSize,
    },
    /// The change was not stored.
    #[error(transparent)]
    NotStored(#[from] CommitError),
}

/// Hears of changes to desired properties. Must not block.
pub trait TwinListener: Send + Sync {
    /// `patch` is a JSON object with what changed; `null` removes.
    fn desired_changed(&self, patch: String, version: u64);
}

fn key(identity: &Identity, side: Side) -> Bytes {
    let side = match side {
        Side::Desired => "desired",
        Side::Reported => "reported",
    };
    Bytes::from(format!("{side}\0{identity}"))
}

impl Hub {
    /// A section of a twin as it stands, with what a commit in the making changes in it.
    ///
    /// # Errors
    /// The stored section cannot be read.
    pub fn twin(
        &self,
        identity: &Identity,
        side: Side,
        pending: Option<&Commit>,
    ) -> Result<Section, TwinError> {
        let begin = Instant::now();
        let section = self.section(identity, side, pending)?;
        let meter = self.meters.twins.get(identity);
        meter.reads.record(nanos(begin.elapsed()), 1);
        Ok(section)
    }

    fn section(
        &self,
        identity: &Identity,
        side: Side,
        pending: Option<&Commit>,
    ) -> Result<Section, TwinError> {
        let key = key(identity, side);
        let staged = pending.and_then(|commit| commit.pending(Table::Twins, &key));
        let value = match staged {
            Some(value) => value.cloned(),
            None => self.log.get(Table::Twins, &key),
        };
        let Some(value) = value else {
            return Ok(Section::default());
        };
        serde_json::from_slice(&value).map_err(|error| {
            TwinError::Invalid(format!("the stored twin of {identity} is damaged: {error}"))
        })
    }

    /// Adds a change of reported properties to a commit; returns the version that it makes.
    ///
    /// # Errors
    /// The commit is as before.
    pub fn stage_reported(
        &self,
        commit: &mut Commit,
        identity: &Identity,
        patch: &str,
    ) -> Result<u64, TwinError> {
        let begin = Instant::now();
        let section = self.stage_patch(commit, identity, Side::Reported, parse(patch)?)?;
        let meter = self.meters.twins.get(identity);
        meter.reports.record(nanos(begin.elapsed()), 1);
        Ok(section.version)
    }

    /// Changes desired properties and tells the owner; returns the version that it makes.
    ///
    /// # Errors
    /// Nothing changed.
    pub fn set_desired(&self, identity: &Identity, patch: &str) -> Result<u64, TwinError> {
        self.change_desired(identity, patch)
            .map(|(section, _)| section.version)
    }

    /// The same, with the section that it makes and the commit that it is in, for those who promise
    /// that it is kept.
    ///
    /// # Errors
    /// Nothing changed.
    pub fn change_desired(
        &self,
        identity: &Identity,
        patch: &str,
    ) -> Result<(Section, Option<Lsn>), TwinError> {
        let patch_object = parse(patch)?;
        let mut commit = Commit::new();
        let (section, lsn) = {
            let _one_at_a_time = self.changing();
            let section = self.stage_patch(&mut commit, identity, Side::Desired, patch_object)?;
            (section, self.commit(&mut commit)?)
        };
        let listener = self
            .twin_listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(identity)
            .cloned();
        if let Some(listener) = listener {
            listener.desired_changed(patch.to_owned(), section.version);
        }
        Ok((section, lsn))
    }

    /// Whether [`set_desired`](Self::set_desired) would take a patch as things are.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check_desired(&self, identity: &Identity, patch: &str) -> Result<(), TwinError> {
        let mut never_committed = Commit::new();
        self.stage_patch(&mut never_committed, identity, Side::Desired, parse(patch)?)
            .map(|_| ())
    }

    /// Who is to hear of changes to an identity's desired properties; `None`: nobody any more.
    pub fn listen_to_twin(
        &self,
        identity: &Identity,
        listener: Option<std::sync::Arc<dyn TwinListener>>,
    ) {
        let mut listeners = self
            .twin_listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match listener {
            Some(listener) => listeners.insert(identity.clone(), listener),
            None => listeners.remove(identity),
        };
    }

    fn stage_patch(
        &self,
        commit: &mut Commit,
        identity: &Identity,
        side: Side,
        patch: Map<String, Value>,
    ) -> Result<Section, TwinError> {
        twin::validate(&patch, true).map_err(|error| TwinError::Invalid(error.to_string()))?;
        let mut section = self.section(identity, side, Some(commit))?;
        twin::merge(&mut section.properties, patch);
        section.version += 1;
        let value = serde_json::to_vec(&section)
            .map_err(|error| TwinError::Invalid(format!("the twin cannot be written: {error}")))?;
        let limit = self.config.twin_limit;
        if value.len() as u64 > limit.0 {
            return Err(TwinError::TooLarge {
                size: value.len(),
                limit,
            });
        }
        commit.put(Put {
            table: Table::Twins,
            key: key(identity, side),
            value: Some(value.into()),
        });
        Ok(section)
    }
}

fn parse(patch: &str) -> Result<Map<String, Value>, TwinError> {
    serde_json::from_str(patch)
        .map_err(|error| TwinError::Invalid(format!("expected a JSON object: {error}")))
}
