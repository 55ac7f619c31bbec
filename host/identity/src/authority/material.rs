//! What the authority works with, read from its directory and the files that were given.
//!
//! ```text
//!   root.pem  root.key        the own root; its key may be kept elsewhere while edge-ca.* are whole
//!   edge-ca.pem  edge-ca.key  the own edge CA; made again under the root if they are not whole
//!   server.pem  server.key    the server's certificate and chain; made again whenever there is reason
//!   sealing.key               the secret under which modules' data is encrypted
//!   old-roots/*.pem           former roots, for the trust bundle
//! ```
//!
//! A key is written before its certificate: a certificate without its key was never made here.

use std::path::Path;
use std::sync::Arc;

use edge_core::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::sign::CertifiedKey;

use super::ca::{self, Ca};
use super::files::{self, Readers, damaged};
use super::parse::{self, Validity};
use super::{AuthorityConfig, AuthorityError, Source};

/// All but the server's certificate that is made here.
#[derive(Debug)]
pub(super) struct Material {
    /// What issues, unless the server's certificate is given.
    pub(super) ca: Option<Ca>,
    /// The server's certificate, if it is given.
    pub(super) server: Option<Arc<Served>>,
    /// PEM.
    pub(super) bundle: Arc<str>,
    /// To which client certificates may lead.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// What an operator should look at.
    pub(super) warning: Option<String>,
}

/// A server certificate ready for handshakes.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) validity: Validity,
}

/// Reads everything, and makes the own CA if it is wanted and not there.
pub(super) fn load(config: &AuthorityConfig, now: Timestamp) -> Result<Material, AuthorityError> {
    let mut trusted = Vec::new();
    for path in &config.trusted {
        trusted.extend(files::certificates(path, &files::read_given(path)?)?);
    }
    let mut material = match &config.source {
        Source::Own => own(&config.dir)?,
        Source::EdgeCa { certificate, key } => given_ca(certificate, key, &trusted)?,
        Source::Server { certificate, key } => {
            given_server(certificate, key, &trusted, &config.hostname)?
        }
    };
    for certificate in &trusted {
        material.anchors.extend(anchor(certificate));
    }
    let chain = match (&material.ca, &material.server) {
        (Some(ca), _) => ca.chain.as_slice(),
        (None, Some(server)) => server.key.cert.as_slice(),
        (None, None) => &[],
    };
    for certificate in chain {
        let valid = parse::validity(certificate).filter(|validity| !validity.holds(now));
        if let Some(Validity { from, to }) = valid {
            let subject = parse::subject(certificate);
            material.warning = Some(format!(
                "the certificate {subject} is valid from {from} to {to} only: clients will refuse it"
            ));
        }
    }
    let mut bundle = String::from(&*material.bundle);
    for path in files::pem_files(&config.dir.join("old-roots"))? {
        let roots = files::certificates(&path, &files::read_given(&path)?)?;
        let valid = |root: &&CertificateDer<'static>| {
            parse::validity(root).is_some_and(|validity| now <= validity.to)
        };
        bundle.push_str(&files::certificates_pem(roots.iter().filter(valid)));
    }
    material.bundle = bundle.into();
    Ok(material)
}

/// The own CA, made if there is none.
fn own(dir: &Path) -> Result<Material, AuthorityError> {
    let root = own_root(dir)?;
    let edge_ca = match read_pair(&dir.join("edge-ca.pem"), &dir.join("edge-ca.key"), &root)? {
        Pair::Whole(edge_ca) => *edge_ca,
        Pair::Absent => new_edge_ca(dir, &root)?,
        Pair::Broken(why) => {
            tracing::warn!(dir = %dir.display(), %why, "edge CA is not whole; making another one under the same root");
            new_edge_ca(dir, &root)?
        }
    };
    let anchors = [&root, &edge_ca.chain[0]].into_iter().flat_map(anchor);
    Ok(Material {
        anchors: anchors.collect(),
        ca: Some(edge_ca),
        server: None,
        bundle: files::certificates_pem([&root]).into(),
        warning: None,
    })
}

