//! What of a client outlives its connection: subscriptions, lanes, and how far it was sent what.
//!
//! ```text
//!   table Sessions    s NUL client                  JSON, see Stored: clients of Azure's SDKs
//!                     o NUL client                  the same: clients of the open topics
//!                     q NUL client NUL packet id    a message of QoS 2 that came and is not released yet
//! ```
//!
//! A connection takes its session out and puts it back. What must not be lost is in the log before the
//! client is told: subscriptions before SUBACK, lanes before the first message of theirs. After a crash a
//! session is as it was stored, and all that may have been in flight is sent again, flagged as a repeat.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use edge_core::{EndpointId, Priority, Timestamp};
use edge_hub::Hub;
use edge_store::{Commit, MessageLog, Put, Seq, Table};
use serde::{Deserialize, Serialize};

use crate::packet::{PacketId, QoS};
use crate::topics::StoredWill;
use crate::window::{Loose, SPAN};

/// Format of stored sessions.
const FORMAT: u32 = 1;
/// Session expiry that means for ever [MQTT-3.1.2.11.2] (5).
pub(crate) const FOR_EVER: u32 = u32::MAX;
/// Keys read at once.
const PAGE: usize = 256;

/// Before the packet ids of QoS 2.
const UNRELEASED: &[u8] = b"q\0";

/// Which head a session belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// That of Azure's SDKs.
    Sdk,
    /// That of the open topics.
    Open,
}

impl Kind {
    /// Before the clients in the table.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Sdk => b"s\0",
            Self::Open => b"o\0",
        }
    }
}

/// A subscription as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    /// As the client wrote it.
    pub(crate) filter: String,
    /// Granted.
    pub(crate) qos: u8,
    /// Without the client's own messages.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) no_local: bool,
    /// With the retain flag as it was published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) as_published: bool,
    /// Its identifier.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) id: Option<NonZeroU32>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Subscribed {
    /// What it costs in bytes of memory, about: a few copies of the filter, and a node of the tree for each
    /// of its levels.
    pub(crate) fn cost(&self) -> usize {
        let levels = self.filter.bytes().filter(|byte| *byte == b'/').count() + 1;
        4 * self.filter.len() + 512 * levels
    }

    pub(crate) fn qos(&self) -> QoS {
        QoS::from_bits(self.qos).unwrap_or_default()
    }
}

/// A queue that a session reads; its place among them is its lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneName {
    /// The endpoint, as it is displayed.
    pub(crate) endpoint: String,
    pub(crate) priority: u32,
}

impl LaneName {
    pub(crate) fn of(endpoint: &EndpointId, priority: Priority) -> Self {
        Self {
            endpoint: endpoint.to_string(),
            priority: priority.0,
        }
    }
}

/// How a connection was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// When, in nanoseconds since 1970.
    pub(crate) at: u64,
    /// The highest number that was sent, by lane; none where a crash before that is not made good yet.
    pub(crate) sent: Vec<Option<u64>>,
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    format: u32,
    /// Seconds that it outlives its connection.
    pub(crate) expiry: u32,
    pub(crate) subscriptions: Vec<Subscribed>,
    #[serde(default)]
    pub(crate) lanes: Vec<LaneName>,
    /// None while it is connected, and after a crash.
    pub(crate) left: Option<Left>,
    /// The version of desired properties that the client was told last; 0 if none.
    #[serde(default)]
    pub(crate) desired: u64,
    /// The place of its queue among those of the open topics.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) place: Option<u32>,
    /// What is to be published when the connection is lost, or is waiting to be.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) will: Option<StoredWill>,
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            format: FORMAT,
            expiry: 0,
            subscriptions: Vec::new(),
            lanes: Vec::new(),
            left: None,
            desired: 0,
            place: None,
            will: None,
        }
    }
}

/// A packet of QoS 1 that is in no queue: an answer, a call, a change of a twin.
#[derive(Debug, Clone)]
pub(crate) struct LoosePacket {
    pub(crate) topic: Arc<str>,
    pub(crate) body: Bytes,
}

/// What of a lane was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// This number and those before it.
    upto: Seq,
    crash: Crash,
}

