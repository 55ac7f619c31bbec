//! Private keys: what signs. On the machine of whoever signs, never on a device.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::{Algorithm, KeyError, PublicKey, pem};

/// PKCS#8 of an Ed25519 key up to its seed (RFC 8410, without the public half: OpenSSL reads no other).
const ED25519_HEAD: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

enum Pair {
    EcdsaP256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that signs. Not shown by `Debug`.
pub struct PrivateKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Makes one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate(algorithm: Algorithm) -> Result<Self, NoRandom> {
        let random = SystemRandom::new();
        let pkcs8 = match algorithm {
            Algorithm::EcdsaP256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
                Zeroizing::new(pkcs8.map_err(|_| NoRandom)?.as_ref().to_vec())
            }
            Algorithm::Ed25519 => {
                let mut seed = Zeroizing::new([0; 32]);
                random.fill(&mut *seed).map_err(|_| NoRandom)?;
                Zeroizing::new([ED25519_HEAD, &*seed].concat())
            }
        };
        Ok(Self::from_pkcs8(pkcs8).expect("what was just made is a key"))
    }

    /// Reads PEM with an unencrypted PKCS#8 (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// It is something else, or of another algorithm.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem::read(text)?;
        let der = Zeroizing::new(der);
        let hint = match &*label {
            "PRIVATE KEY" => return Self::from_pkcs8(der),
            "EC PRIVATE KEY" => ": make it PKCS#8 with openssl pkcs8 -topk8 -nocrypt",
            "ENCRYPTED PRIVATE KEY" => ": it is encrypted; openssl pkcs8 -nocrypt takes that away",
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                ": cosign's encrypted keys are not read; sign with cosign, or with a key of edge key"
            }
            "PUBLIC KEY" => ": it is the half that verifies",
            _ => "",
        };
        Err(KeyError::Label {
            expected: "PRIVATE KEY",
            found: label,
            hint,
        })
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random);
        let pair = match ecdsa {
            Ok(pair) => Pair::EcdsaP256(pair),
            Err(ecdsa) => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8) {
                Ok(pair) => Pair::Ed25519(pair),
                Err(ed25519) => {
                    return Err(KeyError::Damaged {
                        expected: "PKCS#8 key of ECDSA P-256 or Ed25519",
                        found: format!("one that is neither ({ecdsa}; {ed25519})"),
                    });
                }
            },
        };
        Ok(Self { pair, pkcs8 })
    }

    /// Its PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::write("PRIVATE KEY", &self.pkcs8))
    }

    /// Its other half.
    pub fn public(&self) -> PublicKey {
        match &self.pair {
            Pair::EcdsaP256(pair) => {
                PublicKey::new(Algorithm::EcdsaP256, pair.public_key().as_ref())
            }
            Pair::Ed25519(pair) => PublicKey::new(Algorithm::Ed25519, pair.public_key().as_ref()),
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NoRandom> {
        match &self.pair {
            Pair::EcdsaP256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                Ok(signature.map_err(|_| NoRandom)?.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_survive_a_round_trip_and_say_nothing_of_themselves() {
        for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
            assert_eq!(again.public(), key.public());
            let signature = again.sign(b"bytes").unwrap();
            assert!(key.public().verifies(b"bytes", &signature));
            assert!(!key.public().verifies(b"bytez", &signature));
            let shown = format!("{key:?}");
            assert!(shown.contains(&key.public().fingerprint().to_string()));
            assert!(shown.len() < 200, "{shown}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused_with_what_to_do() {
        let public = PrivateKey::generate(Algorithm::Ed25519).unwrap().public();
        for (text, expected) in [
            (public.to_pem(), "the half that verifies"),
            (pem::write("EC PRIVATE KEY", &[1]), "-topk8"),
            (pem::write("ENCRYPTED PRIVATE KEY", &[1]), "-nocrypt"),
            (pem::write("ENCRYPTED SIGSTORE PRIVATE KEY", &[1]), "cosign"),
            (pem::write("PRIVATE KEY", &[0x30, 0]), "neither"),
        ] {
            let error = PrivateKey::from_pem(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}: {expected}");
        }
    }
}
