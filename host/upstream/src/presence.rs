//! What the parent knows of an identity and wants of it: its twin, its methods, messages to it.
//!
//! ```text
//!   connected ─► token ─► methods, messages ─► twin: watch, read ─┬─► what is wanted: the difference to what was
//!                                                                 │    wanted last is merged into ours
//!                                                                 └─► what we report: the difference to what the
//!                                                                      parent has goes up, now and at each change
//! ```
//!
//! Versions are the parent's own: whatever passed while there was no connection is found when the twin is read.
//! Clients see one version of ours, which counts both hands' changes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edge_amqp::client::said::said;
use edge_amqp::client::{
    LinkFault, Links, MethodLink, ParentCall, TwinEvent, TwinLink, TwinRequest,
};
use edge_amqp::{Address, message};
use edge_core::{EndpointId, Identity, Priority, twin};
use edge_heads::Bell;
use edge_hub::{Caller, Invocation, MethodError, Side, TwinError};
use edge_store::{Commit, CommitError, Put, Table};
use fe2o3_amqp::link::Receiver;
use fe2o3_amqp_types::messaging::{Body, Rejected};
use fe2o3_amqp_types::primitives::Value as AmqpValue;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Signer, Upstream, back_off, until};

/// An identity that is not let in, or whose links ended, is tried again after this, doubled with each time.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);
/// One that held for so long begins anew with the shortest wait.
const HELD: Duration = Duration::from_secs(60);
/// An answer about a twin comes by then.
const PATIENCE: Duration = Duration::from_secs(120);
/// The parent waits this long for a target that is on its way, and for its answer: a little less than callers of
/// IoT Hub do.
const CONNECT: Duration = Duration::from_secs(5);
const RESPONSE: Duration = Duration::from_secs(300);
/// Calls of one identity at a time.
const CALLS: usize = 64;
/// Messages to a device that are not stored yet.
const CREDIT: u32 = 100;

/// What the parent was last seen to want of an identity.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
struct Wanted {
    version: u64,
    properties: Map<String, Value>,
}

/// Serves an identity for as long as the connection holds; whoever owns the connection ends this with it.
pub(crate) async fn serve(
    upstream: Arc<Upstream>,
    links: Links,
    identity: Identity,
    bell: Arc<Bell>,
) {
    let presence = Presence {
        upstream,
        links,
        identity,
    };
    let (identity, status) = (&presence.identity, &presence.upstream.status);
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let Err(fault) = presence.run(&bell).await;
        failures = match begun.elapsed() {
            held if held > HELD => 1,
            _ => failures + 1,
        };
        match fault {
            // Only its own links may be over: the parent ends them when it disables or replaces an identity.
            LinkFault::Lost(why) => {
                tracing::info!(client = %identity, %why, "an identity's links at the parent ended");
            }
            LinkFault::Refused(why) => {
                if failures == 1 {
                    tracing::warn!(client = %identity, %why, "the parent does not let an identity in");
                }
                status.refused(identity, Some(&why));
            }
        }
        sleep(back_off(failures, FIRST, LONGEST)).await;
    }
}

struct Presence {
    upstream: Arc<Upstream>,
    links: Links,
    identity: Identity,
}

/// An answer to a call on its way.
type Answer = Pin<Box<dyn Future<Output = (ParentCall, u32, String)> + Send>>;

impl Presence {
    async fn run(&self, bell: &Bell) -> Result<std::convert::Infallible, LinkFault> {
        let mut renew = self.prove().await?;
        self.upstream.status.refused(&self.identity, None);
        let mut methods = MethodLink::attach(&self.links, &self.identity).await?;
        let mut messages = match &self.identity {
            Identity::Device(device) => {
                let address = Address::DeviceBound(device.clone());
                Some(self.links.receiver(&address, None, CREDIT).await?)
            }
            Identity::Module(..) => None,
        };
        let mut twin = Twin::attach(self).await?;
        let mut calls = FuturesUnordered::<Answer>::new();
        loop {
            let has_room = calls.len() < CALLS;
            let overdue = twin.deadline();
            tokio::select! {
                event = twin.link.next() => twin.event(self, event?).await?,
                () = bell.rung() => twin.report(self).await?,
                call = methods.next(), if has_room => calls.push(self.call(call?)),
                Some((call, status, payload)) = calls.next() => {
                    methods.answer(call, status, &payload).await?;
                }
                taken = message_of(&mut messages) => self.take(&mut messages, taken?).await?,
                () = sleep_until(renew) => renew = self.prove().await?,
                () = until(overdue) => {
                    let seconds = PATIENCE.as_secs();
                    return Err(LinkFault::Lost(format!("no answer about the twin in {seconds} s")));
                }
            }
        }
    }

