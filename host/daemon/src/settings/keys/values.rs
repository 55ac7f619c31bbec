//! Readers of single values and lists: each says what it expected and where it found something else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use edge_core::{ByteSize, format_duration, parse_duration};
use toml::de::DeValue;

use super::{Value, Wrong, Wrongs};

/// The shortest life of a certificate: shorter ones would be renewed without end.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(600);
/// The longest: clients refuse server certificates that live longer than some 800 days.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(820 * 86_400);
/// A clock that is a day off is not one that differs a little.
pub(super) const MAX_SKEW: Duration = Duration::from_secs(86_400);
/// Most entries of a list.
const MOST_ENTRIES: usize = 1_000;

/// A value is wrong as a whole.
pub(super) fn wrong<T>(value: &Value<'_>, message: impl Into<String>) -> Result<T, Wrongs> {
    Err(vec![Wrong {
        at: value.span().start,
        part: String::new(),
        message: message.into(),
    }])
}

/// What a value is, for messages.
pub(in crate::settings) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Table(_) => "a section".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        other => format!("a value of type {}", other.type_str()),
    }
}

/// The word that somebody may have meant.
pub(in crate::settings) fn nearest<'w>(
    name: &str,
    known: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(name, word), word))
        .filter(|(distance, word)| *distance <= (name.len().max(word.len()) / 3).clamp(1, 3))
        .min()
        .map(|(_, word)| word)
}

pub(super) fn some<T>(
    read: impl Fn(&Value<'_>) -> Result<T, Wrongs>,
) -> impl Fn(&Value<'_>) -> Result<Option<T>, Wrongs> {
    move |value| read(value).map(Some)
}

pub(super) fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Wrongs> {
    match value.get_ref().as_str() {
        Some("") => wrong(value, "expected some text, found none"),
        Some(text) => Ok(text),
        None => wrong(
            value,
            format!("expected text in quotes, found {}", found(value.get_ref())),
        ),
    }
}

pub(super) fn text_owned(value: &Value<'_>) -> Result<String, Wrongs> {
    text(value).map(str::to_owned)
}

pub(super) fn yes_or_no(value: &Value<'_>) -> Result<bool, Wrongs> {
    match value.get_ref() {
        DeValue::Boolean(value) => Ok(*value),
        other => wrong(
            value,
            format!("expected true or false, found {}", found(other)),
        ),
    }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    // A daemon has no folder of its own that a path could be relative to.
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!(
            "{text:?} is relative: expected a path from / on, as in \"/{text}\""
        )),
    }
}

pub(super) fn path(value: &Value<'_>) -> Result<PathBuf, Wrongs> {
    absolute(text(value)?).or_else(|message| wrong(value, message))
}

/// A DNS name or an IP address.
pub(super) fn host_name(value: &Value<'_>) -> Result<String, Wrongs> {
    let name = text(value)?;
    match crate::settings::is_host_name(name) {
        true => Ok(name.to_owned()),
        false => wrong(
            value,
            format!(
                "{name:?} is no host name: expected one as in \"press-7.example\", or an IP address"
            ),
        ),
    }
}

pub(super) fn mode(value: &Value<'_>) -> Result<u32, Wrongs> {
    let expected = "expected the file mode in quotes, in octal digits, as in \"0660\"";
    let mode = value.get_ref().as_str();
    let Some(mode) = mode.and_then(|text| u32::from_str_radix(text, 8).ok()) else {
        return wrong(value, expected);
    };
    match mode & !0o777 {
        0 if mode & 0o600 == 0o600 => Ok(mode),
        0 => wrong(
            value,
            "its owner cannot use the socket with this mode: expected 06 or more, as in \"0660\"",
        ),
        _ => wrong(value, expected),
    }
}

pub(super) fn size(least: u64, most: u64) -> impl Fn(&Value<'_>) -> Result<ByteSize, Wrongs> {
    move |value| {
        let DeValue::String(text) = value.get_ref() else {
            let message = format!(
                "expected a size in quotes, as in \"32MiB\", found {}",
                found(value.get_ref())
            );
            return wrong(value, message);
        };
        match text.parse::<ByteSize>() {
            Err(error) => wrong(value, error.to_string()),
            Ok(size) if size.0 < least => wrong(
                value,
                format!("expected at least {}, found {size}", ByteSize(least)),
            ),
            Ok(size) if size.0 > most => wrong(
                value,
                format!("expected at most {}, found {size}", ByteSize(most)),
            ),
            Ok(size) => Ok(size),
        }
    }
}

/// A span of time, for readers that take text.
pub(super) fn span_text(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// A span of time, which may be none at all.
fn any_span(value: &Value<'_>) -> Result<Duration, Wrongs> {
    let DeValue::String(text) = value.get_ref() else {
        let message = format!(
            "expected a span of time in quotes, as in \"30s\", found {}",
            found(value.get_ref())
        );
        return wrong(value, message);
    };
    parse_duration(text).or_else(|error| wrong(value, error.to_string()))
}

pub(super) fn span(value: &Value<'_>) -> Result<Duration, Wrongs> {
    match any_span(value)? {
        Duration::ZERO => wrong(value, "expected more than nothing"),
        span => Ok(span),
    }
}

pub(super) fn span_of(
    least: Duration,
    most: Duration,
) -> impl Fn(&Value<'_>) -> Result<Duration, Wrongs> {
    move |value| {
        let span = any_span(value)?;
        match (least..=most).contains(&span) {
            true => Ok(span),
            false => wrong(
                value,
                format!(
                    "expected {} to {}, found {}",
                    format_duration(least),
                    format_duration(most),
                    format_duration(span)
                ),
            ),
        }
    }
}

pub(super) fn count(least: usize, most: usize) -> impl Fn(&Value<'_>) -> Result<usize, Wrongs> {
    move |value| {
        let number = value.get_ref().as_integer();
        let number =
            number.and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(number),
            None => wrong(
                value,
                format!(
                    "expected a number from {least} to {most}, found {}",
                    found(value.get_ref())
                ),
            ),
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no address: expected one as in \"127.0.0.1:9600\", or \"off\"")
    })
}

