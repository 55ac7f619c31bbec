use edge_core::deployment::Grants;

use super::*;

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

/// A component that imports and exports these, by lines of text format.
fn component(imports: &str, exports: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            {imports}
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            {exports})"#
    ))
}

fn export(name: &str, function: &str) -> String {
    format!(r#"(instance (export "{name}") (export "{function}" (func $f)))"#)
}

fn handler() -> String {
    export("edge:module/input-handler@0.1.0", "handle")
}

fn error(bytes: &[u8]) -> String {
    let text = inspect(bytes).expect_err("refused").to_string();
    assert!(!text.contains('\n') && text.chars().count() < 700, "{text}");
    text
}

#[test]
fn handlers_and_imports_are_found_with_versions_and_functions() {
    let bytes = component(
        r#"(import "wasi:io/poll@0.2.6" (instance
               (export "pollable" (type (sub resource)))
               (export "[method]pollable.ready" (func (param "self" (borrow 0)) (result bool)))))
           (import "my:own/names@1.0.0" (instance (type (record (field "a" u8))) (export "t" (type (eq 0)))))
           (import "log" (func))"#,
        &[
            handler(),
            export("edge:module/method-handler@0.1.7", "invoke"),
            export("else:where/thing@1.0.0", "x"),
        ]
        .concat(),
    );
    let found = inspect(&bytes).expect("a component");
    assert_eq!(
        found.exports,
        Handlers {
            input_handler: true,
            method_handler: true,
            ..Handlers::default()
        }
    );
    assert!(!found.uses_async && !found.may_block);
    let import = |name: &str, functions: &[&str], types_only| ImportName {
        name: name.to_owned(),
        functions: functions.iter().map(|&f| f.to_owned()).collect(),
        types_only,
    };
    assert_eq!(
        found.imports,
        [
            import("wasi:io/poll@0.2.6", &["[method]pollable.ready"], false),
            import("my:own/names@1.0.0", &[], true),
            import("log", &["log"], false),
        ]
    );
}

#[test]
fn every_handler_is_recognized() {
    let all = [
        ("edge:module/input-handler@0.1.0", "handle"),
        ("edge:module/timer-handler@0.1.0", "tick"),
        ("edge:module/twin-handler@0.1.0", "desired-changed"),
        ("edge:module/method-handler@0.1.0", "invoke"),
        ("wasi:cli/run@0.2.3", "run"),
        ("wasi:cli/run@0.3.0", "run"),
    ];
    let bytes = component(
        "",
        &all.map(|(name, function)| export(name, function)).concat(),
    );
    let expected = Handlers {
        input_handler: true,
        timer_handler: true,
        twin_handler: true,
        method_handler: true,
        run: true,
        run_async: true,
    };
    assert_eq!(inspect(&bytes).expect("a component").exports, expected);
    for (name, function) in all {
        assert!(
            inspect(&component("", &export(name, function))).is_ok(),
            "{name}"
        );
        let text = error(&component("", &export(name, "other")));
        assert!(text.contains(name) && text.contains(function), "{text}");
    }
}

#[test]
fn waiting_takes_a_function_that_waits_and_something_to_wait_for() {
    let poll = |function: &str| {
        format!(
            r#"(import "wasi:io/poll@0.2.0" (instance
                (export "pollable" (type (sub resource)))
                (export "{function}" (func (param "self" (borrow 0))))))"#
        )
    };
    let plain = |name: &str, function: &str| {
        format!(r#"(import "{name}" (instance (export "{function}" (func))))"#)
    };
    let clock = |function: &str| plain("wasi:clocks/monotonic-clock@0.2.0", function);
    let block = || poll("[method]pollable.block");
    for (imports, expected) in [
        // Whatever prints has this.
        (block(), false),
        (block() + &clock("now"), false),
        (block() + &clock("subscribe-duration"), true),
        (
            poll("[method]pollable.ready") + &clock("subscribe-duration"),
            false,
        ),
        (plain("wasi:sockets/tcp@0.2.0", "f"), true),
        (plain("wasi:http/outgoing-handler@0.2.0", "handle"), true),
        (plain("edge:module/methods@0.1.0", "invoke"), true),
    ] {
        let found = inspect(&component(&imports, &handler())).expect("a component");
        assert_eq!(found.may_block, expected, "{imports}");
    }
    let service = component("", &export("wasi:cli/run@0.2.0", "run"));
    assert!(inspect(&service).expect("a component").may_block);
}

