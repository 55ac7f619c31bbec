//! The first bytes of a file: a component, or what else.

use wasmparser::{Parser, Payload};

use super::{InspectError, clip};

const WASM: &[u8] = b"\0asm";
const COMPONENT: (u16, u16) = (13, 1);
const CORE: (u16, u16) = (1, 0);

const BUILD: &str =
    "build one with `cargo build --target wasm32-wasip2` or another toolchain for WASI 0.2";
const UNPACK: &str = "unpack it and give the .wasm file in it";
const GIVE_WASM: &str = "give the .wasm file that it was made from";

/// Files that are told by how they begin: offset, bytes, what it is, what to do.
const MAGICS: [(usize, &[u8], &str, &str); 17] = [
    (0, b"\x1f\x8b", "a gzip file", UNPACK),
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
    (0, b"\xfd7zXZ\0", "an xz file", UNPACK),
    (0, b"BZh", "a bzip2 file", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"!<arch>\n", "a static library", BUILD),
    (0, b"MZ", "a Windows program", BUILD),
    (0, b"\xcf\xfa\xed\xfe", "a macOS program", BUILD),
    (
        0,
        b"\xca\xfe\xba\xbe",
        "a macOS program or a Java class",
        BUILD,
    ),
    (0, b"%PDF-", "a PDF document", BUILD),
    (0, b"\x89PNG", "a PNG image", BUILD),
    (0, b"SQLite format 3\0", "an SQLite database", BUILD),
    (0, b"BC\xc0\xde", "LLVM bitcode", BUILD),
    (
        0,
        b"-----BEGIN ",
        "a PEM file (a key or certificate)",
        BUILD,
    ),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "fetch it with `git lfs pull`",
    ),
    (0, b"#!", "a script", BUILD),
];

/// Passes components only, by their header.
pub(super) fn check_component(bytes: &[u8]) -> Result<(), InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    let Some(rest) = bytes.strip_prefix(WASM) else {
        return Err(other(bytes));
    };
    let [v0, v1, l0, l1, ..] = *rest else {
        return Err(InspectError::Truncated {
            len: bytes.len(),
            offset: WASM.len(),
        });
    };
    let (version, layer) = (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([l0, l1]));
    match (version, layer) {
        COMPONENT => Ok(()),
        CORE => Err(core_module(bytes)),
        _ => Err(InspectError::Format { version, layer }),
    }
}

/// Who imports from `wasi_snapshot_preview1` was built for `wasm32-wasip1`.
fn core_module(bytes: &[u8]) -> InspectError {
    let preview1 = Parser::new(0)
        .parse_all(bytes)
        .map_while(Result::ok)
        .take_while(|payload| !matches!(payload, Payload::CodeSectionStart { .. }))
        .filter_map(|payload| match payload {
            Payload::ImportSection(section) => Some(section),
            _ => None,
        })
        .flat_map(|section| section.into_imports().map_while(Result::ok))
        .any(|import| import.module == "wasi_snapshot_preview1");
    let (detail, hint) = if preview1 {
        (
            " for WASI preview 1 (wasm32-wasip1)",
            "build it for wasm32-wasip2, or make a component of it with `edge componentize`",
        )
    } else {
        (
            "",
            "build it for wasm32-wasip2, or make a component of it with `edge componentize` if it was built against a WIT world",
        )
    };
    InspectError::CoreModule { detail, hint }
}

fn other(bytes: &[u8]) -> InspectError {
    let (found, hint) = name(bytes);
    InspectError::NotWasm { found, hint }
}

fn name(bytes: &[u8]) -> (String, &'static str) {
    if bytes.starts_with(b"\x7fELF") {
        // wasmtime marks what it compiled by the ABI field of the ELF header.
        return match bytes.get(7) {
            Some(200) => (
                "machine code that wasmtime compiled (.cwasm)".to_owned(),
                GIVE_WASM,
            ),
            _ => ("a Linux program or library (ELF)".to_owned(), BUILD),
        };
    }
    let magic = MAGICS.iter().find(|(offset, magic, ..)| {
        bytes
            .get(*offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    });
    if let Some((_, _, what, hint)) = magic {
        return ((*what).to_owned(), hint);
    }
    match text(bytes) {
        Some(text) => text_kind(text),
        None if bytes.iter().all(|byte| *byte == 0) => (
            format!("a file of {} zero bytes", bytes.len()),
            "copy or build it again: the disk or the copy lost its content",
        ),
        None => {
            let start: Vec<_> = bytes
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            (
                format!(
                    "an unknown binary file (it begins with {})",
                    start.join(" ")
                ),
                BUILD,
            )
        }
    }
}

/// The beginning of a file, if it is text.
fn text(bytes: &[u8]) -> Option<&str> {
    let head = &bytes[..bytes.len().min(512)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text =
        |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{feff}');
    (!text.is_empty() && text.chars().all(is_text)).then_some(text)
}

fn text_kind(text: &str) -> (String, &'static str) {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let lower = start.to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| lower.starts_with(word));
    let (what, hint) = if begins(&["(module", "(component", ";;", "(;"]) {
        (
            "Wasm in text form (WAT)",
            "turn it into binary form, with `wasm-tools parse` for example",
        )
    } else if begins(&["package ", "interface ", "world "]) && !lower.starts_with("package main") {
        (
            "a WIT file: interfaces without code",
            "give the component that was built from it",
        )
    } else if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        (
            "an HTML page",
            "a download may have returned an error or login page: look into it, then fetch the file again",
        )
    } else if begins(&["<?xml", "<"]) {
        ("an XML document", BUILD)
    } else if begins(&["{", "["]) {
        (
            "JSON text",
            "is it a manifest? those are run with `edge run --manifest`",
        )
    } else {
        let line = clip(start.lines().next().unwrap_or_default(), 40);
        let what = match line.is_empty() {
            true => "a text file of blanks".to_owned(),
            false => format!("a text file (it begins with {line:?})"),
        };
        return (what, BUILD);
    };
    (what.to_owned(), hint)
}
