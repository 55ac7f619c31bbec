//! Twins (client contract, section 8.4): requests on one link, answers and changes of desired properties on
//! another, which belong together by a name that both have.
//!
//! | operation | resource | answer |
//! |---|---|---|
//! | `GET` | | 200 and the twin |
//! | `PATCH` | `/properties/reported` | 200 and the new version in an annotation, when it is on the device |
//! | `PUT`, `DELETE` | `/notifications/twin/properties/desired` | 200; changes come from then on, or no more |

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_heads::{Bell, Control, Controls};
use edge_hub::{Side, TwinError, TwinListener};
use edge_store::Lsn;
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{Body, Data, Message, MessageAnnotations, MessageId, Properties};
use fe2o3_amqp_types::primitives::{Binary, Value};
use serde_json::{Map, Value as Json, json};
use tokio::sync::mpsc;

use super::client::{Common, Ending, refuse, told};
use crate::message;

/// Answers that wait to be sent; requests wait beyond it.
const ANSWERS: usize = 64;
const DESIRED: &str = "/notifications/twin/properties/desired";
const REPORTED: &str = "/properties/reported";

type Packet = Message<Data>;

/// The links on which a client receives what concerns its twin, by the name that they share with those on which
/// it asks.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<Option<String>, Channel>>);

#[derive(Debug, Clone)]
struct Channel {
    answers: mpsc::Sender<(Lsn, Packet)>,
    changes: Arc<Changes>,
    bell: Arc<Bell>,
    /// Requests whose answer is being made: changes go behind it, or a client could take an older whole for newer.
    asking: Arc<AtomicUsize>,
}

/// Changes of desired properties, while somebody wants them.
#[derive(Debug)]
struct Changes {
    controls: Arc<Controls>,
    /// The newest version that the client knows; none: it wants no changes.
    known: Mutex<Option<u64>>,
}

impl Changes {
    fn known(&self) -> MutexGuard<'_, Option<u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<Option<String>, Channel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answers to requests of a link go: by its name, or else the only one that there is.
    fn of(&self, name: &Option<String>) -> Option<Channel> {
        let channels = self.lock();
        match channels.get(name) {
            Some(channel) => Some(channel.clone()),
            None if channels.len() == 1 => channels.values().next().cloned(),
            None => None,
        }
    }
}

/// Serves a link on which a client asks.
pub(super) async fn requests(
    common: Arc<Common>,
    mut receiver: Receiver,
    name: Option<String>,
    mut ending: Ending,
) {
    let serving = async {
        loop {
            let Ok(delivery) = receiver.recv::<Body<Value>>().await else {
                return;
            };
            // It is answered, whatever became of it.
            if receiver.accept(&delivery).await.is_err() {
                return;
            }
            let request = delivery.into_message();
            let Some(channel) = common.twin.of(&name) else {
                tracing::warn!(client = %common.identity, "twin request without a link for the answer");
                continue;
            };
            channel.asking.fetch_add(1, Ordering::SeqCst);
            let (lsn, answer) = answer(&common, &channel, request);
            // The link for answers may have gone.
            let _ = channel.answers.send((lsn, answer)).await;
            channel.asking.fetch_sub(1, Ordering::SeqCst);
            // What waited behind it.
            channel.bell.ring();
        }
    };
    let refusal = tokio::select! {
        () = serving => return,
        refusal = told(&mut ending) => refusal,
    };
    refuse(LinkEndpoint::Receiver(receiver), refusal).await;
}

