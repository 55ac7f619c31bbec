//! Deployments of devices below this one: what is wanted of their `$edgeAgent`, `$edgeHub` and modules. They read it
//! when they are connected, and report what became of it in the twin of their `$edgeAgent`.

use std::sync::Arc;

use edge_core::deployment::{ComponentRef, Deployment, ModuleKind};
use edge_core::{DeviceId, Identity, ModuleId, twin};
use edge_hub::{Side, TwinError};
use edge_manifest::ReadOptions;
use edge_route::Mode;
use edge_store::Lsn;
use serde_json::{Map, Value};

use super::Device;
use super::apply::{ApplyError, render_mistakes};
use crate::api::types::{ApplyRequest, ChildDeployment};

/// The twin by whose version a device knows that a deployment is a new one.
const AGENT: &str = "$edgeAgent";

impl Device {
    /// Wants a deployment of a device below this one. On this device when it returns; the other one takes it when it
    /// is connected.
    ///
    /// # Errors
    /// Nothing changed: it is no such device, or cannot have this; or the store failed half-way, and the same request completes it.
    pub(crate) async fn apply_to_child(
        self: &Arc<Self>,
        child: &DeviceId,
        request: ApplyRequest,
    ) -> Result<ChildDeployment, ApplyError> {
        if self
            .registry
            .get(&Identity::Device(child.clone()))
            .is_none()
        {
            let why = format!(
                "device {child} is not registered: `edge identity add {child} --edge` does that"
            );
            return Err(ApplyError::NoSuch(why));
        }
        if child == self.name() {
            let why = "that is this device: leave --device out".to_owned();
            return Err(ApplyError::Request(why));
        }
        let agent = ModuleId::new(AGENT).map_err(|error| ApplyError::Request(error.to_string()))?;
        let agent = Identity::Module(child.clone(), agent);
        if self.registry.get(&agent).is_none() {
            let why = format!(
                "device {child} is registered as one without this program, and nobody there would take it; \
                 if it has it: `edge identity add '{agent}'`"
            );
            return Err(ApplyError::Request(why));
        }
        let mode = match request.routes {
            None => Mode::Compat,
            Some(text) => text
                .parse()
                .map_err(|error| ApplyError::Request(format!("routes: {error}")))?,
        };
        let name = request.name;
        let mistakes = |mistakes: Vec<edge_manifest::Mistake>| ApplyError::Mistakes {
            version: mistakes.iter().any(|mistake| mistake.version),
            mistakes: render_mistakes(&name, &mistakes),
            name: name.clone(),
        };
        // Read as the other device will.
        let read = edge_manifest::read(&request.manifest, &ReadOptions { routes: mode })
            .map_err(mistakes)?;
        let relative = relative_files(&read.deployment);
        if !relative.is_empty() {
            return Err(ApplyError::Mistakes {
                name,
                mistakes: relative,
                version: false,
            });
        }
        let sections = edge_manifest::sections(&request.manifest).map_err(mistakes)?;
        let warnings = render_mistakes(&name, &read.warnings);
        let mut all = Vec::new();
        for (module, desired) in sections {
            let id = ModuleId::new(&module);
            let id =
                id.map_err(|error| ApplyError::Request(format!("module {module:?}: {error}")))?;
            let desired: Map<String, Value> = serde_json::from_str(&desired)
                .map_err(|error| ApplyError::Request(format!("module {module:?}: {error}")))?;
            all.push((id, desired));
        }
        let identity = |module: &ModuleId| Identity::Module(child.clone(), module.clone());
        let modules = read.deployment.modules.iter().map(|module| &module.id);
        let identities: Vec<Identity> = all
            .iter()
            .map(|(module, _)| module)
            .chain(modules.clone())
            .map(identity)
            .collect();
        self.ensure_identities(&identities)
            .await
            .map_err(ApplyError::Identities)?;
        let patches = all.iter().map(|(module, desired)| {
            let failed = |why| ApplyError::Twin {
                module: module.clone(),
                why,
            };
            let section = self.hub.twin(&identity(module), Side::Desired, None);
            let section = section.map_err(failed)?;
            let patch = twin::difference(&section.properties, desired);
            // Its version goes up each time: the other device may have something else by now, and the newest word
            // counts, also where it is the same as the one before.
            let patch = match module.as_str() == AGENT {
                true => Some(patch.unwrap_or_default()),
                false => patch,
            };
            let patch = patch.map(|patch| Value::Object(patch).to_string());
            if let Some(patch) = &patch {
                let checked = self.hub.check_desired(&identity(module), patch);
                checked.map_err(failed)?;
            }
            Ok((module, patch))
        });
        // All of them are checked before the first is changed.
        let patches = patches.collect::<Result<Vec<_>, ApplyError>>()?;
        let mut newest: Option<Lsn> = None;
        for (module, patch) in patches {
            if let Some(patch) = patch {
                let failed = |why: TwinError| ApplyError::Twin {
                    module: module.clone(),
                    why,
                };
                let (_, lsn) = self
                    .hub
                    .change_desired(&identity(module), &patch)
                    .map_err(failed)?;
                newest = newest.max(lsn);
            }
        }
        self.durable(newest).await?;
        let gateway = self.registry.gateway_below(child, self.name());
        Ok(ChildDeployment {
            device: child.to_string(),
            modules: modules.map(ToString::to_string).collect(),
            connected: self.is_connected(gateway.as_ref().unwrap_or(child)),
            gateway: gateway.map(|gateway| gateway.to_string()),
            warnings,
        })
    }

    fn is_connected(&self, device: &DeviceId) -> bool {
        let device = Identity::Device(device.clone());
        let clients = self.hub.meters().clients.all().into_iter();
        let mut of_device =
            clients.filter(|(client, _)| client.as_ref() == Some(&Some(device.clone())));
        of_device.any(|(_, meter)| meter.is_connected())
    }
}

/// What is wrong with files that another device would look for in a folder which is on this one.
fn relative_files(deployment: &Deployment) -> Vec<String> {
    let relative = deployment.modules.iter().filter_map(|spec| {
        let ModuleKind::Wasm(wasm) = &spec.kind else {
            return None;
        };
        match &wasm.image {
            ComponentRef::File(file) if file.is_relative() => Some(format!(
                "module {}: file:{} is relative, and the manifest's folder is not on the other device: name the file \
                 there from / on, or a component in a registry (`edge push`)",
                spec.id,
                file.display()
            )),
            ComponentRef::File(_) | ComponentRef::Registry(_) => None,
        }
    });
    relative.collect()
}
