//! Files and the signatures beside them, through `edge verify`: no device has a part in it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Output, edge};
use crate::world::{How, Pair, Part, Signed, component, flip_file};

/// What is done to a component that was signed this way, and a part of the reason why it is refused then.
struct Case {
    what: String,
    signed: How,
    tamper: Box<dyn Fn(&Signed)>,
    why: &'static str,
}

fn case(
    what: impl Into<String>,
    signed: How,
    why: &'static str,
    tamper: impl Fn(&Signed) + 'static,
) -> Case {
    Case {
        what: what.into(),
        signed,
        why,
        tamper: Box::new(tamper),
    }
}

const MESSAGE_DIGEST: &str = "digest in the bundle's messageDigest: expected sha256:";
const BYTES: &str = "signature of the bytes: expected one by";
const IN_STATEMENT: &str = "digest in the signed statement: expected sha256:";
const STATEMENT: &str = "signature of the signed statement: expected one by";
const PARTS: [usize; 8] = [0, 1, 17, 33, 50, 68, 99, 100];

/// A bit flips.
fn flips() -> Vec<Case> {
    let mut cases = Vec::new();
    for at in PARTS {
        let part = Part(at);
        for (signed, why) in [
            (How::Bytes, MESSAGE_DIGEST),
            (How::Statement, IN_STATEMENT),
            (How::Detached, BYTES),
        ] {
            let tamper = move |signed: &Signed| flip_file(&signed.file, part);
            cases.push(case(
                format!("file, {signed:?}, {at} %"),
                signed,
                why,
                tamper,
            ));
        }
        for (signed, pointer, why) in [
            (How::Bytes, "/messageSignature/signature", BYTES),
            (
                How::Bytes,
                "/messageSignature/messageDigest/digest",
                MESSAGE_DIGEST,
            ),
            (How::Statement, "/dsseEnvelope/payload", STATEMENT),
            (How::Statement, "/dsseEnvelope/signatures/0/sig", STATEMENT),
        ] {
            let tamper = move |signed: &Signed| signed.flip_in(pointer, part);
            cases.push(case(format!("{pointer}, {at} %"), signed, why, tamper));
        }
    }
    cases
}

/// The file is another one, or its signature is.
fn swaps() -> Vec<Case> {
    vec![
        case("cut short", How::Bytes, MESSAGE_DIGEST, |signed| {
            let bytes = component();
            fs::write(&signed.file, &bytes[..bytes.len() - 1]).unwrap();
        }),
        case("made longer", How::Bytes, MESSAGE_DIGEST, |signed| {
            let bytes = [component(), vec![0]].concat();
            fs::write(&signed.file, bytes).unwrap();
        }),
        case("emptied", How::Statement, IN_STATEMENT, |signed| {
            fs::write(&signed.file, "").unwrap();
        }),
        case("another component", How::Bytes, MESSAGE_DIGEST, |signed| {
            fs::copy(crate::support::sample("aggregator"), &signed.file).unwrap();
        }),
        case(
            "another component, and the digest corrected",
            How::Bytes,
            BYTES,
            |signed| {
                let other = fs::read(crate::support::sample("aggregator")).unwrap();
                fs::write(&signed.file, &other).unwrap();
                let foreign = Pair::make(signed.dir.path(), "b", "ecdsa-p256");
                let bundle = edge_trust::bundle::sign_bytes(&foreign.key(), &other).unwrap();
                let foreign: Value = serde_json::from_str(&bundle).unwrap();
                signed.change(|bundle| {
                    let digest = &foreign["messageSignature"]["messageDigest"];
                    bundle["messageSignature"]["messageDigest"] = digest.clone();
                });
            },
        ),
        case(
            "the bundle of another",
            How::Bytes,
            MESSAGE_DIGEST,
            |signed| {
                let other = fs::read(crate::support::sample("aggregator")).unwrap();
                let bundle = edge_trust::bundle::sign_bytes(&signed.pair.key(), &other).unwrap();
                fs::write(signed.bundle(), bundle).unwrap();
            },
        ),
        case(
            "the statement of another",
            How::Statement,
            IN_STATEMENT,
            |signed| {
                signed.state(|statement| {
                    statement["subject"] = json!([{"digest": {"sha256": "00".repeat(32)}}]);
                });
            },
        ),
        case(
            "the signature alone of another",
            How::Detached,
            BYTES,
            |signed| {
                let text = edge_trust::detached::sign(&signed.pair.key(), b"others").unwrap();
                fs::write(signed.alone(), text).unwrap();
            },
        ),
    ]
}

