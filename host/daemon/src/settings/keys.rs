//! The keys there are, and what each may hold.

use std::path::PathBuf;
use std::time::Duration;

use edge_core::{ByteSize, DeviceId, parse_duration};
use toml::de::DeValue;

use super::{Cache, RootMessages, Settings, UpstreamKind, WhenFull};

/// A key with its place, and how its value gets into the settings.
pub(super) struct Key {
    /// Section and name, joined by a dot.
    pub(super) path: &'static str,
    /// Says what was expected if the value is something else.
    pub(super) set: fn(&mut Settings, &DeValue<'_>) -> Result<(), String>,
}

macro_rules! keys {
    ($($path:literal => $($field:ident).+ = $read:expr;)*) => {
        /// Every key.
        pub(super) const KEYS: &[Key] = &[$(Key {
            path: $path,
            set: |settings, value| {
                settings.$($field).+ = $read(value)?;
                Ok(())
            },
        },)*];
    };
}

keys! {
    "data" => data = some(folder);
    "device.name" => device.name = some(device);
    "management.socket" => management.socket = some(folder);
    "management.mode" => management.mode = mode;
    "management.group" => management.group = some(|v| Ok(text(v)?.to_owned()));
    "store.path" => store.path = some(folder);
    "store.limit" => store.limit = some(size(1 << 20, u64::MAX));
    "store.reserve" => store.reserve = size(0, u64::MAX);
    "store.when-full" => store.when_full = one_of(&[
        ("reject", WhenFull::Reject),
        ("drop-oldest", WhenFull::DropOldest),
        ("drop-lowest-priority", WhenFull::DropLowestPriority),
    ]);
    "store.segment-size" => store.segment_size = size(1 << 20, 1 << 30);
    "hub.message-limit" => hub.message_limit = size(1 << 10, 16 << 20);
    "hub.twin-limit" => hub.twin_limit = size(1 << 10, 1 << 20);
    "hub.method-limit" => hub.method_limit = size(1 << 10, 1 << 20);
    "hub.time-to-live" => hub.time_to_live = span;
    "metrics.listen" => metrics.listen = off_or(|text| {
        text.parse().map_err(|_| format!("{text:?} is no address: expected one as in \"127.0.0.1:9600\", or \"off\""))
    });
    "wasm.workers" => wasm.workers = some(workers);
    "wasm.cache" => wasm.cache = |value| {
        let at = off_or(absolute)(value)?;
        Ok::<_, String>(at.map_or(Cache::Off, Cache::At))
    };
    "upstream.kind" => upstream.kind = one_of(&[("none", UpstreamKind::None)]);
    "upstream.messages" => upstream.messages = one_of(&[
        ("keep", RootMessages::Keep),
        ("print", RootMessages::Print),
    ]);
}

fn some<T>(
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> impl Fn(&DeValue<'_>) -> Result<Option<T>, String> {
    move |value| read(value).map(Some)
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value.as_str() {
        Some("") => Err("expected some text, found none".to_owned()),
        Some(text) => Ok(text),
        None => Err(format!("expected text in quotes, found {}", found(value))),
    }
}

/// What a value is, for messages.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Table(_) => "a section".to_owned(),
        other => format!("a value of type {}", other.type_str()),
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    // A daemon has no folder of its own that a path could be relative to.
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!(
            "{text:?} is relative: expected a path from / on, as in \"/{text}\""
        )),
    }
}

fn folder(value: &DeValue<'_>) -> Result<PathBuf, String> {
    absolute(text(value)?)
}

fn device(value: &DeValue<'_>) -> Result<DeviceId, String> {
    DeviceId::new(text(value)?).map_err(|error| error.to_string())
}

fn mode(value: &DeValue<'_>) -> Result<u32, String> {
    let wrong = || "expected the file mode in quotes, in octal digits, as in \"0660\"".to_owned();
    let text = value.as_str().ok_or_else(wrong)?;
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
    match mode & !0o777 {
        0 if mode & 0o600 == 0o600 => Ok(mode),
        0 => Err(
            "its owner cannot use the socket with this mode: expected 06 or more, as in \"0660\""
                .to_owned(),
        ),
        _ => Err(wrong()),
    }
}

fn size(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<ByteSize, String> {
    move |value| {
        let DeValue::String(text) = value else {
            return Err(format!(
                "expected a size in quotes, as in \"32MiB\", found {}",
                found(value)
            ));
        };
        let size: ByteSize = text
            .parse()
            .map_err(|error: edge_core::ParseUnitError| error.to_string())?;
        if size.0 < least {
            return Err(format!(
                "expected at least {}, found {size}",
                ByteSize(least)
            ));
        }
        if size.0 > most {
            return Err(format!("expected at most {}, found {size}", ByteSize(most)));
        }
        Ok(size)
    }
}

fn span(value: &DeValue<'_>) -> Result<Duration, String> {
    let DeValue::String(text) = value else {
        return Err(format!(
            "expected a span of time in quotes, as in \"30s\", found {}",
            found(value)
        ));
    };
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    match span.is_zero() {
        true => Err("expected more than nothing".to_owned()),
        false => Ok(span),
    }
}

fn workers(value: &DeValue<'_>) -> Result<usize, String> {
    const MOST: usize = 1_024;
    let wrong = || format!("expected a number from 1 to {MOST}, found {}", found(value));
    let number = value.as_integer().ok_or_else(wrong)?;
    usize::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|number| (1..=MOST).contains(number))
        .ok_or_else(wrong)
}

fn off_or<T>(
    read: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&DeValue<'_>) -> Result<Option<T>, String> {
    move |value| match text(value)? {
        "off" => Ok(None),
        text => read(text).map(Some),
    }
}

fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let known = || {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            words.join(" or ")
        };
        let written = value
            .as_str()
            .ok_or_else(|| format!("expected {}, found {}", known(), found(value)))?;
        words
            .iter()
            .find(|(word, _)| *word == written)
            .map(|(_, meant)| *meant)
            .ok_or_else(|| format!("expected {}, found {written:?}", known()))
    }
}
