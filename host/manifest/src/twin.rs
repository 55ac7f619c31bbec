//! Desired properties of modules and the limits that IoT Hub sets to twins.

use edge_core::limits;

use crate::checker::Checker;
use crate::json::{Member, Node, Value};
use crate::mistake::quote;

/// Objects and arrays within one another below the document itself.
const DEPTH: usize = 10;
/// Longest string value, in bytes.
const STRING: usize = 4096;
/// Longest name, in bytes.
const NAME: usize = 1024;
/// Integers are kept in 53 bits with their sign.
const INTEGERS: std::ops::Range<i128> = -(1 << 52)..1 << 52;

/// Checks desired properties and gives them as compact JSON. Members that are null are left out:
/// in desired properties null stands for what is not there.
pub(crate) fn desired(checker: &mut Checker, node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Object(members) => {
            let mut kept = Vec::with_capacity(members.len());
            for member in members {
                if matches!(member.key.as_str(), "$version" | "$metadata") {
                    checker.warn(
                        member.at,
                        format!("{} is ignored: the hub keeps its own", quote(&member.key)),
                    );
                } else {
                    kept.push(member);
                }
            }
            object(checker, kept, 0, &mut out);
        }
        _ => checker.unexpected_kind(node, "an object"),
    }
    let most = usize::try_from(limits::TWIN.0).unwrap_or(usize::MAX);
    if out.len() > most {
        checker.error(
            node.start,
            format!(
                "found desired properties of {} bytes without white space, expected at most {most}",
                out.len()
            ),
        );
    }
    out
}

fn object<'n>(
    checker: &mut Checker,
    members: impl IntoIterator<Item = &'n Member>,
    depth: usize,
    out: &mut String,
) {
    out.push('{');
    let empty = out.len();
    for member in members {
        check_name(checker, member.at, "a property's name", &member.key);
        if matches!(member.node.value, Value::Null) {
            continue;
        }
        if out.len() > empty {
            out.push(',');
        }
        write_string(&member.key, out);
        out.push(':');
        value(checker, &member.node, depth, out);
    }
    out.push('}');
}

fn value(checker: &mut Checker, node: &Node, depth: usize, out: &mut String) {
    if depth == DEPTH && matches!(node.value, Value::Array(_) | Value::Object(_)) {
        checker.error(
            node.start,
            format!("found {} nested more than {DEPTH} deep", node.kind()),
        );
        return;
    }
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => {
            check_number(checker, node, text);
            out.push_str(text);
        }
        Value::String(text) => {
            if text.len() > STRING {
                checker.error(
                    node.start,
                    format!(
                        "found a string of {} bytes, expected at most {STRING}",
                        text.len()
                    ),
                );
            }
            write_string(text, out);
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if matches!(element.value, Value::Null) {
                    checker.error(
                        element.start,
                        "found null in an array, which twins do not allow",
                    );
                }
                value(checker, element, depth + 1, out);
            }
            out.push(']');
        }
        Value::Object(members) => object(checker, members, depth + 1, out),
    }
}

fn check_number(checker: &mut Checker, node: &Node, text: &str) {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let good = if digits.bytes().all(|b| b.is_ascii_digit()) {
        text.parse::<i128>().is_ok_and(|n| INTEGERS.contains(&n))
    } else {
        text.parse::<f64>().is_ok_and(f64::is_finite)
    };
    if !good {
        checker.unexpected(
            node,
            "a number that twins can hold: integers from -2^52 to 2^52 - 1, others in 64 bits",
        );
    }
}

/// Checks the name of something that becomes a key of a twin: a property, a route, a module. Says
/// whether it can be one.
pub(crate) fn check_name(checker: &mut Checker, at: usize, what: &str, name: &str) -> bool {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME {
        "is longer than 1024 bytes"
    } else if name.contains(|c: char| c.is_control() || matches!(c, '.' | '$' | '#' | ' ')) {
        "has a blank, a control character, or one of . $ #"
    } else {
        return true;
    };
    checker.error(at, format!("{what} {why}: {}", quote(name)));
    false
}

/// Appends text as a JSON string.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
