//! Sigstore bundles, v0.3 (`application/vnd.dev.sigstore.bundle.v0.3+json`): what cosign 3 writes.
//!
//! ```text
//!   { "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
//!     "verificationMaterial": { "publicKey": { "hint": "…" } },
//!
//!     "messageSignature": { "messageDigest": { "algorithm": "SHA2_256", "digest": base64 },
//!                           "signature": base64 }                            over the bytes: sign-blob
//!  or "dsseEnvelope": { "payloadType": "application/vnd.in-toto+json", "payload": base64,
//!                       "signatures": [ { "sig": base64 } ] } }              over the statement: sign
//!
//!   statement (in-toto)  { "_type": "https://in-toto.io/Statement/v1",
//!                          "subject": [ { "digest": { "sha256": hex } } ],
//!                          "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {} }
//! ```
//!
//! Proofs of logs and timestamps may be in it; they say when, not whether, a key signed, and are passed
//! over. A statement with another predicate is somebody's word about an artifact (what is in it, what was
//! found in it), and no word for running it: it is refused.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::Digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::PrivateKey;
use crate::error::VerifyError;
use crate::key::sha256;
use crate::private::NoRandom;
use crate::verify::{Form, Subject, TrustedKey, Verified, signer};

/// Its media type.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The same version as earlier tools spelt it.
const MEDIA_TYPE_EARLIER: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
/// What a statement says that signs an artifact.
pub const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most bytes of a bundle; with proofs of logs they have some ten thousand.
pub const MAX: usize = 256 << 10;
/// The annotation of an attached bundle that says what is in it.
pub const CONTENT: &str = "dev.sigstore.bundle.content";
/// What [`CONTENT`] says of a bundle over a statement.
pub const CONTENT_STATEMENT: &str = "dsse-envelope";
/// The annotation of an attached bundle that says what its statement is about.
pub const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// How the name of a bundle's file ends, after the whole name of the file that was signed.
pub const SUFFIX: &str = ".sigstore.json";

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const HASH: &str = "SHA2_256";
/// Most signatures of an envelope.
const MAX_SIGNATURES: usize = 16;

const BUNDLE: &str = "sigstore bundle";
const STATEMENT: &str = "signed statement";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
    #[serde(skip_serializing)]
    certificate: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    x509_certificate_chain: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<StatementSubject>,
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct StatementSubject {
    digest: BTreeMap<String, String>,
}

/// Signs bytes, as `cosign sign-blob` does.
///
/// # Errors
/// The system has no random numbers.
pub fn sign_bytes(key: &PrivateKey, bytes: &[u8]) -> Result<String, NoRandom> {
    let message = MessageSignature {
        message_digest: MessageDigest {
            algorithm: HASH.to_owned(),
            digest: STANDARD.encode(sha256(bytes).0),
        },
        signature: STANDARD.encode(key.sign(bytes)?),
    };
    Ok(write(key, Some(message), None))
}

/// Signs what has this digest, as `cosign sign` does.
///
/// # Errors
/// The system has no random numbers.
pub fn sign_digest(key: &PrivateKey, digest: &Digest) -> Result<String, NoRandom> {
    let statement = Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![StatementSubject {
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
        }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: serde_json::Value::Object(serde_json::Map::new()),
    };
    let payload = serde_json::to_vec(&statement).expect("text can be written as JSON");
    sign_payload(key, PAYLOAD_TYPE, &payload)
}

fn sign_payload(key: &PrivateKey, kind: &str, payload: &[u8]) -> Result<String, NoRandom> {
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: kind.to_owned(),
        signatures: vec![EnvelopeSignature {
            sig: STANDARD.encode(key.sign(&encoded(kind, payload))?),
        }],
    };
    Ok(write(key, None, Some(envelope)))
}

fn write(
    key: &PrivateKey,
    message_signature: Option<MessageSignature>,
    dsse_envelope: Option<Envelope>,
) -> String {
    let bundle = Bundle {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: Material {
            public_key: Some(KeyHint {
                hint: STANDARD.encode(key.public().fingerprint().0),
            }),
            certificate: None,
            x509_certificate_chain: None,
        },
        message_signature,
        dsse_envelope,
    };
    serde_json::to_string(&bundle).expect("text can be written as JSON")
}

