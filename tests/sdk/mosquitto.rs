//! `mosquitto_pub` and `mosquitto_sub` as devices.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::{Client, GATEWAY, HUB, World, isolated};

/// A command of mosquitto's, in TLS, as a device with its token.
fn mosquitto(command: &str, world: &World, device: &str, token: &str) -> Command {
    let mut command = Command::new(command);
    command
        .args(["-h", GATEWAY, "-p", "8883", "-q", "1", "-i", device])
        .args(["-u", &format!("{HUB}/{device}/?api-version=2021-04-12")])
        .args(["-P", token, "--cafile"])
        .arg(world.trust_bundle());
    command
}

fn token(device: &str, connection_string: &str) -> String {
    let key = connection_string
        .split(';')
        .find_map(|part| part.strip_prefix("SharedAccessKey="));
    let mut client = Client::paho();
    let with = json!({"resource": format!("{HUB}/devices/{device}"), "key": key});
    let token = client.ask("token", with);
    token["token"].as_str().unwrap().to_owned()
}

/// Ended when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

isolated! {
    fn mosquitto_pub_sends_telemetry() {
        let world = World::new();
        let token = token("leaf1", &world.add("leaf1"));
        for version in ["mqttv311", "mqttv5"] {
            let sent = mosquitto("mosquitto_pub", &world, "leaf1", &token)
                .args(["-V", version, "-t", "devices/leaf1/messages/events/kind=reading", "-m", "{\"t\":31}"])
                .output()
                .expect("mosquitto_pub is there: run .ci/install");
            assert!(sent.status.success(), "{sent:?}");
        }
        world.daemon.waits("peer/devices", 2);
    }

    fn mosquitto_sub_gets_messages_for_a_device() {
        let world = World::new();
        let token = token("leaf1", &world.add("leaf1"));
        for version in ["mqttv311", "mqttv5"] {
            let device = mosquitto("mosquitto_sub", &world, "leaf1", &token)
                .args(["-V", version, "-t", "devices/leaf1/messages/devicebound/#", "-C", "1", "-F", "%p", "-W", "60"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("mosquitto_sub is there: run .ci/install");
            let mut device = Killed(device);
            let body = format!("hello {version}");
            world.send_to_device("leaf1", &body, "k=v");
            let out = device.0.stdout.take().unwrap();
            let text = std::io::read_to_string(out).unwrap();
            assert_eq!(text.trim(), body);
        }
    }
}