/// Whether an end without a word leaves open what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    No,
    /// As far as a window goes from whatever comes first.
    Open,
    /// What was stored before this start of the hub, up to this number.
    Until(Seq),
}

impl Sent {
    /// Nothing.
    const NOTHING: Self = Self {
        upto: Seq::ZERO,
        crash: Crash::No,
    };

    /// Nobody knows.
    const UNKNOWN: Self = Self {
        upto: Seq::ZERO,
        crash: Crash::Open,
    };

    /// Whether an entry may have been sent before; from now on it was. `old`: it was stored before this
    /// start of the hub.
    pub(crate) fn send(&mut self, seq: Seq, old: bool) -> bool {
        if self.crash == Crash::Open {
            self.crash = Crash::Until(Seq(seq.0 + SPAN));
        }
        let in_doubt = matches!(self.crash, Crash::Until(end) if old && seq < end);
        let repeat = seq <= self.upto || in_doubt;
        self.upto = self.upto.max(seq);
        repeat
    }
}

/// A session of this process.
#[derive(Debug)]
pub(crate) struct Session {
    kind: Kind,
    pub(crate) client: Arc<str>,
    pub(crate) stored: Stored,
    pub(crate) loose: Loose<LoosePacket>,
    /// By lane, as long as `stored.lanes`.
    pub(crate) sent: Vec<Sent>,
    /// Messages of QoS 2 that came and are not released yet.
    unreleased: HashSet<PacketId>,
}

impl Session {
    pub(crate) fn new(kind: Kind, client: Arc<str>) -> Self {
        Self::of(kind, client, Stored::default())
    }

    fn of(kind: Kind, client: Arc<str>, stored: Stored) -> Self {
        let sent = match &stored.left {
            Some(left) => {
                let known = |upto: &Option<u64>| match upto {
                    Some(upto) => Sent {
                        upto: Seq(*upto),
                        crash: Crash::No,
                    },
                    None => Sent::UNKNOWN,
                };
                let mut sent: Vec<_> = left.sent.iter().map(known).collect();
                sent.resize(stored.lanes.len(), Sent::NOTHING);
                sent
            }
            None => vec![Sent::UNKNOWN; stored.lanes.len()],
        };
        Self {
            kind,
            client,
            stored,
            loose: Loose::default(),
            sent,
            unreleased: HashSet::new(),
        }
    }

    /// Whether it outlives its connection.
    pub(crate) fn outlives(&self) -> bool {
        self.stored.expiry > 0
    }

    /// Whether it is stored: also what is to be published at its end has to outlive the process.
    pub(crate) fn is_stored(&self) -> bool {
        self.outlives() || self.stored.will.is_some()
    }

    /// Notes that a message of QoS 2 came.
    pub(crate) fn receive(&mut self, id: PacketId, commit: &mut Commit) {
        self.unreleased.insert(id);
        if self.outlives() {
            commit.put(self.unreleased_put(id, Some(Bytes::new())));
        }
    }

    /// Whether a message of QoS 2 came and is not released.
    pub(crate) fn has_received(&self, id: PacketId) -> bool {
        self.unreleased.contains(&id)
    }

    /// The client knows that a message of QoS 2 came; false if there was none.
    pub(crate) fn release(&mut self, id: PacketId, commit: &mut Commit) -> bool {
        let known = self.unreleased.remove(&id);
        if known && self.outlives() {
            commit.put(self.unreleased_put(id, None));
        }
        known
    }

    fn unreleased_put(&self, id: PacketId, value: Option<Bytes>) -> Put {
        let key = [
            UNRELEASED,
            self.client.as_bytes(),
            b"\0",
            &id.get().to_be_bytes(),
        ]
        .concat();
        Put {
            table: Table::Sessions,
            key: key.into(),
            value,
        }
    }

    /// Reads which messages of QoS 2 came and are not released, as they are stored.
    pub(crate) fn read_unreleased(&mut self, log: &dyn MessageLog) {
        let prefix = [UNRELEASED, self.client.as_bytes(), b"\0"].concat();
        let id = |key: &[u8]| {
            let bytes = key.strip_prefix(&*prefix)?.try_into().ok()?;
            PacketId::new(u16::from_be_bytes(bytes))
        };
        let ids = keys(log, &prefix);
        self.unreleased = ids.iter().filter_map(|key| id(key)).collect();
    }

