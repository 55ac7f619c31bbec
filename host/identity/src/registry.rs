//! Devices and modules that may connect.
//!
//! Owns [`Table::Identities`]. The log is the truth; a map in memory, read once at the start, answers.
//! Called by heads (authenticate), by the workload API, and by the daemon (own identity, commands).
//!
//! ```text
//!   add │ ensure │ set_auth │ rotate │ set_status │ set_parent │ remove │ adopt
//!        one at a time: look ─► commit ─► map ─► tell the watchers       Lsn: durable when the log says so
//!   authenticate │ recheck │ get │ list
//!        at any time, on any thread; never wait for a commit
//! ```
//!
//! Lock order: `changing`, then `entries`; watchers are called with neither held.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use edge_core::{DeviceId, Identity, Timestamp};
use edge_store::{Commit, CommitError, Lsn, MessageLog, Put, Table};

use crate::entry::{decode, decode_key, encode, encode_key};
use crate::{
    Auth, CLOCK_SKEW, ChainVerifier, Entry, GenerationId, InvalidKey, InvalidThumbprint, Secret,
    Status, SymmetricKeys, Thumbprints,
};

mod authenticate;
mod scope;
#[cfg(test)]
mod tests;

/// Gateways above a device, at most.
const MOST_LEVELS: usize = 16;
/// Keys that are read from the log at a time.
const PAGE: usize = 256;

/// The registry. Shared by all who ask; see the head of this file.
pub struct Registry {
    log: Arc<dyn MessageLog>,
    entries: RwLock<HashMap<Identity, Arc<Entry>>>,
    /// Held during a change; the newest generation there was.
    changing: Mutex<u64>,
    watchers: RwLock<Vec<Arc<dyn Watcher>>>,
    verifier: OnceLock<Arc<dyn ChainVerifier>>,
    damaged: Vec<DamagedEntry>,
    /// How long after its expiry a token is still taken.
    skew: Duration,
}

/// Told of changes, so that live connections are checked again at once.
pub trait Watcher: Send + Sync {
    /// An identity was made, changed or removed. Called after the change is in the log, on the thread that
    /// changed it, once for each identity that is touched: for a device that is removed or disabled, or gets
    /// other keys, also for its modules, and for devices behind it. Must not block and must not change the registry.
    fn changed(&self, identity: &Identity);
}

/// An entry that was not understood when the registry was opened. It is passed over, and stays in the log until
/// the identity is added again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedEntry {
    /// Its key in the log, as text.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// How a new identity is to prove itself. Text comes from people or the management API, and is checked here.
#[derive(Clone, PartialEq, Eq)]
pub enum NewAuth {
    /// Keys, in base64; those that are not given are made.
    Keys {
        /// The primary one.
        primary: Option<String>,
        /// The secondary one.
        secondary: Option<String>,
    },
    /// Thumbprints of certificates: SHA-1 or SHA-256 in hexadecimal.
    Thumbprints {
        /// The primary one.
        primary: String,
        /// The secondary one.
        secondary: Option<String>,
    },
    /// Certificates by a trusted CA.
    Authority,
}

impl NewAuth {
    /// Two fresh keys.
    pub const FRESH: Self = Self::Keys {
        primary: None,
        secondary: None,
    };

    fn check(&self) -> Result<Auth, RegistryError> {
        let key = |text: &Option<String>| match text {
            Some(text) => Ok(Secret::from_base64(text)?),
            None => Secret::generate().map_err(RegistryError::Random),
        };
        Ok(match self {
            Self::Keys { primary, secondary } => Auth::Keys(SymmetricKeys {
                primary: key(primary)?,
                secondary: key(secondary)?,
            }),
            Self::Thumbprints { primary, secondary } => Auth::Thumbprints(Thumbprints {
                primary: primary.parse()?,
                secondary: secondary.as_deref().map(str::parse).transpose()?,
            }),
            Self::Authority => Auth::Authority,
        })
    }
}

/// Without keys.
impl fmt::Debug for NewAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys { .. } => "Keys(***)",
            Self::Thumbprints { .. } => "Thumbprints(..)",
            Self::Authority => "Authority",
        })
    }
}

/// Which of two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The primary one.
    Primary,
    /// The secondary one.
    Secondary,
    /// Both.
    Both,
}

