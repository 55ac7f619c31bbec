//! What the references of a deployment stand for, while it is in force: found once, kept, and taken over by the next
//! deployment for modules that it leaves as they were.
//!
//! Called by what fetches components and by what runs containers. The entries are those of `kept`.
//!
//! Promises
//! - What was recorded is on the device when [`Resolutions::record`] comes back, under the deployment in force.
//! - What a deployment that is gone asks for is not recorded.

mod kept;

use std::sync::{Arc, PoisonError, RwLock};

use edge_core::ModuleId;
use edge_core::deployment::{ComponentRef, Deployment, ModuleKind};
use edge_core::runtime::{DesiredModule, Resolved, RuntimeError, Step};
use edge_hub::Hub;
use edge_store::Commit;

use super::record::Record;

pub(super) use kept::{Resolution, stage, stage_pruning};

/// The ledger of the deployment in force.
#[derive(Debug)]
pub(super) struct Resolutions {
    hub: Arc<Hub>,
    in_force: RwLock<InForce>,
}

/// Whose references are resolved.
#[derive(Debug, Clone, Default)]
struct InForce {
    deployment: u64,
    modules: Vec<DesiredModule>,
}

impl Resolutions {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            in_force: RwLock::default(),
        }
    }

    /// All that is known, of all kept deployments.
    pub(super) fn all(&self) -> impl Iterator<Item = Resolution> {
        kept::all(&**self.hub.log())
    }

    /// From now on `deployment` is in force. Called before the agent hears of it. Comes back with what was recorded
    /// for modules that go on in it since [`taken_over`](Self::taken_over) was asked; to be stored as well.
    pub(super) fn put_in_force<'m>(
        &self,
        deployment: u64,
        modules: impl Iterator<Item = &'m DesiredModule>,
    ) -> Vec<(ModuleId, Resolution)> {
        let modules = modules.filter(|module| reference(module).is_some());
        let next = InForce {
            deployment,
            modules: modules.cloned().collect(),
        };
        let before = {
            let mut in_force = self
                .in_force
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *in_force, next.clone())
        };
        if before.deployment == deployment {
            return Vec::new();
        }
        let log = &**self.hub.log();
        let late = next.modules.iter().filter_map(|module| {
            let id = module.id();
            let goes_on = before.modules.iter().any(|known| known.same_build(module));
            let known = kept::of(log, before.deployment, id).filter(|_| goes_on)?;
            let stored = kept::of(log, deployment, id).is_some();
            (!stored).then(|| (id.clone(), known))
        });
        late.collect()
    }

    /// What is known already of the references of a deployment that is about to be put in force: of the deployment
    /// that it brings back, and of modules that it leaves as they are. Its record goes together with that.
    pub(super) fn taken_over(
        &self,
        record: &Record,
        deployment: &Deployment,
    ) -> Vec<(ModuleId, Resolution)> {
        let log = &**self.hub.log();
        let modules = deployment.modules.iter().map(|spec| DesiredModule {
            spec: spec.clone(),
            resolved: Resolved {
                base: record.base.clone(),
                ..Resolved::default()
            },
        });
        let known = modules.filter_map(|module| {
            let reference = reference(&module)?;
            let back = record.brings_back.and_then(|number| {
                let known = kept::of(log, number, module.id())?;
                (known.reference == reference).then_some(known)
            });
            let known = back.or_else(|| self.known(&module))?;
            Some((module.id().clone(), known))
        });
        known.collect()
    }

    /// The deployment that a build of a module is of, if it is the one in force.
    fn deployment(&self, module: &DesiredModule) -> Option<u64> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = in_force.modules.iter();
        wanted
            .any(|wanted| wanted.same_build(module))
            .then_some(in_force.deployment)
    }

    /// What is known of a module's reference.
    pub(super) fn known(&self, module: &DesiredModule) -> Option<Resolution> {
        let deployment = self.deployment(module)?;
        let known = kept::of(&**self.hub.log(), deployment, module.id())?;
        // What was recorded for another reference is not asked for.
        (Some(&*known.reference) == reference(module)).then_some(known)
    }

    /// Takes down what a module's reference stands for. On the device when this comes back.
    ///
    /// # Errors
    /// It is not; to be tried again.
    pub(super) async fn record(
        &self,
        module: &DesiredModule,
        resolution: &Resolution,
    ) -> Result<(), RuntimeError> {
        let transient = |why: String| RuntimeError::transient(module.id(), Step::Prepare, why);
        if self.known(module).as_ref() == Some(resolution) {
            return Ok(());
        }
        let mut stored = None;
        loop {
            let Some(deployment) = self.deployment(module) else {
                let why = "another deployment came meanwhile".to_owned();
                return Err(transient(why));
            };
            // Another one that goes on with this module may have come while it was stored.
            if stored == Some(deployment) {
                return Ok(());
            }
            let done = self.store(deployment, module.id(), resolution).await;
            done.map_err(|why| transient(format!("what its image stands for is not kept: {why}")))?;
            stored = Some(deployment);
        }
    }

    async fn store(
        &self,
        deployment: u64,
        module: &ModuleId,
        resolution: &Resolution,
    ) -> Result<(), String> {
        let mut commit = Commit::new();
        kept::stage(deployment, module, resolution, &mut commit);
        let hub = self.hub.clone();
        // It may wait for the device.
        let committed = tokio::task::spawn_blocking(move || hub.commit(&mut commit)).await;
        let lsn = committed
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        match lsn {
            Some(lsn) => self
                .hub
                .durable(lsn)
                .await
                .map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// The reference of a module: its image, or its component if that is in a registry.
fn reference(module: &DesiredModule) -> Option<&str> {
    match &module.spec.kind {
        ModuleKind::Wasm(wasm) => match &wasm.image {
            ComponentRef::Registry(text) => Some(text),
            ComponentRef::File(_) => None,
        },
        ModuleKind::Container(container) => Some(&container.image),
    }
}