    /// The lane of a queue, and whether it is new.
    pub(crate) fn lane(&mut self, endpoint: &EndpointId, priority: Priority) -> (usize, bool) {
        let same =
            |lane: &LaneName| lane.priority == priority.0 && lane.endpoint == endpoint.to_string();
        if let Some(lane) = self.stored.lanes.iter().position(same) {
            return (lane, false);
        }
        self.stored.lanes.push(LaneName::of(endpoint, priority));
        self.sent.push(Sent::NOTHING);
        (self.stored.lanes.len() - 1, true)
    }

    /// Adds it to a commit, as it is now.
    pub(crate) fn stage(&self, commit: &mut Commit) {
        let value =
            serde_json::to_vec(&self.stored).expect("text and numbers can be written as JSON");
        commit.put(self.put(Some(value.into())));
    }

    /// Adds to a commit that it is no more.
    pub(crate) fn stage_removal(&self, commit: &mut Commit) {
        commit.put(self.put(None));
        for id in &self.unreleased {
            commit.put(self.unreleased_put(*id, None));
        }
    }

    /// Adds what is to be stored of it now: itself, or that it is no more.
    pub(crate) fn stage_state(&self, commit: &mut Commit) {
        match self.is_stored() {
            true => self.stage(commit),
            false => self.stage_removal(commit),
        }
    }

    fn put(&self, value: Option<Bytes>) -> Put {
        Put {
            table: Table::Sessions,
            key: Bytes::from([self.kind.prefix(), self.client.as_bytes()].concat()),
            value,
        }
    }

    /// The connection has ended.
    pub(crate) fn leave(&mut self, now: Timestamp) {
        // Nothing was sent since the crash: it is as open as before.
        let number = |sent: &Sent| (sent.crash != Crash::Open).then_some(sent.upto.0);
        self.stored.left = Some(Left {
            at: now.0,
            sent: self.sent.iter().map(number).collect(),
        });
    }

    /// When it ends if nobody comes; none: never, or while somebody is connected.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        let left = self.stored.left.as_ref()?;
        let span = std::time::Duration::from_secs(self.stored.expiry.into());
        (self.stored.expiry != FOR_EVER).then(|| Timestamp(left.at).after(span))
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.ends().is_some_and(|at| at <= now)
    }

    /// When its will is due; none: there is none, or somebody is connected.
    pub(crate) fn will_due(&self) -> Option<Timestamp> {
        let (left, will) = (self.stored.left.as_ref()?, self.stored.will.as_ref()?);
        let span = std::time::Duration::from_secs(will.delay.into());
        let due = Timestamp(left.at).after(span);
        Some(self.ends().map_or(due, |ends| ends.min(due)))
    }
}

/// The sessions without a connection.
#[derive(Debug)]
pub(crate) struct Sessions {
    hub: Arc<Hub>,
    asleep: Mutex<HashMap<Arc<str>, Session>>,
}

