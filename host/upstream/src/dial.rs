//! How the parent is reached: name, TCP, perhaps a proxy, TLS, perhaps a WebSocket.
//!
//! ```text
//!   a try a second, those before it go on ─► the first that connects ─► [CONNECT] ─► TLS ─► [WebSocket] ─► stream
//! ```
//!
//! TCP asks again after 1, 3 and 7 seconds when nothing answers. A link that comes back in between would be
//! noticed late, so a new try begins each second while the old ones wait: over a slow link one of those wins.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_http::BoxedStream;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

/// Longest wait for a parent that says nothing, at each step.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A new try begins when those before it have waited for so long.
const NEXT_TRY: Duration = Duration::from_secs(1);
/// Bytes of the head of a proxy's answer.
const PROXY_HEAD: usize = 8 << 10;
/// Tries that wait at a time.
const TRIES: usize = 30;

/// Where the parent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its name, or an IP address: what its certificate has.
    pub host: String,
    /// The port of AMQP over TLS, 5671.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What the parent is spoken to through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// AMQP in TLS.
    #[default]
    Tls,
    /// AMQP in a WebSocket in TLS, for networks that let nothing else out.
    WebSocket,
}

/// A proxy that connects for us (RFC 9110, 9.3.6).
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub address: Address,
    /// `user:password`, if it asks for that.
    pub login: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_ref().map(|_| "***");
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("login", &login)
            .finish()
    }
}

/// Whom the parent's certificate is to lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whom this machine trusts.
    System,
    /// These CAs and nobody else: PEM files.
    Files(Vec<PathBuf>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Its name leads nowhere now.
    #[error("the name cannot be looked up: {0}")]
    Name(io::Error),
    /// Nobody answers there.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    /// Somebody else answers, or somebody whom we do not trust.
    #[error("TLS: {0}{hint}", hint = hint(.0))]
    Tls(io::Error),
    /// The proxy does not let us through.
    #[error("proxy {0}: {1}")]
    Proxy(Address, String),
    /// It does not speak AMQP in a WebSocket.
    #[error("WebSocket: {0}")]
    WebSocket(io::Error),
    /// It connects, and the connection ends before it is open: it stops, starts, or the link is cut.
    #[error("{0}")]
    Cut(String),
    /// It connects, and says nothing.
    #[error("it says nothing")]
    Silent,
    /// It answers, and lets us not in.
    #[error("{0}")]
    Refused(String),
}

/// How the parent, or the proxy before it, was reached.
#[derive(Debug)]
pub(crate) struct Reached {
    /// What a round trip takes, as TCP has seen it.
    pub(crate) trip: Duration,
    /// By the first try.
    pub(crate) at_once: bool,
}

impl DialError {
    /// Whether it may be gone with the next try, with nobody doing anything about it.
    pub fn passes(&self) -> bool {
        match self {
            Self::Name(_) | Self::Unreachable(_) | Self::Cut(_) | Self::Silent => true,
            // One that is about to stop, or just starts, may cut it anywhere.
            Self::Tls(error) | Self::WebSocket(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            ),
            Self::Proxy(..) | Self::Refused(_) => false,
        }
    }
}

