//! The head as clients see it, over streams in memory.

#![allow(clippy::unwrap_used, reason = "tests")]

mod connections;
mod support;

use std::time::Duration;

use edge_amqp::Limits;
use edge_amqp::batch::{self, BatchBuilder};
use edge_amqp::message::{self, Purpose};
use edge_core::{ByteSize, MessageBuilder, Source};
use edge_hub::{Caller, Invocation};
use edge_identity::Status;
use fe2o3_amqp::Sendable;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageAnnotations, MessageId, Outcome, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Value};
use support::{Client, SOON, World, device, module};
use tokio::time::timeout;

const EVENTS: &str = "/devices/d/modules/m/messages/events";

/// A message to an output.
fn to(output: &str, body: &str) -> Message<Data> {
    let content = MessageBuilder::new(body.to_owned()).build();
    let mut message = message::write(&content, Purpose::DeviceBound);
    let mut properties = ApplicationProperties::default();
    let value = SimpleValue::String(output.to_owned());
    properties.0.insert("iothub-outputname".to_owned(), value);
    message.application_properties = Some(properties);
    message
}

async fn send(sender: &mut Sender, message: Message<Data>) -> Outcome {
    timeout(SOON, sender.send(message))
        .await
        .expect("an outcome")
        .unwrap()
}

/// Sends what is taken.
async fn accepts(sender: &mut Sender, message: Message<Data>) {
    let outcome = send(sender, message).await;
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// Why a link is refused: at once, or attached and then detached with the reason.
async fn refusal(attached: Result<Sender, String>) -> String {
    match attached {
        Ok(mut sender) => format!("{:?}", timeout(SOON, sender.on_detach()).await),
        Err(error) => error,
    }
}

/// The next message of a link, as text, and what settles it.
async fn next(receiver: &mut Receiver) -> (String, fe2o3_amqp::link::delivery::DeliveryInfo) {
    let delivery = timeout(SOON, receiver.recv::<Body<Value>>());
    let delivery = delivery.await.expect("a message").unwrap();
    let (info, message) = delivery.into_parts();
    let body = message::body(message.body).unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), info)
}

/// The same with all that it says.
async fn whole(receiver: &mut Receiver) -> Message<Body<Value>> {
    let delivery = timeout(SOON, receiver.recv::<Body<Value>>());
    let delivery = delivery.await.expect("a message").unwrap();
    receiver.accept(&delivery).await.unwrap();
    delivery.into_message()
}

#[tokio::test]
async fn a_token_lets_its_identity_in_and_nobody_else() {
    let world = World::new();
    let mut client = Client::open(world.dial()).await;
    let (status, why) = client
        .put_token("SharedAccessSignature sr=x&sig=y&se=1")
        .await;
    assert_eq!(status, 401, "{why}");
    let expired = world
        .token(&module(), Duration::ZERO)
        .replace("se=", "se=1&x=");
    assert_eq!(client.put_token(&expired).await.0, 401);
    let token = world.token(&module(), Duration::from_secs(60));
    assert_eq!(client.put_token(&token).await.0, 200);
    let mut sender = client.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
    let refused = refusal(client.sender("/devices/d/messages/events").await).await;
    assert!(refused.contains("UnauthorizedAccess"), "{refused}");
    assert_eq!(world.head.status().refused, 3);
}

#[tokio::test]
async fn a_key_or_token_as_password_of_plain_is_enough() {
    let world = World::new();
    let open = |password: String| {
        fe2o3_amqp::Connection::builder()
            .container_id("client")
            .sasl_profile(fe2o3_amqp::sasl_profile::SaslProfile::Plain {
                username: "d/m@sas.hub".to_owned(),
                password,
            })
            .open_with_stream(world.dial())
    };
    let token = world.token(&module(), Duration::from_secs(60));
    let mut connection = open(token).await.unwrap();
    let mut session = fe2o3_amqp::Session::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "s", EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
    assert!(open("bad".to_owned()).await.is_err());
}