/// Checks a bundle.
///
/// # Errors
/// The check that it does not pass.
pub fn verify(
    json: &[u8],
    subject: Subject<'_>,
    keys: &[TrustedKey],
) -> Result<Verified, VerifyError> {
    VerifyError::size(BUNDLE, json, MAX)?;
    let bundle: Bundle = serde_json::from_slice(json)
        .map_err(|error| VerifyError::format(BUNDLE, "JSON of a bundle", error))?;
    if bundle.media_type != MEDIA_TYPE_EARLIER {
        VerifyError::kind("media type of the bundle", MEDIA_TYPE, &bundle.media_type)?;
    }
    let material = &bundle.verification_material;
    if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
        return Err(VerifyError::Certificate);
    }
    if material.public_key.is_none() {
        return Err(VerifyError::format(
            BUNDLE,
            "a verificationMaterial with publicKey",
            "none",
        ));
    }
    match (bundle.message_signature, bundle.dsse_envelope) {
        (Some(message), None) => verify_bytes(&message, subject, keys),
        (None, Some(envelope)) => verify_envelope(&envelope, subject, keys),
        (message, _) => Err(VerifyError::format(
            BUNDLE,
            "either a messageSignature or a dsseEnvelope",
            match message {
                Some(_) => "both",
                None => "neither",
            },
        )),
    }
}

fn verify_bytes(
    message: &MessageSignature,
    subject: Subject<'_>,
    keys: &[TrustedKey],
) -> Result<Verified, VerifyError> {
    const WHAT: &str = "bundle's messageDigest";
    let MessageDigest { algorithm, digest } = &message.message_digest;
    VerifyError::kind("hash of the bundle's messageDigest", HASH, algorithm)?;
    let found = base64(WHAT, digest)?;
    if found != subject.digest().0 {
        return Err(VerifyError::Digest {
            what: WHAT,
            expected: subject.digest(),
            found: match <[u8; 32]>::try_from(found) {
                Ok(found) => Digest(found).to_string(),
                Err(found) => format!("{} bytes", found.len()),
            },
        });
    }
    let signature = base64("bundle's signature", &message.signature)?;
    let key = signer("bytes", subject.bytes(BUNDLE)?, &signature, keys)?;
    Ok(Verified {
        digest: subject.digest(),
        key: key.clone(),
        form: Form::BundleOfBytes,
    })
}

fn verify_envelope(
    envelope: &Envelope,
    subject: Subject<'_>,
    keys: &[TrustedKey],
) -> Result<Verified, VerifyError> {
    let signatures = &envelope.signatures;
    if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
        let found = format!("{} signatures", signatures.len());
        return Err(VerifyError::format(
            "bundle's envelope",
            "1 to 16 signatures",
            found,
        ));
    }
    VerifyError::kind(
        "payload type of the bundle's envelope",
        PAYLOAD_TYPE,
        &envelope.payload_type,
    )?;
    let payload = base64("bundle's payload", &envelope.payload)?;
    let message = encoded(&envelope.payload_type, &payload);
    let mut signed = Err(VerifyError::NoKeys);
    for EnvelopeSignature { sig } in signatures {
        let signature = base64("bundle's signature", sig);
        signed = signature.and_then(|signature| signer(STATEMENT, &message, &signature, keys));
        if signed.is_ok() {
            break;
        }
    }
    let key = signed?;
    let statement: Statement = serde_json::from_slice(&payload)
        .map_err(|error| VerifyError::format(STATEMENT, "JSON of in-toto", error))?;
    VerifyError::kind(
        "type of the signed statement",
        STATEMENT_TYPE,
        &statement.kind,
    )?;
    VerifyError::kind(
        "predicate type of the signed statement",
        PREDICATE_TYPE,
        &statement.predicate_type,
    )?;
    let digests = statement.subject.iter();
    let found: Vec<_> = digests
        .map(|subject| subject.digest.get("sha256").map_or("", String::as_str))
        .collect();
    let expected = subject.digest();
    match found.contains(&&*expected.hex()) {
        true => Ok(Verified {
            digest: expected,
            key: key.clone(),
            form: Form::BundleOfStatement,
        }),
        false => Err(VerifyError::Digest {
            what: STATEMENT,
            expected,
            found: match &*found {
                [] => "none".to_owned(),
                found => VerifyError::excerpt(&format!("sha256:{}", found.join(", sha256:"))),
            },
        }),
    }
}

/// What a signature of an envelope is over: DSSE's pre-authentication encoding.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn base64(what: &'static str, text: &str) -> Result<Vec<u8>, VerifyError> {
    let bytes = STANDARD.decode(text);
    bytes.map_err(|error| VerifyError::format(what, "base64", error))
}

#[cfg(test)]
mod tests;
