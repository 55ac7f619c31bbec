//! What is signed in a registry, through `edge sign` and `edge verify`, with a real registry that somebody
//! has his hands in.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use edge_core::{Digest, Timestamp};
use edge_oci::{AttachOptions, PushOptions, Reference, Registries, RegistriesConfig};
use edge_trust::{PrivateKey, bundle, simple};
use serde_json::{Value, json};

use crate::support::registry::Registry;
use crate::support::{Output, edge};
use crate::world::Pair;

/// A registry with one artifact, and who signs.
struct World {
    registry: Registry,
    dir: tempfile::TempDir,
    pair: Pair,
    tokio: tokio::runtime::Runtime,
    digest: Digest,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self {
            registry: Registry::start(),
            pair: Pair::make(dir.path(), "a", "ecdsa-p256"),
            dir,
            tokio: tokio::runtime::Runtime::new().unwrap(),
            digest: Digest([0; 32]),
        };
        world.digest = world.push(b"a component");
        world
    }

    fn image(&self) -> String {
        format!("{}/filter:1", self.registry.address())
    }

    fn reference(&self) -> Reference {
        Reference::parse(&self.image()).unwrap()
    }

    fn registries(&self) -> Registries {
        Registries::new(RegistriesConfig::default()).unwrap()
    }

    fn push(&self, component: &'static [u8]) -> Digest {
        let options = PushOptions {
            imports: Vec::new(),
            exports: Vec::new(),
            target: None,
            created: Timestamp(0),
            title: None,
            annotations: BTreeMap::new(),
        };
        let (registries, reference) = (self.registries(), self.reference());
        let pushed = registries.push(&reference, None, Bytes::from_static(component), options);
        self.tokio.block_on(pushed).unwrap()
    }

    fn sign(&self, more: &str) -> Output {
        let sign = edge(["sign", "--key"]).arg(&self.pair.private).args(more);
        sign.arg(self.image()).output("").code(0)
    }

    /// Attaches a bundle by hand.
    fn attach(&self, text: String) -> Digest {
        let (registries, reference) = (self.registries(), self.reference());
        let none = BTreeMap::new();
        let options = AttachOptions {
            artifact_type: bundle::MEDIA_TYPE,
            media_type: bundle::MEDIA_TYPE,
            annotations: &none,
        };
        let attached =
            registries.attach(&reference, None, &self.digest, Bytes::from(text), options);
        self.tokio.block_on(attached).unwrap()
    }

    /// Attaches a payload by hand, as cosign 2 did.
    fn attach_legacy(&self, payload: Vec<u8>, annotations: &[(&str, &str)]) {
        let (registries, reference) = (self.registries(), self.reference());
        let annotations = annotations.iter();
        let annotations = annotations.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let attached = registries.attach_legacy(
            &reference,
            None,
            &self.digest,
            Bytes::from(payload),
            simple::MEDIA_TYPE,
            annotations.collect(),
        );
        self.tokio.block_on(attached).unwrap();
    }

    fn verify(&self) -> Output {
        let verify = edge(["verify", "--key"]).arg(&self.pair.public);
        verify.arg(self.image()).output("")
    }

    fn foreign(&self) -> PrivateKey {
        Pair::make(self.dir.path(), "b", "ed25519").key()
    }

    /// Reads a manifest that the registry keeps.
    fn manifest(&self, digest: &str) -> Value {
        serde_json::from_slice(&fs::read(self.registry.blob(digest)).unwrap()).unwrap()
    }
}

/// What `edge sign` printed: the digest of the manifest with the signature.
fn attached(output: &Output) -> String {
    let (_, digest) = output.out.trim().rsplit_once(' ').unwrap();
    digest.to_owned()
}

#[test]
fn what_was_signed_in_a_registry_is_trusted_by_both_ways_of_signing() {
    for (more, form) in [
        ("", "sigstore bundle"),
        ("--legacy", "cosign's simple signing"),
    ] {
        let world = World::new();
        world.verify().code(1).says("found none");
        // Twice: one signature does not take the place of another.
        let once = attached(&world.sign(more));
        assert_ne!(once, attached(&world.sign(more)));
        let output = world.verify().code(0);
        assert!(
            output.out.starts_with(&world.digest.to_string()),
            "{output:#?}"
        );
        assert!(output.out.contains(form), "{output:#?}");
        // By its digest as well as by its tag.
        let pinned = format!("{}@{}", world.image(), world.digest);
        let verify = edge(["verify", "--key"]).arg(&world.pair.public);
        verify.arg(pinned).output("").code(0);
    }
}

#[test]
fn what_cosign_looks_for_is_there() {
    let world = World::new();
    let manifest = world.manifest(&attached(&world.sign("")));
    assert_eq!(manifest["artifactType"], bundle::MEDIA_TYPE);
    assert_eq!(manifest["subject"]["digest"], world.digest.to_string());
    assert_eq!(manifest["layers"][0]["mediaType"], bundle::MEDIA_TYPE);
    let annotations = &manifest["annotations"];
    assert_eq!(annotations["dev.sigstore.bundle.content"], "dsse-envelope");
    assert_eq!(
        annotations["dev.sigstore.bundle.predicateType"],
        "https://sigstore.dev/cosign/sign/v1"
    );
    let manifest = world.manifest(&attached(&world.sign("--legacy")));
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], simple::MEDIA_TYPE);
    assert!(layer["annotations"][simple::SIGNATURE].is_string());
}

