//! The client side: one connection to a parent, on which any number of identities put tokens and attach links.
//!
//! ```text
//!   stream ─► ParentConnection::open ─► Links::put_token ─► sender │ receiver │ TwinLink │ MethodLink
//! ```
//!
//! Called by `host/upstream`, which decides what is sent and when. Whoever drops a [`ParentConnection`] cuts it.

mod methods;
pub mod said;
mod scope;
mod sessions;
mod twin;

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use edge_core::Identity;
use fe2o3_amqp::Connection;
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::{CreditMode, Receiver, ReceiverAttachError, Sender, SenderAttachError};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Properties, Target,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Symbol, Value};
use percent_encoding::utf8_percent_encode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use said::said;
use sessions::Sessions;

use crate::guard::{Guard, Switch, Traffic};
use crate::message;
use crate::{Address, OFFERS_SCOPE};

pub use methods::{MethodLink, ParentCall};
pub use scope::ScopeLink;
pub use sessions::Turn;
pub use twin::{TwinEvent, TwinLink, TwinRequest};

/// Bytes of a frame that we take.
const FRAME: u32 = 64 << 10;
/// A parent that sends nothing for so long is gone. It is told half of it.
const IDLE: Duration = Duration::from_secs(240);
/// Something is sent this often: parents take us for gone after 240 s (client contract, section 8.1), and the library
/// would send exactly then.
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// The parent answers by then: some round trips of the slowest link that there is. Links wait for a session before
/// that, for as long as it takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// Tokens that wait for their answer.
const TOKENS: usize = 64;

/// Why a connection or a link could not be had, or is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// The connection is of no use any more.
    #[error("{0}")]
    Lost(String),
    /// The parent does not let this identity do this.
    #[error("{0}")]
    Refused(String),
}

/// An open connection.
#[derive(Debug)]
pub struct ParentConnection {
    handle: ConnectionHandle<()>,
    sessions: Arc<Sessions>,
    tokens: Tokens,
    switch: Arc<Switch>,
}

impl Drop for ParentConnection {
    fn drop(&mut self) {
        self.switch.cut();
    }
}

impl ParentConnection {
    /// Opens a connection with the parent over a stream that is secured already.
    ///
    /// # Errors
    /// The parent does not speak AMQP 1.0 as expected, or went.
    pub async fn open<S>(
        stream: S,
        container: &str,
        hostname: &str,
        traffic: Arc<Traffic>,
    ) -> Result<Self, LinkFault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let lost = |why: String| LinkFault::Lost(why);
        let switch = Arc::<Switch>::default();
        let stream = Guard::new(stream, b"", FRAME, switch.clone(), traffic);
        let idle = u32::try_from(IDLE.as_millis()).unwrap_or(u32::MAX);
        let mut handle = Connection::builder()
            .container_id(container)
            .hostname(Some(hostname))
            .max_frame_size(FRAME)
            .idle_time_out(idle)
            .sasl_profile(SaslProfile::Anonymous)
            .open_with_stream(stream)
            .await
            .map_err(|error| lost(format!("the parent does not open a connection: {error}")))?;
        let begun = sessions::begin(&mut handle).await;
        let mut session =
            begun.map_err(|error| lost(format!("the parent begins no session: {error}")))?;
        let tokens = Tokens::attach(&mut session).await?;
        Ok(Self {
            handle,
            sessions: Arc::new(Sessions::new(session)),
            tokens,
            switch,
        })
    }

    /// Where tokens are put, and links attached.
    pub fn links(&self) -> Links {
        Links {
            sessions: self.sessions.clone(),
            tokens: self.tokens.clone(),
        }
    }

    /// Resolves when the connection is over, or the session of its tokens, with the reason. Begins the other
    /// sessions meanwhile.
    pub async fn ended(&mut self) -> String {
        self.sessions.begin_others(&mut self.handle).await;
        tokio::select! {
            biased;
            closed = self.handle.on_close() => match closed {
                Ok(()) => "the parent closed the connection".to_owned(),
                Err(error) => said(&error),
            },
            () = self.tokens.0.closed() => "the parent takes no tokens any more".to_owned(),
        }
    }

    /// Closes it in order.
    pub async fn close(mut self) {
        // The parent may be gone, and does not have to answer.
        let _ = timeout(Duration::from_secs(1), self.handle.close()).await;
    }
}

/// What identities do on a connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links {
    sessions: Arc<Sessions>,
    tokens: Tokens,
}