    /// Puts a token; when the next one is due.
    async fn prove(&self) -> Result<Instant, LinkFault> {
        let signer = Signer(self.upstream.clone());
        let (_, due) = signer.prove(&self.links, &self.identity).await?;
        Ok(due)
    }

    /// Calls a method here.
    fn call(&self, call: ParentCall) -> Answer {
        let (hub, target) = (self.upstream.config.hub.clone(), self.identity.clone());
        Box::pin(async move {
            let invocation = Invocation {
                caller: Caller::Outside,
                target: &target,
                name: &call.name,
                payload: &call.payload,
                connect_timeout: CONNECT,
                response_timeout: RESPONSE,
            };
            let answer = hub.methods().call(invocation, sleep).await;
            let (status, payload) = match answer {
                Ok(answer) => (answer.status, answer.payload),
                Err(error) => {
                    let status = match &error {
                        MethodError::NotFound(_) => 404,
                        MethodError::Timeout(_) => 504,
                        MethodError::Busy(_) => 409,
                        MethodError::Invalid(_) => 400,
                        MethodError::Failed(_) => 500,
                    };
                    let body = serde_json::json!({ "message": error.to_string() });
                    (status, body.to_string())
                }
            };
            (call, status, payload)
        })
    }

    /// Puts a message of the parent's into the queue of its device, and accepts it when it is on the device.
    async fn take(
        &self,
        messages: &mut Option<Receiver>,
        delivery: Delivery,
    ) -> Result<(), LinkFault> {
        let (Some(receiver), Identity::Device(device)) = (messages, &self.identity) else {
            return Ok(());
        };
        let lost = |error: String| LinkFault::Lost(error);
        let hub = &self.upstream.config.hub;
        let (info, message) = delivery.into_parts();
        let read = match message::read(message) {
            Ok(read) => read,
            Err(fault) => {
                tracing::warn!(client = %device, why = %fault, "a message of the parent's is rejected");
                let rejected = receiver.dispose(info, Rejected { error: None }).await;
                return rejected.map_err(|error| lost(said(&error)));
            }
        };
        let queue = hub.queue(&EndpointId::Device(device.clone()), Priority::DEFAULT);
        let mut sender = hub.sender(self.identity.clone());
        let lsn = loop {
            let mut commit = Commit::new();
            let content = read.content.clone();
            let staged = sender.stage_for(&mut commit, queue, content, None, hub.now());
            match staged {
                Ok(()) => {}
                Err(edge_hub::SendRefusal::Full) => {
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(refusal) => {
                    tracing::warn!(client = %device, why = %refusal, "a message of the parent's is rejected");
                    let rejected = receiver.dispose(info, Rejected { error: None }).await;
                    return rejected.map_err(|error| lost(said(&error)));
                }
            }
            match hub.commit(&mut commit) {
                Ok(lsn) => break lsn,
                // It waits with the parent meanwhile.
                Err(CommitError::Full { .. }) => sleep(Duration::from_secs(1)).await,
                Err(error) => return Err(lost(error.to_string())),
            }
        };
        if let Some(lsn) = lsn {
            hub.hurry(lsn);
            hub.durable(lsn)
                .await
                .map_err(|error| lost(error.to_string()))?;
        }
        receiver
            .accept(info)
            .await
            .map_err(|error| lost(said(&error)))
    }

    fn key(&self) -> Bytes {
        Bytes::from(format!("twin\0{}", self.identity))
    }

    /// What the parent was last seen to want.
    fn seen(&self) -> Option<Wanted> {
        let log = self.upstream.config.hub.log();
        let value = log.get(Table::Upstream, &self.key())?;
        match serde_json::from_slice(&value) {
            Ok(wanted) => Some(wanted),
            Err(error) => {
                tracing::error!(client = %self.identity, %error, "what the parent wanted last cannot be read");
                None
            }
        }
    }

    /// Takes what the parent wants.
    fn want(&self, wanted: &Wanted) -> Result<(), TwinError> {
        let hub = &self.upstream.config.hub;
        let seen = self.seen();
        let system = &self.upstream.config.system;
        if system.is_of_system(&self.identity) {
            // Every time: whether it was put in force is not for us to know.
            system.wanted(&self.identity, wanted.version, &wanted.properties);
        }
        if seen.as_ref() == Some(wanted) {
            return Ok(());
        }
        if !system.is_of_system(&self.identity) {
            let is_new = seen.is_none();
            let before = seen.unwrap_or_default().properties;
            let patch = match twin::difference(&before, &wanted.properties) {
                // The same once more: devices below take a deployment again that was applied again. Nobody else
                // is told of a change that is none.
                None if !is_new && is_agent(&self.identity) => Some(Map::new()),
                difference => difference,
            };
            if let Some(patch) = patch {
                let patch = Value::Object(patch).to_string();
                hub.change_desired(&self.identity, &patch)?;
            }
        }
        let value =
            serde_json::to_vec(wanted).map_err(|error| TwinError::Invalid(error.to_string()))?;
        // A crash before this is stored merges the same once more.
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Upstream,
            key: self.key(),
            value: Some(value.into()),
        });
        hub.commit(&mut commit)?;
        Ok(())
    }
}

