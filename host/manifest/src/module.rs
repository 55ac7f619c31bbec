//! One module of `$edgeAgent`: what containers and components have in common.

use std::collections::BTreeMap;

use edge_core::ModuleId;
use edge_core::deployment::{
    ContainerSpec, DesiredStatus, ModuleKind, ModuleSpec, PullPolicy, RestartPolicy,
};

use crate::checker::Checker;
use crate::create_options;
use crate::image;
use crate::json::{Member, Node, Value, get};
use crate::mistake::quote;
use crate::twin;

mod wasm;

const KNOWN: &[&str] = &[
    "type",
    "version",
    "status",
    "restartPolicy",
    "imagePullPolicy",
    "startupOrder",
    "env",
    "settings",
];

/// What a module is, before its settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Docker,
    Wasm,
}

/// Reads a module. `None` means that an error has been reported; also a module that comes back may
/// have errors.
pub(crate) fn read(
    checker: &mut Checker,
    member: &Member,
    schema_minor: u32,
) -> Option<ModuleSpec> {
    let id = if twin::check_name(checker, member.at, "a module's name", &member.key) {
        let id = ModuleId::new(&member.key);
        id.map_err(|error| checker.error(member.at, error.to_string()))
            .ok()
    } else {
        None
    };
    let at = member.node.start;
    let fields = checker.object(&member.node)?;
    checker.known(fields, KNOWN);
    let field = |key| get(fields, key).map(|member| &member.node);

    let kind = match field("type") {
        Some(node) => checker.choice(node, &[("docker", Type::Docker), ("wasm", Type::Wasm)]),
        None => {
            checker.missing(at, "type");
            None
        }
    };
    let version = field("version").and_then(|node| checker.string(node, "a string, as in \"1.0\""));
    let status = field("status").and_then(|node| {
        let choices = [
            ("running", DesiredStatus::Running),
            ("stopped", DesiredStatus::Stopped),
        ];
        checker.choice(node, &choices)
    });
    let restart = field("restartPolicy").and_then(|node| {
        let choices = [
            ("never", RestartPolicy::Never),
            ("on-failure", RestartPolicy::OnFailure),
            ("on-unhealthy", RestartPolicy::OnUnhealthy),
            ("always", RestartPolicy::Always),
        ];
        checker.choice(node, &choices)
    });
    let pull = field("imagePullPolicy").and_then(|node| {
        let choices = [
            ("on-create", PullPolicy::OnCreate),
            ("if-absent", PullPolicy::IfAbsent),
            ("never", PullPolicy::Never),
        ];
        let pull = checker.choice(node, &choices);
        if let (Some(Type::Wasm), Some(pull @ (PullPolicy::Never | PullPolicy::IfAbsent))) =
            (kind, pull)
        {
            let word = choices.iter().find(|(_, choice)| *choice == pull);
            let word = word.map_or("", |(word, _)| *word);
            checker.warn(
                node.start,
                format!("imagePullPolicy {word} is not yet used for components"),
            );
        }
        pull
    });
    let startup_order = get(fields, "startupOrder").and_then(|order| {
        if schema_minor < 1 {
            checker.warn_hint(
                order.at,
                "schema version 1.0 has no startupOrder; it is used nevertheless",
                Some("write \"schemaVersion\": \"1.1\"".to_owned()),
            );
        }
        checker.unsigned(&order.node)
    });
    let env = field("env")
        .map(|node| environment(checker, node))
        .unwrap_or_default();
    let settings = match field("settings") {
        Some(node) => checker.object(node).map(|settings| (node.start, settings)),
        None => {
            checker.missing(at, "settings");
            None
        }
    };
    let (kind, (at, settings)) = (kind?, settings?);
    let (default_restart, kind) = match kind {
        // What IoT Edge does when it is told nothing.
        Type::Docker => (
            RestartPolicy::OnUnhealthy,
            container(checker, at, settings, pull.unwrap_or_default()),
        ),
        Type::Wasm => (RestartPolicy::default(), wasm::read(checker, at, settings)),
    };
    Some(ModuleSpec {
        id: id?,
        version: version.map(str::to_owned),
        status: status.unwrap_or_default(),
        restart: restart.unwrap_or(default_restart),
        startup_order: startup_order.unwrap_or(u32::MAX),
        env,
        kind: kind?,
    })
}

/// `{"NAME": {"value": "text, number or boolean"}}`. Values may be secrets: no message shows one.
fn environment(checker: &mut Checker, node: &Node) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for variable in checker.object(node).unwrap_or_default() {
        if variable.key.is_empty() || variable.key.contains(['=', '\0']) {
            checker.error(
                variable.at,
                format!(
                    "{} cannot be the name of an environment variable",
                    quote(&variable.key)
                ),
            );
        }
        let Value::Object(fields) = &variable.node.value else {
            checker.error_hint(
                variable.node.start,
                format!("found {}, expected an object", variable.node.kind()),
                "a variable is written {\"value\": \"…\"}",
            );
            continue;
        };
        checker.known(fields, &["value"]);
        let Some(value) = get(fields, "value").map(|member| &member.node) else {
            checker.missing(variable.node.start, "value");
            continue;
        };
        let text = match &value.value {
            Value::String(text) if text.contains('\0') => {
                checker.error(
                    value.start,
                    "found the character NUL, which cannot be passed on",
                );
                continue;
            }
            Value::String(text) | Value::Number(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            _ => {
                checker.unexpected_kind(value, "a string, a number or a boolean");
                continue;
            }
        };
        env.insert(variable.key.clone(), text);
    }
    env
}

fn container(
    checker: &mut Checker,
    at: usize,
    settings: &[Member],
    pull: PullPolicy,
) -> Option<ModuleKind> {
    for member in settings {
        if !matches!(member.key.as_str(), "image" | "digest")
            && !create_options::is_piece(&member.key)
        {
            checker.unknown(member, &["image", "digest", "createOptions"]);
        }
    }
    // What is in them is the container engine's to judge.
    let options = create_options::read(checker, settings);
    let image = image::container(checker, at, settings)?;
    Some(ModuleKind::Container(ContainerSpec {
        options: options.map_or("{}".to_owned(), |options| create_options::text(&options)),
        pull,
        ..ContainerSpec::new(image)
    }))
}