impl Sessions {
    /// Reads those that are stored. One that cannot be read is said and left out: its client begins anew.
    pub(crate) fn open(kind: Kind, hub: Arc<Hub>) -> Self {
        let log = hub.log().clone();
        let mut asleep = HashMap::new();
        for key in keys(&*log, kind.prefix()) {
            let Some(client) = client_of(kind, &key) else {
                continue;
            };
            let Some(value) = log.get(Table::Sessions, &key) else {
                continue;
            };
            match serde_json::from_slice::<Stored>(&value) {
                Ok(stored) if stored.format == FORMAT => {
                    let mut session = Session::of(kind, client.clone(), stored);
                    session.read_unreleased(&*log);
                    asleep.insert(client, session);
                }
                Ok(stored) => {
                    tracing::warn!(%client, format = stored.format, "session left out: this version cannot read it");
                }
                Err(error) => tracing::warn!(%client, %error, "session left out: it is damaged"),
            }
        }
        Self {
            hub,
            asleep: Mutex::new(asleep),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Session>> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session of a client that connects; one whose time is over is no more.
    pub(crate) fn take(&self, client: &Arc<str>) -> Option<Session> {
        self.lock().remove(client)
    }

    /// Puts a session back whose connection has ended, or forgets it.
    pub(crate) fn put(&self, mut session: Session) {
        let mut commit = Commit::new();
        session.leave(self.hub.now());
        session.stage_state(&mut commit);
        if let Err(error) = self.hub.commit(&mut commit) {
            // What is stored is older, and only more careful.
            tracing::warn!(client = %session.client, %error, "session not stored");
        }
        if session.is_stored() {
            self.keep(session);
        }
    }

    /// Keeps one whose connection has ended, and that is stored as it is.
    pub(crate) fn keep(&self, session: Session) {
        self.lock().insert(session.client.clone(), session);
    }

    /// Takes those that somebody has to do with.
    pub(crate) fn take_if(&self, is_meant: impl Fn(&Session) -> bool) -> Vec<Session> {
        let mut asleep = self.lock();
        let clients: Vec<_> = asleep
            .values()
            .filter(|session| is_meant(session))
            .map(|session| session.client.clone())
            .collect();
        clients.iter().filter_map(|c| asleep.remove(c)).collect()
    }

    /// Looks at each.
    pub(crate) fn each(&self, look: impl FnMut(&Session)) {
        self.lock().values().for_each(look);
    }

    /// Forgets the sessions whose time is over or that `gone` names.
    pub(crate) fn expire(&self, now: Timestamp, gone: impl Fn(&Session) -> bool) {
        let over = self.take_if(|session| session.is_over(now) || gone(session));
        let mut commit = Commit::new();
        for session in &over {
            session.stage_removal(&mut commit);
        }
        if let Err(error) = self.hub.commit(&mut commit) {
            tracing::warn!(%error, "sessions that are over are still stored");
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

fn client_of(kind: Kind, key: &[u8]) -> Option<Arc<str>> {
    let client = key.strip_prefix(kind.prefix())?;
    Some(std::str::from_utf8(client).ok()?.into())
}

fn keys(log: &dyn MessageLog, prefix: &[u8]) -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = Vec::new();
    loop {
        let after = keys.last().cloned();
        let page = log.keys(Table::Sessions, prefix, after.as_deref(), PAGE);
        let last = page.len() < PAGE;
        keys.extend(page);
        if last {
            return keys;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_orderly_end_only_what_was_sent_is_a_repeat() {
        let mut session = Session::new(Kind::Sdk, "d".into());
        session.lane(&EndpointId::Upstream, Priority(0));
        assert!(!session.sent[0].send(Seq(7), false));
        session.leave(Timestamp(1));
        let mut again = Session::of(Kind::Sdk, "d".into(), session.stored.clone());
        assert!(again.sent[0].send(Seq(7), true));
        assert!(!again.sent[0].send(Seq(8), true));
        assert!(again.sent[0].send(Seq(8), true));
    }

    #[test]
    fn after_a_crash_what_was_stored_before_is_a_repeat_as_far_as_a_window_goes() {
        let mut session = Session::new(Kind::Sdk, "d".into());
        session.lane(&EndpointId::Upstream, Priority(0));
        let mut again = Session::of(Kind::Sdk, "d".into(), session.stored.clone());
        assert!(again.sent[0].send(Seq(7), true));
        assert!(
            !again.sent[0].send(Seq(8), false),
            "it came after the crash"
        );
        assert!(again.sent[0].send(Seq(6 + SPAN), true));
        assert!(!again.sent[0].send(Seq(7 + SPAN), true));
    }

    #[test]
    fn a_session_ends_its_time_after_it_was_left() {
        let mut session = Session::new(Kind::Sdk, "c".into());
        session.stored.expiry = 10;
        assert_eq!(session.ends(), None);
        session.leave(Timestamp(5));
        assert_eq!(session.ends(), Some(Timestamp(10_000_000_005)));
        session.stored.expiry = FOR_EVER;
        assert_eq!(session.ends(), None);
    }
}