/// What a request is answered, and the commit that has to be on the device before.
fn answer(common: &Common, channel: &Channel, request: Message<Body<Value>>) -> (Lsn, Packet) {
    let annotation = |name: &str| {
        let annotations = request.message_annotations.as_ref()?;
        match annotations.0.get(&OwnedKey::from(name))? {
            Value::String(text) => Some(text.as_str()),
            Value::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    };
    let id = request.properties.as_ref();
    let id = id.and_then(|properties| properties.correlation_id.clone());
    let operation = annotation("operation").unwrap_or_default();
    let resource = annotation("resource").unwrap_or_default();
    let done = match (operation, resource) {
        ("GET", "") => get(common, channel),
        ("PATCH", REPORTED) => report(common, request.body),
        ("PUT", DESIRED) => {
            let mut known = channel.changes.known();
            if known.is_none() {
                *known = Some(0);
                let listener: Arc<dyn TwinListener> = channel.changes.controls.clone();
                let hub = &common.config.hub;
                hub.listen_to_twin(&common.identity, listener);
                // Changes before this moment are in what it gets when it asks.
                let desired = hub.twin(&common.identity, Side::Desired, None);
                *known = Some(desired.map_or(0, |section| section.version));
            }
            Ok(Done::default())
        }
        ("DELETE", DESIRED) => {
            forget(common, channel);
            Ok(Done::default())
        }
        (operation, resource) => Err(TwinError::Invalid(format!(
            "operation {operation:?} of {resource:?}: expected GET, PATCH of {REPORTED}, PUT or DELETE of {DESIRED}"
        ))),
    };
    match done {
        Ok(done) => (done.lsn, packet(id, Some((200, done.version)), done.body)),
        Err(error) => {
            tracing::warn!(client = %common.identity, %error, "twin request refused");
            let status = match &error {
                TwinError::Invalid(_) => 400,
                TwinError::TooLarge { .. } => 413,
                TwinError::NotStored(_) => 503,
            };
            let body = json!({ "message": error.to_string() }).to_string();
            (Lsn(0), packet(id, Some((status, None)), body))
        }
    }
}

#[derive(Default)]
struct Done {
    body: String,
    version: Option<u64>,
    lsn: Lsn,
}

fn get(common: &Common, channel: &Channel) -> Result<Done, TwinError> {
    let hub = &common.config.hub;
    let desired = hub.twin(&common.identity, Side::Desired, None)?;
    let reported = hub.twin(&common.identity, Side::Reported, None)?;
    if let Some(known) = &mut *channel.changes.known() {
        *known = desired.version;
    }
    let body = json!({
        "desired": Json::Object(desired.with_version()),
        "reported": Json::Object(reported.with_version()),
    });
    Ok(Done {
        body: body.to_string(),
        version: None,
        // What it says may have been changed a moment ago.
        lsn: hub.newest_lsn(),
    })
}

fn report(common: &Common, body: Body<Value>) -> Result<Done, TwinError> {
    let invalid = |why: String| TwinError::Invalid(why);
    let bytes = message::body(body).map_err(|fault| invalid(fault.to_string()))?;
    let patch = std::str::from_utf8(&bytes);
    let patch = patch.map_err(|_| invalid("the patch is not UTF-8".to_owned()))?;
    let (version, lsn) = common.config.hub.change_reported(&common.identity, patch)?;
    Ok(Done {
        body: String::new(),
        version: Some(version),
        lsn: lsn.unwrap_or_default(),
    })
}

/// Tells the client of no more changes.
fn forget(common: &Common, channel: &Channel) {
    if channel.changes.known().take().is_some() {
        let listener: Arc<dyn TwinListener> = channel.changes.controls.clone();
        let hub = &common.config.hub;
        hub.forget_listener(&common.identity, &listener);
        channel.changes.controls.close();
    }
}

/// A message of a twin; an answer has a status, and the version that it made if it did.
fn packet(id: Option<MessageId>, status: Option<(i32, Option<u64>)>, body: String) -> Packet {
    let annotations = status.map(|(status, version)| {
        let mut annotations = MessageAnnotations::default();
        let mut set = |name: &str, value| annotations.0.insert(OwnedKey::from(name), value);
        set("status", Value::Int(status));
        if let Some(version) = version {
            set(
                "version",
                Value::Long(i64::try_from(version).unwrap_or(i64::MAX)),
            );
        }
        annotations
    });
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: annotations,
        properties: id.map(|id| Properties {
            correlation_id: Some(id),
            ..Properties::default()
        }),
        application_properties: None,
        body: Data(Binary::from(body.into_bytes())),
        footer: None,
    }
}

