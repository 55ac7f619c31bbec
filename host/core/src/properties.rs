//! Application and system properties.

use compact_str::CompactString;

/// Names of system properties as routes write them, without the `$` (routing language, section 6).
pub mod system {
    #![allow(missing_docs, reason = "each is its own name")]
    pub const MESSAGE_ID: &str = "messageId";
    pub const CORRELATION_ID: &str = "correlationId";
    pub const USER_ID: &str = "userId";
    pub const TO: &str = "to";
    pub const CONTENT_TYPE: &str = "contentType";
    pub const CONTENT_ENCODING: &str = "contentEncoding";
    pub const MESSAGE_SCHEMA: &str = "messageSchema";
    pub const CREATION_TIME: &str = "creationTime";
    pub const EXPIRY: &str = "absolute-expiry-time";
    pub const OUTPUT_NAME: &str = "outputName";
    pub const INPUT_NAME: &str = "inputName";
    pub const CONNECTION_DEVICE_ID: &str = "connectionDeviceId";
    pub const CONNECTION_MODULE_ID: &str = "connectionModuleId";
    pub const ENQUEUED_TIME: &str = "enqueuedTime";
    pub const MESSAGE_TYPE: &str = "messageType";
    pub const ACK: &str = "ack";
    pub const OPERATION: &str = "operation";
    pub const INTERFACE_ID: &str = "iothub-interface-id";
    pub const SUBJECT: &str = "dt-subject";
    pub const VERSION: &str = "version";
    pub const EDGE_MESSAGE_ID: &str = "edgeMessageId";
}

/// Name and value pairs in the order in which they were set. Names keep their case; looking one up
/// ignores it, as routes do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(Vec<(CompactString, CompactString)>);

/// System properties that a sender set. Those that the hub sets (who sent it, when) come from the
/// message itself.
pub type SystemProperties = Properties;

impl Properties {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of a property; letter case of the name is ignored.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| same_name(key, name))
            .map(|(_, value)| value.as_str())
    }

    /// Sets a property, in its old place if it was there.
    pub fn set(&mut self, name: impl Into<CompactString>, value: impl Into<CompactString>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(key, _)| same_name(key, &name)) {
            Some(slot) => *slot = (name, value),
            None => self.0.push((name, value)),
        }
    }

    /// Adds a pair that is known not to be there: one that was written out of such a list.
    pub fn push_stored(&mut self, name: &str, value: &str) {
        self.0.push((name.into(), value.into()));
    }

    /// Takes a property away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| !same_name(key, name));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(k, v)| k.len() + v.len()).sum()
    }
}

/// Whether two names are one when letter case is ignored. ASCII, the rule, costs no decoding, and
/// names that begin otherwise cost a look at one byte.
fn same_name(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(x), Some(y)) if x.is_ascii() && y.is_ascii() && !x.eq_ignore_ascii_case(y) => false,
        _ if a.is_ascii() && b.is_ascii() => false,
        _ => a
            .chars()
            .flat_map(char::to_uppercase)
            .eq(b.chars().flat_map(char::to_uppercase)),
    }
}

impl<K: Into<CompactString>, V: Into<CompactString>> FromIterator<(K, V)> for Properties {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        let mut properties = Self::new();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_kept_as_set() {
        let mut p: Properties = [("Key", "1"), ("Ärger", "2")].into_iter().collect();
        assert_eq!((p.get("kEY"), p.get("äRGER")), (Some("1"), Some("2")));
        p.set("KEY", "3");
        assert_eq!(p.iter().collect::<Vec<_>>(), [("KEY", "3"), ("Ärger", "2")]);
        p.remove("key");
        assert_eq!(p.get("Key"), None);
    }
}