/// The root's certificate. A pair of files that once was there is never replaced.
fn own_root(dir: &Path) -> Result<CertificateDer<'static>, AuthorityError> {
    let (path, key_path) = (dir.join("root.pem"), dir.join("root.key"));
    let Some(pem) = files::read(&path)? else {
        if files::read(&dir.join("edge-ca.pem"))?.is_some() {
            return Err(AuthorityError::LostRoot {
                path,
                why: "it is gone, though edge-ca.pem beside it was issued by it".to_owned(),
            });
        }
        // A key alone is what a crash left before anybody saw the certificate.
        let new = ca::new_root(&format!("edge root CA {}", random_name()?))?;
        files::write(
            &key_path,
            files::key_pem(&new.key).as_bytes(),
            Readers::Owner,
        )?;
        let pem = files::certificates_pem([&new.certificate]);
        files::write(&path, pem.as_bytes(), Readers::All)?;
        tracing::info!(path = %path.display(), "root CA made");
        return Ok(new.certificate);
    };
    let lost = |why: String| AuthorityError::LostRoot {
        path: path.clone(),
        why,
    };
    let root = files::certificates(&path, &pem).map_err(|error| lost(error.to_string()))?;
    let root = root.into_iter().next();
    let root = root.filter(|root| parse::is_self_signed(root) && parse::is_ca(root));
    root.ok_or_else(|| lost("it is no self-signed CA certificate".to_owned()))
}

/// The root's key; it is needed only to make an edge CA.
fn root_key(dir: &Path, root: &CertificateDer<'static>) -> Result<rcgen::KeyPair, AuthorityError> {
    let path = dir.join("root.key");
    let lost = |why: &str| AuthorityError::LostRoot {
        path: path.clone(),
        why: why.to_owned(),
    };
    let pem = files::read(&path)?.ok_or_else(|| lost("it is not there"))?;
    files::close_to_others(&path)?;
    let key = files::private_key(&path, &pem).map_err(|_| lost("there is no private key in it"))?;
    let key = ca::signing_key(&key).map_err(lost)?;
    if ca::belongs(&key, root) {
        Ok(key)
    } else {
        Err(lost("it is not the key of root.pem"))
    }
}

enum Pair {
    Whole(Box<Ca>),
    Absent,
    Broken(String),
}

/// An edge CA under a root, if its files are whole.
fn read_pair(
    path: &Path,
    key_path: &Path,
    root: &CertificateDer<'static>,
) -> Result<Pair, AuthorityError> {
    let (pem, key_pem) = match (files::read(path)?, files::read(key_path)?) {
        (Some(pem), Some(key_pem)) => (pem, key_pem),
        (None, None) => return Ok(Pair::Absent),
        (None, Some(_)) => return Ok(Pair::Broken("edge-ca.pem is not there".to_owned())),
        (Some(_), None) => return Ok(Pair::Broken("edge-ca.key is not there".to_owned())),
    };
    files::close_to_others(key_path)?;
    let chain = match files::certificates(path, &pem) {
        Ok(chain) => chain,
        Err(error) => return Ok(Pair::Broken(error.to_string())),
    };
    let key = match files::private_key(key_path, &key_pem) {
        Ok(key) => key,
        Err(error) => return Ok(Pair::Broken(error.to_string())),
    };
    let key = match ca::signing_key(&key) {
        Ok(key) => key,
        Err(why) => return Ok(Pair::Broken(format!("{}: {why}", key_path.display()))),
    };
    let broken = |why: &str| Ok(Pair::Broken(why.to_owned()));
    if !ca::belongs(&key, &chain[0]) {
        return broken("edge-ca.key is not the key of edge-ca.pem");
    }
    if !parse::is_issued_by(&chain[0], root) || !parse::is_ca(&chain[0]) {
        return broken("edge-ca.pem is no CA under root.pem");
    }
    Ok(Pair::Whole(Box::new(Ca::new(chain, key)?)))
}

fn new_edge_ca(dir: &Path, root: &CertificateDer<'static>) -> Result<Ca, AuthorityError> {
    let key = root_key(dir, root)?;
    let new = ca::new_edge_ca(&format!("edge CA {}", random_name()?), root, key)?;
    let key_pem = files::key_pem(&new.key);
    files::write(&dir.join("edge-ca.key"), key_pem.as_bytes(), Readers::Owner)?;
    let pem = files::certificates_pem([&new.certificate]);
    files::write(&dir.join("edge-ca.pem"), pem.as_bytes(), Readers::All)?;
    tracing::info!(dir = %dir.display(), "edge CA made");
    let key = rcgen::KeyPair::try_from(new.key.as_slice()).map_err(super::IssueError::from)?;
    Ok(Ca::new(vec![new.certificate], key)?)
}

