//! Certificates: the authority in the data directory, its renewal, and the bundle for others to read.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edge_core::Timestamp;
use edge_identity::{Authority, AuthorityConfig, Source, certificate_details};
use tracing::{error, info, warn};

use super::{Device, DeviceError};
use crate::api::types::{CertificateInfo, CertificatesInfo};
use crate::data_dir::DataDir;
use crate::settings::{CertificateSettings, Settings};

/// Longest time between two looks at the clock: it may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
/// After a renewal that failed.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// The bundle, in the data directory, for whoever connects from this machine.
const BUNDLE: &str = "trust-bundle.pem";

/// The authority, and where its bundle is for others.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) authority: Arc<Authority>,
    bundle: PathBuf,
}

impl Certificates {
    /// Opens what is there, and makes what is not. Blocks.
    pub(super) fn open(
        settings: &Settings,
        data: &DataDir,
        now: Timestamp,
    ) -> Result<Self, DeviceError> {
        let config = AuthorityConfig {
            names: settings.certificates.names.clone(),
            server_lifetime: settings.certificates.lifetime,
            source: source(&settings.certificates),
            trusted: settings.certificates.trusted.clone(),
            ..AuthorityConfig::own(data.folder("certificates")?, &settings.hostname())
        };
        let authority = Authority::open(config, now).map_err(DeviceError::Certificates)?;
        let certificates = Self {
            authority,
            bundle: data.path().join(BUNDLE),
        };
        certificates.publish();
        Ok(certificates)
    }

    /// Writes the bundle where others can read it, if it has changed. Nothing of the device depends on
    /// that.
    fn publish(&self) {
        let bundle = self.authority.trust_bundle();
        if fs::read(&self.bundle).is_ok_and(|there| there == bundle.as_bytes()) {
            return;
        }
        if let Err(error) = write(&self.bundle, bundle.as_bytes()) {
            warn!(%error, path = %self.bundle.display(), "the trust bundle was not written for others to read");
        }
    }

    /// Renews what is due and says when to come again. Blocks.
    fn renew(&self, now: Timestamp) -> Duration {
        let next = match self.authority.renew(now) {
            Ok(renewal) => {
                if renewal.renewed {
                    info!(expires = %renewal.expires, "server certificate renewed");
                }
                if let Some(warning) = &renewal.warning {
                    warn!(%warning, "certificates need a look");
                }
                renewal.next.since(now).min(LOOK_AGAIN)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                error!(error, "certificates were not renewed; trying again");
                TRY_AGAIN
            }
        };
        self.publish();
        next.max(Duration::from_secs(1))
    }
}

fn source(settings: &CertificateSettings) -> Source {
    let pair =
        |certificate: &Option<PathBuf>, key: &Option<PathBuf>| certificate.clone().zip(key.clone());
    if let Some((certificate, key)) = pair(&settings.ca_certificate, &settings.ca_key) {
        return Source::EdgeCa { certificate, key };
    }
    match pair(&settings.certificate, &settings.key) {
        Some((certificate, key)) => Source::Server { certificate, key },
        None => Source::Own,
    }
}

/// Writes a file whole, for everybody to read.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

impl Device {
    /// Certificates and keys.
    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.certificates.authority
    }

    /// A file with what clients are to trust.
    pub(crate) fn bundle_file(&self) -> &Path {
        &self.certificates.bundle
    }

    /// Renews certificates for as long as it is driven.
    pub(crate) async fn renew_certificates(self: Arc<Self>) {
        loop {
            let device = self.clone();
            let renewal =
                tokio::task::spawn_blocking(move || device.certificates.renew(device.hub.now()));
            let wait = renewal.await.unwrap_or(TRY_AGAIN);
            tokio::time::sleep(wait).await;
        }
    }

    /// The certificates there are, for lists.
    pub(crate) fn certificates(&self) -> CertificatesInfo {
        let authority = self.authority();
        let bundle = authority.trust_bundle();
        let chain = authority.server_chain();
        let info = |role: &str, der: &[u8]| {
            let details = certificate_details(der)?;
            Some(CertificateInfo {
                role: role.to_owned(),
                subject: details.subject,
                issuer: details.issuer,
                names: details.names,
                from: details.from.to_string(),
                to: details.to.to_string(),
                thumbprint: details.thumbprint.to_string(),
            })
        };
        let shown = chain
            .iter()
            .enumerate()
            .filter_map(|(number, der)| match number {
                0 => info("server", der),
                _ => info("intermediate", der),
            });
        let roots = edge_identity::certificates_of(&bundle);
        let trusted = roots.iter().filter(|root| !chain.contains(root));
        let trusted = trusted.filter_map(|root| info("root", root));
        CertificatesInfo {
            hostname: self.hostname().to_owned(),
            bundle_file: self
                .bundle_file()
                .exists()
                .then(|| self.bundle_file().to_owned()),
            certificates: shown.chain(trusted).collect(),
            bundle: bundle.to_string(),
        }
    }
}
