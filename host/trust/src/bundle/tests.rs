use serde_json::{Value, json};

use super::*;
use crate::{Algorithm, PublicKey};

const BYTES: &[u8] = b"a component";

fn pair() -> (PrivateKey, Vec<TrustedKey>) {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let trusted = trusted(key.public());
    (key, trusted)
}

fn trusted(key: PublicKey) -> Vec<TrustedKey> {
    vec![TrustedKey {
        name: "a.pem".to_owned(),
        key,
    }]
}

fn subject() -> Subject<'static> {
    Subject::of(BYTES)
}

/// A bundle over the bytes, changed.
fn changed(key: &PrivateKey, change: impl Fn(&mut Value)) -> Vec<u8> {
    let bundle = sign_bytes(key, BYTES).unwrap();
    let mut bundle: Value = serde_json::from_str(&bundle).unwrap();
    change(&mut bundle);
    bundle.to_string().into_bytes()
}

/// A signed statement, changed before it is signed.
fn statement(key: &PrivateKey, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "filter", "digest": {"sha256": subject().digest().hex()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {},
    });
    change(&mut statement);
    let payload = statement.to_string();
    let bundle = sign_payload(key, PAYLOAD_TYPE, payload.as_bytes()).unwrap();
    bundle.into_bytes()
}

fn why(bundle: &[u8], keys: &[TrustedKey]) -> String {
    verify(bundle, subject(), keys).unwrap_err().to_string()
}

#[test]
fn bundles_of_both_kinds_and_algorithms_hold() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let keys = trusted(key.public());
        let (bytes, digest) = (
            sign_bytes(&key, BYTES).unwrap(),
            sign_digest(&key, &subject().digest()).unwrap(),
        );
        let of_bytes = verify(bytes.as_bytes(), subject(), &keys).unwrap();
        assert_eq!(of_bytes.form, Form::BundleOfBytes);
        let named = Subject::named(subject().digest());
        let of_digest = verify(digest.as_bytes(), named, &keys).unwrap();
        assert_eq!(of_digest.form, Form::BundleOfStatement);
        assert_eq!(of_digest.digest, subject().digest());
        assert_eq!(of_digest.key, keys[0]);
    }
}

#[test]
fn what_other_tools_add_does_not_matter() {
    let (key, keys) = pair();
    let bundle = changed(&key, |bundle| {
        bundle["verificationMaterial"]["tlogEntries"] = json!([{"logIndex": "1"}]);
        bundle["verificationMaterial"]["publicKey"]["hint"] = json!("somebody");
        bundle["mediaType"] = json!(MEDIA_TYPE_EARLIER);
    });
    verify(&bundle, subject(), &keys).unwrap();
    let bundle = statement(&key, |statement| {
        statement["subject"] = json!([{"digest": {"sha512": "00"}}, statement["subject"][0]]);
        statement["predicate"] = json!({"a": [1]});
    });
    verify(&bundle, subject(), &keys).unwrap();
}

#[test]
fn signatures_by_certificates_are_refused_and_said_to_be_such() {
    let (key, keys) = pair();
    for name in ["certificate", "x509CertificateChain"] {
        let bundle = changed(&key, |bundle| {
            bundle["verificationMaterial"][name] = json!({"rawBytes": "AA=="});
        });
        assert_eq!(
            verify(&bundle, subject(), &keys),
            Err(VerifyError::Certificate)
        );
    }
}

#[test]
fn a_word_about_an_artifact_is_no_word_for_running_it() {
    let (key, keys) = pair();
    let bundle = statement(&key, |statement| {
        statement["predicateType"] = json!("https://spdx.dev/Document");
    });
    let why = why(&bundle, &keys);
    assert_eq!(
        why,
        "predicate type of the signed statement: expected \"https://sigstore.dev/cosign/sign/v1\", \
         found \"https://spdx.dev/Document\""
    );
}

