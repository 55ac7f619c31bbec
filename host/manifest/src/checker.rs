//! Collects mistakes while a document is checked, and reads values of the expected kind.
//!
//! Functions that read return `None` after they have reported why; their callers go on with what
//! else there is to check, so that one pass finds everything.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;

use crate::MOST_MISTAKES;
use crate::json::{Member, Node, SyntaxError, Value};
use crate::mistake::{Mistake, Severity, one_line, quote};
use crate::nearest::nearest;
use crate::sources::Sources;

/// The documents of one manifest and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub sources: Sources,
    found: Vec<Found>,
}

/// A mistake whose place is still an offset.
#[derive(Debug)]
struct Found {
    severity: Severity,
    version: bool,
    at: usize,
    message: String,
    hint: Option<String>,
}

impl Checker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the manifest.
    pub fn document(&mut self, text: &str) -> Option<Rc<Node>> {
        // Editors on Windows leave a byte order mark; RFC 8259 (8.1) allows to ignore it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed = self.sources.manifest(text);
        self.parsed(parsed)
    }

    /// Parses JSON that is the value of string nodes, one after the other.
    pub fn embedded(&mut self, strings: &[(&Node, &str)]) -> Option<Rc<Node>> {
        let parsed = self.sources.embedded(strings);
        self.parsed(parsed)
    }

    fn parsed(&mut self, parsed: Result<Rc<Node>, SyntaxError>) -> Option<Rc<Node>> {
        match parsed {
            Ok(root) => {
                self.repeated_keys(&root);
                Some(root)
            }
            Err(error) => {
                self.add(Severity::Error, error.at, error.message, error.hint);
                None
            }
        }
    }

    fn repeated_keys(&mut self, node: &Node) {
        match &node.value {
            Value::Array(elements) => elements
                .iter()
                .for_each(|element| self.repeated_keys(element)),
            Value::Object(members) => {
                let mut seen = HashMap::with_capacity(members.len());
                for member in members {
                    if let Some(first) = seen.insert(member.key.as_str(), member.at) {
                        self.repeated(member.at, &member.key, first);
                    }
                    self.repeated_keys(&member.node);
                }
            }
            _ => {}
        }
    }

    /// Reports a key that is there already.
    pub fn repeated(&mut self, at: usize, key: &str, first: usize) {
        let (line, column) = self.sources.line_column(first);
        self.error(
            at,
            format!("key {} is there already, at {line}:{column}", quote(key)),
        );
    }

    fn add(&mut self, severity: Severity, at: usize, message: String, hint: Option<String>) {
        self.found.push(Found {
            severity,
            version: false,
            at,
            message,
            hint,
        });
    }

    /// Reports an error.
    pub fn error(&mut self, at: usize, message: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), None);
    }

    /// Reports a schema version that is not known here.
    pub fn version(&mut self, at: usize, message: impl Into<String>) {
        self.found.push(Found {
            severity: Severity::Error,
            version: true,
            at,
            message: message.into(),
            hint: None,
        });
    }

    /// Reports an error and what to do about it.
    pub fn error_hint(&mut self, at: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), Some(hint.into()));
    }

    /// Reports a warning.
    pub fn warn(&mut self, at: usize, message: impl Into<String>) {
        self.add(Severity::Warning, at, message.into(), None);
    }

    /// Reports a warning and what to do about it.
    pub fn warn_hint(&mut self, at: usize, message: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Warning, at, message.into(), hint);
    }

    /// Reports a note.
    pub fn note(&mut self, at: usize, message: impl Into<String>) {
        self.add(Severity::Note, at, message.into(), None);
    }

    /// Reports a value of the wrong kind or range, showing it.
    pub fn unexpected(&mut self, node: &Node, expected: impl Display) {
        self.error(
            node.start,
            format!("found {}, expected {expected}", node.show()),
        );
    }

    /// Reports a value of the wrong kind, without showing it: it may be a secret.
    pub fn unexpected_kind(&mut self, node: &Node, expected: impl Display) {
        self.error(
            node.start,
            format!("found {}, expected {expected}", node.kind()),
        );
    }

    /// What was meant, probably. Of very many mistakes only the first are worth the search.
    pub fn suggest<'w>(
        &self,
        written: &str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Option<&'w str> {
        if self.found.len() < MOST_MISTAKES {
            nearest(written, words)
        } else {
            None
        }
    }

    /// Warns of a key that nobody knows here.
    pub fn unknown(&mut self, member: &Member, known: &[&str]) {
        let hint = match self.suggest(&member.key, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.warn_hint(
            member.at,
            format!("unknown key {} is ignored", quote(&member.key)),
            Some(hint),
        );
    }

    /// Warns of each key that is not known.
    pub fn known(&mut self, members: &[Member], known: &[&str]) {
        for member in members {
            if !known.contains(&member.key.as_str()) {
                self.unknown(member, known);
            }
        }
    }

    /// Reports a missing key of the object that begins there.
    pub fn missing(&mut self, at: usize, key: &str) {
        self.error(at, format!("key {key:?} is missing"));
    }

    /// An object's members.
    pub fn object<'n>(&mut self, node: &'n Node) -> Option<&'n [Member]> {
        if let Value::Object(members) = &node.value {
            return Some(members);
        }
        self.unexpected_kind(node, "an object");
        None
    }

    /// An array's elements.
    pub fn array<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        if let Value::Array(elements) = &node.value {
            return Some(elements);
        }
        self.unexpected_kind(node, "an array");
        None
    }

    /// A string; `expected` says of what.
    pub fn string<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        if let Value::String(text) = &node.value {
            return Some(text);
        }
        self.unexpected(node, expected);
        None
    }

    /// A string that an operating system takes: without the character NUL.
    pub fn os_string<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        let text = self.string(node, expected)?;
        if text.contains('\0') {
            self.error(
                node.start,
                "found the character NUL, which cannot be passed on",
            );
            return None;
        }
        Some(text)
    }

    /// A boolean.
    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        if let Value::Bool(value) = &node.value {
            return Some(*value);
        }
        self.unexpected(node, "true or false");
        None
    }

    /// A whole number in a range.
    pub fn integer(&mut self, node: &Node, range: RangeInclusive<i64>) -> Option<i64> {
        if let Value::Number(text) = &node.value
            && let Some(n) = whole(text)
            && range.contains(&n)
        {
            return Some(n);
        }
        self.unexpected(
            node,
            format_args!("a whole number from {} to {}", range.start(), range.end()),
        );
        None
    }

    /// As [`Self::integer`], of 32 bits.
    pub fn unsigned(&mut self, node: &Node) -> Option<u32> {
        self.integer(node, 0..=i64::from(u32::MAX))
            .and_then(|n| u32::try_from(n).ok())
    }

    /// One of several words, in any letter case.
    pub fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&'static str, T)]) -> Option<T> {
        let words = choices.iter().map(|(word, _)| *word);
        let listed = words.clone().collect::<Vec<_>>().join(", ");
        let Value::String(text) = &node.value else {
            self.unexpected(node, format_args!("one of {listed}"));
            return None;
        };
        let choice = choices
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        if choice.is_none() {
            let message = format!("found {}, expected one of {listed}", quote(text));
            let hint = self
                .suggest(text, words)
                .map(|near| format!("did you mean {near:?}?"));
            self.add(Severity::Error, node.start, message, hint);
        }
        choice.map(|(_, value)| *value)
    }

    /// All mistakes by position, and whether one of them is an error.
    pub fn finish(self) -> (Vec<Mistake>, bool) {
        let Self { sources, found } = self;
        let failed = found.iter().any(|found| found.severity == Severity::Error);
        let mut placed: Vec<_> = found
            .into_iter()
            .map(|found| (sources.offset_in_manifest(found.at), found))
            .collect();
        placed.sort_by_key(|(offset, found)| (*offset, found.severity));
        let rest = placed.split_off(placed.len().min(MOST_MISTAKES));
        if let Some((offset, found)) = rest.first() {
            let severity = rest.iter().map(|(_, found)| found.severity).min();
            let summary = Found {
                severity: severity.unwrap_or(found.severity),
                version: rest.iter().any(|(_, found)| found.version),
                at: found.at,
                message: format!("{} more mistakes from here on are not shown", rest.len()),
                hint: None,
            };
            placed.push((*offset, summary));
        }
        let mistakes = placed.into_iter().map(|(_, found)| {
            let (line, column) = sources.line_column(found.at);
            Mistake {
                severity: found.severity,
                version: found.version,
                line,
                column,
                path: sources.path(found.at),
                message: one_line(&found.message),
                hint: found.hint.as_deref().map(one_line),
            }
        });
        (mistakes.collect(), failed)
    }
}

/// The value of a number that is whole: `5`, also as `5.0` or `5e0`.
fn whole(text: &str) -> Option<i64> {
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    // Beyond 2^53 floating point would invent digits.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let n: f64 = text.parse().ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "whole and within ±2^53, so it is the same number"
    )]
    (n.fract() == 0.0 && n.abs() <= EXACT).then_some(n as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_have_a_point() {
        for (text, n) in [("5", 5), ("-1", -1), ("5.0", 5), ("1e3", 1000), ("-0", 0)] {
            assert_eq!(whole(text), Some(n), "{text}");
        }
        for text in ["5.5", "1e400", "99999999999999999999"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn of_very_many_mistakes_the_first_are_shown_and_the_rest_counted() {
        let mut checker = Checker::new();
        checker.document("[1]");
        for i in 0..MOST_MISTAKES + 5 {
            checker.warn(0, i.to_string());
        }
        checker.error(1, "last");
        let (mistakes, failed) = checker.finish();
        assert!(failed);
        assert_eq!(mistakes.len(), MOST_MISTAKES + 1);
        let last = mistakes.last().expect("not empty");
        assert_eq!(last.severity, Severity::Error);
        assert_eq!(last.message, "6 more mistakes from here on are not shown");
    }
}
