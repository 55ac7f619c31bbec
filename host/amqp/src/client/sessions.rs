//! Sessions of a connection. A session attaches one link after the other, a round trip each: what many identities
//! attach after a reconnect is spread over several, so that a slow link is not waited for a thousand times in a row.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fe2o3_amqp::Session;
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::session::{BeginError, SessionHandle};
use tokio::sync::{Mutex, MutexGuard};

use super::said::said;

/// Sessions, at most; parents of ours take sixteen.
const MOST: usize = 12;

/// Who attaches first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// What carries messages that wait.
    First,
    /// What may come later.
    Later,
}

/// A session, and whether it was found to be over.
#[derive(Debug)]
pub(super) struct Place {
    session: Mutex<SessionHandle<()>>,
    is_over: AtomicBool,
}

impl Place {
    fn new(session: SessionHandle<()>) -> Self {
        Self {
            session: Mutex::new(session),
            is_over: AtomicBool::new(false),
        }
    }
}

/// A session that attaches nothing else meanwhile.
pub(super) struct Taken<'a> {
    pub(super) session: MutexGuard<'a, SessionHandle<()>>,
    place: &'a Place,
}

impl Taken<'_> {
    /// Passes it by from now on: one that ends by itself takes nobody else along. Says why it is over.
    pub(super) fn is_over(&self, why: &(dyn std::error::Error + 'static)) -> String {
        self.place.is_over.store(true, Ordering::Relaxed);
        said(why)
    }
}

/// The first is there from the start; the others come as the parent begins them.
#[derive(Debug)]
pub(super) struct Sessions {
    all: [OnceLock<Place>; MOST],
    /// Where whoever finds none free waits next.
    next: AtomicUsize,
}

impl Sessions {
    pub(super) fn new(first: SessionHandle<()>) -> Self {
        let mut all = [const { OnceLock::new() }; MOST];
        all[0] = OnceLock::from(Place::new(first));
        Self {
            all,
            next: AtomicUsize::new(0),
        }
    }

    /// Begins the other ones, as many as the parent takes.
    pub(super) async fn begin_others(&self, connection: &mut ConnectionHandle<()>) {
        for place in self.all.iter().filter(|place| place.get().is_none()) {
            match begin(connection).await {
                Ok(session) => {
                    place.get_or_init(|| Place::new(session));
                }
                // Those that there are do it as well. A connection that is over says so elsewhere.
                Err(error) => {
                    tracing::debug!(%error, "the parent begins no further session");
                    return;
                }
            }
        }
    }

    /// One to attach a link on; none when all are over. The first is left to whoever goes first, once there are
    /// others.
    pub(super) async fn next(&self, turn: Turn) -> Option<Taken<'_>> {
        let all = self.all.iter().map_while(OnceLock::get);
        let all: Vec<&Place> = all
            .filter(|place| !place.is_over.load(Ordering::Relaxed))
            .collect();
        let choice = match (turn, all.as_slice()) {
            (Turn::Later, [_, others @ ..]) if !others.is_empty() => others,
            (_, all) => all,
        };
        let free = choice.iter().find_map(|place| {
            let session = place.session.try_lock().ok()?;
            Some(Taken { session, place })
        });
        if free.is_some() {
            return free;
        }
        let place = match turn {
            Turn::First => choice.first()?,
            Turn::Later => {
                let next = self.next.fetch_add(1, Ordering::Relaxed);
                choice.get(next.checked_rem(choice.len())?)?
            }
        };
        Some(Taken {
            session: place.session.lock().await,
            place,
        })
    }
}

/// Begins a session.
pub(super) async fn begin(
    connection: &mut ConnectionHandle<()>,
) -> Result<SessionHandle<()>, BeginError> {
    Session::builder()
        .incoming_window(2_048)
        .outgoing_window(2_048)
        .begin(connection)
        .await
}
