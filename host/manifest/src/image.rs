//! Image references: where a component or a container comes from.
//!
//! ```text
//! component = "file:" path | reference
//! reference = [ host [ ":" port ] "/" ] name { "/" name } [ ":" tag ] [ "@sha256:" 64 hex digits ]
//! ```
//!
//! `$upstream` may stand for the host: the parent of this device.

use std::path::PathBuf;

use edge_core::Digest;
use edge_core::deployment::ComponentRef;

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

/// The registry that engines take for an image that names none.
const HUB: &str = "docker.io";

/// The registry that an image comes from.
pub(crate) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':', '$']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// The registry that credentials are for, as [`registry`] names it: engines' tools also write its address
/// as a URL.
pub(crate) fn registry_of_address(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    match address.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => HUB,
        host => host,
    }
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
    match parse(text) {
        Ok(digest) => Some(digest),
        Err((why, hint)) => {
            let message = format!("{} is no image reference: {why}", quote(text));
            match hint {
                None => checker.error(node.start, message),
                Some(hint) => checker.error_hint(node.start, message, hint),
            }
            None
        }
    }
}

type Why = (&'static str, Option<&'static str>);

/// Distribution spec, "Pulling manifests", and the reference grammar of container engines.
fn parse(text: &str) -> Result<Option<Digest>, Why> {
    if text.contains("://") {
        return Err(("it has a scheme", Some("leave out what stands before ://")));
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => match digest.parse() {
            Ok(digest) => (rest, Some(digest)),
            Err(_) => return Err(("after @ it has no sha256: with 64 hexadecimal digits", None)),
        },
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if let Some(tag) = tag
        && !(tag.bytes().next().is_some_and(word)
            && tag.len() <= 128
            && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-'))
    {
        return Err((
            "the tag may hold letters, digits, _ . - only, at most 128",
            None,
        ));
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':', '$']) || host == "localhost" => {
            (Some(host), path)
        }
        _ => (None, name),
    };
    if let Some(host) = host {
        check_host(host)?;
    }
    let component = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(("its name has upper-case letters", None));
    }
    if !path.split('/').all(component) {
        return Err((
            "its name may hold lower-case letters, digits and between them . _ - only, in parts joined by /",
            None,
        ));
    }
    Ok(digest)
}

fn check_host(host: &str) -> Result<(), Why> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(("the registry's port is no number from 0 to 65535", None));
    }
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let good = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            name == "$upstream"
                || !name.is_empty()
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        }
    };
    if good {
        Ok(())
    } else {
        Err(("the registry's name is no host name", None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_credentials_meet_at_the_registry() {
        for (image, address) in [
            ("cam:1", "docker.io"),
            ("library/cam", "https://index.docker.io/v1/"),
            ("r.example:5000/a/cam", "r.example:5000"),
            ("localhost/cam", "http://localhost"),
        ] {
            assert_eq!(registry(image), registry_of_address(address), "{image}");
        }
        assert_ne!(
            registry("r.example/cam"),
            registry_of_address("r.example:5000")
        );
    }

    #[test]
    fn references_are_told_from_other_text() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for good in [
            "cam",
            "cam:3",
            "library/cam",
            "r.example/cam:3",
            "r.example:5000/a/b_c/d-e.f:v1.0-rc",
            "localhost/cam",
            "localhost:5000/cam",
            "[::1]:5000/cam",
            "$upstream:8000/azureiotedge-agent:1.5",
            "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.5",
            &format!("registry.local/filter:1.2@{digest}"),
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "https://r.example/cam",
            "Cam",
            "r.example/cam:",
            "r.example/cam:ta g",
            "r.example//cam",
            "r.example/cam@sha256:12",
            "r.example/cam@latest",
            "r.example:port/cam",
            "-cam",
            "cam/",
            "ca m",
            "${IMAGE}",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("a@{digest}")).is_ok_and(|d| d.is_some()));
    }
}
