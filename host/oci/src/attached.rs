//! What is attached to an artifact: signatures, by either way of finding them.
//!
//! ```text
//!   GET referrers/sha256:… ─► index ─► manifests, each with its layers      (distribution spec 1.1, "Listing Referrers")
//!        404 ─► GET manifests/sha256-<hex>, an index that clients keep       ("Referrers Tag Schema")
//!
//!   GET manifests/sha256-<hex>.sig ─► manifest with a layer each            (cosign's before that)
//! ```
//!
//! Registries that have no list of their own need the index to be written by whoever attaches something. Two
//! who do so at once may lose one of both: the specification has no remedy.

use std::collections::BTreeMap;

use bytes::Bytes;
use edge_core::deployment::RegistryCredentials;
use edge_core::{ByteSize, Digest};

use crate::config::Registries;
use crate::error::{Part, PullError, PushError, RegistryError};
use crate::layout::{Descriptor, EMPTY, INDEX, Index, MANIFEST, Manifest, read_json};
use crate::pull::{ANY, PullLimits, blob, manifest_bytes};
use crate::push::{Pusher, sha256};
use crate::session::Session;
use edge_core::Reference;

/// Most of what is attached, in one piece: a bundle with certificates and a log's proof has some 20 KiB.
const ATTACHED: ByteSize = ByteSize(1 << 20);
/// Most attachments of a kind that are looked at.
const MOST: usize = 64;
/// An empty config.
pub(crate) const EMPTY_BYTES: &[u8] = b"{}";

/// A piece that is attached to an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The hash of the manifest that it is a layer of.
    pub manifest: Digest,
    /// Its own type.
    pub media_type: String,
    /// What it is; as long as the manifest said and with the digest that it said.
    pub bytes: Bytes,
    /// The manifest's annotations, and the layer's over them.
    pub annotations: BTreeMap<String, String>,
}

/// What is to be attached, and how it is found again.
#[derive(Debug, Clone, Copy)]
pub struct AttachOptions<'a> {
    /// The kind of attachment, by which it is looked for.
    pub artifact_type: &'a str,
    /// The type of the bytes.
    pub media_type: &'a str,
    /// Of the manifest, and of its entry in lists.
    pub annotations: &'a BTreeMap<String, String>,
}