#[tokio::test]
async fn an_identity_that_is_disabled_or_whose_token_ends_loses_its_links() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let now = world.hub.now();
    world
        .registry
        .set_status(&module(), Status::Disabled, now)
        .unwrap();
    let why = timeout(SOON, sender.on_detach())
        .await
        .expect("it is detached");
    assert!(format!("{why:?}").contains("Closed"), "{why:?}");
    world
        .registry
        .set_status(&module(), Status::Enabled, now)
        .unwrap();
    // A token that ended almost as long ago as clocks may differ.
    let skew = edge_identity::CLOCK_SKEW;
    let key = world.registry.get(&module()).unwrap();
    let ends =
        edge_core::Timestamp(now.0 + 3_000_000_000 - u64::try_from(skew.as_nanos()).unwrap());
    let key = &key.auth.keys().unwrap().primary;
    let token = edge_identity::Token::make("hub", &module(), key, ends).to_string();
    let mut client = Client::open(world.dial()).await;
    assert_eq!(client.put_token(&token).await.0, 200);
    let mut sender = client.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
    timeout(SOON, sender.on_detach())
        .await
        .expect("it is detached");
    // Renewed in time it goes on.
    let token = world.token(&module(), Duration::from_secs(60));
    assert_eq!(client.put_token(&token).await.0, 200);
    let mut sender = client.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "2")).await;
}

#[tokio::test]
async fn the_newest_connection_of_an_identity_has_it() {
    let world = World::new();
    let mut old = world.connect(&module()).await;
    let mut sender = old.sender(EVENTS).await.unwrap();
    let mut new = world.connect(&module()).await;
    timeout(SOON, sender.on_detach())
        .await
        .expect("it is detached");
    let mut sender = new.sender(EVENTS).await.unwrap();
    accepts(&mut sender, to("up", "1")).await;
    assert_eq!(world.head.status().taken_over, 1);
}

#[tokio::test]
async fn telemetry_is_accepted_when_it_is_stored_and_keeps_its_order() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let mut outcomes = Vec::new();
    for n in 0..1_000 {
        let sent = sender.send_batchable(to("up", &n.to_string()));
        outcomes.push(timeout(SOON, sent).await.expect("credit").unwrap());
    }
    for outcome in outcomes {
        let outcome = timeout(SOON, outcome).await.expect("an outcome").unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)));
    }
    let all = world.upstream();
    assert_eq!(all.len(), 1_000);
    for (n, delivery) in all.iter().enumerate() {
        assert_eq!(delivery.message.content.body, n.to_string());
        assert!(matches!(
            delivery.message.origin.source(),
            Source::Module { .. }
        ));
    }
}

#[tokio::test]
async fn a_large_message_in_many_frames_comes_through_and_a_larger_one_is_refused() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let body = "x".repeat(250 << 10);
    accepts(&mut sender, to("up", &body)).await;
    assert_eq!(world.upstream()[0].message.content.body, body);
    let body = "x".repeat(257 << 10);
    let Outcome::Rejected(rejected) = send(&mut sender, to("up", &body)).await else {
        panic!("not rejected");
    };
    let error = format!("{:?}", rejected.error.unwrap().condition);
    assert!(error.contains("MessageSizeExceeded"), "{error}");
    // The link goes on.
    accepts(&mut sender, to("up", "1")).await;
}

#[tokio::test]
async fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let origin = |output: &str| {
        edge_core::Origin::new(Source::Module {
            device: edge_core::DeviceId::new("d").unwrap(),
            module: edge_core::ModuleId::new("m").unwrap(),
            output: Some(output.into()),
        })
    };
    let mut builder = BatchBuilder::default();
    let mut batch = |outputs: &[&str]| {
        for (n, output) in outputs.iter().enumerate() {
            let content = MessageBuilder::new(n.to_string()).build();
            let origin = origin(output);
            let purpose = Purpose::Parent { origin: &origin };
            assert!(builder.push(&content, purpose, 1 << 20).unwrap());
        }
        Sendable::builder()
            .message(builder.take())
            .message_format(batch::FORMAT)
            .build()
    };
    let good = batch(&["up"; 50]);
    let outcome = timeout(SOON, sender.send(good)).await.expect("an outcome");
    assert!(matches!(outcome.unwrap(), Outcome::Accepted(_)));
    let bad = batch(&["up", "up", "bad/name"]);
    let outcome = timeout(SOON, sender.send(bad)).await.expect("an outcome");
    let Outcome::Rejected(rejected) = outcome.unwrap() else {
        panic!("not rejected");
    };
    let why = rejected.error.unwrap().description.unwrap();
    assert!(why.contains("bad/name"), "{why}");
    assert_eq!(world.upstream().len(), 50);
}

