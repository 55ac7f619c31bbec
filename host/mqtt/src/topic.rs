//! Topic names and filters (4.7).
//!
//! ```text
//! name   = level *("/" level)                       no wildcards, at least one character
//! filter = ["$share/" group "/"] part *("/" part)   part = level / "+" / "#", "#" last only
//! ```
//!
//! Levels may be empty: `/a` has two. Nothing here allocates.

/// Most levels of a name or a filter: bounds the work of a match and the depth of a [`crate::tree::Tree`].
pub const MAX_LEVELS: usize = 128;

/// Longest name or filter in bytes [MQTT-4.7.3-3].
pub const MAX_LEN: usize = 65_535;

/// What is wrong with a name or a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No character at all [MQTT-4.7.3-1].
    #[error("is empty")]
    Empty,
    /// Over 65 535 bytes [MQTT-4.7.3-3].
    #[error("is longer than 65535 bytes")]
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    #[error("has the character U+0000")]
    Nul,
    /// A `+` or `#` in a name [MQTT-4.7.1-1], [MQTT-3.3.2-2].
    #[error("has a wildcard, which only filters may have")]
    Wildcard,
    /// `#` that is not the whole last level [MQTT-4.7.1-1] (5), [MQTT-4.7.1-2] (3.1.1).
    #[error("has a '#' that is not the whole last level")]
    MultiLevel,
    /// `+` that is not a whole level [MQTT-4.7.1-2] (5), [MQTT-4.7.1-3] (3.1.1).
    #[error("has a '+' that is not a whole level")]
    SingleLevel,
    /// `$share` without a group, with a wildcard in it, or without a filter [MQTT-4.8.2-1].
    #[error("is no shared subscription: expected $share/GROUP/FILTER, without wildcards in GROUP")]
    Share,
    /// More than [`MAX_LEVELS`].
    #[error("has more than 128 levels")]
    TooDeep,
}

/// A filter taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The group, if the subscription is shared (4.8.2).
    pub share: Option<&'a str>,
    /// What names are compared with.
    pub filter: &'a str,
}

impl<'a> Filter<'a> {
    /// Takes a filter apart and checks it.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        let (share, filter) = match text.strip_prefix("$share") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let (group, filter) = rest
                    .strip_prefix('/')
                    .and_then(|rest| rest.split_once('/'))
                    .ok_or(TopicError::Share)?;
                if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
                    return Err(TopicError::Share);
                }
                (Some(group), filter)
            }
            _ => (None, text),
        };
        let mut levels = 0;
        let mut parts = filter.split('/').peekable();
        while let Some(part) = parts.next() {
            levels += 1;
            if part.contains('#') && (part != "#" || parts.peek().is_some()) {
                return Err(TopicError::MultiLevel);
            }
            if part.contains('+') && part != "+" {
                return Err(TopicError::SingleLevel);
            }
        }
        if levels > MAX_LEVELS {
            return Err(TopicError::TooDeep);
        }
        Ok(Self { share, filter })
    }
}

/// Checks a topic name.
///
/// # Errors
/// See [`TopicError`].
pub fn check_name(name: &str) -> Result<(), TopicError> {
    // This is in the way of each message: one pass over the bytes that takes many at a time, and no
    // second one where there is nothing to find.
    let special = name.bytes().fold(false, |special, byte| {
        special | matches!(byte, 0 | b'+' | b'#')
    });
    if !special && name.len() < MAX_LEVELS && !name.is_empty() {
        return Ok(());
    }
    check_text(name)?;
    if special {
        return Err(TopicError::Wildcard);
    }
    if name.bytes().filter(|byte| *byte == b'/').count() >= MAX_LEVELS {
        return Err(TopicError::TooDeep);
    }
    Ok(())
}

/// Checks a filter, shared or not.
///
/// # Errors
/// See [`TopicError`].
pub fn check_filter(filter: &str) -> Result<(), TopicError> {
    Filter::parse(filter).map(|_| ())
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(TopicError::TooLong);
    }
    if text.as_bytes().contains(&0) {
        return Err(TopicError::Nul);
    }
    Ok(())
}

/// Whether a valid filter, without `$share/…/`, matches a valid name. A wildcard at the beginning does
/// not match a name that begins with `$` [MQTT-4.7.2-1]; `a/#` matches `a` too (4.7.1.2).
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut parts, mut levels) = (filter.split('/'), name.split('/'));
    loop {
        match (parts.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(part), Some(level)) if part == "+" || part == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_wildcards_and_at_least_one_character() {
        for good in ["a", "/", "a//b", "$SYS/x", "Ärger/ü", "a b"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert_eq!(check_name(""), Err(TopicError::Empty));
        assert_eq!(check_name("a/+"), Err(TopicError::Wildcard));
        assert_eq!(check_name("a#"), Err(TopicError::Wildcard));
        assert_eq!(check_name("a\0"), Err(TopicError::Nul));
        assert_eq!(check_name(&"x".repeat(65_536)), Err(TopicError::TooLong));
        assert_eq!(check_name(&"/".repeat(127)), Ok(()));
        assert_eq!(check_name(&"/".repeat(128)), Err(TopicError::TooDeep));
    }

    #[test]
    fn wildcards_stand_for_whole_levels() {
        for good in [
            "#",
            "+",
            "a/#",
            "+/a/+",
            "/+",
            "a/+/#",
            "$SYS/#",
            "$shared/x",
        ] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", TopicError::Empty),
            ("a#", TopicError::MultiLevel),
            ("a/#/b", TopicError::MultiLevel),
            ("#/", TopicError::MultiLevel),
            ("a+", TopicError::SingleLevel),
            ("+a/b", TopicError::SingleLevel),
            ("a/b++", TopicError::SingleLevel),
        ] {
            assert_eq!(check_filter(bad), Err(why), "{bad}");
        }
        assert_eq!(check_filter(&"+/".repeat(127)), Ok(()));
        assert_eq!(check_filter(&"+/".repeat(128)), Err(TopicError::TooDeep));
    }

    #[test]
    fn shared_filters_are_taken_apart() {
        let filter = |share, filter| Ok(Filter { share, filter });
        assert_eq!(Filter::parse("$share/g/a/#"), filter(Some("g"), "a/#"));
        assert_eq!(Filter::parse("$share/g//"), filter(Some("g"), "/"));
        assert_eq!(Filter::parse("$shares/g/a"), filter(None, "$shares/g/a"));
        for bad in [
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/g+/a",
            "$share/#/a",
        ] {
            assert_eq!(Filter::parse(bad), Err(TopicError::Share), "{bad}");
        }
        assert_eq!(Filter::parse("$share/g/a#"), Err(TopicError::MultiLevel));
    }

    #[test]
    fn filters_match_as_the_specification_has_it() {
        for (filter, name, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "sport/tennis", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/a", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/a", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a/$b", "a/$b", true),
            ("a/#", "a/$b", true),
            ("ACCOUNTS", "Accounts", false),
            ("a/b", "a", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches(filter, name), expected, "{filter} against {name}");
        }
    }
}
