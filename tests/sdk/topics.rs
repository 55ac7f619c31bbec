//! Open topics, with clients that know nothing of hubs: mosquitto's commands and paho-mqtt 2, in TLS.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{Client, GATEWAY, World, isolated};

const PORT: &str = "8884";
const SETTINGS: &str = r#"
[topics]
listen = "127.0.0.1:8884"
[[topics.rules]]
identity = "press-*"
publish = ["plant/{device}/#"]
subscribe = ["plant/#"]
[[topics.mappings]]
topic = "plant/+/machines/{machine}"
"#;

/// A device's key, by hand from what its registration prints.
fn add(world: &World, device: &str) -> String {
    let secret = world.add(device);
    let key = secret
        .split(';')
        .find_map(|part| part.strip_prefix("SharedAccessKey="));
    key.unwrap_or_else(|| panic!("no key in {secret}"))
        .to_owned()
}

fn mosquitto(command: &str, trust: &Path, device: &str, key: &str) -> Command {
    let mut command = Command::new(command);
    command
        .args([
            "-h", GATEWAY, "-p", PORT, "-i", device, "-u", device, "-P", key, "--cafile",
        ])
        .arg(trust);
    command
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .expect("mosquitto's commands are there: run .ci/install");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn paho(world: &World, device: &str, key: &str, version: u8) -> (Client, Value) {
    let mut client = Client::paho();
    let with = json!({
        "host": GATEWAY, "port": 8884, "client_id": device, "user": device, "password": key,
        "ca": world.trust_bundle(), "version": version, "clean": false, "expiry": 600,
    });
    let answer = client.ask("connect", with);
    assert_eq!(answer["code"], 0, "{answer}");
    (client, answer)
}

isolated! {
    fn devices_of_different_makers_share_topics() {
        let world = World::with(SETTINGS);
        let trust = world.trust_bundle();
        let (one, two) = (add(&world, "press-1"), add(&world, "press-2"));
        let (mut client, _) = paho(&world, "press-1", &one, 5);
        let granted = client.ask("subscribe", json!({"topic": "plant/+/state", "qos": 2}));
        assert_eq!(granted["granted"], json!([1]), "{granted}");
        for (version, qos) in [("mqttv311", "2"), ("mqttv5", "1"), ("mqttv311", "0")] {
            let body = format!("{version} {qos}");
            done(mosquitto("mosquitto_pub", &trust, "press-2", &two)
                .args(["-V", version, "-q", qos, "-r", "-t", "plant/press-2/state", "-m", &body]));
            let came = client.event("message", |event| event["body"] == body.as_str());
            assert_eq!(came["topic"], "plant/press-2/state", "{came}");
            assert_eq!((&came["retain"], &came["dup"]), (&json!(false), &json!(false)), "{came}");
        }
        // The last one is kept for who comes later.
        let kept = done(mosquitto("mosquitto_sub", &trust, "press-2", &two)
            .args(["-q", "1", "-t", "plant/#", "-C", "1", "-W", "60", "-F", "%r %p"]));
        assert_eq!(kept.trim(), "1 mqttv311 0");
        // What another may publish, this one may not.
        let refused = mosquitto("mosquitto_pub", &trust, "press-2", &two)
            .args(["-V", "mqttv5", "-q", "1", "-t", "plant/press-1/state", "-m", "x"])
            .output()
            .expect("it ran before");
        assert!(!refused.status.success(), "{refused:?}");
    }

    fn a_will_comes_when_its_device_is_lost() {
        let mut world = World::with(SETTINGS);
        let trust = world.trust_bundle();
        let (one, two) = (add(&world, "press-1"), add(&world, "press-2"));
        let (mut client, _) = paho(&world, "press-1", &one, 4);
        client.ask("subscribe", json!({"topic": "plant/#"}));
        let mut lost = mosquitto("mosquitto_sub", &trust, "press-2", &two)
            .args(["-t", "plant/press-2/in", "--will-topic", "plant/press-2/gone"])
            .args(["--will-payload", "lost", "--will-qos", "1"])
            .stdout(Stdio::null())
            .spawn()
            .expect("mosquitto_sub is there");
        world.connected("press-2 press-2", 1);
        lost.kill().unwrap();
        lost.wait().unwrap();
        let came = client.event("message", |event| event["topic"] == "plant/press-2/gone");
        assert_eq!(came["body"], "lost", "{came}");
    }

    fn what_is_mapped_is_routed_and_sessions_outlive_a_crash() {
        let mut world = World::with(SETTINGS);
        let trust = world.trust_bundle();
        let (one, two) = (add(&world, "press-1"), add(&world, "press-2"));
        let (mut client, answer) = paho(&world, "press-1", &one, 4);
        assert_eq!(answer["present"], false, "{answer}");
        client.ask("subscribe", json!({"topic": "plant/press-2/machines/+"}));
        client.ask("disconnect", json!({}));
        let publish = |body: &str| {
            done(mosquitto("mosquitto_pub", &trust, "press-2", &two)
                .args(["-q", "1", "-t", "plant/press-2/machines/7", "-m", body]));
        };
        publish("before");
        world.crash();
        publish("after");
        world.daemon.waits("peer/devices", 2);
        let (mut client, answer) = paho(&world, "press-1", &one, 4);
        assert_eq!(answer["present"], true, "{answer}");
        for body in ["before", "after"] {
            client.event("message", |event| event["body"] == body);
        }
        let bodies: Vec<_> = client.events("message").iter().map(|event| event["body"].clone()).collect();
        assert_eq!(bodies, ["before", "after"]);
        client.ask("disconnect", json!({}));
    }
}