#[tokio::test]
async fn a_full_store_holds_telemetry_back_and_nothing_else() {
    let world = World::with(Limits::default(), ByteSize(200 << 10));
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let body = "x".repeat(10 << 10);
    let mut outcomes = Vec::new();
    for _ in 0..40 {
        outcomes.push(sender.send_batchable(to("up", &body)).await.unwrap());
    }
    let last = outcomes.pop().unwrap();
    tokio::pin!(last);
    let early = timeout(Duration::from_millis(300), &mut last).await;
    assert!(early.is_err(), "accepted without room: {early:?}");
    // Its twin answers meanwhile.
    let mut twin = Twin::attach(&mut client).await;
    assert_eq!(twin.ask("GET", "", " ").await.0, 200);
    // Room comes.
    let waiting = world.upstream();
    let mut commit = edge_store::Commit::new();
    for delivery in &waiting {
        commit.progress(edge_store::Progress::Settled {
            queue: delivery.queue,
            seq: delivery.seq,
        });
    }
    world.hub.commit(&mut commit).unwrap();
    let accepted = async {
        loop {
            let waiting = world.upstream();
            let mut commit = edge_store::Commit::new();
            for delivery in &waiting {
                commit.progress(edge_store::Progress::Settled {
                    queue: delivery.queue,
                    seq: delivery.seq,
                });
            }
            world.hub.commit(&mut commit).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        outcome = timeout(SOON, &mut last) => {
            assert!(matches!(outcome.expect("an outcome").unwrap(), Outcome::Accepted(_)));
        }
        () = accepted => {}
    }
}

#[tokio::test]
async fn an_input_is_named_and_its_outcome_counts() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    for n in 0..4 {
        send(&mut sender, to("o", &n.to_string())).await;
    }
    let delivery = timeout(SOON, receiver.recv::<Body<Value>>())
        .await
        .unwrap()
        .unwrap();
    let annotations = &delivery.message().message_annotations.as_ref().unwrap().0;
    let input = annotations.get(&OwnedKey::from("x-opt-input-name"));
    assert_eq!(input, Some(&Value::String("i".to_owned())));
    receiver.accept(&delivery).await.unwrap();
    let (second, info) = next(&mut receiver).await;
    assert_eq!(second, "1");
    receiver.reject(info, None).await.unwrap();
    let (third, info) = next(&mut receiver).await;
    assert_eq!(third, "2");
    let (fourth, kept) = next(&mut receiver).await;
    assert_eq!(fourth, "3");
    receiver.release(info).await.unwrap();
    // The one that was given back comes again; the one that is with the client does not.
    let (again, info) = next(&mut receiver).await;
    assert_eq!(again, "2");
    receiver.accept(info).await.unwrap();
    receiver.accept(kept).await.unwrap();
    let silent = timeout(Duration::from_millis(200), receiver.recv::<Body<Value>>()).await;
    assert!(silent.is_err(), "{silent:?}");
    let letters = world.hub.log().dead_letters(edge_store::Seq::ZERO, 10);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].1.message.content.body, "1");
    assert_eq!(world.hub.pressure().waiting, 0);
}

#[tokio::test]
async fn what_was_given_back_goes_before_what_waits_for_credit() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    receiver.set_credit(2).await.unwrap();
    for n in 0..6 {
        send(&mut sender, to("o", &n.to_string())).await;
    }
    let (first, info) = next(&mut receiver).await;
    assert_eq!(first, "0");
    let (second, other) = next(&mut receiver).await;
    assert_eq!(second, "1");
    receiver.release(info).await.unwrap();
    receiver.accept(other).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    receiver.set_credit(100).await.unwrap();
    for expected in ["0", "2", "3", "4", "5"] {
        let (body, info) = next(&mut receiver).await;
        assert_eq!(body, expected);
        receiver.accept(info).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_gets_as_many_as_its_credit_and_the_window_allow_before_it_settles_any() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    for n in 0..600 {
        send(&mut sender, to("o", &n.to_string())).await;
    }
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    receiver.set_credit(1_000).await.unwrap();
    let mut infos = Vec::new();
    for n in 0..512 {
        let (body, info) = next(&mut receiver).await;
        assert_eq!(body, n.to_string());
        infos.push(info);
    }
    let more = timeout(Duration::from_millis(200), receiver.recv::<Body<Value>>()).await;
    assert!(more.is_err(), "over the window");
    receiver.accept_all(infos).await.unwrap();
    for n in 512..600 {
        assert_eq!(next(&mut receiver).await.0, n.to_string());
    }
}

