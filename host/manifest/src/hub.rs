//! `$edgeHub`: routes, and how long messages are kept (routing language, section 12).

use std::time::Duration;

use edge_core::deployment::RouteSpec;
use edge_core::{ByteSize, Priority, limits};
use edge_route::Mode;

use crate::checker::Checker;
use crate::json::{Member, Node, Value, get};
use crate::mistake::Mistake;
use crate::route::{self, Reach};
use crate::{twin, version};

/// Minor of the newest schema version.
const NEWEST: u32 = 3;
/// Worst priority that a route may name.
const LAST_PRIORITY: i64 = 9;

const KNOWN: &[&str] = &["schemaVersion", "routes", "storeAndForwardConfiguration"];

/// What `$edgeHub` asks for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// In the document's order. Blank ones, which schema version 1.0 allows, are left out.
    pub routes: Vec<RouteSpec>,
    /// Time to live of messages whose route names none; `None`: they never expire. Where the
    /// document names none, [`limits::TIME_TO_LIVE`].
    pub time_to_live: Option<Duration>,
    /// `storeLimits.maxSizeBytes`.
    pub max_size: Option<ByteSize>,
    /// What is odd and yet no error, by position. Of a whole manifest it is in
    /// [`Read::warnings`](crate::Read::warnings).
    pub warnings: Vec<Mistake>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            time_to_live: Some(limits::TIME_TO_LIVE),
            max_size: None,
            warnings: Vec::new(),
        }
    }
}

/// Whether the document must be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// It stands alone.
    Whole,
    /// It lies over another, which has the rest.
    Part,
}

/// What was read, with what only a whole manifest can tell right from wrong.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub config: HubConfig,
    /// Modules that routes name.
    pub reaches: Vec<Reach>,
}

/// Reads the desired properties of `$edgeHub`.
pub(crate) fn hub(checker: &mut Checker, node: &Node, mode: Mode, layer: Layer) -> Hub {
    let mut hub = Hub::default();
    let Some(fields) = checker.object(node) else {
        return hub;
    };
    for member in fields {
        match member.key.as_str() {
            "mqttBroker" => checker.warn(
                member.at,
                "there is no MQTT broker: this section is ignored",
            ),
            "integrity" => checker.warn(member.at, "the manifest's signature is not verified"),
            "$version" | "$metadata" => {}
            key if KNOWN.contains(&key) => {}
            _ => checker.unknown(member, KNOWN),
        }
    }
    let minor = match get(fields, "schemaVersion") {
        Some(member) => version::minor(checker, &member.node, NEWEST),
        None => {
            if layer == Layer::Whole {
                checker.missing(node.start, "schemaVersion");
            }
            None
        }
    };
    if let Some(member) = get(fields, "storeAndForwardConfiguration") {
        storage(checker, &member.node, &mut hub.config);
    }
    if let Some(member) = get(fields, "routes") {
        for member in checker.object(&member.node).unwrap_or_default() {
            twin::check_name(checker, member.at, "a route's name", &member.key);
            let spec = route(
                checker,
                member,
                minor.unwrap_or(NEWEST),
                mode,
                &mut hub.reaches,
            );
            hub.config.routes.extend(spec);
        }
    }
    hub
}

fn storage(checker: &mut Checker, node: &Node, config: &mut HubConfig) {
    let fields = checker.object(node).unwrap_or_default();
    checker.known(fields, &["timeToLiveSecs", "storeLimits"]);
    if let Some(member) = get(fields, "timeToLiveSecs")
        && let Some(secs) = checker.integer(&member.node, -1..=i64::from(u32::MAX))
    {
        config.time_to_live = u64::try_from(secs).ok().map(Duration::from_secs);
        if secs == 0 {
            checker.warn_hint(
                member.node.start,
                "a time to live of 0 lets every message expire at once",
                Some("-1 keeps messages until they are delivered".to_owned()),
            );
        }
    }
    let Some(member) = get(fields, "storeLimits") else {
        return;
    };
    let limits = checker.object(&member.node).unwrap_or_default();
    checker.known(limits, &["maxSizeBytes"]);
    if let Some(size) = get(limits, "maxSizeBytes")
        && let Some(bytes) = checker.integer(&size.node, 1..=i64::MAX)
    {
        config.max_size = u64::try_from(bytes).ok().map(ByteSize);
        checker.warn(size.at, "the size limit of the store is not yet used");
    }
}

fn route(
    checker: &mut Checker,
    member: &Member,
    minor: u32,
    mode: Mode,
    reaches: &mut Vec<Reach>,
) -> Option<RouteSpec> {
    let mut spec = RouteSpec {
        name: member.key.clone(),
        text: String::new(),
        priority: Priority::DEFAULT,
        time_to_live: None,
    };
    let node = match &member.node.value {
        Value::String(_) => &member.node,
        Value::Null if minor == 0 => return blank(checker, &member.node, minor),
        Value::Object(_) if minor == 0 => {
            checker.error_hint(
                member.node.start,
                "found an object, expected a string: schema version 1.0 has routes as text only",
                "write \"schemaVersion\": \"1.1\"",
            );
            return None;
        }
        Value::Object(fields) => {
            checker.known(fields, &["route", "priority", "timeToLiveSecs"]);
            if let Some(n) = get(fields, "priority")
                .and_then(|member| checker.integer(&member.node, 0..=LAST_PRIORITY))
                .and_then(|n| u32::try_from(n).ok())
            {
                spec.priority = Priority(n);
            }
            spec.time_to_live = get(fields, "timeToLiveSecs")
                .and_then(|member| checker.unsigned(&member.node))
                .filter(|secs| *secs > 0)
                .map(|secs| Duration::from_secs(secs.into()));
            let Some(route) = get(fields, "route") else {
                checker.missing(member.node.start, "route");
                return None;
            };
            &route.node
        }
        _ => {
            checker.unexpected(&member.node, "a route: FROM … WHERE … INTO …");
            return None;
        }
    };
    spec.text = checker
        .string(node, "a route: FROM … WHERE … INTO …")?
        .to_owned();
    match route::check(checker, node, &spec.text, mode)? {
        Some(reach) => reaches.extend(reach),
        None => return blank(checker, node, minor),
    }
    Some(spec)
}

fn blank(checker: &mut Checker, node: &Node, minor: u32) -> Option<RouteSpec> {
    if minor == 0 {
        checker.warn(node.start, "this route is blank and left out");
    } else {
        checker.error_hint(
            node.start,
            "this route is blank, expected FROM … WHERE … INTO …",
            "schema version 1.0 leaves blank routes out, later ones refuse them",
        );
    }
    None
}
