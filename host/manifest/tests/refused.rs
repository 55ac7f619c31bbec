//! Manifests with mistakes, and exactly what is said about them.

#![allow(clippy::unwrap_used, reason = "tests")]

use edge_manifest::{Mistake, ReadOptions, Severity, read, render};
use edge_route::Mode;

fn mistakes(text: &str) -> Vec<Mistake> {
    let options = ReadOptions {
        routes: Mode::Compat,
    };
    match read(text, &options) {
        Ok(read) => read.warnings,
        Err(mistakes) => mistakes,
    }
}

fn said(text: &str) -> String {
    render("m.json", &mistakes(text))
}

#[test]
fn all_mistakes_of_a_manifest_are_told_at_once() {
    let said = said(include_str!("manifests/mistakes.json"));
    let expected = include_str!("manifests/mistakes.txt");
    for (line, (said, expected)) in said.lines().zip(expected.lines()).enumerate() {
        assert_eq!(said, expected, "line {} of mistakes.txt", line + 1);
    }
    assert_eq!(said.lines().count(), expected.lines().count(), "{said}");
}

#[test]
fn text_that_is_no_json_is_refused_at_its_first_fault() {
    for (text, expected) in [
        ("", "1:1: error: the document is empty, expected an object"),
        (
            "\n  \n",
            "3:1: error: the document is empty, expected an object",
        ),
        (
            "[1, 2",
            "1:1: error: this array is not closed: found the end of the document, expected a closing bracket",
        ),
        (
            "{\"a\": 1\n \"b\": 2}",
            "1:8: error: expected a comma between this and what follows",
        ),
        (
            "{\"a\": 1,\n}",
            "1:8: error: found a comma before the closing bracket, expected one more element or none",
        ),
        (
            "{\n  // note\n}",
            "2:3: error: found a comment, which JSON does not have",
        ),
        (
            "{\"a\" 1}",
            "1:6: error: found `1`, expected a colon after the key",
        ),
        ("{\"a\": }", "1:7: error: found `}`, expected a value"),
        (
            "{a: 1}",
            "1:2: error: found `a`, expected a key in double quotes or the closing brace",
        ),
        (
            "{'a': 1}",
            "1:2: error: found a single quote, expected strings in double quotes",
        ),
        (
            "{\"é\": True}",
            "1:7: error: found `True`, expected a value",
        ),
        (
            "{\"a\": 0x10}",
            "1:7: error: found a hexadecimal number, expected a decimal one",
        ),
        (
            "{} {}",
            "1:4: error: found `{`, expected the end of the document",
        ),
        (
            "{\"a\": \"b\nc\"}",
            "1:9: error: found a line break in a string, expected its closing quote",
        ),
        (
            "{\"a\": \"b",
            "1:7: error: this string is not closed: found the end of the document, expected a double quote",
        ),
        (
            "{\"a\": \"\\x\"}",
            "1:8: error: found an escape that JSON does not have",
        ),
        (
            "{\"a\": \"\\ud800\"}",
            "1:8: error: found half of a surrogate pair, expected both halves",
        ),
        (
            "{\u{a0}}",
            "1:2: error: found U+00A0, which JSON does not count as white space",
        ),
        (
            "{\"a\": \"\u{1}\"}",
            "1:8: error: found the control character U+0001 in a string",
        ),
    ] {
        let mistakes = mistakes(text);
        assert_eq!(mistakes.len(), 1, "{text:?}");
        assert_eq!(mistakes[0].to_string(), expected, "{text:?}");
    }
    let deep = mistakes(&"{\"a\":[".repeat(40));
    assert_eq!(
        deep[0].to_string(),
        "1:193: error: objects and arrays are nested more than 64 deep"
    );
}

