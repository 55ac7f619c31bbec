//! The head of the open topics: plain MQTT for devices that know nothing of hubs.
//!
//! Clients publish and subscribe among each other, as far as rules for their identities go; what they publish
//! is stored like everything else, and what matches a mapping enters the hub as a message of theirs. The
//! daemon opens one [`Topics`], lets it keep house with [`Topics::keep`], and hands it the connections of a
//! listener of their own.
//!
//! ```text
//!   session:  new ─► connected ─► asleep ─► over (or begun anew): its place is emptied and free
//!                        ▲          │
//!                        └──────────┘        its will: with the session, published at its end, its
//!                                            delay after the connection's, or at the next start
//! ```
//!
//! - What was acknowledged is on the device, for each subscriber that had a session then.
//! - Per publisher, topic and subscriber messages are in order; a repeat is flagged.
//! - QoS 2 is taken from publishers, exactly once, and delivered with QoS 1.
//! - A message waits two hours at most for a subscriber that sleeps, or as long as its sender says.
//! - A full store holds publishers back; nothing is dropped for it.
//! - A session whose queue grows past a limit is over, and its client told so when it comes or at once: it
//!   must not take the room of all others.

mod access;
mod broker;
mod client;
mod message;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use edge_core::{ByteSize, Identity, Timestamp};
use edge_hub::{Hub, Owner};
use edge_identity::{Peer, Registry};
use edge_store::{Commit, CommitError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Reason;
use crate::azure::parse_client_id;
use crate::connection;
use crate::door::{Admitted, Door, HeadStatus, Refusal, Shared};
use crate::encode::ConnAck;
use crate::head::prove;
use crate::packet::{Connect, Version};
use crate::session::{Kind, Session};
use edge_heads::{Bell, HeadConfig};

use access::Access;
use broker::{Broker, PostError};
use client::{Client, sender_of};

pub use access::{BadFilter, TopicMapping, TopicRule};
pub(crate) use message::StoredWill;

/// A session outlives its connection by a week at most, or the queues of clients that never come again would
/// fill the store.
const LONGEST: u32 = 7 * 24 * 3_600;
/// The keeper looks at least this often.
const LOOK: Duration = Duration::from_secs(10);
/// When the keeper tries again what the store did not take.
const AGAIN: Duration = Duration::from_secs(1);
/// Entries thrown away in one go.
const EMPTIED: usize = 1_024;
/// Bytes of a client id: it is a key of the store, and in each line of the log about its client.
const CLIENT_ID: usize = 256;

/// What the open topics work with.
#[derive(Debug, Clone)]
pub struct TopicsConfig {
    /// Where messages are stored, and where mapped ones go.
    pub hub: Arc<Hub>,
    /// Who has an identity.
    pub registry: Arc<Registry>,
    /// Turns true when the daemon stops; connections end then.
    pub closing: watch::Receiver<bool>,
    /// Whether clients may connect that have no identity.
    pub anonymous: bool,
    /// Who may publish and subscribe what; what no rule allows is refused.
    pub rules: Vec<TopicRule>,
    /// What enters the hub.
    pub mappings: Vec<TopicMapping>,
    /// What may wait for one session.
    pub queue_limit: ByteSize,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Topics {
    shared: Shared,
    anonymous: bool,
    queue_limit: ByteSize,
    access: Arc<Access>,
    broker: Arc<Broker>,
}

impl Topics {
    /// Reads sessions and retained messages that are stored.
    ///
    /// # Errors
    /// A filter of a rule or mapping that is none.
    pub fn open(config: TopicsConfig) -> Result<Arc<Self>, BadFilter> {
        let access = Access::new(config.rules, &config.mappings)?;
        let shared = HeadConfig::new(config.hub.clone(), config.registry, config.closing);
        let shared = Shared::open(Kind::Open, shared);
        let broker = Broker::open(config.hub, shared.chores.clone());
        let now = shared.hub.now();
        for mut session in shared.sessions.take_if(|_| true) {
            if session.stored.left.is_none() {
                // Its connection went with the process.
                session.leave(now);
            }
            // Rules may be others than they were.
            let identity = session.client.split_once(' ').map(|(identity, _)| identity);
            let identity = identity.and_then(|identity| parse_client_id(identity).ok());
            let rights = access.rights(identity.as_ref());
            session.stored.subscriptions.retain(|subscription| {
                let filter = &*subscription.filter;
                let allowed = rights.may_subscribe(filter);
                if !allowed {
                    tracing::warn!(client = %session.client, filter, "subscription taken away: no rule allows it any more");
                }
                allowed
            });
            let place = session.stored.place;
            match place.is_some_and(|place| broker.restore(place, &session.stored.subscriptions)) {
                true => shared.sessions.keep(session),
                false => {
                    tracing::warn!(client = %session.client, "session left out: it has no place of its own");
                }
            }
        }
        broker.begin();
        Ok(Arc::new(Self {
            shared,
            anonymous: config.anonymous,
            queue_limit: config.queue_limit,
            access: Arc::new(access),
            broker: Arc::new(broker),
        }))
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
        self.shared.status()
    }

    /// Publishes wills that are due, forgets sessions that are over and empties what they left, until the
    /// daemon stops.
    pub fn keep(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let head = self.clone();
        async move {
            let mut closing = head.shared.closing.clone();
            loop {
                let wait = match head.keep_house() {
                    Ok(next) => {
                        let now = head.shared.hub.now();
                        next.map_or(LOOK, |at| at.since(now).min(LOOK))
                    }
                    Err(error) => {
                        tracing::warn!(%error, "sessions of the open topics are looked after later");
                        AGAIN
                    }
                };
                let busy = head.empty_a_place();
                tokio::select! {
                    _ = closing.wait_for(|closing| *closing) => return,
                    _ = timeout(wait, head.shared.chores.notified()), if !busy => {}
                    () = tokio::task::yield_now(), if busy => {}
                }
            }
        }
    }

    /// Does what is due, and says when to come again.
    fn keep_house(&self) -> Result<Option<Timestamp>, CommitError> {
        let now = self.shared.hub.now();
        let is_gone = |session: &Session| match session.client.split_once(' ') {
            Some(("", _)) => !self.anonymous,
            Some((identity, _)) => self.shared.is_gone(identity),
            None => true,
        };
        let due = |session: &Session| session.will_due().is_some_and(|at| at <= now);
        let sessions = &self.shared.sessions;
        if self.broker.find_greedy(self.queue_limit) {
            // Those that are connected end themselves.
            self.shared.live.ring_all();
            let is_greedy = |session: &Session| {
                let place = session.stored.place;
                place.is_some_and(|place| self.broker.is_greedy(place))
            };
            for session in sessions.take_if(is_greedy) {
                let limit = self.queue_limit;
                tracing::warn!(client = %session.client, %limit, "session is over: more waits for it than [topics] queue-limit");
                self.settle(session, true);
            }
        }
        for session in sessions.take_if(|s| s.is_over(now) || due(s) || is_gone(s)) {
            let over = session.is_over(now) || is_gone(&session);
            self.settle(session, over);
        }
        let mut next = self.broker.expire_retained(now)?;
        sessions.each(|session| {
            for at in [session.ends(), session.will_due()].into_iter().flatten() {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        });
        Ok(next.map(|at| at.max(now.after(AGAIN / 10))))
    }

    /// Publishes the will of a session, if it has one, and forgets or keeps the session, all at once. False:
    /// the store does not take it now, and the keeper tries again.
    fn settle(&self, mut session: Session, over: bool) -> bool {
        let hub = &self.shared.hub;
        if session.stored.left.is_none() {
            session.leave(hub.now());
        }
        let will = session.stored.will.take();
        let mut commit = Commit::new();
        match over {
            true => session.stage_removal(&mut commit),
            false => session.stage_state(&mut commit),
        }
        let published = match &will {
            Some(will) => self.publish_will(will, &mut commit),
            None => Ok(()),
        };
        let published = match published {
            Err(error) if !error.is_passing() => {
                // It can never be published; the session goes its way without it.
                tracing::warn!(client = %session.client, %error, "will not published");
                Ok(())
            }
            published => published,
        };
        // What a published will took along is stored with it, and this commit is empty.
        let done = published.and_then(|()| Ok(hub.commit(&mut commit).map(drop)?));
        if let Err(error) = done {
            tracing::warn!(client = %session.client, %error, "will and end of a session are put off");
            session.stored.will = will;
            self.shared.sessions.keep(session);
            return false;
        }
        match over {
            true => self.forget(&session),
            false => self.shared.sessions.keep(session),
        }
        true
    }

    /// Publishes a will, with what else the commit holds.
    fn publish_will(&self, will: &StoredWill, commit: &mut Commit) -> Result<(), PostError> {
        let hub = &self.shared.hub;
        let identity = will
            .identity
            .as_deref()
            .and_then(|id| parse_client_id(id).ok());
        let mut sender = hub.sender(sender_of(hub, identity.as_ref()));
        let now = hub.now();
        will.post(|post| {
            let mapped = self.access.mapping(post.topic);
            if post.retain {
                let broker = &self.broker;
                return broker
                    .retain(&mut sender, commit, post, mapped, None, now)
                    .map(drop);
            }
            let plan = self.broker.plan(post.topic, None, mapped);
            let before = commit.savepoint();
            self.broker.stage(&mut sender, commit, post, &plan, now)?;
            hub.commit(commit)
                .inspect_err(|_| commit.rollback(before))?;
            Ok(())
        })
    }

    /// A session is no more.
    fn forget(&self, session: &Session) {
        if let Some(place) = session.stored.place {
            self.broker
                .leave_place(place, &session.stored.subscriptions);
        }
    }

    /// Throws away some of what a session left; whether there may be more.
    fn empty_a_place(&self) -> bool {
        let Some(place) = self.broker.next_dirty() else {
            return false;
        };
        match self.shared.hub.purge(&Owner::Session(place), EMPTIED) {
            Ok(left) => {
                self.broker.cleaned(place, !left);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "queue of a session that is over is emptied later");
                self.broker.cleaned(place, false);
                false
            }
        }
    }
}

impl Door for Topics {
    type Who = Option<Identity>;
    type Service = Client;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn admit(&self, hello: &Connect, peer: &Peer) -> Result<Admitted<Option<Identity>>, Refusal> {
        let name = hello.user_name.as_deref().unwrap_or_default();
        let shows = hello.password.is_some() || !peer.certificates.is_empty();
        let who = match (name, shows) {
            ("", false) if self.anonymous => None,
            // Whoever has a certificate need not say its name twice.
            ("", _) => Some(parse_client_id(&hello.client_id)),
            (name, _) => Some(parse_client_id(name)),
        };
        let who = who.transpose().map_err(|error| {
            let why = format!("{error}; expected DEVICE or DEVICE/MODULE as user name");
            Refusal::said(Reason::NotAuthorized, why)
        })?;
        let permit = match &who {
            Some(identity) => Some(prove(&self.shared, identity, hello, peer)?),
            None => None,
        };
        let prefix = who.as_ref().map(Identity::to_string).unwrap_or_default();
        if let Some(will) = &hello.will
            && !self.access.rights(who.as_ref()).may_publish(&will.topic)
        {
            let topic = &will.topic;
            let why = format!("{prefix}: will for {topic:?}: no rule allows it");
            return Err(Refusal::said(Reason::NotAuthorized, why));
        }
        if hello.client_id.len() > CLIENT_ID {
            let len = hello.client_id.len();
            let why = format!("client id of {len} bytes, at most {CLIENT_ID} are taken");
            return Err(Refusal::said(Reason::ClientIdentifierNotValid, why));
        }
        let (assigned, id) = match &*hello.client_id {
            "" => {
                let random = getrandom::u64()
                    .map_err(|error| Refusal::said(Reason::ServerUnavailable, error))?;
                let id = format!("auto-{random:016x}");
                (Some(id.clone()), id)
            }
            id => (None, id.to_owned()),
        };
        Ok(Admitted {
            who,
            permit,
            // Client ids are one of a kind for each identity: nobody takes over from somebody else.
            client: format!("{prefix} {id}").into(),
            assigned: assigned.filter(|_| hello.version == Version::V5),
        })
    }

    fn resume(
        &self,
        known: Option<Session>,
        hello: &Connect,
        admitted: &Admitted<Option<Identity>>,
    ) -> Result<(Session, bool), Refusal> {
        let now = self.shared.hub.now();
        let (mut session, present) = match known {
            Some(session) if !hello.clean_start && !session.is_over(now) => (session, true),
            known => {
                // The end of a session is the end of its will's delay [MQTT-3.1.3-9].
                if let Some(known) = known
                    && !self.settle(known, true)
                {
                    let why = "the store has no room to end the session before";
                    return Err(Refusal::said(Reason::ServerUnavailable, why));
                }
                let mut session = Session::new(Kind::Open, admitted.client.clone());
                let place = self.broker.take_place().ok_or_else(|| {
                    Refusal::said(Reason::QuotaExceeded, "there are too many sessions")
                })?;
                session.stored.place = Some(place);
                (session, false)
            }
        };
        let identity = admitted.who.as_ref().map(Identity::to_string);
        session.stored.expiry = hello.session_expiry.min(LONGEST);
        session.stored.left = None;
        session.stored.will = hello
            .will
            .as_ref()
            .map(|will| StoredWill::new(will, identity));
        Ok((session, present))
    }

    fn offers(&self) -> ConnAck<'static> {
        ConnAck {
            no_shared: true,
            ..ConnAck::default()
        }
    }

    fn service(&self, who: Option<Identity>, session: &Session, _: Arc<Bell>) -> Client {
        let (broker, access) = (self.broker.clone(), self.access.clone());
        Client::new(broker, access, who.as_ref(), session)
    }

    fn left(&self, mut session: Session, orderly: bool) {
        let now = self.shared.hub.now();
        if orderly {
            session.stored.will = None;
        }
        // DISCONNECT may have asked for longer.
        session.stored.expiry = session.stored.expiry.min(LONGEST);
        session.leave(now);
        let over = session.is_over(now);
        match over || session.will_due().is_some_and(|at| at <= now) {
            true => {
                self.settle(session, over);
            }
            false => {
                self.shared.sessions.put(session);
                self.shared.chores.notify_one();
            }
        }
    }
}
