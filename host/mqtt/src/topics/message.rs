//! Messages of the open topics as the hub keeps them: what MQTT has and a message of the hub has not is in
//! system properties.
//!
//! | property | |
//! |---|---|
//! | `mqttTopic` | the topic |
//! | `mqttQos` | `0`; missing: 1 or 2, which are delivered alike |
//! | `mqttRetain` | `1`: it was published with the flag; `kept`: it is sent because it was retained |
//! | `mqttUtf8` | `1`: its sender says that the body is text |
//! | `mqttResponseTopic`, `mqttCorrelation` | where to answer, and with what, in base64 |

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use edge_core::{Content, Timestamp, system};
use serde::{Deserialize, Serialize};

use crate::packet::{PublishProperties, QoS, Will};

const TOPIC: &str = "mqttTopic";
const QOS: &str = "mqttQos";
const RETAIN: &str = "mqttRetain";
const UTF8: &str = "mqttUtf8";
const RESPONSE_TOPIC: &str = "mqttResponseTopic";
const CORRELATION: &str = "mqttCorrelation";

/// The property of a mapped message that says where it was published.
pub(super) const MAPPED_TOPIC: &str = "mqtt-topic";

/// Something published, by a client or for one.
pub(super) struct Post<'a> {
    pub(super) topic: &'a str,
    pub(super) body: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Option<&'a PublishProperties>,
}

impl Post<'_> {
    /// As it goes to subscribers.
    pub(super) fn content(&self, now: Timestamp) -> Content {
        let mut content = self.plain(now);
        let all = &mut content.system;
        all.push_stored(TOPIC, self.topic);
        if self.qos == QoS::AtMostOnce {
            all.push_stored(QOS, "0");
        }
        if self.retain {
            all.push_stored(RETAIN, "1");
        }
        let Some(properties) = self.properties else {
            return content;
        };
        if properties.payload_is_utf8 {
            all.push_stored(UTF8, "1");
        }
        if let Some(topic) = &properties.response_topic {
            all.push_stored(RESPONSE_TOPIC, topic);
        }
        if let Some(data) = &properties.correlation_data {
            all.push_stored(CORRELATION, &BASE64.encode(data));
        }
        content
    }

    /// As it enters the hub.
    pub(super) fn mapped(&self, own: &[(Box<str>, Box<str>)], now: Timestamp) -> Content {
        let mut content = self.plain(now);
        content.properties.set(MAPPED_TOPIC, self.topic);
        for (name, value) in own {
            content.properties.set(&**name, &**value);
        }
        let correlation = self.properties.and_then(|p| p.correlation_data.as_deref());
        if let Some(Ok(id)) = correlation.map(std::str::from_utf8) {
            content.system.set(system::CORRELATION_ID, id);
        }
        content
    }

    fn plain(&self, now: Timestamp) -> Content {
        let mut content = Content {
            body: self.body.clone(),
            ..Content::default()
        };
        let Some(properties) = self.properties else {
            return content;
        };
        for (name, value) in &properties.user_properties {
            // A name may come more than once [MQTT-3.3.2-18].
            content.properties.push_stored(name, value);
        }
        if let Some(kind) = &properties.content_type {
            content.system.push_stored(system::CONTENT_TYPE, kind);
        }
        if let Some(seconds) = properties.message_expiry {
            let at = now.after(std::time::Duration::from_secs(seconds.into()));
            content.system.push_stored(system::EXPIRY, &at.to_string());
        }
        content
    }
}

/// What a message of the open topics says of itself.
pub(super) struct Shape<'a> {
    pub(super) topic: &'a str,
    pub(super) qos: QoS,
    pub(super) retain: Retain,
    pub(super) is_utf8: bool,
    pub(super) response_topic: Option<&'a str>,
    pub(super) correlation: Option<Vec<u8>>,
    pub(super) content_type: Option<&'a str>,
    pub(super) expiry: Option<Timestamp>,
}

/// Why a message may be delivered with the retain flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retain {
    No,
    /// It was published with it.
    Published,
    /// It is sent because it was retained.
    Kept,
}

impl<'a> Shape<'a> {
    /// Reads it; none: it is no message of the open topics.
    pub(super) fn of(content: &'a Content) -> Option<Self> {
        let mut topic = None;
        let mut shape = Self {
            topic: "",
            qos: QoS::AtLeastOnce,
            retain: Retain::No,
            is_utf8: false,
            response_topic: None,
            correlation: None,
            content_type: None,
            expiry: None,
        };
        for (name, value) in content.system.iter() {
            match name {
                TOPIC => topic = Some(value),
                QOS => shape.qos = QoS::AtMostOnce,
                RETAIN if value == "1" => shape.retain = Retain::Published,
                RETAIN => shape.retain = Retain::Kept,
                UTF8 => shape.is_utf8 = true,
                RESPONSE_TOPIC => shape.response_topic = Some(value),
                CORRELATION => shape.correlation = BASE64.decode(value).ok(),
                system::CONTENT_TYPE => shape.content_type = Some(value),
                system::EXPIRY => shape.expiry = value.parse().ok(),
                _ => {}
            }
        }
        shape.topic = topic?;
        Some(shape)
    }
}

/// A message as it is retained, before its body.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    properties: Vec<(String, String)>,
    system: Vec<(String, String)>,
}