type Delivery = fe2o3_amqp::link::delivery::Delivery<Body<AmqpValue>>;

/// The next message to a device; never one for modules.
async fn message_of(messages: &mut Option<Receiver>) -> Result<Delivery, LinkFault> {
    match messages {
        Some(receiver) => {
            let delivery = receiver.recv::<Body<AmqpValue>>().await;
            delivery.map_err(|error| LinkFault::Lost(format!("messages: {}", said(&error))))
        }
        None => std::future::pending().await,
    }
}

/// A twin at the parent.
struct Twin {
    link: TwinLink,
    /// What the parent wants, once it was read.
    wanted: Option<Wanted>,
    /// What the parent has of what we report, once it was read.
    reported: Option<Map<String, Value>>,
    /// The request that reads it, until it is answered.
    reading: Option<Asked>,
    /// The newest change that was told before it was read.
    early: u64,
    /// A report on its way, and what the parent has after it.
    reporting: Option<(Asked, Map<String, Value>)>,
}

/// A request about a twin on its way.
struct Asked {
    request: u64,
    deadline: Instant,
}

impl Twin {
    async fn attach(presence: &Presence) -> Result<Self, LinkFault> {
        let mut link = TwinLink::attach(&presence.links, &presence.identity).await?;
        // Before it is read: what changes in between is told.
        link.ask(TwinRequest::Watch, " ").await?;
        let mut twin = Self {
            link,
            wanted: None,
            reported: None,
            reading: None,
            early: 0,
            reporting: None,
        };
        twin.reread().await?;
        Ok(twin)
    }

    /// Asks for all of it.
    async fn reread(&mut self) -> Result<(), LinkFault> {
        self.reading = Some(self.ask(TwinRequest::Get, " ").await?);
        Ok(())
    }

    async fn ask(&mut self, request: TwinRequest, body: &str) -> Result<Asked, LinkFault> {
        Ok(Asked {
            request: self.link.ask(request, body).await?,
            deadline: Instant::now() + PATIENCE,
        })
    }

    /// When the first answer that is owed is overdue.
    fn deadline(&self) -> Option<Instant> {
        let reporting = self.reporting.as_ref().map(|(asked, _)| asked);
        let asked = self.reading.iter().chain(reporting);
        asked.map(|asked| asked.deadline).min()
    }

    async fn event(&mut self, presence: &Presence, event: TwinEvent) -> Result<(), LinkFault> {
        match event {
            TwinEvent::Change(patch) => self.changed(presence, &patch).await,
            TwinEvent::Answer {
                request,
                status,
                body,
            } => {
                let is_good = (200..300).contains(&status);
                if self
                    .reading
                    .take_if(|asked| asked.request == request)
                    .is_some()
                {
                    if !is_good {
                        let why = format!("the parent does not give the twin: {status} {body}");
                        return Err(LinkFault::Refused(why));
                    }
                    return self.read(presence, &body).await;
                }
                let reporting = &mut self.reporting;
                if let Some((_, after)) = reporting.take_if(|(asked, _)| asked.request == request) {
                    if is_good {
                        self.reported = Some(after);
                        // What changed meanwhile.
                        return self.report(presence).await;
                    }
                    tracing::warn!(client = %presence.identity, status, %body, "the parent does not take what is reported");
                } else if !is_good {
                    tracing::warn!(client = %presence.identity, status, %body, "the parent refuses a request about a twin");
                }
                Ok(())
            }
        }
    }

