//! The head of Azure's SDKs: modules and devices, each on its own topics.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use edge_core::Identity;
use edge_heads::{Bell, HeadConfig};
use edge_identity::{Credential, Peer, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::Reason;
use crate::azure::UserName;
use crate::connection;
use crate::door::{Admitted, Counts, Door, HeadStatus, Refusal, Shared};
use crate::encode::ConnAck;
use crate::packet::{Connect, QoS, Version, Will};
use crate::sdk::Sdk;
use crate::session::{Kind, Session, Sessions};

/// A head looks after its sessions at least this often.
const LOOK_AROUND: Duration = Duration::from_secs(60);

impl Shared {
    /// Reads the sessions that are stored, and follows changes of identities from now on.
    pub(crate) fn open(kind: Kind, config: HeadConfig) -> Self {
        let chores = Arc::<Notify>::default();
        config.registry.watch(Arc::new(Chores(chores.clone())));
        Self {
            chores,
            sessions: Sessions::open(kind, config.hub.clone()),
            hub: config.hub,
            registry: config.registry,
            closing: config.closing,
            live: config.live,
            counts: Counts::default(),
        }
    }
}

/// Serves modules and devices that speak MQTT as Azure's SDKs do.
#[derive(Debug)]
pub struct Head(Shared);

/// Has sessions looked after when identities change.
struct Chores(Arc<Notify>);

impl Watcher for Chores {
    fn changed(&self, _: &Identity) {
        self.0.notify_one();
    }
}

impl Head {
    /// Reads the sessions that are stored, and follows changes of identities from now on.
    pub fn open(config: HeadConfig) -> Arc<Self> {
        Arc::new(Self(Shared::open(Kind::Sdk, config)))
    }

    /// Forgets sessions that are over, and those of identities that are gone, until the daemon stops.
    pub fn keep(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let head = self.clone();
        async move {
            let shared = &head.0;
            let is_gone = |session: &Session| shared.is_gone(&session.client);
            let mut closing = shared.closing.clone();
            loop {
                shared.sessions.expire(shared.hub.now(), is_gone);
                tokio::select! {
                    _ = closing.wait_for(|closing| *closing) => return,
                    _ = timeout(LOOK_AROUND, shared.chores.notified()) => {}
                }
            }
        }
    }

    /// Serves one connection until it ends. Why it ended is in the log.
    pub fn serve<S>(self: &Arc<Self>, stream: S, peer: Peer) -> impl Future<Output = ()> + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let head = self.clone();
        async move { connection::serve(&*head, stream, &peer).await }
    }

    /// What it has done and has.
    pub fn status(&self) -> HeadStatus {
        self.0.status()
    }
}

impl Door for Head {
    type Who = Identity;
    type Service = Sdk;

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn admit(&self, hello: &Connect, peer: &Peer) -> Result<Admitted<Identity>, Refusal> {
        let name = hello.user_name.as_deref().unwrap_or_default();
        let name =
            UserName::parse(name).map_err(|error| Refusal::said(Reason::NotAuthorized, error))?;
        let identity = name.identity;
        let client = &*hello.client_id;
        if client != identity.to_string() {
            let why = format!("client id {client:?} is not {identity}, whom the user name names");
            return Err(Refusal::said(Reason::ClientIdentifierNotValid, why));
        }
        let permit = prove(&self.0, &identity, hello, peer)?;
        if let Some(will) = &hello.will {
            check_will(will, hello.version)?;
            tracing::debug!(%identity, "will left out: it has no topic that could take it");
        }
        Ok(Admitted {
            who: identity,
            permit: Some(permit),
            client: client.into(),
            assigned: None,
        })
    }

    fn resume(
        &self,
        known: Option<Session>,
        hello: &Connect,
        admitted: &Admitted<Identity>,
    ) -> Result<(Session, bool), Refusal> {
        let now = self.0.hub.now();
        let (mut session, present) = match known {
            Some(session) if !hello.clean_start && !session.is_over(now) => (session, true),
            _ => (Session::new(Kind::Sdk, admitted.client.clone()), false),
        };
        session.stored.expiry = hello.session_expiry;
        session.stored.left = None;
        Ok((session, present))
    }

    fn offers(&self) -> ConnAck<'static> {
        ConnAck {
            no_qos2: true,
            no_retain: true,
            no_subscription_ids: true,
            no_shared: true,
            ..ConnAck::default()
        }
    }

    fn service(&self, who: Identity, _: &Session, bell: Arc<Bell>) -> Sdk {
        Sdk::new(self.0.hub.clone(), who, bell)
    }

    fn left(&self, session: Session, _: bool) {
        self.0.sessions.put(session);
    }
}

/// Refuses a will that asks for what CONNACK of version 5 says is not to be had.
fn check_will(will: &Will, version: Version) -> Result<(), Refusal> {
    if version == Version::V5 && will.qos == QoS::ExactlyOnce {
        let why = "a will of QoS 2 [MQTT-3.2.2-12]";
        return Err(Refusal::said(Reason::QoSNotSupported, why));
    }
    if version == Version::V5 && will.retain {
        let why = "a will to be retained [MQTT-3.2.2-13]";
        return Err(Refusal::said(Reason::RetainNotSupported, why));
    }
    Ok(())
}

/// Has a client prove that it is somebody, by its password or else its certificate.
pub(crate) fn prove(
    shared: &Shared,
    identity: &Identity,
    hello: &Connect,
    peer: &Peer,
) -> Result<edge_identity::Permit, Refusal> {
    let credential = match &hello.password {
        Some(password) if !password.is_empty() => Credential::from_password(password),
        _ if !peer.certificates.is_empty() => Credential::Certificates(&peer.certificates),
        _ => Credential::None,
    };
    shared
        .registry
        .authenticate(identity, credential, shared.hub.now())
        .map_err(|denied| {
            let reason = match denied.is_transient() {
                true => Reason::ServerUnavailable,
                false => Reason::NotAuthorized,
            };
            Refusal::said(reason, format!("{identity}: {denied}"))
        })
}
