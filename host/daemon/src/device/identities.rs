//! Identities of this device, of its modules and of the devices behind it.
//!
//! ```text
//!   start       ─► the device itself, $edgeAgent and $edgeHub are there
//!   deployment  ─► an identity for each of its modules; those that an earlier one made and that have
//!                  left it are removed
//!   commands    ─► add, rotate, disable, remove; heads hear of it through the registry's watchers
//! ```
//!
//! What is promised here (an identity that was made, a key that was replaced) is on the device before it
//! is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use edge_core::{DeviceId, Identity, InvalidId, ModuleId};
use edge_identity::{Entry, ModuleEnvironment, NewAuth, Registry, RegistryError, Status, Which};
use edge_store::{CommitError, Lsn};

use super::Device;

/// The seed system's names of the agent and the hub: modules and routes may name them.
const SYSTEM_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];

/// Names and values of an environment.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// Why nothing was done with an identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// It has no name of an identity.
    #[error("{text:?} is no identity: {why}; expected DEVICE or DEVICE/MODULE")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry refuses.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The device cannot be without it.
    #[error("{0} is this device's own: it cannot be removed, disabled or moved")]
    Own(Identity),
    /// Nobody of that name.
    #[error(
        "there is no module {0} in the deployment, and no device of that name: `edge identity list` shows those that there are"
    )]
    Nobody(String),
    /// It was changed, and the store failed before that was on the device.
    #[error("the change could not be stored")]
    Store(#[from] CommitError),
}

