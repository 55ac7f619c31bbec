//! Schema versions: `major.minor`, a third part is tolerated (routing language, section 12).

use crate::checker::Checker;
use crate::json::Node;
use crate::mistake::quote;

/// Reads a version with major 1 and a minor up to `newest`; gives the minor.
pub(crate) fn minor(checker: &mut Checker, node: &Node, newest: u32) -> Option<u32> {
    let expected = format!("a version from \"1.0\" to \"1.{newest}\"");
    let text = checker.string(node, &expected)?;
    let Some((major, minor)) = parse(text) else {
        checker.error_hint(
            node.start,
            format!("found {}, expected {expected}", quote(text)),
            "a version is two numbers with a point between them",
        );
        return None;
    };
    if major != 1 || minor > newest {
        checker.version(
            node.start,
            format!("version {major}.{minor} is not supported, expected {expected}"),
        );
        return None;
    }
    Some(minor)
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let mut number = || {
        let part = parts.next()?;
        // Signs and blanks are no digits.
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    };
    let (major, minor) = (number()?, number()?);
    let third: Option<&str> = text.splitn(3, '.').nth(2);
    match third {
        None => Some((major, minor)),
        Some(part) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => {
            Some((major, minor))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_two_or_three_numbers() {
        assert_eq!(parse("1.0"), Some((1, 0)));
        assert_eq!(parse("1.10.3"), Some((1, 10)));
        for bad in [
            "",
            "1",
            "1.",
            ".1",
            "1.x",
            "1.0.",
            "1.0.0.0",
            "1.-1",
            "+1.0",
            " 1.0",
            "1.99999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
