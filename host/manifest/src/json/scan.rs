//! One pass over the text before it is parsed: bounds the nesting, because the parser recurses, and
//! finds what JSON forbids and the parser lets pass.

use super::SyntaxError;

/// Deepest nesting of objects and arrays.
pub(crate) const MAX_DEPTH: usize = 64;

/// The first thing that the scan objects to.
pub(super) struct Fault {
    pub at: usize,
    /// Whether it is the nesting; then the text must not be parsed.
    pub deep: bool,
    message: String,
    hint: Option<&'static str>,
}

impl From<Fault> for SyntaxError {
    fn from(fault: Fault) -> Self {
        Self {
            at: fault.at,
            message: fault.message,
            hint: fault.hint.map(str::to_owned),
        }
    }
}

pub(super) fn scan(text: &str) -> Result<(), Fault> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut first = None;
    for (at, c) in text.char_indices() {
        let fault = if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            (c < ' ').then(|| in_string_fault(c))
        } else {
            match c {
                '"' => in_string = true,
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(Fault {
                    at,
                    deep: true,
                    message: format!("objects and arrays are nested more than {MAX_DEPTH} deep"),
                    hint: None,
                });
            }
            let space =
                (c.is_whitespace() || c == '\u{feff}') && !matches!(c, ' ' | '\t' | '\n' | '\r');
            space.then(|| {
                let message = format!(
                    "found U+{:04X}, which JSON does not count as white space",
                    u32::from(c)
                );
                (message, Some("use blanks, tabs and line breaks only"))
            })
        };
        if let (Some((message, hint)), None) = (fault, &first) {
            first = Some(Fault {
                at,
                deep: false,
                message,
                hint,
            });
        }
    }
    first.map_or(Ok(()), Err)
}

fn in_string_fault(c: char) -> (String, Option<&'static str>) {
    match c {
        '\n' | '\r' => (
            "found a line break in a string, expected its closing quote".to_owned(),
            Some("a line break in a string is written \\n"),
        ),
        '\t' => (
            "found a tab in a string".to_owned(),
            Some("a tab in a string is written \\t"),
        ),
        _ => (
            format!(
                "found the control character U+{:04X} in a string",
                u32::from(c)
            ),
            Some("control characters are written \\u and four hexadecimal digits"),
        ),
    }
}