/// A link in its client's list, until this is dropped.
struct Listed {
    common: Arc<Common>,
    name: Option<String>,
    channel: Channel,
}

impl Drop for Listed {
    fn drop(&mut self) {
        forget(&self.common, &self.channel);
        let mut channels = self.common.twin.lock();
        let mine = &self.channel.answers;
        if channels
            .get(&self.name)
            .is_some_and(|now| now.answers.same_channel(mine))
        {
            channels.remove(&self.name);
        }
    }
}

/// Serves a link on which a client receives answers and changes. Requests find it from now on, and not only from
/// when it is first served: a request may come as soon as its client knows that the link is attached.
pub(super) fn answers(
    common: Arc<Common>,
    sender: Sender,
    name: Option<String>,
    ending: Ending,
) -> impl Future<Output = ()> + Send {
    let bell = Arc::<Bell>::default();
    let (answers, waiting) = mpsc::channel(ANSWERS);
    let channel = Channel {
        answers,
        changes: Arc::new(Changes {
            controls: Controls::new(bell.clone()),
            known: Mutex::default(),
        }),
        bell,
        asking: Arc::default(),
    };
    common.twin.lock().insert(name.clone(), channel.clone());
    let listed = Listed {
        common,
        name,
        channel,
    };
    serve_answers(listed, sender, waiting, ending)
}

async fn serve_answers(
    listed: Listed,
    mut sender: Sender,
    mut waiting: mpsc::Receiver<(Lsn, Packet)>,
    mut ending: Ending,
) {
    let (common, channel) = (&listed.common, &listed.channel);
    let serving = async {
        loop {
            let packets = tokio::select! {
                biased;
                answer = waiting.recv() => answer.into_iter().collect(),
                () = channel.bell.rung() => match channel.asking.load(Ordering::SeqCst) {
                    0 => changes(common, channel),
                    // It is rung again.
                    _ => continue,
                },
                _ = sender.on_detach() => return,
            };
            for (lsn, packet) in packets {
                common.config.hub.hurry(lsn);
                if common.config.hub.durable(lsn).await.is_err() {
                    return;
                }
                // Settled or not: there is nothing to be done about an outcome.
                if sender.send_batchable(packet).await.is_err() {
                    return;
                }
            }
        }
    };
    let refusal = tokio::select! {
        () = serving => None,
        refusal = told(&mut ending) => Some(refusal),
    };
    drop(listed);
    if let Some(refusal) = refusal {
        refuse(LinkEndpoint::Sender(sender), refusal).await;
    }
}

/// The changes that came since the last time.
fn changes(common: &Common, channel: &Channel) -> Vec<(Lsn, Packet)> {
    let mut packets = Vec::new();
    for control in channel.changes.controls.take() {
        let mut known = channel.changes.known();
        let Some(known) = &mut *known else {
            continue;
        };
        let (patch, version, lsn) = match control {
            Control::Desired {
                patch,
                version,
                lsn,
            } => match serde_json::from_str::<Map<String, Json>>(&patch) {
                Ok(patch) => (patch, version, lsn.unwrap_or_default()),
                Err(error) => {
                    tracing::error!(client = %common.identity, %error, "change of desired properties not sent");
                    continue;
                }
            },
            Control::Resend => {
                let hub = &common.config.hub;
                match hub.twin(&common.identity, Side::Desired, None) {
                    Ok(section) => (section.properties, section.version, hub.newest_lsn()),
                    Err(error) => {
                        tracing::error!(client = %common.identity, %error, "desired properties not sent");
                        continue;
                    }
                }
            }
            // Nobody calls methods here.
            Control::Call(_) => continue,
        };
        if version <= *known {
            // It is in what was sent as a whole.
            continue;
        }
        *known = version;
        let mut patch = patch;
        patch.insert("$version".to_owned(), version.into());
        packets.push((lsn, packet(None, None, Json::Object(patch).to_string())));
    }
    packets
}
