//! Settings of a component: its image and its sandbox.
//!
//! ```json
//! { "image": "file:filter.wasm", "digest": "sha256:…",
//!   "createOptions": { "mode": "resident", "memory": "64MiB", "deadline": "500ms", "timeout": "30s",
//!     "timers": { "poll": "5s" }, "logRate": 100, "args": [],
//!     "grants": { "state": true, "http": ["https://api.example"],
//!                 "dirs": [ { "host": "/data", "guest": "/data", "write": false } ] } } }
//! ```
//!
//! Paths on the host may be relative to the manifest's folder, as files of components; whoever applies
//! the deployment knows that folder. What is left out has the default of [`WasmOptions`], which grants nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use edge_core::deployment::{DirGrant, Grants, InstanceMode, ModuleKind, WasmOptions, WasmSpec};
use edge_core::{ByteSize, format_duration};

use crate::checker::Checker;
use crate::json::{Member, Node, Value, get};
use crate::mistake::quote;
use crate::{create_options, image, origin, span};

/// One page of linear memory.
const LEAST_MEMORY: ByteSize = ByteSize(64 << 10);
/// What 32-bit addresses reach.
const MOST_MEMORY: ByteSize = ByteSize(4 << 30);

const OPTIONS: &[&str] = &[
    "mode", "memory", "deadline", "timeout", "timers", "logRate", "args", "ordered", "grants",
];

/// Reads the settings of a component.
pub(super) fn read(checker: &mut Checker, at: usize, settings: &[Member]) -> Option<ModuleKind> {
    for member in settings {
        if !matches!(member.key.as_str(), "image" | "digest")
            && !create_options::is_piece(&member.key)
        {
            checker.unknown(member, &["image", "digest", "createOptions"]);
        }
    }
    let options = match create_options::read(checker, settings) {
        Some(node) => options(checker, &node),
        None => WasmOptions::default(),
    };
    let (image, digest) = image::component(checker, at, settings)?;
    Some(ModuleKind::Wasm(WasmSpec {
        image,
        digest,
        credentials: None,
        options,
    }))
}

fn options(checker: &mut Checker, node: &Node) -> WasmOptions {
    let mut options = WasmOptions::default();
    let fields = checker.object(node).unwrap_or_default();
    checker.known(fields, OPTIONS);
    let field = |key| get(fields, key).map(|member| &member.node);

    if let Some(node) = field("mode") {
        let choices = [
            ("resident", InstanceMode::Resident),
            ("per-message", InstanceMode::PerMessage),
        ];
        options.mode = checker.choice(node, &choices).unwrap_or_default();
    }
    if let Some(size) = field("memory").and_then(|node| memory(checker, node)) {
        options.memory = size;
    }
    let deadline = field("deadline").and_then(|node| span::read(checker, node));
    options.deadline = deadline.unwrap_or(options.deadline);
    let timeout = field("timeout").and_then(|node| span::read(checker, node));
    options.timeout = timeout.unwrap_or(options.timeout);
    if let Some(node) = field("deadline").or(field("timeout"))
        && options.deadline > options.timeout
    {
        checker.warn(
            node.start,
            format!(
                "the deadline of CPU time, {}, is never reached: the timeout is {}",
                format_duration(options.deadline),
                format_duration(options.timeout)
            ),
        );
    }
    if let Some(node) = field("timers") {
        options.timers = timers(checker, node);
    }
    if let Some(rate) = field("logRate").and_then(|node| checker.unsigned(node)) {
        options.log_rate = rate;
    }
    for node in field("args")
        .and_then(|node| checker.array(node))
        .unwrap_or_default()
    {
        if let Some(arg) = checker.os_string(node, "a string") {
            options.args.push(arg.to_owned());
        }
    }
    if let Some(member) = get(fields, "ordered")
        && checker.boolean(&member.node).is_some()
    {
        checker.warn(
            member.at,
            "\"ordered\" is not yet used: messages are handled in order",
        );
    }
    if let Some(node) = field("grants") {
        options.grants = grants(checker, node);
    }
    options
}

