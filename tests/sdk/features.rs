//! All that a client can do, checked at both ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::without;
use crate::{Client, DEVICE, GATEWAY, HUB, Sdk, World};

/// The name of every method that clients answer.
const METHOD: &str = "echo";

/// Seconds that a token holds that Python's SDK renews 5 s later: it does so 120 s before the end.
pub const SHORT: u64 = 125;

/// Longest wait for what comes after a crash.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A module of the gateway.
    Module(&'static str),
    /// A device behind the gateway.
    Device(&'static str),
}

impl Who {
    /// As commands name it.
    pub fn target(&self) -> String {
        match self {
            Self::Module(module) => format!("{DEVICE}/{module}"),
            Self::Device(device) => (*device).to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Module(_) => "module",
            Self::Device(_) => "device",
        }
    }
}

/// A client under test.
pub struct Subject {
    pub client: Client,
    pub who: Who,
}

impl Subject {
    /// A module from the edge environment.
    pub fn module(world: &World, sdk: Sdk, name: &'static str, with: Value) -> Self {
        let client = Client::sdk(sdk, &world.environment(name));
        Self::create(client, Who::Module(name), with)
    }

    /// A module from the variables for debugging: a connection string, and a file to trust.
    pub fn debugged(world: &World, sdk: Sdk, name: &'static str) -> Self {
        let environment = world.environment(&format!("{name} --connection-string"));
        Self::create(Client::sdk(sdk, &environment), Who::Module(name), json!({}))
    }

    /// A device with a connection string.
    pub fn device(world: &World, sdk: Sdk, name: &'static str, mut with: Value) -> Self {
        with["connection_string"] = world.add(name).into();
        with["ca"] = world.trust_bundle().to_str().into();
        Self::create(Client::sdk(sdk, &[]), Who::Device(name), with)
    }

    /// A device with a certificate.
    pub fn with_certificate(
        world: &World,
        sdk: Sdk,
        name: &'static str,
        files: &crate::certificates::Files,
        mut with: Value,
    ) -> Self {
        with["x509"] = json!({
            "hub": HUB, "gateway": GATEWAY, "device": name,
            "certificate": files.certificate, "key": files.key,
        });
        with["ca"] = world.trust_bundle().to_str().into();
        Self::create(Client::sdk(sdk, &[]), Who::Device(name), with)
    }

    fn create(mut client: Client, who: Who, mut with: Value) -> Self {
        with["kind"] = who.kind().into();
        client.ask("create", with);
        client.ask("connect", json!({}));
        client.ask("listen", json!({"to": ["messages", "methods", "desired"]}));
        Self { client, who }
    }

    /// Has a new token on the connection that it has, as AMQP does it.
    #[track_caller]
    pub fn renew_in_place(&mut self, world: &mut World) {
        self.client.ask("renew", json!({}));
        world.renewed(&self.who.target(), 1);
        world.connected(&self.who.target(), 1);
    }

    /// Has a new token, and with it a new connection, its second one.
    #[track_caller]
    pub fn renew(&mut self, world: &mut World, sdk: Sdk) {
        // A Python client was made with a token that it renews by itself ([`SHORT`]).
        if sdk == Sdk::Node {
            self.client.ask("renew", json!({}));
        }
        world.connected(&self.who.target(), 2);
    }
}

/// Properties that break whoever is careless with escapes.
fn properties(token: &str) -> Value {
    json!({
        "na sty&k": "a b&c=d/e+f%g?h#é",
        "empty": "",
        "plain": "1",
        "plus+": "+%20 %",
        "token": token,
    })
}

/// Every feature of a client, once. `token` tells the messages of this time from others; the module
/// `peer` takes what devices send and answers methods.
pub fn all(world: &World, subject: &mut Subject, peer: &mut Subject, token: &str) {
    messages(subject, peer, token);
    twins(world, subject, token);
    method_in(world, subject, token);
    match subject.who {
        Who::Module(_) => method_out(subject, peer, token),
        Who::Device(_) => to_device(world, subject, token),
    }
}

/// Telemetry and outputs, with properties, as they come out at a module's input.
pub fn messages(subject: &mut Subject, peer: &Subject, token: &str) {
    let properties = properties(token);
    let system = json!({
        "messageId": format!("mid-{token}"), "correlationId": format!("cid-{token}"),
        "contentType": "application/json", "contentEncoding": "utf-8",
    });
    let body = json!({ "token": token }).to_string();
    let mut message = json!({"body": body, "properties": properties, "system": system});
    let (receiver, input) = match subject.who {
        Who::Module(_) => {
            message["output"] = "output1".into();
            subject.client.ask("send", message);
            (&subject.client, "input1")
        }
        Who::Device(_) => {
            subject.client.ask("send", message);
            (&peer.client, "devices")
        }
    };
    let came = receiver.event("message", |event| event["properties"]["token"] == token);
    assert_eq!(came["input"], input, "{came}");
    assert_eq!(came["body"], body, "{came}");
    // The SDK for Node.js shows who sent it as properties of their own.
    assert_eq!(without(&came["properties"], "$."), properties, "{came}");
    for (name, value) in system.as_object().unwrap() {
        assert_eq!(&came["system"][name], value, "{name} of {came}");
    }
    // Nothing but a body.
    let bare = format!("bare-{token}");
    match subject.who {
        Who::Module(_) => {
            let message = json!({"body": bare, "output": "output1"});
            subject.client.ask("send", message);
            let came = subject
                .client
                .event("message", |event| event["body"] == bare);
            assert_eq!(without(&came["properties"], "$."), json!({}), "{came}");
        }
        Who::Device(_) => {
            subject.client.ask("send", json!({ "body": bare }));
            peer.client.event("message", |event| event["body"] == bare);
        }
    }
}

/// Both halves of its twin, both ways.
pub fn twins(world: &World, subject: &mut Subject, token: &str) {
    let target = subject.who.target();
    let patch = json!({"check": {"token": token, "gone": 1}, "é": [1, {"y": 2.5}]});
    subject.client.ask("report", json!({ "patch": patch }));
    let patch = json!({"check": {"gone": null}});
    subject.client.ask("report", json!({ "patch": patch }));
    let reported = world.reported(&target);
    assert_eq!(
        reported["properties"]["check"],
        json!({ "token": token }),
        "{reported}"
    );

    let patch = json!({"want": {"token": token, "list": [1, 2]}, "old": null});
    world.set_desired(&target, &patch);
    let came = subject.client.event("desired", |event| {
        event["patch"]["want"]["token"] == token && event["patch"]["want"]["list"][1] == 2
    });
    let patch_version = came["patch"]["$version"].as_u64();
    let patch_version = patch_version.unwrap_or_else(|| panic!("no $version in {came}"));

    let answer = subject.client.ask("twin", json!({}));
    let twin = &answer["twin"];
    assert_eq!(twin["desired"]["want"]["token"], token, "{twin}");
    assert_eq!(twin["reported"]["check"]["token"], token, "{twin}");
    assert_eq!(twin["desired"]["$version"], patch_version, "{twin}");
    assert!(twin["reported"]["$version"].is_u64(), "{twin}");
}

/// A method that is called by the command.
pub fn method_in(world: &World, subject: &Subject, token: &str) {
    for payload in [json!({ "token": token }), json!(null), json!([1, "é"])] {
        let answer = world.method(&subject.who.target(), METHOD, &payload);
        assert_eq!(answer["status"], 200, "{answer}");
        assert_eq!(answer["payload"], json!({ "echo": payload }), "{answer}");
    }
    subject
        .client
        .event("method", |event| event["payload"]["token"] == token);
}

/// A method of another module, called over HTTPS.
pub fn method_out(subject: &mut Subject, peer: &Subject, token: &str) {
    let Who::Module(module) = peer.who else {
        panic!("the peer is a module");
    };
    let call = json!({
        "device": DEVICE, "module": module, "method": METHOD, "payload": {"token": token},
    });
    // After a crash the peer may come back later than the subject.
    let until = Instant::now() + PATIENCE;
    let answer = loop {
        match subject.client.attempt("invoke", call.clone()) {
            Ok(answer) => break answer["answer"].clone(),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(
        answer["payload"],
        json!({"echo": {"token": token}}),
        "{answer}"
    );
    peer.client
        .event("method", |event| event["payload"]["token"] == token);
}

/// A message from the command to a device.
pub fn to_device(world: &World, subject: &Subject, token: &str) {
    let Who::Device(device) = subject.who else {
        panic!("only devices get such messages");
    };
    let body = format!("to-device-{token}");
    world.send_to_device(device, &body, "na sty&k=a b&c=d/e+f%g?h#é");
    let came = subject
        .client
        .event("message", |event| event["body"] == body);
    assert_eq!(
        came["properties"]["na sty&k"], "a b&c=d/e+f%g?h#é",
        "{came}"
    );
}

/// A crash of the daemon while messages come in: all of them arrive, in order, and every feature works again.
///
/// What the SDKs do themselves is not the hub's to answer for, so
/// - sends that an SDK gives back are done again (`stream` of the scripts), and may come twice;
/// - whoever receives keeps the order: in Python that is the asynchronous client only;
/// - a Python client whose connection's thread died is replaced by another (see its script);
/// - no token is renewed meanwhile, for Node's SDK loses what comes while it does.
pub fn crash(world: &mut World, subject: &mut Subject, peer: &mut Subject, token: &str) {
    const MESSAGES: usize = 300;
    let prefix = format!("{token}-");
    let stream = match subject.who {
        Who::Module(_) => json!({"count": MESSAGES, "prefix": prefix, "output": "output1"}),
        Who::Device(_) => json!({"count": MESSAGES, "prefix": prefix}),
    };
    let sending = subject.client.begin("stream", stream);
    let of_stream = |event: &Value| {
        let body = event["body"].as_str();
        body.is_some_and(|body| body.starts_with(&prefix))
    };
    let receiver = match subject.who {
        Who::Module(_) => &subject.client,
        Who::Device(_) => &peer.client,
    };
    receiver.events_at_least(MESSAGES / 10, "message", of_stream);
    world.crash();
    subject
        .client
        .end(sending)
        .unwrap_or_else(|error| panic!("the messages were not taken: {error}"));
    let receiver = match subject.who {
        Who::Module(_) => &subject.client,
        Who::Device(_) => &peer.client,
    };
    for number in 0..MESSAGES {
        let body = format!("{prefix}{number}");
        receiver.event("message", |event| event["body"] == body);
    }
    in_order(receiver, &prefix);
    // The other one may be on its way back still.
    world.connected(&subject.who.target(), 1);
    world.connected(&peer.who.target(), 1);
    all(world, subject, peer, &format!("{token}-after"));
}

/// First deliveries come in the order in which they were sent.
fn in_order(receiver: &Client, prefix: &str) {
    let mut next = 0;
    for event in receiver.events("message") {
        let body = event["body"].as_str().unwrap_or_default();
        let Some(number) = body.strip_prefix(prefix) else {
            continue;
        };
        let number: usize = number.parse().unwrap_or_else(|_| panic!("{event}"));
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
}
