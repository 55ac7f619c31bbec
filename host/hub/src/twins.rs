//! Twins: what is wanted of a module or device, and what it says of itself.
//!
//! A section is one value in the log's table of twins, so a module's report is part of its step.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};
use std::time::Instant;

use bytes::Bytes;
use edge_core::{
    ByteSize, DeviceId, Identity, Message, MessageBuilder, ModuleId, Origin, Source, system, twin,
};
use edge_route::Scratch;
use edge_store::{Commit, CommitError, Lsn, Put, Table};
use serde_json::{Map, Value};
use smallvec::SmallVec;

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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Section {
    /// Counts its changes.
    pub version: u64,
    /// The properties.
    pub properties: Map<String, Value>,
}

impl Section {
    /// The version of a section that was never changed. Clients take 0 for "not known yet"
    /// (client contract, section 6.6).
    pub const FIRST: u64 = 1;

    /// As clients see it: the properties with `$version` among them.
    pub fn with_version(mut self) -> Map<String, Value> {
        self.properties
            .insert("$version".to_owned(), self.version.into());
        self.properties
    }
}

impl Default for Section {
    fn default() -> Self {
        Self {
            version: Self::FIRST,
            properties: Map::new(),
        }
    }
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

/// Hears of changes to desired properties, in their order. Must not block, and must not call back into
/// the hub.
pub trait TwinListener: Send + Sync {
    /// `patch` is a JSON object with what changed; `null` removes. Whoever tells the outside of it waits
    /// for the commit, if there was one.
    fn desired_changed(&self, patch: String, version: u64, lsn: Option<Lsn>);
}

/// Hears that reported properties changed, after the fact is committed. Must not block, and must not call back into
/// the hub.
pub trait ReportListener: Send + Sync {
    /// Those of one identity did.
    fn reported_changed(&self, identity: &Identity);
}

/// Who hears of changes, by whose twin it is.
pub(crate) type TwinListeners = HashMap<Identity, Vec<Arc<dyn TwinListener>>>;

/// Type and schema of messages that tell of reported properties, as the seed system has them.
const TWIN_CHANGE: &str = "twinChangeNotification";

fn key(identity: &Identity, side: Side) -> Bytes {
    let side = match side {
        Side::Desired => "desired",
        Side::Reported => "reported",
    };
    Bytes::from(format!("{side}\0{identity}"))
}

/// The identity whose reported properties a key holds.
fn reporter(key: &[u8]) -> Option<Identity> {
    let name = std::str::from_utf8(key.strip_prefix(b"reported\0")?).ok()?;
    match name.split_once('/') {
        None => Some(Identity::Device(DeviceId::new(name).ok()?)),
        Some((device, module)) => Some(Identity::Module(
            DeviceId::new(device).ok()?,
            ModuleId::new(module).ok()?,
        )),
    }
}

/// Whose reported properties a commit changes.
pub(crate) fn reporters(commit: &Commit) -> SmallVec<[Identity; 2]> {
    let puts = commit.puts().iter();
    let of_twins = puts.filter(|put| put.table == Table::Twins);
    of_twins.filter_map(|put| reporter(&put.key)).collect()
}

impl Hub {
    /// Tells somebody of changes of reported properties, as long as the hub lives; one at most.
    pub fn listen_to_reports(&self, listener: Arc<dyn ReportListener>) {
        self.reports.store(Some(Arc::new(listener)));
    }

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

    /// Adds a change of reported properties to a commit, and the message that tells of it to whoever is
    /// routed to from `/twinChangeNotifications`; returns the version that it makes.
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
        self.stage_twin_change(commit, identity, patch, section.version);
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
        let _one_at_a_time = self.changing();
        let section = self.stage_patch(&mut commit, identity, Side::Desired, patch_object)?;
        let lsn = self.commit(&mut commit)?;
        let listeners = self
            .twin_listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(identity)
            .cloned();
        // Still one at a time: a listener hears of changes in their order.
        for listener in listeners.unwrap_or_default() {
            listener.desired_changed(patch.to_owned(), section.version, lsn);
        }
        Ok((section, lsn))
    }

    /// Changes reported properties, for whoever does not fill a commit of their own; returns the version
    /// that it makes and the commit that it is in.
    ///
    /// # Errors
    /// Nothing changed.
    pub fn change_reported(
        &self,
        identity: &Identity,
        patch: &str,
    ) -> Result<(u64, Option<Lsn>), TwinError> {
        let mut commit = Commit::new();
        let _one_at_a_time = self.changing();
        let version = self.stage_reported(&mut commit, identity, patch)?;
        Ok((version, self.commit(&mut commit)?))
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

    /// Adds somebody who hears of changes to an identity's desired properties.
    pub fn listen_to_twin(&self, identity: &Identity, listener: Arc<dyn TwinListener>) {
        let mut listeners = self.write_listeners();
        listeners
            .entry(identity.clone())
            .or_default()
            .push(listener);
    }

    /// Tells a listener nothing more.
    pub fn forget_listener(&self, identity: &Identity, listener: &Arc<dyn TwinListener>) {
        let mut listeners = self.write_listeners();
        if let Some(those) = listeners.get_mut(identity) {
            those.retain(|known| !Arc::ptr_eq(known, listener));
            if those.is_empty() {
                listeners.remove(identity);
            }
        }
    }

    fn write_listeners(&self) -> RwLockWriteGuard<'_, TwinListeners> {
        self.twin_listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The message that tells of a change, in the queues to which routes lead it. Without such a route,
    /// and with nobody looking on, there is none.
    fn stage_twin_change(
        &self,
        commit: &mut Commit,
        identity: &Identity,
        patch: &str,
        version: u64,
    ) {
        let origin = Origin::new(Source::TwinChange(identity.clone()));
        let routing = self.routing();
        let selection = routing.table.select(origin.path());
        if selection.is_empty() && self.taps.is_empty() {
            return;
        }
        let content = MessageBuilder::new(patch.to_owned())
            .json()
            .system(system::MESSAGE_TYPE, TWIN_CHANGE)
            .system(system::MESSAGE_SCHEMA, TWIN_CHANGE)
            .system(system::VERSION, &version.to_string())
            .build();
        let now = self.now();
        let message = Message {
            content,
            origin,
            id: self.next_id(),
            enqueued: now,
            hops: 0,
        };
        let place = commit.message(message.clone());
        let mut scratch = Scratch::default();
        routing
            .table
            .evaluate(&selection, &message, &mut scratch, |target| {
                let ttl = target.time_to_live.or(routing.time_to_live);
                let expiry = ttl.map(|ttl| now.after(ttl));
                commit.target(place, routing.queues[target.route], expiry);
            });
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
