//! What is wrong with a manifest, and how it is shown.

use std::fmt;

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The manifest is refused.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Works, but otherwise than elsewhere.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing that is wrong or odd, and where.
///
/// Displayed as `12:7: error: <message> (<path>)`, without the hint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mistake {
    /// How bad it is.
    pub severity: Severity,
    /// Whether it is a schema version that is not known here, which says nothing of the rest.
    #[serde(skip)]
    pub version: bool,
    /// Line in the document, from 1.
    pub line: u32,
    /// Character in the line, from 1. A byte order mark at the start of the document is not counted.
    pub column: u32,
    /// Where in the JSON: keys joined by dots, elements of arrays as `[0]`, as in
    /// `modulesContent.$edgeHub["properties.desired"].routes.alerts`. A key with anything else than
    /// ASCII letters, digits, `_`, `-` and `$` stands in brackets, as JSON writes it. Inside of JSON
    /// in a string (`createOptions`) it goes on as if it were no string. Empty for the document as a
    /// whole and for text that is no JSON.
    pub path: String,
    /// What was found and what was expected; one line.
    pub message: String,
    /// What to do about it; one line.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.line, self.column, self.severity, self.message
        )?;
        if !self.path.is_empty() {
            write!(f, " ({})", self.path)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistake {}

/// Shows mistakes as compilers do, so that editors find the places. One line each, and one more if
/// there is a hint:
///
/// ```text
/// deployment.json:12:7: error: found "runing", expected running or stopped (modulesContent.…)
///     hint: did you mean "running"?
/// ```
pub fn render(file_name: &str, mistakes: &[Mistake]) -> String {
    use fmt::Write;
    mistakes.iter().fold(String::new(), |mut out, mistake| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{file_name}:{mistake}");
        if let Some(hint) = &mistake.hint {
            let _ = writeln!(out, "    hint: {hint}");
        }
        out
    })
}

/// Text from a document for use in a message: quoted, control characters escaped, and cut when
/// long.
pub(crate) fn quote(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// Text on one line, without anything that a terminal would obey: control characters and those
/// that turn the direction of writing are escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            // As in JSON; all of them have four digits.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}
