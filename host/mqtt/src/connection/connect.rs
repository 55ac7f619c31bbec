//! CONNECT: who is it, and what does it take up again.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use edge_hub::DurableWaker;
use edge_identity::{Peer, Permit};
use edge_store::Commit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{ALIASES, LAST_WORDS, RECEIVE_MAXIMUM, shortened};
use crate::Reason;
use crate::door::{Admitted, Door, Refusal};
use crate::encode::{self, ConnAck};
use crate::link::Link;
use crate::packet::{Connect, Decoder, Packet, Version};
use crate::sdk::packet_limit;
use edge_heads::Bell;
use edge_heads::{Handle, NoSeat, Seat};

/// A connection has this long to say who it is.
const HURRY: Duration = Duration::from_secs(30);
/// Messages in flight to a client of 3.1.1, which cannot say how many it takes.
const IN_FLIGHT: usize = 1_000;

/// A client that was let in.
pub(super) struct Connected<D: Door> {
    pub(super) decoder: Decoder,
    pub(super) input: BytesMut,
    pub(super) link: Link,
    pub(super) service: D::Service,
    pub(super) permit: Option<Permit>,
    pub(super) handle: Arc<Handle>,
    pub(super) keep_alive: u16,
    pub(super) seat: Seat,
}

/// Lets a client in; `None`: it was refused, and told why as far as its protocol can say it.
pub(super) async fn connect<D: Door, S: AsyncRead + AsyncWrite + Unpin>(
    door: &D,
    stream: &mut S,
    peer: &Peer,
) -> Option<Connected<D>> {
    let shared = door.shared();
    let limit = packet_limit(shared.hub.message_limit().0).0;
    let mut decoder = Decoder::new(limit);
    let mut input = BytesMut::new();
    let hello = match timeout(HURRY, first(stream, &mut decoder, &mut input)).await {
        Ok(first) => first,
        Err(_) => Err(Refusal::Gone("it did not say who it is in time".to_owned())),
    };
    let entered = match hello {
        Ok(hello) => enter(door, &hello, peer)
            .await
            .map(|entered| (hello, entered)),
        Err(refusal) => Err(refusal),
    };
    let refusal = match entered {
        Ok((hello, entered)) => match entered.begin(door, stream, &hello).await {
            Ok((link, service, permit, handle, seat)) => {
                shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
                return Some(Connected {
                    decoder,
                    input,
                    link,
                    service,
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
    shared.counts.refused.fetch_add(1, Ordering::Relaxed);
    let why = shortened(refusal.to_string());
    tracing::warn!(peer = %peer.address, %why, "connection refused");
    let reason = match &refusal {
        Refusal::Packet(error) => error.reason(),
        Refusal::Said { reason, .. } => *reason,
        Refusal::Gone(_) => {
            shared.hub.meters().client_refused("gone");
            return None;
        }
    };
    shared.hub.meters().client_refused(reason.text());
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
struct Entered<W> {
    admitted: Admitted<W>,
    bell: Arc<Bell>,
    handle: Arc<Handle>,
    seat: Seat,
}

async fn enter<D: Door>(
    door: &D,
    hello: &Connect,
    peer: &Peer,
) -> Result<Entered<D::Who>, Refusal> {
    if let Some(method) = &hello.auth_method {
        let why = format!("authentication method {method:?}: expected a password or a certificate");
        return Err(Refusal::said(Reason::BadAuthenticationMethod, why));
    }
    let admitted = door.admit(hello, peer)?;
    let client = &admitted.client;
    let bell = Arc::<Bell>::default();
    let handle = Handle::new(bell.clone());
    let seat = door.shared().live.enter(client, &handle).await;
    let seat = seat.map_err(|no| {
        let why = match no {
            NoSeat::Superseded => "a newer connection with the same client id came meanwhile",
            NoSeat::Stuck => "the connection before it does not end",
        };
        Refusal::said(Reason::ServerUnavailable, format!("{client}: {why}"))
    })?;
    Ok(Entered {
        admitted,
        bell,
        handle,
        seat,
    })
}

/// What a connection begins with.
type Begun<D> = (
    Link,
    <D as Door>::Service,
    Option<Permit>,
    Arc<Handle>,
    Seat,
);

impl<W: Send> Entered<W> {
    async fn begin<D: Door<Who = W>, S: AsyncWrite + Unpin>(
        self,
        door: &D,
        stream: &mut S,
        hello: &Connect,
    ) -> Result<Begun<D>, Refusal> {
        let hub = &door.shared().hub;
        let known = door.shared().sessions.take(&self.admitted.client);
        let (session, present) = door.resume(known, hello, &self.admitted)?;
        // Before anything is sent: after a crash it must not say that nothing was.
        let mut commit = Commit::new();
        session.stage_state(&mut commit);
        let unavailable = |error| Refusal::said(Reason::ServerUnavailable, error);
        if let Some(lsn) = hub.commit(&mut commit).map_err(unavailable)? {
            hub.durable(lsn).await.map_err(unavailable)?;
        }
        let peer = encode::Peer::of(hello);
        let receive_maximum = match hello.version {
            Version::V3 => IN_FLIGHT,
            Version::V5 => usize::from(hello.receive_maximum.get()).min(IN_FLIGHT),
        };
        let expiry = session.stored.expiry;
        let service = door.service(self.admitted.who, &session, self.bell.clone());
        let durable = DurableWaker::new(self.bell);
        let mut link = Link::new(hub.clone(), peer, session, durable, receive_maximum);
        let ack = ConnAck {
            session_present: present,
            session_expiry: (expiry != hello.session_expiry).then_some(expiry),
            receive_maximum: NonZeroU16::new(RECEIVE_MAXIMUM),
            max_packet_size: Some(packet_limit(hub.message_limit().0).1),
            assigned_client_id: self.admitted.assigned.as_deref(),
            topic_alias_maximum: ALIASES,
            ..door.offers()
        };
        let sent = async {
            encode::connack(link.output.tail(), peer, &ack).map_err(std::io::Error::other)?;
            stream.write_all(link.output.tail()).await?;
            stream.flush().await
        };
        // Somebody who does not take it must not keep its place.
        let sent = timeout(HURRY, sent)
            .await
            .unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = sent {
            // Its session is as if it had come and gone.
            door.left(link.end(), false);
            return Err(Refusal::Gone(error.to_string()));
        }
        link.output.tail().clear();
        Ok((link, service, self.admitted.permit, self.handle, self.seat))
    }
}