/// An address that nobody reaches but from this machine.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!(
            "{address} can be reached from outside, and whoever reaches it can sign as any module: \
             expected an address of this machine alone, as in \"127.0.0.1:15580\""
        )),
    }
}

/// An address, a list of them, or "off".
pub(super) fn addresses(value: &Value<'_>) -> Result<Vec<SocketAddr>, Wrongs> {
    let one = |value: &Value<'_>| address(text(value)?).or_else(|message| wrong(value, message));
    match value.get_ref() {
        DeValue::Array(_) => list(one)(value),
        _ => off_or(address)(value).map(|address| address.into_iter().collect()),
    }
}

/// `unix://` and a path; the path alone will do.
pub(super) fn unix_socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(format!(
            "expected \"unix:///path/of/a/socket\" or \"off\", found {text:?}"
        )),
    }
}

pub(super) fn off_or<T>(
    read: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&Value<'_>) -> Result<Option<T>, Wrongs> {
    move |value| match text(value)? {
        "off" => Ok(None),
        text => read(text)
            .map(Some)
            .or_else(|message| wrong(value, message)),
    }
}

pub(super) fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Value<'_>) -> Result<T, Wrongs> {
    move |value| {
        let known = || {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            words.join(" or ")
        };
        let Some(written) = value.get_ref().as_str() else {
            let message = format!("expected {}, found {}", known(), found(value.get_ref()));
            return wrong(value, message);
        };
        match words.iter().find(|(word, _)| *word == written) {
            Some((_, meant)) => Ok(*meant),
            None => wrong(value, format!("expected {}, found {written:?}", known())),
        }
    }
}

/// A list of what `read` reads; every entry that is wrong is told.
pub(super) fn list<T>(
    read: impl Fn(&Value<'_>) -> Result<T, Wrongs>,
) -> impl Fn(&Value<'_>) -> Result<Vec<T>, Wrongs> {
    move |value| {
        let DeValue::Array(entries) = value.get_ref() else {
            let message = format!("expected a list in [ ], found {}", found(value.get_ref()));
            return wrong(value, message);
        };
        if entries.len() > MOST_ENTRIES {
            let message = format!("expected at most {MOST_ENTRIES}, found {}", entries.len());
            return wrong(value, message);
        }
        let (mut all, mut gathered) = (Vec::with_capacity(entries.len()), Gather::default());
        for (number, entry) in entries.iter().enumerate() {
            all.extend(gathered.take(&format!("[{number}]"), read(entry)));
        }
        gathered.or(all)
    }
}

/// What is wrong with the parts of a value.
#[derive(Debug, Default)]
pub(super) struct Gather(Wrongs);

impl Gather {
    /// Takes what was read of a part, or what is wrong with it.
    pub(super) fn take<T>(&mut self, part: &str, read: Result<T, Wrongs>) -> Option<T> {
        let wrongs = match read {
            Ok(value) => return Some(value),
            Err(wrongs) => wrongs,
        };
        self.0.extend(wrongs.into_iter().map(|wrong| Wrong {
            part: format!("{part}{}", wrong.part),
            ..wrong
        }));
        None
    }

    /// The whole, if none of its parts is wrong.
    pub(super) fn or<T>(self, whole: T) -> Result<T, Wrongs> {
        match self.0.is_empty() {
            true => Ok(whole),
            false => Err(self.0),
        }
    }
}

/// The parts of one entry in a list of sections.
#[derive(Debug)]
pub(super) struct Fields<'v, 'f>(&'v Value<'f>);

impl<'v, 'f> Fields<'v, 'f> {
    /// Of a value that may have these parts.
    pub(super) fn new(value: &'v Value<'f>, known: &[&str], gathered: &mut Gather) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!(
                "expected a section with {}, found {}",
                known.join(", "),
                found(value.get_ref())
            );
            return gathered.take("", wrong(value, message));
        };
        for (name, _) in table.iter() {
            let word: &str = name.get_ref();
            if known.contains(&word) {
                continue;
            }
            let message = match nearest(word, known.iter().copied()) {
                Some(near) => format!("there is no key {word:?}: did you mean {near:?}?"),
                None => format!(
                    "there is no key {word:?}: known here are {}",
                    known.join(", ")
                ),
            };
            let told: Result<(), _> = Err(vec![Wrong {
                at: name.span().start,
                part: String::new(),
                message,
            }]);
            gathered.take(&format!(".{word}"), told);
        }
        Some(Self(value))
    }

    /// A part, if it is there.
    pub(super) fn get<T>(
        &self,
        name: &str,
        gathered: &mut Gather,
        read: impl Fn(&Value<'_>) -> Result<T, Wrongs>,
    ) -> Option<T> {
        let value = self.0.get_ref().as_table()?.get(name)?;
        gathered.take(&format!(".{name}"), read(value))
    }

    /// A part that has to be there.
    pub(super) fn need<T>(
        &self,
        name: &str,
        gathered: &mut Gather,
        read: impl Fn(&Value<'_>) -> Result<T, Wrongs>,
    ) -> Option<T> {
        match self.0.get_ref().as_table()?.get(name) {
            Some(_) => self.get(name, gathered, read),
            None => gathered.take("", wrong(self.0, format!("{name} is missing"))),
        }
    }
}
