//! Messages.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{DeviceId, Identity, ModuleId, Properties, SystemProperties, Timestamp, system};

/// What a sender wrote. Never changes; shared by every queue and by messages derived from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The body.
    pub body: Bytes,
    /// Application properties.
    pub properties: Properties,
    /// System properties that the sender set.
    pub system: SystemProperties,
}

impl Content {
    /// Bytes that count against the limit of a message: body and all properties.
    pub fn size(&self) -> usize {
        self.body.len() + self.properties.size() + self.system.size()
    }

    /// When the sender no longer wants it delivered, if it says so in a way that can be read.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.system.get(system::EXPIRY)?.parse().ok()
    }

    /// Whether the sender says that the body is JSON.
    pub fn is_json(&self) -> bool {
        self.system.get(system::CONTENT_TYPE).is_some_and(|ct| {
            ct.split(';')
                .next()
                .unwrap_or(ct)
                .trim()
                .eq_ignore_ascii_case("application/json")
        })
    }
}

/// Where a message entered the hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A downstream device.
    Device(DeviceId),
    /// A module of this device.
    Module {
        /// This device.
        device: DeviceId,
        /// The module.
        module: ModuleId,
        /// The output that it named.
        output: Option<Arc<str>>,
    },
    /// A change of reported properties, and whose they are.
    TwinChange(Identity),
}

/// The source of a sender's messages with its path, made once per sender and output.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    source: Source,
    path: Box<str>,
}

impl Origin {
    /// The origin of messages from this source.
    pub fn new(source: Source) -> Arc<Self> {
        let path = match &source {
            Source::Device(_) => "/messages".to_owned(),
            Source::Module {
                module,
                output: None,
                ..
            } => format!("/messages/modules/{module}"),
            Source::Module {
                module,
                output: Some(output),
                ..
            } => format!("/messages/modules/{module}/outputs/{output}"),
            Source::TwinChange(_) => "/twinChangeNotifications".to_owned(),
        };
        Arc::new(Self {
            source,
            path: path.into(),
        })
    }

    /// Who sent it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The path that a route's `FROM` is matched against (routing language, section 2).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The identity behind it.
    pub fn identity(&self) -> Identity {
        match &self.source {
            Source::Device(device) => Identity::Device(device.clone()),
            Source::Module { device, module, .. } => {
                Identity::Module(device.clone(), module.clone())
            }
            Source::TwinChange(identity) => identity.clone(),
        }
    }

    /// `$connectionDeviceId`.
    pub fn device(&self) -> &DeviceId {
        match &self.source {
            Source::Device(device) | Source::Module { device, .. } => device,
            Source::TwinChange(identity) => identity.device(),
        }
    }

    /// `$connectionModuleId`.
    pub fn module(&self) -> Option<&ModuleId> {
        match &self.source {
            Source::Module { module, .. } => Some(module),
            Source::TwinChange(Identity::Module(_, module)) => Some(module),
            Source::Device(_) | Source::TwinChange(Identity::Device(_)) => None,
        }
    }

    /// `$outputName`.
    pub fn output(&self) -> Option<&str> {
        match &self.source {
            Source::Module { output, .. } => output.as_deref(),
            _ => None,
        }
    }
}

/// Names one message for as long as it exists anywhere, so that receivers can drop repeats: the
/// hub's start and a count since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId {
    /// Drawn when the hub started.
    pub start: u64,
    /// Counts the messages taken in since.
    pub count: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.start, self.count)
    }
}

/// A message that the hub took in. A clone costs two reference counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What the sender wrote.
    pub content: Arc<Content>,
    /// Who sent it.
    pub origin: Arc<Origin>,
    /// The hub's name for it.
    pub id: MessageId,
    /// When the hub took it in.
    pub enqueued: Timestamp,
    /// How many modules it has passed, itself or as what it was derived from.
    pub hops: u8,
}

/// Puts a [`Content`] together.
#[derive(Debug, Default)]
pub struct MessageBuilder(Content);

impl MessageBuilder {
    /// A message with this body and nothing else.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self(Content {
            body: body.into(),
            ..Content::default()
        })
    }

    /// Sets an application property.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.0.properties.set(name, value);
        self
    }

    /// Sets a system property; see [`system`] for names.
    #[must_use]
    pub fn system(mut self, name: &str, value: &str) -> Self {
        self.0.system.set(name, value);
        self
    }

    /// Takes a system property away.
    #[must_use]
    pub fn without_system(mut self, name: &str) -> Self {
        self.0.system.remove(name);
        self
    }

    /// Marks the body as JSON in UTF-8, so that `$body` conditions work.
    #[must_use]
    pub fn json(self) -> Self {
        self.system(system::CONTENT_TYPE, "application/json")
            .system(system::CONTENT_ENCODING, "utf-8")
    }

    /// The content.
    pub fn build(self) -> Arc<Content> {
        Arc::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_the_paths_that_routes_match() {
        let device = DeviceId::new("d").expect("id");
        let module = ModuleId::new("m").expect("id");
        let path = |source| Origin::new(source).path().to_owned();
        assert_eq!(path(Source::Device(device.clone())), "/messages");
        let of = |output: Option<&str>| Source::Module {
            device: device.clone(),
            module: module.clone(),
            output: output.map(Into::into),
        };
        assert_eq!(path(of(None)), "/messages/modules/m");
        assert_eq!(path(of(Some("o"))), "/messages/modules/m/outputs/o");
        let twin = Source::TwinChange(Identity::Device(device.clone()));
        assert_eq!(path(twin), "/twinChangeNotifications");
    }

    #[test]
    fn a_content_type_with_parameters_is_still_json() {
        let json = |ct| {
            MessageBuilder::new("")
                .system("ContentType", ct)
                .build()
                .is_json()
        };
        assert!(json("application/json") && json("Application/JSON; charset=utf-8"));
        assert!(!json("text/json"));
    }
}