#[test]
fn async_parts_are_found_wherever_they_are() {
    for imports in [
        r#"(import "a:b/c@1.0.0" (instance (export "f" (func async))))"#,
        r#"(import "a:b/c@1.0.0" (instance (type (stream u8)) (export "f" (func (result 0)))))"#,
        r#"(core func (canon waitable-set.new))"#,
        r#"(component (core func (canon backpressure.inc)))"#,
    ] {
        let found = inspect(&component(imports, &handler())).expect("a component");
        assert!(found.uses_async, "{imports}");
    }
    assert!(
        !inspect(&component("", &handler()))
            .expect("a component")
            .uses_async
    );
}

#[test]
fn files_that_are_no_wasm_are_named() {
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let mut cwasm = b"\x7fELF\x02\x01\x01".to_vec();
    cwasm.push(200);
    for (bytes, word) in [
        (b"".as_slice(), "empty"),
        (b"\x7fELF\x02\x01\x01\0", "ELF"),
        (&cwasm, ".cwasm"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "zip"),
        (&tar, "tar"),
        (b"MZ\x90", "Windows"),
        (b"(component)", "WAT"),
        (b"\n\n;; a comment\n(module)", "WAT"),
        (b"<!DOCTYPE html><title>Sign in</title>", "HTML"),
        (b"  {\"modulesContent\": {}}", "--manifest"),
        (b"package edge:module@0.1.0;\n", "WIT"),
        (b"package main\nimport \"fmt\"\n", "\"package main\""),
        (b"use std::io;\n", "\"use std::io;\""),
        (b"#!/bin/sh\n", "script"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (&[0; 4096], "4096 zero bytes"),
        (b"\x01\x02\xff\xfe", "01 02 ff fe"),
        (b"\0as", "unknown binary"),
        (b"\0asm", "cut off"),
        (b"\0asm\x0d\0", "cut off"),
        (b"\0asm\x0c\0\x01\0", "version 12 in layer 1"),
        (b"\0asm\x0d\0\x01\0", "no handler"),
    ] {
        let text = error(bytes);
        assert!(text.contains(word), "{word}: {text}");
    }
    let long = "ä".repeat(600);
    assert!(error(long.as_bytes()).contains("a text file"));
}

#[test]
fn core_modules_are_told_how_to_become_components() {
    let text = error(&wat("(module)"));
    assert!(
        text.contains("wasm32-wasip2") && text.contains("edge componentize"),
        "{text}"
    );
    let text = error(&wat(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#,
    ));
    assert!(text.contains("wasm32-wasip1"), "{text}");
}

#[test]
fn a_component_without_handler_hears_what_is_nearest() {
    for (exports, word) in [
        (String::new(), "exports nothing"),
        (
            export("edge:module/input-handler@0.2.0", "handle"),
            "another version than the edge:module/input-handler@0.1",
        ),
        (
            export("edge:module/timer-handler", "tick"),
            "another version",
        ),
        (
            export("wasi:cli/run@0.4.0", "run"),
            "another version than the wasi:cli/run@0.2",
        ),
        (
            export("my:app/input-handler@0.1.0", "handle"),
            "export edge:module/input-handler@0.1.0",
        ),
        (
            export("wasi:http/incoming-handler@0.2.0", "handle"),
            "HTTP server",
        ),
        (
            r#"(export "handle" (func $f))"#.to_owned(),
            "export edge:module/input-handler, which has it",
        ),
        (export("a:b/c@1.0.0", "d"), "message-module"),
        (
            (0..9)
                .map(|n| export(&format!("a:b/c{n}@1.0.0"), "d"))
                .collect(),
            "and 3 more",
        ),
    ] {
        let text = error(&component("", &exports));
        assert!(text.contains(word), "{word}: {text}");
    }
    let package = wat(r#"(component (component $c) (type (component)) (export "t" (type 0)))"#);
    assert_eq!(inspect(&package), Err(InspectError::WitPackage));
}

#[test]
fn cut_or_damaged_components_are_refused_at_every_length() {
    let good = component("", &handler());
    let whole = inspect(&good).expect("a component");
    for len in 0..good.len() {
        // Only a custom section (names for debuggers) may be missing without a trace.
        if let Ok(found) = inspect(&good[..len]) {
            assert_eq!(found, whole, "{len} of {}", good.len());
        }
    }
    let text = error(&good[..good.len() - 3]);
    assert!(
        text.contains("cut off") && text.contains(&good.len().saturating_sub(3).to_string()),
        "{text}"
    );
    // Whatever a flipped byte does, the answer is an answer.
    for place in 8..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[place] ^= 1 << bit;
            let _ = inspect(&bad);
        }
    }
    let invalid = [good.as_slice(), b"\xff\x01\0"].concat();
    let text = error(&invalid);
    assert!(text.contains("not valid: at offset 0x"), "{text}");
}

