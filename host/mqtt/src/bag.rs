//! Property bags: the properties of a message in the last segment of its topic (client contract, 6.4).
//!
//! ```text
//! bag  = [pair *("&" pair)]          pair = key "=" value        both percent-encoded
//! key  = "%24.mid" and so on for what the SDKs know, else the name of an application property
//! ```
//!
//! | key | in a message |
//! |---|---|
//! | `$.mid` `$.cid` `$.uid` `$.to` `$.ct` `$.ce` `$.schema` `$.ctime` `$.exp` `$.ifid` `$.sub` | system property of that meaning |
//! | `iothub-ack`, `iothub-operation` | system property |
//! | `$.on` | the output; not sent to a client |
//! | `$.cdid` `$.cmid` | who sent it: written by the hub, ignored from a client |
//! | others | application property |
//!
//! A `+` is a plus and never a space. The bytes that stay as they are when writing are those of Python's
//! `quote(safe='')`, so that nothing written here is a wildcard or a separator of a topic.

use std::borrow::Cow;

use compact_str::CompactString;
use edge_core::{Content, Origin, Properties, SystemProperties, system};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but letters, digits and `-._~` (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Keys of bags and the system properties that they are.
const KEYS: [(&str, &str); 13] = [
    ("$.mid", system::MESSAGE_ID),
    ("$.cid", system::CORRELATION_ID),
    ("$.uid", system::USER_ID),
    ("$.to", system::TO),
    ("$.ct", system::CONTENT_TYPE),
    ("$.ce", system::CONTENT_ENCODING),
    ("$.schema", system::MESSAGE_SCHEMA),
    ("$.ctime", system::CREATION_TIME),
    ("$.exp", system::EXPIRY),
    ("$.ifid", system::INTERFACE_ID),
    ("$.sub", system::SUBJECT),
    ("iothub-ack", system::ACK),
    ("iothub-operation", system::OPERATION),
];

/// Most pairs of a bag. Each is compared with those before it, so that without a limit one topic of 64 KiB
/// could cost seconds.
pub const MAX_PAIRS: usize = 1_000;

const OUTPUT: &str = "$.on";
const DEVICE: &str = "$.cdid";
const MODULE: &str = "$.cmid";

/// What a bag says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bag {
    /// Application properties.
    pub properties: Properties,
    /// System properties.
    pub system: SystemProperties,
    /// The output that a module named.
    pub output: Option<CompactString>,
}

/// A bag that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BagError {
    /// Not UTF-8 when decoded.
    #[error("property {0:?} is not UTF-8 when percent-decoded")]
    NotUtf8(String),
    /// Over [`MAX_PAIRS`].
    #[error("has more than 1000 properties")]
    TooMany,
    /// A value without a name.
    #[error("property {0:?} has no name")]
    NoName(String),
}

/// Reads a bag. A key without `=` has an empty value; what is between two `&&` is passed over.
///
/// # Errors
/// See [`BagError`]. The message is to be refused as a whole.
pub fn parse(text: &str) -> Result<Bag, BagError> {
    let mut bag = Bag::default();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    for (count, pair) in pairs.enumerate() {
        if count == MAX_PAIRS {
            return Err(BagError::TooMany);
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text| {
            percent_decode_str(text)
                .decode_utf8()
                .map_err(|_| BagError::NotUtf8(pair.to_owned()))
        };
        let (key, value): (Cow<'_, str>, Cow<'_, str>) = (decode(key)?, decode(value)?);
        match &*key {
            "" => return Err(BagError::NoName(pair.to_owned())),
            OUTPUT => bag.output = Some(value.into()),
            DEVICE | MODULE => {}
            key => match KEYS.iter().find(|(name, _)| *name == key) {
                Some((_, name)) => bag.system.set(*name, value),
                None => bag.properties.set(key, value),
            },
        }
    }
    Ok(bag)
}

/// Adds the bag of a message for a client to a text: system properties that bags have a key for, then
/// application properties, then, with an origin, who sent it.
pub fn write(content: &Content, origin: Option<&Origin>, out: &mut String) {
    let start = out.len();
    let mut pair = |key: &str, value: &str| {
        if out.len() > start {
            out.push('&');
        }
        out.extend(utf8_percent_encode(key, ENCODED));
        out.push('=');
        out.extend(utf8_percent_encode(value, ENCODED));
    };
    for (name, value) in content.system.iter() {
        if let Some((key, _)) = KEYS.iter().find(|(_, n)| n.eq_ignore_ascii_case(name)) {
            pair(key, value);
        }
    }
    for (name, value) in content.properties.iter() {
        // What a module inside calls so is not what these keys say.
        if !matches!(name, OUTPUT | DEVICE | MODULE) {
            pair(name, value);
        }
    }
    if let Some(origin) = origin {
        pair(DEVICE, origin.device().as_str());
        if let Some(module) = origin.module() {
            pair(MODULE, module.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
