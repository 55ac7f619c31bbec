//! What a parent tells a gateway of the devices behind it.
//!
//! ```text
//!   gateway: Registry::scope_digest ─► parent: ScopeTeller over its registry
//!   parent: ScopeTeller ─► ScopeUpdate as JSON ─► gateway: Registry::adopt
//!
//!   {"entries":[{"identity":"leaf1","entry":{…as in the log…}}],"gone":["leaf2"],"complete":true,"same":true}
//! ```
//!
//! The gateway says by a digest what it knows. If that is all there is, the first update says so: it is `complete`, and
//! the `same`. Otherwise the first updates tell of everybody, and the last of them is `complete`: whoever was not told
//! of is gone. After it come changes. Keys are in it: the link is secured, and goes to the gateway that is to know them.

use std::collections::HashMap;

use edge_core::{DeviceId, Identity, InvalidId, ModuleId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entry::{decode, encode};
use crate::{Entry, GenerationId, Registry, Status, Thumbprint};

/// Entries of one update.
const PAGE: usize = 64;

/// Some identities as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeUpdate {
    /// New ones, and changed ones: devices before their modules.
    pub entries: Vec<Entry>,
    /// Those that are behind the gateway no longer.
    pub gone: Vec<Identity>,
    /// With this one, everybody was told of.
    pub is_complete: bool,
    /// What the gateway said that it knows is all there is: nobody was told of.
    pub is_same: bool,
    /// Entries of another form.
    pub unread: Vec<Unread>,
}

/// An entry that could not be read: it may be that of a newer program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Whom it is of.
    pub identity: Identity,
    /// What is wrong with it.
    pub why: String,
    /// That much of it could be read: it may not connect.
    pub is_disabled: bool,
}

/// An update that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the parent says of identities: {0}")]
pub struct BadScope(String);

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    entries: Vec<WrittenEntry>,
    #[serde(default)]
    gone: Vec<String>,
    #[serde(default)]
    complete: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    same: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    identity: String,
    entry: Box<RawValue>,
}

impl ScopeUpdate {
    /// As JSON.
    pub fn to_json(&self) -> String {
        let entries = self.entries.iter().map(|entry| WrittenEntry {
            identity: entry.identity.to_string(),
            entry: std::str::from_utf8(&encode(entry))
                .ok()
                .and_then(|text| RawValue::from_string(text.to_owned()).ok())
                .expect("an entry is written as JSON"),
        });
        let written = Written {
            entries: entries.collect(),
            gone: self.gone.iter().map(ToString::to_string).collect(),
            complete: self.is_complete,
            same: self.is_same,
        };
        serde_json::to_string(&written).expect("strings always become JSON")
    }

    /// Reads JSON. Never repeats it in an error: it holds keys. An entry that cannot be read does not keep the others
    /// out.
    ///
    /// # Errors
    /// It has another form, or a name is none.
    pub fn parse(text: &[u8]) -> Result<Self, BadScope> {
        let written: Written = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            BadScope(format!("broken at line {line}, column {column}"))
        })?;
        let named = |name: &str, why: &dyn std::fmt::Display| BadScope(format!("{name:?}: {why}"));
        let identity = |name: &str| identity(name).map_err(|why| named(name, &why));
        let (mut entries, mut unread) = (Vec::new(), Vec::new());
        for entry in &written.entries {
            let identity = identity(&entry.identity)?;
            match decode(identity.clone(), entry.entry.get().as_bytes()) {
                Ok(entry) => entries.push(entry),
                Err(why) => unread.push(Unread {
                    identity,
                    why: why.to_string(),
                    is_disabled: says_disabled(entry.entry.get()),
                }),
            }
        }
        Ok(Self {
            entries,
            unread,
            gone: written
                .gone
                .iter()
                .map(|name| identity(name))
                .collect::<Result<_, _>>()?,
            is_complete: written.complete,
            is_same: written.same,
        })
    }
}

