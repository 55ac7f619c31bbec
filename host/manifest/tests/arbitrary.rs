//! Whatever is read, nothing panics, and what is refused is refused with an error that has a place.

#![allow(clippy::unwrap_used, reason = "tests")]

use edge_manifest::{Mistake, ReadOptions, Severity, check_hub_config, read, render};
use edge_route::Mode;
use proptest::prelude::*;

const MODES: [Mode; 2] = [Mode::Compat, Mode::Strict];

fn check(text: &str) {
    for routes in MODES {
        placed(
            text,
            read(text, &ReadOptions { routes }).map(|read| read.warnings),
        );
        placed(
            text,
            check_hub_config(text, routes).map(|config| config.warnings),
        );
    }
}

fn placed(text: &str, result: Result<Vec<Mistake>, Vec<Mistake>>) {
    let failed = result.is_err();
    let (Ok(mistakes) | Err(mistakes)) = result;
    assert_eq!(
        failed,
        mistakes.iter().any(|m| m.severity == Severity::Error)
    );
    assert!(
        mistakes
            .windows(2)
            .all(|m| (m[0].line, m[0].column) <= (m[1].line, m[1].column))
    );
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    for mistake in &mistakes {
        let line = lines[usize::try_from(mistake.line).unwrap() - 1];
        assert!(
            (1..=line + 1).contains(&usize::try_from(mistake.column).unwrap()),
            "{mistake}"
        );
        assert!(!mistake.message.contains('\n'));
    }
    render("m.json", &mistakes);
}

/// A manifest in which some bytes are replaced, left out, or put in.
fn damaged() -> impl Strategy<Value = String> {
    let whole = prop_oneof![
        Just(include_str!("manifests/temperature-sensor.json")),
        Just(include_str!("manifests/components.json")),
        Just(include_str!("manifests/mistakes.json")),
    ];
    let edit = (
        any::<prop::sample::Index>(),
        0..3_usize,
        "[\"\\\\{}\\[\\],:0-9a-z.\n\u{e9}\u{1F600}-]{0,2}",
    );
    (whole, prop::collection::vec(edit, 0..6)).prop_map(|(whole, edits)| {
        let mut chars: Vec<char> = whole.chars().collect();
        for (at, cut, text) in edits {
            let at = at.index(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, text.chars());
        }
        chars.into_iter().collect()
    })
}

/// JSON with the keys that manifests have, and any values.
fn json() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "modulesContent",
        "content",
        "$edgeAgent",
        "$edgeHub",
        "properties.desired",
        "properties.desired.routes.a",
        "properties.desired.modules.m",
        "properties.desired.a.b",
        "m",
        "schemaVersion",
        "routes",
        "route",
        "modules",
        "settings",
        "image",
        "createOptions",
        "createOptions01",
        "createOptions02",
        "type",
        "env",
        "value",
        "grants",
        "http",
        "dirs",
        "storeAndForwardConfiguration",
        "timeToLiveSecs",
        "systemModules",
        "runtime",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<f64>()
            .prop_filter("JSON", |n| n.is_finite())
            .prop_map(|n| n.to_string()),
        prop::sample::select(vec![
            "\"1.1\"",
            "\"wasm\"",
            "\"docker\"",
            "\"file:a.wasm\"",
            "\"{}\"",
            "\"{\\\"memory\\\":\"",
            "\"\\\"1B\\\"}\"",
            "\"FROM /* INTO $upstream\"",
            "\"FROM /* WHERE \\u0061 INTO BrokeredEndpoint('/modules/m/inputs/i')\"",
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|s| serde_json::Value::from(s).to_string()),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        let member = (key.clone(), inner.clone()).prop_map(|(k, v)| format!("\"{k}\": {v}"));
        prop_oneof![
            4 => prop::collection::vec(member, 0..6).prop_map(|m| format!("{{{}}}", m.join(", "))),
            1 => prop::collection::vec(inner, 0..4).prop_map(|v| format!("[{}]", v.join(", "))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn arbitrary_bytes_of_json_never_panic(text in "[\"\\\\{}\\[\\],:0-9a-fu/*'.\n\r\t \u{feff}\u{a0}\u{e9}-]{0,60}") {
        check(&text);
    }

    #[test]
    fn damaged_manifests_never_panic(text in damaged()) {
        check(&text);
    }

    #[test]
    fn manifests_of_any_shape_never_panic(text in json()) {
        check(&text);
        check(&format!(r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {text}}}}}}}"#));
        check(&format!(r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {{"modules": {{"m": {text}}}}}}}}}}}"#));
    }
}

#[test]
fn large_documents_of_mistakes_are_read_in_time() {
    let keys: String = (0..100_000).map(|i| format!("\"k{i}\": null,")).collect();
    check(&format!("{{{keys} \"modulesContent\": {{}}}}"));
    let routes: String = (0..20_000).map(|i| format!("\"r{i}\": \"\",")).collect();
    check(&format!(
        r#"{{"modulesContent": {{"$edgeHub": {{"properties.desired": {{"schemaVersion": "1.1", "routes": {{{routes} "z": ""}}}}}}}}}}"#
    ));
    let dots = "a.".repeat(1_000_000);
    check(&format!(
        r#"{{"modulesContent": {{"m": {{"properties.desired.{dots}": 1, "properties.desired.{dots}a": 1}}}}}}"#
    ));
    check(&format!(
        "{}{}",
        "[".repeat(1_000_000),
        "]".repeat(1_000_000)
    ));
}

#[test]
fn the_deepest_documents_need_little_stack() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(63), close.repeat(63));
    let texts = [
        deep("{\"modulesContent\":", "}"),
        deep("[", "]"),
        format!(
            r#"{{"modulesContent": {{"m": {{"properties.desired{}": {}}}}}}}"#,
            ".a".repeat(64),
            deep("{\"a\":", "}")
                .replacen("{\"a\":", "", 4)
                .replacen("}", "", 4)
        ),
    ];
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let checked = small
        .spawn(move || texts.iter().for_each(|text| check(text)))
        .unwrap();
    checked.join().unwrap();
}
