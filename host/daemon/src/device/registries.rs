//! Components that come from registries, for the runtime of components.
//!
//! ```text
//!   prepare ─► resolve: pinned │ recorded │ asked, and recorded ─► the gate
//!           ─► fetch:   here already │ manifest, config ─► claims against grants ─► component, hashed
//!                                      ─► what it really imports against the claims ─► recorded
//! ```
//!
//! Promises
//! - A tag is resolved once in a deployment. What it stood for is on the device before anything of it is used.
//! - What is recorded and here runs without a network.
//! - A component that is on its way is not removed by another deployment that comes meanwhile.

use std::sync::{Arc, PoisonError, RwLock};

use edge_core::deployment::{ComponentRef, Deployment, ModuleKind, WasmSpec};
use edge_core::runtime::{BoxFuture, DesiredModule, Resolved, RuntimeError, Step};
use edge_core::{Digest, ModuleId};
use edge_hub::Hub;
use edge_oci::{Claims, PullError, PullLimits, Reference, Registries};
use edge_store::Commit;
use edge_wasm::inspect::{check_claims, describe, inspect};
use edge_wasm::{ComponentSource, Fetched};
use tracing::info;

use super::components::Components;
use super::record::Record;
use super::resolved::{self, Resolution};

/// The source.
#[derive(Debug)]
pub(super) struct RegistryComponents {
    registries: Arc<Registries>,
    components: Components,
    hub: Arc<Hub>,
    in_force: RwLock<InForce>,
}

/// Whose references are resolved.
#[derive(Debug, Clone, Default)]
struct InForce {
    deployment: u64,
    modules: Vec<DesiredModule>,
}

impl RegistryComponents {
    pub(super) fn new(registries: Arc<Registries>, components: Components, hub: Arc<Hub>) -> Self {
        Self {
            registries,
            components,
            hub,
            in_force: RwLock::default(),
        }
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
            let known = resolved::of(log, before.deployment, id).filter(|_| goes_on)?;
            let stored = resolved::of(log, deployment, id).is_some();
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
                let known = resolved::of(log, number, module.id())?;
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

    fn known(&self, module: &DesiredModule) -> Option<Resolution> {
        let deployment = self.deployment(module)?;
        let known = resolved::of(&**self.hub.log(), deployment, module.id())?;
        // What was recorded for another reference is not asked for.
        (Some(&*known.reference) == reference(module)).then_some(known)
    }

    /// The component of a manifest, which never changes, if one is known and here.
    async fn here(&self, manifest: Digest) -> Option<Digest> {
        let mut known = resolved::all(&**self.hub.log());
        let component = known.find_map(|known| {
            let component = known.component?;
            (known.manifest == manifest).then_some(component)
        })?;
        drop(known);
        let components = self.components.clone();
        let has = tokio::task::spawn_blocking(move || components.has(&component));
        has.await.unwrap_or(false).then_some(component)
    }

    async fn record(
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
        resolved::stage(deployment, module, resolution, &mut commit);
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

impl ComponentSource for RegistryComponents {
    fn resolve<'a>(
        &'a self,
        module: &'a DesiredModule,
    ) -> BoxFuture<'a, Result<Digest, RuntimeError>> {
        Box::pin(async move {
            let (wasm, text, reference) = parts(module)?;
            if let Some(pinned) = pinned(wasm, &reference) {
                return Ok(pinned);
            }
            if let Some(known) = self.known(module) {
                return Ok(known.manifest);
            }
            let credentials = wasm.credentials.as_ref();
            let found = self.registries.resolve(&reference, credentials).await;
            let manifest = found.map_err(|error| failed(module.id(), &error))?;
            info!(module = %module.id(), %reference, %manifest, "image resolved");
            let resolution = Resolution {
                reference: text.to_owned(),
                manifest,
                component: None,
            };
            self.record(module, &resolution).await?;
            Ok(manifest)
        })
    }

    fn fetch<'a>(
        &'a self,
        module: &'a DesiredModule,
        manifest: Digest,
    ) -> BoxFuture<'a, Result<Fetched, RuntimeError>> {
        Box::pin(async move {
            let (wasm, text, reference) = parts(module)?;
            let resolution = |component| Resolution {
                reference: text.to_owned(),
                manifest,
                component: Some(component),
            };
            if let Some(component) = self.here(manifest).await {
                let _hold = self.components.hold(component);
                self.record(module, &resolution(component)).await?;
                return Ok(self.fetched(component));
            }
            let reference = reference.with_digest(manifest);
            info!(module = %module.id(), %reference, "fetching component");
            let mut hold = None;
            let admit = |claims: &Claims| {
                hold = Some(self.components.hold(claims.component));
                let imports = claims.imports.as_deref().unwrap_or_default();
                check_claims(imports, &wasm.options.grants).map_err(|missing| describe(&missing))
            };
            let (limits, credentials) = (PullLimits::default(), wasm.credentials.as_ref());
            let into = self.components.dir();
            let pulled = self
                .registries
                .pull(&reference, credentials, limits, admit, into);
            let pulled = pulled.await.map_err(|error| failed(module.id(), &error))?;
            if let Some(claimed) = pulled.claims.imports {
                let file = pulled.file.clone();
                let check = tokio::task::spawn_blocking(move || unclaimed(&file, &claimed));
                let found = check
                    .await
                    .map_err(std::io::Error::other)
                    .and_then(|found| found);
                let found = found.map_err(|error| {
                    let why = format!("cannot read its component: {error}");
                    RuntimeError::transient(module.id(), Step::Prepare, why)
                })?;
                if let Some(import) = found {
                    let why = format!(
                        "{reference} is not what it says of itself: it imports {import}, which its config \
                         does not name; push it again, or do not trust it"
                    );
                    return Err(RuntimeError::refused(module.id(), Step::Prepare, why));
                }
            }
            self.record(module, &resolution(pulled.component)).await?;
            drop(hold);
            Ok(self.fetched(pulled.component))
        })
    }
}

