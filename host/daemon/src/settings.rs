//! What the daemon is told about itself: sockets, directories, limits. Not modules and routes; those
//! are the deployment's.
//!
//! ```text
//!   default.toml (embedded) ◄── config.toml ◄── config.d/*.toml, sorted ──► Settings, checked once
//! ```
//!
//! What stands in a later file takes the place of what stands in an earlier one, key by key. All
//! mistakes of all files are told at once; a file with a mistake gives no settings.

mod connections;
mod keys;
mod read;
mod registries;
mod verify;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_core::{ByteSize, DeviceId, limits};

use crate::paths;

pub use connections::{
    AmqpSettings, CertificateSettings, HttpsSettings, LimitSettings, MqttSettings, TopicSettings,
    WorkloadSettings,
};
pub use read::{BadSettings, Mistake};
pub(crate) use registries::open as open_registries;
pub use registries::{RegistryFileError, RegistrySettings};
pub use verify::{KeyFileError, VerifySettings};

/// Every key with its default and what it is for; reading it gives [`Settings::default`].
pub const DEFAULT_FILE: &str = include_str!("settings/default.toml");

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Where everything lies that the device keeps.
    pub data: Option<PathBuf>,
    /// `[device]`.
    pub device: DeviceSettings,
    /// `[management]`.
    pub management: ManagementSettings,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[hub]`.
    pub hub: HubSettings,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[mqtt]`.
    pub mqtt: MqttSettings,
    /// `[amqp]`.
    pub amqp: AmqpSettings,
    /// `[https]`.
    pub https: HttpsSettings,
    /// `[certificates]`.
    pub certificates: CertificateSettings,
    /// `[workload]`.
    pub workload: WorkloadSettings,
    /// `[topics]`.
    pub topics: TopicSettings,
    /// `[metrics]`.
    pub metrics: MetricsSettings,
    /// `[wasm]`.
    pub wasm: WasmSettings,
    /// `[agent]`.
    pub agent: AgentSettings,
    /// `[containers]`.
    pub containers: ContainerSettings,
    /// `[verify]`.
    pub verify: VerifySettings,
    /// `[[registries]]`.
    pub registries: Vec<RegistrySettings>,
    /// `[upstream]`.
    pub upstream: UpstreamSettings,
}

/// `[device]`: who this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSettings {
    /// The device's name; none: the host's.
    pub name: Option<DeviceId>,
    /// The name by which modules and devices reach it; none: see [`Settings::hostname`].
    pub hostname: Option<String>,
    /// The hub's name in tokens, user names and connection strings. Nobody connects to it.
    pub hub_name: String,
}

impl DeviceSettings {
    /// A name that no DNS will ever give to anybody (`.internal` is kept for private use), so that a
    /// client which has no gateway name fails rather than reach a stranger. `.local` would be asked
    /// for on the network by multicast.
    const HUB_NAME: &str = "edge.internal";
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self {
            name: None,
            hostname: None,
            hub_name: Self::HUB_NAME.to_owned(),
        }
    }
}

/// `[management]`: the socket that commands talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementSettings {
    /// Its path; none: in the run folder of the system, or the data directory.
    pub socket: Option<PathBuf>,
    /// Its file mode: who may use it.
    pub mode: u32,
    /// The group that it belongs to; none: that of the process.
    pub group: Option<String>,
}

impl ManagementSettings {
    /// Owner and group may connect.
    const MODE: u32 = 0o660;
}

impl Default for ManagementSettings {
    fn default() -> Self {
        Self {
            socket: None,
            mode: Self::MODE,
            group: None,
        }
    }
}

/// What happens to a message that the store has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Its sender is told so.
    #[default]
    Reject,
    /// The oldest messages give way.
    DropOldest,
    /// The messages of the lowest priority give way, the oldest of them first.
    DropLowestPriority,
}

