//! An identity on a connection: what proves it, its seat, and its links.
//!
//! ```text
//!   token or certificate ─► seat ─► links come and go ─► over: its connection is, another one took its seat,
//!                                        ▲      │         or what proved it holds no longer
//!                                        └ token renewed
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_core::Identity;
use edge_heads::{Bell, Handle, HeadConfig, NoSeat, Seat};
use edge_identity::Permit;
use fe2o3_amqp::acceptor::LinkEndpoint;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::condition::Refusal;
use super::{deliveries, methods, scope, telemetry, twin};

/// What is left to say when a link ends has this long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Identities are looked at again after this long, whatever happens: clocks may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// The connection's end of a client.
#[derive(Debug, Clone)]
pub(super) struct Client {
    links: mpsc::UnboundedSender<Box<Attached>>,
    permit: watch::Sender<Permit>,
}

/// A link of a client.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) endpoint: LinkEndpoint,
    pub(super) work: Work,
    /// Tells links of the same purpose apart.
    pub(super) correlation: Option<String>,
    pub(super) counted: Counted,
}

/// Held by each link of a session, which counts them by it.
pub(super) type Counted = Arc<()>;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Telemetry,
    Deliveries,
    TwinRequests,
    TwinAnswers,
    MethodCalls,
    MethodAnswers,
    Scope,
}

/// What the links of a client share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) config: HeadConfig,
    pub(super) identity: Identity,
    pub(super) window: u32,
    /// Held by the one link that reads the client's queues.
    pub(super) reading: Mutex<()>,
    pub(super) twin: twin::Channels,
    pub(super) methods: methods::Channels,
}

/// Told to a link when it is to end.
pub(super) type Ending = watch::Receiver<Option<Refusal>>;

impl Client {
    /// Whether it takes no more links.
    pub(super) fn is_over(&self) -> bool {
        self.links.is_closed()
    }

    /// Has it served; gives it back if the client is over.
    pub(super) fn attach(&self, attached: Box<Attached>) -> Result<(), Box<Attached>> {
        self.links.send(attached).map_err(|unsent| unsent.0)
    }

    /// Goes on with another proof; false if the client is over.
    pub(super) fn renew(&self, permit: Permit) -> bool {
        !self.is_over() && self.permit.send(permit).is_ok()
    }
}

/// Seats an identity, and serves it until it is over.
pub(super) async fn begin(shared: Arc<Shared>, permit: Permit) -> Result<Client, Refusal> {
    let identity = permit.identity.clone();
    let handle = Handle::new(Arc::<Bell>::default());
    let name: Arc<str> = identity.to_string().into();
    let seat = shared.config.live.enter(&name, &handle).await;
    let seat = seat.map_err(|no| {
        let why = match no {
            NoSeat::Superseded => "a newer connection of it came meanwhile",
            NoSeat::Stuck => "the connection before it does not end",
        };
        Refusal::internal(format!("{identity}: {why}"))
    })?;
    let (links, attached) = mpsc::unbounded_channel();
    let (permit, permits) = watch::channel(permit);
    shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
    let running = Running {
        common: Arc::new(Common {
            config: shared.config.clone(),
            identity,
            window: shared.limits.window,
            reading: Mutex::default(),
            twin: twin::Channels::default(),
            methods: methods::Channels::default(),
        }),
        permits,
        handle,
        tasks: JoinSet::new(),
        links: Vec::new(),
    };
    tokio::spawn(running.serve(shared, attached, seat));
    Ok(Client { links, permit })
}

struct Link {
    work: Work,
    end: watch::Sender<Option<Refusal>>,
    _counted: Counted,
}

struct Running {
    common: Arc<Common>,
    permits: watch::Receiver<Permit>,
    handle: Arc<Handle>,
    tasks: JoinSet<()>,
    /// The links that are served, and how they are told to end.
    links: Vec<Link>,
}