#[test]
fn a_document_of_another_kind_is_named() {
    for (text, expected) in [
        ("[]", "1:1: error: found an array, expected an object"),
        ("{}", "1:1: error: key \"modulesContent\" is missing"),
        (
            "{\"modulesContent\": 5}",
            "1:20: error: found a number, expected an object (modulesContent)",
        ),
        (
            "{\"content\": {\"modulesContent\": {}}, \"modulesContent\": {}}",
            "1:14: error: modulesContent is there twice: here and at the top (content.modulesContent)",
        ),
        (
            "{\"modulesContent\": {\"$edgeHub\": {\"properties.desired\": {}}}}",
            "1:56: error: key \"schemaVersion\" is missing (modulesContent.$edgeHub[\"properties.desired\"])",
        ),
        (
            "{\"modulesContent\": {\"m\": {\"properties.desired..a\": 1}}}",
            "1:27: error: found a key with two dots or a dot at its end (modulesContent.m[\"properties.desired..a\"])",
        ),
    ] {
        let mistakes = mistakes(text);
        let errors: Vec<_> = mistakes
            .iter()
            .filter(|m| m.severity == Severity::Error)
            .collect();
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(errors[0].to_string(), expected, "{text}");
    }
}

/// What is said about the settings of a component, without place and path.
fn of_settings(settings: &str) -> Vec<String> {
    let text = format!(
        r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {{"schemaVersion": "1.1", "modules": {{"m": {{
            "type": "wasm", "settings": {settings}}}}}}}}}}}}}"#
    );
    mistakes(&text)
        .into_iter()
        .map(|m| format!("{}: {}", m.severity, m.message))
        .collect()
}

