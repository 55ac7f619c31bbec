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

use std::sync::Arc;

use edge_core::deployment::{ComponentRef, ModuleKind, WasmSpec};
use edge_core::runtime::{BoxFuture, DesiredModule, RuntimeError, Step};
use edge_core::{Digest, ModuleId};
use edge_oci::{Claims, PullError, PullLimits, Reference, Registries};
use edge_wasm::inspect::{check_claims, describe, inspect};
use edge_wasm::{ComponentSource, Fetched};
use tracing::info;

use super::components::Components;
use super::resolutions::{Resolution, Resolutions};

/// The source.
#[derive(Debug)]
pub(super) struct RegistryComponents {
    registries: Arc<Registries>,
    components: Components,
    resolutions: Arc<Resolutions>,
}

impl RegistryComponents {
    pub(super) fn new(
        registries: Arc<Registries>,
        components: Components,
        resolutions: Arc<Resolutions>,
    ) -> Self {
        Self {
            registries,
            components,
            resolutions,
        }
    }

    /// The component of a manifest, which never changes, if one is known and here.
    async fn here(&self, manifest: Digest) -> Option<Digest> {
        let mut known = self.resolutions.all();
        let component = known.find_map(|known| {
            let component = known.component?;
            (known.manifest == manifest).then_some(component)
        })?;
        drop(known);
        let components = self.components.clone();
        let has = tokio::task::spawn_blocking(move || components.has(&component));
        has.await.unwrap_or(false).then_some(component)
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
            if let Some(known) = self.resolutions.known(module) {
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
            self.resolutions.record(module, &resolution).await?;
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
                self.resolutions
                    .record(module, &resolution(component))
                    .await?;
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
            self.resolutions
                .record(module, &resolution(pulled.component))
                .await?;
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

fn parts(module: &DesiredModule) -> Result<(&WasmSpec, &str, Reference), RuntimeError> {
    let refused = |why: String| RuntimeError::refused(module.id(), Step::Prepare, why);
    match &module.spec.kind {
        ModuleKind::Wasm(wasm) if let ComponentRef::Registry(text) = &wasm.image => {
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
    let why = edge_core::chain(error);
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