impl Device {
    /// Makes the identities that the device cannot be without.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn ensure_own(&self) -> Result<(), IdentityError> {
        let own = Identity::Device(self.name().clone());
        let system = SYSTEM_MODULES
            .iter()
            .filter_map(|name| ModuleId::new(name).ok());
        let modules = system.map(|module| self.identity(&module));
        let all: Vec<_> = std::iter::once(own).chain(modules).collect();
        self.ensure_identities(&all).await
    }

    /// Makes the identities that are not there, with fresh keys. On the device when this returns.
    pub(super) async fn ensure_identities(
        &self,
        identities: &[Identity],
    ) -> Result<(), IdentityError> {
        let mut newest: Option<Lsn> = None;
        for identity in identities {
            let (_, lsn) = self.registry.ensure(identity, self.hub.now())?;
            newest = newest.max(lsn);
        }
        Ok(self.durable(newest).await?)
    }

    /// Makes the identities of a deployment's modules.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn ensure_modules(
        &self,
        modules: impl Iterator<Item = &ModuleId>,
    ) -> Result<(), IdentityError> {
        let identities: Vec<_> = modules.map(|module| self.identity(module)).collect();
        self.ensure_identities(&identities).await
    }

    /// Which of a deployment's modules have an identity because of a deployment, this one or one before:
    /// those leave with it. `before`: the ones of the deployment in force.
    pub(super) fn made_for(
        &self,
        modules: impl Iterator<Item = String>,
        before: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let by_hand = |name: &str| {
            let module = ModuleId::new(name).ok();
            module.is_some_and(|module| self.registry.get(&self.identity(&module)).is_some())
        };
        modules
            .filter(|name| !SYSTEM_MODULES.contains(&name.as_str()))
            .filter(|name| before.contains(name) || !by_hand(name))
            .collect()
    }

    /// Removes identities of modules that left the deployment, as far as they are there.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn remove_modules(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<(), IdentityError> {
        let mut newest: Option<Lsn> = None;
        for module in names.iter().filter_map(|name| ModuleId::new(name).ok()) {
            match self.registry.remove(&self.identity(&module)) {
                Ok((_, lsn)) => newest = newest.max(Some(lsn)),
                // Gone by hand, or before a crash.
                Err(RegistryError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.durable(newest).await?)
    }

    /// Who may connect.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Makes an identity, of a device behind a gateway if that is said.
    ///
    /// # Errors
    /// It is there already, its device or gateway is not, or what was given is no key or thumbprint.
    pub(crate) async fn add_identity(
        &self,
        identity: &Identity,
        auth: NewAuth,
        parent: Option<&DeviceId>,
    ) -> Result<Arc<Entry>, IdentityError> {
        let now = self.hub.now();
        let (entry, lsn) = self.registry.add_behind(identity, auth, parent, now)?;
        self.durable(Some(lsn)).await?;
        Ok(entry)
    }

    /// Replaces keys by fresh ones; connections that the old ones opened are closed.
    ///
    /// # Errors
    /// It is not there, or has no keys.
    pub(crate) async fn rotate_keys(
        &self,
        identity: &Identity,
        which: Which,
    ) -> Result<Arc<Entry>, IdentityError> {
        let (entry, lsn) = self.registry.rotate(identity, which, self.hub.now())?;
        self.durable(Some(lsn)).await?;
        Ok(entry)
    }

    /// Lets an identity in, or keeps it out.
    ///
    /// # Errors
    /// It is not there, or is the device itself.
    pub(crate) async fn set_identity_status(
        &self,
        identity: &Identity,
        status: Status,
    ) -> Result<Arc<Entry>, IdentityError> {
        if status == Status::Disabled {
            self.not_own(identity)?;
        }
        let (entry, lsn) = self.registry.set_status(identity, status, self.hub.now())?;
        self.durable(Some(lsn)).await?;
        Ok(entry)
    }

    /// Says which gateway a device is behind.
    ///
    /// # Errors
    /// Either is not there, it is a module or this device, or the device is above that gateway.
    pub(crate) async fn set_identity_parent(
        &self,
        identity: &Identity,
        parent: Option<&DeviceId>,
    ) -> Result<Arc<Entry>, IdentityError> {
        // A device that is behind another one is told of there, with its keys.
        self.not_own(identity)?;
        let (entry, lsn) = self.registry.set_parent(identity, parent, self.hub.now())?;
        self.durable(Some(lsn)).await?;
        Ok(entry)
    }

    /// Removes an identity, and says what is gone.
    ///
    /// # Errors
    /// It is not there, is one that the device cannot be without, or is the parent's.
    pub(crate) async fn remove_identity(
        &self,
        identity: &Identity,
    ) -> Result<Vec<Identity>, IdentityError> {
        self.not_own(identity)?;
        let (removed, lsn) = match self.upstream.get() {
            Some(_) => self.registry.remove(identity)?,
            None => self.registry.remove_orphan(identity)?,
        };
        self.durable(Some(lsn)).await?;
        Ok(removed)
    }

    fn not_own(&self, identity: &Identity) -> Result<(), IdentityError> {
        let own = match identity {
            Identity::Device(device) => device == self.name(),
            Identity::Module(device, module) => device == self.name() && is_system(module),
        };
        match own {
            true => Err(IdentityError::Own(identity.clone())),
            false => Ok(()),
        }
    }

    /// Whom a command means: `device/module`, a module of this device, or a device.
    ///
    /// # Errors
    /// Nobody.
    pub(crate) fn find(&self, text: &str) -> Result<Identity, IdentityError> {
        if text.contains('/') {
            let identity = identity(text)?;
            return match self.is_known(&identity) {
                true => Ok(identity),
                false => Err(RegistryError::Unknown(identity).into()),
            };
        }
        let module = ModuleId::new(text).map_err(|error| name_error(text, &error))?;
        let candidates = [
            self.identity(&module),
            Identity::Device(DeviceId::new(text).map_err(|error| name_error(text, &error))?),
        ];
        let found = candidates
            .into_iter()
            .find(|identity| self.is_known(identity));
        found.ok_or_else(|| IdentityError::Nobody(text.to_owned()))
    }

    /// The gateway that an identity connects to, where that is not this device.
    pub(crate) fn gateway_of(&self, entry: &Entry) -> Option<DeviceId> {
        let parent = match &entry.identity {
            Identity::Device(_) => entry.parent.clone(),
            Identity::Module(device, _) => {
                let device = self.registry.get(&Identity::Device(device.clone()))?;
                device.parent.clone()
            }
        };
        parent.filter(|parent| parent != self.name())
    }

    /// Whether it is registered, or a module that is deployed or on its way out.
    fn is_known(&self, identity: &Identity) -> bool {
        self.registry.get(identity).is_some()
            || matches!(identity, Identity::Module(device, module)
                if device == self.name() && self.has_module(module))
    }

    /// The hub's name in tokens and connection strings.
    pub(crate) fn hub_name(&self) -> &str {
        &self.hub_name
    }

    /// The name by which clients reach this device.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// What a process on this machine needs to act as a module of this device.
    ///
    /// # Errors
    /// There is no such module.
    pub(crate) fn environment(&self, text: &str) -> Result<(Arc<Entry>, Variables), IdentityError> {
        let module = text.strip_prefix(self.name().as_str());
        let module = module
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text);
        let module = ModuleId::new(module).map_err(|error| name_error(text, &error))?;
        let entry = self.registry.get(&self.identity(&module));
        let entry = entry.ok_or_else(|| IdentityError::Nobody(text.to_owned()))?;
        let variables = edge_identity::module_environment(&ModuleEnvironment {
            hub: &self.hub_name,
            gateway: &self.hostname,
            parent: self.gateway.as_deref(),
            device: self.name(),
            module: &module,
            generation: entry.generation,
            workload: &self.workload_uri(&module),
        });
        Ok((entry, variables))
    }
}

/// Whether a module is one that the device itself is known by, and reads no inputs.
pub(super) fn is_system(module: &ModuleId) -> bool {
    SYSTEM_MODULES.contains(&module.as_str())
}

/// `device` or `device/module`.
pub(crate) fn identity(text: &str) -> Result<Identity, IdentityError> {
    let device = |name: &str| DeviceId::new(name).map_err(|error| name_error(text, &error));
    match text.split_once('/') {
        None => Ok(Identity::Device(device(text)?)),
        Some((name, module)) => {
            let module = ModuleId::new(module).map_err(|error| name_error(text, &error))?;
            Ok(Identity::Module(device(name)?, module))
        }
    }
}

fn name_error(text: &str, why: &InvalidId) -> IdentityError {
    IdentityError::Name {
        text: text.to_owned(),
        why: why.to_string(),
    }
}