/// Whether an entry of any form says `"status":"disabled"`.
fn says_disabled(entry: &str) -> bool {
    #[derive(Deserialize)]
    struct Said {
        status: Option<String>,
    }
    let said = serde_json::from_str::<Said>(entry).ok();
    said.and_then(|said| said.status).as_deref() == Some("disabled")
}

fn identity(name: &str) -> Result<Identity, InvalidId> {
    Ok(match name.split_once('/') {
        None => Identity::Device(DeviceId::new(name)?),
        Some((device, module)) => Identity::Module(DeviceId::new(device)?, ModuleId::new(module)?),
    })
}

/// What one link has told a gateway.
#[derive(Debug)]
pub struct ScopeTeller {
    gateway: DeviceId,
    /// What the gateway said that it knows, until it is told for the first time.
    known: Option<String>,
    told: HashMap<Identity, State>,
    is_complete: bool,
}

/// What of an entry changes whenever it does.
type State = (GenerationId, u64, Timestamp, Status);

/// The time is in it because a version can come twice: a power cut may take one back that was told.
fn state(entry: &Entry, status: Status) -> State {
    (entry.generation, entry.version, entry.changed, status)
}

/// What stands for entries and their states, in any order: SHA-256 in hexadecimal.
fn digest_of<'a>(entries: impl IntoIterator<Item = (&'a Identity, State)>) -> String {
    let lines = entries.into_iter();
    let lines = lines.map(|(identity, (generation, version, changed, status))| {
        format!("{identity} {generation} {version} {} {status}\n", changed.0)
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    Thumbprint::sha256(lines.concat().as_bytes()).to_string()
}

impl Registry {
    /// What stands for all that the parent has told.
    pub fn scope_digest(&self) -> String {
        let list = self.list();
        let adopted = list.iter().filter(|entry| entry.from_parent);
        // The parent's word on it, not ours.
        digest_of(adopted.map(|entry| (&entry.identity, state(entry, entry.status))))
    }
}

impl ScopeTeller {
    /// For a gateway that may have said what it knows ([`Registry::scope_digest`]).
    pub fn new(gateway: DeviceId, known: Option<String>) -> Self {
        Self {
            gateway,
            known,
            told: HashMap::new(),
            is_complete: false,
        }
    }

    /// What is to be told now, in this order.
    pub fn updates(&mut self, registry: &Registry) -> Vec<ScopeUpdate> {
        let scope = registry.scope(&self.gateway);
        let mut next = HashMap::with_capacity(scope.len());
        let mut news = Vec::new();
        for entry in scope {
            let state = state(&entry, entry.effective_status());
            if self.told.remove(&entry.identity) != Some(state) {
                news.push(entry.clone());
            }
            next.insert(entry.identity.clone(), state);
        }
        let known = self.known.take();
        let states = || next.iter().map(|(identity, state)| (identity, *state));
        let is_same = known.is_some_and(|known| known == digest_of(states()));
        if is_same {
            news.clear();
        }
        let mut gone: Vec<Identity> = std::mem::replace(&mut self.told, next)
            .into_keys()
            .collect();
        gone.sort_by_key(ToString::to_string);
        let mut updates: Vec<_> = news
            .chunks(PAGE)
            .map(|page| ScopeUpdate {
                entries: page.iter().map(|entry| as_told(entry)).collect(),
                ..ScopeUpdate::default()
            })
            .collect();
        if !gone.is_empty() || !self.is_complete {
            updates.push(ScopeUpdate {
                gone,
                is_complete: !self.is_complete,
                is_same,
                ..ScopeUpdate::default()
            });
        }
        self.is_complete = true;
        updates
    }
}

/// An entry as it is for whoever is below: one that is kept out here is disabled there.
fn as_told(entry: &Entry) -> Entry {
    Entry {
        status: entry.effective_status(),
        kept_out: false,
        ..Entry::clone(entry)
    }
}

#[cfg(test)]
mod tests;