/// Why the registry was not read, or not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is an identity of this name.
    #[error("{0} is registered already; remove it first, or change its keys")]
    AlreadyThere(Identity),
    /// There is no identity of this name.
    #[error("{0} is not registered")]
    Unknown(Identity),
    /// The device of a module, or the parent of a device, is not registered.
    #[error("device {device} is not registered; add it before {identity}")]
    NoSuchDevice {
        /// What was to be changed.
        identity: Identity,
        /// The device that it needs.
        device: DeviceId,
    },
    /// A given key is none.
    #[error("bad key: {0}")]
    BadKey(#[from] InvalidKey),
    /// A given thumbprint is none.
    #[error("bad thumbprint: {0}")]
    BadThumbprint(#[from] InvalidThumbprint),
    /// Keys can be replaced only where there are some.
    #[error("{0} has no keys to replace: it is known by a certificate")]
    NoKeys(Identity),
    /// A device's parents would form a ring, or a module would have a parent of its own.
    #[error("{identity} cannot be a child of {parent}")]
    BadParent {
        /// The child.
        identity: Identity,
        /// The parent.
        parent: DeviceId,
    },
    /// It is the parent's to change.
    #[error("{0} was taken over from the parent: change it there")]
    OfParent(Identity),
    /// It would come back as soon as the parent tells of it.
    #[error(
        "{0} was taken over from the parent: remove it there; `edge identity disable` keeps it out here"
    )]
    WouldComeBack(Identity),
    /// The operating system has no randomness to give.
    #[error("make a key: {0}")]
    Random(getrandom::Error),
    /// The log did not take the change. Nothing happened.
    #[error("write the identity: {0}")]
    Commit(CommitError),
}

impl RegistryError {
    /// Whether trying again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_transient())
    }
}

impl Registry {
    /// Reads all identities of a log. One that is damaged is named, logged and passed over. Tokens are taken
    /// [`CLOCK_SKEW`] after their expiry.
    ///
    /// # Errors
    /// None yet; kept for logs that can fail to be read.
    pub fn open(log: Arc<dyn MessageLog>) -> Result<Arc<Self>, RegistryError> {
        Self::open_with(log, CLOCK_SKEW)
    }

    /// The same where clocks differ by another time at most.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(log: Arc<dyn MessageLog>, skew: Duration) -> Result<Arc<Self>, RegistryError> {
        let mut entries = HashMap::new();
        let mut damaged = Vec::new();
        let mut after = None;
        loop {
            let page = log.keys(Table::Identities, b"", after.as_deref(), PAGE);
            for key in &page {
                let read = decode_key(key).and_then(|identity| {
                    let value = log.get(Table::Identities, key);
                    value.map(|value| decode(identity, &value)).transpose()
                });
                match read {
                    Ok(None) => {}
                    Ok(Some(entry)) => {
                        entries.insert(entry.identity.clone(), Arc::new(entry));
                    }
                    Err(error) => {
                        let key = String::from_utf8_lossy(key).replace('\0', "/");
                        let why = error.to_string();
                        tracing::error!(identity = %key, %why, "identity is damaged and passed over; add it again");
                        damaged.push(DamagedEntry { key, why });
                    }
                }
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let newest = entries.values().map(|entry| entry.generation.0).max();
        Ok(Arc::new(Self {
            log,
            entries: RwLock::new(entries),
            changing: Mutex::new(newest.unwrap_or_default()),
            watchers: RwLock::default(),
            verifier: OnceLock::new(),
            damaged,
            skew,
        }))
    }

    /// Who judges certificates by a trusted CA. Until it is set, identities of [`Auth::Authority`] are told
    /// [`Denied::NotReady`](crate::Denied::NotReady). Returns whether it was the first.
    pub fn set_verifier(&self, verifier: Arc<dyn ChainVerifier>) -> bool {
        self.verifier.set(verifier).is_ok()
    }

    /// Entries of the log that were not understood.
    pub fn damaged(&self) -> &[DamagedEntry] {
        &self.damaged
    }

    /// An identity's entry.
    pub fn get(&self, identity: &Identity) -> Option<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(identity).cloned()
    }

