//! What of a client outlives its connection: subscriptions, lanes, and how far it was sent what.
//!
//! ```text
//!   table Sessions    s NUL client id    JSON, see Stored
//! ```
//!
//! A connection takes its session out and puts it back. What must not be lost is in the log before the
//! client is told: subscriptions before SUBACK, lanes before the first message of theirs. After a crash a
//! session is as it was stored, and all that may have been in flight is sent again, flagged as a repeat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use edge_core::{EndpointId, Priority, Timestamp};
use edge_hub::Hub;
use edge_store::{Commit, MessageLog, Put, Seq, Table};
use serde::{Deserialize, Serialize};

use crate::packet::QoS;
use crate::window::{Loose, SPAN};

/// Format of stored sessions.
const FORMAT: u32 = 1;
/// Session expiry that means for ever [MQTT-3.1.2.11.2] (5).
pub(crate) const FOR_EVER: u32 = u32::MAX;
/// Keys read at once.
const PAGE: usize = 256;

/// Before the client ids in the table.
const PREFIX: &[u8] = b"s\0";

/// A subscription as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    /// As the client wrote it.
    pub(crate) filter: String,
    /// Granted.
    pub(crate) qos: u8,
}

impl Subscribed {
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
    pub(crate) client: Arc<str>,
    pub(crate) stored: Stored,
    pub(crate) loose: Loose<LoosePacket>,
    /// By lane, as long as `stored.lanes`.
    pub(crate) sent: Vec<Sent>,
}

impl Session {
    pub(crate) fn new(client: Arc<str>) -> Self {
        Self::of(client, Stored::default())
    }

    fn of(client: Arc<str>, stored: Stored) -> Self {
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
            client,
            stored,
            loose: Loose::default(),
            sent,
        }
    }

    /// Whether it outlives its connection.
    pub(crate) fn outlives(&self) -> bool {
        self.stored.expiry > 0
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
    }

    fn put(&self, value: Option<Bytes>) -> Put {
        Put {
            table: Table::Sessions,
            key: Bytes::from([PREFIX, self.client.as_bytes()].concat()),
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
}

/// The sessions without a connection.
#[derive(Debug)]
pub(crate) struct Sessions {
    hub: Arc<Hub>,
    asleep: Mutex<HashMap<Arc<str>, Session>>,
}

impl Sessions {
    /// Reads those that are stored. One that cannot be read is said and left out: its client begins anew.
    pub(crate) fn open(hub: Arc<Hub>) -> Self {
        let log = hub.log().clone();
        let mut asleep = HashMap::new();
        for key in keys(&*log) {
            let Some(client) = client_of(&key) else {
                continue;
            };
            let Some(value) = log.get(Table::Sessions, &key) else {
                continue;
            };
            match serde_json::from_slice::<Stored>(&value) {
                Ok(stored) if stored.format == FORMAT => {
                    asleep.insert(client.clone(), Session::of(client, stored));
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
        let outlives = session.outlives();
        match outlives {
            true => {
                session.leave(self.hub.now());
                session.stage(&mut commit);
            }
            false => session.stage_removal(&mut commit),
        }
        if let Err(error) = self.hub.commit(&mut commit) {
            // What is stored is older, and only more careful.
            tracing::warn!(client = %session.client, %error, "session not stored");
        }
        if outlives {
            self.lock().insert(session.client.clone(), session);
        }
    }

    /// Forgets the sessions whose time is over or that `gone` names.
    pub(crate) fn expire(&self, now: Timestamp, gone: impl Fn(&Session) -> bool) {
        let over: Vec<Session> = {
            let mut asleep = self.lock();
            let is_over =
                |session: &Session| session.ends().is_some_and(|at| at <= now) || gone(session);
            let clients: Vec<_> = asleep
                .values()
                .filter(|session| is_over(session))
                .map(|session| session.client.clone())
                .collect();
            clients.iter().filter_map(|c| asleep.remove(c)).collect()
        };
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

fn client_of(key: &[u8]) -> Option<Arc<str>> {
    let client = key.strip_prefix(PREFIX)?;
    Some(std::str::from_utf8(client).ok()?.into())
}

fn keys(log: &dyn MessageLog) -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = Vec::new();
    loop {
        let after = keys.last().cloned();
        let page = log.keys(Table::Sessions, PREFIX, after.as_deref(), PAGE);
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
        let mut session = Session::new("d".into());
        session.lane(&EndpointId::Upstream, Priority(0));
        assert!(!session.sent[0].send(Seq(7), false));
        session.leave(Timestamp(1));
        let mut again = Session::of("d".into(), session.stored.clone());
        assert!(again.sent[0].send(Seq(7), true));
        assert!(!again.sent[0].send(Seq(8), true));
        assert!(again.sent[0].send(Seq(8), true));
    }

    #[test]
    fn after_a_crash_what_was_stored_before_is_a_repeat_as_far_as_a_window_goes() {
        let mut session = Session::new("d".into());
        session.lane(&EndpointId::Upstream, Priority(0));
        let mut again = Session::of("d".into(), session.stored.clone());
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
        let mut session = Session::new("c".into());
        session.stored.expiry = 10;
        assert_eq!(session.ends(), None);
        session.leave(Timestamp(5));
        assert_eq!(session.ends(), Some(Timestamp(10_000_000_005)));
        session.stored.expiry = FOR_EVER;
        assert_eq!(session.ends(), None);
    }
}
