//! A twin at the parent (client contract, section 8.4).

use edge_core::Identity;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{Body, Data, Message, MessageAnnotations, MessageId, Properties};
use fe2o3_amqp_types::primitives::{Binary, Value};

use super::said::said;
use super::{LinkFault, Links, Turn};
use crate::{Address, message};

/// What a twin is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwinRequest {
    /// All of it.
    Get,
    /// To merge a patch into what is reported.
    Report,
    /// To tell of changes of what is wanted.
    Watch,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TwinEvent {
    /// An answer to a request.
    Answer {
        /// The request's number.
        request: u64,
        /// Status in the manner of HTTP.
        status: i32,
        /// JSON text, or nothing.
        body: String,
    },
    /// What is wanted changed: a patch with `$version` in it.
    Change(String),
}

/// The two links of a twin.
#[derive(Debug)]
pub struct TwinLink {
    sender: Sender,
    receiver: Receiver,
    asked: u64,
}

impl TwinLink {
    /// Attaches both. The identity was proven before.
    ///
    /// # Errors
    /// The parent refuses, or is gone.
    pub async fn attach(links: &Links, identity: &Identity) -> Result<Self, LinkFault> {
        let address = Address::Twin(identity.clone());
        let name = format!("twin:{identity}");
        // First, so that whoever asks can be answered.
        let receiver = links.receiver(&address, Some(&name), 100).await?;
        let sender = links.sender(&address, Some(&name), Turn::Later).await?;
        Ok(Self {
            sender,
            receiver,
            asked: 0,
        })
    }

    /// Asks; the number of the request, which is that of its answer.
    ///
    /// # Errors
    /// The link is over.
    pub async fn ask(&mut self, request: TwinRequest, body: &str) -> Result<u64, LinkFault> {
        let (operation, resource) = match request {
            TwinRequest::Get => ("GET", None),
            TwinRequest::Report => ("PATCH", Some("/properties/reported")),
            TwinRequest::Watch => ("PUT", Some("/notifications/twin/properties/desired")),
        };
        let mut annotations = MessageAnnotations::default();
        let mut annotate = |key: &str, value: &str| {
            let value = Value::String(value.to_owned());
            annotations.0.insert(OwnedKey::from(key), value);
        };
        annotate("operation", operation);
        if let Some(resource) = resource {
            annotate("resource", resource);
        }
        self.asked += 1;
        let packet = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: Some(annotations),
            properties: Some(Properties {
                correlation_id: Some(MessageId::String(self.asked.to_string())),
                ..Properties::default()
            }),
            application_properties: None,
            body: Data(Binary::from(body.as_bytes().to_vec())),
            footer: None,
        };
        let sent = self.sender.send_batchable(packet).await;
        sent.map_err(|error| LinkFault::Lost(said(&error)))?;
        Ok(self.asked)
    }

    /// What comes next. Cancel safe.
    ///
    /// # Errors
    /// The link is over.
    pub async fn next(&mut self) -> Result<TwinEvent, LinkFault> {
        let lost = |error: String| LinkFault::Lost(format!("twin: {error}"));
        let delivery = self.receiver.recv::<Body<Value>>().await;
        let delivery = delivery.map_err(|error| lost(said(&error)))?;
        let accepted = self.receiver.accept(&delivery).await;
        accepted.map_err(|error| lost(said(&error)))?;
        let packet = delivery.into_message();
        let body = message::body(packet.body).map_err(|fault| lost(fault.to_string()))?;
        let body = String::from_utf8(body.to_vec()).map_err(|error| lost(error.to_string()))?;
        let id = packet.properties.and_then(|p| p.correlation_id);
        let Some(id) = id else {
            return Ok(TwinEvent::Change(body));
        };
        let annotations = packet.message_annotations.unwrap_or_default();
        let status = match annotations.0.get(&OwnedKey::from("status")) {
            Some(Value::Int(status)) => *status,
            // None at all means success.
            _ => 200,
        };
        let request = message::id_text(id).ok().and_then(|id| id.parse().ok());
        Ok(TwinEvent::Answer {
            request: request.unwrap_or_default(),
            status,
            body,
        })
    }
}
