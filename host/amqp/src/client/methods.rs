//! Methods that the parent calls (client contract, section 8.5).

use edge_core::Identity;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Value};

use super::said::said;
use super::{LinkFault, Links, Turn};
use crate::{Address, message};

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentCall {
    /// What its answer is to have, in the type that it came in.
    id: MessageId,
    /// The method's name.
    pub name: String,
    /// JSON text.
    pub payload: String,
}

/// The two links on which an identity is called.
#[derive(Debug)]
pub struct MethodLink {
    sender: Sender,
    receiver: Receiver,
}

impl MethodLink {
    /// Attaches both. The identity was proven before.
    ///
    /// # Errors
    /// The parent refuses, or is gone.
    pub async fn attach(links: &Links, identity: &Identity) -> Result<Self, LinkFault> {
        let address = Address::Methods(identity.clone());
        let name = format!("methods:{identity}");
        let sender = links.sender(&address, Some(&name), Turn::Later).await?;
        let receiver = links.receiver(&address, Some(&name), 100).await?;
        Ok(Self { sender, receiver })
    }

    /// The next call. Cancel safe.
    ///
    /// # Errors
    /// The link is over.
    pub async fn next(&mut self) -> Result<ParentCall, LinkFault> {
        let lost = |error: String| LinkFault::Lost(format!("methods: {error}"));
        loop {
            let delivery = self.receiver.recv::<Body<Value>>().await;
            let delivery = delivery.map_err(|error| lost(said(&error)))?;
            let accepted = self.receiver.accept(&delivery).await;
            accepted.map_err(|error| lost(said(&error)))?;
            let packet = delivery.into_message();
            let properties = packet.application_properties.unwrap_or_default();
            let name = match properties.0.get("IoThub-methodname") {
                Some(SimpleValue::String(name)) => name.clone(),
                _ => String::new(),
            };
            let id = packet.properties.and_then(|p| p.correlation_id);
            let body = message::body(packet.body).ok();
            let payload = body.and_then(|body| String::from_utf8(body.to_vec()).ok());
            match (id, payload) {
                (Some(id), Some(payload)) if !name.is_empty() => {
                    let payload = match payload.is_empty() {
                        true => "null".to_owned(),
                        false => payload,
                    };
                    return Ok(ParentCall { id, name, payload });
                }
                // There is nobody to answer.
                _ => tracing::warn!("the parent called a method without name, id or text"),
            }
        }
    }

    /// Answers a call: a status in the manner of HTTP, and JSON text.
    ///
    /// # Errors
    /// The link is over.
    pub async fn answer(
        &mut self,
        call: ParentCall,
        status: u32,
        payload: &str,
    ) -> Result<(), LinkFault> {
        let mut properties = ApplicationProperties::default();
        let status = SimpleValue::Int(i32::try_from(status).unwrap_or(i32::MAX));
        properties.0.insert("IoThub-status".to_owned(), status);
        let packet = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: Some(Properties {
                correlation_id: Some(call.id),
                ..Properties::default()
            }),
            application_properties: Some(properties),
            body: Data(Binary::from(payload.as_bytes().to_vec())),
            footer: None,
        };
        let sent = self.sender.send_batchable(packet).await;
        sent.map(drop)
            .map_err(|error| LinkFault::Lost(said(&error)))
    }
}
