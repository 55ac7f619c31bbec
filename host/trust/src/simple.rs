//! cosign 2's signatures in registries ("simple signing"): a payload that names the digest of a manifest,
//! as a layer, and its signature in an annotation of that layer.
//!
//! ```text
//!   tag sha256-<hex>.sig ─► manifest ─► layers[]  application/vnd.dev.cosign.simplesigning.v1+json
//!                                         └ annotations  dev.cosignproject.cosign/signature: base64
//!
//!   {"critical":{"identity":{"docker-reference":"r.example/filter"},
//!                "image":{"docker-manifest-digest":"sha256:…"},
//!                "type":"cosign container image signature"},
//!    "optional":null}
//! ```
//!
//! The reference in it is not compared: where an artifact lies may change, what it is does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::PrivateKey;
use crate::error::VerifyError;
use crate::private::NoRandom;
use crate::verify::{Form, TrustedKey, Verified, signer};

/// The media type of the layer.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation with a certificate, which is there where no key of its own was used.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// Most bytes of a payload, and of a signature.
pub const MAX: usize = 64 << 10;

/// What `type` says.
const TYPE: &str = "cosign container image signature";
const PAYLOAD: &str = "simple signing payload";
const ANNOTATION: &str = "signature annotation";

/// A payload and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimpleSigning {
    /// The layer's bytes.
    pub payload: Vec<u8>,
    /// The annotation [`SIGNATURE`].
    pub signature: String,
    /// Whether the annotation [`CERTIFICATE`] is there.
    pub by_certificate: bool,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    optional: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// Signs a manifest by its digest. `reference` says for people where it is.
///
/// # Errors
/// The system has no random numbers.
pub fn sign(key: &PrivateKey, reference: &str, digest: &Digest) -> Result<SimpleSigning, NoRandom> {
    let payload = Payload {
        critical: Critical {
            identity: Identity {
                docker_reference: reference.to_owned(),
            },
            image: Image {
                docker_manifest_digest: digest.to_string(),
            },
            r#type: TYPE.to_owned(),
        },
        optional: None,
    };
    let payload = serde_json::to_vec(&payload).expect("text can be written as JSON");
    Ok(SimpleSigning {
        signature: STANDARD.encode(key.sign(&payload)?),
        payload,
        by_certificate: false,
    })
}

/// Checks one.
///
/// # Errors
/// The check that it does not pass.
pub fn verify(
    signing: &SimpleSigning,
    expected: Digest,
    keys: &[TrustedKey],
) -> Result<Verified, VerifyError> {
    let SimpleSigning {
        payload,
        signature,
        by_certificate,
    } = signing;
    VerifyError::size(PAYLOAD, payload, MAX)?;
    VerifyError::size(ANNOTATION, signature.as_bytes(), MAX)?;
    if *by_certificate {
        return Err(VerifyError::Certificate);
    }
    let signature = STANDARD
        .decode(signature)
        .map_err(|error| VerifyError::format(ANNOTATION, "base64", error))?;
    let key = signer(PAYLOAD, payload, &signature, keys)?;
    let Payload { critical, .. } = serde_json::from_slice(payload)
        .map_err(|error| VerifyError::format(PAYLOAD, "JSON of simple signing", error))?;
    VerifyError::kind("type of the simple signing payload", TYPE, &critical.r#type)?;
    let found = critical.image.docker_manifest_digest;
    match found.parse() == Ok(expected) {
        true => Ok(Verified {
            digest: expected,
            key: key.clone(),
            form: Form::Simple,
        }),
        false => Err(VerifyError::Digest {
            what: PAYLOAD,
            expected,
            found: VerifyError::excerpt(&found),
        }),
    }
}