#[tokio::test]
async fn without_credit_nothing_comes_and_draining_ends() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    receiver.set_credit(0).await.unwrap();
    for n in 0..3 {
        send(&mut sender, to("o", &n.to_string())).await;
    }
    let silent = timeout(Duration::from_millis(200), receiver.recv::<Body<Value>>()).await;
    assert!(silent.is_err());
    receiver.set_credit(1).await.unwrap();
    let (body, info) = next(&mut receiver).await;
    assert_eq!(body, "0");
    receiver.accept(info).await.unwrap();
    let silent = timeout(Duration::from_millis(200), receiver.recv::<Body<Value>>()).await;
    assert!(silent.is_err());
    receiver.drain().await.unwrap();
    receiver.set_credit(10).await.unwrap();
    assert_eq!(next(&mut receiver).await.0, "1");
    assert_eq!(next(&mut receiver).await.0, "2");
}

#[tokio::test]
async fn what_was_not_settled_comes_again_to_the_next_link_and_connection() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut sender = client.sender(EVENTS).await.unwrap();
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    for n in 0..3 {
        send(&mut sender, to("o", &n.to_string())).await;
    }
    let (_, first) = next(&mut receiver).await;
    next(&mut receiver).await;
    receiver.accept(first).await.unwrap();
    // The acceptance is before the detach.
    receiver.close().await.unwrap();
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    assert_eq!(next(&mut receiver).await.0, "1");
    drop(client);
    let mut client = world.connect(&module()).await;
    let mut receiver = client.receiver(EVENTS).await.unwrap();
    for expected in ["1", "2"] {
        let (body, info) = next(&mut receiver).await;
        assert_eq!(body, expected);
        receiver.accept(info).await.unwrap();
    }
}

/// The two links of a twin.
struct Twin {
    sender: Sender,
    receiver: Receiver,
    asked: u64,
}

impl Twin {
    async fn attach(client: &mut Client) -> Self {
        let address = "/devices/d/modules/m/twin";
        Self {
            sender: client.sender_named(address, Some("twin:1")).await.unwrap(),
            receiver: client
                .receiver_named(address, Some("twin:1"))
                .await
                .unwrap(),
            asked: 0,
        }
    }

