//! Who is behind a gateway: told to it by its parent, so that it knows them before they come, and when there is no
//! connection as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use edge_core::{DeviceId, Identity};
use edge_store::{Commit, Lsn, Put, Table};

use super::{MOST_LEVELS, Registry, RegistryError};
use crate::Entry;
use crate::entry::{encode, encode_key};

impl Registry {
    /// Devices whose parents lead to a gateway, each followed by its modules.
    pub fn scope(&self, gateway: &DeviceId) -> Vec<Arc<Entry>> {
        let list = self.list();
        let mut children: HashMap<&DeviceId, Vec<&DeviceId>> = HashMap::new();
        for entry in &list {
            if let (Identity::Device(device), Some(parent)) = (&entry.identity, &entry.parent) {
                children.entry(parent).or_default().push(device);
            }
        }
        if children.is_empty() {
            return Vec::new();
        }
        let mut behind = HashSet::new();
        let mut next = vec![gateway];
        while let Some(device) = next.pop() {
            for child in children.get(device).into_iter().flatten() {
                if *child != gateway && behind.insert((*child).clone()) {
                    next.push(child);
                }
            }
        }
        let is_behind = |entry: &Arc<Entry>| match &entry.identity {
            Identity::Device(device) | Identity::Module(device, _) => behind.contains(device),
        };
        list.iter()
            .filter(|entry| is_behind(entry))
            .cloned()
            .collect()
    }

    /// The gateways above a device, the next one first, as far as they are registered here.
    pub(super) fn gateways(&self, entry: &Entry) -> Vec<Arc<Entry>> {
        let mut above: Vec<Arc<Entry>> = Vec::new();
        let mut parent = entry.parent.clone();
        while let Some(device) = parent
            && above.len() < MOST_LEVELS
        {
            let Some(entry) = self.get(&Identity::Device(device)) else {
                break;
            };
            parent = entry.parent.clone();
            above.push(entry);
        }
        above
    }

    /// Who was taken over from the parent.
    pub fn adopted(&self) -> Vec<Identity> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let adopted = entries.values().filter(|entry| entry.from_parent);
        adopted.map(|entry| entry.identity.clone()).collect()
    }

    /// Takes over what the parent says of identities behind this device. Those that were made here stay as they
    /// are. In one commit; none: nothing is new.
    ///
    /// # Errors
    /// The log did not take it. Nothing happened.
    pub fn adopt(
        &self,
        entries: Vec<Entry>,
        gone: &[Identity],
    ) -> Result<Option<Lsn>, RegistryError> {
        let mut last = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = *last;
        // By identity: a device may come and its module with it.
        let mut changes: Vec<(Identity, Option<Arc<Entry>>)> = Vec::new();
        let mut coming = HashSet::new();
        for mut entry in entries {
            entry.from_parent = true;
            match self.get(&entry.identity) {
                Some(known) if !known.from_parent || *known == entry => continue,
                _ => {}
            }
            if let Identity::Module(device, _) = &entry.identity {
                let device = Identity::Device(device.clone());
                if !coming.contains(&device) && self.get(&device).is_none() {
                    tracing::warn!(identity = %entry.identity, "the parent tells of a module without its device");
                    continue;
                }
            }
            newest = newest.max(entry.generation.0);
            coming.insert(entry.identity.clone());
            changes.push((entry.identity.clone(), Some(Arc::new(entry))));
        }
        let mut touched: Vec<Identity> = changes
            .iter()
            .flat_map(|(identity, _)| self.touched(identity))
            .collect();
        for identity in gone {
            let known = self.get(identity);
            if known.is_some_and(|known| known.from_parent) {
                touched.extend(self.touched(identity));
                let with_modules = self.with_modules(identity);
                changes.extend(with_modules.into_iter().map(|gone| (gone, None)));
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let mut commit = Commit::new();
        for (identity, entry) in &changes {
            commit.put(Put {
                table: Table::Identities,
                key: encode_key(identity),
                value: entry.as_deref().map(encode),
            });
        }
        let lsn = self
            .log
            .commit(&mut commit)
            .map_err(RegistryError::Commit)?;
        let mut known = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for (identity, entry) in changes {
            match entry {
                Some(entry) => known.insert(identity, entry),
                None => known.remove(&identity),
            };
        }
        drop(known);
        *last = newest;
        drop(last);
        self.tell_all(&touched);
        Ok(Some(lsn))
    }
}
