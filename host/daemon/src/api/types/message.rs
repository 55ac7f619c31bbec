//! Messages as people and programs read them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::{Content, Message, MessageBuilder};
use edge_store::{DeadLetter, Seq};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A body: JSON if it is JSON, else text, else `{"base64":"…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(pub Value);

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self(serde_json::json!({ "base64": STANDARD.encode(bytes) }));
        };
        Self(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageInfo {
    /// The hub's name for it.
    pub id: String,
    /// When the hub took it in.
    pub enqueued: String,
    /// Where it entered: the path that `FROM` is matched against.
    pub from: String,
    /// The device that sent it, or whose module did.
    pub device: String,
    /// The module that sent it.
    pub module: Option<String>,
    /// The output that it named.
    pub output: Option<String>,
    /// Bytes of body and properties.
    pub size: usize,
    /// The body.
    pub body: Body,
    /// Application properties.
    pub properties: BTreeMap<String, String>,
    /// System properties that the sender set.
    pub system: BTreeMap<String, String>,
}

impl From<&Message> for MessageInfo {
    fn from(message: &Message) -> Self {
        let pairs = |properties: &edge_core::Properties| {
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            properties.iter().map(owned).collect()
        };
        let (content, origin) = (&message.content, &message.origin);
        Self {
            id: message.id.to_string(),
            enqueued: message.enqueued.to_string(),
            from: origin.path().to_owned(),
            device: origin.device().to_string(),
            module: origin.module().map(ToString::to_string),
            output: origin.output().map(str::to_owned),
            size: content.size(),
            body: Body::from(&content.body[..]),
            properties: pairs(&content.properties),
            system: pairs(&content.system),
        }
    }
}

/// A message that was given up: `GET /v1/dead-letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterInfo {
    /// Its number, by which it is replayed or dropped.
    pub number: u64,
    /// The endpoint that it was for.
    pub endpoint: String,
    /// Why it was given up, in a word.
    pub code: String,
    /// Why, in full.
    pub reason: String,
    /// Tries.
    pub attempts: u32,
    /// When it was given up.
    pub at: String,
    /// The message.
    pub message: MessageInfo,
}

impl From<&(Seq, DeadLetter)> for DeadLetterInfo {
    fn from((seq, letter): &(Seq, DeadLetter)) -> Self {
        Self {
            number: seq.0,
            endpoint: letter.endpoint.to_string(),
            code: letter.reason.code().to_owned(),
            reason: letter.reason.to_string(),
            attempts: letter.attempts,
            at: letter.at.to_string(),
            message: MessageInfo::from(&letter.message),
        }
    }
}

/// `POST /v1/messages`: to an endpoint, past the routes, or from a source, through them, or to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// `module/input` or `$upstream`.
    #[serde(default)]
    pub to: Option<String>,
    /// `module`, `module/output`, or `$device` for the device itself.
    #[serde(default)]
    pub from: Option<String>,
    /// A device that is registered here; the message waits for it while it sleeps.
    #[serde(default)]
    pub device: Option<String>,
    /// With a device: answer when it has done with the message, at the latest after so many seconds, an
    /// hour at most.
    #[serde(default)]
    pub wait_seconds: Option<u64>,
    /// The body.
    pub base64: String,
    /// Application properties.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// System properties.
    #[serde(default)]
    pub system: BTreeMap<String, String>,
}

impl SendRequest {
    /// A request with this body. A body that is JSON is marked as such.
    pub fn new(body: &[u8]) -> Self {
        let mut request = Self {
            base64: STANDARD.encode(body),
            ..Self::default()
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
            let json = MessageBuilder::new("").json().build();
            let pairs = json.system.iter();
            request.system = pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
        }
        request
    }

    /// What the message holds.
    ///
    /// # Errors
    /// The body is not base64.
    pub(crate) fn content(&self) -> Result<Content, base64::DecodeError> {
        Ok(Content {
            body: STANDARD.decode(&self.base64)?.into(),
            properties: self
                .properties
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect(),
            system: self
                .system
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect(),
        })
    }
}

/// A message that is on the device now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The hub's name for it.
    pub id: String,
    /// Queues that it is in; none: no route takes it, and it was dropped.
    pub queues: usize,
    /// What became of it, where that was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What became of a message to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The device took it.
    Acknowledged,
    /// The device refused it; it is a dead letter.
    Rejected,
    /// It was tried too often; it is a dead letter.
    GivenUp,
    /// Nobody took it in time.
    Expired,
    /// It still waits for the device.
    Waiting,
}
