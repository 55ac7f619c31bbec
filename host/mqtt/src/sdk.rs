//! What clients of Azure's SDKs do on a connection (client contract, section 6): telemetry and outputs,
//! inputs and messages to devices, twins, methods.

mod twins;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use edge_core::{Content, Identity, system};
use edge_heads::{Bell, Control, Controls};
use edge_hub::{
    Hub, MethodCall, MethodError, MethodResponse, MethodTarget, Owner, SendRefusal, Sender,
    TwinListener,
};
use edge_store::{Commit, Delivery};

use crate::Reason;
use crate::azure;
use crate::bag;
use crate::door::Service;
use crate::encode::{self, Peer};
use crate::link::{Close, Link, Reply, Show, Shown};
use crate::output::Output;
use crate::packet::{PacketId, Publish, QoS, Subscribe, Unsubscribe, Version};
use crate::refused::RefusedFilters;
use crate::session::{LoosePacket, Session, Subscribed};

/// Calls that may be with the client at a time.
const CALLS: usize = 256;

/// What a client is subscribed to, and how surely it is to get it.
#[derive(Debug, Clone, Copy, Default)]
struct Subscriptions {
    messages: Option<QoS>,
    twin: Option<QoS>,
    desired: Option<QoS>,
    methods: Option<QoS>,
}

impl Subscriptions {
    fn of(session: &Session) -> Self {
        let mut all = Self::default();
        for one in &session.stored.subscriptions {
            let slot = match azure::Subscription::parse(&one.filter) {
                Ok(azure::Subscription::Inputs(_) | azure::Subscription::DeviceBound(_)) => {
                    &mut all.messages
                }
                Ok(azure::Subscription::TwinAnswers) => &mut all.twin,
                Ok(azure::Subscription::DesiredPatches) => &mut all.desired,
                Ok(azure::Subscription::Methods) => &mut all.methods,
                Err(_) => continue,
            };
            *slot = Some(slot.map_or(one.qos(), |known: QoS| known.max(one.qos())));
        }
        all
    }
}

/// See the head of this file.
pub(crate) struct Sdk {
    hub: Arc<Hub>,
    identity: Identity,
    sender: Sender,
    subscriptions: Subscriptions,
    controls: Arc<Controls>,
    listens: bool,
    answers: bool,
    calls: HashMap<String, MethodCall>,
    next_call: u64,
    bag: String,
}

impl Sdk {
    pub(crate) fn new(hub: Arc<Hub>, identity: Identity, bell: Arc<Bell>) -> Self {
        Self {
            sender: hub.sender(identity.clone()),
            controls: Controls::new(bell),
            hub,
            identity,
            subscriptions: Subscriptions::default(),
            listens: false,
            answers: false,
            calls: HashMap::new(),
            next_call: 0,
            bag: String::new(),
        }
    }

    /// Brings what runs for the client in line with its subscriptions.
    fn activate(&mut self, link: &mut Link) {
        self.subscriptions = Subscriptions::of(&link.session);
        match (self.subscriptions.messages, self.owner()) {
            (Some(_), Some(owner)) => link.read(owner),
            _ => link.stop_reading(),
        }
        if self.subscriptions.methods.is_some() != self.answers {
            self.answers = !self.answers;
            let target: Arc<dyn MethodTarget> = self.controls.clone();
            match self.answers {
                true => self.hub.methods().register(self.identity.clone(), target),
                false => self.hub.methods().unregister(&self.identity, &target),
            }
        }
        if self.subscriptions.desired.is_some() != self.listens {
            self.listens = !self.listens;
            let listener: Arc<dyn TwinListener> = self.controls.clone();
            match self.listens {
                true => self.hub.listen_to_twin(&self.identity, listener),
                false => self.hub.forget_listener(&self.identity, &listener),
            }
        }
    }

