//! From files to settings, and every mistake on the way.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::keys::{KEYS, check, found, nearest};

/// Largest file that is read as configuration.
const MAX_FILE: u64 = 1 << 20;

/// One thing that is wrong in a file. Displayed as `config.toml:12:7: error: <message> (<key>)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// Section and key; empty where it is not known.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": error: {}", self.message)?;
        if !self.key.is_empty() {
            write!(f, " ({})", self.key)?;
        }
        Ok(())
    }
}

/// Settings that cannot be used: all that is wrong, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n"))]
pub struct BadSettings(pub Vec<Mistake>);

/// Reads a file and its drop-ins.
pub(super) fn files(base: &Path) -> Result<Settings, BadSettings> {
    let mut reader = Reader::default();
    reader.file(base);
    for file in reader.drop_ins(base) {
        reader.file(&file);
    }
    reader.finish()
}

/// Reads text as if it stood in a file.
#[cfg(test)]
pub(super) fn text(name: &str, text: &str) -> Result<Settings, BadSettings> {
    let mut reader = Reader::default();
    reader.text(Path::new(name), text);
    reader.finish()
}

#[derive(Default)]
struct Reader {
    settings: Settings,
    mistakes: Vec<Mistake>,
    /// Where each key was set last: what does not go together is told there.
    places: HashMap<&'static str, Mistake>,
}

impl Reader {
    fn finish(mut self) -> Result<Settings, BadSettings> {
        // What is missing because it was wrong is told once.
        if self.mistakes.is_empty() {
            let wrong = check(&self.settings).into_iter();
            let placed = wrong.filter_map(|(key, message)| {
                let place = self.places.get(key)?.clone();
                Some(Mistake { message, ..place })
            });
            self.mistakes.extend(placed);
        }
        match self.mistakes.is_empty() {
            true => Ok(self.settings),
            false => Err(BadSettings(self.mistakes)),
        }
    }

    fn whole(&mut self, file: &Path, message: String) {
        self.mistakes.push(Mistake {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
        });
    }

    /// `config.d/*.toml` beside the base file, by name. That there is none is no mistake.
    fn drop_ins(&mut self, base: &Path) -> Vec<PathBuf> {
        let dir = base.parent().unwrap_or(Path::new("")).join("config.d");
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.whole(&dir, format!("cannot be read: {error}"));
                return Vec::new();
            }
        };
        let mut files = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => files.push(entry.path()),
                Err(error) => self.whole(&dir, format!("cannot be read: {error}")),
            }
        }
        files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
        files.sort();
        files
    }

    fn file(&mut self, path: &Path) {
        let read = || {
            let size = std::fs::metadata(path)?.len();
            if size > MAX_FILE {
                return Err(std::io::Error::other(format!(
                    "it has {size} bytes, at most {MAX_FILE} are read"
                )));
            }
            std::fs::read_to_string(path)
        };
        match read() {
            Ok(text) => self.text(path, &text),
            Err(error) => self.whole(path, format!("cannot be read: {error}")),
        }
    }

    fn text(&mut self, file: &Path, text: &str) {
        let (root, errors) = DeTable::parse_recoverable(text);
        let place = Place { file, text };
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            self.mistakes
                .push(place.mistake(at, String::new(), error.message().to_owned()));
        }
        self.table(&place, "", root.get_ref());
    }

    fn table(&mut self, place: &Place<'_>, prefix: &str, table: &DeTable<'_>) {
        // In the order of the file, which is not that of the table.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path = match prefix {
                "" => name.get_ref().to_string(),
                prefix => format!("{prefix}.{}", name.get_ref()),
            };
            self.entry(place, path, name.span().start, value);
        }
    }

    fn entry(&mut self, place: &Place<'_>, path: String, at: usize, value: &Spanned<DeValue<'_>>) {
        if let Some(key) = KEYS.iter().find(|key| key.path == path) {
            let start = value.span().start;
            let here = place.mistake(start, path.clone(), String::new());
            self.places.insert(key.path, here);
            let wrongs = (key.set)(&mut self.settings, value).err();
            let mut wrongs = wrongs.unwrap_or_default();
            // In the order of the file, which is not that of their sections.
            wrongs.sort_by_key(|wrong| wrong.at);
            self.mistakes.extend(wrongs.into_iter().map(|wrong| {
                place.mistake(wrong.at, format!("{path}{}", wrong.part), wrong.message)
            }));
            return;
        }
        let section = format!("{path}.");
        if KEYS.iter().any(|key| key.path.starts_with(&section)) {
            match value.get_ref() {
                DeValue::Table(table) => self.table(place, &path, table),
                other => {
                    let message = format!(
                        "{path} is a section, written [{path}]; found {}",
                        found(other)
                    );
                    self.mistakes
                        .push(place.mistake(value.span().start, path, message));
                }
            }
            return;
        }
        let message = unknown(&path);
        self.mistakes.push(place.mistake(at, path, message));
    }
}

/// What to say of a key that is not there: the nearest one, or all of its section.
fn unknown(path: &str) -> String {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let within = |known: &'static str| match section {
        // At the top, sections and keys alike.
        "" => Some(known.split('.').next().unwrap_or(known)),
        section => known.strip_prefix(section)?.strip_prefix('.'),
    };
    let mut known: Vec<&str> = KEYS.iter().filter_map(|key| within(key.path)).collect();
    known.dedup();
    let near = nearest(name, known.iter().copied());
    // Keys that are right but for their section.
    let elsewhere: Vec<String> = KEYS
        .iter()
        .filter(|key| {
            key.path
                .rsplit_once('.')
                .is_some_and(|(_, last)| last == name)
        })
        .map(|key| format!("{:?}", key.path))
        .collect();
    match (near, elsewhere.as_slice()) {
        (Some(word), _) => format!("there is no key {name:?}: did you mean {word:?}?"),
        (None, []) => format!(
            "there is no key {name:?}: known here are {}",
            known.join(", ")
        ),
        (None, elsewhere) => format!(
            "there is no key {name:?} here: did you mean {}?",
            elsewhere.join(" or ")
        ),
    }
}

struct Place<'t> {
    file: &'t Path,
    text: &'t str,
}

impl Place<'_> {
    fn mistake(&self, at: usize, key: String, message: String) -> Mistake {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        Mistake {
            file: self.file.to_owned(),
            line,
            column: before[start..].chars().count() + 1,
            key,
            message,
        }
    }
}
