//! What a client of the open topics does on its connection.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::BytesMut;
use edge_core::{Identity, Timestamp};
use edge_hub::{Hub, Owner, SendRefusal, Sender};
use edge_store::{Commit, CommitError, Delivery, Lsn};
use smallvec::SmallVec;

use super::access::{Access, Rights};
use super::broker::{Broker, Plan, PostError};
use super::message::{Post, Retain, Shape};
use crate::Reason;
use crate::bag::MAX_PAIRS;
use crate::door::Service;
use crate::encode::{self, Peer};
use crate::link::{Close, Link, Reply, Show, Shown};
use crate::output::Output;
use crate::packet::{
    PacketId, Publish, QoS, RetainHandling, Subscribe, Subscription, Unsubscribe, Version,
};
use crate::refused::RefusedFilters;
use crate::session::{Session, Subscribed};
use crate::topic::{self, Filter};

/// Topics whose plan is remembered.
const PLANS: usize = 256;
/// Bytes of those topics, which may have 64 KiB each.
const PLAN_BYTES: usize = 256 << 10;
/// Most subscriptions of a session.
const SUBSCRIPTIONS: usize = 1_000;
/// Most that they may cost in bytes of memory, by [`Subscribed::cost`]: names of many levels are dear.
const SUBSCRIPTION_COST: usize = 4 << 20;
/// Retained messages sent in one go.
const KEPT: usize = 64;

/// See the head of this file.
pub(crate) struct Client {
    hub: Arc<Hub>,
    broker: Arc<Broker>,
    access: Arc<Access>,
    place: u32,
    sender: Sender,
    rights: Rights,
    plans: HashMap<Box<str>, Plan>,
    /// Bytes of their topics, at most.
    plan_bytes: usize,
    /// Filters whose retained messages are to be sent, and the name that was sent last.
    kept: VecDeque<(String, Option<Box<str>>)>,
    subscriptions: Vec<Subscribed>,
    /// What the subscriptions of the session cost.
    cost: usize,
    granted: Option<Granted>,
}

/// What the subscriptions that match a topic say together.
#[derive(Debug, Clone)]
struct Granted {
    topic: String,
    qos: QoS,
    as_published: bool,
    ids: SmallVec<[NonZeroU32; 2]>,
}

impl Client {
    pub(super) fn new(
        broker: Arc<Broker>,
        access: Arc<Access>,
        who: Option<&Identity>,
        session: &Session,
    ) -> Self {
        let hub = broker.hub.clone();
        Self {
            place: session.stored.place.unwrap_or_default(),
            sender: hub.sender(sender_of(&hub, who)),
            rights: access.rights(who),
            plans: HashMap::new(),
            plan_bytes: 0,
            kept: VecDeque::new(),
            subscriptions: session.stored.subscriptions.clone(),
            cost: session
                .stored
                .subscriptions
                .iter()
                .map(Subscribed::cost)
                .sum(),
            granted: None,
            hub,
            broker,
            access,
        }
    }

    fn may_publish(&self, topic: &str) -> Result<(), Close> {
        match self.rights.may_publish(topic) {
            true => Ok(()),
            false => Err(Close::Denied(format!(
                "publish to {topic:?}: no rule under [[topics.rules]] allows it"
            ))),
        }
    }

    /// Publishes what is to be retained, by itself.
    fn retain(&mut self, link: &mut Link, publish: Publish, now: Timestamp) -> Result<(), Close> {
        self.may_publish(&publish.topic)?;
        // What came before it is before it.
        link.commit_batch()?;
        if link.is_stuck() {
            link.park(publish);
            return Ok(());
        }
        let mapped = self.access.mapping(&publish.topic);
        let mut commit = Commit::new();
        receive(&mut link.session, &publish, &mut commit);
        let from = Some(self.place);
        let post = post(&publish);
        let retained = self
            .broker
            .retain(&mut self.sender, &mut commit, &post, mapped, from, now);
        if retained.is_err() {
            forget(&mut link.session, &publish);
        }
        let lsn = match retained {
            Ok(lsn) => lsn,
            Err(
                PostError::Refused(SendRefusal::Full) | PostError::Store(CommitError::Full { .. }),
            ) => {
                link.park(publish);
                return Ok(());
            }
            Err(PostError::Refused(refusal)) => return Err(refused(refusal)),
            Err(PostError::Store(error)) => return Err(Close::Store(error)),
            Err(error @ PostError::TooManyRetained) => {
                return Err(Close::refused(Reason::QuotaExceeded, error));
            }
        };
        link.staged(0, publish.id.is_some());
        if let Some(reply) = reply(&publish) {
            link.reply_after(lsn, reply);
        }
        Ok(())
    }

