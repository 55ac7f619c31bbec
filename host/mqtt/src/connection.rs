//! One connection, from its first byte to its end.
//!
//! ```text
//!   bytes ─► CONNECT ─► who is it? ─► seat (the one before goes) ─► session ─► CONNACK
//!                │          │                                                     │
//!                └ refused ─┴──────────────────────────► closed ◄── end ◄── loop ─┘
//!
//!   loop:  what came in ─► batch ─► commit        what is on the device ─► replies
//!          calls, changes of twins ─► out         queues, as far as window and output have room ─► out
//! ```
//!
//! One task does all of it, so that nothing of a connection is locked. It sleeps until bytes come, can go
//! out, a commit is on the device, a queue grew, somebody tells it to go, or its time is up.

mod connect;
mod event;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use edge_identity::{Denied, Peer, Permit};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::Reason;
use crate::door::{Door, Service, Shared};
use crate::encode;
use crate::link::{Close, FULL_AGAIN, Link};
use crate::packet::{Decoder, Packet, PacketError, Publish, Version};
use edge_heads::Handle;

use connect::Connected;
use event::{Event, Events};

/// What is left to write when a connection ends has this long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Identities are looked at again after this long, whatever happens: clocks may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Bytes that are said of why a connection ended, in the log and to the client.
const MOST_SAID: usize = 500;
/// Topics that a client may name by a number.
const ALIASES: u16 = 64;
/// Messages that a client of version 5 may have without an answer.
const RECEIVE_MAXIMUM: u16 = 1_024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// DISCONNECT.
    #[error("the client disconnected{}", if *.will { ", and asked for its will" } else { "" })]
    Client {
        /// Whether its will is to be published all the same [MQTT-3.14.4-3].
        will: bool,
    },
    /// The other end went without a word.
    #[error("the connection was lost: {0}")]
    Lost(std::io::Error),
    /// What it sent breaks the protocol.
    #[error("{0}")]
    Protocol(#[from] PacketError),
    /// What runs on the connection ended it.
    #[error("{0}")]
    Closed(#[from] Close),
    /// It was silent for too long.
    #[error("silent for one and a half times its keep-alive of {} s", .0)]
    Silent(u16),
    /// Another connection has its client id.
    #[error("another connection with the same client id took over")]
    TakenOver,
    /// Its identity no longer holds.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// The daemon stops.
    #[error("the daemon stops")]
    Stopping,
}

impl End {
    /// What version 5 is told; none: nothing.
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Client { .. } | Self::Lost(_) => None,
            Self::Protocol(error) => Some(error.reason()),
            Self::Closed(close) => Some(close.reason()),
            Self::Silent(_) => Some(Reason::KeepAliveTimeout),
            Self::TakenOver => Some(Reason::SessionTakenOver),
            Self::Denied(_) => Some(Reason::NotAuthorized),
            Self::Stopping => Some(Reason::ServerShuttingDown),
        }
    }

    /// Whether somebody should look at it.
    fn is_unusual(&self) -> bool {
        matches!(
            self,
            Self::Protocol(_) | Self::Closed(_) | Self::Denied(_) | Self::TakenOver
        )
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve<D: Door, S: AsyncRead + AsyncWrite + Unpin>(
    door: &D,
    mut stream: S,
    peer: &Peer,
) {
    let Some(connected) = connect::connect(door, &mut stream, peer).await else {
        return;
    };
    let Connected {
        decoder,
        input,
        mut link,
        mut service,
        permit,
        handle,
        keep_alive,
        seat,
    } = connected;
    let client = link.session.client.clone();
    let identity = permit.as_ref().map(|permit| &permit.identity);
    let meter = link.hub.meters().client_connected(identity, link.hub.now());
    let counts = &door.shared().counts;
    counts.connected.fetch_add(1, Ordering::Relaxed);
    tracing::info!(%client, peer = %peer.address, session = link.session.outlives(), "client connected");
    let mut running = Running {
        shared: door.shared(),
        decoder,
        permit: permit.as_ref(),
        handle: &handle,
        keep_alive,
        aliases: Vec::new(),
        heard: Instant::now(),
    };
    let mut events = Events::new(stream, input);
    let end = match service.begin(&mut link) {
        Ok(()) => match running.run(&mut events, &mut link, &mut service).await {
            Ok(never) => match never {},
            Err(end) => end,
        },
        Err(close) => close.into(),
    };
    service.end();
    counts.connected.fetch_sub(1, Ordering::Relaxed);
    if matches!(end, End::TakenOver) {
        counts.taken_over.fetch_add(1, Ordering::Relaxed);
    }
    meter.disconnected(link.hub.now());
    let why = shortened(end.to_string());
    match end.is_unusual() {
        true => tracing::warn!(%client, peer = %peer.address, %why, "client's connection closed"),
        false => tracing::info!(%client, peer = %peer.address, %why, "client's connection ended"),
    }
    if let Some(reason) = end.reason() {
        // A client that takes no packet of this size hears nothing.
        let _ = encode::disconnect(link.output.tail(), link.peer, reason, Some(&why));
    }
    if !matches!(end, End::Lost(_) | End::Client { .. }) {
        // It may be gone, or not listen.
        let _ = timeout(LAST_WORDS, events.finish(&mut link.output)).await;
    }
    door.left(link.end(), matches!(end, End::Client { will: false }));
    drop(seat);
    let _ = timeout(LAST_WORDS, events.stream().shutdown()).await;
}

/// Cuts a text that may hold what a client wrote: names and topics can have 64 KiB.
fn shortened(mut text: String) -> String {
    if text.len() > MOST_SAID {
        text.truncate(text.floor_char_boundary(MOST_SAID));
        text.push('…');
    }
    text
}

enum Never {}

/// What a connection's loop knows beside its link.
struct Running<'a> {
    shared: &'a Shared,
    decoder: Decoder,
    permit: Option<&'a Permit>,
    handle: &'a Arc<Handle>,
    keep_alive: u16,
    aliases: Vec<bytestring::ByteString>,
    /// When something was last heard of the client.
    heard: Instant,
}