/// Somebody else has signed, or nobody.
fn signers() -> Vec<Case> {
    let by = |algorithm: &'static str, how: How| {
        move |signed: &Signed| {
            let pair = Pair::make(signed.dir.path(), "b", algorithm);
            let (key, bytes) = (pair.key(), component());
            let digest = edge_trust::Subject::of(&bytes).digest();
            match how {
                How::Bytes => {
                    let bundle = edge_trust::bundle::sign_bytes(&key, &bytes).unwrap();
                    fs::write(signed.bundle(), bundle).unwrap();
                }
                How::Statement => {
                    let bundle = edge_trust::bundle::sign_digest(&key, &digest).unwrap();
                    fs::write(signed.bundle(), bundle).unwrap();
                }
                How::Detached => {
                    let text = edge_trust::detached::sign(&key, &bytes).unwrap();
                    fs::write(signed.alone(), text).unwrap();
                }
            }
        }
    };
    let mut cases = Vec::new();
    for algorithm in ["ecdsa-p256", "ed25519"] {
        for (how, why) in [
            (How::Bytes, BYTES),
            (How::Statement, STATEMENT),
            (How::Detached, BYTES),
        ] {
            let what = format!("another key, {algorithm}, {how:?}");
            cases.push(case(what, how, why, by(algorithm, how)));
        }
    }
    cases.push(case(
        "no signature",
        How::Bytes,
        "expected one by",
        |signed| fs::remove_file(signed.bundle()).unwrap(),
    ));
    cases.push(case(
        "the signature of another name",
        How::Bytes,
        "found none",
        |signed| fs::rename(signed.bundle(), signed.dir.path().join("x.sigstore.json")).unwrap(),
    ));
    cases
}

/// What is signed, or around it, says something else.
fn claims() -> Vec<Case> {
    let changed = |what: &str, why, change: fn(&mut Value)| {
        case(what, How::Bytes, why, move |signed| signed.change(change))
    };
    let stated = |what: &str, why, change: fn(&mut Value)| {
        case(what, How::Statement, why, move |signed| {
            signed.state(change)
        })
    };
    vec![
        changed(
            "certificate",
            "found one by a certificate chain",
            |bundle| {
                bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": "AAAA"}});
            },
        ),
        changed("chain", "found one by a certificate chain", |bundle| {
            bundle["verificationMaterial"]["x509CertificateChain"] = json!({"certificates": []});
        }),
        changed(
            "no key",
            "a verificationMaterial with publicKey",
            |bundle| {
                bundle["verificationMaterial"] = json!({});
            },
        ),
        changed("version", "media type of the bundle", |bundle| {
            bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v9+json".into();
        }),
        changed("hash", "hash of the bundle's messageDigest", |bundle| {
            bundle["messageSignature"]["messageDigest"]["algorithm"] = "MD5".into();
        }),
        changed("short digest", "found 4 bytes", |bundle| {
            bundle["messageSignature"]["messageDigest"]["digest"] = "AAAAAA==".into();
        }),
        changed("empty signature", BYTES, |bundle| {
            bundle["messageSignature"]["signature"] = "".into();
        }),
        changed("no base64", "expected base64", |bundle| {
            bundle["messageSignature"]["signature"] = "?".into();
        }),
        changed("nothing signed", "found neither", |bundle| {
            bundle.as_object_mut().unwrap().remove("messageSignature");
        }),
        changed("both", "found both", |bundle| {
            bundle["dsseEnvelope"] = json!({
                "payload": "", "payloadType": "", "signatures": [{"sig": ""}],
            });
        }),
        stated(
            "predicate",
            "predicate type of the signed statement",
            |it| {
                it["predicateType"] = "https://slsa.dev/provenance/v1".into();
            },
        ),
        stated("type", "type of the signed statement", |it| {
            it["_type"] = "https://in-toto.io/Statement/v9".into();
        }),
        stated("no subject", "found none", |it| it["subject"] = json!([])),
        stated("other hash", IN_STATEMENT, |it| {
            let hex = it["subject"][0]["digest"]["sha256"].clone();
            it["subject"] = json!([{"digest": {"sha512": hex}}]);
        }),
        stated("no statement", "JSON of in-toto", |it| *it = json!("x")),
        case("payload type", How::Statement, "payload type", |signed| {
            signed.change(|bundle| bundle["dsseEnvelope"]["payloadType"] = "text/plain".into());
        }),
        case(
            "no signatures",
            How::Statement,
            "1 to 16 signatures",
            |signed| {
                signed.change(|bundle| bundle["dsseEnvelope"]["signatures"] = json!([]));
            },
        ),
        case(
            "no JSON",
            How::Bytes,
            "format of the sigstore bundle",
            |signed| {
                fs::write(signed.bundle(), "{").unwrap();
            },
        ),
        case(
            "too large",
            How::Bytes,
            "size of the sigstore bundle",
            |signed| {
                fs::write(signed.bundle(), vec![b' '; 300 << 10]).unwrap();
            },
        ),
        case(
            "no base64, alone",
            How::Detached,
            "expected base64",
            |signed| {
                fs::write(signed.alone(), "{}").unwrap();
            },
        ),
        case(
            "too large, alone",
            How::Detached,
            "size of the detached",
            |signed| {
                fs::write(signed.alone(), vec![b'A'; 8 << 10]).unwrap();
            },
        ),
    ]
}