/// `[store]`: the log on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Its folder; none: `store` in the data directory.
    pub path: Option<PathBuf>,
    /// Bytes that it may take; none: what the disk has.
    pub limit: Option<ByteSize>,
    /// Bytes of the disk that it leaves free.
    pub reserve: ByteSize,
    /// What happens when it has no more room.
    pub when_full: WhenFull,
    /// Bytes of one file of the log.
    pub segment_size: ByteSize,
}

impl StoreSettings {
    /// Room for the rest of the system to go on while the disk is full of messages.
    const RESERVE: ByteSize = ByteSize(256 << 20);
    /// Large enough that making files costs nothing, small enough that space is given back soon.
    const SEGMENT: ByteSize = ByteSize(16 << 20);
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: None,
            limit: None,
            reserve: Self::RESERVE,
            when_full: WhenFull::default(),
            segment_size: Self::SEGMENT,
        }
    }
}

/// `[hub]`: limits of messages, twins and methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// Largest message, properties included.
    pub message_limit: ByteSize,
    /// Largest half of a twin.
    pub twin_limit: ByteSize,
    /// Largest payload of a method.
    pub method_limit: ByteSize,
    /// How long messages are worth delivering while no deployment says it.
    pub time_to_live: Duration,
    /// How long after its expiry a token is still taken.
    pub clock_skew: Duration,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            message_limit: limits::MESSAGE,
            twin_limit: limits::TWIN,
            method_limit: limits::METHOD,
            time_to_live: limits::TIME_TO_LIVE,
            clock_skew: edge_identity::CLOCK_SKEW,
        }
    }
}

/// `[metrics]`: where Prometheus looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The address; none: nowhere.
    pub listen: Option<SocketAddr>,
}

impl MetricsSettings {
    /// The port that dashboards of the seed system look at, for this machine only.
    const LISTEN: SocketAddr = SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1)),
        9600,
    );
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            listen: Some(Self::LISTEN),
        }
    }
}

/// `[wasm]`: how components run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WasmSettings {
    /// Threads that run modules; none: one for each processor.
    pub workers: Option<usize>,
    /// Where compiled components are kept.
    pub cache: Cache,
}

/// Where compiled components are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cache {
    /// `cache` in the data directory.
    #[default]
    InData,
    /// In this folder.
    At(PathBuf),
    /// Nowhere: each start compiles them anew.
    Off,
}

/// `[agent]`: what becomes of deployments that do not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Whether they give way to the last one that worked, where they do not say so themselves.
    pub rollback: bool,
    /// How long a deployment has to show that it works.
    pub rollback_within: Duration,
    /// How long all of its modules must have run for that.
    pub rollback_stable: Duration,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            rollback: false,
            rollback_within: Duration::from_secs(300),
            rollback_stable: Duration::from_secs(30),
        }
    }
}

/// `[containers]`: the engine that runs them, and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSettings {
    /// The engine's socket; none: no containers run here.
    pub socket: Option<PathBuf>,
    /// The network of containers that name none.
    pub network: String,
    /// What containers may ask for.
    pub allow: Vec<edge_moby::Allow>,
    /// How long an image stays that no module has any more; none: for ever.
    pub unused_images: Option<Duration>,
}

impl ContainerSettings {
    /// Where Docker listens; Podman's service can.
    const SOCKET: &str = "/var/run/docker.sock";
    /// The seed system's, so that containers of its manifests find each other by name.
    const NETWORK: &str = "azure-iot-edge";
}

impl Default for ContainerSettings {
    fn default() -> Self {
        Self {
            socket: Some(Self::SOCKET.into()),
            network: Self::NETWORK.to_owned(),
            allow: Vec::new(),
            unused_images: Some(Duration::from_secs(7 * 86_400)),
        }
    }
}

