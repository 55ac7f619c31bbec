//! Certificates: the device's own CA, or files that were given, and whom it trusts.
//!
//! Owns a directory. Called by the heads (TLS), by the workload API (certificates of modules, trust bundle) and by
//! the daemon, which calls [`Authority::renew`] when it is due.
//!
//! ```text
//!   Source::Own      root.pem ──► edge-ca.pem ──► server.pem      all made here, keys in *.key (0600)
//!   Source::EdgeCa        given edge CA ──► server.pem            made here under the given CA
//!   Source::Server                   given chain and key          read again when they change
//!
//!   server certificate   valid ──► due (2/3 of its life) ──► renew: a new one, swapped in; connections stay
//!                          └────── clock outside its validity ──► renewed by the next handshake itself
//! ```
//!
//! The own CAs are valid from 1970 to 9999, so that no clock, however wrong, ends them; what is issued is
//! short-lived and made again when the clock says so. Trust is never replaced in silence: a root whose key is
//! gone or damaged is an error that says what to do.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edge_core::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use webpki::{EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

use crate::{CertificateFault, ChainVerifier, Denied, Secret};

mod ca;
mod details;
mod error;
mod files;
mod material;
mod parse;
mod sealing;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod tls;

use ca::Name;
pub use details::{CertificateDetails, certificate_details, certificates_of};
pub use error::{AuthorityError, IssueError};
#[cfg(test)]
pub(crate) use parse::names;
pub(crate) use parse::validity;
use state::Inner;

/// Longest life of a certificate that is issued here.
pub const MAX_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// Where certificates come from and what they say.
#[derive(Debug, Clone)]
pub struct AuthorityConfig {
    /// The directory for keys and certificates; made if it is not there, for this user only.
    pub dir: PathBuf,
    /// The name by which clients know the hub; the server's common name.
    pub hostname: String,
    /// Further DNS names and IP addresses of the server. `localhost`, `127.0.0.1` and `::1` are always among them.
    pub names: Vec<String>,
    /// Life of server certificates; 90 days by default.
    pub server_lifetime: Duration,
    /// Own CA or files.
    pub source: Source,
    /// Files (PEM) of CAs whose client certificates are trusted, beside the own.
    pub trusted: Vec<PathBuf>,
    /// The clock of TLS handshakes.
    pub clock: Arc<dyn TimeProvider>,
}

/// Where the server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From a CA that is made here.
    Own,
    /// From a CA that is given. Its root ends the certificate file, or is among the trusted files.
    EdgeCa {
        /// The CA's certificate, then those above it; PEM.
        certificate: PathBuf,
        /// Its key; PKCS #8 in PEM.
        key: PathBuf,
    },
    /// It is given itself; nothing can be issued then.
    Server {
        /// The server's certificate, then those above it; PEM.
        certificate: PathBuf,
        /// Its key; PEM.
        key: PathBuf,
    },
}

impl AuthorityConfig {
    /// Own CA, 90 days, the operating system's clock, no further names.
    pub fn own(dir: impl Into<PathBuf>, hostname: &str) -> Self {
        Self {
            dir: dir.into(),
            hostname: hostname.to_owned(),
            names: Vec::new(),
            server_lifetime: MAX_LIFETIME,
            source: Source::Own,
            trusted: Vec::new(),
            clock: Arc::new(DefaultTimeProvider),
        }
    }
}

/// Issues certificates, serves TLS with one, and judges those of clients.
pub struct Authority {
    inner: Arc<Inner>,
    tls: Arc<ServerConfig>,
}

/// The subject of a client certificate that leads to a trusted CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonName {
    /// Its one common name.
    pub name: String,
    /// When the certificate ends.
    pub expires: Timestamp,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be a TLS server.
    Server,
    /// To be a TLS client.
    Client,
}

/// A certificate that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Issue<'a> {
    /// Its common name.
    pub common_name: &'a str,
    /// Its DNS names and IP addresses.
    pub names: &'a [&'a str],
    /// What for.
    pub kind: Kind,
    /// How long from now; cut to [`MAX_LIFETIME`].
    pub lifetime: Duration,
}

/// A certificate that was issued, with its key.
pub struct Issued {
    /// The certificate and those above it but the root; PEM.
    pub certificate: String,
    /// Its key; PKCS #8 in PEM.
    pub private_key: Zeroizing<String>,
    /// When it ends.
    pub expires: Timestamp,
}

