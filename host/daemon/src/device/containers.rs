//! What containers find around them: the variables of a module, its workload socket, the way to the hub.
//!
//! The folder of a module's socket is mounted rather than the socket, which is another file after each start
//! of the daemon; it is a folder of its own, or a module could act as its neighbour.

use std::net::IpAddr;
use std::sync::Arc;

use edge_core::deployment::ModuleKind;
use edge_core::runtime::{BoxFuture, DesiredModule, Gate};
use edge_core::{DeviceId, Identity, ModuleId};
use edge_identity::{ModuleEnvironment, Registry};
use edge_moby::{Host, KnownImage, Moby, MobyConfig, Stream, Surroundings};
use edge_wasm::{Level, LogSink as _};

use super::logs::Logs;
use super::resolutions::{Resolution, Resolutions};
use super::workload::{Folders, SOCKET};
use crate::settings::Settings;

/// Where a container finds the folder of its workload socket.
const WORKLOAD: &str = "/run/edge/workload";

/// The daemon, as containers see it.
#[derive(Debug)]
pub(super) struct ContainerHost {
    pub(super) registry: Arc<Registry>,
    pub(super) device: DeviceId,
    pub(super) hub_name: String,
    pub(super) hostname: String,
    /// The name of the gateway above this device.
    pub(super) gateway: Option<String>,
    pub(super) folders: Folders,
    pub(super) logs: Arc<Logs>,
    pub(super) resolutions: Arc<Resolutions>,
}

/// What runs containers; none where settings say so. Must be called within a tokio runtime.
pub(super) fn runtime(
    settings: &Settings,
    host: ContainerHost,
    gate: Arc<dyn Gate>,
) -> Option<Moby> {
    let containers = &settings.containers;
    let config = MobyConfig {
        socket: containers.socket.clone()?,
        network: containers.network.clone(),
        allow: containers.allow.iter().copied().collect(),
        device: host.device.clone(),
    };
    let tokio = tokio::runtime::Handle::current();
    Some(Moby::new(config, Arc::new(host), gate, tokio))
}

impl Host for ContainerHost {
    fn surroundings(&self, module: &ModuleId) -> Result<Surroundings, String> {
        let identity = Identity::Module(self.device.clone(), module.clone());
        let entry = self.registry.get(&identity);
        let entry = entry.ok_or_else(|| format!("{identity} has no identity yet"))?;
        let folder = self.folders.make(module).map_err(|error| {
            format!("cannot make the folder of its workload socket: {error}; see [workload] dir")
        })?;
        let environment = edge_identity::module_environment(&ModuleEnvironment {
            hub: &self.hub_name,
            gateway: &self.hostname,
            parent: self.gateway.as_deref(),
            device: &self.device,
            module,
            generation: entry.generation,
            workload: &format!("unix://{WORKLOAD}/{SOCKET}"),
        });
        // In a container these would be the container itself.
        let here = self.hostname == "localhost" || self.hostname.parse::<IpAddr>().is_ok();
        Ok(Surroundings {
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            mounts: vec![(folder, WORKLOAD.to_owned())],
            hostname: (!here).then(|| self.hostname.clone()),
        })
    }

    fn known_image(&self, module: &DesiredModule) -> Option<KnownImage> {
        let known = self.resolutions.known(module)?;
        let id = known.component?;
        Some(KnownImage {
            id,
            // An image that was in no registry has nothing else than its id.
            manifest: (known.manifest != id).then_some(known.manifest),
        })
    }

    fn image_found<'a>(
        &'a self,
        module: &'a DesiredModule,
        image: KnownImage,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let ModuleKind::Container(container) = &module.spec.kind else {
                return Err("it is no container".to_owned());
            };
            let resolution = Resolution {
                reference: container.image.clone(),
                manifest: image.manifest.unwrap_or(image.id),
                component: Some(image.id),
            };
            let kept = self.resolutions.record(module, &resolution).await;
            kept.map_err(|error| error.why)
        })
    }

    fn line(&self, module: &ModuleId, stream: Stream, line: &str) {
        let level = match stream {
            Stream::Out => Level::Info,
            Stream::Err => Level::Warn,
        };
        self.logs.line(module, level, "", line);
    }
}
