//! From a reference to a component in a folder.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use edge_core::deployment::RegistryCredentials;
use edge_core::{ByteSize, Digest};
use sha2::{Digest as _, Sha256};

use crate::config::Registries;
use crate::error::{Part, PullError, RegistryError};
use crate::land::{self, Landing};
use crate::layout::{Claims, Config, Descriptor, INDEX, MANIFEST, Manifest};
use crate::session::{Answer, Session};
use edge_core::Reference;

/// How much of an artifact is taken.
#[derive(Debug, Clone, Copy)]
pub struct PullLimits {
    /// Most of a manifest.
    pub manifest: ByteSize,
    /// Most of a config.
    pub config: ByteSize,
    /// Most of a component.
    pub component: ByteSize,
}

impl Default for PullLimits {
    /// A manifest as registries limit it (distribution spec, "Pushing manifests": 4 MiB), and the largest
    /// component that the runtime takes.
    fn default() -> Self {
        Self {
            manifest: ByteSize(4 << 20),
            config: ByteSize(1 << 20),
            component: ByteSize(256 << 20),
        }
    }
}

/// A component that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The hash of the artifact's manifest.
    pub manifest: Digest,
    /// The hash of the component.
    pub component: Digest,
    /// Its file.
    pub file: PathBuf,
    /// What the artifact says of it.
    pub claims: Claims,
}

impl Registries {
    /// What a reference stands for now: the hash of the manifest that its registry gives.
    ///
    /// # Errors
    /// There is none, or it is not the pinned one.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Digest, PullError> {
        let mut session = Session::new(self, reference, credentials)?;
        let limit = PullLimits::default().manifest;
        let (_, digest, _) = manifest_bytes(&mut session, reference, limit, ANY).await?;
        Ok(digest)
    }

    /// Brings a component into a folder, as `<hex of its digest>.wasm`. It is not fetched if it is there.
    /// `admit` is asked once, when all but the component has come and was checked; what it answers is the reason
    /// of a refusal.
    ///
    /// Cancel safe: what has come of a component by then is removed.
    ///
    /// # Errors
    /// The first check that fails; the folder is then as it was.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        limits: PullLimits,
        admit: impl FnOnce(&Claims) -> Result<(), String>,
        into: &Path,
    ) -> Result<Pulled, PullError> {
        let name = reference.to_string();
        let mut session = Session::new(self, reference, credentials)?;
        let (bytes, digest, header) =
            manifest_bytes(&mut session, reference, limits.manifest, MANIFEST).await?;
        let manifest = Manifest::read(&bytes, header.as_deref(), &name)?;
        let (mut claims, configured) = manifest.claims(digest, &limits, &name)?;
        if configured {
            let config = blob(
                &mut session,
                &manifest.config,
                Part::Config,
                limits.config,
                &name,
            )
            .await?;
            Config::check(&config, &mut claims, &name)?;
        }
        admit(&claims).map_err(|why| PullError::NotAdmitted {
            reference: name.clone(),
            why,
        })?;
        let file = land::path(into, &claims.component);
        if !land::is_there(&file, claims.component).await {
            component(&mut session, &claims, &name, &file, into).await?;
        }
        Ok(Pulled {
            manifest: digest,
            component: claims.component,
            file,
            claims,
        })
    }
}

/// Whatever a registry may have by a name.
pub(crate) const ANY: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                   application/vnd.docker.distribution.manifest.v2+json, \
                   application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest as it came, what it hashes to, and the media type that it came with.
pub(crate) async fn manifest_bytes(
    session: &mut Session,
    reference: &Reference,
    limit: ByteSize,
    accept: &str,
) -> Result<(Bytes, Digest, Option<String>), PullError> {
    let what = format!("manifest {reference}");
    // An index is asked for as well, so that the answer to one is what it is, and not that there is nothing.
    let accept = match accept {
        MANIFEST => format!("{MANIFEST}, {INDEX}"),
        other => other.to_owned(),
    };
    let path = format!("manifests/{}", reference.target());
    let answer = match (session.get(&path, &what, &accept).await, reference.digest()) {
        (Err(RegistryError::NotFound { why, .. }), Some(expected)) => {
            return Err(PullError::NoSuchDigest {
                reference: reference.to_string(),
                expected,
                why,
            });
        }
        (answer, _) => answer?,
    };
    let header = answer.media_type().map(str::to_owned);
    let bytes = answer.whole(limit).await?;
    let found = Digest(Sha256::digest(&bytes).into());
    match reference.digest() {
        Some(expected) if expected != found => Err(PullError::Pin {
            reference: reference.to_string(),
            expected,
            found,
        }),
        _ => Ok((bytes, found, header)),
    }
}

/// A part that is read whole, checked against what names it.
pub(crate) async fn blob(
    session: &mut Session,
    descriptor: &Descriptor,
    part: Part,
    limit: ByteSize,
    reference: &str,
) -> Result<Bytes, PullError> {
    let expected = descriptor.digest(reference, part)?;
    if descriptor.size > limit.0 {
        return Err(PullError::TooLarge {
            reference: reference.to_owned(),
            part,
            limit,
            found: descriptor.size,
        });
    }
    let (path, what) = (format!("blobs/{expected}"), format!("{part} {expected}"));
    let answer = session.get(&path, &what, ACCEPT_BLOB).await?;
    let bytes = answer.whole(limit).await?;
    if bytes.len() as u64 != descriptor.size {
        return Err(PullError::Size {
            reference: reference.to_owned(),
            part,
            expected: descriptor.size,
            found: bytes.len() as u64,
        });
    }
    match Digest(Sha256::digest(&bytes).into()) {
        found if found == expected => Ok(bytes),
        found => Err(PullError::Digest {
            reference: reference.to_owned(),
            part,
            expected,
            found,
        }),
    }
}

/// Blobs have no media type of their own.
const ACCEPT_BLOB: &str = "*/*";

/// Brings the component to its file.
async fn component(
    session: &mut Session,
    claims: &Claims,
    name: &str,
    file: &Path,
    folder: &Path,
) -> Result<(), PullError> {
    let failed = |why| PullError::File {
        path: folder.to_owned(),
        why,
    };
    let wrong_size = |found| PullError::Size {
        reference: name.to_owned(),
        part: Part::Component,
        expected: claims.size,
        found,
    };
    let path = format!("blobs/{}", claims.component);
    let what = format!("component {}", claims.component);
    let mut answer = session.get(&path, &what, ACCEPT_BLOB).await?;
    let mut landing = Landing::start(folder);
    let come = receive(&mut answer, &mut landing, claims.size).await;
    // Whatever became of it: the file is gone, or whole, when this returns.
    let landed = landing.end().await;
    let size = come?;
    if size > claims.size {
        return Err(wrong_size(size));
    }
    let landed = landed.map_err(failed)?;
    if size != claims.size {
        return Err(wrong_size(size));
    }
    if landed.digest != claims.component {
        return Err(PullError::Digest {
            reference: name.to_owned(),
            part: Part::Component,
            expected: claims.component,
            found: landed.digest,
        });
    }
    landed.keep(file.to_owned()).await.map_err(failed)
}

/// Passes on what comes, and says how much that was. Ends early with more than `most`, or when nothing can be
/// written any more, which the landing knows.
async fn receive(
    answer: &mut Answer,
    landing: &mut Landing,
    most: u64,
) -> Result<u64, RegistryError> {
    let mut size = 0;
    while let Some(piece) = answer.piece().await? {
        size += piece.len() as u64;
        if size > most || !landing.add(piece).await {
            break;
        }
    }
    Ok(size)
}
