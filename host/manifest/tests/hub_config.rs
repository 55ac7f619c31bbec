//! The routing language's vectors of the kind `hub_config`: documents of `$edgeHub` that are accepted
//! or refused as a whole.
//!
//! `EDGE_ROUTING_VECTORS` names another file of vectors.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use edge_core::Priority;
use edge_manifest::check_hub_config;
use edge_route::Mode;
use serde_json::Value;

#[test]
fn hub_configs_are_accepted_and_refused_as_the_vectors_say() {
    let path = std::env::var_os("EDGE_ROUTING_VECTORS").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../route/tests/vectors.json"
            ))
        },
        PathBuf::from,
    );
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut ran = 0;
    let mut failures = Vec::new();
    for vector in document["vectors"].as_array().unwrap() {
        if vector["kind"] != "hub_config" {
            continue;
        }
        ran += 1;
        let result = check_hub_config(&vector["desired"].to_string(), Mode::Compat);
        let good = match vector["expect"].as_str() {
            Some("ok") => result.is_ok(),
            Some("error") => result.is_err(),
            _ => false,
        };
        if !good {
            failures.push(format!(
                "{}: expected {}, got {result:?}",
                vector["id"], vector["expect"]
            ));
        }
    }
    assert!(ran > 0, "no vectors in {}", path.display());
    assert!(
        failures.is_empty(),
        "{} of {ran} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn with(version: &str, route: &str) -> String {
    format!(r#"{{"schemaVersion": {version}, "routes": {{"r": {route}}}}}"#)
}

const TEXT: &str = r#""FROM /* INTO $upstream""#;

#[test]
fn versions_have_major_1_and_a_minor_that_is_known() {
    let accepted = |version: &str| check_hub_config(&with(version, TEXT), Mode::Compat).is_ok();
    for good in [r#""1.0""#, r#""1.1""#, r#""1.2""#, r#""1.3""#, r#""1.1.0""#] {
        assert!(accepted(good), "{good}");
    }
    for bad in [
        r#""1.4""#,
        r#""1""#,
        r#""0.9""#,
        r#""2.0""#,
        r#""2.0.1""#,
        r#""""#,
        r#""x""#,
        "1.0",
        "null",
    ] {
        assert!(!accepted(bad), "{bad}");
    }
}

#[test]
fn routes_are_text_in_1_0_and_text_or_objects_later() {
    let accepted =
        |version: &str, route: &str| check_hub_config(&with(version, route), Mode::Compat).is_ok();
    let object =
        r#"{"route": "FROM /* INTO $upstream", "priority": 9, "timeToLiveSecs": 4294967295}"#;
    for (version, route, good) in [
        (r#""1.0""#, TEXT, true),
        (r#""1.0""#, object, false),
        (r#""1.0""#, r#""  ""#, true),
        (r#""1.1""#, r#""  ""#, false),
        (r#""1.1""#, r#"{"route": ""}"#, false),
        (r#""1.1""#, TEXT, true),
        (r#""1.1""#, object, true),
        (r#""1.3""#, object, true),
        (
            r#""1.1""#,
            r#"{"route": "FROM /* INTO $upstream", "priority": 10}"#,
            false,
        ),
        (
            r#""1.1""#,
            r#"{"route": "FROM /* INTO $upstream", "priority": -1}"#,
            false,
        ),
        (
            r#""1.1""#,
            r#"{"route": "FROM /* INTO $upstream", "priority": 1.5}"#,
            false,
        ),
        (
            r#""1.1""#,
            r#"{"route": "FROM /* INTO $upstream", "timeToLiveSecs": 4294967296}"#,
            false,
        ),
        (
            r#""1.1""#,
            r#"{"route": "FROM /* INTO $upstream", "timeToLiveSecs": -1}"#,
            false,
        ),
        (r#""1.1""#, r#"{"priority": 1}"#, false),
        (r#""1.1""#, "null", false),
        (r#""1.1""#, "[]", false),
        (r#""1.1""#, r#""FROM /*""#, false),
    ] {
        assert_eq!(accepted(version, route), good, "{version} {route}");
    }
}

#[test]
fn routes_have_the_priority_and_time_to_live_that_they_name() {
    let config = check_hub_config(
        r#"{"schemaVersion": "1.1", "storeAndForwardConfiguration": {"timeToLiveSecs": -1}, "routes": {
            "a": {"route": "FROM /* INTO $upstream", "priority": 3, "timeToLiveSecs": 60},
            "b": {"route": "FROM /* INTO $upstream", "timeToLiveSecs": 0},
            "c": "FROM /* INTO $upstream"}}"#,
        Mode::Compat,
    )
    .unwrap();
    assert_eq!(config.time_to_live, None);
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|r| {
            (
                r.name.as_str(),
                r.priority,
                r.time_to_live.map(|ttl| ttl.as_secs()),
            )
        })
        .collect();
    assert_eq!(
        routes,
        [
            ("a", Priority(3), Some(60)),
            ("b", Priority::DEFAULT, None),
            ("c", Priority::DEFAULT, None)
        ]
    );
}

#[test]
fn paths_of_mistakes_begin_in_the_document() {
    let mistakes = check_hub_config(&with(r#""1.1""#, "7"), Mode::Compat).unwrap_err();
    assert_eq!(mistakes[0].path, "routes.r");
}