    /// All entries: devices by name, each followed by its modules.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = entries.values().cloned().collect();
        drop(entries);
        list.sort_by(|a, b| place(&a.identity).cmp(&place(&b.identity)));
        list
    }

    /// Modules of a device, by name.
    pub fn modules(&self, device: &DeviceId) -> Vec<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let of_device =
            |entry: &&Arc<Entry>| matches!(&entry.identity, Identity::Module(d, _) if d == device);
        let mut list: Vec<_> = entries.values().filter(of_device).cloned().collect();
        drop(entries);
        list.sort_by(|a, b| place(&a.identity).cmp(&place(&b.identity)));
        list
    }

    /// The entry of an identity; made with fresh keys if it is not there. For the own device and the modules of
    /// a deployment. The `Lsn` is that of the commit which made it.
    ///
    /// # Errors
    /// As [`add`](Self::add), but for `AlreadyThere`.
    pub fn ensure(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Option<Lsn>), RegistryError> {
        if let Some(entry) = self.get(identity) {
            return Ok((entry, None));
        }
        match self.add(identity, NewAuth::FRESH, now) {
            Ok((entry, lsn)) => Ok((entry, Some(lsn))),
            // Somebody else made it in between.
            Err(RegistryError::AlreadyThere(_)) => self
                .get(identity)
                .map(|entry| (entry, None))
                .ok_or_else(|| RegistryError::Unknown(identity.clone())),
            Err(error) => Err(error),
        }
    }

    /// Makes an identity.
    ///
    /// # Errors
    /// It is there, its device is not, or a key or thumbprint is none.
    pub fn add(
        &self,
        identity: &Identity,
        auth: NewAuth,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        self.add_behind(identity, auth, None, now)
    }

    /// Makes an identity of a device behind a gateway.
    ///
    /// # Errors
    /// As [`add`](Self::add); the gateway is not there, or it is a module.
    pub fn add_behind(
        &self,
        identity: &Identity,
        auth: NewAuth,
        parent: Option<&DeviceId>,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        let auth = auth.check()?;
        let mut last = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get(identity).is_some() {
            return Err(RegistryError::AlreadyThere(identity.clone()));
        }
        if let Identity::Module(device, _) = identity
            && self.get(&Identity::Device(device.clone())).is_none()
        {
            return Err(RegistryError::NoSuchDevice {
                identity: identity.clone(),
                device: device.clone(),
            });
        }
        if let Some(parent) = parent {
            self.check_parent(identity, parent)?;
        }
        let generation = GenerationId::new(now, *last);
        let entry = Entry {
            identity: identity.clone(),
            auth,
            status: Status::Enabled,
            generation,
            created: now,
            changed: now,
            version: 1,
            parent: parent.cloned(),
            from_parent: false,
            kept_out: false,
        };
        let stored = self.store(entry)?;
        *last = generation.0;
        drop(last);
        self.tell(identity);
        Ok(stored)
    }

    /// Gives an identity other keys or thumbprints, or another way to prove itself.
    ///
    /// # Errors
    /// It is not there, or a key or thumbprint is none.
    pub fn set_auth(
        &self,
        identity: &Identity,
        auth: NewAuth,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        let auth = auth.check()?;
        self.change_own(identity, now, |entry| {
            entry.auth = auth;
            Ok(())
        })
    }

    /// Replaces keys by fresh ones.
    ///
    /// # Errors
    /// It is not there, or has no keys.
    pub fn rotate(
        &self,
        identity: &Identity,
        which: Which,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        let fresh = SymmetricKeys::generate().map_err(RegistryError::Random)?;
        self.change_own(identity, now, |entry| {
            let Auth::Keys(keys) = &mut entry.auth else {
                return Err(RegistryError::NoKeys(identity.clone()));
            };
            if which != Which::Secondary {
                keys.primary = fresh.primary;
            }
            if which != Which::Primary {
                keys.secondary = fresh.secondary;
            }
            Ok(())
        })
    }

    /// Lets an identity in, or keeps it out. A disabled device keeps its modules out as well. One that was taken over
    /// from the parent is kept out here until it is let in here, and let in then if the parent lets it in.
    ///
    /// # Errors
    /// It is not there; it is kept out here, and the parent has it no more.
    pub fn set_status(
        &self,
        identity: &Identity,
        status: Status,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        self.change(identity, |entry| {
            if entry.from_parent {
                // The version counts the parent's changes.
                entry.kept_out = status == Status::Disabled;
                return Ok(());
            }
            if entry.kept_out {
                return Err(RegistryError::OfParent(identity.clone()));
            }
            entry.status = status;
            entry.version += 1;
            entry.changed = now;
            Ok(())
        })
    }

    /// Says which gateway a device is a child of.
    ///
    /// # Errors
    /// Either is not there, it is a module, or the device is above its new parent.
    pub fn set_parent(
        &self,
        identity: &Identity,
        parent: Option<&DeviceId>,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        self.change_own(identity, now, |entry| {
            if let Some(parent) = parent {
                self.check_parent(identity, parent)?;
            }
            entry.parent = parent.cloned();
            Ok(())
        })
    }

    /// Removes an identity; a device takes its modules along. Returns what was removed.
    ///
    /// # Errors
    /// It is not there; it is the parent's, and would come back when the parent tells of all.
    pub fn remove(&self, identity: &Identity) -> Result<(Vec<Identity>, Lsn), RegistryError> {
        self.remove_if(identity, |entry| match entry.from_parent {
            true => Err(RegistryError::WouldComeBack(identity.clone())),
            false => Ok(()),
        })
    }

    /// The same on a device that has no parent any more: nobody is left to tell of those that were taken over.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove_orphan(
        &self,
        identity: &Identity,
    ) -> Result<(Vec<Identity>, Lsn), RegistryError> {
        self.remove_if(identity, |_| Ok(()))
    }

    fn remove_if(
        &self,
        identity: &Identity,
        check: impl FnOnce(&Entry) -> Result<(), RegistryError>,
    ) -> Result<(Vec<Identity>, Lsn), RegistryError> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.get(identity);
        let entry = entry.ok_or_else(|| RegistryError::Unknown(identity.clone()))?;
        check(&entry)?;
        let removed = self.with_modules(&HashSet::from([identity])).into_iter();
        let removed: Vec<_> = removed.map(|entry| entry.identity.clone()).collect();
        let touched = self.touched([identity]);
        let mut commit = Commit::new();
        for identity in &removed {
            commit.put(Put {
                table: Table::Identities,
                key: encode_key(identity),
                value: None,
            });
        }
        let lsn = self
            .log
            .commit(&mut commit)
            .map_err(RegistryError::Commit)?;
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for identity in &removed {
            entries.remove(identity);
        }
        drop(entries);
        drop(changing);
        self.tell_all(&touched);
        Ok((removed, lsn))
    }

    /// Has changes told to somebody, until [`unwatch`](Self::unwatch).
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        let mut watchers = self
            .watchers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        watchers.push(watcher);
    }

    /// Tells somebody no more.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>) {
        let mut watchers = self
            .watchers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|known| !Arc::ptr_eq(known, watcher));
    }

    /// Changes an entry that is ours to change.
    fn change_own(
        &self,
        identity: &Identity,
        now: Timestamp,
        edit: impl FnOnce(&mut Entry) -> Result<(), RegistryError>,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        self.change(identity, |entry| {
            if entry.from_parent {
                return Err(RegistryError::OfParent(identity.clone()));
            }
            edit(entry)?;
            entry.version += 1;
            entry.changed = now;
            Ok(())
        })
    }

    fn change(
        &self,
        identity: &Identity,
        edit: impl FnOnce(&mut Entry) -> Result<(), RegistryError>,
    ) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.get(identity);
        let entry = entry.ok_or_else(|| RegistryError::Unknown(identity.clone()))?;
        let mut entry = Entry::clone(&entry);
        edit(&mut entry)?;
        let stored = self.store(entry)?;
        let touched = self.touched([identity]);
        drop(changing);
        self.tell_all(&touched);
        Ok(stored)
    }

    /// Commits an entry, then lets the map have it. The caller holds `changing`.
    fn store(&self, entry: Entry) -> Result<(Arc<Entry>, Lsn), RegistryError> {
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Identities,
            key: encode_key(&entry.identity),
            value: Some(encode(&entry)),
        });
        let lsn = self
            .log
            .commit(&mut commit)
            .map_err(RegistryError::Commit)?;
        let entry = Arc::new(entry);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(entry.identity.clone(), entry.clone());
        Ok((entry, lsn))
    }

    fn check_parent(&self, identity: &Identity, parent: &DeviceId) -> Result<(), RegistryError> {
        let bad = || RegistryError::BadParent {
            identity: identity.clone(),
            parent: parent.clone(),
        };
        let Identity::Device(child) = identity else {
            return Err(bad());
        };
        let mut above = Some(parent.clone());
        let mut levels = 0;
        while let Some(device) = above {
            levels += 1;
            // What was taken over from a parent may form a ring for a while.
            if device == *child || levels > MOST_LEVELS {
                return Err(bad());
            }
            let entry = self.get(&Identity::Device(device.clone()));
            above = match entry {
                Some(entry) => entry.parent.clone(),
                None if device == *parent => {
                    return Err(RegistryError::NoSuchDevice {
                        identity: identity.clone(),
                        device,
                    });
                }
                None => None,
            };
        }
        Ok(())
    }

    /// Those of identities, and of the modules of those that are devices; devices before their modules.
    fn with_modules(&self, identities: &HashSet<&Identity>) -> Vec<Arc<Entry>> {
        if identities.is_empty() {
            return Vec::new();
        }
        let mut list = self.list();
        list.retain(|entry| {
            let device = Identity::Device(entry.identity.device().clone());
            identities.contains(&entry.identity) || identities.contains(&device)
        });
        list
    }

    fn tell(&self, identity: &Identity) {
        self.tell_all(std::slice::from_ref(identity));
    }

    fn tell_all(&self, identities: &[Identity]) {
        let watchers = self
            .watchers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for watcher in &watchers {
            for identity in identities {
                watcher.changed(identity);
            }
        }
    }
}

/// Counts, not entries.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Registry")
            .field("entries", &entries.len())
            .field("damaged", &self.damaged.len())
            .finish_non_exhaustive()
    }
}

/// Where an identity stands in a list.
fn place(identity: &Identity) -> (&str, Option<&str>) {
    match identity {
        Identity::Device(device) => (device.as_str(), None),
        Identity::Module(device, module) => (device.as_str(), Some(module.as_str())),
    }
}
