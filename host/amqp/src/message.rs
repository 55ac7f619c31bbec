//! Messages as AMQP has them, and as the hub does (client contract, section 8.3).
//!
//! | section | key | in a message |
//! |---|---|---|
//! | properties | `message-id`, `correlation-id`, `user-id`, `to`, `content-type`, `content-encoding`, `absolute-expiry-time`, `creation-time` | system property of that meaning |
//! | message annotations | `iothub-interface-id`, `dt-subject` | system property |
//! | | `x-opt-input-name`, `iothub-connection-device-id`, `iothub-connection-module-id` | written by the hub, ignored from a peer |
//! | application properties | `iothub-outputname` | the output; not sent to a client |
//! | | `iothub-ack`, `iothub-operation`, `iothub-message-schema`, `iothub-creation-time-utc` | system property |
//! | | others | application property |
//! | body | data sections, one after another; a string or binary as a single value | body |
//!
//! Values that are no text become text: numbers in decimal, times as RFC 3339, UUIDs with hyphens. An id that
//! came as an AMQP UUID is text from then on, as it is for clients of other protocols.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use edge_core::{Content, Origin, Properties, SystemProperties, Timestamp, system};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageAnnotations, MessageId,
    Properties as Sections,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Symbol, Uuid, Value};

/// Most application properties: each is compared with those before it.
pub const MAX_PROPERTIES: usize = 1_000;

const OUTPUT: &str = "iothub-outputname";
const INPUT: &str = "x-opt-input-name";
const DEVICE: &str = "iothub-connection-device-id";
const MODULE: &str = "iothub-connection-module-id";

/// Application properties and annotations that are system properties.
const KEYS: [(&str, &str); 6] = [
    ("iothub-ack", system::ACK),
    ("iothub-operation", system::OPERATION),
    ("iothub-message-schema", system::MESSAGE_SCHEMA),
    ("iothub-creation-time-utc", system::CREATION_TIME),
    ("iothub-interface-id", system::INTERFACE_ID),
    ("dt-subject", system::SUBJECT),
];

/// Those of them that are annotations.
const ANNOTATIONS: [&str; 2] = [system::INTERFACE_ID, system::SUBJECT];

/// A message that a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub content: Arc<Content>,
    /// The output that a module named.
    pub output: Option<String>,
}

/// Why a message cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// Over [`MAX_PROPERTIES`].
    #[error("the message has more than 1000 application properties")]
    TooMany,
    /// Its body is of a kind that has no bytes.
    #[error("the body is {0}; expected data sections, or one value that is a string or binary")]
    Body(&'static str),
    /// A property is of a kind that has no text.
    #[error("property {0:?} is neither text nor number, time or UUID")]
    Value(String),
    /// An application property without a name.
    #[error("an application property has no name")]
    NoName,
}

/// Reads a message.
///
/// # Errors
/// See [`MessageFault`]. The message is to be rejected as a whole.
pub fn read(message: Message<Body<Value>>) -> Result<Received, MessageFault> {
    let mut system = SystemProperties::new();
    if let Some(sections) = message.properties {
        read_sections(sections, &mut system)?;
    }
    for (key, value) in message.message_annotations.into_iter().flat_map(|a| a.0) {
        let OwnedKey::Symbol(key) = key else { continue };
        let known = KEYS.iter().find(|(name, _)| *name == key.0);
        if let Some((_, name)) = known {
            system.set(*name, annotation(&key.0, value)?);
        }
    }
    let (mut properties, mut output) = (Properties::new(), None);
    let pairs = message.application_properties.map(|pairs| pairs.0);
    let pairs = pairs.unwrap_or_default();
    if pairs.len() > MAX_PROPERTIES {
        return Err(MessageFault::TooMany);
    }
    for (key, value) in pairs {
        let value = text(&key, value)?;
        match key.as_str() {
            "" => return Err(MessageFault::NoName),
            OUTPUT => output = Some(value),
            key => match KEYS.iter().find(|(name, _)| *name == key) {
                Some((_, name)) => system.set(*name, value),
                None => properties.set(key, value),
            },
        }
    }
    Ok(Received {
        content: Arc::new(Content {
            body: body(message.body)?,
            properties,
            system,
        }),
        output,
    })
}

