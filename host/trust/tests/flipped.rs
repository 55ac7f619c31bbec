//! Whatever byte is flipped, of what was signed, of the signature, of the digest or of the key: refused.

#![allow(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::Digest;
use edge_trust::{
    Algorithm, PrivateKey, PublicKey, Signature, Subject, TrustedKey, VerifyError, bundle, check,
    detached, simple,
};
use proptest::prelude::*;
use serde_json::Value;

const BYTES: &[u8] = b"a component";

fn trusted(key: PublicKey) -> Vec<TrustedKey> {
    vec![TrustedKey {
        name: "a.pem".to_owned(),
        key,
    }]
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::EcdsaP256), Just(Algorithm::Ed25519)]
}

/// A byte somewhere, and how it changes.
fn flip() -> impl Strategy<Value = (prop::sample::Index, u8)> {
    (any::<prop::sample::Index>(), 1..=255_u8)
}

fn flipped(bytes: &[u8], (at, by): (prop::sample::Index, u8)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= by;
    bytes
}

/// Flips a byte of base64's content, in a document.
fn flip_in(json: &str, pointer: &str, flip: (prop::sample::Index, u8)) -> Vec<u8> {
    let mut json: Value = serde_json::from_str(json).unwrap();
    let text = json.pointer_mut(pointer).unwrap();
    let bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
    *text = STANDARD.encode(flipped(&bytes, flip)).into();
    json.to_string().into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn of_a_bundle_over_bytes(algorithm in algorithm(), flip in flip()) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let keys = trusted(key.public());
        let made = bundle::sign_bytes(&key, BYTES).unwrap();
        bundle::verify(made.as_bytes(), Subject::of(BYTES), &keys).unwrap();
        let signature = flip_in(&made, "/messageSignature/signature", flip);
        let found = bundle::verify(&signature, Subject::of(BYTES), &keys);
        prop_assert!(matches!(found, Err(VerifyError::Signature { .. })), "{found:?}");
        let digest = flip_in(&made, "/messageSignature/messageDigest/digest", flip);
        let found = bundle::verify(&digest, Subject::of(BYTES), &keys);
        prop_assert!(matches!(found, Err(VerifyError::Digest { .. })), "{found:?}");
        let bytes = flipped(BYTES, flip);
        let found = bundle::verify(made.as_bytes(), Subject::of(&bytes), &keys);
        prop_assert!(matches!(found, Err(VerifyError::Digest { .. })), "{found:?}");
        // Somebody who corrects the digest as well.
        let mut corrected: Value = serde_json::from_str(&made).unwrap();
        corrected["messageSignature"]["messageDigest"]["digest"] =
            STANDARD.encode(Subject::of(&bytes).digest().0).into();
        let found = bundle::verify(corrected.to_string().as_bytes(), Subject::of(&bytes), &keys);
        prop_assert!(matches!(found, Err(VerifyError::Signature { .. })), "{found:?}");
    }

    #[test]
    fn of_a_bundle_over_a_statement(algorithm in algorithm(), flip in flip()) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let keys = trusted(key.public());
        let digest = Subject::of(BYTES).digest();
        let made = bundle::sign_digest(&key, &digest).unwrap();
        bundle::verify(made.as_bytes(), Subject::named(digest), &keys).unwrap();
        for part in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
            let changed = flip_in(&made, part, flip);
            let found = bundle::verify(&changed, Subject::named(digest), &keys);
            prop_assert!(matches!(found, Err(VerifyError::Signature { .. })), "{found:?}");
        }
        let other = Digest(flipped(&digest.0, flip).try_into().unwrap());
        let found = bundle::verify(made.as_bytes(), Subject::named(other), &keys);
        prop_assert!(matches!(found, Err(VerifyError::Digest { .. })), "{found:?}");
    }

    #[test]
    fn of_simple_signing_and_detached_signatures(algorithm in algorithm(), flip in flip()) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let keys = trusted(key.public());
        let digest = Subject::of(BYTES).digest();
        let good = simple::sign(&key, "r.example/filter", &digest).unwrap();
        simple::verify(&good, digest, &keys).unwrap();
        let mut bad = good.clone();
        bad.payload = flipped(&good.payload, flip);
        prop_assert!(simple::verify(&bad, digest, &keys).is_err());
        let mut bad = good.clone();
        let signature = STANDARD.decode(&good.signature).unwrap();
        bad.signature = STANDARD.encode(flipped(&signature, flip));
        prop_assert!(simple::verify(&bad, digest, &keys).is_err());
        let other = Digest(flipped(&digest.0, flip).try_into().unwrap());
        let found = simple::verify(&good, other, &keys);
        prop_assert!(matches!(found, Err(VerifyError::Digest { .. })), "{found:?}");

        let good = detached::sign(&key, BYTES).unwrap();
        detached::verify(good.as_bytes(), Subject::of(BYTES), &keys).unwrap();
        let signature = STANDARD.decode(good.trim()).unwrap();
        let bad = STANDARD.encode(flipped(&signature, flip));
        prop_assert!(detached::verify(bad.as_bytes(), Subject::of(BYTES), &keys).is_err());
        let bytes = flipped(BYTES, flip);
        prop_assert!(detached::verify(good.as_bytes(), Subject::of(&bytes), &keys).is_err());
    }

    #[test]
    fn of_a_key(algorithm in algorithm(), flip in flip()) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let made = bundle::sign_bytes(&key, BYTES).unwrap();
        // It is no key any more, or another one.
        if let Ok(other) = PublicKey::from_der(&flipped(&key.public().to_der(), flip)) {
            prop_assert_ne!(other.fingerprint(), key.public().fingerprint());
            let found = bundle::verify(made.as_bytes(), Subject::of(BYTES), &trusted(other));
            prop_assert!(matches!(found, Err(VerifyError::Signature { .. })), "{found:?}");
        }
    }

    /// What is flipped in the text of a bundle either takes away what it is, or is in a part that says
    /// nothing (the hint).
    #[test]
    fn of_the_text_of_a_bundle(statement: bool, flip in flip()) {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let keys = trusted(key.public());
        let subject = Subject::of(BYTES);
        let made = match statement {
            true => bundle::sign_digest(&key, &subject.digest()).unwrap(),
            false => bundle::sign_bytes(&key, BYTES).unwrap(),
        };
        let changed = flipped(made.as_bytes(), flip);
        if let Ok(verified) = bundle::verify(&changed, subject, &keys) {
            prop_assert_eq!(verified.digest, subject.digest());
            let at = flip.0.index(made.len());
            let hint = made.find("\"hint\"").unwrap()..=made.find("\"}}").unwrap_or(made.len());
            let hint_end = made[made.find("\"hint\"").unwrap()..].find('}').unwrap();
            let hint_end = hint.start() + hint_end;
            prop_assert!((*hint.start()..hint_end).contains(&at), "byte {at} of {made}");
        }
    }

    #[test]
    fn whatever_is_given_as_a_signature_or_a_key_never_panics(bytes: Vec<u8>) {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let keys = trusted(key.public());
        let found = [
            ("a".to_owned(), Signature::Bundle(bytes.clone())),
            ("b".to_owned(), Signature::Detached(bytes.clone())),
            ("c".to_owned(), Signature::Simple(simple::SimpleSigning {
                payload: bytes.clone(),
                signature: String::from_utf8_lossy(&bytes).into_owned(),
                by_certificate: false,
            })),
        ];
        prop_assert!(check(&found, Subject::of(BYTES), &keys).is_err());
        prop_assert!(PublicKey::from_pem(&bytes).is_err());
        prop_assert!(PublicKey::from_der(&bytes).is_err());
        prop_assert!(PrivateKey::from_pem(&bytes).is_err());
    }
}