/// `[upstream]`: the parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamSettings {
    /// What kind of parent there is.
    pub kind: UpstreamKind,
    /// Who we are to it: a file with a connection string.
    pub connection_string_file: Option<PathBuf>,
    /// What it is spoken to through.
    pub transport: edge_upstream::Transport,
    /// Its port; none: that of the transport.
    pub port: Option<u16>,
    /// A proxy that connects to it.
    pub proxy: Option<edge_upstream::Proxy>,
    /// The CAs that its certificate leads to: PEM files; none: whom this machine trusts.
    pub trusted: Vec<PathBuf>,
    /// How long a token for it holds; renewed after three quarters of it.
    pub token_life: TokenLife,
    /// Whether deployments of the parent's are put in force.
    pub deployments: ParentDeployments,
    /// What a device without a parent does with messages for it.
    pub messages: RootMessages,
    /// Where files of messages are; none: `upstream` in the data directory.
    pub folder: Option<PathBuf>,
    /// Days of which they are kept.
    pub keep_days: KeepDays,
}

/// How long a token for the parent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLife(pub Duration);

impl Default for TokenLife {
    /// As the SDKs have it.
    fn default() -> Self {
        Self(Duration::from_secs(3_600))
    }
}

/// Days of which files of messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepDays(pub usize);

impl Default for KeepDays {
    /// As long as most people need to notice that they miss something.
    fn default() -> Self {
        Self(30)
    }
}

/// Whether deployments of the parent's are put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParentDeployments {
    /// They are, as those that are applied here; the newest counts.
    #[default]
    Accept,
    /// Only what is applied here is.
    Ignore,
}

/// What kind of parent there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamKind {
    /// None: this device stands alone.
    #[default]
    None,
    /// A hub that speaks AMQP as IoT Hub does: another of our devices, or IoT Hub.
    Amqp,
}

/// What a device without a parent does with messages for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootMessages {
    /// They wait in their queue until they expire.
    #[default]
    Keep,
    /// They are printed on standard output, one JSON object a line.
    Print,
    /// They are written to files by day.
    Files,
}

impl Settings {
    /// Reads a configuration file and the drop-ins in `config.d` beside it; without a file, the
    /// defaults.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn load(config: Option<&Path>) -> Result<Self, BadSettings> {
        match config {
            Some(path) => read::files(path),
            None => Ok(Self::default()),
        }
    }

    /// The data directory: the one given, else that of the settings, else the system's.
    ///
    /// # Errors
    /// Nothing says where, and there is no home.
    pub fn data_dir(&self, given: Option<&Path>) -> Result<PathBuf, paths::NoDataDir> {
        match given.or(self.data.as_deref()) {
            Some(dir) => Ok(dir.to_owned()),
            None => paths::data_dir(),
        }
    }

    /// The socket of the management API, for a data directory.
    pub fn socket(&self, data: &Path) -> PathBuf {
        match &self.management.socket {
            Some(path) => path.clone(),
            None => paths::socket(data),
        }
    }

    /// The name of this device: the one set, else the host's as far as it can be an id.
    pub fn device_name(&self) -> DeviceId {
        if let Some(name) = &self.device.name {
            return name.clone();
        }
        let host = host_name();
        DeviceId::new(host.split('.').next().unwrap_or_default())
            .or_else(|_| DeviceId::new("edge"))
            .expect("a word of letters is an id")
    }

    /// The name by which modules and devices reach this one: the one set, else the host's. While
    /// nothing listens beyond this machine that would be a name that leads elsewhere: `localhost`.
    pub fn hostname(&self) -> String {
        if let Some(name) = &self.device.hostname {
            return name.clone();
        }
        let listening = [&self.mqtt.listen, &self.amqp.listen, &self.https.listen];
        match listening
            .into_iter()
            .flatten()
            .all(|at| at.ip().is_loopback())
        {
            true => "localhost".to_owned(),
            false => Some(host_name())
                .filter(|name| is_host_name(name))
                .unwrap_or_else(|| "localhost".to_owned()),
        }
    }
}

/// What the host is called.
fn host_name() -> String {
    let host = rustix::system::uname();
    host.nodename().to_string_lossy().into_owned()
}

/// Whether text is an IP address, or a DNS name as certificates can have it (RFC 1123): letters, digits
/// and `-`, labels of up to 63 bytes, 253 in all.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<std::net::IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

#[cfg(test)]
mod tests;
