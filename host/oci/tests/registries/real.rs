//! Against Debian's docker-registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use edge_core::{Digest, Timestamp};
use edge_oci::{
    AttachOptions, Layout, PullError, PushError, PushOptions, Reference, Registries,
    RegistryConfig, RegistryError,
};

use super::registry::{PASSWORD, Protection, Registry, USER};
use super::{Folder, component, credentials, patient, reference, sha256};

fn options() -> PushOptions {
    PushOptions {
        imports: vec!["wasi:io/poll@0.2.6".to_owned()],
        exports: vec!["edge:module/input-handler@0.1.0".to_owned()],
        created: Timestamp(1_700_000_000_000_000_000),
        title: Some("filter.wasm".to_owned()),
        annotations: BTreeMap::from([(
            "org.opencontainers.image.version".to_owned(),
            "1".to_owned(),
        )]),
        ..PushOptions::default()
    }
}

async fn push(registries: &Registries, reference: &Reference) -> Digest {
    registries
        .push(reference, None, component().into(), options())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_pushed_comes_back_with_what_was_said_of_it() {
    let (registry, registries, folder) = (Registry::start(), patient(None), Folder::fresh());
    let reference = reference(registry.address(), "a/filter:1");
    let digest = push(&registries, &reference).await;
    assert_eq!(registries.resolve(&reference, None).await.unwrap(), digest);
    let pulled = folder.pull(&registries, &reference).await.unwrap();
    assert_eq!(
        (pulled.manifest, pulled.component),
        (digest, sha256(&component()))
    );
    assert_eq!(std::fs::read(&pulled.file).unwrap(), component());
    assert_eq!(pulled.claims.layout, Layout::Cncf);
    assert_eq!(pulled.claims.imports, Some(options().imports));
    assert_eq!(pulled.claims.exports, Some(options().exports));
    assert_eq!(pulled.claims.annotations, options().annotations);
    // The registry has it under the digest that we made.
    assert!(registry.blob(&digest.to_string()).exists());
    // The same again is the same.
    assert_eq!(push(&registries, &reference).await, digest);
}

#[tokio::test]
async fn a_pin_stays_when_its_tag_moves() {
    let (registry, registries, folder) = (Registry::start(), patient(None), Folder::fresh());
    let tag = reference(registry.address(), "a/filter:1");
    let first = push(&registries, &tag).await;
    let other = Bytes::from_static(b"another component");
    let second = registries
        .push(&tag, None, other.clone(), options())
        .await
        .unwrap();
    assert_ne!(first, second);
    assert_eq!(registries.resolve(&tag, None).await.unwrap(), second);
    let pulled = folder
        .pull(&registries, &tag.with_digest(first))
        .await
        .unwrap();
    assert_eq!(
        (pulled.manifest, pulled.component),
        (first, sha256(&component()))
    );
    let pushed = registries
        .push(&tag.with_digest(first), None, other, options())
        .await;
    assert!(matches!(pushed, Err(PushError::Pinned(_))), "{pushed:?}");
}

#[tokio::test]
async fn a_password_is_asked_for_and_each_way_of_giving_it_does() {
    let registry = Registry::with_password();
    let reference = reference(registry.address(), "a/filter:1");
    let good = credentials(USER, PASSWORD);
    let nobody = patient(None);
    for (given, user) in [
        (None, None),
        (Some(credentials(USER, "wrong")), Some(USER.to_owned())),
    ] {
        let pushed = nobody
            .push(&reference, given.as_ref(), component().into(), options())
            .await;
        let Err(PushError::Registry(RegistryError::Unauthorized { user: found, .. })) = pushed
        else {
            panic!("{pushed:?}");
        };
        assert_eq!(found, user);
        let resolved = nobody.resolve(&reference, given.as_ref()).await;
        let Err(PullError::Registry(error @ RegistryError::Unauthorized { .. })) = resolved else {
            panic!("{resolved:?}");
        };
        assert!(
            !error.is_refusal() && !error.to_string().contains("wrong\""),
            "{error}"
        );
    }
    let pushed = nobody
        .push(&reference, Some(&good), component().into(), options())
        .await
        .unwrap();
    assert_eq!(
        nobody.resolve(&reference, Some(&good)).await.unwrap(),
        pushed
    );
    let of_settings = patient(Some(RegistryConfig {
        address: registry.address().to_owned(),
        credentials: Some(good),
        ..RegistryConfig::default()
    }));
    let folder = Folder::fresh();
    assert_eq!(
        folder
            .pull(&of_settings, &reference)
            .await
            .unwrap()
            .manifest,
        pushed
    );
}

#[tokio::test]
async fn a_blob_that_was_tampered_with_in_the_registry_is_refused() {
    let (registry, registries, folder) = (Registry::start(), patient(None), Folder::fresh());
    let reference = reference(registry.address(), "a/filter:1");
    push(&registries, &reference).await;
    registry.tamper(&sha256(&component()).to_string());
    let error = folder
        .pull(&registries, &reference)
        .await
        .expect_err("it is another one");
    assert!(
        matches!(error, PullError::Digest { .. }) && error.is_refusal(),
        "{error}"
    );
    assert!(folder.files().is_empty());
}

#[tokio::test]
async fn what_is_attached_is_found_by_its_kind() {
    let (registry, registries) = (Registry::with_password(), patient(None));
    let known = credentials(USER, PASSWORD);
    let reference = reference(registry.address(), "a/filter:1");
    let subject = registries
        .push(&reference, Some(&known), component().into(), options())
        .await
        .unwrap();
    let annotations = BTreeMap::from([("by".to_owned(), "test".to_owned())]);
    let attach = async |kind: &'static str, bytes: &'static str| {
        let options = AttachOptions {
            artifact_type: kind,
            media_type: kind,
            annotations: &annotations,
        };
        registries
            .attach(&reference, Some(&known), &subject, bytes.into(), options)
            .await
    };
    let first = attach("application/vnd.a+json", "one").await.unwrap();
    attach("application/vnd.a+json", "two").await.unwrap();
    attach("application/vnd.b+json", "three").await.unwrap();
    // The same again makes no second entry.
    assert_eq!(
        attach("application/vnd.a+json", "one").await.unwrap(),
        first
    );
    let find = async |kind| {
        let found = registries
            .referrers(&reference, Some(&known), &subject, kind)
            .await;
        let found = found.unwrap().into_iter().map(Result::unwrap);
        found.collect::<Vec<_>>()
    };
    let found = find("application/vnd.a+json").await;
    let bytes: Vec<_> = found.iter().map(|attached| &*attached.bytes).collect();
    assert_eq!(bytes, [b"one", b"two"]);
    assert_eq!(
        (found[0].manifest, &found[0].annotations),
        (first, &annotations)
    );
    assert_eq!(find("application/vnd.b+json").await.len(), 1);
    assert!(find("application/vnd.c+json").await.is_empty());

    registry.tamper(&sha256(b"two").to_string());
    let found = registries
        .referrers(&reference, Some(&known), &subject, "application/vnd.a+json")
        .await
        .unwrap();
    assert!(found[0].is_ok());
    assert!(
        matches!(found[1], Err(PullError::Digest { .. })),
        "{found:?}"
    );

    // Nothing is attached to what is not there.
    let nowhere = sha256(b"nowhere");
    let options = AttachOptions {
        artifact_type: "application/vnd.a+json",
        media_type: "application/vnd.a+json",
        annotations: &annotations,
    };
    let attached = registries
        .attach(&reference, Some(&known), &nowhere, "x".into(), options)
        .await;
    assert!(
        matches!(
            attached,
            Err(PushError::Subject(PullError::NoSuchDigest { .. }))
        ),
        "{attached:?}"
    );
}

#[tokio::test]
async fn a_certificate_of_the_settings_is_trusted_and_no_other() {
    let ca = Authority::new();
    let registry = Registry::protected(Protection {
        tls: Some(ca.issue()),
        ..Protection::default()
    });
    let with = |pem: &str| {
        patient(Some(RegistryConfig {
            address: registry.address().to_owned(),
            ca: Some(pem.as_bytes().to_vec()),
            ..RegistryConfig::default()
        }))
    };
    let (registries, folder) = (with(&ca.pem()), Folder::fresh());
    let reference = reference(registry.address(), "a/filter:1");
    let pushed = push(&registries, &reference).await;
    assert_eq!(
        folder.pull(&registries, &reference).await.unwrap().manifest,
        pushed
    );
    // Two in one file, the right one last.
    let both = with(&format!("{}{}", Authority::new().pem(), ca.pem()));
    assert_eq!(push(&both, &reference).await, pushed);
    let error = with(&Authority::new().pem())
        .resolve(&reference, None)
        .await
        .expect_err("it is not trusted");
    assert!(
        matches!(&error, PullError::Registry(RegistryError::Unreachable { why, .. }) if why.contains("certificate")),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_is_gone_passes() {
    let (mut registry, registries) = (Registry::start(), patient(None));
    let reference = reference(registry.address(), "a/filter:1");
    push(&registries, &reference).await;
    registry.kill();
    let error = registries
        .resolve(&reference, None)
        .await
        .expect_err("it is gone");
    assert!(
        matches!(
            error,
            PullError::Registry(RegistryError::Unreachable { .. })
        ) && !error.is_refusal(),
        "{error}"
    );
}

/// An authority that nobody knows.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for this machine, and its key.
    fn issue(&self) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}
