//! What a module may ask of its daemon, without HTTP (client contract, section 3).
//!
//! Called by the workload API, which knows who asks by the socket that the call came on; what is in the URL is
//! checked against the registry here: the module must be there, enabled, and of that generation.

use std::sync::Arc;

use edge_core::{DeviceId, Identity, Timestamp};

use crate::authority::is_dns_name;
use crate::{Authority, Denied, Entry, Issue, IssueError, Issued, Kind, MAX_LIFETIME, Registry};

mod seal;
#[cfg(test)]
mod tests;

/// Answers for modules. Made of the registry and the authority.
#[derive(Debug)]
pub struct Workload {
    registry: Arc<Registry>,
    authority: Arc<Authority>,
}

/// A certificate that a module wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct CertificateRequest<'a> {
    /// Server certificates: the common name and first DNS name; the module's id if it is not given.
    pub common_name: Option<&'a str>,
    /// When it is to end; 90 days from now if it is not given, and at the latest.
    pub expires: Option<Timestamp>,
}

/// Who can do something about an error, for HTTP's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadErrorKind {
    /// The module is not there, or not of that generation.
    NotFound,
    /// The module may not.
    Forbidden,
    /// The request is wrong.
    BadRequest,
    /// The daemon cannot.
    Internal,
}

/// Why a module did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// It is not registered.
    #[error("module {0} is not registered")]
    Unknown(Identity),
    /// It is of another generation: it was made anew since.
    #[error("module {identity} has generation {current}, not {asked:?}")]
    Generation {
        /// The module.
        identity: Identity,
        /// Its generation.
        current: crate::GenerationId,
        /// The one that was asked for, cut after 40 characters.
        asked: String,
    },
    /// It, or its device, is disabled.
    #[error("{0} or its device is disabled")]
    Disabled(Identity),
    /// It proves itself by a certificate and has no key.
    #[error("{0} has no keys to sign with: it is known by a certificate")]
    NoKeys(Identity),
    /// Only `primary` and `secondary` are keys.
    #[error("there is no key {0:?}; expected \"primary\" or \"secondary\"")]
    KeyId(String),
    /// Only `HMACSHA256` is known.
    #[error("there is no algorithm {0:?}; expected \"HMACSHA256\"")]
    Algorithm(String),
    /// An initialization vector must be there.
    #[error("the initialization vector is empty")]
    EmptyVector,
    /// The ciphertext is not one of this module, vector and device, or was changed.
    #[error(
        "the ciphertext was not made here by this module with this initialization vector, or was changed"
    )]
    Ciphertext,
    /// More than AES-GCM takes, or no randomness.
    #[error("encrypt: {0}")]
    Encrypt(String),
    /// The certificate was not issued.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The certificate is to end in the past.
    #[error("the certificate is to end at {0}, which is past")]
    Past(Timestamp),
}

impl WorkloadError {
    /// Who can do something about it.
    pub fn kind(&self) -> WorkloadErrorKind {
        match self {
            Self::Unknown(_) | Self::Generation { .. } => WorkloadErrorKind::NotFound,
            Self::Disabled(_) | Self::NoKeys(_) => WorkloadErrorKind::Forbidden,
            Self::KeyId(_)
            | Self::Algorithm(_)
            | Self::EmptyVector
            | Self::Ciphertext
            | Self::Past(_)
            | Self::Issue(IssueError::BadName(_)) => WorkloadErrorKind::BadRequest,
            Self::Encrypt(_) | Self::Issue(_) => WorkloadErrorKind::Internal,
        }
    }
}

impl Workload {
    /// Answers from these two.
    pub fn new(registry: Arc<Registry>, authority: Arc<Authority>) -> Self {
        Self {
            registry,
            authority,
        }
    }

    /// `sign`: HMAC-SHA256 of data with one of the module's keys. `key_id` is `primary` or `secondary`, `algorithm`
    /// is `HMACSHA256`, both ignoring case; `data` is decoded already.
    ///
    /// # Errors
    /// The module is not there, disabled, of another generation or without keys; other key id or algorithm.
    pub fn sign(
        &self,
        module: &Identity,
        generation: &str,
        key_id: &str,
        algorithm: &str,
        data: &[u8],
    ) -> Result<[u8; 32], WorkloadError> {
        let entry = self.of_generation(module, generation)?;
        if !algorithm.eq_ignore_ascii_case("HMACSHA256") {
            return Err(WorkloadError::Algorithm(quoted(algorithm)));
        }
        let keys = entry.auth.keys();
        let keys = keys.ok_or_else(|| WorkloadError::NoKeys(module.clone()))?;
        let key = if key_id.eq_ignore_ascii_case("primary") {
            &keys.primary
        } else if key_id.eq_ignore_ascii_case("secondary") {
            &keys.secondary
        } else {
            return Err(WorkloadError::KeyId(quoted(key_id)));
        };
        Ok(key.sign(&[data]))
    }

