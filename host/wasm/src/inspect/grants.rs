//! What a component imports against what it was granted.

use std::fmt;

use edge_core::deployment::Grants;

use super::names::InterfaceName;
use super::{ImportName, Inspection, clip};

/// A grant that an import may need, by its name in manifests and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantName {
    /// `state`.
    State,
    /// `http`.
    Http,
}

impl GrantName {
    fn is_in(self, grants: &Grants) -> bool {
        match self {
            Self::State => grants.state,
            Self::Http => !grants.http.is_empty(),
        }
    }

    /// How to give it.
    fn how(self) -> &'static str {
        match self {
            Self::State => {
                r#"put "grants": {"state": true} into the module's createOptions, or run it with --grant state"#
            }
            Self::Http => {
                r#"put "grants": {"http": ["https://HOST"]} into the module's createOptions, or run it with --grant http=https://HOST"#
            }
        }
    }
}

impl fmt::Display for GrantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Http => "http",
        })
    }
}

/// An import that the module does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingGrant {
    /// The import as the component names it.
    pub interface: String,
    /// Why it does not.
    pub reason: MissingReason,
}

/// Why an import is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingReason {
    /// The host has it, and the deployment does not grant it.
    NotGranted(GrantName),
    /// The host has the interface in other versions.
    OtherVersion {
        /// Those.
        offered: Vec<&'static str>,
    },
    /// The host has it not, on purpose.
    NeverOffered {
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// The host does not know it.
    Unknown {
        /// What it has of the same package.
        same_package: Vec<&'static str>,
    },
    /// It belongs to no interface.
    Plain,
}

/// Interfaces that the host links.
struct Offer {
    package: &'static str,
    /// In their patch versions (see [`InterfaceName::is_served_by`]).
    versions: &'static [&'static str],
    interfaces: &'static [&'static str],
    /// `None`: baseline, there for every module.
    grant: Option<GrantName>,
}

/// What wasmtime-wasi 48 has of WASI 0.2, and what `wit/` names.
const OFFERS: [Offer; 14] = [
    Offer {
        package: "edge:module",
        versions: &["0.1.0"],
        interfaces: &["types", "send-event", "twin", "methods", "method-types"],
        grant: None,
    },
    Offer {
        package: "wasi:cli",
        versions: &["0.2.12", "0.3.0"],
        interfaces: &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
        grant: None,
    },
    Offer {
        package: "wasi:cli",
        versions: &["0.3.0"],
        interfaces: &["types"],
        grant: None,
    },
    Offer {
        package: "wasi:io",
        versions: &["0.2.12"],
        interfaces: &["error", "poll", "streams"],
        grant: None,
    },
    // Python guests link these always. They are there with nothing behind: every socket is refused.
    Offer {
        package: "wasi:sockets",
        versions: &["0.2.12"],
        interfaces: &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
        grant: None,
    },
    Offer {
        package: "wasi:clocks",
        versions: &["0.2.12", "0.3.0"],
        interfaces: &["monotonic-clock"],
        grant: None,
    },
    Offer {
        package: "wasi:clocks",
        versions: &["0.2.12"],
        interfaces: &["wall-clock"],
        grant: None,
    },
    Offer {
        package: "wasi:clocks",
        versions: &["0.3.0"],
        interfaces: &["types", "system-clock"],
        grant: None,
    },
    Offer {
        package: "wasi:random",
        versions: &["0.2.12", "0.3.0"],
        interfaces: &["random", "insecure", "insecure-seed"],
        grant: None,
    },
    // Without a grant there are no directories in it.
    Offer {
        package: "wasi:filesystem",
        versions: &["0.2.12", "0.3.0"],
        interfaces: &["types", "preopens"],
        grant: None,
    },
    Offer {
        package: "wasi:config",
        versions: &["0.2.0-rc.1"],
        interfaces: &["store"],
        grant: None,
    },
    Offer {
        package: "wasi:logging",
        versions: &["0.1.0-draft"],
        interfaces: &["logging"],
        grant: None,
    },
    Offer {
        package: "wasi:keyvalue",
        versions: &["0.2.0-draft", "0.2.0-draft2"],
        interfaces: &["store", "atomics", "batch"],
        grant: Some(GrantName::State),
    },
    Offer {
        package: "wasi:http",
        versions: &["0.2.12"],
        interfaces: &["types", "outgoing-handler"],
        grant: Some(GrantName::Http),
    },
];