    fn granted(&mut self, topic: &str) -> Option<&Granted> {
        if self
            .granted
            .as_ref()
            .is_none_or(|known| known.topic != topic)
        {
            let mut matching = self
                .subscriptions
                .iter()
                .filter(|subscription| topic::matches(&subscription.filter, topic))
                .peekable();
            matching.peek()?;
            let mut granted = Granted {
                topic: topic.to_owned(),
                qos: QoS::AtMostOnce,
                as_published: false,
                ids: SmallVec::new(),
            };
            for subscription in matching {
                granted.qos = granted.qos.max(subscription.qos());
                granted.as_published |= subscription.as_published;
                granted.ids.extend(subscription.id);
            }
            self.granted = Some(granted);
        }
        self.granted.as_ref()
    }

    /// Subscriptions changed: they are kept before the client is told.
    fn changed(&mut self, link: &mut Link, packet: BytesMut) -> Result<(), Close> {
        self.granted = None;
        self.subscriptions
            .clone_from(&link.session.stored.subscriptions);
        link.commit_batch()?;
        let mut lsn = None;
        if link.session.outlives() {
            let mut commit = Commit::new();
            link.session.stage(&mut commit);
            lsn = self.hub.commit(&mut commit).map_err(Close::Store)?;
        }
        link.reply_after(lsn.unwrap_or(Lsn(0)), Reply::Packet(packet.freeze()));
        Ok(())
    }

    fn add(
        &mut self,
        link: &mut Link,
        wanted: &Subscription,
        id: Option<NonZeroU32>,
    ) -> Result<Reason, Reason> {
        let filter = Filter::parse(&wanted.filter).map_err(|_| Reason::TopicFilterInvalid)?;
        if filter.share.is_some() {
            return Err(Reason::SharedSubscriptionsNotSupported);
        }
        if !self.rights.may_subscribe(filter.filter) {
            return Err(Reason::NotAuthorized);
        }
        let subscription = Subscribed {
            filter: filter.filter.to_owned(),
            qos: wanted.qos.min(QoS::AtLeastOnce) as u8,
            no_local: wanted.no_local,
            as_published: wanted.retain_as_published,
            id,
        };
        let all = &mut link.session.stored.subscriptions;
        match all
            .iter()
            .position(|known| known.filter == subscription.filter)
        {
            None => {
                let cost = self.cost + subscription.cost();
                if all.len() >= SUBSCRIPTIONS || cost > SUBSCRIPTION_COST {
                    return Err(Reason::QuotaExceeded);
                }
                self.cost = cost;
                all.push(subscription.clone());
            }
            Some(known) => all[known] = subscription.clone(),
        }
        let was_there = self.broker.subscribe(self.place, &subscription);
        let wants_kept = match wanted.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => !was_there,
            RetainHandling::Never => false,
        };
        if wants_kept {
            self.kept.retain(|(known, _)| *known != subscription.filter);
            self.kept.push_back((subscription.filter, None));
        }
        Ok(match wanted.qos {
            QoS::AtMostOnce => Reason::Success,
            _ => Reason::GrantedQoS1,
        })
    }
}

/// In whose name a client sends. One without identity, which only an operator lets in, sends in that of this
/// device.
pub(super) fn sender_of(hub: &Hub, who: Option<&Identity>) -> Identity {
    who.cloned()
        .unwrap_or_else(|| Identity::Device(hub.device().clone()))
}

fn post(publish: &Publish) -> Post<'_> {
    Post {
        topic: &publish.topic,
        body: publish.body.clone(),
        qos: publish.qos,
        retain: publish.retain,
        properties: publish.properties.as_deref(),
    }
}