    /// Whose queues it reads. Modules of other devices have no inputs here.
    fn owner(&self) -> Option<Owner> {
        match &self.identity {
            Identity::Device(device) => Some(Owner::Device(device.clone())),
            Identity::Module(device, module) if device == self.hub.device() => {
                Some(Owner::Module(module.clone()))
            }
            Identity::Module(..) => None,
        }
    }

    fn telemetry(&mut self, link: &mut Link, publish: Publish, bag: &str) -> Result<(), Close> {
        let read = bag::parse(bag).map_err(|error| {
            Close::refused(Reason::TopicNameInvalid, format!("properties: {error}"))
        })?;
        let mut content = Content {
            body: publish.body.clone(),
            properties: read.properties,
            system: read.system,
        };
        if publish.retain && link.peer.version == Version::V5 {
            let why = "a message to be retained, which CONNACK says is not to be had";
            return Err(Close::refused(Reason::RetainNotSupported, why));
        }
        if publish.retain {
            content.properties.set("mqtt-retain", "true");
        }
        let now = self.hub.now();
        if let Some(properties) = &publish.properties {
            if properties.user_properties.len() > bag::MAX_PAIRS {
                let why = format!("more than {} user properties", bag::MAX_PAIRS);
                return Err(Close::refused(Reason::QuotaExceeded, why));
            }
            for (name, value) in &properties.user_properties {
                content.properties.set(&**name, &**value);
            }
            if let Some(kind) = &properties.content_type {
                content.system.set(system::CONTENT_TYPE, &**kind);
            }
            if let Some(seconds) = properties.message_expiry {
                let at = now.after(std::time::Duration::from_secs(seconds.into()));
                content.system.set(system::EXPIRY, at.to_string());
            }
            if let Some(Ok(id)) = properties
                .correlation_data
                .as_ref()
                .map(|data| std::str::from_utf8(data))
            {
                content.system.set(system::CORRELATION_ID, id);
            }
        }
        let size = content.size();
        let output = read.output.as_deref();
        match self
            .sender
            .stage(&mut link.commit, output, Arc::new(content), 0, now)
        {
            Ok(()) => {}
            Err(SendRefusal::Full) => {
                link.park(publish);
                return Ok(());
            }
            Err(error @ SendRefusal::TooLarge { .. }) => {
                return Err(Close::refused(Reason::PacketTooLarge, error));
            }
            Err(error @ SendRefusal::InvalidOutput(_)) => {
                return Err(Close::refused(Reason::TopicNameInvalid, error));
            }
        }
        link.staged(size, publish.id.is_some());
        if let Some(id) = publish.id {
            link.reply(Reply::PubAck(id, Reason::Success));
        }
        Ok(())
    }

    /// Subscriptions changed: they are kept before the client is told.
    fn changed(&mut self, link: &mut Link, packet: Bytes) -> Result<(), Close> {
        link.commit_batch()?;
        let mut lsn = None;
        if link.session.outlives() {
            let mut commit = Commit::new();
            link.session.stage(&mut commit);
            lsn = self.hub.commit(&mut commit).map_err(Close::Store)?;
        }
        link.reply_after(lsn.unwrap_or(edge_store::Lsn(0)), Reply::Packet(packet));
        self.activate(link);
        Ok(())
    }

    fn call(&mut self, link: &mut Link, call: MethodCall) {
        self.calls.retain(|_, call| call.is_wanted());
        if self.subscriptions.methods.is_none() || self.calls.len() >= CALLS {
            let why = format!("{} has too many calls waiting", self.identity);
            call.answer(Err(MethodError::Failed(why)));
            return;
        };
        self.next_call += 1;
        let rid = format!("{:x}", self.next_call);
        let packet = LoosePacket {
            topic: azure::method_topic(&call.name, &rid).into(),
            body: Bytes::from(call.payload.clone()),
        };
        self.calls.insert(rid, call);
        // A call is now or never: it is not repeated after a reconnect, and so not kept.
        link.send_loose(packet, QoS::AtMostOnce);
    }

