//! `$edgeAgent`: which modules run.

use edge_core::deployment::{ComponentRef, ModuleKind, ModuleSpec, RegistryCredentials, Rollback};
use edge_core::{Reference, registry_of_address};

use crate::checker::Checker;
use crate::flatten::Desired;
use crate::json::{Member, Node, Value, get};
use crate::{create_options, module, span, version};

/// Minor of the newest schema version.
const NEWEST: u32 = 1;

const KNOWN: &[&str] = &[
    "schemaVersion",
    "runtime",
    "systemModules",
    "modules",
    "rollback",
];
/// Signatures, and what twins carry along.
const TOLERATED: &[&str] = &["integrity", "$version", "$metadata"];

/// Modules as `$edgeAgent` lists them.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Those that could be read.
    pub specs: Vec<ModuleSpec>,
    /// Names of all.
    pub names: Vec<String>,
    /// When the deployment gives way.
    pub rollback: Rollback,
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
    let Runtime {
        credentials,
        logging,
    } = match get(fields, "runtime") {
        Some(member) => runtime(checker, &member.node),
        None => Runtime::default(),
    };
    if let Some(member) = get(fields, "systemModules") {
        system_modules(checker, member);
    }
    let mut modules = Modules::default();
    if let Some(member) = get(fields, "rollback") {
        modules.rollback = rollback(checker, &member.node);
    }
    let Some(member) = get(fields, "modules") else {
        return modules;
    };
    for member in checker.object(&member.node).unwrap_or_default() {
        modules.names.push(member.key.clone());
        modules
            .specs
            .extend(module::read(checker, member, minor.unwrap_or(NEWEST)));
    }
    for spec in &mut modules.specs {
        let of = |image: &str| {
            // What is no reference has been said.
            let reference = Reference::parse(image).ok()?;
            let mut known = credentials.iter();
            let known =
                known.find(|known| registry_of_address(&known.address) == reference.registry());
            known.cloned()
        };
        match &mut spec.kind {
            ModuleKind::Container(container) => {
                container.credentials = of(&container.image);
                container.logging = logging.clone();
            }
            ModuleKind::Wasm(wasm) => {
                if let ComponentRef::Registry(image) = &wasm.image {
                    wasm.credentials = of(image);
                }
            }
        }
    }
    modules
}

/// `true`, `false`, or an object that says more.
fn rollback(checker: &mut Checker, node: &Node) -> Rollback {
    let (mut within, mut stable) = (None, None);
    match &node.value {
        Value::Bool(false) => return Rollback::Never,
        Value::Bool(true) => {}
        Value::Object(fields) => {
            checker.known(fields, &["within", "stable"]);
            let mut field = |key| get(fields, key).and_then(|m| span::read(checker, &m.node));
            (within, stable) = (field("within"), field("stable"));
        }
        _ => checker.unexpected_kind(
            node,
            "true, false, or an object with within and stable, as in {\"within\": \"5m\"}",
        ),
    }
    Rollback::Wanted { within, stable }
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

/// The container engine's part.
#[derive(Debug, Default)]
struct Runtime {
    /// Of registries; never shown.
    credentials: Vec<RegistryCredentials>,
    /// `loggingOptions`: the JSON text of an object.
    logging: Option<String>,
}

/// Reads the container engine's part.
fn runtime(checker: &mut Checker, node: &Node) -> Runtime {
    let mut found = Runtime::default();
    let fields = checker.object(node).unwrap_or_default();
    checker.known(fields, &["type", "settings"]);
    if let Some(member) = get(fields, "type") {
        checker.choice(&member.node, &[("docker", ())]);
    }
    let Some(settings) = get(fields, "settings").and_then(|member| checker.object(&member.node))
    else {
        return found;
    };
    checker.known(
        settings,
        &["minDockerVersion", "loggingOptions", "registryCredentials"],
    );
    if let Some(member) = get(settings, "minDockerVersion")
        && !matches!(member.node.value, Value::Null)
    {
        checker.string(&member.node, "a string");
    }
    found.logging = get(settings, "loggingOptions").and_then(|member| logging(checker, member));
    let Some(credentials) = get(settings, "registryCredentials") else {
        return found;
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
        let text = |key| match get(fields, key).map(|member| &member.node.value) {
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        };
        // What is missing has been said.
        if let (Some(address), Some(username), Some(password)) =
            (text("address"), text("username"), text("password"))
        {
            found.credentials.push(RegistryCredentials {
                address,
                username,
                password,
            });
        }
    }
    found
}

/// How containers log that do not say it themselves: an object, as it is or as a string.
fn logging(checker: &mut Checker, member: &Member) -> Option<String> {
    const EXPECTED: &str = "an object with type and config, as in {\"type\": \"local\"}";
    match &member.node.value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => {
            let parsed = checker.embedded(&[(&member.node, text)])?;
            let Value::Object(_) = &parsed.value else {
                checker.unexpected(&parsed, EXPECTED);
                return None;
            };
            Some(create_options::text(&parsed))
        }
        Value::Object(_) => Some(create_options::text(&member.node)),
        _ => {
            checker.unexpected_kind(&member.node, EXPECTED);
            None
        }
    }
}