fn read_sections(sections: Sections, system: &mut SystemProperties) -> Result<(), MessageFault> {
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            system.set(name, value);
        }
    };
    set(
        system::MESSAGE_ID,
        sections.message_id.map(id_text).transpose()?,
    );
    let correlation = sections.correlation_id.map(id_text).transpose()?;
    set(system::CORRELATION_ID, correlation);
    let user = sections
        .user_id
        .map(|user| utf8("user-id", user.into_vec()));
    set(system::USER_ID, user.transpose()?);
    set(system::TO, sections.to);
    set(system::CONTENT_TYPE, sections.content_type.map(|t| t.0));
    set(
        system::CONTENT_ENCODING,
        sections.content_encoding.map(|e| e.0),
    );
    let time = |ms: fe2o3_amqp_types::primitives::Timestamp| time_text(ms.milliseconds());
    set(system::EXPIRY, sections.absolute_expiry_time.map(time));
    set(system::CREATION_TIME, sections.creation_time.map(time));
    Ok(())
}

/// An id as text.
///
/// # Errors
/// It is binary and no UTF-8.
pub fn id_text(id: MessageId) -> Result<String, MessageFault> {
    match id {
        MessageId::String(text) => Ok(text),
        MessageId::Ulong(number) => Ok(number.to_string()),
        MessageId::Uuid(uuid) => Ok(uuid_text(&uuid)),
        MessageId::Binary(bytes) => utf8("id", bytes.into_vec()),
    }
}

/// The bytes of a body.
///
/// # Errors
/// It has none.
pub fn body(body: Body<Value>) -> Result<Bytes, MessageFault> {
    match body {
        Body::Data(sections) => {
            let mut sections = sections.into_inner();
            if let [_] = sections.as_slice()
                && let Some(Data(only)) = sections.pop()
            {
                return Ok(Bytes::from(only.into_vec()));
            }
            let size = sections.iter().map(|Data(part)| part.len()).sum();
            let mut whole = Vec::with_capacity(size);
            sections
                .iter()
                .for_each(|Data(part)| whole.extend_from_slice(part));
            Ok(whole.into())
        }
        Body::Value(value) => match value.0 {
            Value::String(text) => Ok(text.into_bytes().into()),
            Value::Binary(bytes) => Ok(bytes.into_vec().into()),
            Value::Null => Ok(Bytes::new()),
            _ => Err(MessageFault::Body("a value of another kind")),
        },
        Body::Sequence(_) => Err(MessageFault::Body("a sequence")),
        Body::Empty => Ok(Bytes::new()),
    }
}

fn annotation(name: &str, value: Value) -> Result<String, MessageFault> {
    let simple = match value {
        Value::String(text) => return Ok(text),
        Value::Symbol(symbol) => return Ok(symbol.0),
        other => SimpleValue::try_from(other),
    };
    match simple {
        Ok(value) => text(name, value),
        Err(_) => Err(MessageFault::Value(name.to_owned())),
    }
}

