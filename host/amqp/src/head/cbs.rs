//! The `$cbs` node: tokens, put and renewed on the open connection (client contract, section 8.2).

use std::sync::{Arc, Mutex, PoisonError};

use edge_core::{DeviceId, Identity, ModuleId};
use edge_identity::Token;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Value};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::Connection;
use crate::OFFERS_SCOPE;

/// Tokens that are looked at side by side, and answers that wait to be sent.
const AT_ONCE: usize = 64;

type Answer = Message<AmqpValue<Value>>;

/// The node of one connection.
#[derive(Debug, Default)]
pub(super) struct Cbs {
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// The link on which they are received, once it is attached.
    link: Option<mpsc::Sender<Answer>>,
    /// Those before that: a client hears that it is attached before its task here has begun.
    early: Vec<Answer>,
}

/// What is answered.
struct Said {
    status: i32,
    description: String,
}

impl Cbs {
    /// Serves the link on which tokens come.
    pub(super) fn requests(
        &self,
        connection: Arc<Connection>,
        mut receiver: Receiver,
    ) -> impl Future<Output = ()> + Send + use<> {
        async move {
            let mut tasks = JoinSet::new();
            loop {
                let delivery = tokio::select! {
                    delivery = receiver.recv::<Body<Value>>() => delivery,
                    Some(_) = tasks.join_next() => continue,
                };
                let Ok(delivery) = delivery else {
                    // The link is over.
                    return;
                };
                if receiver.accept(&delivery).await.is_err() {
                    return;
                }
                if tasks.len() >= AT_ONCE {
                    let _ = tasks.join_next().await;
                }
                let connection = connection.clone();
                tasks.spawn(async move {
                    let message = delivery.into_message();
                    let id = message
                        .properties
                        .as_ref()
                        .and_then(|p| p.message_id.clone());
                    let said = put_token(&connection, message).await;
                    connection.cbs.answer(id, said).await;
                });
            }
        }
    }

    /// Serves the link on which answers are received.
    pub(super) fn answers(&self, mut sender: Sender) -> impl Future<Output = ()> + Send + use<> {
        let (answers, mut waiting) = mpsc::channel::<Answer>(AT_ONCE);
        // The newest one gets them.
        let mut known = self.lock();
        for early in known.early.drain(..) {
            // There is room for all of them.
            let _ = answers.try_send(early);
        }
        known.link = Some(answers);
        drop(known);
        async move {
            loop {
                tokio::select! {
                    answer = waiting.recv() => {
                        let Some(answer) = answer else { return };
                        // Its outcome tells nothing that matters.
                        if sender.send_batchable(answer).await.is_err() {
                            return;
                        }
                    }
                    _ = sender.on_detach() => return,
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, id: Option<MessageId>, said: Said) {
        let mut properties = ApplicationProperties::default();
        let status = SimpleValue::Int(said.status);
        properties.0.insert("status-code".to_owned(), status);
        let description = SimpleValue::String(said.description);
        properties
            .0
            .insert("status-description".to_owned(), description);
        // Whoever knows the word may ask who is behind it.
        properties
            .0
            .insert(OFFERS_SCOPE.to_owned(), SimpleValue::Bool(true));
        let answer = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: Some(Properties {
                correlation_id: id,
                ..Properties::default()
            }),
            application_properties: Some(properties),
            body: AmqpValue(Value::Null),
            footer: None,
        };
        let answers = {
            let mut known = self.lock();
            match &known.link {
                Some(answers) => answers.clone(),
                None if known.early.len() < AT_ONCE => return known.early.push(answer),
                None => {
                    tracing::debug!("many tokens were put and nobody takes the answers");
                    return;
                }
            }
        };
        // The link may have gone meanwhile.
        let _ = answers.send(answer).await;
    }
}

async fn put_token(connection: &Arc<Connection>, message: Message<Body<Value>>) -> Said {
    let shared = &connection.shared;
    let bad = |description: &str| Said {
        status: 400,
        description: description.to_owned(),
    };
    let properties = message.application_properties.unwrap_or_default();
    let text = |name: &str| match properties.0.get(name) {
        Some(SimpleValue::String(text)) => Some(text.as_str()),
        Some(SimpleValue::Symbol(symbol)) => Some(symbol.as_str()),
        _ => None,
    };
    if text("operation") != Some("put-token") {
        return bad("expected the operation put-token");
    }
    let token = match message.body {
        Body::Value(AmqpValue(Value::String(token))) => token,
        _ => return bad("expected a token as one string value"),
    };
    let refused = |status, code, who: &str, why: String| {
        shared.count_refused(code);
        tracing::warn!(peer = %connection.peer.address, client = %who, %why, "AMQP client refused");
        Said {
            status,
            description: why,
        }
    };
    let audience = match Token::parse(&token) {
        Ok(token) => token.audience(),
        Err(fault) => return refused(401, "bad-token", "?", fault.to_string()),
    };
    let Some(identity) = identity_of(&audience) else {
        let why = format!(
            "the token is for {:?}; expected {{hub}}/devices/{{device}}[/modules/{{module}}]",
            audience.chars().take(200).collect::<String>()
        );
        return refused(401, "wrong-audience", "?", why);
    };
    let config = &shared.config;
    let now = config.hub.now();
    let proven = config.registry.authenticate_or_make(&identity, &token, now);
    let who = identity.to_string();
    match proven {
        Ok(permit) => match connection.admit(permit).await {
            Ok(()) => Said {
                status: 200,
                description: "OK".to_owned(),
            },
            Err(refusal) => refused(503, "busy", &who, refusal.to_string()),
        },
        Err(denied) => {
            let status = if denied.is_transient() { 503 } else { 401 };
            refused(status, denied.code(), &who, denied.to_string())
        }
    }
}

/// Whom an audience names. Ids may be encoded once more, as some clients do.
fn identity_of(audience: &str) -> Option<Identity> {
    let id = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8().ok()?;
        Some(decoded.into_owned())
    };
    let parts: Vec<&str> = audience.split('/').skip(1).collect();
    match parts.as_slice() {
        [devices, device] if devices.eq_ignore_ascii_case("devices") => {
            Some(Identity::Device(DeviceId::new(&id(device)?).ok()?))
        }
        [devices, device, modules, module]
            if devices.eq_ignore_ascii_case("devices")
                && modules.eq_ignore_ascii_case("modules") =>
        {
            Some(Identity::Module(
                DeviceId::new(&id(device)?).ok()?,
                ModuleId::new(&id(module)?).ok()?,
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_name_devices_and_modules_and_nothing_else() {
        let name = |audience| identity_of(audience).map(|identity| identity.to_string());
        assert_eq!(name("hub/devices/d").as_deref(), Some("d"));
        assert_eq!(
            name("hub/Devices/d/Modules/%24edgeHub").as_deref(),
            Some("d/$edgeHub")
        );
        for bad in [
            "",
            "hub",
            "hub/devices",
            "hub/devices/",
            "hub/devices/d/twin",
            "hub/things/d",
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
