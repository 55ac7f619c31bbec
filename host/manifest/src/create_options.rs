//! `createOptions` of a module: a JSON object, or the text of one in a string, which may be cut in
//! pieces `createOptions`, `createOptions01` … `createOptions99`.

use std::rc::Rc;

use crate::checker::Checker;
use crate::json::{Member, Node, Value, get};
use crate::twin::write_string;

const KEY: &str = "createOptions";

/// Whether a key of `settings` is a piece of the options.
pub(crate) fn is_piece(key: &str) -> bool {
    piece_number(key).is_some()
}

/// 0 for the first piece, then 1 to 99.
fn piece_number(key: &str) -> Option<usize> {
    match key.strip_prefix(KEY)?.as_bytes() {
        [] => Some(0),
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(usize::from(tens - b'0') * 10 + usize::from(ones - b'0')).filter(|n| *n > 0)
        }
        _ => None,
    }
}

/// Reads the options of a module's settings: an object, or `None` if there are none or they are
/// wrong.
pub(crate) fn read(checker: &mut Checker, settings: &[Member]) -> Option<Rc<Node>> {
    let mut pieces: Vec<(usize, &Member)> = settings
        .iter()
        .filter_map(|member| Some((piece_number(&member.key)?, member)))
        .collect();
    pieces.sort_by_key(|(number, _)| *number);
    let options = match get(settings, KEY).map(|member| &member.node) {
        Some(node) if !matches!(node.value, Value::String(_)) => {
            if let Some((_, piece)) = pieces.iter().find(|(number, _)| *number > 0) {
                checker.error(
                    piece.at,
                    "found a piece of createOptions, which are no string and have no pieces",
                );
                return None;
            }
            Rc::new(node.clone())
        }
        _ => joined(checker, &pieces)?,
    };
    match options.value {
        Value::Null => None,
        Value::Object(_) => Some(options),
        _ => {
            checker.unexpected(&options, "an object, or a string with the JSON text of one");
            None
        }
    }
}

/// The options as they are compared and passed on: keys sorted at every level, numbers as written.
pub(crate) fn text(options: &Node) -> String {
    let mut out = String::new();
    write(options, &mut out);
    out
}

fn write(node: &Node, out: &mut String) {
    let list =
        |out: &mut String, open, close, parts: &mut dyn Iterator<Item = (Option<&str>, &Node)>| {
            out.push(open);
            for (index, (key, node)) in parts.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if let Some(key) = key {
                    write_string(key, out);
                    out.push(':');
                }
                write(node, out);
            }
            out.push(close);
        };
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => write_string(text, out),
        Value::Array(elements) => {
            list(
                out,
                '[',
                ']',
                &mut elements.iter().map(|element| (None, element)),
            );
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|a, b| a.key.cmp(&b.key));
            let mut members = members.iter().map(|m| (Some(m.key.as_str()), &m.node));
            list(out, '{', '}', &mut members);
        }
    }
}

/// Parses the text that pieces make together.
fn joined(checker: &mut Checker, pieces: &[(usize, &Member)]) -> Option<Rc<Node>> {
    let mut strings = Vec::with_capacity(pieces.len());
    for (index, (number, member)) in pieces.iter().enumerate() {
        if *number < index {
            // The same key twice, which has been said.
            return None;
        }
        if *number > index {
            let before = match number - 1 {
                0 => KEY.to_owned(),
                n => format!("{KEY}{n:02}"),
            };
            checker.error(
                member.at,
                format!("{} is there without {before}", member.key),
            );
            return None;
        }
        let text = checker.string(&member.node, "a string, as the first piece is")?;
        strings.push((&member.node, text));
    }
    if strings.iter().all(|(_, text)| text.trim().is_empty()) {
        return None;
    }
    checker.embedded(&strings)
}
