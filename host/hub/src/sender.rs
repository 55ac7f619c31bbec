//! The way in: one sender per connected identity.

use std::sync::Arc;
use std::time::Duration;

use edge_core::{
    ByteSize, Content, EndpointId, Identity, Message, Origin, Priority, Source, Timestamp, limits,
};
use edge_route::{Scratch, Selection};
use edge_store::{Commit, DeadLetter, DeadReason, QueueId};

use crate::Hub;
use crate::counters::add;
use crate::hub::Routing;
use crate::meters::{Meters, OutputMeter};

/// Outputs of one sender whose routes are remembered; beyond it they are looked up anew.
const REMEMBERED_OUTPUTS: usize = 64;

/// Longest name of an output or input in bytes.
const MAX_OUTPUT: usize = 128;

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendRefusal {
    /// Body and properties together are over the limit.
    #[error("the message has {size} bytes with its properties, at most {limit} are allowed")]
    TooLarge {
        /// What it has.
        size: usize,
        /// What it may have.
        limit: ByteSize,
    },
    /// Not a name for an output.
    #[error(
        "{0:?} is no name for an output: expected 1 to 128 bytes without '/', '#', '+' or control characters"
    )]
    InvalidOutput(String),
    /// The log is too full even for modules inside.
    #[error("the store is full")]
    Full,
}