impl RegistryComponents {
    fn fetched(&self, component: Digest) -> Fetched {
        Fetched {
            component,
            file: self.components.path(&component),
        }
    }
}

/// The reference of a module, if its component is in a registry.
fn reference(module: &DesiredModule) -> Option<&str> {
    match &module.spec.kind {
        ModuleKind::Wasm(wasm) => match &wasm.image {
            ComponentRef::Registry(text) => Some(text),
            ComponentRef::File(_) => None,
        },
        ModuleKind::Container(_) => None,
    }
}

fn parts(module: &DesiredModule) -> Result<(&WasmSpec, &str, Reference), RuntimeError> {
    let refused = |why: String| RuntimeError::refused(module.id(), Step::Prepare, why);
    match (&module.spec.kind, reference(module)) {
        (ModuleKind::Wasm(wasm), Some(text)) => {
            let reference = Reference::parse(text).map_err(|error| refused(error.to_string()))?;
            Ok((wasm, text, reference))
        }
        _ => Err(refused("it is in no registry".to_owned())),
    }
}

/// The manifest's digest that the deployment says.
fn pinned(wasm: &WasmSpec, reference: &Reference) -> Option<Digest> {
    wasm.digest.or(reference.digest())
}

fn failed(module: &ModuleId, error: &PullError) -> RuntimeError {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let why = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    match error.is_refusal() {
        true => RuntimeError::refused(module, Step::Prepare, why),
        false => RuntimeError::transient(module, Step::Prepare, why),
    }
}

/// The first import of a component that is not among those that were claimed. Blocks.
fn unclaimed(file: &std::path::Path, claimed: &[String]) -> std::io::Result<Option<String>> {
    let bytes = std::fs::read(file)?;
    // What is no component is said by the runtime, in its words.
    let Ok(found) = inspect(&bytes) else {
        return Ok(None);
    };
    let mut imports = found.imports.into_iter().map(|import| import.name);
    Ok(imports.find(|name| !claimed.contains(name)))
}