#[test]
fn a_tag_that_was_moved_to_something_unsigned_is_refused() {
    let world = World::new();
    world.sign("");
    let other = world.push(b"another component");
    let output = world.verify().code(1).says("found none");
    assert!(output.err.contains(&other.to_string()), "{output:#?}");
}

#[test]
fn what_was_tampered_with_in_a_registry_is_refused_with_the_reason() {
    type Tamper = fn(&World);
    const BY: &str = "expected one by";
    const STATEMENT: &str = "digest in the signed statement: expected sha256:";
    let cases: [(&str, &str, Tamper); 16] = [
        ("nothing", "found none", |_| {}),
        ("another key", BY, |world| {
            let bundle = bundle::sign_digest(&world.foreign(), &world.digest);
            world.attach(bundle.unwrap());
        }),
        ("another digest", STATEMENT, |world| {
            let bundle = bundle::sign_digest(&world.pair.key(), &Digest([7; 32]));
            world.attach(bundle.unwrap());
        }),
        ("over bytes", "which are not at hand", |world| {
            let manifest = fs::read(world.registry.blob(&world.digest.to_string())).unwrap();
            let bundle = bundle::sign_bytes(&world.pair.key(), &manifest);
            world.attach(bundle.unwrap());
        }),
        ("a certificate", "by a certificate chain", |world| {
            let bundle = bundle::sign_digest(&world.pair.key(), &world.digest).unwrap();
            let mut bundle: Value = serde_json::from_str(&bundle).unwrap();
            bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": ""}});
            world.attach(bundle.to_string());
        }),
        ("no bundle", "format of the sigstore bundle", |world| {
            world.attach("{}".to_owned());
        }),
        ("too large", "size of the sigstore bundle", |world| {
            world.attach(" ".repeat(300 << 10));
        }),
        ("bundle's bytes", "expected digest sha256:", |world| {
            let manifest = world.manifest(&attached(&world.sign("")));
            let layer = manifest["layers"][0]["digest"].as_str().unwrap();
            world.registry.tamper(layer);
        }),
        ("bundle's manifest", "content of the signature", |world| {
            let manifest = attached(&world.sign(""));
            let path = world.registry.blob(&manifest);
            let text = fs::read_to_string(&path).unwrap();
            let other = text.replace("dsse-envelope", "dsse-envelopf");
            fs::write(&path, other).unwrap();
        }),
        ("legacy: another key", BY, |world| {
            let image = world.image();
            let signed = simple::sign(&world.foreign(), &image, &world.digest).unwrap();
            let annotations = [(simple::SIGNATURE, &*signed.signature)];
            world.attach_legacy(signed.payload, &annotations);
        }),
        (
            "legacy: another digest",
            "digest in the simple signing payload",
            |world| {
                let key = world.pair.key();
                let signed = simple::sign(&key, "x", &Digest([7; 32])).unwrap();
                let annotations = [(simple::SIGNATURE, &*signed.signature)];
                world.attach_legacy(signed.payload, &annotations);
            },
        ),
        ("legacy: a certificate", "by a certificate chain", |world| {
            let key = world.pair.key();
            let signed = simple::sign(&key, "x", &world.digest).unwrap();
            let annotations = [
                (simple::SIGNATURE, &*signed.signature),
                (simple::CERTIFICATE, "-----BEGIN"),
            ];
            world.attach_legacy(signed.payload, &annotations);
        }),
        ("legacy: payload changed", BY, |world| {
            let key = world.pair.key();
            let signed = simple::sign(&key, "x", &world.digest).unwrap();
            let text = String::from_utf8(signed.payload).unwrap();
            let other = text.replace("\"x\"", "\"y\"");
            let annotations = [(simple::SIGNATURE, &*signed.signature)];
            world.attach_legacy(other.into_bytes(), &annotations);
        }),
        ("legacy: no base64", "expected base64", |world| {
            let key = world.pair.key();
            let signed = simple::sign(&key, "x", &world.digest).unwrap();
            world.attach_legacy(signed.payload, &[(simple::SIGNATURE, "?")]);
        }),
        ("legacy: no signature", "found none", |world| {
            world.attach_legacy(b"{}".to_vec(), &[("other", "?")]);
        }),
        ("legacy: bytes", "expected digest sha256:", |world| {
            let manifest = world.manifest(&attached(&world.sign("--legacy")));
            let layer = manifest["layers"][0]["digest"].as_str().unwrap();
            world.registry.tamper(layer);
        }),
    ];
    let mut wrong = Vec::new();
    for (what, why, tamper) in cases {
        let world = World::new();
        tamper(&world);
        let output = world.verify();
        if output.code != 1 || !output.err.contains(why) || !output.out.is_empty() {
            wrong.push(format!("{what}: not {why:?}: {output:#?}"));
        }
        // One that holds makes up for all that do not.
        if what != "nothing" {
            world.sign("");
            let output = world.verify();
            if output.code != 0 {
                wrong.push(format!("{what}, and a good one: {output:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_registry_that_does_not_answer_is_no_verdict() {
    let mut world = World::new();
    world.sign("");
    world.registry.kill();
    world.verify().code(1).says("cannot be reached");
}
