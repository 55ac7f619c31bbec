//! Values while a condition is evaluated.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// What a condition comes to. A route fires on [`Truth::True`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told, as with a property that is missing.
    Undefined,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "true",
            Self::False => "false",
            Self::Undefined => "undefined",
        })
    }
}

/// Types that are known when compiling (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Str,
    Num,
    Bool,
    Null,
    Undefined,
    /// A body value: known per message.
    Query,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Str => "string",
            Self::Num => "number",
            Self::Bool => "bool",
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::Query => "body value",
        })
    }
}

/// A value. Undefined inhabits every type and is one here; a static number is never NaN.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Undefined,
    /// The literal, and JSON's.
    Null,
    /// A body path without a value (compat): null in every respect but one.
    Missing,
    Bool(bool),
    /// NaN only as the result of arithmetic on body values in compat mode.
    Num(f64),
    Str(Cow<'a, str>),
    /// A property that is there and null: a string without text.
    NullStr,
}

impl Value<'_> {
    /// A static number: NaN is undefined.
    pub fn number(n: f64) -> Self {
        if n.is_nan() {
            Self::Undefined
        } else {
            Self::Num(n)
        }
    }

    pub fn is_defined(&self) -> bool {
        !matches!(self, Self::Undefined)
    }

    /// Rank among kinds, for comparisons of body values of different kinds.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Undefined => 0,
            Self::Bool(_) => 1,
            Self::Num(_) => 2,
            Self::Str(_) | Self::NullStr => 3,
            Self::Null | Self::Missing => 4,
        }
    }

    /// What kind of value, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Bool(_) => "a bool",
            Self::Num(_) => "a number",
            Self::Str(_) => "a string",
            Self::NullStr => "a null string",
            Self::Null => "null",
            Self::Missing => "missing, which counts as null",
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Null | Self::NullStr => f.write_str("null"),
            Self::Missing => f.write_str("null (missing)"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Num(n) => write!(f, "{n}"),
            Self::Str(s) => {
                // Long texts are cut: this is for people.
                const SHOWN: usize = 60;
                match s.char_indices().nth(SHOWN) {
                    Some((end, _)) => write!(f, "{:?}…", &s[..end]),
                    None => write!(f, "{s:?}"),
                }
            }
        }
    }
}