    /// `encrypt`: AES-256-GCM under a key that is derived from this device's secret, the module, its generation and
    /// the initialization vector. The result is a nonce, the ciphertext and a tag: 28 bytes longer. The nonce is
    /// random, since modules use one vector for many plaintexts.
    ///
    /// # Errors
    /// The module is not there, disabled or of another generation; no initialization vector.
    pub fn encrypt(
        &self,
        module: &Identity,
        generation: &str,
        vector: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, WorkloadError> {
        let entry = self.of_generation(module, generation)?;
        let key = seal::key(self.authority.sealing_secret(), &entry, vector)?;
        seal::encrypt(&key, plaintext)
    }

    /// `decrypt`: what [`encrypt`](Self::encrypt) made for the same module, generation and vector.
    ///
    /// # Errors
    /// As `encrypt`; or it is something else.
    pub fn decrypt(
        &self,
        module: &Identity,
        generation: &str,
        vector: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, WorkloadError> {
        let entry = self.of_generation(module, generation)?;
        let key = seal::key(self.authority.sealing_secret(), &entry, vector)?;
        seal::decrypt(&key, ciphertext)
    }

    /// `certificate/server`: for the common name that was asked for, and the module's id without `$` where that can
    /// be a DNS name. As in the seed system a module may ask for any name, also that of the hub: a proxy in front of
    /// it does.
    ///
    /// # Errors
    /// The module is not there, disabled or of another generation; a bad name or end; no CA here.
    pub fn certificate_server(
        &self,
        module: &Identity,
        generation: &str,
        request: CertificateRequest<'_>,
        now: Timestamp,
    ) -> Result<Issued, WorkloadError> {
        self.of_generation(module, generation)?;
        let own = match module {
            Identity::Module(_, module) => module.as_str().trim_start_matches('$'),
            Identity::Device(device) => device.as_str(),
        };
        let common_name = request.common_name.unwrap_or(own);
        let mut names = vec![common_name];
        if own != common_name && is_dns_name(own) {
            names.push(own);
        }
        self.issue(common_name, &names, Kind::Server, request.expires, now)
    }

    /// `certificate/identity`: a client certificate whose common name is `device/module`.
    ///
    /// # Errors
    /// The module is not there or disabled; a bad end; no CA here.
    pub fn certificate_identity(
        &self,
        module: &Identity,
        request: CertificateRequest<'_>,
        now: Timestamp,
    ) -> Result<Issued, WorkloadError> {
        self.enabled(module)?;
        let name = module.to_string();
        self.issue(&name, &[], Kind::Client, request.expires, now)
    }

    /// `trust-bundle`: the CAs that modules are to trust; PEM.
    pub fn trust_bundle(&self) -> Arc<str> {
        self.authority.trust_bundle()
    }

    /// `modules`: those of a device, by name.
    pub fn modules(&self, device: &DeviceId) -> Vec<Arc<Entry>> {
        self.registry.modules(device)
    }

    fn issue(
        &self,
        common_name: &str,
        names: &[&str],
        kind: Kind,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Issued, WorkloadError> {
        let lifetime = match expires {
            Some(at) if at <= now => return Err(WorkloadError::Past(at)),
            Some(at) => at.since(now),
            None => MAX_LIFETIME,
        };
        let request = Issue {
            common_name,
            names,
            kind,
            lifetime,
        };
        Ok(self.authority.issue(&request, now)?)
    }

    fn of_generation(
        &self,
        module: &Identity,
        generation: &str,
    ) -> Result<Arc<Entry>, WorkloadError> {
        let entry = self.enabled(module)?;
        if generation.parse() == Ok(entry.generation) {
            Ok(entry)
        } else {
            Err(WorkloadError::Generation {
                identity: module.clone(),
                current: entry.generation,
                asked: quoted(generation),
            })
        }
    }

    fn enabled(&self, module: &Identity) -> Result<Arc<Entry>, WorkloadError> {
        self.registry
            .enabled(module)
            .map(|(entry, _)| entry)
            .map_err(|denied| match denied {
                Denied::Disabled => WorkloadError::Disabled(module.clone()),
                _ => WorkloadError::Unknown(module.clone()),
            })
    }
}

/// A caller's text, as much of it as goes into an error.
fn quoted(text: &str) -> String {
    text.chars().take(40).collect()
}
