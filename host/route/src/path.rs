//! Paths into a body (section 7).

use crate::lexer::is_key_char;
use crate::literal;
use crate::mode::Mode;

/// A path, ready to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyPath {
    /// As written, without `$body.`.
    pub text: Box<str>,
    /// None: the path passes the check and yet leads nowhere, in any message.
    pub steps: Option<Box<[Step]>>,
    /// Where a [`crate::Body`] keeps what the path led to, if a table has given it a place.
    pub slot: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(Box<str>),
    Index(usize),
    /// `*`: all members of an object.
    AnyKey,
    /// `[*]`: all elements of an array.
    AnyIndex,
}

impl BodyPath {
    /// The path in the text after `$body.` (compat).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compat(text: &str) -> Result<Self, String> {
        check(text)?;
        Ok(Self {
            text: text.into(),
            steps: steps(text).map(Into::into),
            slot: None,
        })
    }

    /// The path in the text after `$body` (strict): `.key`, `[0]` and `['any key']`, in any order.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn strict(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                // The lexer only passes numbers and whole strings in brackets.
                let (step, tail) =
                    bracket(inner).ok_or("brackets hold a number or a quoted key")?;
                steps.push(step);
                rest = tail;
            } else {
                let step = rest.strip_prefix('.').unwrap_or(rest);
                let len = step.find(['.', '[']).unwrap_or(step.len());
                let (key, tail) = step.split_at(len);
                check_key(key)?;
                steps.push(Step::Key(key.into()));
                rest = tail;
            }
        }
        if steps.is_empty() {
            return Err(
                "the path is empty; expected $body.<path>, as in $body.sensor.t".to_owned(),
            );
        }
        Ok(Self {
            text: text.strip_prefix('.').unwrap_or(text).into(),
            steps: Some(steps.into()),
            slot: None,
        })
    }

    /// The same path without its first steps.
    pub fn without(&self, steps: usize) -> Option<Self> {
        Some(Self {
            text: self.text.clone(),
            steps: Some(self.steps.as_ref()?.get(steps..)?.into()),
            slot: None,
        })
    }
}

fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("a step of the path is empty".to_owned());
    }
    if key.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "the step `{key}` is only digits; an element of a list is written [{key}]"
        ));
    }
    Ok(())
}

/// Whether compat mode takes a path. It looks at keys with at most one index each, and stops at the
/// first thing after an index that is no dot.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the path is empty; expected $body.<path>, as in $body.sensor.t".to_owned());
    }
    let mut rest = text;
    loop {
        let len = rest.find(|c| !is_key_char(c)).unwrap_or(rest.len());
        let (key, tail) = rest.split_at(len);
        check_key(key)?;
        rest = tail;
        if let Some(inner) = rest.strip_prefix('[') {
            let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
            match inner[digits..].strip_prefix(']') {
                Some(tail) if digits > 0 => rest = tail,
                _ => {
                    return Err(format!(
                        "`{}` is no index; expected a number in brackets, as in {key}[0]",
                        &rest[..rest.find(']').map_or(rest.len(), |i| i + 1)],
                    ));
                }
            }
            if !rest.starts_with('.') {
                return Ok(());
            }
        }
        match rest.chars().next() {
            None => return Ok(()),
            Some('.') => rest = &rest[1..],
            Some(c) => return Err(format!("`{c}` cannot be a part of a path")),
        }
    }
}

/// The steps that a checked path takes; none if following it fails.
fn steps(text: &str) -> Option<Vec<Step>> {
    // `$` as the first step is the body itself.
    let mut rest = match text.strip_prefix('$') {
        Some("") => return Some(Vec::new()),
        Some(tail) if tail.starts_with(['.', '[']) => tail,
        _ => text,
    };
    let mut steps = Vec::new();
    let mut after_index = false;
    while let Some(c) = rest.chars().next() {
        match c {
            '[' => {
                let (step, tail) = bracket(&rest[1..])?;
                steps.push(step);
                (rest, after_index) = (tail, true);
                continue;
            }
            '.' => rest = &rest[1..],
            _ if after_index => return None,
            _ => {}
        }
        let len = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        let (key, tail) = rest.split_at(len);
        if key.is_empty() || tail.starts_with(']') {
            return None;
        }
        steps.push(match key {
            "*" => Step::AnyKey,
            _ => Step::Key(key.into()),
        });
        (rest, after_index) = (tail, false);
    }
    Some(steps)
}

/// What is in brackets, and what follows them.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    if let Some(tail) = inner.strip_prefix("*]") {
        return Some((Step::AnyIndex, tail));
    }
    if inner.starts_with(['\'', '"']) {
        let quote = inner.chars().next()?;
        let mut escaped = false;
        let end = inner[1..].find(|c| {
            let end = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            end
        })?;
        let key = literal::unescape(&inner[1..=end], Mode::Strict);
        let tail = inner[end + 2..].strip_prefix(']')?;
        return Some((Step::Key(key.into()), tail));
    }
    let (digits, tail) = inner.split_once(']')?;
    let index = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse::<i32>().ok())??;
    Some((Step::Index(usize::try_from(index).ok()?), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(k: &str) -> Step {
        Step::Key(k.into())
    }

    #[test]
    fn compat_paths_are_keys_with_at_most_one_index() {
        let ok = |t: &str| BodyPath::compat(t).expect(t).steps.map(Vec::from);
        assert_eq!(
            ok("a.b[0].c"),
            Some(vec![key("a"), key("b"), Step::Index(0), key("c")])
        );
        assert_eq!(ok("a[007]"), Some(vec![key("a"), Step::Index(7)]));
        assert_eq!(ok("$.a"), Some(vec![key("a")]));
        assert_eq!(ok("$"), Some(vec![]));
        assert_eq!(ok("a.*"), Some(vec![key("a"), Step::AnyKey]));
        for bad in [
            "", ".", "a.", ".a", "a..b", "1", "a.1", "a[]", "a[x]", "a['k']", "a[-1]", "a[*]",
            "a[?", "a]", "[0]",
        ] {
            assert!(BodyPath::compat(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_follows_an_index_is_not_checked() {
        let steps = |t: &str| BodyPath::compat(t).expect(t).steps.map(Vec::from);
        assert_eq!(
            steps("a[0][1]"),
            Some(vec![key("a"), Step::Index(0), Step::Index(1)])
        );
        assert_eq!(
            steps("a[0]['k']"),
            Some(vec![key("a"), Step::Index(0), key("k")])
        );
        assert_eq!(steps("a[0]b"), None);
        assert_eq!(steps("a[0][x]"), None);
        assert_eq!(steps("a[99999999999]"), None);
    }

    #[test]
    fn strict_paths_may_name_any_key() {
        let ok = |t: &str| BodyPath::strict(t).expect(t).steps.map(Vec::from);
        assert_eq!(
            ok("['odd key'][2].b"),
            Some(vec![key("odd key"), Step::Index(2), key("b")])
        );
        assert_eq!(ok(r".a['it\'s']"), Some(vec![key("a"), key("it's")]));
        for bad in ["", ".", ".a.", ".a..b", ".1"] {
            assert!(BodyPath::strict(bad).is_err(), "{bad}");
        }
    }
}