/// What a parent offers to whoever it let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// It tells who is behind a gateway.
    pub scope: bool,
}

impl Links {
    /// Proves an identity.
    ///
    /// # Errors
    /// The parent refuses the token, or is gone.
    pub async fn put_token(
        &self,
        hub: &str,
        identity: &Identity,
        token: &str,
    ) -> Result<Offer, LinkFault> {
        self.tokens.put(hub, identity, token).await
    }

    /// A link on which an identity sends. It was proven before.
    ///
    /// # Errors
    /// The parent refuses it, or is gone.
    pub async fn sender(
        &self,
        address: &Address,
        name: Option<&str>,
        turn: Turn,
    ) -> Result<Sender, LinkFault> {
        use SenderAttachError::{SessionNotMapped, SessionStopped};
        let attach = self.attach(
            address,
            turn,
            |session| {
                let builder = Sender::builder()
                    .name(link_name(address, "sends", name))
                    .target(address.to_string())
                    .properties(fields(name));
                Box::pin(builder.attach(session))
            },
            |error| matches!(error, SessionStopped(_) | SessionNotMapped),
        );
        attach.await
    }

    /// A link on which an identity receives, with this much credit, refilled as it settles.
    ///
    /// # Errors
    /// The parent refuses it, or is gone.
    pub async fn receiver(
        &self,
        address: &Address,
        name: Option<&str>,
        credit: u32,
    ) -> Result<Receiver, LinkFault> {
        use ReceiverAttachError::{SessionNotMapped, SessionStopped};
        let attach = self.attach(
            address,
            Turn::Later,
            |session| {
                let builder = Receiver::builder()
                    .name(link_name(address, "receives", name))
                    .source(address.to_string())
                    .target(Target::default())
                    .properties(fields(name))
                    .sender_settle_mode(SenderSettleMode::Mixed)
                    .receiver_settle_mode(ReceiverSettleMode::First)
                    .credit_mode(CreditMode::Auto(credit));
                Box::pin(builder.attach(session))
            },
            |error| matches!(error, SessionStopped(_) | SessionNotMapped),
        );
        attach.await
    }

    /// Attaches a link on the first session that turns out not to be over.
    async fn attach<L, E: std::error::Error + 'static>(
        &self,
        address: &Address,
        turn: Turn,
        attach: impl for<'s> Fn(&'s mut SessionHandle<()>) -> Attaching<'s, L, E>,
        is_over: impl Fn(&E) -> bool,
    ) -> Result<L, LinkFault> {
        let what = format!("{address} is not attached");
        let mut why = "the parent keeps no session".to_owned();
        while let Some(mut taken) = self.sessions.next(turn).await {
            match answered(attach(&mut taken.session), &what).await? {
                Ok(link) => return Ok(link),
                Err(error) if is_over(&error) => why = taken.is_over(&error),
                // Not for this identity.
                Err(error) => {
                    return Err(LinkFault::Refused(format!("{address}: {}", said(&error))));
                }
            }
        }
        Err(LinkFault::Lost(format!("{address}: {why}")))
    }
}

/// A link that is being attached.
type Attaching<'s, L, E> = Pin<Box<dyn Future<Output = Result<L, E>> + Send + 's>>;

/// Waits for an answer of the parent's; one that never comes ends the connection.
async fn answered<T>(answer: impl Future<Output = T>, what: &str) -> Result<T, LinkFault> {
    let seconds = PATIENCE.as_secs();
    let answer = timeout(PATIENCE, answer).await;
    answer.map_err(|_| LinkFault::Lost(format!("{what} in {seconds} s")))
}

fn link_name(address: &Address, role: &str, name: Option<&str>) -> String {
    format!("{address} {role} {}", name.unwrap_or_default())
}

fn fields(name: Option<&str>) -> Fields {
    let mut fields = Fields::default();
    let mut set = |key: &str, value: &str| {
        fields.insert(Symbol::from(key), Value::String(value.to_owned()));
    };
    set(
        "com.microsoft:client-version",
        concat!("edge/", env!("CARGO_PKG_VERSION")),
    );
    set("com.microsoft:api-version", "2021-04-12");
    if let Some(name) = name {
        set("com.microsoft:channel-correlation-id", name);
    }
    fields
}

/// The `$cbs` node of a parent.
#[derive(Debug, Clone)]
struct Tokens(mpsc::Sender<Put>);

struct Put {
    audience: String,
    token: String,
    answer: oneshot::Sender<Result<Offer, LinkFault>>,
}