/// Makes connections to the parent.
#[derive(Clone)]
pub struct Dialer {
    /// Where it is.
    pub address: Address,
    transport: Transport,
    proxy: Option<Proxy>,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("address", &self.address)
            .field("transport", &self.transport)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// Why a parent cannot be dialled at all.
#[derive(Debug, thiserror::Error)]
pub enum BadParent {
    /// Its host is none.
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
    /// A file of CAs cannot be used.
    #[error("{}: {why}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// This machine trusts nobody.
    #[error("this machine has no trusted CAs: name those of the parent")]
    NoRoots,
}

impl Dialer {
    /// Reads whom to trust.
    ///
    /// # Errors
    /// The host is none, or a file cannot be used.
    pub fn new(address: Address, trust: &Trust) -> Result<Self, BadParent> {
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| BadParent::Host(address.host.clone()))?;
        let mut roots = RootCertStore::empty();
        match trust {
            Trust::System => {
                for certificate in rustls_native_certs::load_native_certs().certs {
                    // Some systems have CAs that nobody can read.
                    let _ = roots.add(certificate);
                }
                if roots.is_empty() {
                    return Err(BadParent::NoRoots);
                }
            }
            Trust::Files(files) => {
                for file in files {
                    add(&mut roots, file).map_err(|why| BadParent::File {
                        file: file.clone(),
                        why,
                    })?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BadParent::Host(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            transport: Transport::default(),
            proxy: None,
            name,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Speaks to the parent through something else.
    #[must_use]
    pub fn through(mut self, transport: Transport, proxy: Option<Proxy>) -> Self {
        self.transport = transport;
        self.proxy = proxy;
        self
    }

    /// Connects.
    pub(crate) async fn dial(&self) -> Result<(BoxedStream, Reached), DialError> {
        let (mut stream, reached) = self.tcp().await?;
        // What it holds back to send it with more would wait for an answer.
        stream.set_nodelay(true).map_err(DialError::Unreachable)?;
        if let Err(error) = edge_http::ask_again_soon(stream.as_fd()) {
            tracing::debug!(%error, "TCP_RTO_MAX_MS");
        }
        let securing = async {
            if let Some(proxy) = &self.proxy {
                tunnel(&mut stream, proxy, &self.address)
                    .await
                    .map_err(|why| DialError::Proxy(proxy.address.clone(), why))?;
            }
            let stream = self.tls.connect(self.name.clone(), stream).await;
            let stream = stream.map_err(DialError::Tls)?;
            Ok(match self.transport {
                Transport::Tls => Box::new(stream) as BoxedStream,
                Transport::WebSocket => {
                    let host = self.address.to_string();
                    let socket = edge_http::websocket_client(stream, &host, "AMQPWSB10").await;
                    Box::new(socket.map_err(DialError::WebSocket)?)
                }
            })
        };
        match timeout(PATIENCE, securing).await {
            Ok(secured) => Ok((secured?, reached)),
            Err(_) => Err(DialError::Silent),
        }
    }

    /// The first connection of several tries.
    async fn tcp(&self) -> Result<(TcpStream, Reached), DialError> {
        let mut tries = FuturesUnordered::new();
        let mut is_first = true;
        let end = Instant::now() + PATIENCE;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(end) => return Err(DialError::Silent),
                () = sleep_until(next), if tries.len() < TRIES => {
                    next = Instant::now() + NEXT_TRY;
                    tries.push(self.one(std::mem::take(&mut is_first)));
                }
                Some(tried) = tries.next() => match tried {
                    Ok(connected) => return Ok(connected),
                    // With others under way it is theirs to say.
                    Err(error) if tries.is_empty() => return Err(error),
                    Err(_) => {}
                },
            }
        }
    }

    async fn one(&self, at_once: bool) -> Result<(TcpStream, Reached), DialError> {
        let first = match &self.proxy {
            Some(proxy) => &proxy.address,
            None => &self.address,
        };
        let (host, port) = (first.host.as_str(), first.port);
        let found = lookup_host((host, port)).await.map_err(DialError::Name)?;
        let found: Vec<SocketAddr> = found.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let trip =
                        edge_http::round_trip(stream.as_fd()).map_err(DialError::Unreachable)?;
                    return Ok((stream, Reached { trip, at_once }));
                }
                Err(error) => last = error,
            }
        }
        Err(DialError::Unreachable(last))
    }
}

/// Has a proxy connect for us; why it does not.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, to: &Address) -> Result<(), String> {
    let login = match &proxy.login {
        Some(login) => format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login)),
        None => String::new(),
    };
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{login}\r\n");
    let lost = |error: io::Error| error.to_string();
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD {
            return Err("its answer has no end".to_owned());
        }
        // A byte at a time: what follows is the parent's.
        head.push(stream.read_u8().await.map_err(lost)?);
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    let status = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    match line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') {
        true => Ok(()),
        false => Err(format!("it answers {line:?}")),
    }
}

/// What to do about a certificate that is not taken.
fn hint(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(why)) = inner else {
        return "";
    };
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "; it leads to no CA that [upstream] trusted names: `edge certificates --bundle` prints the parent's there"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "; GatewayHostName in the connection string has to be a name in the parent's certificate, which \
             [certificates] names adds to there"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "; compare the clocks of both devices",
        _ => "",
    }
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    let mut found = false;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err("there is no certificate in it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_taken_comes_with_what_to_do_and_does_not_pass() {
        let tls = |error: rustls::Error| {
            DialError::Tls(io::Error::new(io::ErrorKind::InvalidData, error))
        };
        for (why, word) in [
            (CertificateError::UnknownIssuer, "[upstream] trusted"),
            (
                CertificateError::UnknownIssuer,
                "edge certificates --bundle",
            ),
            (CertificateError::NotValidForName, "GatewayHostName"),
            (CertificateError::Expired, "clocks"),
        ] {
            let error = tls(rustls::Error::InvalidCertificate(why));
            assert!(error.to_string().contains(word), "{error}");
            assert!(!error.passes());
        }
        let other = tls(rustls::Error::HandshakeNotComplete);
        assert!(!other.to_string().contains(';'), "{other}");
        let cut = DialError::Tls(io::ErrorKind::UnexpectedEof.into());
        assert!(cut.passes());
    }
}
