//! What a parent tells a gateway of the devices behind it.
//!
//! ```text
//!   parent: registry ─► ScopeTeller ─► ScopeUpdate as JSON ─► gateway: ScopeUpdate ─► Registry::adopt
//!
//!   {"entries":[{"identity":"leaf1","entry":{…as in the log…}}],"gone":["leaf2"],"complete":true}
//! ```
//!
//! The first updates of a link tell of everybody, and the last of them is `complete`: whoever was not told of is gone.
//! After it come changes. Keys are in it: the link is secured, and goes to the gateway that is to know them.

use std::collections::HashMap;

use edge_core::{DeviceId, Identity, InvalidId, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entry::{decode, encode};
use crate::{Entry, GenerationId, Registry};

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
        };
        serde_json::to_string(&written).expect("strings always become JSON")
    }

    /// Reads JSON. Never repeats it in an error: it holds keys.
    ///
    /// # Errors
    /// It has another form.
    pub fn parse(text: &[u8]) -> Result<Self, BadScope> {
        let written: Written = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            BadScope(format!("broken at line {line}, column {column}"))
        })?;
        let named = |name: &str, why: &dyn std::fmt::Display| BadScope(format!("{name:?}: {why}"));
        let identity = |name: &str| identity(name).map_err(|why| named(name, &why));
        let entry = |written: &WrittenEntry| {
            let name = &written.identity;
            let entry = decode(identity(name)?, written.entry.get().as_bytes());
            entry.map_err(|why| named(name, &why))
        };
        Ok(Self {
            entries: written
                .entries
                .iter()
                .map(entry)
                .collect::<Result<_, _>>()?,
            gone: written
                .gone
                .iter()
                .map(|name| identity(name))
                .collect::<Result<_, _>>()?,
            is_complete: written.complete,
        })
    }
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
    told: HashMap<Identity, (GenerationId, u64)>,
    is_complete: bool,
}

impl ScopeTeller {
    /// Nothing yet.
    pub fn new(gateway: DeviceId) -> Self {
        Self {
            gateway,
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
            let state = (entry.generation, entry.version);
            if self.told.remove(&entry.identity) != Some(state) {
                news.push(entry.clone());
            }
            next.insert(entry.identity.clone(), state);
        }
        let mut gone: Vec<Identity> = std::mem::replace(&mut self.told, next)
            .into_keys()
            .collect();
        gone.sort_by_key(ToString::to_string);
        let mut updates: Vec<_> = news
            .chunks(PAGE)
            .map(|page| ScopeUpdate {
                entries: page.iter().map(|entry| Entry::clone(entry)).collect(),
                ..ScopeUpdate::default()
            })
            .collect();
        if !gone.is_empty() || !self.is_complete {
            updates.push(ScopeUpdate {
                entries: Vec::new(),
                gone,
                is_complete: !self.is_complete,
            });
        }
        self.is_complete = true;
        updates
    }
}

#[cfg(test)]
mod tests;