    /// Takes the whole twin.
    async fn read(&mut self, presence: &Presence, body: &str) -> Result<(), LinkFault> {
        let bad = |why: String| LinkFault::Refused(format!("the parent's twin: {why}"));
        #[derive(serde::Deserialize)]
        struct Whole {
            desired: Map<String, Value>,
            reported: Map<String, Value>,
        }
        let whole: Whole = serde_json::from_str(body).map_err(|error| bad(error.to_string()))?;
        let wanted = wanted_of(whole.desired).ok_or_else(|| bad("no $version".to_owned()))?;
        let mut reported = whole.reported;
        plain(&mut reported);
        if presence.seen().is_none() {
            self.adopt(presence, &reported);
        }
        if wanted.version < self.early {
            self.reread().await?;
        }
        self.take(presence, wanted)?;
        self.reported = Some(reported);
        self.report(presence).await
    }

    /// The first time that this identity is here: what the parent knows of it and we do not is kept.
    fn adopt(&self, presence: &Presence, reported: &Map<String, Value>) {
        let hub = &presence.upstream.config.hub;
        let adopted = hub
            .twin(&presence.identity, Side::Reported, None)
            .and_then(|ours| {
                let mut merged = reported.clone();
                twin::merge(&mut merged, ours.properties.clone());
                match twin::difference(&ours.properties, &merged) {
                    Some(patch) => {
                        let patch = Value::Object(patch).to_string();
                        hub.change_reported(&presence.identity, &patch).map(drop)
                    }
                    None => Ok(()),
                }
            });
        if let Err(error) = adopted {
            tracing::warn!(client = %presence.identity, %error, "what the parent had reported is not taken over");
        }
    }

    /// Puts in force what the parent wants. What has no room in the store is read again when the links are attached
    /// anew.
    fn take(&mut self, presence: &Presence, wanted: Wanted) -> Result<(), LinkFault> {
        match presence.want(&wanted) {
            Ok(()) => {}
            Err(TwinError::NotStored(error)) => {
                let why = format!("what the parent wants is not stored: {error}");
                return Err(LinkFault::Lost(why));
            }
            Err(error) => {
                tracing::warn!(client = %presence.identity, %error, "what the parent wants is not taken");
            }
        }
        self.wanted = Some(wanted);
        Ok(())
    }

    /// Takes a change of what is wanted.
    async fn changed(&mut self, presence: &Presence, patch: &str) -> Result<(), LinkFault> {
        let patch = serde_json::from_str::<Map<String, Value>>(patch).ok();
        let patch = patch.and_then(wanted_of);
        let next = match (&self.wanted, patch) {
            // The whole is on its way, and may be older.
            (None, Some(patch)) => {
                self.early = self.early.max(patch.version);
                return Ok(());
            }
            (Some(known), Some(patch)) if patch.version <= known.version => return Ok(()),
            (Some(known), Some(patch)) if patch.version == known.version + 1 => {
                let mut next = known.clone();
                next.version = patch.version;
                twin::merge(&mut next.properties, patch.properties);
                next
            }
            // Something was missed, or cannot be read: all of it is read anew.
            _ => return self.reread().await,
        };
        self.take(presence, next)
    }

    /// Sends what we report and the parent has not.
    async fn report(&mut self, presence: &Presence) -> Result<(), LinkFault> {
        let (Some(known), None) = (&self.reported, &self.reporting) else {
            // Looked at when the answer comes.
            return Ok(());
        };
        let hub = &presence.upstream.config.hub;
        let ours = match hub.twin(&presence.identity, Side::Reported, None) {
            Ok(section) => section.properties,
            Err(error) => {
                tracing::warn!(client = %presence.identity, %error, "what is reported is not sent");
                return Ok(());
            }
        };
        let Some(patch) = twin::difference(known, &ours) else {
            return Ok(());
        };
        // Nobody outside sees what a crash could take back.
        let durable = hub.durable(hub.newest_lsn()).await;
        durable.map_err(|error| LinkFault::Lost(error.to_string()))?;
        let patch = Value::Object(patch).to_string();
        let asked = self.ask(TwinRequest::Report, &patch).await?;
        self.reporting = Some((asked, ours));
        Ok(())
    }
}

/// A section as the parent writes it.
fn wanted_of(mut section: Map<String, Value>) -> Option<Wanted> {
    let version = section.get("$version")?.as_u64()?;
    plain(&mut section);
    Some(Wanted {
        version,
        properties: section,
    })
}

/// Without what is said about a section in it: `$version`, and IoT Hub's `$metadata`.
fn plain(section: &mut Map<String, Value>) {
    section.retain(|name, _| !name.starts_with('$'));
}

/// Whether it is the one that deployments of a device are for.
fn is_agent(identity: &Identity) -> bool {
    matches!(identity, Identity::Module(_, module) if module.as_str() == "$edgeAgent")
}
