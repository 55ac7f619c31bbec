//! The whole document: finds the parts, has each read, and compares them with one another.

use std::collections::BTreeSet;

use edge_core::ModuleId;
use edge_core::deployment::Deployment;
use edge_route::Mode;

use crate::agent::{self, Modules};
use crate::checker::Checker;
use crate::flatten;
use crate::hub::{self, Hub, Layer};
use crate::json::{Member, Node, get};
use crate::mistake::quote;
use crate::route::End;
use crate::twin;

const AGENT: &str = "$edgeAgent";
const HUB: &str = "$edgeHub";

/// Keys around the deployment itself, as tools and the cloud's registry of deployments write them.
const AROUND: &[&str] = &[
    "modulesContent",
    "content",
    "$schema",
    "$schema-template",
    "id",
    "schemaVersion",
    "labels",
    "priority",
    "targetCondition",
    "metrics",
    "systemMetrics",
    "etag",
    "createdTimeUtc",
    "lastUpdatedTimeUtc",
];

/// Reads a manifest; complete only if the checker has seen no error.
pub(crate) fn deployment(checker: &mut Checker, root: &Node, mode: Mode) -> Deployment {
    let mut deployment = Deployment {
        time_to_live: hub::HubConfig::default().time_to_live,
        ..Deployment::default()
    };
    let Some(content) = modules_content(checker, root) else {
        return deployment;
    };
    let (mut modules, mut hub) = (Modules::default(), Hub::default());
    for twin in content.iter().filter(|twin| twin.key == AGENT) {
        if let Some(desired) = flatten::desired(checker, twin) {
            modules = agent::modules(checker, &desired);
        }
    }
    for twin in content.iter().filter(|twin| twin.key == HUB) {
        if let Some(desired) = flatten::desired(checker, twin) {
            let layer = if desired.layer {
                Layer::Part
            } else {
                Layer::Whole
            };
            hub = hub::hub(checker, &desired.node, mode, layer);
        }
    }
    let names: BTreeSet<&str> = modules.names.iter().map(String::as_str).collect();
    for twin in content
        .iter()
        .filter(|twin| twin.key != AGENT && twin.key != HUB)
    {
        module_twin(checker, twin, &names, &mut deployment);
    }
    let lower: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    for reach in &hub.reaches {
        let (known, what) = match reach.end {
            End::Source => (
                lower.contains(&reach.module.to_lowercase()),
                "this route takes messages from",
            ),
            End::Endpoint => (names.contains(reach.module.as_str()), "this route leads to"),
        };
        if !known {
            not_deployed(checker, reach.at, what, &reach.module, &names);
        }
    }
    deployment.modules = modules.specs;
    deployment.rollback = modules.rollback;
    deployment.routes = hub.config.routes;
    deployment.time_to_live = hub.config.time_to_live;
    deployment
}

/// The desired properties of each twin.
pub(crate) fn sections(checker: &mut Checker, root: &Node) -> Vec<(String, String)> {
    let mut sections = Vec::new();
    for member in modules_content(checker, root).unwrap_or_default() {
        if let Some(desired) = flatten::desired(checker, member) {
            let properties = twin::desired(checker, &desired.node);
            sections.push((member.key.clone(), properties));
        }
    }
    sections
}

/// Finds `modulesContent`, at the top or in `content`.
fn modules_content<'n>(checker: &mut Checker, root: &'n Node) -> Option<&'n [Member]> {
    let around = checker.object(root)?;
    checker.known(around, AROUND);
    let inside = match get(around, "content") {
        Some(member) => {
            let inside = checker.object(&member.node)?;
            checker.known(inside, &["modulesContent", "deviceContent"]);
            inside
        }
        None => &[],
    };
    match (get(around, "modulesContent"), get(inside, "modulesContent")) {
        (Some(_), Some(again)) => {
            checker.error(
                again.at,
                "modulesContent is there twice: here and at the top",
            );
            None
        }
        (Some(member), None) | (None, Some(member)) => checker.object(&member.node),
        (None, None) => {
            checker.error_hint(
                root.start,
                "key \"modulesContent\" is missing",
                "a manifest is written {\"modulesContent\": {\"$edgeAgent\": …, \"$edgeHub\": …}}",
            );
            None
        }
    }
}

fn module_twin(
    checker: &mut Checker,
    twin: &Member,
    names: &BTreeSet<&str>,
    deployment: &mut Deployment,
) {
    if twin.key.starts_with('$') {
        let hint = checker
            .suggest(&twin.key, [AGENT, HUB])
            .map_or(format!("known here: {AGENT}, {HUB} and modules"), |near| {
                format!("did you mean {near:?}?")
            });
        checker.error_hint(twin.at, format!("{} is no module", quote(&twin.key)), hint);
        return;
    }
    let Some(desired) = flatten::desired(checker, twin) else {
        return;
    };
    let text = twin::desired(checker, &desired.node);
    match ModuleId::new(&twin.key) {
        Ok(id) => {
            if !names.contains(twin.key.as_str()) {
                not_deployed(
                    checker,
                    twin.at,
                    "these desired properties are for",
                    &twin.key,
                    names,
                );
            }
            deployment.desired.insert(id, text);
        }
        Err(error) => checker.error(twin.at, error.to_string()),
    }
}

fn not_deployed(
    checker: &mut Checker,
    at: usize,
    what: &str,
    module: &str,
    names: &BTreeSet<&str>,
) {
    let hint = checker
        .suggest(module, names.iter().copied())
        .map(|near| format!("did you mean {}?", quote(near)));
    checker.warn_hint(
        at,
        format!(
            "{what} {}, which is no module of this deployment",
            quote(module)
        ),
        hint,
    );
}
