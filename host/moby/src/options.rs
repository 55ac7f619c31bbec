//! `createOptions`: one spelling for what we look at, and what they ask for beyond a container's own walls.
//!
//! Engines compare keys without regard to case (Go's `encoding/json`), so every look at a key here does.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// Something that a container gets only where the device's settings allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allow {
    /// `Privileged`, and fewer of the engine's guards: `SecurityOpt`, `MaskedPaths`, `ReadonlyPaths`.
    Privileged,
    /// Capabilities beyond the engine's default.
    Capabilities,
    /// Devices.
    Devices,
    /// Paths of the host, and what other containers have mounted.
    HostMounts,
    /// The host's network, or another container's.
    HostNetwork,
    /// The host's processes, IPC, host name, users or control groups, or another container's.
    HostPid,
}

impl Allow {
    /// All, and their words in `[containers] allow`.
    pub const WORDS: &[(&str, Self)] = &[
        ("privileged", Self::Privileged),
        ("capabilities", Self::Capabilities),
        ("devices", Self::Devices),
        ("host-mounts", Self::HostMounts),
        ("host-network", Self::HostNetwork),
        ("host-pid", Self::HostPid),
    ];
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, allow)| allow == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// Why options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionsError {
    /// They are no JSON object.
    #[error("createOptions cannot be read: {0}")]
    Syntax(String),
    /// A key is there in two spellings.
    #[error("createOptions have {0} twice, in different spellings: leave one")]
    Twice(String),
    /// A value is of the wrong kind.
    #[error("createOptions: {key} is {found}, expected {expected}")]
    Kind {
        key: &'static str,
        found: &'static str,
        expected: &'static str,
    },
    /// They ask for more than is allowed.
    #[error("{}", refusal(.0))]
    NotAllowed(Vec<(Allow, String)>),
}

fn refusal(asked: &[(Allow, String)]) -> String {
    let asked: Vec<_> = asked
        .iter()
        .map(|(allow, what)| {
            format!(
                "createOptions ask for {what}, which this device does not allow: add \"{allow}\" to \
                 allow in [containers] of its settings"
            )
        })
        .collect();
    asked.join("; ")
}

/// Keys at the top that are looked at or set here.
const TOP: &[&str] = &["Image", "Env", "Labels", "HostConfig", "NetworkingConfig"];
/// Likewise in `HostConfig`.
const HOST: &[&str] = &[
    "Privileged",
    "SecurityOpt",
    "MaskedPaths",
    "ReadonlyPaths",
    "CapAdd",
    "Capabilities",
    "Devices",
    "DeviceRequests",
    "DeviceCgroupRules",
    "Binds",
    "Mounts",
    "VolumesFrom",
    "VolumeDriver",
    "NetworkMode",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupnsMode",
    "Cgroup",
    "ExtraHosts",
    "RestartPolicy",
    "AutoRemove",
    "LogConfig",
];

/// Options whose keys that matter here are spelt one way. Everything else is as it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub(crate) top: Map<String, Value>,
    pub(crate) host: Map<String, Value>,
}

