//! Public keys.

use std::fmt;

use edge_core::Digest;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use x509_parser::asn1_rs::Oid;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::pem;

/// Largest file that is read as a key, in bytes. Keys have a few hundred.
pub const MAX_KEY_FILE: usize = 16 << 10;

/// The DER of a P-256 key up to its point (RFC 5480): algorithm, curve, the point's length.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The DER of an Ed25519 key up to its 32 bytes (RFC 8410).
const ED25519_HEAD: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; signatures are ASN.1 DER. What cosign makes.
    EcdsaP256,
    /// Ed25519 (RFC 8032), without a hash before it.
    Ed25519,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// Why a file is no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too much of it.
    #[error("size of the key: expected at most {MAX_KEY_FILE} bytes, found {found}")]
    TooLarge {
        /// Its bytes.
        found: usize,
    },
    /// No PEM.
    #[error("format of the key: expected PEM (-----BEGIN …), found none: {why}")]
    NotPem {
        /// What the reader says.
        why: String,
    },
    /// Some other thing in PEM.
    #[error("kind of key: expected {expected}, found {found:?}{hint}")]
    Label {
        /// The label, or labels, that would have done.
        expected: &'static str,
        /// The one there is.
        found: String,
        /// What to do about it; empty, or begins with a mark.
        hint: &'static str,
    },
    /// A key of another kind.
    #[error("algorithm of the key: expected ECDSA P-256 or Ed25519, found {found}")]
    Algorithm {
        /// A name or an object identifier.
        found: String,
    },
    /// Not what its label says.
    #[error("content of the key: expected a whole {expected}, found {found}")]
    Damaged {
        /// What it should be.
        expected: &'static str,
        /// What is wrong with it.
        found: String,
    },
}

/// A key that signatures are checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The point, uncompressed (65 bytes), or the 32 bytes of Ed25519.
    raw: Vec<u8>,
}

impl PublicKey {
    /// Reads PEM with a SubjectPublicKeyInfo (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// It is something else, or of another algorithm.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem::read(text)?;
        match &*label {
            "PUBLIC KEY" => Self::from_der(&der),
            _ => Err(KeyError::Label {
                expected: "PUBLIC KEY",
                hint: match () {
                    () if label.ends_with("PRIVATE KEY") => {
                        ": it is the half that signs; name the public one, and keep this one away \
                         from devices"
                    }
                    () if label == "CERTIFICATE" => {
                        ": trust is in keys here; take the key out with openssl x509 -pubkey -noout"
                    }
                    () => "",
                },
                found: label,
            }),
        }
    }

    /// Reads the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// It is something else, or of another algorithm.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let damaged = |found: String| KeyError::Damaged {
            expected: "SubjectPublicKeyInfo",
            found,
        };
        let (rest, info) =
            SubjectPublicKeyInfo::from_der(der).map_err(|error| damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged(format!("{} bytes after it", rest.len())));
        }
        let algorithm = algorithm(&info)?;
        let key = Self {
            algorithm,
            raw: info.subject_public_key.data.to_vec(),
        };
        // One way of writing, so that a key has one fingerprint.
        match key.to_der() == der {
            true => Ok(key),
            false => Err(damaged(
                "another way of writing one (a compressed point?)".to_owned(),
            )),
        }
    }

    /// Of a key pair; `raw` as it is in [`PublicKey`].
    pub(crate) fn new(algorithm: Algorithm, raw: &[u8]) -> Self {
        Self {
            algorithm,
            raw: raw.to_vec(),
        }
    }

    /// Its SubjectPublicKeyInfo.
    pub fn to_der(&self) -> Vec<u8> {
        let head = match self.algorithm {
            Algorithm::EcdsaP256 => P256_HEAD,
            Algorithm::Ed25519 => ED25519_HEAD,
        };
        [head, &self.raw].concat()
    }

    /// Its PEM.
    pub fn to_pem(&self) -> String {
        pem::write("PUBLIC KEY", &self.to_der())
    }

    /// The SHA-256 of its DER: what it is called in messages and records.
    pub fn fingerprint(&self) -> Digest {
        sha256(&self.to_der())
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is one over `message` by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::EcdsaP256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.raw)
                .verify(message, signature)
                .is_ok(),
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.raw)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.fingerprint())
    }
}

fn algorithm(info: &SubjectPublicKeyInfo<'_>) -> Result<Algorithm, KeyError> {
    let found = |found: String| Err(KeyError::Algorithm { found });
    let oid = &info.algorithm.algorithm;
    if *oid == OID_SIG_ED25519 {
        return Ok(Algorithm::Ed25519);
    }
    if *oid == OID_PKCS1_RSAENCRYPTION {
        return found("RSA".to_owned());
    }
    if *oid != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return found(format!("the algorithm {oid}"));
    }
    let curve = info.algorithm.parameters.as_ref();
    match curve.and_then(|curve| Oid::try_from(curve.clone()).ok()) {
        Some(curve) if curve == OID_EC_P256 => Ok(Algorithm::EcdsaP256),
        Some(curve) => found(format!("ECDSA on the curve {curve}")),
        None => found("ECDSA without a named curve".to_owned()),
    }
}

/// What bytes hash to.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivateKey;

    #[test]
    fn keys_survive_a_round_trip() {
        for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
            let public = PrivateKey::generate(algorithm).unwrap().public();
            let again = PublicKey::from_pem(public.to_pem().as_bytes()).unwrap();
            assert_eq!(again, public);
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.fingerprint(), public.fingerprint());
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_what_it_is() {
        let private = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let public = private.public();
        let mut long = public.to_der();
        long.push(0);
        for (text, expected) in [
            ("nothing".to_owned(), "expected PEM"),
            ("x".repeat(MAX_KEY_FILE + 1), "at most 16384 bytes"),
            (private.to_pem().to_string(), "the half that signs"),
            (pem::write("CERTIFICATE", &[1]), "openssl x509 -pubkey"),
            (pem::write("PUBLIC KEY", &[0x30, 0]), "content of the key"),
            (pem::write("PUBLIC KEY", &long), "1 bytes after it"),
        ] {
            let error = PublicKey::from_pem(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}: {expected}");
        }
    }
}
