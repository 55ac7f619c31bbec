//! What Debian's registry does not do: tokens, redirects, lists of referrers, older layouts.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_oci::{Layout, PullError, PullLimits, RegistryError};

use super::server::{Artifact, INDEX, MANIFEST, Reply, Server, WASM};
use super::{Folder, component, credentials, reference, registries, sha256};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("device:secret"))
}

/// A registry that wants a token of a service beside it.
fn with_tokens(artifact: &Artifact) -> (Server, Server) {
    let auth = Server::start(|request| match &request.authorization {
        Some(known) if *known != basic() => Reply::status("401 Unauthorized", ""),
        known => {
            let token = if known.is_some() { "full" } else { "anonymous" };
            Reply::ok(
                "application/json",
                format!(r#"{{"token":"{token}","expires_in":60}}"#),
            )
        }
    });
    let challenge = format!(
        r#"WWW-Authenticate: Bearer realm="http://{}/token",service="test registry",scope="repository:a/filter:pull""#,
        auth.address
    );
    let replies = artifact.replies();
    let registry = Server::start(move |request| match request.authorization.as_deref() {
        Some("Bearer full") => replies[&request.path].clone(),
        _ => Reply::status("401 Unauthorized", &challenge),
    });
    (registry, auth)
}

#[tokio::test]
async fn a_token_is_fetched_for_the_credentials_and_goes_along() {
    let good = Artifact::good();
    let (registry, auth) = with_tokens(&good);
    let (registries, reference) = (registries(None), reference(&registry.address, "a/filter:1"));
    let folder = Folder::fresh();
    let known = credentials("device", "secret");
    let admit = |_: &edge_oci::Claims| Ok(());
    let pulled = registries
        .pull(
            &reference,
            Some(&known),
            PullLimits::default(),
            admit,
            folder.path(),
        )
        .await;
    assert_eq!(pulled.unwrap().manifest, good.digest());
    let asked = auth.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(
        asked[0].path,
        "/token?service=test+registry&scope=repository%3Aa%2Ffilter%3Apull"
    );
    // The password went to the token service alone.
    assert!(
        registry
            .asked()
            .iter()
            .all(|asked| asked.authorization != Some(basic()))
    );

    for (given, user) in [
        (
            Some(credentials("device", "wrong")),
            Some("device".to_owned()),
        ),
        (None, None),
    ] {
        let error = registries
            .resolve(&reference, given.as_ref())
            .await
            .expect_err("refused");
        let PullError::Registry(RegistryError::Unauthorized { user: found, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(*found, user);
        assert!(!error.is_refusal());
    }
}

#[tokio::test]
async fn authorization_does_not_go_to_where_a_registry_redirects_to() {
    let good = Artifact::good();
    let bytes = good.component.clone();
    let store = Server::start(move |_| Reply::ok("x/y", bytes.clone()));
    let (elsewhere, path) = (
        format!("Location: http://{}/blob", store.address),
        good.component_path(),
    );
    let replies = good.replies();
    let registry = Server::start(move |request| match &request.authorization {
        None => Reply::status("401 Unauthorized", r#"WWW-Authenticate: Basic realm="r""#),
        Some(_) if request.path == path => Reply::status("307 Temporary Redirect", &elsewhere),
        Some(_) => replies[&request.path].clone(),
    });
    let folder = Folder::fresh();
    let reference = reference(&registry.address, "a/filter:1");
    let known = credentials("device", "secret");
    let admit = |_: &edge_oci::Claims| Ok(());
    let pulled = registries(None)
        .pull(
            &reference,
            Some(&known),
            PullLimits::default(),
            admit,
            folder.path(),
        )
        .await
        .unwrap();
    assert_eq!(std::fs::read(pulled.file).unwrap(), good.component);
    let asked = store.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
}

#[tokio::test]
async fn a_place_that_is_redirected_to_gets_no_password_by_asking_for_it() {
    let trap = Server::start(|_| {
        Reply::status("401 Unauthorized", r#"WWW-Authenticate: Basic realm="r""#)
    });
    let elsewhere = format!("Location: http://{}/m", trap.address);
    let registry = Server::start(move |_| Reply::status("307 Temporary Redirect", &elsewhere));
    let known = credentials("device", "secret");
    let reference = reference(&registry.address, "a/filter:1");
    let error = registries(None)
        .resolve(&reference, Some(&known))
        .await
        .expect_err("refused");
    assert!(
        matches!(
            error,
            PullError::Registry(RegistryError::Unauthorized { .. })
        ),
        "{error}"
    );
    for asked in trap.asked().iter().chain(&registry.asked()) {
        assert_eq!(asked.authorization, None);
    }
}

#[tokio::test]
async fn older_layouts_are_read_and_claim_nothing() {
    let old = "application/vnd.wasm.config.v1+json";
    for (config, layer, layout) in [
        (EMPTY, WASM, Layout::Bare),
        (
            old,
            "application/vnd.wasm.content.layer.v1+wasm",
            Layout::Old,
        ),
        (
            old,
            "application/vnd.module.wasm.content.layer.v1+wasm",
            Layout::Old,
        ),
    ] {
        let artifact = Artifact::of(component(), "{}".to_owned(), config, layer);
        let (server, folder) = (Server::of(artifact.replies()), Folder::fresh());
        let pulled = folder
            .pull(&registries(None), &reference(&server.address, "a/filter:1"))
            .await
            .unwrap();
        assert_eq!(pulled.claims.layout, layout);
        assert_eq!(pulled.claims.imports, None);
        assert_eq!(std::fs::read(&pulled.file).unwrap(), artifact.component);
        assert_eq!(folder.files(), [pulled.file]);
    }
}

#[tokio::test]
async fn what_is_there_is_not_fetched_again_unless_it_has_rotted() {
    let good = Artifact::good();
    let (server, folder) = (Server::of(good.replies()), Folder::fresh());
    let (registries, reference) = (registries(None), reference(&server.address, "a/filter:1"));
    let times = || {
        let asked = server.asked();
        asked
            .iter()
            .filter(|asked| asked.path == good.component_path())
            .count()
    };
    let first = folder.pull(&registries, &reference).await.unwrap();
    let second = folder.pull(&registries, &reference).await.unwrap();
    assert_eq!((first.clone(), times()), (second, 1));
    std::fs::write(&first.file, "rot").unwrap();
    folder.pull(&registries, &reference).await.unwrap();
    assert_eq!(
        (std::fs::read(&first.file).unwrap(), times()),
        (good.component.clone(), 2)
    );
}

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A manifest that attaches `bytes` to `subject`, its digest and its entry in a list.
fn attachment(
    replies: &mut HashMap<String, Reply>,
    subject: &Artifact,
    kind: &str,
    bytes: &str,
) -> serde_json::Value {
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": {"mediaType": EMPTY, "digest": sha256(b"{}").to_string(), "size": 2},
        "layers": [{"mediaType": kind, "digest": sha256(bytes.as_bytes()).to_string(), "size": bytes.len()}],
        "subject": {"mediaType": MANIFEST, "digest": subject.digest().to_string(), "size": subject.manifest.len()},
        "annotations": {"by": "test"},
    });
    let manifest = manifest.to_string();
    let digest = sha256(manifest.as_bytes());
    let size = manifest.len();
    replies.insert(
        format!("/v2/a/filter/manifests/{digest}"),
        Reply::ok(MANIFEST, manifest),
    );
    replies.insert(
        format!("/v2/a/filter/blobs/{}", sha256(bytes.as_bytes())),
        Reply::ok("x/y", bytes),
    );
    serde_json::json!({"mediaType": MANIFEST, "digest": digest.to_string(), "size": size, "artifactType": kind})
}

fn index(entries: &[serde_json::Value]) -> Reply {
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    Reply::ok(INDEX, index.to_string())
}

#[tokio::test]
async fn referrers_come_from_the_list_of_the_registry_and_damage_is_said() {
    let good = Artifact::good();
    let mut replies = good.replies();
    let one = attachment(&mut replies, &good, BUNDLE, "one");
    let two = attachment(&mut replies, &good, BUNDLE, "two");
    let sbom = attachment(&mut replies, &good, "application/spdx+json", "bill");
    let other = Artifact::of(b"other".to_vec(), "{}".to_owned(), EMPTY, WASM);
    let foreign = attachment(&mut replies, &other, BUNDLE, "of another");
    replies.insert(
        format!("/v2/a/filter/blobs/{}", sha256(b"two")),
        Reply::ok("x/y", "twx"),
    );
    // It does not choose by kind.
    let path = format!(
        "/v2/a/filter/referrers/{}?artifactType=application/vnd.dev.sigstore.bundle.v0.3%2Bjson",
        good.digest()
    );
    replies.insert(path, index(&[one, two, sbom, foreign]));
    let server = Server::of(replies);
    let found = registries(None)
        .referrers(
            &reference(&server.address, "a/filter:1"),
            None,
            &good.digest(),
            BUNDLE,
        )
        .await
        .unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    let first = found[0].as_ref().unwrap();
    assert_eq!((&*first.bytes, &*first.media_type), (&b"one"[..], BUNDLE));
    assert_eq!(first.annotations["by"], "test");
    let error = found[1].as_ref().expect_err("it is damaged");
    assert!(matches!(error, PullError::Digest { .. }), "{error}");
}

#[tokio::test]
async fn without_a_list_of_the_registry_the_one_of_clients_counts() {
    let good = Artifact::good();
    let mut replies = good.replies();
    let entry = attachment(&mut replies, &good, BUNDLE, "one");
    let tag = format!("/v2/a/filter/manifests/sha256-{}", good.digest().hex());
    replies.insert(tag, index(&[entry]));
    let server = Server::of(replies);
    let reference = reference(&server.address, "a/filter:1");
    let find = async |kind| {
        let found = registries(None)
            .referrers(&reference, None, &good.digest(), kind)
            .await;
        found.unwrap().len()
    };
    assert_eq!(find(BUNDLE).await, 1);
    assert_eq!(find("application/spdx+json").await, 0);
}

#[tokio::test]
async fn signatures_of_older_cosign_are_layers_under_a_tag() {
    let good = Artifact::good();
    let payload = r#"{"critical":{}}"#;
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}").to_string(), "size": 2},
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": sha256(payload.as_bytes()).to_string(), "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": "MEUC"},
        }],
    });
    let mut replies = good.replies();
    replies.insert(
        format!("/v2/a/filter/manifests/sha256-{}.sig", good.digest().hex()),
        Reply::ok(MANIFEST, manifest.to_string()),
    );
    replies.insert(
        format!("/v2/a/filter/blobs/{}", sha256(payload.as_bytes())),
        Reply::ok("x/y", payload),
    );
    let server = Server::of(replies);
    let reference = reference(&server.address, "a/filter:1");
    let registries = registries(None);
    let found = registries
        .legacy_signatures(&reference, None, &good.digest())
        .await
        .unwrap();
    let signature = found[0].as_ref().unwrap();
    assert_eq!(signature.bytes, payload);
    assert_eq!(
        signature.annotations["dev.cosignproject.cosign/signature"],
        "MEUC"
    );
    let none = registries
        .legacy_signatures(&reference, None, &sha256(b"unsigned"))
        .await;
    assert!(none.unwrap().is_empty());
}