impl Options {
    /// Reads the text of an object.
    pub(crate) fn read(text: &str) -> Result<Self, OptionsError> {
        let top: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| OptionsError::Syntax(error.to_string()))?;
        let mut top = canonical(top, TOP)?;
        let host = match top.remove("HostConfig") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(host)) => host,
            Some(other) => return Err(kind("HostConfig", &other, "an object")),
        };
        let host = canonical(host, HOST)?;
        Ok(Self { top, host })
    }

    /// Compares what they ask for with what is allowed.
    pub(crate) fn check(&self, allowed: &BTreeSet<Allow>) -> Result<(), OptionsError> {
        let mut asked = self.asked();
        asked.retain(|(allow, _)| !allowed.contains(allow));
        match asked.is_empty() {
            true => Ok(()),
            false => Err(OptionsError::NotAllowed(asked)),
        }
    }

    /// What they ask for beyond a container's own walls.
    fn asked(&self) -> Vec<(Allow, String)> {
        let mut asked = Vec::new();
        let mut ask = |allow, what: String| asked.push((allow, what));
        let some = |key: &str| self.host.get(key).filter(|value| !is_empty(value));
        let simple = [
            ("Privileged", Allow::Privileged),
            ("CapAdd", Allow::Capabilities),
            ("Capabilities", Allow::Capabilities),
            ("Devices", Allow::Devices),
            ("DeviceRequests", Allow::Devices),
            ("DeviceCgroupRules", Allow::Devices),
            ("VolumesFrom", Allow::HostMounts),
        ];
        for (key, allow) in simple {
            if some(key).is_some() {
                ask(allow, format!("HostConfig.{key}"));
            }
        }
        // An empty list lifts the engine's own.
        for key in ["MaskedPaths", "ReadonlyPaths"] {
            if self.host.get(key).is_some_and(|value| !value.is_null()) {
                ask(Allow::Privileged, format!("HostConfig.{key}"));
            }
        }
        for option in items(some("SecurityOpt")) {
            let text = option.as_str().unwrap_or_default();
            if !text.starts_with("no-new-privileges") {
                ask(
                    Allow::Privileged,
                    format!("HostConfig.SecurityOpt {option}"),
                );
            }
        }
        for bind in items(some("Binds")) {
            let text = bind.as_str().unwrap_or_default();
            let source = text.split_once(':').map(|(source, _)| source);
            if source.is_some_and(|source| !is_volume(source)) {
                ask(Allow::HostMounts, format!("HostConfig.Binds {bind}"));
            }
        }
        for mount in items(some("Mounts")) {
            let plain = values(mount, "Type")
                .all(|kind| is_one_of(kind, &["volume", "tmpfs", "image"]))
                && values(mount, "VolumeOptions")
                    .flat_map(|options| values(options, "DriverConfig"))
                    .all(is_empty);
            if !plain {
                ask(Allow::HostMounts, format!("HostConfig.Mounts {mount}"));
            }
        }
        if some("VolumeDriver").is_some_and(|driver| !is_one_of(driver, &["local"])) {
            ask(Allow::HostMounts, "HostConfig.VolumeDriver".to_owned());
        }
        if let Some(mode) = some("NetworkMode") {
            let text = mode.as_str().unwrap_or("host");
            if text.eq_ignore_ascii_case("host") || text.contains(':') {
                ask(Allow::HostNetwork, format!("HostConfig.NetworkMode {mode}"));
            }
        }
        let networks = self.top.get("NetworkingConfig").into_iter();
        for networks in networks.flat_map(|config| values(config, "EndpointsConfig")) {
            let names = networks.as_object().into_iter().flat_map(Map::keys);
            for name in names.filter(|name| name.eq_ignore_ascii_case("host")) {
                ask(
                    Allow::HostNetwork,
                    format!("NetworkingConfig.EndpointsConfig.{name}"),
                );
            }
        }
        for key in [
            "PidMode",
            "IpcMode",
            "UTSMode",
            "UsernsMode",
            "CgroupnsMode",
            "Cgroup",
        ] {
            if let Some(mode) = some(key)
                && !is_one_of(mode, &["private", "none", "shareable"])
            {
                ask(Allow::HostPid, format!("HostConfig.{key} {mode}"));
            }
        }
        asked
    }
}

/// Spells keys as `known` does, whatever their case.
fn canonical(
    from: Map<String, Value>,
    known: &'static [&'static str],
) -> Result<Map<String, Value>, OptionsError> {
    let mut out = Map::new();
    for (key, value) in from {
        let name = known.iter().find(|name| same(name, &key));
        let name = name.map_or(key, |name| (*name).to_owned());
        if out.contains_key(&name) {
            return Err(OptionsError::Twice(name));
        }
        out.insert(name, value);
    }
    Ok(out)
}

/// Whether an engine takes one key for the other: Unicode's simple folding, by which ſ is s and K (Kelvin)
/// is k.
fn same(a: &str, b: &str) -> bool {
    let fold = |text: &str| text.to_uppercase().to_lowercase();
    a == b || fold(a) == fold(b)
}

/// The values of a key of an object in any spelling.
fn values<'v>(of: &'v Value, key: &'static str) -> impl Iterator<Item = &'v Value> {
    let members = of.as_object().into_iter().flatten();
    members
        .filter(move |(name, _)| same(name, key))
        .map(|(_, value)| value)
}

fn items(of: Option<&Value>) -> impl Iterator<Item = &Value> {
    let (list, other) = match of {
        Some(Value::Array(list)) => (list.as_slice(), None),
        other => (&[][..], other),
    };
    // What is no list is for the engine to refuse; until then it counts as what it would be in one.
    list.iter().chain(other)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    is_empty(value) || value.as_str().is_some_and(|text| words.contains(&text))
}