#[test]
fn settings_of_components_are_checked() {
    let one = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    let two = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
    let cases: &[(&str, &str)] = &[
        (r#"{}"#, r#"error: key "image" is missing"#),
        (
            r#"{"image": ""}"#,
            "error: found an empty image, expected a component: file:name.wasm, or an image reference",
        ),
        (
            r#"{"image": 5}"#,
            "error: found 5, expected a component: file:name.wasm, or an image reference",
        ),
        (r#"{"image": "file:"}"#, r#"error: "file:" names no file"#),
        (
            r#"{"image": "file://host/a"}"#,
            r#"error: "file://host/a" names a host, expected a path"#,
        ),
        (
            r#"{"image": "./a.wasm"}"#,
            r#"error: "./a.wasm" is no image reference"#,
        ),
        (
            r#"{"image": "r.example/Name"}"#,
            r#"error: "r.example/Name" is no image reference: its name has upper-case letters"#,
        ),
        (
            r#"{"image": "file:a", "digest": "md5:0"}"#,
            r#"error: "md5:0" is no digest: expected sha256: and 64 hexadecimal digits"#,
        ),
        (
            r#"{"image": "file:a", "createOptions": "{} x"}"#,
            "error: found `x`, expected the end of the document",
        ),
        (
            r#"{"image": "file:a", "createOptions": []}"#,
            "error: found an array, expected an object, or a string with the JSON text of one",
        ),
        (
            r#"{"image": "file:a", "createOptions": {}, "createOptions01": "{}"}"#,
            "error: found a piece of createOptions, which are no string and have no pieces",
        ),
        (
            r#"{"image": "file:a", "createOptions01": "{}"}"#,
            "error: createOptions01 is there without createOptions",
        ),
        (
            r#"{"image": "file:a", "createOptions": "", "createOptions01": {}}"#,
            "error: found an object, expected a string, as the first piece is",
        ),
        (
            r#"{"image": "file:a", "createOptions1": ""}"#,
            r#"warning: unknown key "createOptions1" is ignored"#,
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(of_settings(settings), [*expected], "{settings}");
    }
    assert_eq!(
        of_settings(&format!(r#"{{"image": "a@{one}", "digest": "{two}"}}"#)),
        [format!("error: found {two}, but the image names {one}")]
    );
}

#[test]
fn options_of_components_are_checked() {
    let cases: &[(&str, &str)] = &[
        (
            r#""memory": "5GiB""#,
            r#"error: found "5GiB", expected a size from 64KiB to 4GiB"#,
        ),
        (
            r#""memory": 65535"#,
            "error: found 65535, expected a size from 64KiB to 4GiB",
        ),
        (
            r#""memory": -1"#,
            r#"error: found -1, expected a size, as in "64MiB""#,
        ),
        (
            r#""memory": "64 megs""#,
            r#"error: "64 megs" is not a size: expected a whole number and B, KiB, MiB, GiB, kB, MB or GB"#,
        ),
        (
            r#""deadline": "0s""#,
            r#"error: found "0s", expected at least 1ms"#,
        ),
        (
            r#""deadline": "1m""#,
            "warning: the deadline of CPU time, 1m, is never reached: the timeout is 30s",
        ),
        (
            r#""timers": []"#,
            "error: found an array, expected an object",
        ),
        (
            r#""timers": {"": "1s"}"#,
            "error: found a timer without a name",
        ),
        (
            r#""logRate": 1.5"#,
            "error: found 1.5, expected a whole number from 0 to 4294967295",
        ),
        (
            r#""args": "-q""#,
            "error: found a string, expected an array",
        ),
        (r#""args": [1]"#, "error: found 1, expected a string"),
        (
            r#""args": ["\u0000"]"#,
            "error: found the character NUL, which cannot be passed on",
        ),
        (r#""ordered": 1"#, "error: found 1, expected true or false"),
        (
            r#""grants": {"htpp": []}"#,
            r#"warning: unknown key "htpp" is ignored"#,
        ),
        (
            r#""grants": {"http": ["https://*"]}"#,
            r#"error: "https://*" is no origin: a * may stand for the first labels of a name only"#,
        ),
        (
            r#""grants": {"dirs": ["/data"]}"#,
            "error: found a string, expected an object",
        ),
        (
            r#""grants": {"dirs": [{"host": "a", "guest": "/b"}, {"host": "c", "guest": "/b/"}]}"#,
            r#"error: guest path "/b" is granted twice"#,
        ),
        (
            r#""grants": {"dirs": [{"host": "", "guest": "/b", "write": false}]}"#,
            "error: found an empty path",
        ),
    ];
    for (options, expected) in cases {
        let direct = of_settings(&format!(
            r#"{{"image": "file:a", "createOptions": {{{options}}}}}"#
        ));
        assert_eq!(direct, [*expected], "{options}");
        // The same as text in a string.
        let packed = serde_json::Value::from(format!("{{{options}}}"));
        let packed = of_settings(&format!(
            r#"{{"image": "file:a", "createOptions": {packed}}}"#
        ));
        assert_eq!(packed, [*expected], "{options}");
    }
}

#[test]
fn mistakes_of_routes_stand_where_the_text_is_written() {
    // In front of the fault: an escaped quote, an escaped letter, a surrogate pair, a line break.
    let route = r#""FROM /messages WHERE key = \"\u0061\ud83d\ude00é\"\nAND 5 > INTO $upstream""#;
    let text = format!(
        "{{\"modulesContent\": {{\"$edgeHub\": {{\"properties.desired\": {{\n\"schemaVersion\": \"1.1\", \"routes\": {{\n\"r\": {{\"route\": {route}}}}}}}}}}}}}"
    );
    let mistakes = mistakes(&text);
    let errors: Vec<_> = mistakes
        .iter()
        .filter(|m| m.severity == Severity::Error)
        .collect();
    let mistake = errors.first().unwrap();
    assert_eq!(
        mistake.path,
        "modulesContent.$edgeHub[\"properties.desired\"].routes.r.route"
    );
    assert_eq!(mistake.line, 3);
    let line: Vec<char> = text.lines().nth(2).unwrap().chars().collect();
    let rest: String = line[usize::try_from(mistake.column).unwrap() - 1..]
        .iter()
        .collect();
    assert!(rest.starts_with("INTO $upstream"), "{mistake} at {rest}");
}

#[test]
fn twins_keep_to_the_limits_of_the_hub() {
    let of = |desired: &str| -> Vec<String> {
        let text = format!(
            r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {{"schemaVersion": "1.1", "modules": {{
                "m": {{"type": "wasm", "settings": {{"image": "file:a"}}}}}}}}}}, "m": {{"properties.desired": {desired}}}}}}}"#
        );
        mistakes(&text).into_iter().map(|m| m.message).collect()
    };
    let text = |n: usize| "x".repeat(n);
    let nested = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    let list = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    for good in [
        format!(r#"{{"a": "{}"}}"#, text(4096)),
        format!(r#"{{"{}": 1}}"#, text(1024)),
        r#"{"a": [4503599627370495, -4503599627370496, 1.5, 1e300, {"b": null}], "c": null}"#
            .to_owned(),
        nested(11),
        list(10),
    ] {
        assert_eq!(of(&good), [""; 0], "{good}");
    }
    for (bad, said) in [
        (format!(r#"{{"a": "{}"}}"#, text(4097)), "found a string of 4097 bytes, expected at most 4096".to_owned()),
        (
            format!(r#"{{"{}": 1}}"#, text(1025)),
            format!("a property's name is longer than 1024 bytes: \"{}\"…", text(60)),
        ),
        (nested(12), "found an object nested more than 10 deep".to_owned()),
        (list(11), "found an array nested more than 10 deep".to_owned()),
        (r#"{"a": [null]}"#.to_owned(), "found null in an array, which twins do not allow".to_owned()),
        (
            r#"{"a": 1e999}"#.to_owned(),
            "found 1e999, expected a number that twins can hold: integers from -2^52 to 2^52 - 1, others in 64 bits"
                .to_owned(),
        ),
        (
            r#"{"a": {"": 1}}"#.to_owned(),
            "a property's name is empty: \"\"".to_owned(),
        ),
        (r#"{"$version": 3}"#.to_owned(), "\"$version\" is ignored: the hub keeps its own".to_owned()),
        (
            format!("{{{}\"z\": 1}}", (0..9).map(|i| format!("\"{i}\": \"{}\",", text(4000))).collect::<String>()),
            "found desired properties of 36070 bytes without white space, expected at most 32768".to_owned(),
        ),
    ] {
        assert_eq!(of(&bad), [said], "{bad}");
    }
}

#[test]
fn secrets_are_in_no_message() {
    let text = r#"{"modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"registryCredentials": {"r": {"password": ["hunter2"]}, "s": "hunter2"}}},
        "modules": {"m": {"type": "docker", "settings": {"image": "a"},
            "env": {"A": "hunter2", "B": {"value": ["hunter2"]}, "C": {"value": "hunter2\u0000"}}}}}}}}"#;
    let said = said(text);
    assert!(
        said.lines().count() >= 6 && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn messages_hold_nothing_that_a_terminal_obeys() {
    let said = said("{\"modulesContent\": {}, \"\\u001b[31m\\n\u{9b}\u{202e}\": 1}");
    assert_eq!(said.lines().count(), 2);
    let paths = r#"(["\u001b[31m\n\u009b\u202e"])"#;
    assert!(said.lines().next().unwrap().ends_with(paths), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said}");
}

#[test]
fn what_a_route_may_rely_on_by_accident_is_a_warning_in_its_place() {
    let of = |route: &str| {
        mistakes(&format!(
            r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {{"schemaVersion": "1.1", "modules": {{
                "m": {{"type": "wasm", "settings": {{"image": "file:a"}}}}}}}}}},
                "$edgeHub": {{"properties.desired": {{"schemaVersion": "1.1", "routes": {{
"r": "{route}"}}}}}}}}}}"#
        ))
    };
    // Letter case does not count in sources.
    assert_eq!(of("FROM /messages/modules/M INTO $upstream"), []);
    let warnings = of("FROM /messages WHERE key1!='x' INTO $upstream");
    let [warning] = &warnings[..] else {
        panic!("one warning: {warnings:?}");
    };
    assert_eq!(warning.severity, Severity::Warning);
    assert_eq!((warning.line, warning.column), (4, 28));
    assert!(warning.path.ends_with("routes.r"));
}

#[test]
fn a_piece_of_create_options_that_is_there_twice_is_said() {
    for (one, other) in [
        ("createOptions", "createOptions"),
        ("createOptions01", "createOptions01"),
    ] {
        let text = format!(
            r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {{"schemaVersion": "1.1", "modules": {{
            "cam": {{"type": "docker", "settings": {{"image": "cam", "createOptions": "{{",
                "{one}": "}}", "{other}": "}}"}}}}}}}}}}}}}}"#
        );
        let said = said(&text);
        assert!(
            said.contains(&format!("key \"{one}\" is there already")),
            "{said}"
        );
    }
}
