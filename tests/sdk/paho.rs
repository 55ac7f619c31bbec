//! paho-mqtt 2: a client that knows nothing of hubs, on the SDKs' topics with a token as its password.

use serde_json::{Value, json};

use crate::{Client, DEVICE, GATEWAY, HUB, World, isolated};

/// The shared key in a connection string.
fn key(connection_string: &str) -> &str {
    let mut parts = connection_string.split(';');
    let key = parts.find_map(|part| part.strip_prefix("SharedAccessKey="));
    key.unwrap_or_else(|| panic!("no key in {connection_string}"))
}

/// A token, made by the script and not by code of ours.
fn token(client: &mut Client, resource: &str, key: &str) -> Value {
    let token = client.ask("token", json!({"resource": resource, "key": key}));
    token["token"].clone()
}

/// A module that speaks the SDKs' topics by hand.
fn as_module(version: u8, transport: &str) {
    let world = World::new();
    let mut client = Client::paho();
    let secret = world.add(&format!("{DEVICE}/byhand"));
    let resource = format!("{HUB}/devices/{DEVICE}/modules/byhand");
    let token = token(&mut client, &resource, key(&secret));
    let port = if transport == "ws" { 443 } else { 8883 };
    let answer = client.ask(
        "connect",
        json!({
            "host": GATEWAY, "port": port, "client_id": format!("{DEVICE}/byhand"),
            "user": format!("{HUB}/{DEVICE}/byhand/?api-version=2021-04-12"), "password": token,
            "ca": world.trust_bundle(), "version": version, "transport": transport,
        }),
    );
    assert_eq!(answer["code"], 0, "{answer}");
    let granted = client.ask("subscribe", json!({"topic": "$iothub/twin/res/#"}));
    assert_eq!(granted["granted"], json!([1]), "{granted}");
    client.ask(
        "publish",
        json!({"topic": "$iothub/twin/GET/?$rid=7", "body": " "}),
    );
    let twin = client.event("message", |event| {
        event["topic"] == "$iothub/twin/res/200/?$rid=7"
    });
    let twin: Value = serde_json::from_str(twin["body"].as_str().unwrap()).unwrap();
    assert!(twin["desired"]["$version"].is_u64(), "{twin}");

    client.ask(
        "subscribe",
        json!({"topic": format!("devices/{DEVICE}/modules/byhand/#")}),
    );
    let sent = world
        .daemon
        .edge("send byhand/in1 --body hello --property")
        .arg("na sty&k=a b");
    sent.output("").code(0);
    let came = client.event("message", |event| event["body"] == "hello");
    let topic = came["topic"].as_str().unwrap();
    let prefix = format!("devices/{DEVICE}/modules/byhand/inputs/in1/");
    assert!(topic.starts_with(&prefix), "{came}");
    assert_eq!(came["qos"], 1, "{came}");
    match version {
        5 => assert_eq!(came["properties"]["na sty&k"], "a b", "{came}"),
        _ => assert!(topic.contains("na%20sty%26k=a%20b"), "{came}"),
    }
    let events = format!("devices/{DEVICE}/modules/byhand/messages/events/%24.on=out1");
    let answer = client.ask("publish", json!({"topic": events, "body": "x"}));
    assert_eq!(answer["code"], 0, "{answer}");
    client.ask("disconnect", json!({}));
}

isolated! {
    fn paho_is_a_module_over_mqtt_3() { as_module(4, "tcp"); }
    fn paho_is_a_module_over_mqtt_5() { as_module(5, "tcp"); }
    fn paho_is_a_module_over_websocket() { as_module(4, "ws"); }

    fn a_wrong_token_is_refused() {
        let world = World::new();
        let mut client = Client::paho();
        world.add("leaf1");
        let token = token(&mut client, &format!("{HUB}/devices/leaf1"), "d3Jvbmcga2V5");
        let answer = client.ask("connect", json!({
            "host": GATEWAY, "port": 8883, "client_id": "leaf1",
            "user": format!("{HUB}/leaf1/?api-version=2021-04-12"), "password": token,
            "ca": world.trust_bundle(),
        }));
        assert_ne!(answer["code"], 0, "{answer}");
    }
}
