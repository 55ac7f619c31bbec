//! Sources: which paths a `FROM` takes (section 2).

use std::fmt;

use crate::diagnostic::{DiagnosticCode, Span};
use crate::mode::Mode;
use crate::parser::SourceItem;

/// The pattern after `FROM`: a prefix of paths, on the boundaries of their segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern {
    text: Box<str>,
    /// Without wildcards at the end, and with one `/` there.
    prefix: Box<str>,
}

const TWIN_CHANGES: &str = "/twinChangeNotifications/";

impl SourcePattern {
    /// A pattern as compat mode reads it: what ends in `*` or `/` loses them, and any other `*` is
    /// a letter like others.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            prefix: with_slash(text.trim().trim_end_matches('*')).into(),
        }
    }

    /// The pattern of a parsed source.
    pub(crate) fn from_items(
        items: &[SourceItem],
        mode: Mode,
    ) -> Result<Self, (Span, DiagnosticCode, String)> {
        let joined = |items: &[SourceItem]| {
            items
                .iter()
                .fold(String::new(), |s, item| s + "/" + &item.text)
        };
        let text = joined(items);
        if mode == Mode::Compat {
            return Ok(Self::new(&text));
        }
        let open = match items.split_last() {
            Some((last, before)) if last.text == "*" && !last.quoted => before,
            _ => items,
        };
        if let Some(item) = open
            .iter()
            .find(|item| item.text.contains('*') && !item.quoted)
        {
            let name = &item.text;
            let message = match name.as_str() {
                "*" => "a `*` can only be the last part of a source".to_owned(),
                _ => format!(
                    "`{name}` is no pattern: `*` stands for whole parts; a name with a `*` in it is written '{name}'"
                ),
            };
            return Err((item.span, DiagnosticCode::InnerWildcard, message));
        }
        Ok(Self {
            text: text.into(),
            prefix: with_slash(&joined(open)).into(),
        })
    }

    /// Whether messages with this path are taken. Letter case does not count.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.trim().trim_end_matches('/');
        if self.prefix.is_ascii() && path.is_ascii() {
            let (prefix, path) = (self.prefix.as_bytes(), path.as_bytes());
            return match path.len() + 1 == prefix.len() {
                true => path.eq_ignore_ascii_case(&prefix[..path.len()]),
                false => path
                    .get(..prefix.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(prefix)),
            };
        }
        let mut path = path.chars().chain(['/']).flat_map(char::to_uppercase);
        self.prefix
            .chars()
            .flat_map(char::to_uppercase)
            .all(|c| path.next() == Some(c))
    }

    /// Whether it takes nothing but changes of twins.
    pub fn is_twin_change(&self) -> bool {
        self.prefix
            .get(..TWIN_CHANGES.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(TWIN_CHANGES))
    }

    /// The pattern as written, blanks and comments left out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The pattern without a wildcard at its end; `/` takes everything.
    pub fn prefix(&self) -> &str {
        match &*self.prefix {
            "/" => "/",
            prefix => prefix.trim_end_matches('/'),
        }
    }
}

fn with_slash(text: &str) -> String {
    format!("{}/", text.trim_end_matches('/'))
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_prefixes_on_segment_boundaries() {
        let m = |pattern: &str, path: &str| SourcePattern::new(pattern).matches(path);
        assert!(m("/*", "/twinChangeNotifications") && m("/", "/messages"));
        assert!(m("/messages/modules/M", "/messages/modules/m/outputs/o"));
        assert!(!m("/messages/modules/m", "/messages/modules/m1"));
        assert!(!m("/messages/modules/m", "/messages/modules"));
        assert!(!m(
            "/messages/modules/*/outputs/o",
            "/messages/modules/m/outputs/o"
        ));
        assert!(m(
            "/messages/modules/*/outputs/o",
            "/messages/modules/*/outputs/o"
        ));
        assert!(m("/messages/ÄÖ", "/messages/äö/outputs/x") && !m("/messages/ÄÖ", "/messages/äöü"));
    }
}