impl Running<'_> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        events: &mut Events<S>,
        link: &mut Link,
        service: &mut impl Service,
    ) -> Result<Never, End> {
        let mut closing = self.shared.closing.clone();
        let stopping = async move {
            // A sender that is gone is an end, too.
            let _ = closing.wait_for(|closing| *closing).await;
        };
        tokio::pin!(stopping);
        loop {
            link.flush_replies();
            link.resume(|link, publish| service.publish(link, publish))?;
            let held_back = self.read(&mut events.input, link, service)?;
            link.commit_batch()?;
            let busy = service.control(link)?;
            link.flush_replies();
            link.pump(service);
            link.commit_progress()?;
            if busy || held_back && link.may_read() {
                // Others have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = self.deadline(link);
            let event = tokio::select! {
                biased;
                event = events.next(link, self.handle.bell(), deadline, held_back) => event,
                () = &mut stopping => return Err(End::Stopping),
            };
            match event {
                Event::Read => self.heard = Instant::now(),
                Event::Woken => {
                    link.look_again();
                    let told = self.handle.told();
                    if told.go {
                        return Err(End::TakenOver);
                    }
                    if told.recheck {
                        self.recheck(link)?;
                    }
                }
                Event::Written => {}
                Event::Time => {
                    link.look_again();
                    if link.is_held_back() {
                        // What it says is not read: that is no silence of its.
                        self.heard = Instant::now();
                    }
                    if self.silent_at().is_some_and(|at| at <= Instant::now()) {
                        return Err(End::Silent(self.keep_alive));
                    }
                    self.recheck(link)?;
                }
                Event::Ended(error) => return Err(End::Lost(error)),
            }
        }
    }

    fn recheck(&self, link: &Link) -> Result<(), Denied> {
        match self.permit {
            Some(permit) => self.shared.registry.recheck(permit, link.hub.now()),
            None => Ok(()),
        }
    }

    /// When a silent client has been silent for too long [MQTT-3.1.2-24].
    fn silent_at(&self) -> Option<Instant> {
        let span = Duration::from_secs(self.keep_alive.into()).mul_f32(1.5);
        (self.keep_alive > 0).then(|| self.heard + span)
    }

    /// When to look whatever happens.
    fn deadline(&self, link: &Link) -> Instant {
        let (now, clock) = (Instant::now(), link.hub.now());
        let in_time =
            |at: edge_core::Timestamp| now + at.since(clock).max(Duration::from_millis(1));
        let candidates = [
            Some(now + LOOK_AGAIN),
            self.silent_at(),
            self.permit.and_then(|permit| permit.expires).map(|at| {
                // Not sooner than a clock that was set can be told.
                in_time(at).min(now + LOOK_AGAIN)
            }),
            link.again.map(in_time),
            link.waits_for_room().then(|| now + FULL_AGAIN),
        ];
        candidates
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + LOOK_AGAIN)
    }

    /// Takes what came in, as far as there is room for it; says whether there may be more of it.
    fn read(
        &mut self,
        input: &mut BytesMut,
        link: &mut Link,
        service: &mut impl Service,
    ) -> Result<bool, End> {
        while link.may_read() {
            let Some(packet) = self.decoder.next(input)? else {
                return Ok(false);
            };
            self.packet(packet, link, service)?;
        }
        Ok(!input.is_empty())
    }

    fn packet(
        &mut self,
        packet: Packet,
        link: &mut Link,
        service: &mut impl Service,
    ) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => {
                check_quota(&publish, link)?;
                let publish = self.resolve(publish)?;
                service.publish(link, publish)?;
            }
            Packet::PubAck(ack) => {
                let rejected = ack.reason.is_error().then_some(ack.reason);
                if !link.acknowledged(ack.id, rejected) {
                    tracing::debug!(client = %link.session.client, id = ack.id, "acknowledges what is not in flight");
                }
            }
            Packet::Subscribe(subscribe) => service.subscribe(link, &subscribe)?,
            Packet::Unsubscribe(unsubscribe) => service.unsubscribe(link, &unsubscribe)?,
            Packet::PingReq => encode::pingresp(link.output.tail()),
            Packet::Disconnect(disconnect) => {
                if let Some(expiry) = disconnect.session_expiry {
                    if link.session.stored.expiry == 0 && expiry > 0 {
                        let why = "a session that was to end with its connection cannot be kept [MQTT-3.14.2-2]";
                        return Err(Close::refused(Reason::ProtocolError, why).into());
                    }
                    link.session.stored.expiry = expiry;
                }
                let will = disconnect.reason != Reason::Success;
                return Err(End::Client { will });
            }
            Packet::PubRel(release) => service.release(link, release.id)?,
            Packet::PubRec(_) | Packet::PubComp(_) => {
                let why = "an answer of QoS 2, which nothing was sent with";
                return Err(Close::refused(Reason::ProtocolError, why).into());
            }
            Packet::Auth(_) => {
                let why = "AUTH without an authentication method in CONNECT";
                return Err(Close::refused(Reason::ProtocolError, why).into());
            }
            Packet::Connect(_) => {
                // The decoder lets none pass.
                let why = "a second CONNECT [MQTT-3.1.0-2]";
                return Err(Close::refused(Reason::ProtocolError, why).into());
            }
        }
        Ok(())
    }

    /// Puts the topic in that an alias stands for, and remembers it.
    fn resolve(&mut self, mut publish: Publish) -> Result<Publish, End> {
        let Some(alias) = publish.alias else {
            return Ok(publish);
        };
        let wrong = |reason, why: &str| End::from(Close::refused(reason, why));
        if alias.get() > ALIASES {
            let why = "a topic alias over the maximum [MQTT-3.2.2-17]";
            return Err(wrong(Reason::TopicAliasInvalid, why));
        }
        let place = usize::from(alias.get() - 1);
        if publish.topic.is_empty() {
            publish.topic = match self.aliases.get(place) {
                Some(topic) if !topic.is_empty() => topic.clone(),
                // Not "topic alias invalid", which is for numbers that no topic can have (3.3.4).
                _ => {
                    let why = "a topic alias that was never set";
                    return Err(wrong(Reason::ProtocolError, why));
                }
            };
        } else {
            if self.aliases.len() <= place {
                self.aliases
                    .resize(place + 1, bytestring::ByteString::new());
            }
            self.aliases[place] = bytestring::ByteString::from(&*publish.topic);
        }
        Ok(publish)
    }
}

/// Refuses a message of a client that has as many without an answer as it may. Of QoS 2, those count that
/// PUBREC has not been written for.
fn check_quota(publish: &Publish, link: &Link) -> Result<(), Close> {
    let counts = link.peer.version == Version::V5 && publish.id.is_some();
    if counts && link.unanswered() >= usize::from(RECEIVE_MAXIMUM) {
        let why = format!("more than {RECEIVE_MAXIMUM} messages without an answer [MQTT-3.3.4-7]");
        return Err(Close::refused(Reason::ReceiveMaximumExceeded, why));
    }
    Ok(())
}