/// Whether the source of a bind is the name of a volume rather than a path.
fn is_volume(source: &str) -> bool {
    source.starts_with(|c: char| c.is_ascii_alphanumeric())
        && source
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

pub(crate) fn kind(key: &'static str, value: &Value, expected: &'static str) -> OptionsError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    OptionsError::Kind {
        key,
        found,
        expected,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(options: &Value) -> Vec<Allow> {
        let asked = Options::read(&options.to_string())
            .expect("options")
            .asked();
        asked.into_iter().map(|(allow, _)| allow).collect()
    }

    #[test]
    fn what_reaches_out_of_a_container_is_found_in_any_spelling() {
        for (host, wanted) in [
            (json!({"Privileged": true}), Allow::Privileged),
            (json!({"pRIVILEGED": true}), Allow::Privileged),
            (json!({"Privileged": "true"}), Allow::Privileged),
            (
                json!({"SecurityOpt": ["seccomp=unconfined"]}),
                Allow::Privileged,
            ),
            (
                json!({"\u{17f}ecurityOpt": ["apparmor=unconfined"]}),
                Allow::Privileged,
            ),
            (json!({"MaskedPaths": []}), Allow::Privileged),
            (json!({"CapAdd": ["NET_ADMIN"]}), Allow::Capabilities),
            (
                json!({"Devices": [{"PathOnHost": "/dev/mem"}]}),
                Allow::Devices,
            ),
            (json!({"DeviceRequests": [{"Count": -1}]}), Allow::Devices),
            (json!({"Binds": ["/:/host"]}), Allow::HostMounts),
            (
                json!({"Binds": ["data:/data", "./x:/x"]}),
                Allow::HostMounts,
            ),
            (
                json!({"Mounts": [{"type": "bind", "Source": "/"}]}),
                Allow::HostMounts,
            ),
            (
                json!({"Mounts": [{"Type": "volume", "VolumeOptions": {"driverconfig": {"Name": "local"}}}]}),
                Allow::HostMounts,
            ),
            (json!({"VolumesFrom": ["other"]}), Allow::HostMounts),
            (json!({"NetworkMode": "host"}), Allow::HostNetwork),
            (
                json!({"NetworkMode": "container:other"}),
                Allow::HostNetwork,
            ),
            (json!({"PidMode": "host"}), Allow::HostPid),
            (json!({"IpcMode": "container:x"}), Allow::HostPid),
        ] {
            for key in ["HostConfig", "hostconfig", "HO\u{17f}TCONFIG"] {
                assert_eq!(asked(&json!({key: host})), [wanted], "{key} {host}");
            }
        }
        let network = json!({"NetworkingConfig": {"endpointsconfig": {"host": {}}}});
        assert_eq!(asked(&network), [Allow::HostNetwork]);
    }

    #[test]
    fn what_stays_within_a_container_needs_no_leave() {
        let options = json!({
            "Cmd": ["a"], "Tty": true, "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {
                "Privileged": false, "CapAdd": [], "CapDrop": ["ALL"], "Binds": ["data:/data", "/scratch"],
                "Mounts": [{"Type": "volume", "Source": "v", "Target": "/v"}, {"Type": "tmpfs", "Target": "/t"}],
                "SecurityOpt": ["no-new-privileges"], "NetworkMode": "plant", "PidMode": "", "IpcMode": "private",
                "PortBindings": {"80/tcp": [{"HostPort": "80"}]}, "Memory": 1, "MaskedPaths": null,
            },
        });
        assert_eq!(asked(&options), []);
    }

    #[test]
    fn a_refusal_names_every_setting_that_is_missing() {
        let options = json!({"HostConfig": {"Privileged": true, "Binds": ["/data:/data"]}});
        let options = Options::read(&options.to_string()).expect("options");
        let error = options.check(&BTreeSet::from([Allow::Capabilities]));
        let error = error.expect_err("refused").to_string();
        for part in [
            "HostConfig.Privileged",
            "\"privileged\"",
            "\"/data:/data\"",
            "\"host-mounts\"",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        let allowed = BTreeSet::from([Allow::Privileged, Allow::HostMounts]);
        options.check(&allowed).expect("allowed");
    }

    #[test]
    fn two_spellings_of_a_key_are_refused_and_unknown_keys_stay() {
        let twice = Options::read(r#"{"HostConfig": {}, "hostConfig": {}}"#);
        assert_eq!(twice, Err(OptionsError::Twice("HostConfig".to_owned())));
        let options = Options::read(r#"{"Unheard": {"x": 1}, "hostConfig": {"OfThis": [1.5]}}"#);
        let options = options.expect("options");
        assert_eq!(options.top["Unheard"], json!({"x": 1}));
        assert_eq!(options.host["OfThis"], json!([1.5]));
        assert!(Options::read("[]").is_err() && Options::read(r#"{"HostConfig": 1}"#).is_err());
    }
}
