//! What names an image or another artifact in a registry.
//!
//! ```text
//! reference = [ host [ ":" port ] "/" ] name { "/" name } [ ":" tag ] [ "@sha256:" 64 hex digits ]
//! ```
//!
//! Host and names as container engines have them: what stands before the first `/` is a host if it has a dot
//! or a port, or is `localhost`; without one it is `docker.io`, where a single name is one of `library`.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The registry that is meant where none is named.
const HUB: &str = "docker.io";
/// Where that one answers.
const HUB_HOST: &str = "registry-1.docker.io";
/// The tag that is meant where none is named.
const LATEST: &str = "latest";
/// Longest tag (distribution spec, "Pulling manifests").
const TAG_MAX: usize = 128;

/// Text that names no artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no image reference: {why}{}", hint.map_or(String::new(), |hint| format!("; {hint}")))]
pub struct ParseReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
    /// What to do about it, where that is not plain.
    pub hint: Option<&'static str>,
}

/// The name of an artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, ParseReferenceError> {
        parse(text).map_err(|(why, hint)| ParseReferenceError {
            text: text.to_owned(),
            why,
            hint,
        })
    }

    /// The registry, with its port if one is named. As manifests and settings address it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that it pins.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same artifact, pinned to a digest of its manifest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Another artifact of the repository.
    #[must_use]
    pub fn with_tag(&self, tag: impl Into<String>) -> Self {
        Self {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        }
    }

    /// What stands for it in a request: its digest before its tag.
    pub fn target(&self) -> String {
        match self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag_or_latest().to_owned(),
        }
    }

    /// The tag, named or meant.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or(LATEST)
    }

    /// Host and port that answer for its registry.
    pub fn host(&self) -> &str {
        match &*self.registry {
            HUB => HUB_HOST,
            other => other,
        }
    }

    /// Whether the registry is a stand-in for the parent of this device.
    pub fn is_upstream(&self) -> bool {
        self.registry.starts_with('$')
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A registry as tools write it, in one form: without a scheme and path, and one name for Docker's.
pub fn registry_of_address(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    match address.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => HUB,
        host => host,
    }
}

/// Whether the first part of a name is a host.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':', '$']) || text == "localhost"
}

/// What is wrong, and what to do about it.
type Wrong = (&'static str, Option<&'static str>);

fn wrong<T>(why: &'static str) -> Result<T, Wrong> {
    Err((why, None))
}

/// Distribution spec, "Pulling manifests", and the reference grammar of container engines.
fn parse(text: &str) -> Result<Reference, Wrong> {
    if text.contains("://") {
        return Err(("it has a scheme", Some("leave out what stands before ://")));
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => match digest.parse() {
            Ok(digest) => (rest, Some(digest)),
            Err(_) => return wrong("after @ it has no sha256: with 64 hexadecimal digits"),
        },
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return wrong("the tag may hold letters, digits, _ . - only, at most 128");
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (Some(host), path),
        _ => (None, name),
    };
    if let Some(host) = host {
        check_host(host).or_else(wrong)?;
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return wrong("its name has upper-case letters");
    }
    if !path.split('/').all(is_name) {
        return wrong(
            "its name may hold lower-case letters, digits and between them . _ - only, in parts joined by /",
        );
    }
    let registry = host.map_or(HUB, registry_of_address);
    let repository = match registry == HUB && !path.contains('/') {
        true => format!("library/{path}"),
        false => path.to_owned(),
    };
    Ok(Reference {
        registry: registry.to_owned(),
        repository,
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.bytes().next().is_some_and(word)
        && tag.len() <= TAG_MAX
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_name(part: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(part.bytes().next())
        && edge(part.bytes().last())
        && part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("the registry's port is no number from 0 to 65535");
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
    match good {
        true => Ok(()),
        false => Err("the registry's name is no host name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_container_engines_read_them() {
        let digest = Digest([7; 32]);
        for (text, registry, repository, tag, pin) in [
            ("cam", "docker.io", "library/cam", None, None),
            ("a/cam:3", "docker.io", "a/cam", Some("3"), None),
            ("index.docker.io/a/cam", "docker.io", "a/cam", None, None),
            ("r.example/cam:3", "r.example", "cam", Some("3"), None),
            ("localhost/cam", "localhost", "cam", None, None),
            ("localhost:5000/a/b", "localhost:5000", "a/b", None, None),
            ("[::1]:5000/cam:v1", "[::1]:5000", "cam", Some("v1"), None),
            ("$upstream:8000/cam", "$upstream:8000", "cam", None, None),
            (
                &format!("r.example:5000/cam:1@{digest}"),
                "r.example:5000",
                "cam",
                Some("1"),
                Some(digest),
            ),
        ] {
            let read = Reference::parse(text).expect(text);
            assert_eq!(read.registry(), registry, "{text}");
            assert_eq!(read.repository(), repository, "{text}");
            assert_eq!(read.tag(), tag, "{text}");
            assert_eq!(read.digest(), pin, "{text}");
            assert_eq!(Reference::parse(&read.to_string()), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        for (text, why) in [
            ("https://r.example/cam", "scheme"),
            ("Cam", "upper-case"),
            ("r.example/cam:", "tag"),
            ("r.example/cam:ta g", "tag"),
            ("r.example//cam", "name"),
            ("r.example/../cam", "name"),
            ("r.example/cam@sha256:12", "after @"),
            ("r.example:port/cam", "port"),
            ("r.ex?ample.com/cam", "host name"),
            ("", "name"),
        ] {
            let error = Reference::parse(text).expect_err(text);
            assert!(error.why.contains(why), "{error}");
        }
    }

    #[test]
    fn images_and_credentials_meet_at_the_registry() {
        let registry = |image: &str| Reference::parse(image).expect(image).registry().to_owned();
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
            "library/cam",
            "r.example:5000/a/b_c/d-e.f:v1.0-rc",
            "$upstream:8000/azureiotedge-agent:1.5",
            "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.5",
            &format!("registry.local/filter:1.2@{digest}"),
        ] {
            assert!(Reference::parse(good).is_ok(), "{good}");
        }
        for bad in ["r.example/cam@latest", "-cam", "cam/", "ca m", "${IMAGE}"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
