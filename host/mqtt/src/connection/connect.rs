//! CONNECT: who is it, and what does it take up again.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use edge_core::Identity;
use edge_hub::DurableWaker;
use edge_identity::{Credential, Peer, Permit};
use edge_store::Commit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{ALIASES, LAST_WORDS};
use crate::Reason;
use crate::azure::UserName;
use crate::bell::Bell;
use crate::encode::{self, ConnAck};
use crate::head::Head;
use crate::link::Link;
use crate::live::{Handle, NoSeat, Seat};
use crate::packet::{Connect, Decoder, Packet, PacketError, Version};
use crate::sdk::{Sdk, packet_limit};
use crate::session::Session;

/// A connection has this long to say who it is.
const HURRY: Duration = Duration::from_secs(30);
/// Messages in flight to a client of 3.1.1, which cannot say how many it takes.
const IN_FLIGHT: usize = 1_000;
/// Messages in flight from a client of version 5.
const RECEIVE_MAXIMUM: u16 = 1_024;

/// A client that was let in.
pub(super) struct Connected {
    pub(super) decoder: Decoder,
    pub(super) input: BytesMut,
    pub(super) link: Link,
    pub(super) sdk: Sdk,
    pub(super) permit: Permit,
    pub(super) handle: Arc<Handle>,
    pub(super) keep_alive: u16,
    pub(super) seat: Seat,
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Packet(#[from] PacketError),
    #[error("{why}")]
    Said { reason: Reason, why: String },
    /// There is nobody to tell.
    #[error("{0}")]
    Gone(String),
}

impl Refusal {
    fn said(reason: Reason, why: impl ToString) -> Self {
        Self::Said {
            reason,
            why: why.to_string(),
        }
    }
}

/// Lets a client in; `None`: it was refused, and told why as far as its protocol can say it.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    head: &Arc<Head>,
    stream: &mut S,
    peer: &Peer,
) -> Option<Connected> {
    let limit = packet_limit(head.hub.message_limit().0).0;
    let mut decoder = Decoder::new(limit);
    let mut input = BytesMut::new();
    let hello = match timeout(HURRY, first(stream, &mut decoder, &mut input)).await {
        Ok(first) => first,
        Err(_) => Err(Refusal::Gone("it did not say who it is in time".to_owned())),
    };
    let entered = match hello {
        Ok(hello) => enter(head, &hello, peer)
            .await
            .map(|entered| (hello, entered)),
        Err(refusal) => Err(refusal),
    };
    let refusal = match entered {
        Ok((hello, entered)) => match entered.begin(head, stream, &hello).await {
            Ok((link, sdk, permit, handle, seat)) => {
                head.counts.accepted.fetch_add(1, Ordering::Relaxed);
                return Some(Connected {
                    decoder,
                    input,
                    link,
                    sdk,
                    permit,
                    handle,
                    keep_alive: hello.keep_alive,
                    seat,
                });
            }
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    head.counts.refused.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(peer = %peer.address, why = %refusal, "connection refused");
    let reason = match &refusal {
        Refusal::Packet(error) => error.reason(),
        Refusal::Said { reason, .. } => *reason,
        Refusal::Gone(_) => return None,
    };
    // Whoever speaks a version that is not known is told so in the words of 3.1.1.
    let version = decoder.version().unwrap_or(Version::V3);
    let ack = ConnAck {
        reason,
        ..ConnAck::default()
    };
    let mut out = BytesMut::new();
    if encode::connack(&mut out, encode::Peer::new(version), &ack).is_ok() {
        // It may be gone, or not listen.
        let _ = timeout(LAST_WORDS, async {
            stream.write_all(&out).await?;
            stream.flush().await?;
            stream.shutdown().await
        })
        .await;
    }
    None
}

async fn first<S: AsyncRead + Unpin>(
    stream: &mut S,
    decoder: &mut Decoder,
    input: &mut BytesMut,
) -> Result<Box<Connect>, Refusal> {
    loop {
        match decoder.next(input)? {
            Some(Packet::Connect(connect)) => return Ok(connect),
            // The decoder lets nothing else come first.
            Some(_) => return Err(Refusal::Gone("no CONNECT".to_owned())),
            None => {}
        }
        match stream.read_buf(input).await {
            Ok(0) => return Err(Refusal::Gone("it went before it said who it is".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(Refusal::Gone(error.to_string())),
        }
    }
}

/// A client that was proven, in its place.
struct Entered {
    identity: Identity,
    permit: Permit,
    client: Arc<str>,
    bell: Arc<Bell>,
    handle: Arc<Handle>,
    seat: Seat,
}

async fn enter(head: &Arc<Head>, hello: &Connect, peer: &Peer) -> Result<Entered, Refusal> {
    if let Some(method) = &hello.auth_method {
        let why = format!("authentication method {method:?}: expected a password or a certificate");
        return Err(Refusal::said(Reason::BadAuthenticationMethod, why));
    }
    let name = hello.user_name.as_deref().unwrap_or_default();
    let name =
        UserName::parse(name).map_err(|error| Refusal::said(Reason::NotAuthorized, error))?;
    let identity = name.identity;
    let client = &*hello.client_id;
    if client != identity.to_string() {
        let why = format!("client id {client:?} is not {identity}, whom the user name names");
        return Err(Refusal::said(Reason::ClientIdentifierNotValid, why));
    }
    let credential = match &hello.password {
        Some(password) if !password.is_empty() => Credential::from_password(password),
        _ if !peer.certificates.is_empty() => Credential::Certificates(&peer.certificates),
        _ => Credential::None,
    };
    let permit = head
        .registry
        .authenticate(&identity, credential, head.hub.now())
        .map_err(|denied| {
            let reason = match denied.is_transient() {
                true => Reason::ServerUnavailable,
                false => Reason::NotAuthorized,
            };
            Refusal::said(reason, format!("{identity}: {denied}"))
        })?;
    if hello.will.is_some() {
        tracing::debug!(%identity, "will left out: it has no topic that could take it");
    }
    let client: Arc<str> = client.into();
    let bell = Arc::<Bell>::default();
    let handle = Handle::new(bell.clone());
    let seat = head.live.enter(&client, &handle).await.map_err(|no| {
        let why = match no {
            NoSeat::Superseded => "a newer connection with the same client id came meanwhile",
            NoSeat::Stuck => "the connection before it does not end",
        };
        Refusal::said(Reason::ServerUnavailable, format!("{client}: {why}"))
    })?;
    Ok(Entered {
        identity,
        permit,
        client,
        bell,
        handle,
        seat,
    })
}

impl Entered {
    async fn begin<S: AsyncWrite + Unpin>(
        self,
        head: &Arc<Head>,
        stream: &mut S,
        hello: &Connect,
    ) -> Result<(Link, Sdk, Permit, Arc<Handle>, Seat), Refusal> {
        let known = head.sessions.take(&self.client);
        let over = |session: &Session| session.ends().is_some_and(|at| at <= head.hub.now());
        let (mut session, present) = match known {
            Some(session) if !hello.clean_start && !over(&session) => (session, true),
            _ => (Session::new(self.client.clone()), false),
        };
        session.stored.expiry = hello.session_expiry;
        session.stored.left = None;
        // Before anything is sent: after a crash it must not say that nothing was.
        let mut commit = Commit::new();
        match session.outlives() {
            true => session.stage(&mut commit),
            false => session.stage_removal(&mut commit),
        }
        let unavailable = |error| Refusal::said(Reason::ServerUnavailable, error);
        if let Some(lsn) = head.hub.commit(&mut commit).map_err(unavailable)? {
            head.hub.durable(lsn).await.map_err(unavailable)?;
        }
        let peer = encode::Peer::of(hello);
        let receive_maximum = match hello.version {
            Version::V3 => IN_FLIGHT,
            Version::V5 => usize::from(hello.receive_maximum.get()).min(IN_FLIGHT),
        };
        let durable = DurableWaker::new(self.bell.clone());
        let mut link = Link::new(head.hub.clone(), peer, session, durable, receive_maximum);
        let ack = ConnAck {
            session_present: present,
            receive_maximum: NonZeroU16::new(RECEIVE_MAXIMUM),
            no_qos2: true,
            no_retain: true,
            max_packet_size: Some(packet_limit(head.hub.message_limit().0).1),
            topic_alias_maximum: ALIASES,
            no_subscription_ids: true,
            no_shared: true,
            ..ConnAck::default()
        };
        let written = encode::connack(link.output.tail(), peer, &ack);
        written.map_err(|error| Refusal::Gone(error.to_string()))?;
        let sent = async {
            stream.write_all(link.output.tail()).await?;
            stream.flush().await
        };
        sent.await
            .map_err(|error| Refusal::Gone(error.to_string()))?;
        link.output.tail().clear();
        let sdk = Sdk::new(head.hub.clone(), self.identity, self.bell);
        Ok((link, sdk, self.permit, self.handle, self.seat))
    }
}