impl Tokens {
    async fn attach(session: &mut SessionHandle<()>) -> Result<Self, LinkFault> {
        let lost = |error: &(dyn std::error::Error + 'static)| {
            LinkFault::Lost(format!("$cbs: {}", said(error)))
        };
        let sender = Sender::builder()
            .name("cbs-sender")
            .target("$cbs")
            .attach(session)
            .await
            .map_err(|error| lost(&error))?;
        let receiver = Receiver::builder()
            .name("cbs-receiver")
            .source("$cbs")
            .attach(session)
            .await
            .map_err(|error| lost(&error))?;
        let (puts, waiting) = mpsc::channel(TOKENS);
        tokio::spawn(serve_tokens(sender, receiver, waiting));
        Ok(Self(puts))
    }

    async fn put(&self, hub: &str, identity: &Identity, token: &str) -> Result<Offer, LinkFault> {
        let (answer, answered) = oneshot::channel();
        let path = match identity {
            Identity::Device(device) => format!("{hub}/devices/{device}"),
            Identity::Module(device, module) => format!("{hub}/devices/{device}/modules/{module}"),
        };
        let put = Put {
            audience: utf8_percent_encode(&path, percent_encoding::NON_ALPHANUMERIC).to_string(),
            token: token.to_owned(),
            answer,
        };
        let gone = |_| LinkFault::Lost("the parent takes no tokens any more".to_owned());
        self.0.send(put).await.map_err(|_| gone(()))?;
        let answer = self::answered(answered, "a token is not answered").await?;
        answer.map_err(|_| gone(()))?
    }
}

/// Carries tokens and their answers until the connection or whoever puts them is gone; keeps it alive meanwhile.
async fn serve_tokens(mut sender: Sender, mut receiver: Receiver, mut puts: mpsc::Receiver<Put>) {
    let mut waiting = HashMap::new();
    let mut next = 0u64;
    loop {
        tokio::select! {
            put = puts.recv() => {
                let Some(put) = put else { return };
                next += 1;
                let id = next.to_string();
                let message = token_message(&id, &put);
                waiting.insert(id, put.answer);
                if sender.send_batchable(message).await.is_err() {
                    return;
                }
            }
            answer = receiver.recv::<Body<Value>>() => {
                let Ok(answer) = answer else { return };
                if receiver.accept(&answer).await.is_err() {
                    return;
                }
                let answer = answer.into_message();
                let id = answer.properties.as_ref().and_then(|p| p.correlation_id.clone());
                let id = id.and_then(|id| message::id_text(id).ok()).unwrap_or_default();
                if let Some(put) = waiting.remove(&id) {
                    // Whoever put it may not wait any more.
                    let _ = put.send(verdict(answer.application_properties));
                }
            }
            () = sleep(KEEP_ALIVE) => {
                if receiver.set_credit(u32::try_from(TOKENS).unwrap_or(64)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn token_message(id: &str, put: &Put) -> Message<AmqpValue<Value>> {
    let mut properties = ApplicationProperties::default();
    for (name, value) in [
        ("operation", "put-token"),
        ("type", "servicebus.windows.net:sastoken"),
        ("name", &put.audience),
    ] {
        let value = SimpleValue::String(value.to_owned());
        properties.0.insert(name.to_owned(), value);
    }
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties {
            message_id: Some(MessageId::String(id.to_owned())),
            to: Some("$cbs".to_owned()),
            reply_to: Some("cbs".to_owned()),
            ..Properties::default()
        }),
        application_properties: Some(properties),
        body: AmqpValue(Value::String(put.token.clone())),
        footer: None,
    }
}

fn verdict(properties: Option<ApplicationProperties>) -> Result<Offer, LinkFault> {
    let properties = properties.unwrap_or_default();
    let status = match properties.0.get("status-code") {
        Some(SimpleValue::Int(status)) => *status,
        _ => 0,
    };
    if (200..300).contains(&status) {
        let offers = |word| properties.0.get(word) == Some(&SimpleValue::Bool(true));
        return Ok(Offer {
            scope: offers(OFFERS_SCOPE),
        });
    }
    let why = match properties.0.get("status-description") {
        Some(SimpleValue::String(why)) => why.as_str(),
        _ => "no description",
    };
    Err(LinkFault::Refused(format!(
        "the parent refuses the token: {status} {why}"
    )))
}

impl From<LinkFault> for io::Error {
    fn from(fault: LinkFault) -> Self {
        Self::other(fault)
    }
}
