//! Who is behind a gateway: told to it by its parent, so that it knows them before they come, and when there is no
//! connection as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use edge_core::{DeviceId, Identity};
use edge_store::{Commit, Lsn, Put, Table};

use super::{MOST_LEVELS, Registry, RegistryError, place};
use crate::Entry;
use crate::entry::{encode, encode_key};

impl Registry {
    /// Devices whose parents lead to a gateway, each followed by its modules.
    pub fn scope(&self, gateway: &DeviceId) -> Vec<Arc<Entry>> {
        let mut list = self.list();
        let mut behind = behind(&list, [gateway]);
        behind.remove(gateway);
        list.retain(|entry| behind.contains(entry.identity.device()));
        list
    }

    /// Whose permits changes of identities may end: their own, those of their modules, and of whoever is behind them;
    /// devices before their modules.
    pub(super) fn touched<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a Identity>,
    ) -> Vec<Identity> {
        let mut touched: HashSet<Identity> = identities.into_iter().cloned().collect();
        let devices = touched.iter().filter_map(|identity| match identity {
            Identity::Device(device) => Some(device),
            Identity::Module(..) => None,
        });
        let devices: Vec<DeviceId> = devices.cloned().collect();
        if !devices.is_empty() {
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            let behind = behind(entries.values(), &devices);
            let identities = entries.keys();
            let identities = identities.filter(|identity| behind.contains(identity.device()));
            touched.extend(identities.cloned());
        }
        let mut touched: Vec<Identity> = touched.into_iter().collect();
        touched.sort_by(|a, b| place(a).cmp(&place(b)));
        touched
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

    /// The gateway that connects to `own`, the device that this is, and has a device behind it, at whatever depth;
    /// none: the device connects to this one itself.
    pub fn gateway_below(&self, device: &DeviceId, own: &DeviceId) -> Option<DeviceId> {
        let entry = self.get(&Identity::Device(device.clone()))?;
        let above = self.gateways(&entry).into_iter();
        let below = above.map(|gateway| gateway.identity.device().clone());
        below.take_while(|gateway| gateway != own).last()
    }

    /// Who was taken over from the parent.
    pub fn adopted(&self) -> Vec<Identity> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let adopted = entries.values().filter(|entry| entry.from_parent);
        adopted.map(|entry| entry.identity.clone()).collect()
    }

    /// Takes over what the parent says of identities behind this device. Those that were made here stay as they
    /// are, but for modules of a device that was taken over: the parent made them as well, when they were let in
    /// there. Whoever is kept out here stays out, also when it is gone for a while. In one commit; none: nothing is new.
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
            entry.kept_out = false;
            let device = Identity::Device(entry.identity.device().clone());
            if let Some(known) = self.get(&entry.identity) {
                let is_the_parents = known.from_parent
                    || known.kept_out
                    || self.is_module_of_adopted(&entry.identity);
                if !is_the_parents {
                    tracing::info!(identity = %entry.identity, "registered here as well as at the parent; ours holds");
                    continue;
                }
                entry.kept_out = known.kept_out || (!known.from_parent && !known.is_enabled());
                if *known == entry {
                    continue;
                }
            } else if device != entry.identity
                && !coming.contains(&device)
                && self.get(&device).is_none()
            {
                tracing::warn!(identity = %entry.identity, "the parent tells of a module without its device");
                continue;
            }
            newest = newest.max(entry.generation.0);
            coming.insert(entry.identity.clone());
            changes.push((entry.identity.clone(), Some(Arc::new(entry))));
        }
        let goes = |identity: &&Identity| {
            let known = self.get(identity);
            known.is_some_and(|known| known.from_parent)
        };
        let gone: HashSet<&Identity> = gone.iter().filter(goes).collect();
        for entry in self.with_modules(&gone) {
            // Who is kept out stays so when the parent has it again; it is not the parent's meanwhile.
            let stays = entry.kept_out.then(|| {
                let mut stays = Entry::clone(&entry);
                stays.from_parent = false;
                Arc::new(stays)
            });
            changes.push((entry.identity.clone(), stays));
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let touched = self.touched(changes.iter().map(|(identity, _)| identity));
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

    fn is_module_of_adopted(&self, identity: &Identity) -> bool {
        let Identity::Module(device, _) = identity else {
            return false;
        };
        let device = self.get(&Identity::Device(device.clone()));
        device.is_some_and(|device| device.from_parent)
    }
}

/// Devices, and all whose parents lead to one of them.
fn behind<'a>(
    entries: impl IntoIterator<Item = &'a Arc<Entry>>,
    devices: impl IntoIterator<Item = &'a DeviceId>,
) -> HashSet<DeviceId> {
    let mut children: HashMap<&DeviceId, Vec<&DeviceId>> = HashMap::new();
    for entry in entries {
        if let (Identity::Device(device), Some(parent)) = (&entry.identity, &entry.parent) {
            children.entry(parent).or_default().push(device);
        }
    }
    let mut found = HashSet::new();
    let mut next: Vec<&DeviceId> = devices.into_iter().collect();
    while let Some(device) = next.pop() {
        if found.insert(device.clone()) {
            next.extend(children.get(device).into_iter().flatten());
        }
    }
    found
}
