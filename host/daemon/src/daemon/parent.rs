//! The link to the parent, as the settings have it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edge_core::{DeviceId, Identity};
use edge_heads::Live;
use edge_identity::ConnectionString;
use edge_upstream::{Address, Dialer, System, Transport, Trust, Upstream, UpstreamConfig};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use super::DaemonError;
use crate::api::types::ApplyRequest;
use crate::device::{ApplyError, DesiredVersions, Device, Taken};
use crate::settings::{ParentDeployments, Settings};

/// AMQP over TLS.
const AMQPS: u16 = 5671;
/// WebSockets over TLS.
const WSS: u16 = 443;

/// Reads who we are to the parent.
pub(super) fn who(settings: &Settings) -> Result<ConnectionString, DaemonError> {
    let bad = |why: String| DaemonError::Parent(why);
    let upstream = &settings.upstream;
    let file = upstream.connection_string_file.as_ref();
    let file = file.ok_or_else(|| bad("connection-string-file is missing".to_owned()))?;
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| bad(format!("{}: {error}", file.display())))?;
    let who: ConnectionString = text
        .parse()
        .map_err(|error| bad(format!("{}: {error}", file.display())))?;
    let name = settings.device_name();
    if who.device != name || who.module.is_some() {
        let found = who.device;
        return Err(bad(format!(
            "{}: it is for {found:?}, this device is {name:?}: give both one name ([device] name)",
            file.display()
        )));
    }
    Ok(who)
}

/// Reads how the parent is reached.
pub(super) fn open(
    settings: &Settings,
    who: ConnectionString,
    device: &Arc<Device>,
    live: Arc<Live>,
    closing: &watch::Receiver<bool>,
) -> Result<Parent, DaemonError> {
    let upstream = &settings.upstream;
    let usual = match upstream.transport {
        Transport::Tls => AMQPS,
        Transport::WebSocket => WSS,
    };
    let address = Address {
        host: who.gateway.unwrap_or_else(|| who.hub.clone()),
        port: upstream.port.unwrap_or(usual),
    };
    let at = address.to_string();
    let trust = match upstream.trusted.is_empty() {
        true => Trust::System,
        false => Trust::Files(upstream.trusted.clone()),
    };
    let dialer = Dialer::new(address, &trust)
        .map_err(|error| DaemonError::Parent(error.to_string()))?
        .through(upstream.transport, upstream.proxy.clone());
    let from_parent = Arc::new(FromParent {
        device: device.name().clone(),
        wanted: Mutex::default(),
        changed: Notify::new(),
    });
    let link = Upstream::new(UpstreamConfig {
        hub: device.hub().clone(),
        registry: device.registry().clone(),
        live,
        key: who.key,
        hub_name: who.hub,
        token_life: upstream.token_life.0,
        dialer,
        system: from_parent.clone(),
        closing: closing.clone(),
    });
    device.link_to_parent(link.clone());
    Ok(Parent {
        link,
        from_parent,
        device: device.clone(),
        address: at,
        accepts: upstream.deployments == ParentDeployments::Accept,
    })
}

/// Takes deployments from the parent: what it wants of `$edgeAgent` and `$edgeHub`, which come one after the other.
#[derive(Debug)]
struct FromParent {
    device: DeviceId,
    wanted: Mutex<Option<Sections>>,
    changed: Notify,
}

/// Both sections, with the parent's versions; none: not read yet.
#[derive(Debug, Clone, Default)]
struct Sections {
    agent: Option<(u64, Map<String, Value>)>,
    hub: Option<(u64, Map<String, Value>)>,
}

const AGENT: &str = "$edgeAgent";
const HUB: &str = "$edgeHub";
/// The two sections of one deployment come within this of each other.
const TOGETHER: Duration = Duration::from_millis(250);

impl System for FromParent {
    fn is_of_system(&self, identity: &Identity) -> bool {
        matches!(identity, Identity::Module(device, module)
            if *device == self.device && [AGENT, HUB].contains(&module.as_str()))
    }

    fn wanted(&self, identity: &Identity, version: u64, properties: &Map<String, Value>) {
        let Identity::Module(_, module) = identity else {
            return;
        };
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let sections = wanted.get_or_insert_default();
        let section = match module.as_str() {
            AGENT => &mut sections.agent,
            _ => &mut sections.hub,
        };
        *section = Some((version, properties.clone()));
        drop(wanted);
        self.changed.notify_one();
    }
}

/// The link to the parent, and what it brings.
pub(super) struct Parent {
    link: Arc<Upstream>,
    from_parent: Arc<FromParent>,
    device: Arc<Device>,
    /// Where the parent is.
    address: String,
    accepts: bool,
}

impl Parent {
    /// Keeps the link until the daemon stops.
    pub(super) async fn run(&self) {
        tokio::select! {
            () = self.link.run() => {}
            never = self.deploy() => match never {},
        }
    }

    /// Puts in force what the parent wants, whenever that is something else than what was taken of it last. What
    /// was applied here since then gives way: the newest word counts, whoever says it.
    async fn deploy(&self) -> std::convert::Infallible {
        loop {
            self.from_parent.changed.notified().await;
            tokio::time::sleep(TOGETHER).await;
            let wanted = {
                let wanted = self.from_parent.wanted.lock();
                wanted.unwrap_or_else(PoisonError::into_inner).clone()
            };
            let Some(Sections {
                agent: Some((agent, modules)),
                hub: Some((hub, routes)),
            }) = wanted
            else {
                continue;
            };
            let versions = DesiredVersions { agent, hub };
            let is_known = self
                .device
                .taken()
                .is_some_and(|taken| taken.versions == versions && taken.parent == self.address);
            if modules.get("modules").is_none() || is_known {
                continue;
            }
            if !self.accepts {
                tracing::info!(
                    ?versions,
                    "a deployment of the parent's is left: [upstream] deployments = \"ignore\""
                );
                continue;
            }
            let number = match self.take(modules, routes).await {
                Ok(number) => Some(number),
                Err(error) if error.is_final() => None,
                // It is tried again after the next connection.
                Err(_) => continue,
            };
            let kept = self.device.keep_taken(Taken {
                versions,
                parent: self.address.clone(),
                number,
            });
            if let Err(error) = kept {
                tracing::warn!(%error, "not stored that a deployment of the parent's was taken");
            }
        }
    }

    /// The number that it has here.
    async fn take(
        &self,
        agent: Map<String, Value>,
        mut hub: Map<String, Value>,
    ) -> Result<u64, ApplyError> {
        if hub.is_empty() {
            hub.insert("schemaVersion".to_owned(), "1.1".into());
            hub.insert("routes".to_owned(), json!({}));
        }
        let manifest = json!({"modulesContent": {
            AGENT: {"properties.desired": agent},
            HUB: {"properties.desired": hub},
        }});
        let request = ApplyRequest {
            name: "the parent's deployment".to_owned(),
            manifest: manifest.to_string(),
            base: PathBuf::from("/"),
            routes: None,
        };
        match self.device.apply(request).await {
            Ok(applied) => {
                let number = applied.deployment.number;
                tracing::info!(
                    deployment = number,
                    "a deployment of the parent's was taken"
                );
                Ok(number)
            }
            Err(error) => {
                // The agent reports it as well, to the parent too.
                tracing::error!(
                    error = %error.description(),
                    "a deployment of the parent's was not taken"
                );
                Err(error)
            }
        }
    }
}