/// What [`Authority::renew`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Whether there is another server certificate than before.
    pub renewed: bool,
    /// When the server's certificate ends.
    pub expires: Timestamp,
    /// When to call again.
    pub next: Timestamp,
    /// What an operator should look at: a given certificate or CA that is not valid now.
    pub warning: Option<String>,
}

impl Authority {
    /// Reads what is there, and makes what is not.
    ///
    /// # Errors
    /// Names the bad file and says what to do.
    pub fn open(config: AuthorityConfig, now: Timestamp) -> Result<Arc<Self>, AuthorityError> {
        let inner = Arc::new(Inner::open(config, now)?);
        let tls = tls::server_config(inner.clone()).map_err(AuthorityError::Tls)?;
        Ok(Arc::new(Self {
            inner,
            tls: Arc::new(tls),
        }))
    }

    /// The CAs that clients are to trust; PEM, the self-signed root first. Former roots (`old-roots/*.pem`) are
    /// among them until they end.
    pub fn trust_bundle(&self) -> Arc<str> {
        self.inner.material().bundle.clone()
    }

    /// Settings of a TLS acceptor, always the same ones: certificates are swapped inside. TLS 1.2 and 1.3. A client
    /// certificate is asked for, not demanded, and any is taken: who may connect is for the registry to say.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.tls.clone()
    }

    /// Reads given files again, and issues another server certificate if there is reason: it is due, the clock is
    /// outside its validity, or it is by another CA. Connections that are open stay so. To be called at
    /// [`Renewal::next`], and when an operator changed files; reads and may write files.
    ///
    /// # Errors
    /// A file cannot be read or written. What was in use stays in use, unless only the writing failed: then the
    /// new certificate is in use until the next start.
    pub fn renew(&self, now: Timestamp) -> Result<Renewal, AuthorityError> {
        self.inner.renew(now)
    }

    /// The server's certificate and those above it that are sent.
    pub fn server_chain(&self) -> Vec<CertificateDer<'static>> {
        self.inner.served().key.cert.clone()
    }

    /// When the server's certificate ends.
    pub fn expires(&self) -> Timestamp {
        self.inner.served().validity.to
    }

    /// Issues a certificate with a key of its own.
    ///
    /// # Errors
    /// There is no CA here, or a name cannot be in a certificate.
    pub fn issue(&self, request: &Issue<'_>, now: Timestamp) -> Result<Issued, IssueError> {
        if request.common_name.is_empty() {
            return Err(IssueError::BadName(String::new()));
        }
        let material = self.inner.material();
        let ca = material.ca.as_ref().ok_or(IssueError::NoCa)?;
        let names: Result<Vec<_>, _> = request.names.iter().map(|name| Name::new(name)).collect();
        let lifetime = request.lifetime.min(MAX_LIFETIME);
        let leaf = ca.issue(request.common_name, &names?, request.kind, lifetime, now)?;
        Ok(Issued {
            certificate: files::certificates_pem(&leaf.chain),
            private_key: files::key_pem(&leaf.key),
            expires: leaf.validity.to,
        })
    }

    /// The secret under which modules' data is encrypted.
    pub(crate) fn sealing_secret(&self) -> &Secret {
        self.inner.sealing()
    }
}

impl ChainVerifier for Authority {
    fn verify_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<CommonName, Denied> {
        let (own, above) = chain.split_first().ok_or(Denied::NoCredential)?;
        let valid = parse::validity(own).ok_or(CertificateFault::Unreadable)?;
        valid.check(now)?;
        let material = self.inner.material();
        let leaf = EndEntityCert::try_from(own);
        let leaf = leaf.map_err(|error| CertificateFault::Chain(error.to_string()))?;
        // Server certificates are refused here: a module chooses the names of its own.
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &material.anchors,
            above,
            UnixTime::since_unix_epoch(Duration::from_nanos(now.0)),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|error| CertificateFault::Chain(error.to_string()))?;
        Ok(CommonName {
            name: parse::common_name(own).ok_or(CertificateFault::NoCommonName)?,
            expires: valid.to,
        })
    }
}

/// Without keys.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Without the key.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Whether text can be a DNS name of a certificate.
pub(crate) fn is_dns_name(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_err() && Name::new(text).is_ok()
}
