//! A new module's name: good as a module id, a file name, and a package name of each language.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

/// Longest name, in bytes. Module ids may be longer; npm and cargo are not tried further.
const LONGEST: usize = 64;

/// Package names that cargo refuses or that would clash in a module's crate: keywords, what the
/// standard library has, and the crates that the template uses.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "panic_abort",
    "panic_unwind",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde_json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "wit_bindgen",
    "yield",
];

/// A checked name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as Rust writes it.
    pub fn snake(&self) -> String {
        self.0.replace('-', "_")
    }

    /// Whether it can name a crate.
    ///
    /// # Errors
    /// It is a keyword or a crate that is needed.
    pub fn check_crate(&self) -> Result<()> {
        let snake = self.snake();
        ensure!(
            !TAKEN.contains(&snake.as_str()),
            "a crate cannot have the name {self}, Rust uses it: try my-{self}"
        );
        Ok(())
    }
}

impl FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(bad) = text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
        {
            bail!("{bad:?} cannot be in a module's name: lower-case letters, digits, - and _ can");
        }
        ensure!(
            text.starts_with(|first: char| first.is_ascii_lowercase()),
            "a module's name begins with a letter"
        );
        ensure!(
            text.len() <= LONGEST,
            "a module's name has at most {LONGEST} letters"
        );
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
