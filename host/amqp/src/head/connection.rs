//! One connection: its sessions, and the links that its peer attaches.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edge_core::Identity;
use edge_identity::{Credential, Peer, Permit};
use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerConnectionHandle,
    ListenerSessionHandle, SessionAcceptor,
};
use fe2o3_amqp::connection::OpenError;
use fe2o3_amqp_types::definitions::{Fields, Handle as LinkHandle, Role};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;
use super::cbs::Cbs;
use super::client::{self, Attached, Client, Counted, Work};
use super::condition::Refusal;
use super::sasl::Sasl;
use crate::Address;
use crate::guard::{Guard, Switch, Traffic};

/// Without dynamic addresses.
type Acceptor = LinkAcceptor<fn(Source) -> Option<Source>, fn(Target) -> Option<Target>>;

/// What is left to say when a connection ends has this long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Links of one purpose and identity are told apart by this property.
const CORRELATION: &str = "com.microsoft:channel-correlation-id";
/// Bytes of a message beyond the limit of its body and properties: names, sections, encoding.
const OVERHEAD: u64 = 128 << 10;

/// What the sessions of a connection share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    clients: Mutex<HashMap<Identity, Client>>,
    pub(super) cbs: Cbs,
}

/// Serves a connection until it ends.
pub(super) async fn serve<S>(shared: Arc<Shared>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let switch = Arc::<Switch>::default();
    let opening = open(&shared, stream, &peer, switch.clone());
    let opened = match timeout(shared.limits.handshake, opening).await {
        Ok(opened) => opened,
        Err(_) => Err("it did not open a connection in time".to_owned()),
    };
    let (handle, permit) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            shared.count_refused("handshake");
            tracing::warn!(peer = %peer.address, %why, "AMQP connection refused");
            return;
        }
    };
    shared.counts.connections.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(peer = %peer.address, "AMQP connection opened");
    let connection = Arc::new(Connection {
        shared: shared.clone(),
        peer,
        clients: Mutex::default(),
        cbs: Cbs::default(),
    });
    let why = connection.run(handle, permit).await;
    // Clients end as what leads to them is gone.
    connection.lock().clear();
    switch.cut();
    shared.counts.connections.fetch_sub(1, Ordering::Relaxed);
    tracing::debug!(peer = %connection.peer.address, %why, "AMQP connection ended");
}