/// Notes a message of QoS 2, which is a new one.
fn receive(session: &mut Session, publish: &Publish, commit: &mut Commit) {
    if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.id) {
        session.receive(id, commit);
    }
}

/// It was not taken after all.
fn forget(session: &mut Session, publish: &Publish) {
    if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.id) {
        session.release(id, &mut Commit::new());
    }
}

fn reply(publish: &Publish) -> Option<Reply> {
    let id = publish.id?;
    Some(match publish.qos {
        QoS::ExactlyOnce => Reply::PubRec(id),
        _ => Reply::PubAck(id, Reason::Success),
    })
}

fn refused(refusal: SendRefusal) -> Close {
    let reason = match refusal {
        SendRefusal::TooLarge { .. } => Reason::PacketTooLarge,
        SendRefusal::InvalidOutput(_) | SendRefusal::Full => Reason::Unspecified,
    };
    Close::refused(reason, refusal)
}

impl Service for Client {
    fn begin(&mut self, link: &mut Link) -> Result<(), Close> {
        link.read(Owner::Session(self.place));
        Ok(())
    }

    fn publish(&mut self, link: &mut Link, publish: Publish) -> Result<(), Close> {
        if link.is_stuck() {
            link.park(publish);
            return Ok(());
        }
        let pairs = publish
            .properties
            .as_ref()
            .map_or(0, |p| p.user_properties.len());
        if pairs > MAX_PAIRS {
            let why = format!("more than {MAX_PAIRS} user properties");
            return Err(Close::refused(Reason::QuotaExceeded, why));
        }
        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.id)
            && link.session.has_received(id)
        {
            // A repeat: it has been published.
            link.staged(0, true);
            link.reply(Reply::PubRec(id));
            return Ok(());
        }
        let now = self.hub.now();
        if publish.retain {
            return self.retain(link, publish, now);
        }
        let topic = &*publish.topic;
        let known = self
            .plans
            .get(topic)
            .is_some_and(|plan| self.broker.is_current(plan));
        if !known {
            self.may_publish(topic)?;
            if self.plans.len() >= PLANS || self.plan_bytes + topic.len() > PLAN_BYTES {
                self.plans.clear();
                self.plan_bytes = 0;
            }
            self.plan_bytes += topic.len();
            let mapped = self.access.mapping(topic);
            let plan = self.broker.plan(topic, Some(self.place), mapped);
            self.plans.insert(topic.into(), plan);
        }
        let Some(plan) = self.plans.get(topic) else {
            return Ok(());
        };
        let staged = self.broker.stage(
            &mut self.sender,
            &mut link.commit,
            &post(&publish),
            plan,
            now,
        );
        let size = match staged {
            Ok(size) => size,
            Err(SendRefusal::Full) => {
                link.park(publish);
                return Ok(());
            }
            Err(refusal) => return Err(refused(refusal)),
        };
        // With the message or not at all: what is noted does not come again.
        receive(&mut link.session, &publish, &mut link.commit);
        link.staged(size, publish.id.is_some());
        if let Some(reply) = reply(&publish) {
            link.reply(reply);
        }
        Ok(())
    }

    fn release(&mut self, link: &mut Link, id: PacketId) -> Result<(), Close> {
        let known = link.session.release(id, &mut link.commit);
        let reason = match known {
            true => Reason::Success,
            false => Reason::PacketIdentifierNotFound,
        };
        link.reply(Reply::PubComp(id, reason));
        Ok(())
    }

    fn subscribe(&mut self, link: &mut Link, subscribe: &Subscribe) -> Result<(), Close> {
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut refused = RefusedFilters::default();
        for wanted in &subscribe.filters {
            let added = self.add(link, wanted, subscribe.subscription_id);
            if let Err(reason) = &added {
                refused.add(&wanted.filter, reason);
            }
            reasons.push(added.unwrap_or_else(|reason| reason));
        }
        refused.log(&link.session.client);
        let mut packet = BytesMut::new();
        encode::suback(&mut packet, link.peer, subscribe.id, &reasons, None)
            .map_err(|error| Close::refused(Reason::PacketTooLarge, error))?;
        self.changed(link, packet)
    }

    fn unsubscribe(&mut self, link: &mut Link, unsubscribe: &Unsubscribe) -> Result<(), Close> {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let all = &mut link.session.stored.subscriptions;
            let known = all.iter().position(|known| known.filter == **filter);
            reasons.push(match known {
                Some(known) => {
                    self.cost -= all.remove(known).cost();
                    self.broker.unsubscribe(self.place, filter);
                    Reason::Success
                }
                None => Reason::NoSubscriptionExisted,
            });
            self.kept.retain(|(known, _)| *known != **filter);
        }
        let mut packet = BytesMut::new();
        encode::unsuback(&mut packet, link.peer, unsubscribe.id, &reasons)
            .map_err(|error| Close::refused(Reason::PacketTooLarge, error))?;
        self.changed(link, packet)
    }

    /// Sends what is retained under new subscriptions, some at a time.
    fn control(&mut self, link: &mut Link) -> Result<bool, Close> {
        if self.broker.is_greedy(self.place) {
            // It ends with the connection.
            link.session.stored.expiry = 0;
            let why = "more waits for the session than [topics] queue-limit: it is over";
            return Err(Close::refused(Reason::QuotaExceeded, why));
        }
        let Some((filter, after)) = self.kept.pop_front() else {
            return Ok(false);
        };
        if link.is_stuck() {
            self.kept.push_front((filter, after));
            return Ok(false);
        }
        let now = self.hub.now();
        let names = self.broker.retained_names(&filter, after.as_deref(), KEPT);
        let mut last = after;
        let mut more = names.len() == KEPT;
        for name in names {
            // It may have been taken away since.
            if let Some(content) = self.broker.retained_message(&name) {
                let (sender, commit) = (&mut self.sender, &mut link.commit);
                match self
                    .broker
                    .stage_retained(sender, commit, self.place, content, now)
                {
                    Ok(size) => link.staged(size, false),
                    Err(SendRefusal::Full) => {
                        more = true;
                        break;
                    }
                    Err(refusal) => {
                        tracing::warn!(topic = &*name, %refusal, "retained message not sent");
                    }
                }
            }
            last = Some(name);
        }
        link.commit_batch()?;
        if more {
            self.kept.push_front((filter, last));
        }
        Ok(!self.kept.is_empty() && !link.is_stuck())
    }

    fn end(&mut self) {}
}