/// A CA that is given.
fn given_ca(
    path: &Path,
    key_path: &Path,
    trusted: &[CertificateDer<'static>],
) -> Result<Material, AuthorityError> {
    let (chain, roots) = given_chain(path, trusted)?;
    if !parse::is_ca(&chain[0]) {
        return Err(damaged(
            path,
            "its first certificate is no CA; the device's CA comes first, its root last",
        ));
    }
    let key = files::private_key(key_path, &files::read_given(key_path)?)?;
    let key = ca::signing_key(&key).map_err(|why| damaged(key_path, why))?;
    if !ca::belongs(&key, &chain[0]) {
        return Err(mismatch(path, key_path));
    }
    Ok(Material {
        anchors: roots.iter().chain(&chain[..1]).flat_map(anchor).collect(),
        ca: Some(Ca::new(chain, key)?),
        server: None,
        bundle: files::certificates_pem(&roots).into(),
        warning: None,
    })
}

/// A server certificate that is given.
fn given_server(
    path: &Path,
    key_path: &Path,
    trusted: &[CertificateDer<'static>],
    hostname: &str,
) -> Result<Material, AuthorityError> {
    let (chain, roots) = given_chain(path, trusted)?;
    let key = files::private_key(key_path, &files::read_given(key_path)?)?;
    let key = any_supported_type(&key)
        .map_err(|_| damaged(key_path, "its key is of no kind that can sign here"))?;
    let validity = parse::validity(&chain[0]);
    let validity = validity.ok_or_else(|| damaged(path, "its first certificate cannot be read"))?;
    let names = parse::names(&chain[0]);
    let has_name = names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(hostname) || covers(name, hostname));
    let key = CertifiedKey::new(chain, key);
    key.keys_match().map_err(|_| mismatch(path, key_path))?;
    Ok(Material {
        ca: None,
        anchors: roots.iter().flat_map(anchor).collect(),
        server: Some(Arc::new(Served {
            key: Arc::new(key),
            validity,
        })),
        bundle: files::certificates_pem(&roots).into(),
        warning: (!has_name).then(|| {
            format!(
                "{} is for {names:?}, not for the host name {hostname}: clients that use it will refuse it",
                path.display()
            )
        }),
    })
}

/// The certificates of a given file that are sent, and the root that ends them: the last one, or one of the trusted.
fn given_chain(
    path: &Path,
    trusted: &[CertificateDer<'static>],
) -> Result<(Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>), AuthorityError> {
    let all = files::certificates(path, &files::read_given(path)?)?;
    for pair in all.windows(2) {
        if !parse::is_issued_by(&pair[0], &pair[1]) {
            let why = format!(
                "its certificates are not in order: {} was not issued by the next one, {}",
                parse::subject(&pair[0]),
                parse::subject(&pair[1])
            );
            return Err(damaged(path, &why));
        }
    }
    let last = &all[all.len() - 1];
    if parse::is_self_signed(last) {
        let root = last.clone();
        // A root is not sent, unless it is the certificate itself.
        let sent = all.len().saturating_sub(1).max(1);
        return Ok((all.into_iter().take(sent).collect(), vec![root]));
    }
    let above = |root: &&CertificateDer<'static>| {
        parse::is_issued_by(last, root) && parse::is_self_signed(root)
    };
    match trusted.iter().find(above) {
        Some(root) => {
            let root = root.clone();
            Ok((all, vec![root]))
        }
        None => Err(AuthorityError::NoRoot {
            path: path.to_owned(),
            subject: parse::subject(last),
        }),
    }
}

/// Whether a wildcard name (`*.example.net`) covers a host name: its one star stands for one label.
fn covers(name: &str, hostname: &str) -> bool {
    let rest = hostname.split_once('.').map(|(_, rest)| rest);
    name.strip_prefix("*.")
        .zip(rest)
        .is_some_and(|(name, rest)| name.eq_ignore_ascii_case(rest))
}

fn anchor(certificate: &CertificateDer<'static>) -> Option<TrustAnchor<'static>> {
    let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
    Some(anchor.to_owned())
}

fn mismatch(certificate: &Path, key: &Path) -> AuthorityError {
    AuthorityError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    }
}

/// Tells CAs apart that are made one after another, so that clients which know both look up the right one.
fn random_name() -> Result<String, AuthorityError> {
    let number = getrandom::u32().map_err(AuthorityError::Random)?;
    Ok(format!("{number:08x}"))
}
