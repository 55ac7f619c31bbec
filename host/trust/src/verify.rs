//! A subject, the signatures that were found for it, and the keys: does one of them hold?

use std::fmt;

use edge_core::Digest;

use crate::error::{Untrusted, VerifyError};
use crate::key::sha256;
use crate::simple::SimpleSigning;
use crate::{PublicKey, bundle, detached, simple};

/// Most signatures of one subject that are looked at.
pub const MAX_SIGNATURES: usize = 32;

/// What is to be signed for: its digest, and its bytes where they are at hand.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    digest: Digest,
    bytes: Option<&'s [u8]>,
}

impl<'s> Subject<'s> {
    /// Bytes; hashed here.
    pub fn of(bytes: &'s [u8]) -> Self {
        Self {
            digest: sha256(bytes),
            bytes: Some(bytes),
        }
    }

    /// What is known by its digest alone. Signatures over the bytes cannot be checked then.
    pub fn named(digest: Digest) -> Self {
        Self {
            digest,
            bytes: None,
        }
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn bytes(&self, what: &'static str) -> Result<&'s [u8], VerifyError> {
        self.bytes.ok_or(VerifyError::BytesNeeded { what })
    }
}

/// A key, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Its file, for messages.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.key.fingerprint())
    }
}

/// A signature as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// A sigstore bundle.
    Bundle(Vec<u8>),
    /// cosign 2's payload with its signature.
    Simple(SimpleSigning),
    /// Base64 of a signature over the bytes.
    Detached(Vec<u8>),
    /// Something is there by that place, and is not whole: why. It never holds.
    Damaged(String),
}

/// How a signature was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In a bundle, over the bytes.
    BundleOfBytes,
    /// In a bundle, over a statement that names the digest.
    BundleOfStatement,
    /// cosign 2's.
    Simple,
    /// A file of its own.
    Detached,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BundleOfBytes | Self::BundleOfStatement => "sigstore bundle",
            Self::Simple => "cosign's simple signing",
            Self::Detached => "detached signature",
        })
    }
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What was signed.
    pub digest: Digest,
    /// Who signed it.
    pub key: TrustedKey,
    /// How.
    pub form: Form,
}

/// Looks for a signature that holds. `found` names the place of each, for messages; of more than
/// [`MAX_SIGNATURES`] only the first ones are looked at.
///
/// # Errors
/// There is none; why each of them does not hold.
pub fn check(
    found: &[(String, Signature)],
    subject: Subject<'_>,
    keys: &[TrustedKey],
) -> Result<Verified, Untrusted> {
    if found.is_empty() {
        return Err(Untrusted::Missing {
            expected: names(keys),
        });
    }
    let mut refused = Vec::new();
    for (place, signature) in found.iter().take(MAX_SIGNATURES) {
        let verified = match signature {
            Signature::Bundle(json) => bundle::verify(json, subject, keys),
            Signature::Simple(signing) => simple::verify(signing, subject.digest, keys),
            Signature::Detached(text) => detached::verify(text, subject, keys),
            Signature::Damaged(why) => Err(VerifyError::Damaged {
                found: VerifyError::excerpt(why),
            }),
        };
        match verified {
            Ok(verified) => return Ok(verified),
            Err(error) => refused.push((place.clone(), error)),
        }
    }
    Err(Untrusted::Refused(refused))
}

/// The key that made a signature over `message`.
pub(crate) fn signer<'k>(
    what: &'static str,
    message: &[u8],
    signature: &[u8],
    keys: &'k [TrustedKey],
) -> Result<&'k TrustedKey, VerifyError> {
    if keys.is_empty() {
        return Err(VerifyError::NoKeys);
    }
    let mut keys_of = keys.iter();
    keys_of
        .find(|trusted| trusted.key.verifies(message, signature))
        .ok_or_else(|| VerifyError::Signature {
            what,
            expected: names(keys),
        })
}

/// Keys, for a message.
fn names(keys: &[TrustedKey]) -> String {
    match keys {
        [] => "a trusted key, of which there is none".to_owned(),
        [one] => one.to_string(),
        several => {
            let names: Vec<_> = several.iter().map(TrustedKey::to_string).collect();
            format!("one of {}", names.join(", "))
        }
    }
}
