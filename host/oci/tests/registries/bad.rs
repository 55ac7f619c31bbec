//! Registries that stall, lie, or send too much. Whatever they do, nothing is left in the folder.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use edge_oci::{PullError, PullLimits, RegistryError};

use super::server::{Artifact, INDEX, MANIFEST, Reply, Server, Then};
use super::{Folder, STALL, reference, registries, sha256};

/// Pulls from a registry that answers so, and gives the error.
async fn refused(replies: HashMap<String, Reply>, rest: &str) -> PullError {
    let (server, folder) = (Server::of(replies), Folder::fresh());
    let pulled = folder
        .pull(&registries(None), &reference(&server.address, rest))
        .await;
    let error = pulled.expect_err("it is bad");
    assert_eq!(folder.files(), Vec::<std::path::PathBuf>::new(), "{error}");
    error
}

/// A good registry but for one answer.
async fn with(path: String, reply: Reply) -> PullError {
    let mut replies = Artifact::good().replies();
    replies.insert(path, reply);
    refused(replies, "a/filter:1").await
}

#[tokio::test]
async fn a_bit_that_is_flipped_anywhere_is_found_out() {
    let good = Artifact::good();
    let pinned = format!("a/filter@{}", good.digest());
    for place in 0..10 {
        let flip = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = place * (bytes.len() - 1) / 9;
            bytes[at] ^= 1 << (place % 8);
            bytes
        };
        let mut replies = good.replies();
        replies.insert(
            good.pinned_path(),
            Reply::ok(MANIFEST, flip(&good.manifest)),
        );
        let error = refused(replies, &pinned).await;
        assert!(
            matches!(error, PullError::Pin { expected, .. } if expected == good.digest()),
            "{error}"
        );
        let error = with(good.config_path(), Reply::ok("x/y", flip(&good.config))).await;
        assert!(error.is_refusal(), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("config of") && message.contains("expected digest"),
            "{message}"
        );
        let error = with(
            good.component_path(),
            Reply::ok("x/y", flip(&good.component)),
        )
        .await;
        assert!(error.is_refusal(), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("component of") && message.contains("expected digest"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn parts_of_another_size_than_named_are_refused() {
    let good = Artifact::good();
    let longer = |bytes: &[u8]| [bytes, b" "].concat();
    for (path, bytes) in [
        (good.config_path(), longer(&good.config)),
        (good.config_path(), good.config[1..].to_vec()),
        (good.component_path(), longer(&good.component)),
        (good.component_path(), good.component[1..].to_vec()),
        (good.component_path(), Vec::new()),
    ] {
        let error = with(path, Reply::ok("x/y", bytes)).await;
        assert!(matches!(error, PullError::Size { .. }), "{error}");
        assert!(error.is_refusal());
    }
}

#[tokio::test]
async fn what_has_no_end_is_cut_off() {
    let good = Artifact::good();
    for path in [
        good.manifest_path(),
        good.config_path(),
        good.component_path(),
    ] {
        let reply = Reply::ok(MANIFEST, "").unbounded(Then::Flood);
        let error = with(path, reply).await;
        assert!(
            matches!(
                error,
                PullError::Registry(RegistryError::TooLarge { .. }) | PullError::Size { .. }
            ),
            "{error}"
        );
        assert!(error.is_refusal());
    }
    // Nor do complaints take more than a line.
    let mut reply = Reply::ok("text/html", "").unbounded(Then::Flood);
    reply.head = "HTTP/1.1 500 Oh\r\n".to_owned();
    let error = with(good.manifest_path(), reply).await;
    assert!(
        matches!(
            error,
            PullError::Registry(RegistryError::Status { status: 500, .. })
        ),
        "{error}"
    );
    assert!(
        !error.is_refusal() && error.to_string().len() < 500,
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_stalls_is_an_error_and_no_hang() {
    let good = Artifact::good();
    let all = [
        (good.manifest_path(), good.manifest.clone()),
        (good.config_path(), good.config.clone()),
        (good.component_path(), good.component.clone()),
    ];
    for (path, bytes) in all {
        let half = bytes.len() / 2;
        let whole = Reply::ok(MANIFEST, bytes);
        let mut mute = whole.clone().cut(0, Then::Silence);
        mute.head.clear();
        for reply in [mute, whole.cut(half, Then::Silence)] {
            let started = Instant::now();
            let error = with(path.clone(), reply).await;
            assert!(
                matches!(error, PullError::Registry(RegistryError::Stalled { .. })),
                "{error}"
            );
            assert!(!error.is_refusal());
            assert!(started.elapsed() >= STALL, "{error}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_passes() {
    let good = Artifact::good();
    let half = Reply::ok("x/y", good.component.clone()).cut(good.component.len() / 2, Then::Close);
    let error = with(good.component_path(), half).await;
    assert!(
        matches!(
            error,
            PullError::Registry(RegistryError::Unreachable { .. })
        ),
        "{error}"
    );
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn what_is_not_there_is_refused_only_if_it_is_pinned() {
    let error = refused(HashMap::new(), "a/filter:1").await;
    assert!(
        matches!(error, PullError::Registry(RegistryError::NotFound { .. })),
        "{error}"
    );
    assert!(!error.is_refusal());
    let digest = sha256(b"another");
    let error = refused(HashMap::new(), &format!("a/filter:1@{digest}")).await;
    assert!(
        matches!(error, PullError::NoSuchDigest { expected, .. } if expected == digest),
        "{error}"
    );
    assert!(error.is_refusal());
}

#[tokio::test]
async fn the_digest_is_a_hash_of_what_came_and_never_a_header() {
    let good = Artifact::good();
    let lie = sha256(b"a lie");
    let mut reply = Reply::ok(MANIFEST, good.manifest.clone());
    reply.head += &format!("Docker-Content-Digest: {lie}\r\n");
    let mut replies = good.replies();
    replies.insert(good.manifest_path(), reply.clone());
    replies.insert(format!("/v2/a/filter/manifests/{lie}"), reply);
    let server = Server::of(replies.clone());
    let found = registries(None)
        .resolve(&reference(&server.address, "a/filter:1"), None)
        .await;
    assert_eq!(found.unwrap(), good.digest());
    let error = refused(replies, &format!("a/filter@{lie}")).await;
    assert!(
        matches!(error, PullError::Pin { expected, found, .. } if expected == lie && found == good.digest()),
        "{error}"
    );
}

#[tokio::test]
async fn an_index_is_no_component() {
    let body = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let error = with(Artifact::good().manifest_path(), Reply::ok(INDEX, body)).await;
    assert!(matches!(error, PullError::MediaType { .. }), "{error}");
    assert!(error.to_string().contains(INDEX), "{error}");
}

#[tokio::test]
async fn what_is_not_admitted_is_not_fetched() {
    let good = Artifact::good();
    let (server, folder) = (Server::of(good.replies()), Folder::fresh());
    let reference = reference(&server.address, "a/filter:1");
    let mut claimed = None;
    let admit = |claims: &edge_oci::Claims| {
        claimed.clone_from(&claims.imports);
        Err("imports what is not granted".to_owned())
    };
    let error = registries(None)
        .pull(
            &reference,
            None,
            PullLimits::default(),
            admit,
            folder.path(),
        )
        .await
        .expect_err("it is not admitted");
    assert!(
        matches!(error, PullError::NotAdmitted { .. }) && error.is_refusal(),
        "{error}"
    );
    assert_eq!(claimed.unwrap(), ["wasi:io/poll@0.2.6"]);
    assert!(!server.was_asked_for(&good.component_path()));
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_nothing() {
    let good = Artifact::good();
    let mut replies = good.replies();
    let half =
        Reply::ok("x/y", good.component.clone()).cut(good.component.len() / 2, Then::Silence);
    replies.insert(good.component_path(), half);
    let (server, folder) = (Server::of(replies), Folder::fresh());
    let registries = super::patient(None);
    let reference = reference(&server.address, "a/filter:1");
    // Given up when part of the component is in a file.
    let pull = folder.pull(&registries, &reference);
    tokio::select! {
        pulled = pull => panic!("{pulled:?}"),
        () = until(|| !folder.files().is_empty()) => {}
    }
    until(|| folder.files().is_empty()).await;
}

async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