/// What people ask for and do not get: package, why.
const NEVER: [(&str, &str); 5] = [
    (
        "wasi:blobstore",
        "use wasi:keyvalue with the grant `state`, or wasi:filesystem with the grant `dirs`",
    ),
    (
        "wasi:messaging",
        "messages come by edge:module/input-handler and leave by edge:module/send-event",
    ),
    (
        "wasmcloud:messaging",
        "messages come by edge:module/input-handler and leave by edge:module/send-event",
    ),
    (
        "wasi:nn",
        "components get no inference engine: use a container module for that",
    ),
    (
        "wasi:webgpu",
        "components get no graphics device: use a container module for that",
    ),
];

/// Compares what a component imports with what it was granted.
///
/// # Errors
/// Every import that the module would not get, in the component's order; [`describe`] makes one line
/// of them.
pub fn check_imports(inspection: &Inspection, grants: &Grants) -> Result<(), Vec<MissingGrant>> {
    let missing: Vec<_> = inspection
        .imports
        .iter()
        .filter_map(|import| {
            let reason = why_missing(import, grants)?;
            Some(MissingGrant {
                interface: clip(&import.name, 160),
                reason,
            })
        })
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing)
    }
}

/// Compares what a component is said to import with what it was granted, when nothing of the component itself is
/// there to be asked. Only grants: whether an import that the host does not know is needed at all, its name does
/// not say.
///
/// # Errors
/// Every import that the module would not get.
pub fn check_claims(imports: &[String], grants: &Grants) -> Result<(), Vec<MissingGrant>> {
    let missing: Vec<_> = imports
        .iter()
        .filter_map(|name| {
            let import = ImportName {
                name: name.clone(),
                functions: Vec::new(),
                types_only: true,
            };
            let reason = why_missing(&import, grants)?;
            Some(MissingGrant {
                interface: clip(name, 160),
                reason,
            })
        })
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(missing),
    }
}

fn why_missing(import: &ImportName, grants: &Grants) -> Option<MissingReason> {
    let Some(name) = InterfaceName::parse(&import.name) else {
        return (!import.types_only).then_some(MissingReason::Plain);
    };
    let offers = || {
        OFFERS
            .iter()
            .filter(move |offer| offer.package == name.package)
    };
    let same = || offers().filter(move |offer| offer.interfaces.contains(&name.interface));
    let served = same().find(|offer| {
        offer
            .versions
            .iter()
            .any(|version| name.is_served_by(version))
    });
    if let Some(offer) = served {
        return offer
            .grant
            .filter(|grant| !grant.is_in(grants))
            .map(MissingReason::NotGranted);
    }
    // Names of data types need nobody to stand behind them.
    if import.types_only {
        return None;
    }
    let offered: Vec<_> = same()
        .flat_map(|offer| offer.versions.iter().copied())
        .collect();
    if !offered.is_empty() {
        return Some(MissingReason::OtherVersion { offered });
    }
    if let Some((_, why)) = NEVER.iter().find(|(package, _)| *package == name.package) {
        return Some(MissingReason::NeverOffered { why });
    }
    if (name.package, name.interface) == ("wasi:http", "incoming-handler") {
        return Some(MissingReason::NeverOffered {
            why: "modules serve no HTTP; messages come by edge:module/input-handler",
        });
    }
    let mut same_package: Vec<_> = offers()
        .flat_map(|offer| offer.interfaces.iter().copied())
        .collect();
    same_package.dedup();
    Some(MissingReason::Unknown { same_package })
}

impl fmt::Display for MissingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(grant) => write!(f, "without the grant `{grant}`: {}", grant.how()),
            Self::OtherVersion { offered } => write!(f, "in a version that this host lacks; it offers {}", offered.join(" and ")),
            Self::NeverOffered { why } => write!(f, "which this host never offers: {why}"),
            Self::Unknown { same_package } if same_package.is_empty() => {
                f.write_str("which this host does not know; compose the component with one that exports it, or build without it")
            }
            Self::Unknown { same_package } => write!(
                f,
                "which this host does not know; of that package it offers {}",
                same_package.join(", ")
            ),
            Self::Plain => f.write_str("outside of any interface; this host offers interfaces only"),
        }
    }
}

impl fmt::Display for MissingGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "imports {} {}", self.interface, self.reason)
    }
}

/// All that is missing in one line, what has the same reason put together.
pub fn describe(missing: &[MissingGrant]) -> String {
    let mut groups: Vec<(&MissingReason, Vec<&str>)> = Vec::new();
    for item in missing {
        match groups
            .iter_mut()
            .find(|(reason, _)| **reason == item.reason)
        {
            Some((_, names)) => names.push(&item.interface),
            None => groups.push((&item.reason, vec![&item.interface])),
        }
    }
    let parts: Vec<_> = groups
        .iter()
        .map(|(reason, names)| format!("imports {} {reason}", names.join(", ")))
        .collect();
    parts.join("; ")
}
