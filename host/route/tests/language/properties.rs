//! Nothing panics, whatever the text and the message.

use crate::support::Fake;
use edge_route::{Body, CompileOptions, Condition, Mode, Route, explain};
use proptest::prelude::*;

/// Text made of what the language is made of, and of what it is not.
fn text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "SELECT",
        "*",
        "FROM",
        "/",
        "/messages",
        "/*",
        "*/",
        "WHERE",
        "INTO",
        "$upstream",
        "BrokeredEndpoint",
        "(",
        ")",
        "'/modules/m/inputs/i'",
        "AND",
        "OR",
        "NOT",
        "=",
        "!=",
        "<",
        ">=",
        "<>",
        "+",
        "-",
        "%",
        "||",
        "??",
        "|",
        "&&",
        "key1",
        "'text'",
        "\"x\"",
        "'",
        "\"",
        "\\",
        "\\u00e9",
        "12",
        "0x1F",
        "1e5",
        "e5",
        ".5",
        "true",
        "null",
        "undefined",
        "$sys",
        "{$sys}",
        "$body.a",
        "$body.a[0].b",
        "$body.a[0]['k']",
        "$body['k']",
        "['a-b']",
        "[",
        "]",
        "{",
        "}",
        ",",
        "@",
        "as_number",
        "substring",
        "is_null",
        "is_defined",
        "concat",
        "twin_change_includes",
        "ä",
        "😀",
        "\u{0}",
        "\n",
        "power",
        "index_of",
        "length",
        "upper",
        "sign",
    ]);
    let word = prop_oneof![8 => words.prop_map(str::to_owned), 1 => "\\PC{0,3}", 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec((word, prop::bool::weighted(0.7)), 0..24).prop_map(|parts| {
        parts.iter().fold(String::new(), |text, (word, blank)| {
            text + word + if *blank { " " } else { "" }
        })
    })
}

/// Expressions that have a good chance to compile.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "key1",
        "nix",
        "$sys",
        "'text'",
        "''",
        "'😀ä'",
        "3",
        "-1.5",
        "0x10",
        "1e400",
        "true",
        "false",
        "null",
        "undefined",
        "$body.a",
        "$body.a.b[1]",
        "$body.s",
        "$body.t",
        "$body.l[0]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "||", "=", "!=", "<", "<=", ">", ">=", "AND", "OR", "??",
        ]);
        let function = prop::sample::select(vec![
            "abs",
            "sign",
            "sqrt",
            "as_number",
            "is_bool",
            "is_null",
            "is_defined",
            "is_number",
            "is_string",
            "length",
            "lower",
            "upper",
        ]);
        let binary = prop::sample::select(vec![
            "power",
            "concat",
            "substring",
            "index_of",
            "starts_with",
            "contains",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (binary, inner.clone(), inner.clone()).prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("substring({a}, {b}, {c})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn message() -> impl Strategy<Value = Fake> {
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec![
            r#"{"a":{"b":[1,2]},"s":"x\u00e4","t":1e9,"l":[null]}"#,
            r#"{"a":[{"b":{}}],"s":"2024-02-29T23:59:59Z"}"#,
            r#"{"a":"#,
        ])
        .prop_map(|s: &str| s.as_bytes().to_vec()),
        r#"[\{\}\[\],:"a-c0-9eE.+\\-]{0,30}"#.prop_map(String::into_bytes),
    ];
    let encoding = prop::sample::select(vec!["utf-8", "utf-16", "utf-32", "gzip"]);
    (body, encoding, ".{0,5}").prop_map(|(body, encoding, value)| {
        Fake::default()
            .bytes(&body)
            .app("key1", &value)
            .system("sys", &value)
            .system("contentType", "application/json")
            .system("contentEncoding", encoding)
    })
}

fn try_everything(text: &str, mode: Mode, message: &Fake) {
    let mut body = Body::default();
    for twin_source in [false, true] {
        let options = CompileOptions {
            twin_source,
            ..CompileOptions::new(mode)
        };
        match Condition::compile_with_warnings(text, &options) {
            Ok((condition, _)) => {
                condition.evaluate(message, &mut body);
                condition.value(message, &mut body);
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                for error in errors {
                    assert!(error.line > 0 && error.column > 0 && error.end_column > error.column);
                }
            }
        }
    }
    for text in [
        text.to_owned(),
        format!("FROM /messages WHERE {text} INTO $upstream"),
    ] {
        if let Ok(Some(route)) = Route::compile(&text, mode) {
            assert!(text.contains(route.condition_text()) || route.condition_text() == "true");
            let _ = explain(&route, "/messages/modules/ä", message).to_string();
        }
    }
    // A body that was parsed for another message.
    body.clear();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_compiled_or_refused(text in text(), message in message()) {
        try_everything(&text, Mode::Compat, &message);
        try_everything(&text, Mode::Strict, &message);
    }

    #[test]
    fn whatever_compiles_evaluates(text in expression(), message in message()) {
        try_everything(&text, Mode::Compat, &message);
        try_everything(&text, Mode::Strict, &message);
    }

    #[test]
    fn a_body_is_readable_if_it_is_a_json_object(
        text in r#"\{?(["a:,1 \[\]{}0.eE+-]|"[a-c]{0,2}":|true|null|\\n){0,12}\}?"#
    ) {
        let message = Fake::default().json(&text);
        let readable = Body::default().get(&message, "x", Mode::Compat).is_ok();
        // Numbers beyond doubles are infinite to us and an error there.
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        let infinite = parsed.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
        prop_assert_eq!(readable, parsed.is_ok_and(|v| v.is_object()) || infinite && readable, "{}", text);
    }

    #[test]
    fn a_stale_body_is_no_danger(text in expression(), first in message(), second in message()) {
        if let Ok(condition) = Condition::compile(&text, &CompileOptions::new(Mode::Compat)) {
            let mut body = Body::default();
            condition.evaluate(&first, &mut body);
            condition.evaluate(&second, &mut body);
        }
    }
}
