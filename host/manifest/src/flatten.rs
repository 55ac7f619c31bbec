//! Desired properties of one twin, put together from `properties.desired` and from keys that reach
//! into it, as layered deployments have them:
//!
//! ```text
//! "$edgeHub": { "properties.desired": { "routes": { "a": … } },
//!               "properties.desired.routes.b": … }         ──▶  { "routes": { "a": …, "b": … } }
//! ```
//!
//! Both may be there; a value that is set twice is an error, unless both are objects, which are
//! merged.

use crate::checker::Checker;
use crate::json::{MAX_DEPTH, Member, Node, Value, get};

/// Desired properties.
#[derive(Debug)]
pub(crate) struct Desired {
    /// An object.
    pub node: Node,
    /// Whether there were only keys that reach into it: then it is one layer over others, and what
    /// a whole document must have may be missing.
    pub layer: bool,
}

const DESIRED: &str = "properties.desired";

/// Reads the twin of one module. `None` if it has no desired properties.
pub(crate) fn desired(checker: &mut Checker, twin: &Member) -> Option<Desired> {
    let members = checker.object(&twin.node)?;
    let whole = get(members, DESIRED);
    let mut root = Node {
        start: whole.map_or(twin.node.start, |whole| whole.node.start),
        end: whole.map_or(twin.node.end, |whole| whole.node.end),
        value: Value::Object(Vec::new()),
    };
    let mut any = false;
    for member in members {
        if member.key == DESIRED {
            any = true;
            if checker.object(&member.node).is_some() {
                merge(checker, &mut root, &member.node);
            }
        } else if let Some(path) = member
            .key
            .strip_prefix(DESIRED)
            .and_then(|rest| rest.strip_prefix('.'))
        {
            any = true;
            if path.split('.').any(str::is_empty) {
                checker.error(member.at, "found a key with two dots or a dot at its end");
            } else {
                insert(checker, &mut root, path, member);
            }
        } else {
            checker.unknown(member, &[DESIRED]);
        }
    }
    any.then_some(Desired {
        node: root,
        layer: whole.is_none(),
    })
}

/// Sets what lies at a path of keys joined by dots.
fn insert(checker: &mut Checker, root: &mut Node, path: &str, from: &Member) {
    // A key of many dots is as deep as that many braces.
    if path.matches('.').count() >= MAX_DEPTH {
        checker.error(
            from.at,
            format!("found a key with more than {MAX_DEPTH} dots"),
        );
        return;
    }
    // Built from the inside out: a.b.c → { a: { b: { c: value } } }.
    let built = path.rsplit('.').fold(from.node.clone(), |node, key| Node {
        start: from.at,
        end: node.end,
        value: Value::Object(vec![Member {
            key: key.to_owned(),
            at: from.at,
            node,
        }]),
    });
    merge(checker, root, &built);
}

/// Puts the members of one object into another.
fn merge(checker: &mut Checker, into: &mut Node, from: &Node) {
    let (Value::Object(into), Value::Object(from)) = (&mut into.value, &from.value) else {
        return;
    };
    if into.is_empty() {
        into.clone_from(from);
        return;
    }
    for member in from {
        // Keys that repeat within one object of the document have been reported.
        match into.iter_mut().find(|old| old.key == member.key) {
            None => into.push(member.clone()),
            Some(old) => match (&old.node.value, &member.node.value) {
                (Value::Object(_), Value::Object(_)) => merge(checker, &mut old.node, &member.node),
                _ => checker.repeated(member.at, &member.key, old.at),
            },
        }
    }
}