    fn answer(&mut self, rid: &str, status: i32, body: &[u8]) {
        let Some(call) = self.calls.remove(rid) else {
            return;
        };
        let payload = match std::str::from_utf8(body) {
            Ok("") => Ok("null".to_owned()),
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(MethodError::Failed("the answer is not UTF-8".to_owned())),
        };
        let status = u32::try_from(status)
            .map_err(|_| MethodError::Failed(format!("the answer has status {status}")));
        call.answer(payload.and_then(|payload| {
            Ok(MethodResponse {
                status: status?,
                payload,
            })
        }));
    }
}

impl Service for Sdk {
    fn begin(&mut self, link: &mut Link) -> Result<(), Close> {
        self.activate(link);
        link.repeat_loose();
        if self.subscriptions.desired.is_some() && link.session.stored.desired > 0 {
            self.resend_desired(link)?;
        }
        Ok(())
    }

    fn publish(&mut self, link: &mut Link, publish: Publish) -> Result<(), Close> {
        if publish.qos == QoS::ExactlyOnce {
            let why = "QoS 2: devices and modules publish with QoS 0 or 1";
            return Err(Close::refused(Reason::QoSNotSupported, why));
        }
        let topic = publish.topic.clone();
        let meant = azure::Publish::parse(&topic)
            .map_err(|error| Close::Denied(format!("publish to {topic:?}: {error}")))?;
        match meant {
            azure::Publish::Telemetry { owner, bag } => {
                if !owner.is(&self.identity) {
                    let why = format!("{} publishes as somebody else: {topic:?}", self.identity);
                    return Err(Close::Denied(why));
                }
                if link.is_stuck() {
                    link.park(publish);
                    return Ok(());
                }
                return self.telemetry(link, publish, bag);
            }
            azure::Publish::TwinGet { rid } => self.twin_get(link, rid)?,
            azure::Publish::ReportedPatch { rid } => self.report(link, rid, &publish.body)?,
            azure::Publish::MethodAnswer { status, rid } => self.answer(rid, status, &publish.body),
        }
        if let Some(id) = publish.id {
            // Behind the answer: whoever has this has that.
            link.reply_after(edge_store::Lsn(0), Reply::PubAck(id, Reason::Success));
        }
        Ok(())
    }

    fn release(&mut self, _: &mut Link, _: PacketId) -> Result<(), Close> {
        let why = "PUBREL for a message of QoS 2, of which none is taken here";
        Err(Close::refused(Reason::ProtocolError, why))
    }

    fn subscribe(&mut self, link: &mut Link, subscribe: &Subscribe) -> Result<(), Close> {
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut refused = RefusedFilters::default();
        for wanted in &subscribe.filters {
            let filter = &*wanted.filter;
            match azure::Subscription::parse(filter) {
                Ok(
                    azure::Subscription::Inputs(owner) | azure::Subscription::DeviceBound(owner),
                ) if !owner.is(&self.identity) => {
                    // SDKs do not see a refusal in SUBACK (client contract, 6.2).
                    let why = format!("{} subscribes for somebody else: {filter:?}", self.identity);
                    return Err(Close::Denied(why));
                }
                Ok(_) => {}
                Err(error) => {
                    refused.add(filter, &error);
                    reasons.push(Reason::TopicFilterInvalid);
                    continue;
                }
            }
            let qos = wanted.qos.min(QoS::AtLeastOnce);
            let all = &mut link.session.stored.subscriptions;
            all.retain(|known| known.filter != filter);
            all.push(Subscribed {
                filter: filter.to_owned(),
                qos: qos as u8,
                ..Subscribed::default()
            });
            reasons.push(match qos {
                QoS::AtMostOnce => Reason::Success,
                _ => Reason::GrantedQoS1,
            });
        }
        refused.log(&link.session.client);
        let mut packet = BytesMut::new();
        encode::suback(&mut packet, link.peer, subscribe.id, &reasons, None)
            .map_err(|error| Close::refused(Reason::PacketTooLarge, error))?;
        self.changed(link, packet.freeze())
    }

