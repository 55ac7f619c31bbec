//! Keys and signatures against OpenSSL's: what it makes holds here, and what is made here holds there.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::Digest;
use edge_trust::simple::{self, SimpleSigning};
use edge_trust::{Algorithm, PrivateKey, PublicKey, Subject, TrustedKey, bundle, detached};
use serde_json::{Value, json};

const BYTES: &[u8] = b"a component";

fn openssl(dir: &Path, words: &str) -> Output {
    Command::new("openssl")
        .args(words.split(' '))
        .current_dir(dir)
        .output()
        .expect("openssl is needed for this test: install the package openssl")
}

#[track_caller]
fn done(dir: &Path, words: &str) {
    let output = openssl(dir, words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words}: {errors}");
}

/// A pair that OpenSSL made.
fn foreign(dir: &Path, algorithm: Algorithm) -> (PrivateKey, Vec<TrustedKey>) {
    done(
        dir,
        match algorithm {
            Algorithm::EcdsaP256 => {
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
            }
            Algorithm::Ed25519 => "genpkey -algorithm ed25519 -out key.pem",
        },
    );
    done(dir, "pkey -in key.pem -pubout -out pub.pem");
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let private = PrivateKey::from_pem(&read("key.pem")).unwrap();
    let public = PublicKey::from_pem(&read("pub.pem")).unwrap();
    assert_eq!(private.public(), public);
    assert_eq!(public.algorithm(), algorithm);
    (private, trusted(public))
}

fn trusted(key: PublicKey) -> Vec<TrustedKey> {
    vec![TrustedKey {
        name: "pub.pem".to_owned(),
        key,
    }]
}

/// Signs with OpenSSL and `key.pem`.
fn signature(dir: &Path, algorithm: Algorithm, message: &[u8]) -> String {
    std::fs::write(dir.join("message"), message).unwrap();
    done(
        dir,
        match algorithm {
            Algorithm::EcdsaP256 => "dgst -sha256 -sign key.pem -out sig message",
            Algorithm::Ed25519 => "pkeyutl -sign -rawin -inkey key.pem -in message -out sig",
        },
    );
    STANDARD.encode(std::fs::read(dir.join("sig")).unwrap())
}

/// Checks a signature with OpenSSL and `pub.pem`.
fn holds(dir: &Path, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
    std::fs::write(dir.join("message"), message).unwrap();
    std::fs::write(dir.join("sig"), STANDARD.decode(signature.trim()).unwrap()).unwrap();
    let words = match algorithm {
        Algorithm::EcdsaP256 => "dgst -sha256 -verify pub.pem -signature sig message",
        Algorithm::Ed25519 => {
            "pkeyutl -verify -rawin -pubin -inkey pub.pem -in message -sigfile sig"
        }
    };
    openssl(dir, words).status.success()
}

/// A DSSE envelope's message: `DSSEv1 <length> <type> <length> <payload>`.
fn envelope_message(payload: &str) -> String {
    let kind = "application/vnd.in-toto+json";
    format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len())
}

#[test]
fn what_openssl_signs_holds_here() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (_, keys) = foreign(dir, algorithm);
        let subject = Subject::of(BYTES);
        let digest = subject.digest();

        let signed = signature(dir, algorithm, BYTES);
        detached::verify(signed.as_bytes(), subject, &keys).unwrap();

        let of_bytes = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest.0)},
                "signature": signed,
            },
        });
        bundle::verify(of_bytes.to_string().as_bytes(), subject, &keys).unwrap();

        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.hex()}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        })
        .to_string();
        let message = envelope_message(&statement);
        let of_statement = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&statement),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": signature(dir, algorithm, message.as_bytes())}],
            },
        });
        let named = Subject::named(digest);
        bundle::verify(of_statement.to_string().as_bytes(), named, &keys).unwrap();

        // As cosign 2 puts it together.
        let payload = format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"r.example/filter\"}},\
             \"image\":{{\"docker-manifest-digest\":\"{digest}\"}},\
             \"type\":\"cosign container image signature\"}},\"optional\":{{\"creator\":\"me\"}}}}"
        );
        let signing = SimpleSigning {
            signature: signature(dir, algorithm, payload.as_bytes()),
            payload: payload.into_bytes(),
            by_certificate: false,
        };
        simple::verify(&signing, digest, &keys).unwrap();
    }
}

#[test]
fn what_is_signed_here_holds_for_openssl() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let key = PrivateKey::generate(algorithm).unwrap();
        // OpenSSL reads our pair, and finds the same public half.
        std::fs::write(dir.join("key.pem"), key.to_pem().as_bytes()).unwrap();
        done(dir, "pkey -in key.pem -pubout -out pub.pem");
        let public = std::fs::read_to_string(dir.join("pub.pem")).unwrap();
        assert_eq!(public, key.public().to_pem());

        let alone = detached::sign(&key, BYTES).unwrap();
        assert!(holds(dir, algorithm, BYTES, &alone));
        assert!(!holds(dir, algorithm, b"others", &alone));

        let of_bytes: Value =
            serde_json::from_str(&bundle::sign_bytes(&key, BYTES).unwrap()).unwrap();
        let signature = of_bytes["messageSignature"]["signature"].as_str().unwrap();
        assert!(holds(dir, algorithm, BYTES, signature));

        let digest = Digest([5; 32]);
        let of_statement: Value =
            serde_json::from_str(&bundle::sign_digest(&key, &digest).unwrap()).unwrap();
        let envelope = &of_statement["dsseEnvelope"];
        let payload = STANDARD
            .decode(envelope["payload"].as_str().unwrap())
            .unwrap();
        let payload = String::from_utf8(payload).unwrap();
        assert!(payload.contains(&digest.hex()));
        let signature = envelope["signatures"][0]["sig"].as_str().unwrap();
        let message = envelope_message(&payload);
        assert!(holds(dir, algorithm, message.as_bytes(), signature));

        let signing = simple::sign(&key, "r.example/filter", &digest).unwrap();
        assert!(holds(dir, algorithm, &signing.payload, &signing.signature));
    }
}

#[test]
fn keys_of_other_algorithms_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (make, expected) in [
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
            "found RSA",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
            "found ECDSA on the curve 1.3.132.0.34",
        ),
        (
            "genpkey -algorithm x25519 -out key.pem",
            "found the algorithm 1.3.101.110",
        ),
    ] {
        done(dir, make);
        done(dir, "pkey -in key.pem -pubout -out pub.pem");
        let error = PublicKey::from_pem(&std::fs::read(dir.join("pub.pem")).unwrap()).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        let error = PrivateKey::from_pem(&std::fs::read(dir.join("key.pem")).unwrap()).unwrap_err();
        assert!(error.to_string().contains("neither"), "{error}");
    }
    done(
        dir,
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
    );
    done(
        dir,
        "ec -in key.pem -pubout -conv_form compressed -out pub.pem",
    );
    let error = PublicKey::from_pem(&std::fs::read(dir.join("pub.pem")).unwrap()).unwrap_err();
    assert!(error.to_string().contains("compressed"), "{error}");
}