#[test]
fn a_signature_of_something_else_says_of_what() {
    let (key, keys) = pair();
    let other = Digest([7; 32]);
    let bundle = sign_digest(&key, &other).unwrap();
    let expected = VerifyError::Digest {
        what: STATEMENT,
        expected: subject().digest(),
        found: other.to_string(),
    };
    assert_eq!(verify(bundle.as_bytes(), subject(), &keys), Err(expected));
    let bundle = sign_bytes(&key, b"others").unwrap();
    let why = why(bundle.as_bytes(), &keys);
    let digest = sha256(b"others");
    assert!(why.ends_with(&format!("found {digest}")), "{why}");
}

#[test]
fn a_foreign_key_is_no_key_and_no_keys_trust_nobody() {
    let (key, _) = pair();
    let (_, keys) = pair();
    for bundle in [
        sign_bytes(&key, BYTES).unwrap(),
        sign_digest(&key, &subject().digest()).unwrap(),
    ] {
        let why = why(bundle.as_bytes(), &keys);
        assert!(why.contains("expected one by a.pem (sha256:"), "{why}");
        assert_eq!(
            verify(bundle.as_bytes(), subject(), &[]),
            Err(VerifyError::NoKeys)
        );
    }
}

#[test]
fn bundles_that_are_none_are_refused_for_what_they_are() {
    let (key, keys) = pair();
    let envelope = sign_digest(&key, &subject().digest()).unwrap();
    let envelope: Value = serde_json::from_str(&envelope).unwrap();
    let envelope = &envelope["dsseEnvelope"];
    for (bundle, expected) in [
        (vec![b' '; MAX + 1], "size of the sigstore bundle"),
        (b"{".to_vec(), "format of the sigstore bundle"),
        (vec![b'['; 1 << 16], "format of the sigstore bundle"),
        (
            changed(&key, |bundle| bundle["mediaType"] = json!("text/plain")),
            "media type of the bundle: expected",
        ),
        (
            changed(&key, |bundle| bundle["verificationMaterial"] = json!({})),
            "expected a verificationMaterial with publicKey",
        ),
        (
            changed(&key, |bundle| bundle["messageSignature"] = Value::Null),
            "found neither",
        ),
        (
            changed(&key, |bundle| bundle["dsseEnvelope"] = envelope.clone()),
            "found both",
        ),
        (
            changed(&key, |bundle| {
                bundle["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_512");
            }),
            "hash of the bundle's messageDigest: expected \"SHA2_256\"",
        ),
        (
            changed(&key, |bundle| {
                bundle["messageSignature"]["signature"] = json!("no base64");
            }),
            "format of the bundle's signature: expected base64",
        ),
        (
            statement(&key, |statement| statement["_type"] = json!("x")),
            "type of the signed statement",
        ),
        (
            statement(&key, |statement| *statement = json!([])),
            "format of the signed statement",
        ),
        (
            statement(&key, |statement| statement["subject"] = json!([])),
            "digest in the signed statement",
        ),
    ] {
        let why = why(&bundle, &keys);
        assert!(why.contains(expected), "{why} is not {expected}");
    }
}

#[test]
fn envelopes_of_other_payloads_are_refused_though_their_signature_holds() {
    let (key, keys) = pair();
    let bundle = sign_payload(&key, "text/plain", b"{}").unwrap();
    let why = why(bundle.as_bytes(), &keys);
    assert!(why.starts_with("payload type"), "{why}");
}

#[test]
fn a_signature_over_bytes_needs_the_bytes() {
    let (key, keys) = pair();
    let bundle = sign_bytes(&key, BYTES).unwrap();
    let named = Subject::named(subject().digest());
    let error = verify(bundle.as_bytes(), named, &keys).unwrap_err();
    assert_eq!(error, VerifyError::BytesNeeded { what: BUNDLE });
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let (key, keys) = pair();
    let mut bundle: Value =
        serde_json::from_str(&sign_digest(&key, &subject().digest()).unwrap()).unwrap();
    let good = bundle["dsseEnvelope"]["signatures"][0].clone();
    let bad = json!({"sig": "AAAA", "keyid": "x"});
    bundle["dsseEnvelope"]["signatures"] = json!([bad, good]);
    verify(bundle.to_string().as_bytes(), subject(), &keys).unwrap();
    bundle["dsseEnvelope"]["signatures"] = json!([]);
    assert!(why(bundle.to_string().as_bytes(), &keys).contains("1 to 16 signatures"));
}
