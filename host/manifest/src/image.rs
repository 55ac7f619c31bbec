//! Image references: where a component or a container comes from.
//!
//! ```text
//! component = "file:" path | reference
//! ```
//!
//! References are [`Reference`]'s; `$upstream` may stand for the host: the parent of this device.

use std::path::PathBuf;

use edge_core::deployment::ComponentRef;
use edge_core::{Digest, Reference};

use crate::checker::Checker;
use crate::json::{Member, Node, get};
use crate::mistake::quote;

/// A component's image and the digest that it must have.
pub(crate) fn component(
    checker: &mut Checker,
    at: usize,
    settings: &[Member],
) -> Option<(ComponentRef, Option<Digest>)> {
    const EXPECTED: &str = "a component: file:name.wasm, or an image reference";
    let image = text(checker, at, settings, EXPECTED).and_then(|(node, text)| {
        match text.strip_prefix("file:") {
            Some(path) => file(checker, node, text, path).map(|file| (file, None)),
            None if looks_like_file(text) => {
                checker.error_hint(
                    node.start,
                    format!("{} is no image reference", quote(text)),
                    format!("a file is written {}", quote(&format!("file:{text}"))),
                );
                None
            }
            None => reference(checker, node, text)
                .map(|pinned| (ComponentRef::Registry(text.to_owned()), pinned)),
        }
    });
    let digest = digest(
        checker,
        settings,
        image.as_ref().and_then(|(_, pinned)| *pinned),
    );
    Some((image?.0, digest))
}

/// The file that `file:` is followed by.
fn file(checker: &mut Checker, node: &Node, text: &str, path: &str) -> Option<ComponentRef> {
    // file:///a/b is a URL with an empty host.
    let path = match path.strip_prefix("//") {
        None => path,
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            checker.error_hint(
                node.start,
                format!("{} names a host, expected a path", quote(text)),
                "file:a/b.wasm is relative to the manifest's folder, file:/a/b.wasm and file:///a/b.wasm are absolute",
            );
            return None;
        }
    };
    if path.is_empty() || path.ends_with('/') {
        checker.error(node.start, format!("{} names no file", quote(text)));
        return None;
    }
    Some(ComponentRef::File(PathBuf::from(path)))
}

/// A container's image. A digest in the settings becomes part of the reference.
pub(crate) fn container(checker: &mut Checker, at: usize, settings: &[Member]) -> Option<String> {
    let image = text(checker, at, settings, "an image reference")
        .and_then(|(node, text)| Some((text, reference(checker, node, text)?)));
    let digest = digest(checker, settings, image.and_then(|(_, pinned)| pinned));
    let (text, pinned) = image?;
    Some(match (pinned, digest) {
        (None, Some(digest)) => format!("{text}@{digest}"),
        _ => text.to_owned(),
    })
}

fn text<'n>(
    checker: &mut Checker,
    at: usize,
    settings: &'n [Member],
    expected: &str,
) -> Option<(&'n Node, &'n str)> {
    let Some(member) = get(settings, "image") else {
        checker.missing(at, "image");
        return None;
    };
    // Editors leave blanks around; no image has them.
    let text = checker.os_string(&member.node, expected)?.trim();
    if text.is_empty() {
        checker.error(
            member.node.start,
            format!("found an empty image, expected {expected}"),
        );
        return None;
    }
    Some((&member.node, text))
}

/// The pinned digest: that of the settings, which must be that of the reference if both are there.
fn digest(
    checker: &mut Checker,
    settings: &[Member],
    of_reference: Option<Digest>,
) -> Option<Digest> {
    let Some(member) = get(settings, "digest") else {
        return of_reference;
    };
    let text = checker.string(&member.node, "a digest: sha256: and 64 hexadecimal digits")?;
    if text.is_empty() {
        return of_reference;
    }
    match (text.parse::<Digest>(), of_reference) {
        (Ok(digest), Some(other)) if digest != other => {
            checker.error(
                member.node.start,
                format!("found {digest}, but the image names {other}"),
            );
            None
        }
        (Ok(digest), _) => Some(digest),
        (Err(_), _) => {
            checker.error(
                member.node.start,
                format!(
                    "{} is no digest: expected sha256: and 64 hexadecimal digits",
                    quote(text)
                ),
            );
            None
        }
    }
}

fn looks_like_file(text: &str) -> bool {
    text.starts_with(['/', '.', '~']) || text.ends_with(".wasm") && !text.contains('/')
}

/// Checks a reference and gives its digest.
fn reference(checker: &mut Checker, node: &Node, text: &str) -> Option<Option<Digest>> {
    match Reference::parse(text) {
        Ok(reference) => Some(reference.digest()),
        Err(error) => {
            let message = format!("{} is no image reference: {}", quote(text), error.why);
            match error.hint {
                None => checker.error(node.start, message),
                Some(hint) => checker.error_hint(node.start, message, hint),
            }
            None
        }
    }
}
