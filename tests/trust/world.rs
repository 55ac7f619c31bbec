//! Somebody who signs, a signed component, and ways to tamper with either.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_trust::{PrivateKey, bundle, detached};
use serde_json::{Value, json};

use crate::support::edge;

/// A pair of keys that `edge key` made.
pub struct Pair {
    pub private: PathBuf,
    pub public: PathBuf,
}

impl Pair {
    pub fn make(dir: &Path, name: &str, algorithm: &str) -> Self {
        let (private, public) = (
            dir.join(format!("{name}.pem")),
            dir.join(format!("{name}.pub.pem")),
        );
        edge(["key", "--algorithm", algorithm])
            .arg(&private)
            .arg(&public)
            .output("")
            .code(0);
        Self { private, public }
    }

    pub fn key(&self) -> PrivateKey {
        PrivateKey::from_pem(&fs::read(&self.private).unwrap()).unwrap()
    }
}

/// How a file is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A bundle over the bytes, by `edge sign`.
    Bytes,
    /// A bundle over a statement.
    Statement,
    /// A signature alone.
    Detached,
}

/// A component, its signature, and the pair that made it.
pub struct Signed {
    pub dir: tempfile::TempDir,
    pub pair: Pair,
    pub file: PathBuf,
}

impl Signed {
    pub fn new(how: How) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = Pair::make(dir.path(), "a", "ecdsa-p256");
        let file = dir.path().join("filter.wasm");
        fs::write(&file, component()).unwrap();
        let signed = Self { dir, pair, file };
        signed.sign(how);
        signed
    }

    pub fn sign(&self, how: How) {
        let key = self.pair.key();
        match how {
            How::Bytes => {
                let sign = edge(["sign", "--key"]).arg(&self.pair.private);
                sign.arg(&self.file).output("").code(0);
            }
            How::Statement => {
                let digest = edge_trust::Subject::of(&component()).digest();
                let bundle = bundle::sign_digest(&key, &digest).unwrap();
                fs::write(self.bundle(), bundle).unwrap();
            }
            How::Detached => {
                let text = detached::sign(&key, &component()).unwrap();
                fs::write(self.alone(), text).unwrap();
            }
        }
    }

    pub fn bundle(&self) -> PathBuf {
        self.dir.path().join("filter.wasm.sigstore.json")
    }

    pub fn alone(&self) -> PathBuf {
        self.dir.path().join("filter.wasm.sig")
    }

    /// Changes what the bundle says.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let text = fs::read(self.bundle()).unwrap();
        let mut bundle = serde_json::from_slice(&text).unwrap();
        change(&mut bundle);
        fs::write(self.bundle(), bundle.to_string()).unwrap();
    }

    /// Flips a bit of base64's content.
    pub fn flip_in(&self, pointer: &str, part: Part) {
        self.change(|bundle| {
            let text = bundle.pointer_mut(pointer).unwrap();
            let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
            flip(&mut bytes, part);
            *text = STANDARD.encode(bytes).into();
        });
    }

    /// A signed statement that says something else.
    pub fn state(&self, change: impl FnOnce(&mut Value)) {
        let digest = edge_trust::Subject::of(&component()).digest();
        let mut statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.hex()}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        });
        change(&mut statement);
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = self.pair.key().sign(message.as_bytes()).unwrap();
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{"sig": STANDARD.encode(signature)}],
            },
        });
        fs::write(self.bundle(), bundle.to_string()).unwrap();
    }
}

/// Which of some bytes, in 1/100 of their length.
#[derive(Debug, Clone, Copy)]
pub struct Part(pub usize);

/// Flips one bit.
pub fn flip(bytes: &mut [u8], Part(part): Part) {
    let at = part * (bytes.len() - 1) / 100;
    bytes[at] ^= 1 << (part % 8);
}

/// Flips one bit of a file.
pub fn flip_file(path: &Path, part: Part) {
    let mut bytes = fs::read(path).unwrap();
    flip(&mut bytes, part);
    fs::write(path, bytes).unwrap();
}

/// The bytes of a real component.
pub fn component() -> Vec<u8> {
    fs::read(crate::support::sample("filter")).unwrap()
}
