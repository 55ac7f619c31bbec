//! Manifest and config of an artifact (CNCF TAG Runtime, "Wasm OCI Artifact layout"; OCI image spec 1.1).
//!
//! ```json
//! { "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
//!   "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": "sha256:…", "size": 283 },
//!   "layers": [ { "mediaType": "application/wasm", "digest": "sha256:…", "size": 81920 } ],
//!   "annotations": {} }
//!
//! { "created": "2026-01-01T00:00:00Z", "author": null, "architecture": "wasm", "os": "wasip2",
//!   "layerDigests": [ "sha256:…" ],
//!   "component": { "exports": [ "wasi:cli/run@0.2.0" ], "imports": [], "target": null } }
//! ```
//!
//! Pure: bytes in, what they say out, or the check that they fail.

use std::collections::BTreeMap;

use edge_core::Digest;
use serde::{Deserialize, Serialize};

use crate::error::{Part, PullError};
use crate::pull::PullLimits;

/// A manifest of an image or artifact.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What says that a config has nothing to say.
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The config of a component.
pub(crate) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The component.
pub(crate) const WASM: &str = "application/wasm";
/// The config of an image: registries that do not take [`CONFIG`] get it under this name.
pub(crate) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Krustlet's, and wasmCloud's before the CNCF layout.
const OLD_CONFIG: &str = "application/vnd.wasm.config.v1+json";
const OLD_LAYERS: [&str; 2] = [
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// How an artifact is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// CNCF's.
    Cncf,
    /// A component and an empty config: Azure IoT Operations, ORAS.
    Bare,
    /// What was before CNCF's.
    Old,
}

/// What an artifact says of its component. Not proven by anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// How it is laid out.
    pub layout: Layout,
    /// The hash of its manifest.
    pub manifest: Digest,
    /// What the component hashes to.
    pub component: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it imports, as `wasi:http/types@0.2.0`; `None`: the layout does not say.
    pub imports: Option<Vec<String>>,
    /// What it exports; `None`: the layout does not say.
    pub exports: Option<Vec<String>>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What names a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    /// As it is written: only sha256 can be checked.
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: &Digest, size: usize) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size: size as u64,
            artifact_type: None,
            annotations: None,
        }
    }

    pub(crate) fn digest(&self, reference: &str, part: Part) -> Result<Digest, PullError> {
        self.digest.parse().map_err(|_| PullError::DigestText {
            reference: reference.to_owned(),
            part,
            found: self.digest.chars().take(100).collect(),
        })
    }
}

