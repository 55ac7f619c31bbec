//! Whether a body may be read, and from bytes to text.

use std::borrow::Cow;

use super::{CONTENT_ENCODING, CONTENT_TYPE, Unreadable, system_value};
use crate::view::MessageView;

const JSON: &str = "application/json";

/// How a body's text is encoded. Without a byte order mark the wide ones are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    Utf32,
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is("utf-8") => Some(Self::Utf8),
            () if is("utf-16") => Some(Self::Utf16),
            () if is("utf-32") => Some(Self::Utf32),
            () => None,
        }
    }
}

/// May compat mode, strict mode, and strict mode on a twin change read the body.
pub(super) fn gates(view: &(impl MessageView + ?Sized)) -> [Result<Encoding, Unreadable>; 3] {
    let media = system_value(view, CONTENT_TYPE);
    let encoding = system_value(view, CONTENT_ENCODING);
    let (media, encoding) = (media.as_deref(), encoding.as_deref());
    let strict = strict(media, encoding);
    let twin = match media {
        None => strict_encoding(None, encoding),
        Some(_) => strict.clone(),
    };
    [compat(media, encoding), strict, twin]
}

/// The media type without parameters, and an encoding that is one of three.
fn compat(media: Option<&str>, encoding: Option<&str>) -> Result<Encoding, Unreadable> {
    let media = media.ok_or(Unreadable::NoContentType)?;
    if !media.eq_ignore_ascii_case(JSON) {
        return Err(Unreadable::ContentType(media.to_owned()));
    }
    let encoding = encoding.ok_or(Unreadable::NoEncoding)?;
    Encoding::named(encoding).ok_or_else(|| Unreadable::Encoding(encoding.to_owned()))
}

/// The media type whatever its parameters; `charset` stands in for an encoding, UTF-8 for both.
fn strict(media: Option<&str>, encoding: Option<&str>) -> Result<Encoding, Unreadable> {
    let media = media.ok_or(Unreadable::NoContentType)?;
    let mut parts = media.split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case(JSON) {
        return Err(Unreadable::ContentType(media.to_owned()));
    }
    let charset = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    });
    strict_encoding(charset, encoding)
}

fn strict_encoding(charset: Option<&str>, encoding: Option<&str>) -> Result<Encoding, Unreadable> {
    match encoding.or(charset) {
        None => Ok(Encoding::Utf8),
        Some(name) => {
            Encoding::named(name.trim()).ok_or_else(|| Unreadable::Encoding(name.to_owned()))
        }
    }
}

/// A body's text. What is no character becomes U+FFFD, as .NET has it.
pub(super) struct Decoded<'a> {
    /// `None`: the bytes are the text as they are, after `skip`.
    pub text: Option<Cow<'a, str>>,
    /// Bytes of a byte order mark.
    pub skip: usize,
}

pub(super) fn decode(bytes: &[u8], encoding: Encoding) -> Decoded<'_> {
    let (skip, big) = match (encoding, bytes) {
        (Encoding::Utf8, [0xEF, 0xBB, 0xBF, ..]) => (3, false),
        (Encoding::Utf16, [0xFF, 0xFE, ..]) => (2, false),
        (Encoding::Utf16, [0xFE, 0xFF, ..]) => (2, true),
        (Encoding::Utf32, [0xFF, 0xFE, 0, 0, ..]) => (4, false),
        (Encoding::Utf32, [0, 0, 0xFE, 0xFF, ..]) => (4, true),
        _ => (0, false),
    };
    let rest = &bytes[skip..];
    let text = match encoding {
        Encoding::Utf8 => match std::str::from_utf8(rest) {
            Ok(_) => None,
            Err(_) => Some(String::from_utf8_lossy(rest)),
        },
        Encoding::Utf16 => Some(utf16(rest, big).into()),
        Encoding::Utf32 => Some(utf32(rest, big).into()),
    };
    Decoded { text, skip }
}

fn utf16(bytes: &[u8], big: bool) -> String {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| match big {
        true => u16::from_be_bytes(*pair),
        false => u16::from_le_bytes(*pair),
    });
    let mut text: String = char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.extend((!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER));
    text
}

fn utf32(bytes: &[u8], big: bool) -> String {
    let (quads, rest) = bytes.as_chunks::<4>();
    let mut text: String = quads
        .iter()
        .map(|quad| match big {
            true => u32::from_be_bytes(*quad),
            false => u32::from_le_bytes(*quad),
        })
        .map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.extend((!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER));
    text
}