    fn unsubscribe(&mut self, link: &mut Link, unsubscribe: &Unsubscribe) -> Result<(), Close> {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let all = &mut link.session.stored.subscriptions;
            let before = all.len();
            all.retain(|known| known.filter != **filter);
            reasons.push(match all.len() < before {
                true => Reason::Success,
                false => Reason::NoSubscriptionExisted,
            });
        }
        let mut packet = BytesMut::new();
        encode::unsuback(&mut packet, link.peer, unsubscribe.id, &reasons)
            .map_err(|error| Close::refused(Reason::PacketTooLarge, error))?;
        self.changed(link, packet.freeze())
    }

    /// Sends calls and changes of the twin that came since.
    fn control(&mut self, link: &mut Link) -> Result<bool, Close> {
        for control in self.controls.take() {
            match control {
                Control::Call(call) => self.call(link, call),
                Control::Desired {
                    patch,
                    version,
                    lsn,
                } => self.desired(link, patch, version, lsn),
                Control::Resend => self.resend_desired(link)?,
            }
        }
        Ok(false)
    }

    fn end(&mut self) {
        let target: Arc<dyn MethodTarget> = self.controls.clone();
        self.hub.methods().unregister(&self.identity, &target);
        let listener: Arc<dyn TwinListener> = self.controls.clone();
        self.hub.forget_listener(&self.identity, &listener);
        // Whoever waits for an answer is told.
        self.calls.clear();
        self.controls.close();
    }
}

impl Show for Sdk {
    fn show(
        &mut self,
        peer: Peer,
        input: &str,
        delivery: &Delivery,
        id: PacketId,
        repeat: bool,
        output: &mut Output,
    ) -> Shown {
        let Some(qos) = self.subscriptions.messages else {
            return Shown::Unwanted;
        };
        let content = &delivery.message.content;
        self.bag.clear();
        let (input_pieces, device_pieces);
        let topic: &[&str] = match &self.identity {
            Identity::Module(device, module) => {
                bag::write(content, Some(&delivery.message.origin), &mut self.bag);
                input_pieces = azure::input_topic(device, module, input, &self.bag);
                &input_pieces
            }
            Identity::Device(device) => {
                bag::write(content, None, &mut self.bag);
                device_pieces = azure::device_bound_topic(device, &self.bag);
                &device_pieces
            }
        };
        let now = self.hub.now();
        let left = delivery.expiry.map(|at| {
            let seconds = at.since(now).as_secs();
            u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
        });
        let publish = encode::Publish {
            topic,
            alias: None,
            delivery: match qos {
                QoS::AtMostOnce => encode::Delivery::AtMostOnce,
                _ => encode::Delivery::AtLeastOnce { id, dup: repeat },
            },
            retain: false,
            properties: encode::Properties {
                message_expiry: left,
                content_type: content.system.get(system::CONTENT_TYPE),
                user: &content.properties,
                ..encode::Properties::default()
            },
        };
        match encode::publish_head(output.tail(), peer, &publish, content.body.len()) {
            Ok(()) => Shown::Sent(qos),
            Err(error) => Shown::TooLarge(error),
        }
    }
}

/// The largest packet that a message of this size can be: its properties are encoded in the topic, three
/// bytes for one, and again in version 5's own.
pub(crate) fn packet_limit(message_limit: u64) -> (usize, NonZeroU32) {
    let limit = message_limit.saturating_add(128 << 10).min(200 << 20);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let packet = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
    (usize::try_from(limit).unwrap_or(usize::MAX), packet)
}

/// A packet of the hub's own.
fn loose(topic: String, body: impl Into<Bytes>) -> LoosePacket {
    LoosePacket {
        topic: topic.into(),
        body: body.into(),
    }
}

/// JSON into bytes.
fn json(value: &serde_json::Value) -> Bytes {
    let mut out = BytesMut::new().writer();
    serde_json::to_writer(&mut out, value).expect("a JSON value can be written to memory");
    out.into_inner().freeze()
}