fn memory(checker: &mut Checker, node: &Node) -> Option<ByteSize> {
    let size = match &node.value {
        Value::String(text) => match text.parse::<ByteSize>() {
            Ok(size) => size,
            Err(error) => {
                checker.error(node.start, error.to_string());
                return None;
            }
        },
        Value::Number(text) if let Ok(bytes) = text.parse() => ByteSize(bytes),
        _ => {
            checker.unexpected(node, "a size, as in \"64MiB\"");
            return None;
        }
    };
    if size < LEAST_MEMORY || size > MOST_MEMORY {
        checker.unexpected(
            node,
            format_args!("a size from {LEAST_MEMORY} to {MOST_MEMORY}"),
        );
        return None;
    }
    Some(size)
}

fn timers(checker: &mut Checker, node: &Node) -> BTreeMap<String, Duration> {
    let mut timers = BTreeMap::new();
    for timer in checker.object(node).unwrap_or_default() {
        if timer.key.is_empty() {
            checker.error(timer.at, "found a timer without a name");
        }
        if let Some(period) = span::read(checker, &timer.node) {
            timers.insert(timer.key.clone(), period);
        }
    }
    timers
}

fn grants(checker: &mut Checker, node: &Node) -> Grants {
    let mut grants = Grants::default();
    let fields = checker.object(node).unwrap_or_default();
    checker.known(fields, &["state", "http", "dirs"]);
    let field = |key| get(fields, key).map(|member| &member.node);

    if let Some(state) = field("state").and_then(|node| checker.boolean(node)) {
        grants.state = state;
    }
    for node in field("http")
        .and_then(|node| checker.array(node))
        .unwrap_or_default()
    {
        let Some(text) = checker.string(node, "an origin, as in \"https://api.example\"") else {
            continue;
        };
        match origin::parse(text) {
            Ok(origin) => grants.http.push(origin),
            Err((why, hint)) => {
                let message = format!("{} is no origin: {why}", quote(text));
                match hint {
                    None => checker.error(node.start, message),
                    Some(hint) => checker.error_hint(node.start, message, hint),
                }
            }
        }
    }
    for node in field("dirs")
        .and_then(|node| checker.array(node))
        .unwrap_or_default()
    {
        let Some(dir) = directory(checker, node) else {
            continue;
        };
        if grants.dirs.iter().any(|other| other.guest == dir.guest) {
            checker.error(
                node.start,
                format!("guest path {} is granted twice", quote(&dir.guest)),
            );
        }
        grants.dirs.push(dir);
    }
    grants
}

fn directory(checker: &mut Checker, node: &Node) -> Option<DirGrant> {
    let fields = checker.object(node)?;
    checker.known(fields, &["host", "guest", "write"]);
    let mut path = |key| {
        let Some(member) = get(fields, key) else {
            checker.missing(node.start, key);
            return None;
        };
        let text = checker.os_string(&member.node, "a path")?;
        if text.is_empty() {
            checker.error(member.node.start, "found an empty path");
            return None;
        }
        Some((&member.node, text))
    };
    let (host, guest) = (path("host"), path("guest"));
    let guest = guest.and_then(|(node, text)| guest_path(checker, node, text));
    let write = get(fields, "write").map(|member| checker.boolean(&member.node));
    Some(DirGrant {
        host: PathBuf::from(host?.1),
        guest: guest?,
        write: write.unwrap_or(Some(false))?,
    })
}

/// An absolute path without steps back, as short as it can be written.
fn guest_path(checker: &mut Checker, node: &Node, text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('/') else {
        checker.error(
            node.start,
            format!(
                "{} is a relative path, expected an absolute one",
                quote(text)
            ),
        );
        return None;
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        checker.error(node.start, format!("{} has . or .. in it", quote(text)));
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}