impl Show for Client {
    fn show(
        &mut self,
        peer: Peer,
        _: &str,
        delivery: &Delivery,
        id: PacketId,
        repeat: bool,
        output: &mut Output,
    ) -> Shown {
        let content = &delivery.message.content;
        let Some(shape) = Shape::of(content) else {
            return Shown::Unwanted;
        };
        let now = self.hub.now();
        let gone = Granted {
            topic: String::new(),
            qos: QoS::AtLeastOnce,
            as_published: false,
            ids: SmallVec::new(),
        };
        let granted = match self.granted(shape.topic) {
            Some(granted) => granted,
            // It was sent before the client unsubscribed: that is completed [MQTT-3.10.4-3].
            None if repeat && shape.qos != QoS::AtMostOnce => &gone,
            None => return Shown::Unwanted,
        };
        let qos = granted.qos.min(shape.qos);
        let publish = encode::Publish {
            topic: &[shape.topic],
            alias: None,
            delivery: match qos {
                QoS::AtMostOnce => encode::Delivery::AtMostOnce,
                _ => encode::Delivery::AtLeastOnce { id, dup: repeat },
            },
            retain: match shape.retain {
                Retain::No => false,
                Retain::Published => granted.as_published && peer.version == Version::V5,
                Retain::Kept => true,
            },
            properties: encode::Properties {
                payload_is_utf8: shape.is_utf8,
                message_expiry: shape.expiry.map(|at| {
                    let left = at.since(now).as_secs();
                    u32::try_from(left).unwrap_or(u32::MAX).max(1)
                }),
                content_type: shape.content_type,
                response_topic: shape.response_topic,
                correlation_data: shape.correlation.as_deref(),
                subscription_ids: &granted.ids,
                user: &content.properties,
            },
        };
        match encode::publish_head(output.tail(), peer, &publish, content.body.len()) {
            Ok(()) => Shown::Sent(qos),
            Err(error) => Shown::TooLarge(error),
        }
    }
}
