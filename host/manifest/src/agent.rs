//! `$edgeAgent`: which modules run.

use edge_core::deployment::ModuleSpec;

use crate::checker::Checker;
use crate::flatten::Desired;
use crate::json::{Member, Node, Value, get};
use crate::{module, version};

/// Minor of the newest schema version.
const NEWEST: u32 = 1;

const KNOWN: &[&str] = &["schemaVersion", "runtime", "systemModules", "modules"];
/// Signatures, and what twins carry along.
const TOLERATED: &[&str] = &["integrity", "$version", "$metadata"];

/// Modules as `$edgeAgent` lists them.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Those that could be read.
    pub specs: Vec<ModuleSpec>,
    /// Names of all.
    pub names: Vec<String>,
}

/// Reads the desired properties of `$edgeAgent`.
pub(crate) fn modules(checker: &mut Checker, desired: &Desired) -> Modules {
    let fields = checker.object(&desired.node).unwrap_or_default();
    for member in fields {
        match member.key.as_str() {
            key if KNOWN.contains(&key) => {}
            "integrity" => checker.warn(member.at, "the manifest's signature is not verified"),
            key if TOLERATED.contains(&key) => {}
            _ => checker.unknown(member, KNOWN),
        }
    }
    let minor = match get(fields, "schemaVersion") {
        Some(member) => version::minor(checker, &member.node, NEWEST),
        None => {
            if !desired.layer {
                checker.missing(desired.node.start, "schemaVersion");
            }
            None
        }
    };
    if let Some(member) = get(fields, "runtime") {
        runtime(checker, &member.node);
    }
    if let Some(member) = get(fields, "systemModules") {
        system_modules(checker, member);
    }
    let mut modules = Modules::default();
    let Some(member) = get(fields, "modules") else {
        return modules;
    };
    for member in checker.object(&member.node).unwrap_or_default() {
        modules.names.push(member.key.clone());
        modules
            .specs
            .extend(module::read(checker, member, minor.unwrap_or(NEWEST)));
    }
    modules
}

fn system_modules(checker: &mut Checker, member: &Member) {
    const SYSTEM: &[&str] = &["edgeAgent", "edgeHub"];
    let modules = checker.object(&member.node).unwrap_or_default();
    checker.known(modules, SYSTEM);
    for module in modules {
        checker.object(&module.node);
    }
    if modules
        .iter()
        .any(|module| SYSTEM.contains(&module.key.as_str()))
    {
        checker.note(
            member.at,
            "agent and hub are built in: images and settings of theirs are not used",
        );
    }
}

/// The container engine's part. Credentials are checked and never shown.
fn runtime(checker: &mut Checker, node: &Node) {
    let fields = checker.object(node).unwrap_or_default();
    checker.known(fields, &["type", "settings"]);
    if let Some(member) = get(fields, "type") {
        checker.choice(&member.node, &[("docker", ())]);
    }
    let Some(settings) = get(fields, "settings").and_then(|member| checker.object(&member.node))
    else {
        return;
    };
    checker.known(
        settings,
        &["minDockerVersion", "loggingOptions", "registryCredentials"],
    );
    for key in ["minDockerVersion", "loggingOptions"] {
        if let Some(member) = get(settings, key)
            && !matches!(member.node.value, Value::Null)
        {
            checker.string(&member.node, "a string");
        }
    }
    let Some(credentials) = get(settings, "registryCredentials") else {
        return;
    };
    let registries = checker.object(&credentials.node).unwrap_or_default();
    for registry in registries {
        let fields = checker.object(&registry.node).unwrap_or_default();
        checker.known(fields, &["address", "username", "password"]);
        for key in ["address", "username", "password"] {
            match get(fields, key) {
                Some(member) if matches!(member.node.value, Value::String(_)) => {}
                Some(member) => checker.unexpected_kind(&member.node, "a string"),
                // Not an object: that has been said.
                None if fields.is_empty() && !matches!(registry.node.value, Value::Object(_)) => {}
                None => checker.missing(registry.node.start, key),
            }
        }
    }
    if !registries.is_empty() {
        checker.warn(credentials.at, "credentials of registries are not yet used");
    }
}