/// Sends as one identity. It remembers, per output, which routes to look at.
#[derive(Debug)]
pub struct Sender {
    hub: Arc<Hub>,
    identity: Identity,
    outputs: Vec<Output>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Output {
    name: Option<Box<str>>,
    origin: Arc<Origin>,
    selection: Selection,
    generation: u64,
    meter: Arc<OutputMeter>,
}

impl Sender {
    pub(crate) fn new(hub: Arc<Hub>, identity: Identity) -> Self {
        Self {
            hub,
            identity,
            outputs: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Who sends.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The hub behind it.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Adds a message to a commit, in every queue to which routes lead it. `hops` is what the message
    /// it was derived from had passed, or 0. A message that no route takes is counted and dropped, as
    /// the routing language has it.
    ///
    /// # Errors
    /// The commit is as before.
    pub fn stage(
        &mut self,
        commit: &mut Commit,
        output: Option<&str>,
        content: Arc<Content>,
        hops: u8,
        now: Timestamp,
    ) -> Result<(), SendRefusal> {
        let size = self.check_size(&content, output)?;
        let hub = &self.hub;
        let routing = hub.routing();
        let index = remembered(
            &mut self.outputs,
            &self.identity,
            output,
            &routing,
            &hub.meters,
        )?;
        let known = &self.outputs[index];
        let message = Message {
            content,
            origin: known.origin.clone(),
            id: hub.next_id(),
            enqueued: now,
            hops,
        };
        if hops >= limits::HOPS {
            add(&hub.counters.looped, 1);
            known.meter.looped.add(1);
            commit.dead_letter(DeadLetter {
                message,
                // Where it would have gone next is no longer asked; the parent stands for "onward".
                endpoint: EndpointId::Upstream,
                priority: Priority::DEFAULT,
                attempts: 0,
                reason: DeadReason::Loop,
                at: now,
            });
            return Ok(());
        }
        let before = commit.targets().len();
        let asked = message.content.expiry();
        let place = commit.message(message.clone());
        routing
            .table
            .evaluate(&known.selection, &message, &mut self.scratch, |target| {
                let ttl = target.time_to_live.or(routing.time_to_live);
                let expiry = earlier(ttl.map(|ttl| now.after(ttl)), asked);
                commit.target(place, routing.queues[target.route], expiry);
            });
        known.meter.sizes.record(size, 1);
        if commit.targets().len() == before {
            add(&hub.counters.no_route, 1);
            let is_first = known.meter.no_route.get() == 0;
            known.meter.no_route.add(1);
            if is_first && let Some(observer) = hub.observer() {
                observer.unrouted(&known.origin);
            }
        }
        Ok(())
    }

    /// Adds a message to a commit for one endpoint, past the routes: what an operator or a developer
    /// sends to an input by hand.
    ///
    /// # Errors
    /// The commit is as before.
    pub fn stage_for(
        &mut self,
        commit: &mut Commit,
        queue: QueueId,
        content: Arc<Content>,
        time_to_live: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), SendRefusal> {
        let ttl = time_to_live.or(self.hub.routing().time_to_live);
        let expiry = earlier(ttl.map(|ttl| now.after(ttl)), content.expiry());
        self.stage_to(commit, [queue], content, expiry, now)
    }

    /// Adds a message of the open topics to a commit: it goes to these queues, the subscribers', and past
    /// the routes. `expiry` is when the sender no longer wants it delivered.
    ///
    /// # Errors
    /// The commit is as before.
    pub fn stage_to(
        &mut self,
        commit: &mut Commit,
        queues: impl IntoIterator<Item = QueueId>,
        content: Arc<Content>,
        expiry: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), SendRefusal> {
        let size = self.check_size(&content, None)?;
        let routing = self.hub.routing();
        let index = remembered(
            &mut self.outputs,
            &self.identity,
            None,
            &routing,
            &self.hub.meters,
        )?;
        let known = &self.outputs[index];
        known.meter.sizes.record(size, 1);
        let place = commit.message(Message {
            content,
            origin: known.origin.clone(),
            id: self.hub.next_id(),
            enqueued: now,
            hops: 0,
        });
        for queue in queues {
            commit.target(place, queue, expiry);
        }
        Ok(())
    }

    /// The size of a message that may come in.
    fn check_size(&mut self, content: &Content, output: Option<&str>) -> Result<u64, SendRefusal> {
        let (size, limit) = (content.size(), self.hub.config.message_limit);
        if size as u64 > limit.0 {
            add(&self.hub.counters.too_large, 1);
            let routing = self.hub.routing();
            let (identity, meters) = (&self.identity, &self.hub.meters);
            // What is no name for an output is not counted under it either.
            if let Ok(index) = remembered(&mut self.outputs, identity, output, &routing, meters) {
                self.outputs[index].meter.too_large.add(1);
            }
            return Err(SendRefusal::TooLarge { size, limit });
        }
        if self.hub.pressure().is_extreme() {
            return Err(SendRefusal::Full);
        }
        Ok(size as u64)
    }
}

/// The one that comes first; none: never.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The place of an output among those remembered, with its routes as they are now.
fn remembered(
    outputs: &mut Vec<Output>,
    identity: &Identity,
    name: Option<&str>,
    routing: &Routing,
    meters: &Meters,
) -> Result<usize, SendRefusal> {
    let found = outputs.iter().position(|o| o.name.as_deref() == name);
    if let Some(index) = found {
        let output = &mut outputs[index];
        if output.generation != routing.generation {
            output.selection = routing.table.select(output.origin.path());
            output.generation = routing.generation;
        }
        return Ok(index);
    }
    if let Some(name) = name {
        let bad = |c: char| c.is_control() || matches!(c, '/' | '#' | '+');
        if name.is_empty() || name.len() > MAX_OUTPUT || name.contains(bad) {
            return Err(SendRefusal::InvalidOutput(name.to_owned()));
        }
    }
    let origin = Origin::new(match identity {
        Identity::Device(device) => Source::Device(device.clone()),
        Identity::Module(device, module) => Source::Module {
            device: device.clone(),
            module: module.clone(),
            output: name.map(Into::into),
        },
    });
    if outputs.len() == REMEMBERED_OUTPUTS {
        outputs.remove(0);
    }
    outputs.push(Output {
        name: name.map(Into::into),
        selection: routing.table.select(origin.path()),
        meter: meters.outputs.get(&origin),
        origin,
        generation: routing.generation,
    });
    Ok(outputs.len() - 1)
}