    async fn ask(&mut self, operation: &str, resource: &str, body: &str) -> (i32, String) {
        self.asked += 1;
        let id = MessageId::String(self.asked.to_string());
        let mut annotations = MessageAnnotations::default();
        for (name, value) in [("operation", operation), ("resource", resource)] {
            if !value.is_empty() {
                let value = Value::String(value.to_owned());
                annotations.0.insert(OwnedKey::from(name), value);
            }
        }
        let message = Message::builder()
            .message_annotations(annotations)
            .properties(Properties::builder().correlation_id(id.clone()).build())
            .data(Binary::from(body.as_bytes().to_vec()))
            .build();
        timeout(SOON, self.sender.send(message))
            .await
            .expect("an outcome")
            .unwrap();
        let answer = whole(&mut self.receiver).await;
        assert_eq!(answer.properties.unwrap().correlation_id, Some(id));
        let annotations = answer.message_annotations.unwrap();
        let Some(Value::Int(status)) = annotations.0.get(&OwnedKey::from("status")) else {
            panic!("no status: {annotations:?}");
        };
        let body = message::body(answer.body).unwrap();
        (*status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn change(&mut self) -> String {
        let change = whole(&mut self.receiver).await;
        assert!(change.properties.is_none_or(|p| p.correlation_id.is_none()));
        let body = message::body(change.body).unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

#[tokio::test]
async fn a_twin_is_read_reported_and_watched() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let mut twin = Twin::attach(&mut client).await;
    let empty = r#"{"desired":{"$version":1},"reported":{"$version":1}}"#;
    assert_eq!(twin.ask("GET", "", " ").await, (200, empty.to_owned()));
    let (status, body) = twin
        .ask("PATCH", "/properties/reported", r#"{"a":1}"#)
        .await;
    assert_eq!((status, body.as_str()), (200, ""));
    let desired = "/notifications/twin/properties/desired";
    assert_eq!(twin.ask("PUT", desired, " ").await.0, 200);
    world
        .hub
        .set_desired(&module(), r#"{"x":{"y":1}}"#)
        .unwrap();
    assert_eq!(twin.change().await, r#"{"$version":2,"x":{"y":1}}"#);
    let (status, body) = twin.ask("GET", "", " ").await;
    assert_eq!(status, 200);
    assert!(
        body.contains(r#""reported":{"$version":2,"a":1}"#),
        "{body}"
    );
    assert_eq!(twin.ask("DELETE", desired, " ").await.0, 200);
    world.hub.set_desired(&module(), r#"{"x":null}"#).unwrap();
    let (status, body) = twin.ask("PATCH", "/properties/reported", "[]").await;
    assert_eq!(status, 400);
    assert!(body.starts_with(r#"{"message":"#), "{body}");
    assert_eq!(twin.ask("POST", "", " ").await.0, 400);
}

#[tokio::test]
async fn a_method_is_called_and_its_answer_comes_back_whatever_type_its_id_has() {
    let world = World::new();
    let mut client = world.connect(&module()).await;
    let address = "/devices/d/modules/m/methods/devicebound";
    let mut sender = client
        .sender_named(address, Some("methods:1"))
        .await
        .unwrap();
    let mut receiver = client
        .receiver_named(address, Some("methods:1"))
        .await
        .unwrap();
    let hub = world.hub.clone();
    let call = tokio::spawn(async move {
        let invocation = Invocation {
            caller: Caller::Outside,
            target: &module(),
            name: "reboot",
            payload: r#"{"in":1}"#,
            connect_timeout: SOON,
            response_timeout: SOON,
        };
        hub.methods().call(invocation, tokio::time::sleep).await
    });
    let call_message = whole(&mut receiver).await;
    let properties = call_message.application_properties.unwrap();
    let name = properties.0.get("IoThub-methodname");
    assert_eq!(name, Some(&SimpleValue::String("reboot".to_owned())));
    let Some(MessageId::String(id)) = call_message.properties.unwrap().correlation_id else {
        panic!("no id");
    };
    let mut properties = ApplicationProperties::default();
    properties
        .0
        .insert("IoThub-status".to_owned(), SimpleValue::Int(207));
    let answer = Message::builder()
        .properties(
            Properties::builder()
                .correlation_id(MessageId::Binary(Binary::from(id.into_bytes())))
                .build(),
        )
        .application_properties(properties)
        .data(Binary::from(br#"{"ok":true}"#.to_vec()))
        .build();
    timeout(SOON, sender.send(answer))
        .await
        .expect("an outcome")
        .unwrap();
    let answer = call.await.unwrap().unwrap();
    assert_eq!(
        (answer.status, answer.payload.as_str()),
        (207, r#"{"ok":true}"#)
    );
    drop(client);
    let gone = async {
        while world
            .hub
            .methods()
            .invoke(None, &module(), "x", "null", Duration::from_millis(10))
            != Err(edge_hub::MethodError::NotFound("d/m".to_owned()))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone)
        .await
        .expect("it answers no methods any more");
}

#[tokio::test]
async fn messages_to_a_device_come_and_are_settled() {
    let world = World::new();
    let mut client = world.connect(&device()).await;
    let mut receiver = client
        .receiver("/devices/d/messages/deviceBound")
        .await
        .unwrap();
    let edge_core::Identity::Device(id) = device() else {
        unreachable!("a device");
    };
    let endpoint = edge_core::EndpointId::Device(id);
    let queue = world.hub.queue(&endpoint, edge_core::Priority::DEFAULT);
    let mut commit = edge_store::Commit::new();
    let content = MessageBuilder::new("hello").property("a b", "c").build();
    let now = world.hub.now();
    world
        .hub
        .sender(device())
        .stage_for(&mut commit, queue, content, None, now)
        .unwrap();
    world.hub.commit(&mut commit).unwrap();
    let message = whole(&mut receiver).await;
    let properties = message.application_properties.unwrap();
    assert_eq!(
        properties.0.get("a b"),
        Some(&SimpleValue::String("c".to_owned()))
    );
    let empty = async {
        while world.hub.pressure().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, empty).await.expect("it is settled");
}
