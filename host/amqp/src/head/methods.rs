//! Direct methods (client contract, section 8.5): calls on one link, answers on another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_heads::{Bell, Control, Controls};
use edge_hub::{MethodCall, MethodError, MethodResponse, MethodTarget};
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Value};

use super::client::{Common, Ending, refuse, told};
use crate::message;

/// Calls that may be with a client at a time.
const CALLS: usize = 256;
const NAME: &str = "IoThub-methodname";
const STATUS: &str = "IoThub-status";

/// The calls that are with a client, by the text of their ids: some clients answer with an id of another type
/// than the one they got.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    waiting: HashMap<String, MethodCall>,
    next: u64,
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a call until its answer comes, and gives it an id.
    fn keep(&self, call: MethodCall) -> Result<String, MethodCall> {
        let mut calls = self.lock();
        calls.waiting.retain(|_, call| call.is_wanted());
        if calls.waiting.len() >= CALLS {
            return Err(call);
        }
        calls.next += 1;
        let id = format!("{:x}", calls.next);
        calls.waiting.insert(id.clone(), call);
        Ok(id)
    }
}

/// A client that is called no longer when this is dropped.
struct Answering<'a> {
    common: &'a Common,
    controls: Arc<Controls>,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let target: Arc<dyn MethodTarget> = self.controls.clone();
        let methods = self.common.config.hub.methods();
        methods.unregister(&self.common.identity, &target);
        self.controls.close();
        // Whoever waits for an answer is told, without the lock.
        let waiting = std::mem::take(&mut self.common.methods.lock().waiting);
        drop(waiting);
    }
}

/// Serves a link on which a client is called.
pub(super) async fn calls(common: Arc<Common>, mut sender: Sender, mut ending: Ending) {
    let bell = Arc::<Bell>::default();
    let answering = Answering {
        common: &common,
        controls: Controls::new(bell.clone()),
    };
    let target: Arc<dyn MethodTarget> = answering.controls.clone();
    let hub = &common.config.hub;
    hub.methods().register(common.identity.clone(), target);
    let serving = async {
        loop {
            tokio::select! {
                () = bell.rung() => {}
                _ = sender.on_detach() => return,
            }
            for control in answering.controls.take() {
                let Control::Call(call) = control else {
                    continue;
                };
                let (name, payload) = (call.name.clone(), call.payload.clone());
                let id = match common.methods.keep(call) {
                    Ok(id) => id,
                    Err(call) => {
                        let why = format!("{} has too many calls waiting", common.identity);
                        call.answer(Err(MethodError::Failed(why)));
                        continue;
                    }
                };
                if sender
                    .send_batchable(packet(id, name, payload))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    };
    let refusal = tokio::select! {
        () = serving => None,
        refusal = told(&mut ending) => Some(refusal),
    };
    drop(answering);
    if let Some(refusal) = refusal {
        refuse(LinkEndpoint::Sender(sender), refusal).await;
    }
}

fn packet(id: String, name: String, payload: String) -> Message<Data> {
    let mut properties = ApplicationProperties::default();
    properties
        .0
        .insert(NAME.to_owned(), SimpleValue::String(name));
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties {
            correlation_id: Some(MessageId::String(id)),
            ..Properties::default()
        }),
        application_properties: Some(properties),
        body: Data(Binary::from(payload.into_bytes())),
        footer: None,
    }
}

/// Serves a link on which a client answers.
pub(super) async fn answers(common: Arc<Common>, mut receiver: Receiver, mut ending: Ending) {
    let serving = async {
        loop {
            let Ok(delivery) = receiver.recv::<Body<Value>>().await else {
                return;
            };
            if receiver.accept(&delivery).await.is_err() {
                return;
            }
            answer(&common, delivery.into_message());
        }
    };
    let refusal = tokio::select! {
        () = serving => return,
        refusal = told(&mut ending) => refusal,
    };
    refuse(LinkEndpoint::Receiver(receiver), refusal).await;
}

fn answer(common: &Common, message: Message<Body<Value>>) {
    let id = message.properties.and_then(|p| p.correlation_id);
    let id = id.and_then(|id| message::id_text(id).ok());
    let call = id.and_then(|id| common.methods.lock().waiting.remove(&id));
    let Some(call) = call else {
        tracing::debug!(client = %common.identity, "an answer to no call");
        return;
    };
    let properties = message.application_properties.unwrap_or_default();
    let failed = |why: String| MethodError::Failed(why);
    let status = match properties.0.get(STATUS) {
        Some(SimpleValue::Int(status)) => u32::try_from(*status).ok(),
        Some(SimpleValue::Long(status)) => u32::try_from(*status).ok(),
        Some(SimpleValue::Uint(status)) => Some(*status),
        Some(SimpleValue::String(status)) => status.parse().ok(),
        _ => None,
    };
    let status = status.ok_or_else(|| failed(format!("the answer has no number {STATUS}")));
    let payload = message::body(message.body).map_err(|fault| failed(fault.to_string()));
    let payload = payload.and_then(|body| match std::str::from_utf8(&body) {
        Ok("") => Ok("null".to_owned()),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(failed("the answer is not UTF-8".to_owned())),
    });
    call.answer(status.and_then(|status| {
        Ok(MethodResponse {
            status,
            payload: payload?,
        })
    }));
}