impl Running {
    async fn serve(
        mut self,
        shared: Arc<Shared>,
        mut attached: mpsc::UnboundedReceiver<Box<Attached>>,
        seat: Seat,
    ) {
        let common = self.common.clone();
        let identity = &common.identity;
        let hub = &common.config.hub;
        let meter = hub.meters().client_connected(Some(identity), hub.now());
        let refusal = loop {
            let due = match self.judge() {
                Ok(due) => due,
                Err(refusal) => break Some(refusal),
            };
            tokio::select! {
                link = attached.recv() => match link {
                    Some(link) => self.begin(*link),
                    None => break None,
                },
                renewed = self.permits.changed() => if renewed.is_err() {
                    break None;
                },
                () = self.handle.rung() => if self.handle.told().go {
                    shared.counts.taken_over.fetch_add(1, Ordering::Relaxed);
                    let why = format!("another connection of {identity} took over");
                    break Some(Refusal::taken_over(why));
                },
                () = sleep(due) => {}
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(client = %identity, %error, "a link panicked");
                    }
                    self.links.retain(|link| !link.end.is_closed());
                }
            }
        };
        // Nobody attaches a link from here on.
        attached.close();
        match &refusal {
            Some(why) => tracing::warn!(client = %identity, %why, "AMQP client sent away"),
            None => tracing::info!(client = %identity, "AMQP client gone"),
        }
        if let Some(refusal) = refusal {
            for Link { end, .. } in &self.links {
                end.send_replace(Some(refusal.clone()));
            }
            let ended = async { while self.tasks.join_next().await.is_some() {} };
            // A peer that takes nothing is left to its connection's end.
            let _ = timeout(LAST_WORDS, ended).await;
            while let Ok(link) = attached.try_recv() {
                tokio::spawn(refuse(link.endpoint, refusal.clone()));
            }
        }
        self.tasks.shutdown().await;
        meter.disconnected(hub.now());
        drop(seat);
    }

    /// Whether what proves it holds; when to look again.
    fn judge(&mut self) -> Result<Duration, Refusal> {
        let config = &self.common.config;
        let permit = self.permits.borrow_and_update();
        let now = config.hub.now();
        let held = config.registry.recheck(&permit, now);
        held.map_err(|denied| Refusal::unauthorized(format!("{}: {denied}", permit.identity)))?;
        let left = permit.expires.map(|at| at.since(now));
        let left = left.map_or(LOOK_AGAIN, |left| left.max(Duration::from_millis(1)));
        Ok(left.min(LOOK_AGAIN))
    }

    fn begin(&mut self, attached: Attached) {
        let (end, ending) = watch::channel(None);
        let (common, correlation) = (self.common.clone(), attached.correlation);
        if attached.work == Work::Deliveries {
            // The newest reads; what the one before it has not settled comes again.
            for Link { work, end, .. } in &self.links {
                if *work == Work::Deliveries {
                    let why = "another link of it was attached";
                    end.send_replace(Some(Refusal::taken_over(why)));
                }
            }
        }
        let work = attached.work;
        match (attached.endpoint, work) {
            (LinkEndpoint::Receiver(link), Work::Telemetry) => {
                self.tasks.spawn(telemetry::serve(common, link, ending));
            }
            (LinkEndpoint::Sender(link), Work::Deliveries) => {
                self.tasks.spawn(deliveries::serve(common, link, ending));
            }
            (LinkEndpoint::Receiver(link), Work::TwinRequests) => {
                let serving = twin::requests(common, link, correlation, ending);
                self.tasks.spawn(serving);
            }
            (LinkEndpoint::Sender(link), Work::TwinAnswers) => {
                let serving = twin::answers(common, link, correlation, ending);
                self.tasks.spawn(serving);
            }
            (LinkEndpoint::Sender(link), Work::MethodCalls) => {
                self.tasks.spawn(methods::calls(common, link, ending));
            }
            (LinkEndpoint::Receiver(link), Work::MethodAnswers) => {
                self.tasks.spawn(methods::answers(common, link, ending));
            }
            (LinkEndpoint::Sender(link), Work::Scope) => {
                self.tasks
                    .spawn(scope::serve(common, link, correlation, ending));
            }
            // A link is attached in the role that its work was found by.
            (endpoint, _) => {
                let refusal = Refusal::not_allowed("a link in the wrong role");
                self.tasks.spawn(refuse(endpoint, refusal));
            }
        }
        self.links.push(Link {
            work,
            end,
            _counted: attached.counted,
        });
    }
}

/// Resolves when a link is to end, with the reason.
pub(super) async fn told(ending: &mut Ending) -> Refusal {
    match ending.wait_for(Option::is_some).await {
        Ok(refusal) => refusal.clone(),
        // Whoever would tell it is gone.
        Err(_) => None,
    }
    .unwrap_or_else(|| Refusal::detached("its connection ends"))
}

/// Ends a link with an error.
pub(super) async fn refuse(endpoint: LinkEndpoint, refusal: Refusal) {
    let ended = async {
        match endpoint {
            LinkEndpoint::Sender(sender) => sender.close_with_error(refusal).await,
            LinkEndpoint::Receiver(receiver) => receiver.close_with_error(refusal).await,
        }
    };
    // It may have ended by itself, or its peer may not answer.
    let _ = timeout(LAST_WORDS, ended).await;
}