/// A length as LEB128.
fn leb(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(n & 0x7f).expect("seven bits");
        n >>= 7;
        out.push(if n > 0 { byte | 0x80 } else { byte });
        if n == 0 {
            return out;
        }
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn nesting_is_bounded_whatever_the_file_says() {
    // Type definitions, each in the one before, then some side by side; on a small stack.
    let types = |kind: u8, depth: usize, flat: usize| {
        let mut content = vec![2];
        content.extend([kind, 1, 1].repeat(depth - 1));
        content.extend([kind, 0, kind]);
        content.extend(leb(flat));
        content.extend([1, kind, 0].repeat(flat));
        [HEADER, &section(7, &content)].concat()
    };
    let small_stack = |bytes: Vec<u8>| {
        std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(move || inspect(&bytes))
            .expect("spawns")
            .join()
            .expect("no panic")
    };
    for kind in [0x41, 0x42] {
        for depth in [33, 1_000, 4_000, 1_000_000] {
            let refused = small_stack(types(kind, depth, 0));
            assert!(
                matches!(refused, Err(InspectError::TooDeep { .. })),
                "{depth}: {refused:?}"
            );
        }
        // Many are not too deep: what is left to say is that nothing is exported.
        for (depth, flat) in [(1, 0), (32, 0), (32, 100), (2, 900)] {
            let read = small_stack(types(kind, depth, flat));
            assert!(
                matches!(read, Err(InspectError::NoHandler { .. })),
                "{depth} {flat}: {read:?}"
            );
        }
    }

    // Components, each in the one before.
    let mut nested = HEADER.to_vec();
    for _ in 0..200 {
        nested = [HEADER, &section(4, &nested)].concat();
    }
    assert!(matches!(
        inspect(&nested),
        Err(InspectError::TooDeep { .. })
    ));
}

fn check(imports: &str, grants: &Grants) -> Result<(), String> {
    let found = inspect(&component(imports, &handler())).expect("a component");
    check_imports(&found, grants).map_err(|missing| {
        let text = describe(&missing);
        assert!(!text.contains('\n'), "{text}");
        for item in &missing {
            assert!(item.to_string().starts_with("imports "), "{item}");
        }
        text
    })
}

fn uses(name: &str) -> String {
    format!(r#"(import "{name}" (instance (export "f" (func))))"#)
}

#[test]
fn the_baseline_needs_no_grant() {
    let names = [
        "edge:module/types@0.1.0",
        "edge:module/send-event@0.1.3",
        "wasi:cli/environment@0.2.0",
        "wasi:cli/stdout@0.2.12",
        "wasi:cli/stdin@0.3.0",
        "wasi:io/poll@0.2.6",
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:clocks/system-clock@0.3.0",
        "wasi:random/insecure-seed@0.2.1",
        "wasi:filesystem/preopens@0.2.3",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:logging/logging@0.1.0-draft",
    ];
    assert_eq!(check(&names.map(uses).concat(), &Grants::default()), Ok(()));
    // Nor do names of data types of anybody.
    let data = r#"(import "my:own/names@1.0.0" (instance (type (record (field "a" u8))) (export "t" (type (eq 0)))))"#;
    assert_eq!(check(data, &Grants::default()), Ok(()));
}

#[test]
fn what_is_granted_passes_and_what_is_not_says_how_to_grant_it() {
    let names = [
        "wasi:keyvalue/store@0.2.0-draft",
        "wasi:keyvalue/atomics@0.2.0-draft2",
        "wasi:http/types@0.2.4",
        "wasi:http/outgoing-handler@0.2.4",
    ];
    let imports = names.map(uses).concat();
    let granted = Grants {
        state: true,
        http: vec!["https://api.example".to_owned()],
        dirs: Vec::new(),
    };
    assert_eq!(check(&imports, &granted), Ok(()));
    let text = check(&imports, &Grants::default()).expect_err("nothing granted");
    for part in [
        "imports wasi:keyvalue/store@0.2.0-draft, wasi:keyvalue/atomics@0.2.0-draft2 without the grant `state`",
        r#""grants": {"state": true}"#,
        "--grant state",
        "; imports wasi:http/types@0.2.4, wasi:http/outgoing-handler@0.2.4 without the grant `http`",
        "--grant http=https://",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_is_never_offered_says_why_or_what_is_nearest() {
    let all = Grants {
        state: true,
        http: vec!["https://api.example".to_owned()],
        dirs: Vec::new(),
    };
    for (name, part) in [
        ("wasi:blobstore/blobstore@0.2.0", "wasi:keyvalue"),
        (
            "wasi:keyvalue/store@0.3.0",
            "it offers 0.2.0-draft and 0.2.0-draft2",
        ),
        ("wasi:io/poll@0.1.0", "it offers 0.2.12"),
        ("wasi:clocks/wall-clock@0.3.0", "it offers 0.2.12"),
        (
            "wasi:clocks/timezone@0.2.0",
            "it offers monotonic-clock, wall-clock",
        ),
        ("wasi:http/incoming-handler@0.2.0", "serve no HTTP"),
        ("wasi:messaging/consumer@0.2.0-draft", "send-event"),
        ("edge:module/send-event@0.2.0", "it offers 0.1.0"),
        ("edge:module/send-event", "it offers 0.1.0"),
        ("my:own/thing@1.0.0", "does not know"),
    ] {
        let text = check(&uses(name), &all).expect_err(name);
        assert!(text.contains(name) && text.contains(part), "{part}: {text}");
    }
    let text = check(r#"(import "log" (func))"#, &all).expect_err("plain");
    assert!(text.contains("outside of any interface"), "{text}");
}

#[test]
fn claims_are_refused_for_what_is_not_granted_and_for_nothing_else() {
    let claims =
        |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    let all = claims(&[
        "wasi:io/poll@0.2.6",
        "wasi:keyvalue/store@0.2.0-draft",
        "some:unknown/types@1.0.0",
        "plain",
    ]);
    let missing = check_claims(&all, &Grants::default()).expect_err("state is missing");
    let missing = describe(&missing);
    assert!(
        missing.starts_with("imports wasi:keyvalue/store@0.2.0-draft without the grant `state`"),
        "{missing}"
    );
    let granted = Grants {
        state: true,
        ..Grants::default()
    };
    assert_eq!(check_claims(&all, &granted), Ok(()));
}
