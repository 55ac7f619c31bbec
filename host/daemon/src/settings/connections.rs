//! Settings of what others connect to: addresses, certificates, limits, topics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use edge_core::ByteSize;
use edge_mqtt::{TopicMapping, TopicRule};

/// An address for this machine alone: a fresh device opens nothing to the network.
const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// `[limits]`: bounds on what others may ask of the daemon as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// Connections that are open at a time, at each address that is listened on.
    pub connections: usize,
}

impl LimitSettings {
    /// More than a site has devices; some 40 KiB each with TLS, so they fit into a small machine.
    const CONNECTIONS: usize = 10_000;
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            connections: Self::CONNECTIONS,
        }
    }
}

/// `[mqtt]`: the port of MQTT over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSettings {
    /// Its addresses; none: nowhere.
    pub listen: Vec<SocketAddr>,
}

impl Default for MqttSettings {
    fn default() -> Self {
        // Clients cannot be told another port (client-contract section 5).
        Self {
            listen: vec![loopback(8883)],
        }
    }
}

/// `[amqp]`: the port of AMQP over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpSettings {
    /// Its addresses; none: nowhere.
    pub listen: Vec<SocketAddr>,
}

impl Default for AmqpSettings {
    fn default() -> Self {
        // Clients cannot be told another port (client-contract section 5).
        Self {
            listen: vec![loopback(5671)],
        }
    }
}

/// `[https]`: the port of method calls, and of MQTT and AMQP over WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsSettings {
    /// Its addresses; none: nowhere.
    pub listen: Vec<SocketAddr>,
}

impl Default for HttpsSettings {
    fn default() -> Self {
        // Clients cannot be told another port (client-contract section 5).
        Self {
            listen: vec![loopback(443)],
        }
    }
}

/// `[certificates]`: what the device shows of itself, and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// Further names and addresses in the server's certificate.
    pub names: Vec<String>,
    /// How long certificates live that the device issues.
    pub lifetime: Duration,
    /// A CA of yours that issues the server's certificate, with its chain: a PEM file.
    pub ca_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub ca_key: Option<PathBuf>,
    /// The server's certificate itself, with its chain: a PEM file.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// CAs whose certificates devices may show: PEM files.
    pub trusted: Vec<PathBuf>,
}

impl CertificateSettings {
    /// Short enough that a stolen key is worth little, long enough that a device may be off for weeks.
    const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
}

impl Default for CertificateSettings {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            lifetime: Self::LIFETIME,
            ca_certificate: None,
            ca_key: None,
            certificate: None,
            key: None,
            trusted: Vec::new(),
        }
    }
}

/// `[workload]`: where modules ask for tokens and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadSettings {
    /// The folder of their sockets; none: `workload` in the data directory.
    pub dir: Option<PathBuf>,
    /// The file mode of the sockets. Whoever may open a module's socket can act as it.
    pub mode: u32,
    /// The group that they belong to; none: that of the process.
    pub group: Option<String>,
    /// An address of this machine that answers for every module; none: nowhere.
    pub listen: Option<SocketAddr>,
}

impl WorkloadSettings {
    /// Owner and group may connect.
    const MODE: u32 = 0o660;
}

impl Default for WorkloadSettings {
    fn default() -> Self {
        Self {
            dir: None,
            mode: Self::MODE,
            group: None,
            listen: None,
        }
    }
}

/// `[topics]`: MQTT topics for devices that know nothing of hubs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Its addresses; none: nowhere.
    pub listen: Vec<SocketAddr>,
    /// Whether clients speak TLS.
    pub tls: bool,
    /// Whether clients may connect that have no identity; rules for them name `$anonymous`.
    pub anonymous: bool,
    /// Who may publish and subscribe what; what no rule allows is refused.
    pub rules: Vec<TopicRule>,
    /// What enters the hub as a message of the device that published it.
    pub mappings: Vec<TopicMapping>,
    /// What may wait for one session; a session for which more waits is over.
    pub queue_limit: ByteSize,
}

impl TopicSettings {
    /// Two hours, which is the longest wait, of 70 messages of 256 bytes a second.
    const QUEUE_LIMIT: ByteSize = ByteSize(128 << 20);
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            tls: true,
            anonymous: false,
            rules: Vec::new(),
            mappings: Vec::new(),
            queue_limit: Self::QUEUE_LIMIT,
        }
    }
}