fn text(name: &str, value: SimpleValue) -> Result<String, MessageFault> {
    Ok(match value {
        SimpleValue::String(text) => text,
        SimpleValue::Symbol(symbol) => symbol.0,
        SimpleValue::Null => String::new(),
        SimpleValue::Bool(value) => value.to_string(),
        SimpleValue::Ubyte(value) => value.to_string(),
        SimpleValue::Ushort(value) => value.to_string(),
        SimpleValue::Uint(value) => value.to_string(),
        SimpleValue::Ulong(value) => value.to_string(),
        SimpleValue::Byte(value) => value.to_string(),
        SimpleValue::Short(value) => value.to_string(),
        SimpleValue::Int(value) => value.to_string(),
        SimpleValue::Long(value) => value.to_string(),
        SimpleValue::Float(value) => value.to_string(),
        SimpleValue::Double(value) => value.to_string(),
        SimpleValue::Char(value) => value.to_string(),
        SimpleValue::Timestamp(at) => time_text(at.milliseconds()),
        SimpleValue::Uuid(uuid) => uuid_text(&uuid),
        SimpleValue::Binary(bytes) => utf8(name, bytes.into_vec())?,
        _ => return Err(MessageFault::Value(name.to_owned())),
    })
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, MessageFault> {
    String::from_utf8(bytes).map_err(|_| MessageFault::Value(name.to_owned()))
}

/// RFC 3339; times before 1970 are the first moment that there is.
fn time_text(milliseconds: i64) -> String {
    let milliseconds = u64::try_from(milliseconds).unwrap_or(0);
    Timestamp(milliseconds.saturating_mul(1_000_000)).to_string()
}

fn uuid_text(uuid: &Uuid) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.as_inner().iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What a message is written for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// An input of a module: it is told the input and who sent it.
    Input {
        /// The input's name.
        input: &'a str,
        /// Who sent it.
        origin: &'a Origin,
    },
    /// A device.
    DeviceBound,
    /// The parent, in the name of who sent it.
    Parent {
        /// Who sent it.
        origin: &'a Origin,
    },
}

/// Writes a message. Its body is copied once, into the section.
pub fn write(content: &Content, purpose: Purpose<'_>) -> Message<Data> {
    let mut sections = Sections::new();
    let mut annotations = MessageAnnotations::default();
    let mut properties = ApplicationProperties::default();
    for (name, value) in content.system.iter() {
        write_system(
            name,
            value,
            &mut sections,
            &mut annotations,
            &mut properties,
        );
    }
    for (name, value) in content.properties.iter() {
        // What a module inside calls so is not what this key says.
        if name != OUTPUT {
            properties
                .0
                .insert(name.to_owned(), SimpleValue::String(value.to_owned()));
        }
    }
    let mut annotate = |key: &str, value: &str| {
        annotations
            .0
            .insert(OwnedKey::from(key), Value::String(value.to_owned()));
    };
    match purpose {
        Purpose::Input { input, origin } => {
            annotate(INPUT, input);
            annotate(DEVICE, origin.device().as_str());
            if let Some(module) = origin.module() {
                annotate(MODULE, module.as_str());
            }
        }
        Purpose::DeviceBound => {}
        Purpose::Parent { origin } => {
            if let Some(output) = origin.output() {
                let output = SimpleValue::String(output.to_owned());
                properties.0.insert(OUTPUT.to_owned(), output);
            }
        }
    }
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: (!annotations.0.is_empty()).then_some(annotations),
        properties: (sections != Sections::new()).then_some(sections),
        application_properties: (!properties.0.is_empty()).then_some(properties),
        body: Data(Binary::from(content.body.to_vec())),
        footer: None,
    }
}

fn write_system(
    name: &str,
    value: &str,
    sections: &mut Sections,
    annotations: &mut MessageAnnotations,
    properties: &mut ApplicationProperties,
) {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let owned = || value.to_owned();
    if is(system::MESSAGE_ID) {
        sections.message_id = Some(MessageId::String(owned()));
    } else if is(system::CORRELATION_ID) {
        sections.correlation_id = Some(MessageId::String(owned()));
    } else if is(system::USER_ID) {
        sections.user_id = Some(Binary::from(value.as_bytes().to_vec()));
    } else if is(system::TO) {
        sections.to = Some(owned());
    } else if is(system::CONTENT_TYPE) && value.is_ascii() {
        sections.content_type = Some(Symbol(owned()));
    } else if is(system::CONTENT_ENCODING) && value.is_ascii() {
        sections.content_encoding = Some(Symbol(owned()));
    } else if is(system::EXPIRY)
        && let Ok(at) = value.parse::<Timestamp>()
    {
        let ms = i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX);
        sections.absolute_expiry_time = Some(ms.into());
    } else if let Some((key, name)) = KEYS.iter().find(|(_, known)| is(known)) {
        if ANNOTATIONS.contains(name) {
            annotations
                .0
                .insert(OwnedKey::from(*key), Value::String(owned()));
        } else {
            properties
                .0
                .insert((*key).to_owned(), SimpleValue::String(owned()));
        }
    }
}

#[cfg(test)]
mod tests;
