//! What checks look at, gathered once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use edge_core::Timestamp;
use edge_hub::{Clock as _, SystemClock};

use super::Place;
use super::daemon::Port;
use super::engine::{self, Engine};
use super::host::{self, Disk};
use super::network::{self, HostRoute};
use crate::api::types::{CertificatesInfo, DeviceInfo, Modules};
use crate::client::{Client, ClientError};
use crate::settings::Settings;

/// The daemon has this long to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The host's name is looked up for so long.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What is known of a device.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) place: Place,
    /// The defaults, where they cannot be read.
    pub(crate) settings: Settings,
    /// What is wrong with them.
    pub(crate) mistakes: Vec<String>,
    pub(crate) daemon: Result<Daemon, ClientError>,
    /// None: it was not asked.
    pub(crate) engine: Option<Result<Engine, String>>,
    pub(crate) ports: Vec<Port>,
    pub(crate) routes: Vec<HostRoute>,
    /// Of the host's name.
    pub(crate) addresses: Result<Vec<IpAddr>, String>,
    pub(crate) disk: io::Result<Disk>,
    pub(crate) store_disk: io::Result<Disk>,
    /// Bytes that the store has already.
    pub(crate) waiting: u64,
    pub(crate) now: Timestamp,
    /// When this program was written.
    pub(crate) built: Option<Timestamp>,
    /// Whether somebody keeps the clock.
    pub(crate) synchronised: Option<bool>,
}

/// What a daemon answers.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) info: DeviceInfo,
    pub(crate) modules: Modules,
    pub(crate) certificates: CertificatesInfo,
}

#[cfg(test)]
impl Daemon {
    /// One with nothing but a name and a link to a parent, for tests of single checks.
    pub(crate) fn of(device: &str, upstream: Option<crate::api::types::UpstreamInfo>) -> Self {
        use crate::api::types::LastDesired;
        Self {
            info: DeviceInfo {
                device: device.to_owned(),
                version: String::new(),
                pid: 1,
                started: String::new(),
                data: "/none".into(),
                hostname: device.to_owned(),
                hub_name: String::new(),
                listeners: Vec::new(),
                metrics: None,
                deployment: None,
                upstream,
            },
            modules: Modules {
                deployment: 0,
                generation: 0,
                settled: true,
                last_desired: LastDesired {
                    code: 200,
                    description: String::new(),
                },
                modules: Vec::new(),
            },
            certificates: CertificatesInfo {
                hostname: device.to_owned(),
                bundle_file: None,
                bundle: String::new(),
                certificates: Vec::new(),
            },
        }
    }
}

impl Facts {
    /// Looks. Nothing is changed by it.
    pub(crate) async fn gather(place: &Place) -> Self {
        let (settings, mistakes) = match Settings::load(place.config.as_deref()) {
            Ok(settings) => (settings, Vec::new()),
            Err(bad) => {
                let mistakes = bad.0.iter().map(ToString::to_string).collect();
                (Settings::default(), mistakes)
            }
        };
        let daemon = ask(place).await;
        let ports = ports(&settings, daemon.as_ref().ok().map(|daemon| &daemon.info)).await;
        let engine = match (&settings.containers.socket, mistakes.is_empty()) {
            (Some(socket), true) => Some(engine::ask(socket, &settings.containers.network).await),
            _ => None,
        };
        let store = match &settings.store.path {
            Some(path) => path.clone(),
            None => place.data.join("store"),
        };
        Self {
            addresses: look_up(&settings.hostname()).await,
            routes: std::fs::read_to_string("/proc/net/route")
                .map(|text| network::routes(&text))
                .unwrap_or_default(),
            disk: Disk::of(&place.data),
            store_disk: Disk::of(&store),
            waiting: size(&store),
            now: SystemClock.now(),
            built: host::built(),
            synchronised: host::synchronised(),
            place: place.clone(),
            settings,
            mistakes,
            daemon,
            engine,
            ports,
        }
    }

    /// Whether the deployment has containers, as far as that is known.
    pub(crate) fn has_containers(&self) -> bool {
        let daemon = self.daemon.as_ref().ok();
        daemon.is_some_and(|daemon| {
            let modules = &daemon.modules.modules;
            modules.iter().any(|module| module.kind == "docker")
        })
    }

    /// Of no device, for tests of single checks.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        let place = Place {
            config: None,
            data: "/none".into(),
            socket: "/none/mgmt.sock".into(),
        };
        Self {
            daemon: Err(ClientError::NotRunning {
                socket: place.socket.clone(),
            }),
            place,
            settings: Settings::default(),
            mistakes: Vec::new(),
            engine: None,
            ports: Vec::new(),
            routes: Vec::new(),
            addresses: Ok(Vec::new()),
            disk: Err(io::ErrorKind::NotFound.into()),
            store_disk: Err(io::ErrorKind::NotFound.into()),
            waiting: 0,
            now: Timestamp(0),
            built: None,
            synchronised: None,
        }
    }
}

async fn ask(place: &Place) -> Result<Daemon, ClientError> {
    let client = Client::new(&place.socket);
    let asked = async {
        Ok(Daemon {
            info: client.device().await?,
            modules: client.modules().await?,
            certificates: client.certificates().await?,
        })
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::Connection {
            socket: place.socket.clone(),
            why: format!("no answer in {} s", PATIENCE.as_secs()),
        }),
    }
}

/// The ports that are set, and whose they are.
async fn ports(settings: &Settings, info: Option<&DeviceInfo>) -> Vec<Port> {
    let sections = [
        ("mqtt", &settings.mqtt.listen),
        ("amqp", &settings.amqp.listen),
        ("https", &settings.https.listen),
        ("topics", &settings.topics.listen),
    ];
    let mut ports = Vec::new();
    for (section, addresses) in sections {
        for &address in addresses {
            let served = info.is_some_and(|info| serves(info, section, address));
            let opened = match info {
                Some(_) => None,
                None => Some(tokio::net::TcpListener::bind(address).await.map(drop)),
            };
            ports.push(Port {
                section,
                address,
                served,
                opened,
            });
        }
    }
    ports
}

/// Whether a daemon has a port. Of port 0 it is not known which one it became.
fn serves(info: &DeviceInfo, section: &str, address: SocketAddr) -> bool {
    let same = |at: &str| at == address.to_string() || address.port() == 0;
    let mut listeners = info.listeners.iter();
    listeners.any(|listener| listener.name == section && same(&listener.address))
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    match tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
            addresses.sort();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", LOOK_UP.as_secs())),
    }
}

/// Bytes of the files in a folder.
fn size(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok());
    sizes
        .filter(|file| file.is_file())
        .map(|file| file.len())
        .sum()
}
