//! paho-mqtt 2: a client that knows nothing of hubs, on the SDKs' topics with a token as its password.

use serde_json::{Value, json};

use crate::{Client, GATEWAY, HUB, World, isolated};

/// A token, made by the script and not by code of ours.
fn token(client: &mut Client, resource: &str, key: &str) -> Value {
    let token = client.ask("token", json!({"resource": resource, "key": key}));
    token["token"].clone()
}

isolated! {
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
