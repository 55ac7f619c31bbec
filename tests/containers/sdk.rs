//! A module of the field in its container: Debian's Python and the published SDK, which finds its way to the hub
//! by its environment alone, over the bridge.

use std::path::Path;

use serde_json::json;

use crate::support::engine::{Engine, becomes};
use crate::support::namespace::{GATEWAY, isolated};
use crate::support::{Daemon, Manifest};

/// Sends what it gets on, and answers a method.
const MODULE: &str = r#"
import sys, time
sys.path.insert(0, "/module/packages")
from azure.iot.device import IoTHubModuleClient, Message, MethodResponse

client = IoTHubModuleClient.create_from_edge_environment()
client.connect()

def on_message(message):
    client.send_message_to_output(Message(b"seen " + message.data), "seen")

def on_method(request):
    answer = MethodResponse.create_from_method_request(request, 200, {"method": request.name})
    client.send_method_response(answer)

client.on_message_received = on_message
client.on_method_request_received = on_method
client.send_message_to_output(Message("up"), "hello")
print("ready", flush=True)
while True:
    time.sleep(1)
"#;

isolated! {
    fn an_sdk_module_in_its_container_and_a_component_are_on_one_hub() {
        let engine = Engine::start();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/images/python");
        assert!(folder.exists(), "{} is not there: .ci/install", folder.display());
        engine.import_folder(&folder, "edge-python:1");
        let mut daemon = Daemon::with(&engine.settings(&format!(
            "[device]\nhostname = \"{GATEWAY}\"\n[mqtt]\nlisten = \"0.0.0.0:8883\""
        )));
        let command = json!({"Cmd": ["/usr/bin/python3", "-u", "-c", MODULE]});
        let manifest = Manifest::new()
            .module("filter", "filter", json!({}))
            .container("cam", "edge-python:1", command)
            .route("to-cam", "FROM /messages/modules/filter/outputs/* INTO BrokeredEndpoint(\"/modules/cam/inputs/in\")")
            .route("up", "FROM /messages/modules/cam/outputs/* INTO $upstream");
        daemon.apply(&manifest);
        becomes(&daemon, "cam", "running");
        daemon.waits("$upstream", 1);
        daemon.send("filter/input1", "{\"machine\":{\"temperature\":30}}");
        daemon.waits("$upstream", 2);
        let answer = daemon.json("method cam greet");
        assert_eq!(answer["payload"], json!({"method": "greet"}), "{answer}");

        let before = engine.inspect("cam")["State"]["StartedAt"].clone();
        daemon.kill();
        daemon.again();
        daemon.eventually("both run", |daemon| daemon.json("list")["settled"] == true);
        daemon.send("filter/input1", "{\"machine\":{\"temperature\":31}}");
        daemon.waits("$upstream", 3);
        assert_eq!(engine.inspect("cam")["State"]["StartedAt"], before);
    }
}
