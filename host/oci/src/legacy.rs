//! What cosign attached before there were referrers: layers of the manifest with tag `sha256-<hex>.sig`,
//! signatures in their annotations. Older tools look nowhere else.
//!
//! Adding one reads that manifest and writes it with a layer more: of two who do so at once, one may be lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use edge_core::Digest;
use edge_core::deployment::RegistryCredentials;
use serde_json::json;

use crate::attached::fallback_tag;
use crate::config::Registries;
use crate::error::{Part, PullError, PushError, RegistryError};
use crate::layout::{Descriptor, IMAGE_CONFIG, MANIFEST, Manifest};
use crate::pull::{ANY, PullLimits, manifest_bytes};
use crate::push::{Pusher, sha256};
use crate::session::Session;
use edge_core::Reference;

impl Registries {
    /// Attaches bytes to the manifest `subject` as a layer with these annotations. Comes back with the digest
    /// of the manifest that has it.
    ///
    /// # Errors
    /// `subject` is not there, or the registry does not take it.
    pub async fn attach_legacy(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        subject: &Digest,
        bytes: Bytes,
        media_type: &str,
        annotations: BTreeMap<String, String>,
    ) -> Result<Digest, PushError> {
        let mut session = Session::new(self, reference, credentials)?;
        let limit = PullLimits::default().manifest;
        let of = reference.with_digest(*subject);
        manifest_bytes(&mut session, &of, limit, ANY).await?;
        let tag = reference.with_tag(format!("{}.sig", fallback_tag(subject)));
        let mut layers = match manifest_bytes(&mut session, &tag, limit, MANIFEST).await {
            Err(PullError::Registry(RegistryError::NotFound { .. })) => Vec::new(),
            Err(error) => return Err(error.into()),
            Ok((known, _, header)) => {
                Manifest::read(&known, header.as_deref(), &tag.to_string())?.layers
            }
        };
        let layer = Descriptor {
            annotations: Some(annotations),
            ..Descriptor::new(media_type, &sha256(&bytes), bytes.len())
        };
        layers.push(layer.clone());
        // As an image of these layers, which is what registries of that time took.
        let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
        let config = json!({
            "architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let config = config.to_string().into_bytes();
        let described = Descriptor::new(IMAGE_CONFIG, &sha256(&config), config.len());
        let manifest = Manifest {
            layers,
            ..Manifest::new(described, layer)
        };
        let manifest =
            serde_json::to_vec(&manifest).expect("text and numbers can be written as JSON");
        let digest = sha256(&manifest);
        let pusher = Pusher::new(self, reference, credentials).await?;
        pusher.blob(bytes, Part::Attachment).await?;
        pusher.blob(config.into(), Part::Config).await?;
        pusher.manifest(&tag, manifest, MANIFEST).await?;
        Ok(digest)
    }
}