impl Registries {
    /// What is attached to the manifest `subject` in the reference's repository, of one kind. An attachment
    /// that is damaged is an error of its own: others may be good.
    ///
    /// # Errors
    /// The registry does not give the list, or what is on it.
    pub async fn referrers(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Result<Attached, PullError>>, PullError> {
        let mut session = Session::new(self, reference, credentials)?;
        let index = match list(&mut session, subject, artifact_type).await? {
            Some(index) => Some(index),
            None => tagged(&mut session, reference, subject).await?,
        };
        let entries = index.map_or_else(Vec::new, |index| index.manifests);
        let mut found = Vec::new();
        // A registry may leave the choosing to us; an index never chooses.
        let wanted = |entry: &&Descriptor| match &entry.artifact_type {
            Some(kind) => kind == artifact_type,
            None => true,
        };
        for entry in entries.iter().filter(wanted).take(MOST) {
            let attached = referrer(&mut session, reference, entry, subject, artifact_type).await;
            spread(attached, &mut found)?;
        }
        Ok(found)
    }

    /// What cosign attached to the manifest `subject` before there were referrers: the layers of the manifest
    /// with tag `sha256-<hex>.sig`, signatures in their annotations.
    ///
    /// # Errors
    /// The registry does not give it.
    pub async fn legacy_signatures(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        subject: &Digest,
    ) -> Result<Vec<Result<Attached, PullError>>, PullError> {
        let mut session = Session::new(self, reference, credentials)?;
        let tag = reference.with_tag(format!("{}.sig", fallback_tag(subject)));
        let mut found = Vec::new();
        match manifest_bytes(&mut session, &tag, PullLimits::default().manifest, MANIFEST).await {
            Err(PullError::Registry(RegistryError::NotFound { .. })) => {}
            Err(error) => return Err(error),
            Ok((bytes, digest, header)) => {
                let name = tag.to_string();
                let attached = match Manifest::read(&bytes, header.as_deref(), &name) {
                    Ok(manifest) => layers(&mut session, &manifest, digest, &name).await,
                    Err(error) => Err(error),
                };
                spread(attached, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Attaches bytes to the manifest `subject` in the reference's repository. Comes back with the digest of
    /// the attachment's manifest.
    ///
    /// # Errors
    /// `subject` is not there, or the registry does not take it.
    pub async fn attach(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        subject: &Digest,
        bytes: Bytes,
        options: AttachOptions<'_>,
    ) -> Result<Digest, PushError> {
        let mut session = Session::new(self, reference, credentials)?;
        let of = reference.with_digest(*subject);
        let limit = PullLimits::default().manifest;
        // It may be an image for several machines: an index.
        let (about, _, header) = manifest_bytes(&mut session, &of, limit, ANY).await?;
        let media_type = header.unwrap_or_else(|| MANIFEST.to_owned());
        let config = Descriptor::new(EMPTY, &sha256(EMPTY_BYTES), EMPTY_BYTES.len());
        let layer = Descriptor::new(options.media_type, &sha256(&bytes), bytes.len());
        let manifest = Manifest {
            artifact_type: Some(options.artifact_type.to_owned()),
            subject: Some(Descriptor::new(&media_type, subject, about.len())),
            annotations: Some(options.annotations.clone()).filter(|known| !known.is_empty()),
            ..Manifest::new(config, layer)
        };
        let manifest =
            serde_json::to_vec(&manifest).expect("text and numbers can be written as JSON");
        let digest = sha256(&manifest);
        let pusher = Pusher::new(self, reference, credentials).await?;
        pusher
            .blob(Bytes::from_static(EMPTY_BYTES), Part::Config)
            .await?;
        pusher.blob(bytes, Part::Attachment).await?;
        let size = manifest.len();
        pusher
            .manifest(&reference.with_digest(digest), manifest, MANIFEST)
            .await?;
        if list(&mut session, subject, options.artifact_type)
            .await?
            .is_none()
        {
            let entry = Descriptor {
                artifact_type: Some(options.artifact_type.to_owned()),
                annotations: Some(options.annotations.clone()).filter(|known| !known.is_empty()),
                ..Descriptor::new(MANIFEST, &digest, size)
            };
            note(&mut session, &pusher, reference, subject, entry).await?;
        }
        Ok(digest)
    }
}

/// Where clients keep the list that a registry does not keep.
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The list that the registry keeps; `None`: it keeps none.
async fn list(
    session: &mut Session,
    subject: &Digest,
    artifact_type: &str,
) -> Result<Option<Index>, PullError> {
    let what = format!("list of what is attached to {subject}");
    let kind: String = artifact_type
        .bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b".-_/".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    let path = format!("referrers/{subject}?artifactType={kind}");
    let answer = match session.get(&path, &what, INDEX).await {
        // Not known to it, or not let through by what stands before it.
        Err(
            RegistryError::NotFound { .. }
            | RegistryError::Status {
                status: 400 | 405, ..
            },
        ) => return Ok(None),
        answer => answer?,
    };
    // A page for people is no list.
    if answer.media_type() != Some(INDEX) {
        return Ok(None);
    }
    let bytes = answer.whole(PullLimits::default().manifest).await?;
    index(&bytes, &what).map(Some)
}

/// The list that clients keep.
async fn tagged(
    session: &mut Session,
    reference: &Reference,
    subject: &Digest,
) -> Result<Option<Index>, PullError> {
    let tag = reference.with_tag(fallback_tag(subject));
    let limit = PullLimits::default().manifest;
    match manifest_bytes(session, &tag, limit, INDEX).await {
        Err(PullError::Registry(RegistryError::NotFound { .. })) => Ok(None),
        Err(error) => Err(error),
        Ok((bytes, ..)) => index(&bytes, &tag.to_string()).map(Some),
    }
}

fn index(bytes: &[u8], name: &str) -> Result<Index, PullError> {
    read_json(bytes).map_err(|why| PullError::Unreadable {
        reference: name.to_owned(),
        part: Part::Attachment,
        why,
    })
}

/// Adds an entry to the list that clients keep.
async fn note(
    session: &mut Session,
    pusher: &Pusher,
    reference: &Reference,
    subject: &Digest,
    entry: Descriptor,
) -> Result<(), PushError> {
    let known = tagged(session, reference, subject).await?;
    let mut index = known.unwrap_or_else(|| Index {
        schema_version: 2,
        media_type: Some(INDEX.to_owned()),
        manifests: Vec::new(),
    });
    if index
        .manifests
        .iter()
        .any(|known| known.digest == entry.digest)
    {
        return Ok(());
    }
    index.manifests.push(entry);
    let bytes = serde_json::to_vec(&index).expect("text and numbers can be written as JSON");
    let tag = reference.with_tag(fallback_tag(subject));
    pusher.manifest(&tag, bytes, INDEX).await
}

/// The layers of an attachment, if it is one of this kind to `subject`.
async fn referrer(
    session: &mut Session,
    reference: &Reference,
    entry: &Descriptor,
    subject: &Digest,
    artifact_type: &str,
) -> Result<Vec<Result<Attached, PullError>>, PullError> {
    let digest = entry.digest(&reference.to_string(), Part::Attachment)?;
    let of = reference
        .with_tag(reference.tag_or_latest())
        .with_digest(digest);
    let name = of.to_string();
    let limit = PullLimits::default().manifest;
    let (bytes, digest, header) = manifest_bytes(session, &of, limit, MANIFEST).await?;
    let manifest = Manifest::read(&bytes, header.as_deref(), &name)?;
    let about = manifest.subject.as_ref().map(|about| &*about.digest);
    if manifest.kind() != artifact_type || about != Some(&*subject.to_string()) {
        // What the list says of it is not what it is.
        return Ok(Vec::new());
    }
    layers(session, &manifest, digest, &name).await
}

async fn layers(
    session: &mut Session,
    manifest: &Manifest,
    digest: Digest,
    name: &str,
) -> Result<Vec<Result<Attached, PullError>>, PullError> {
    let mut found = Vec::new();
    for layer in manifest.layers.iter().take(MOST) {
        let bytes = blob(session, layer, Part::Attachment, ATTACHED, name).await;
        let attached = bytes.map(|bytes| {
            let mut annotations = manifest.annotations.clone().unwrap_or_default();
            annotations.extend(layer.annotations.clone().unwrap_or_default());
            vec![Ok(Attached {
                manifest: digest,
                media_type: layer.media_type.clone(),
                bytes,
                annotations,
            })]
        });
        spread(attached, &mut found)?;
    }
    Ok(found)
}

/// Damage is a finding; what passes is an error, so that nobody takes an unsigned answer for a lasting one.
fn spread(
    attached: Result<Vec<Result<Attached, PullError>>, PullError>,
    found: &mut Vec<Result<Attached, PullError>>,
) -> Result<(), PullError> {
    match attached {
        Ok(attached) => found.extend(attached),
        Err(error) if error.is_refusal() => found.push(Err(error)),
        // The list names what is not there.
        Err(error @ PullError::Registry(RegistryError::NotFound { .. })) => found.push(Err(error)),
        Err(error) => return Err(error),
    }
    Ok(())
}
