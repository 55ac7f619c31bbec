//! Names of interfaces: `namespace:package/interface@version`.

use std::fmt;

/// The name of an interface, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceName<'a> {
    /// `wasi:io`.
    pub package: &'a str,
    /// `poll`.
    pub interface: &'a str,
    /// `0.2.6`.
    pub version: Option<&'a str>,
}

impl<'a> InterfaceName<'a> {
    /// `None` for plain names, which belong to no package.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (path, version) = match name.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (name, None),
        };
        let (package, interface) = path.split_once('/')?;
        package.contains(':').then_some(Self {
            package,
            interface,
            version,
        })
    }

    /// Whether a host that offers `version` can serve this name, or call it. A later patch of an
    /// offered version counts as well: should it use what the offered one lacks, linking says so.
    pub fn is_served_by(&self, version: &str) -> bool {
        self.version.is_some_and(|own| track(own) == track(version))
    }
}

impl fmt::Display for InterfaceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.interface)?;
        match self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// The part of a version within which versions replace each other, by the rule that linking has:
/// `1.2.3` → `1`, `0.2.6` → `0.2`; pre-releases and `0.0.x` stand for themselves.
pub(super) fn track(version: &str) -> &str {
    let version = version
        .split_once('+')
        .map_or(version, |(version, _)| version);
    if version.contains('-') {
        return version;
    }
    let mut parts = version.split('.');
    let (Some(major), minor) = (parts.next(), parts.next()) else {
        return version;
    };
    match minor {
        _ if major != "0" => major,
        Some(minor) if minor != "0" => &version[..major.len() + 1 + minor.len()],
        _ => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_one_release_replace_each_other_and_drafts_do_not() {
        let poll = InterfaceName::parse("wasi:io/poll@0.2.0").expect("a name");
        assert!(poll.is_served_by("0.2.12"));
        assert!(!poll.is_served_by("0.3.0"));
        for (version, expected) in [
            ("1.2.3", "1"),
            ("0.2.6", "0.2"),
            ("0.2", "0.2"),
            ("0.0.4", "0.0.4"),
            ("0.2.0-draft2", "0.2.0-draft2"),
            ("0.2.1+x-y", "0.2"),
            ("", ""),
            ("0", "0"),
        ] {
            assert_eq!(track(version), expected, "{version:?}");
        }
    }

    #[test]
    fn plain_names_are_no_interfaces() {
        for plain in ["", "run", "a/b", "a:b", "@", "my-func@1.0.0"] {
            assert_eq!(InterfaceName::parse(plain), None, "{plain:?}");
        }
        let name = InterfaceName::parse("wasi:cli/run").expect("a name");
        assert!(!name.is_served_by("0.2.0"), "no version, no promise");
        assert_eq!(name.to_string(), "wasi:cli/run");
    }
}
