//! The server's certificate when it is made here: when there is reason for another one, and its files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_core::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::ca::{Ca, Leaf, Name, belongs, signing_key};
use super::files::{self, Readers};
use super::material::Served;
use super::{AuthorityConfig, AuthorityError, IssueError, Kind, parse};

/// Shortest life of a server certificate.
const MIN_LIFETIME: Duration = Duration::from_secs(10);

/// Names that every server certificate has.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A clock may go back this far without another certificate for it.
const SLACK: Duration = Duration::from_secs(24 * 3600);

/// What server certificates are to say; checked once.
#[derive(Debug)]
pub(super) struct Wanted {
    common_name: String,
    names: Vec<Name>,
    /// The names as text, sorted.
    sorted: Vec<String>,
    lifetime: Duration,
}

impl Wanted {
    pub(super) fn new(config: &AuthorityConfig) -> Result<Self, AuthorityError> {
        let given = std::iter::once(config.hostname.as_str())
            .chain(config.names.iter().map(String::as_str))
            .chain(LOCAL);
        let mut names: Vec<Name> = Vec::new();
        for name in given {
            let name = Name::new(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut sorted: Vec<_> = names.iter().map(ToString::to_string).collect();
        sorted.sort();
        Ok(Self {
            common_name: config.hostname.clone(),
            names,
            sorted,
            lifetime: config.server_lifetime.max(MIN_LIFETIME),
        })
    }

    /// When a certificate is due: at two thirds of its life, counted without the day that it is backdated.
    pub(super) fn due(&self, served: &Served) -> Timestamp {
        let third = u64::try_from((self.lifetime / 3).as_nanos()).unwrap_or(u64::MAX);
        Timestamp(served.validity.to.0.saturating_sub(third))
    }

    /// Why another certificate is needed, if one is.
    pub(super) fn reason(&self, served: &Served, ca: &Ca, now: Timestamp) -> Option<&'static str> {
        let chain = &served.key.cert;
        if !served.validity.holds(now) {
            Some("the clock is outside its validity")
        } else if now >= self.due(served) {
            Some("two thirds of its life are over")
        } else if served.validity.to > now.after(self.lifetime).after(SLACK) {
            Some("it is valid for longer than it should")
        } else if chain.get(1..) != Some(ca.chain.as_slice())
            || !parse::is_issued_by(&chain[0], &ca.chain[0])
        {
            Some("it is by another CA")
        } else if parse::names(&chain[0]) != self.sorted {
            Some("the server has other names now")
        } else {
            None
        }
    }

    /// A new certificate.
    pub(super) fn issue(&self, ca: &Ca, now: Timestamp) -> Result<(Leaf, Served), IssueError> {
        let leaf = ca.issue(
            &self.common_name,
            &self.names,
            Kind::Server,
            self.lifetime,
            now,
        )?;
        let key = PrivatePkcs8KeyDer::from(leaf.key.as_slice());
        let served = served(leaf.chain.clone(), &key.into())
            .ok_or_else(|| IssueError::Crypto("the new key cannot be used".to_owned()))?;
        Ok((leaf, served))
    }
}

/// The certificate that was in use last, and why not if it cannot be used.
pub(super) fn read(dir: &Path) -> Result<Result<Served, String>, AuthorityError> {
    let (path, key_path) = (dir.join("server.pem"), dir.join("server.key"));
    let (pem, key_pem) = match (files::read(&path)?, files::read(&key_path)?) {
        (Some(pem), Some(key_pem)) => (pem, key_pem),
        (None, None) => return Ok(Err("there is none yet".to_owned())),
        (None, Some(_)) => return Ok(Err("server.pem is not there".to_owned())),
        (Some(_), None) => return Ok(Err("server.key is not there".to_owned())),
    };
    files::close_to_others(&key_path)?;
    let chain = match files::certificates(&path, &pem) {
        Ok(chain) => chain,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let key = match files::private_key(&key_path, &key_pem) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error.to_string())),
    };
    match signing_key(&key) {
        Ok(key) if belongs(&key, &chain[0]) => {}
        Ok(_) => return Ok(Err("server.key is not the key of server.pem".to_owned())),
        Err(why) => return Ok(Err(format!("{}: {why}", key_path.display()))),
    }
    Ok(served(chain, &key).ok_or_else(|| "its key cannot be used".to_owned()))
}

/// Writes a certificate for the next start.
pub(super) fn write(dir: &Path, leaf: &Leaf) -> Result<(), AuthorityError> {
    let key = files::key_pem(&leaf.key);
    files::write(&dir.join("server.key"), key.as_bytes(), Readers::Owner)?;
    let pem = files::certificates_pem(&leaf.chain);
    files::write(&dir.join("server.pem"), pem.as_bytes(), Readers::All)
}

fn served(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Option<Served> {
    let key = any_supported_type(key).ok()?;
    let validity = parse::validity(chain.first()?)?;
    let key = Arc::new(CertifiedKey::new(chain, key));
    Some(Served { key, validity })
}