fn verify(signed: &Signed) -> Output {
    let verify = edge(["verify", "--key"]).arg(&signed.pair.public);
    verify.arg(&signed.file).output("")
}

#[test]
fn what_was_signed_is_trusted_however_it_was_signed() {
    for how in [How::Bytes, How::Statement, How::Detached] {
        let output = verify(&Signed::new(how)).code(0);
        let digest = edge_trust::Subject::of(&component()).digest();
        assert!(output.out.starts_with(&digest.to_string()), "{output:#?}");
        assert!(output.out.contains("a.pub.pem (sha256:"), "{output:#?}");
    }
}

#[test]
fn what_was_tampered_with_is_refused_with_the_reason() {
    let cases: Vec<_> = [flips(), swaps(), signers(), claims()]
        .into_iter()
        .flatten()
        .collect();
    assert!(cases.len() >= 90, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let signed = Signed::new(case.signed);
        (case.tamper)(&signed);
        let output = verify(&signed);
        if output.code != 1 || !output.err.contains(case.why) || !output.out.is_empty() {
            wrong.push(format!("{}: not {:?}: {output:#?}", case.what, case.why));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn any_of_several_keys_will_do() {
    let signed = Signed::new(How::Bytes);
    let other = Pair::make(signed.dir.path(), "b", "ed25519");
    let output = edge(["verify", "--key"])
        .arg(&other.public)
        .arg("--key")
        .arg(&signed.pair.public)
        .arg(&signed.file)
        .output("")
        .code(0);
    assert!(output.out.contains("a.pub.pem"), "{output:#?}");
}

#[test]
fn keys_are_not_written_over_and_the_private_one_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path(), "a", "ed25519");
    let mode = fs::metadata(&pair.private).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&pair.private).unwrap();
    let again = edge(["key"]).arg(&pair.private).arg(&pair.public);
    again.output("").code(2).says("make key file");
    assert_eq!(fs::read(&pair.private).unwrap(), before);
    // The wrong half of the two says so.
    let sign = edge(["sign", "--key"]).arg(&pair.public).arg(&pair.private);
    sign.output("").code(2).says("the half that verifies");
    let verify = edge(["verify", "--key"]).arg(&pair.private);
    let verify = verify.arg(&pair.public).output("").code(2);
    verify.says("the half that signs");
}
