//! The signatures that a registry has for a manifest, by either way in which cosign leaves them.
//!
//! Called by the device's gate and by `edge verify`. What is damaged is a finding, as a signature that does
//! not hold is; what could not be asked for is told apart, because it may say something else later.

use edge_core::Digest;
use edge_core::deployment::RegistryCredentials;
use edge_oci::{Attached, PullError, Reference, Registries};
use edge_trust::{Signature, SimpleSigning, bundle, simple};

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundSignatures {
    /// Each with its place.
    pub signatures: Vec<(String, Signature)>,
    /// Why there may be more.
    pub unknown: Option<String>,
}

/// Asks a registry for all signatures of the manifest with this digest. Cancel safe.
pub async fn registry_signatures(
    registries: &Registries,
    reference: &Reference,
    credentials: Option<&RegistryCredentials>,
    digest: &Digest,
) -> FoundSignatures {
    let mut found = FoundSignatures::default();
    let bundles = registries
        .referrers(reference, credentials, digest, bundle::MEDIA_TYPE)
        .await;
    found.take(bundles, |attached| {
        // Somebody may attach other things under this type.
        (attached.media_type == bundle::MEDIA_TYPE).then(|| {
            let place = format!("bundle attached by {}", attached.manifest);
            (place, Signature::Bundle(attached.bytes.into()))
        })
    });
    let legacy = registries
        .legacy_signatures(reference, credentials, digest)
        .await;
    found.take(legacy, |mut attached| {
        let signature = attached.annotations.remove(simple::SIGNATURE)?;
        let place = format!("tag sha256-{}.sig", digest.hex());
        let signing = SimpleSigning {
            payload: attached.bytes.into(),
            signature,
            by_certificate: attached.annotations.contains_key(simple::CERTIFICATE),
        };
        Some((place, Signature::Simple(signing)))
    });
    found
}

impl FoundSignatures {
    fn take(
        &mut self,
        answer: Result<Vec<Result<Attached, PullError>>, PullError>,
        signature: impl Fn(Attached) -> Option<(String, Signature)>,
    ) {
        let attached = match answer {
            Ok(attached) => attached,
            Err(error) if error.is_refusal() => vec![Err(error)],
            Err(error) => {
                self.unknown = Some(error.to_string());
                return;
            }
        };
        for attached in attached {
            match attached {
                Ok(attached) => self.signatures.extend(signature(attached)),
                Err(error) => {
                    let damaged = Signature::Damaged(error.to_string());
                    self.signatures.push(("the registry".to_owned(), damaged));
                }
            }
        }
    }
}