/// A manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    /// Of an index. A document that is both would be one thing here and another one elsewhere
    /// (CVE-2021-41190).
    #[serde(skip_serializing)]
    pub(crate) manifests: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// A manifest with one layer.
    pub(crate) fn new(config: Descriptor, layer: Descriptor) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers: vec![layer],
            subject: None,
            annotations: None,
            manifests: None,
        }
    }

    /// Reads a manifest. `header` is the media type that it came with, for one that names none.
    pub(crate) fn read(
        bytes: &[u8],
        header: Option<&str>,
        reference: &str,
    ) -> Result<Self, PullError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            schema_version: u32,
            media_type: Option<String>,
        }
        let unreadable = |why: String| PullError::Unreadable {
            reference: reference.to_owned(),
            part: Part::Manifest,
            why,
        };
        let head: Head = read_json(bytes).map_err(unreadable)?;
        let media_type = head.media_type.as_deref().or(header).unwrap_or("none");
        if media_type != MANIFEST {
            return Err(PullError::MediaType {
                reference: reference.to_owned(),
                part: Part::Manifest,
                expected: MANIFEST.to_owned(),
                found: shown(media_type),
            });
        }
        if head.schema_version != 2 {
            return Err(unreadable(format!(
                "its schemaVersion is {}, expected 2",
                head.schema_version
            )));
        }
        let manifest: Self = read_json(bytes).map_err(unreadable)?;
        if manifest.manifests.is_some() {
            return Err(unreadable(
                "it is a manifest and an index at once".to_owned(),
            ));
        }
        Ok(manifest)
    }

    /// The kind of artifact, by either of the fields that say so.
    pub(crate) fn kind(&self) -> &str {
        self.artifact_type
            .as_deref()
            .unwrap_or(&self.config.media_type)
    }

    /// What it says of its component, and whether its config has to be read for more.
    pub(crate) fn claims(
        &self,
        manifest: Digest,
        limits: &PullLimits,
        reference: &str,
    ) -> Result<(Claims, bool), PullError> {
        let wrong = |part, expected: &[&str], found: &str| PullError::MediaType {
            reference: reference.to_owned(),
            part,
            expected: expected.join(" or "),
            found: shown(found),
        };
        // Version 0 of the layout: "consumers should reject more than one layer".
        let [layer] = &*self.layers else {
            return Err(PullError::Layers {
                reference: reference.to_owned(),
                found: self.layers.len(),
            });
        };
        let (layout, layers): (_, &[&str]) = match &*self.config.media_type {
            CONFIG | IMAGE_CONFIG => (Layout::Cncf, &[WASM]),
            EMPTY => (Layout::Bare, &[WASM]),
            OLD_CONFIG => (Layout::Old, &OLD_LAYERS),
            other => return Err(wrong(Part::Config, &[CONFIG], other)),
        };
        if !layers.contains(&&*layer.media_type) {
            return Err(wrong(Part::Component, layers, &layer.media_type));
        }
        let component = layer.digest(reference, Part::Component)?;
        if layer.size > limits.component.0 {
            return Err(PullError::TooLarge {
                reference: reference.to_owned(),
                part: Part::Component,
                limit: limits.component,
                found: layer.size,
            });
        }
        let claims = Claims {
            layout,
            manifest,
            component,
            size: layer.size,
            imports: None,
            exports: None,
            annotations: self.annotations.clone().unwrap_or_default(),
        };
        Ok((claims, layout == Layout::Cncf))
    }
}

/// The config of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) author: Option<String>,
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) layer_digests: Vec<String>,
    pub(crate) component: Option<Component>,
}

/// What a config says of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Component {
    #[serde(default)]
    pub(crate) exports: Vec<String>,
    #[serde(default)]
    pub(crate) imports: Vec<String>,
    pub(crate) target: Option<String>,
}

/// Architecture of every component.
pub(crate) const ARCHITECTURE: &str = "wasm";
/// System of every component, whichever version of WASI it imports.
pub(crate) const OS: &str = "wasip2";

impl Config {
    /// Checks a config against its manifest, and adds what it says to the claims.
    pub(crate) fn check(
        bytes: &[u8],
        claims: &mut Claims,
        reference: &str,
    ) -> Result<(), PullError> {
        let reference = || reference.to_owned();
        let config: Self = read_json(bytes).map_err(|why| PullError::Unreadable {
            reference: reference(),
            part: Part::Config,
            why,
        })?;
        if config.architecture != ARCHITECTURE {
            return Err(PullError::Architecture {
                reference: reference(),
                found: shown(&config.architecture),
            });
        }
        let expected = claims.component.to_string();
        if config.layer_digests != [&*expected] {
            let found: Vec<_> = config.layer_digests.iter().take(3).collect();
            return Err(PullError::LayerDigests {
                reference: reference(),
                expected,
                found: shown(&format!("{found:?}")),
            });
        }
        if config.os != OS {
            return Err(PullError::Os {
                reference: reference(),
                found: shown(&config.os),
            });
        }
        let Some(component) = config.component else {
            return Err(PullError::Unreadable {
                reference: reference(),
                part: Part::Config,
                why: "it says nothing of the component, which \"wasip2\" requires".to_owned(),
            });
        };
        claims.imports = Some(component.imports);
        claims.exports = Some(component.exports);
        Ok(())
    }
}

/// A list of manifests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
}

/// Reads JSON from a registry.
pub(crate) fn read_json<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Text of a registry, fit for a message.
fn shown(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