/// From the first byte to the open connection.
async fn open<S>(
    shared: &Arc<Shared>,
    mut stream: S,
    peer: &Peer,
    switch: Arc<Switch>,
) -> Result<(ListenerConnectionHandle, Option<Permit>), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut first = [0; 8];
    let read = stream.read_exact(&mut first).await;
    read.map_err(|error| format!("it said nothing: {error}"))?;
    let limits = &shared.limits;
    let stream = Guard::new(
        stream,
        &first,
        limits.frame,
        switch,
        Arc::<Traffic>::default(),
    );
    let idle = u32::try_from(limits.idle.as_millis()).unwrap_or(u32::MAX);
    let acceptor = ConnectionAcceptor::builder()
        .container_id(shared.config.hub.device().as_str())
        .max_frame_size(limits.frame)
        .channel_max(limits.sessions.saturating_sub(1))
        .idle_time_out(idle);
    let failed = |error: OpenError| error.to_string();
    // The library takes a peer for gone after what it has told it, and not after twice that (AMQP 1.0, 2.4.5).
    match first {
        [b'A', b'M', b'Q', b'P', 0, ..] => {
            let handle = acceptor.build().accept(stream).await;
            Ok((handle.map_err(failed)?, None))
        }
        [b'A', b'M', b'Q', b'P', 3, ..] => {
            let sasl = Sasl::new(shared.clone());
            let acceptor = acceptor.sasl_acceptor(sasl.clone()).build();
            let handle = acceptor.accept(stream).await;
            let permit = match sasl.found() {
                Some(Err(fault)) => {
                    tracing::warn!(peer = %peer.address, why = %fault, "AMQP client refused");
                    return Err(fault.to_string());
                }
                Some(Ok(permit)) => Some(permit),
                None => None,
            };
            Ok((handle.map_err(failed)?, permit))
        }
        other => Err(format!("it begins with {other:?}, which is not AMQP 1.0")),
    }
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves sessions until the connection ends; says why.
    async fn run(
        self: &Arc<Self>,
        mut handle: ListenerConnectionHandle,
        permit: Option<Permit>,
    ) -> String {
        if let Some(permit) = permit
            && let Err(refusal) = self.admit(permit).await
        {
            return close(handle, refusal).await;
        }
        let mut closing = self.shared.config.closing.clone();
        let stopping = async move {
            // A sender that is gone is an end, too.
            let _ = closing.wait_for(|closing| *closing).await;
        };
        tokio::pin!(stopping);
        let proof = Instant::now() + self.shared.limits.proof;
        let mut proven = false;
        let mut sessions = JoinSet::new();
        let acceptor = SessionAcceptor::builder()
            .handle_max(LinkHandle(self.shared.limits.links.saturating_sub(1)))
            .build();
        loop {
            tokio::select! {
                incoming = handle.next_incoming_session() => {
                    let Some(incoming) = incoming else {
                        return match handle.on_close().await {
                            Ok(()) => "its peer closed it".to_owned(),
                            Err(error) => error.to_string(),
                        };
                    };
                    if sessions.len() >= usize::from(self.shared.limits.sessions) {
                        let refusal = Refusal::too_many("too many sessions");
                        return close(handle, refusal).await;
                    }
                    match acceptor.accept_incoming_session(incoming, &mut handle).await {
                        Ok(session) => {
                            sessions.spawn(self.clone().session(session));
                        }
                        Err(error) => return error.to_string(),
                    }
                }
                Some(ended) = sessions.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(peer = %self.peer.address, %error, "a session panicked");
                    }
                }
                () = sleep_until(proof), if !proven => {
                    proven = !self.lock().is_empty();
                    if proven {
                        continue;
                    }
                    self.shared.count_refused("no-credential");
                    return close(handle, Refusal::unauthorized("nobody proved who it is in time")).await;
                }
                () = &mut stopping => {
                    return close(handle, Refusal::closed("the hub stops")).await;
                }
            }
        }
    }

    /// Serves one session until it ends.
    async fn session(self: Arc<Self>, mut session: ListenerSessionHandle) {
        let acceptor = LinkAcceptor::builder()
            .max_message_size(self.message_limit())
            .build();
        let mut tasks = JoinSet::new();
        let counted = Counted::default();
        loop {
            tokio::select! {
                attach = session.next_incoming_attach() => {
                    let Some(attach) = attach else { break };
                    self.attach(attach, &acceptor, &mut session, &mut tasks, &counted)
                        .await;
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(peer = %self.peer.address, %error, "a link panicked");
                    }
                }
            }
        }
        // Its end was answered by the library, or the connection is gone.
        let _ = timeout(LAST_WORDS, session.on_end()).await;
    }

    /// Bytes of the largest message on the wire.
    fn message_limit(&self) -> u64 {
        self.shared.config.hub.message_limit().0 + OVERHEAD
    }

    async fn attach(
        self: &Arc<Self>,
        mut attach: Attach,
        acceptor: &Acceptor,
        session: &mut ListenerSessionHandle,
        tasks: &mut JoinSet<()>,
        counted: &Counted,
    ) {
        let name = attach.name.clone();
        let role = attach.role.clone();
        let correlation = correlation(attach.properties.as_ref());
        // The library announces the limit (handle-max) and looks at it on neither side.
        let links = usize::try_from(self.shared.limits.links).unwrap_or(usize::MAX);
        // Those of tokens, and those of clients.
        let attached = tasks.len() + Arc::strong_count(counted) - 1;
        let meant = match attached < links {
            true => self.meant(&attach).await,
            false => Err(Refusal::too_many("too many links in the session")),
        };
        if let Err(refusal) = &meant {
            self.shared.count_refused("link");
            tracing::warn!(peer = %self.peer.address, link = %name, why = %refusal, "AMQP link refused");
            // How a link is refused (AMQP 1.0, 2.6.3): the end of it that would be ours is not there.
            match role {
                Role::Sender => attach.target = None,
                Role::Receiver => attach.source = None,
            }
        } else {
            // Some clients leave the end out that is their own; the library insists on one.
            attach.source.get_or_insert_default();
            attach
                .target
                .get_or_insert_with(|| Box::new(Target::default().into()));
        }
        let endpoint = match acceptor.accept_incoming_attach(attach, session).await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                tracing::debug!(peer = %self.peer.address, link = %name, %error, "AMQP link not attached");
                return;
            }
        };
        let refusal = match (meant, endpoint) {
            (Ok(Meant::Tokens), LinkEndpoint::Receiver(receiver)) => {
                tasks.spawn(self.cbs.requests(self.clone(), receiver));
                return;
            }
            (Ok(Meant::Tokens), LinkEndpoint::Sender(sender)) => {
                tasks.spawn(self.cbs.answers(sender));
                return;
            }
            (Ok(Meant::Link(identity, work)), endpoint) => {
                let attached = Box::new(Attached {
                    endpoint,
                    work,
                    correlation,
                    counted: counted.clone(),
                });
                let client = self.lock().get(&identity).cloned();
                let served = match client {
                    Some(client) => client.attach(attached),
                    None => Err(attached),
                };
                match served {
                    Ok(()) => return,
                    // It ended a moment ago.
                    Err(attached) => (Refusal::unauthorized("no token"), attached.endpoint),
                }
            }
            (Err(refusal), endpoint) => (refusal, endpoint),
        };
        tasks.spawn(client::refuse(refusal.1, refusal.0));
    }

    /// What a link is about, and for whom, if its peer may have it.
    async fn meant(self: &Arc<Self>, attach: &Attach) -> Result<Meant, Refusal> {
        let address = match attach.role {
            Role::Sender => match attach.target.as_deref() {
                Some(TargetArchetype::Target(target)) => target.address.as_deref(),
                _ => None,
            },
            Role::Receiver => {
                let source = attach.source.as_deref();
                source.and_then(|source| source.address.as_deref())
            }
        };
        let address = address.ok_or_else(|| Refusal::not_found("a link without an address"))?;
        let address = Address::parse(address).map_err(Refusal::not_found)?;
        let Some(identity) = address.identity() else {
            return Ok(Meant::Tokens);
        };
        if !self.is_admitted(&identity) {
            self.admit_by_certificate(&identity).await?;
        }
        let work = match (address, &attach.role) {
            (Address::Events(_), Role::Sender) => Work::Telemetry,
            (Address::Events(Identity::Module(..)) | Address::DeviceBound(_), Role::Receiver) => {
                Work::Deliveries
            }
            (Address::Twin(_), Role::Sender) => Work::TwinRequests,
            (Address::Twin(_), Role::Receiver) => Work::TwinAnswers,
            (Address::Methods(_), Role::Sender) => Work::MethodAnswers,
            (Address::Methods(_), Role::Receiver) => Work::MethodCalls,
            (Address::Scope(_), Role::Receiver) => Work::Scope,
            (address, role) => {
                let verb = match role {
                    Role::Sender => "sent to",
                    Role::Receiver => "received from",
                };
                let why = format!("nothing is {verb} {address}");
                return Err(Refusal::not_allowed(why));
            }
        };
        Ok(Meant::Link(identity, work))
    }

    fn is_admitted(&self, identity: &Identity) -> bool {
        let clients = self.lock();
        clients
            .get(identity)
            .is_some_and(|client| !client.is_over())
    }

    /// Lets somebody in who put no token, by the certificate of the connection.
    async fn admit_by_certificate(self: &Arc<Self>, identity: &Identity) -> Result<(), Refusal> {
        let config = &self.shared.config;
        let credential = match self.peer.certificates.is_empty() {
            true => Credential::None,
            false => Credential::Certificates(&self.peer.certificates),
        };
        let permit = config
            .registry
            .authenticate(identity, credential, config.hub.now())
            .map_err(|denied| {
                let why = format!("{identity}: {denied}");
                match denied.is_transient() {
                    true => Refusal::internal(why),
                    false => Refusal::unauthorized(why),
                }
            })?;
        self.admit(permit).await
    }

    /// Lets an identity in, or lets it stay.
    pub(super) async fn admit(self: &Arc<Self>, permit: Permit) -> Result<(), Refusal> {
        let identity = permit.identity.clone();
        let renewed = self.lock().get(&identity).cloned();
        if let Some(client) = renewed
            && client.renew(permit.clone())
        {
            tracing::info!(client = %identity, "AMQP token renewed");
            return Ok(());
        }
        if self.lock().len() >= self.shared.limits.identities {
            self.lock().retain(|_, client| !client.is_over());
            if self.lock().len() >= self.shared.limits.identities {
                return Err(Refusal::too_many("too many identities on one connection"));
            }
        }
        let client = client::begin(self.shared.clone(), permit).await?;
        tracing::info!(client = %identity, peer = %self.peer.address, "AMQP client connected");
        self.lock().insert(identity, client);
        Ok(())
    }
}

/// What a link is about.
enum Meant {
    Tokens,
    Link(Identity, Work),
}

fn correlation(properties: Option<&Fields>) -> Option<String> {
    match properties?.get(&Symbol::from(CORRELATION))? {
        Value::String(text) => Some(text.clone()),
        Value::Symbol(symbol) => Some(symbol.0.clone()),
        _ => None,
    }
}

async fn close(mut handle: ListenerConnectionHandle, refusal: Refusal) -> String {
    let why = refusal.to_string();
    // It may not answer.
    let _ = timeout(LAST_WORDS, handle.close_with_error(refusal)).await;
    why
}