/// Writes a message to be retained: the length of its head in four bytes, its head as JSON, its body.
pub(super) fn keep(content: &Content) -> Bytes {
    let pairs = |all: &edge_core::Properties| -> Vec<(String, String)> {
        let all = all.iter().filter(|(name, _)| *name != RETAIN);
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let head = Head {
        properties: pairs(&content.properties),
        system: pairs(&content.system),
    };
    let head = serde_json::to_vec(&head).expect("text can be written as JSON");
    let mut out = BytesMut::with_capacity(4 + head.len() + content.body.len());
    out.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(&head);
    out.extend_from_slice(&content.body);
    out.freeze()
}

/// Reads a message that was retained, to be sent as such; none: it is damaged.
pub(super) fn kept(mut value: Bytes) -> Option<Content> {
    let len: [u8; 4] = value.get(..4)?.try_into().ok()?;
    let len = usize::try_from(u32::from_be_bytes(len)).ok()?;
    let body = value.split_off(4usize.checked_add(len).filter(|at| *at <= value.len())?);
    let head: Head = serde_json::from_slice(&value[4..]).ok()?;
    let mut content = Content {
        body,
        ..Content::default()
    };
    for (name, value) in &head.properties {
        content.properties.push_stored(name, value);
    }
    for (name, value) in &head.system {
        content.system.push_stored(name, value);
    }
    content.system.push_stored(RETAIN, "kept");
    Some(content)
}

/// A will as it is stored with a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredWill {
    topic: String,
    /// In base64.
    body: String,
    qos: u8,
    retain: bool,
    /// Seconds from the end of the connection.
    pub(crate) delay: u32,
    utf8: bool,
    expiry: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    /// In base64.
    correlation: Option<String>,
    user: Vec<(String, String)>,
    /// Whose: the topic is checked, but messages have a sender.
    pub(crate) identity: Option<String>,
}

impl StoredWill {
    pub(super) fn new(will: &Will, identity: Option<String>) -> Self {
        let properties = &will.properties;
        let text = |text: &Option<bytestring::ByteString>| text.as_deref().map(str::to_owned);
        let user = properties.user_properties.iter();
        Self {
            topic: will.topic.to_string(),
            body: BASE64.encode(&will.body),
            qos: will.qos as u8,
            retain: will.retain,
            delay: will.delay,
            utf8: properties.payload_is_utf8,
            expiry: properties.message_expiry,
            content_type: text(&properties.content_type),
            response_topic: text(&properties.response_topic),
            correlation: properties
                .correlation_data
                .as_ref()
                .map(|data| BASE64.encode(data)),
            user: user
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            identity,
        }
    }

    /// Shows it as something to publish.
    pub(super) fn post<T>(&self, show: impl FnOnce(&Post<'_>) -> T) -> T {
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        let data = |data: &str| Bytes::from(BASE64.decode(data).unwrap_or_default());
        let user = self.user.iter();
        let properties = PublishProperties {
            payload_is_utf8: self.utf8,
            message_expiry: self.expiry,
            content_type: text(&self.content_type),
            response_topic: text(&self.response_topic),
            correlation_data: self.correlation.as_deref().map(data),
            user_properties: user
                .map(|(n, v)| (n.as_str().into(), v.as_str().into()))
                .collect(),
        };
        show(&Post {
            topic: &self.topic,
            body: data(&self.body),
            qos: QoS::from_bits(self.qos).unwrap_or_default(),
            retain: self.retain,
            properties: Some(&properties),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> PublishProperties {
        PublishProperties {
            payload_is_utf8: true,
            message_expiry: Some(60),
            content_type: Some("text/plain".into()),
            response_topic: Some("answer/here".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        }
    }

    #[test]
    fn what_is_published_is_what_is_delivered() {
        let properties = properties();
        let post = Post {
            topic: "t/1",
            body: Bytes::from_static(b"body"),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: Some(&properties),
        };
        let content = post.content(Timestamp(0));
        let shape = Shape::of(&content).expect("of the open topics");
        assert_eq!((shape.topic, shape.qos), ("t/1", QoS::AtMostOnce));
        assert_eq!(shape.retain, Retain::Published);
        assert!(shape.is_utf8);
        assert_eq!(shape.response_topic, Some("answer/here"));
        assert_eq!(shape.correlation.as_deref(), Some(&[0, 255][..]));
        assert_eq!(shape.content_type, Some("text/plain"));
        assert_eq!(shape.expiry, Some(Timestamp(60_000_000_000)));
        let pairs: Vec<_> = content.properties.iter().collect();
        assert_eq!(pairs, [("a", "1"), ("a", "2")]);

        let again = kept(keep(&content)).expect("whole");
        assert_eq!(again.body, content.body);
        assert_eq!(again.properties, content.properties);
        let shape = Shape::of(&again).expect("of the open topics");
        assert_eq!((shape.topic, shape.retain), ("t/1", Retain::Kept));
    }

    #[test]
    fn a_retained_message_that_is_damaged_is_none() {
        assert!(kept(Bytes::new()).is_none());
        assert!(kept(Bytes::from_static(&[0, 0, 0, 200, b'{'])).is_none());
        assert!(kept(Bytes::from_static(&[255, 255, 255, 255])).is_none());
        assert!(kept(Bytes::from_static(&[0, 0, 0, 1, b'{'])).is_none());
    }

    #[test]
    fn a_will_is_published_as_it_was_left() {
        let will = Will {
            topic: "gone".into(),
            body: Bytes::from_static(&[1, 2, 200]),
            qos: QoS::AtLeastOnce,
            retain: true,
            delay: 3,
            properties: properties(),
        };
        let stored = StoredWill::new(&will, Some("d".to_owned()));
        let text = serde_json::to_string(&stored).expect("JSON");
        let stored: StoredWill = serde_json::from_str(&text).expect("JSON");
        stored.post(|post| {
            assert_eq!((post.topic, &post.body), ("gone", &will.body));
            assert_eq!((post.qos, post.retain), (QoS::AtLeastOnce, true));
            assert_eq!(post.properties, Some(&will.properties));
        });
    }
}
