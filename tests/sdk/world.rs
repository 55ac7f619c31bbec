//! The gateway of a test: `edge daemon` with the ports that SDKs know, two modules that run as processes
//! of the host, and routes between them.
//!
//! ```text
//!   module "subject" ── any output ──► its own input "input1"
//!   any device ─────────────────────► module "peer", input "devices"
//! ```

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::certificates::{self, Files};
use crate::support::namespace::GATEWAY;
use crate::support::{Daemon, Output, Running};

/// The device that runs the daemon.
pub const DEVICE: &str = "edge1";
/// The hub's name in tokens and user names.
pub const HUB: &str = "hub1.azure-devices.net";

/// A daemon, and what tests need around it.
pub struct World {
    pub daemon: Daemon,
    files: TempDir,
    authority: certificates::Authority,
}

impl World {
    /// With both modules deployed.
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more settings.
    pub fn with(settings: &str) -> Self {
        let files = tempdir().unwrap();
        let authority = certificates::Authority::new(files.path());
        let settings = format!(
            "[device]\nname = \"{DEVICE}\"\nhostname = \"{GATEWAY}\"\nhub-name = \"{HUB}\"\n\
             [mqtt]\nlisten = \"127.0.0.1:8883\"\n[amqp]\nlisten = \"127.0.0.1:5671\"\n[https]\nlisten = \"127.0.0.1:443\"\n\
             [certificates]\ntrusted = [\"{}\"]\n{settings}",
            authority.path().display()
        );
        let world = Self {
            daemon: Daemon::with(&settings),
            files,
            authority,
        };
        world.deploy();
        world
    }

    fn deploy(&self) {
        // Processes of this test are the modules; a container engine is not needed for them.
        let module = json!({
            "type": "docker", "version": "1.0", "status": "stopped", "restartPolicy": "never",
            "settings": {"image": "started-by:the-test"},
        });
        let manifest = json!({"modulesContent": {
            "$edgeAgent": {"properties.desired": {
                "schemaVersion": "1.1", "modules": {"subject": module, "peer": module},
            }},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
                "loop": "FROM /messages/modules/subject/outputs/* INTO BrokeredEndpoint(\"/modules/subject/inputs/input1\")",
                "devices": "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint(\"/modules/peer/inputs/devices\")",
            }}},
        }});
        let path = self.files.path().join("deployment.json");
        fs::write(&path, manifest.to_string()).unwrap();
        self.daemon.edge("apply").arg(path).output("").code(0);
    }

    /// `kill -9`, and a new start on the same data.
    pub fn crash(&mut self) {
        self.daemon.kill();
        self.daemon.again();
    }

    /// Waits until a client was connected so many times since the daemon started.
    #[track_caller]
    pub fn connected(&mut self, who: &str, times: usize) {
        let line = format!("client connected client={who} ");
        self.daemon.running().says_times(&line, times);
    }

    /// Waits until a client has put so many tokens beyond its first one.
    #[track_caller]
    pub fn renewed(&mut self, who: &str, times: usize) {
        let line = format!("token renewed client={who}");
        self.daemon.running().says_times(&line, times);
    }

    /// The environment of a module of the deployment, with options of the command.
    pub fn environment(&self, module: &str) -> Vec<(String, String)> {
        let environment = self.daemon.json(&format!("identity env {module}"));
        let pairs = environment.as_object().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        pairs
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    /// Makes an identity with keys and gives its connection string.
    pub fn add(&self, identity: &str) -> String {
        let added = self.daemon.edge("identity add").arg(identity).output("");
        added.code(0).out.trim().to_owned()
    }

    /// Makes an identity that shows a certificate of its own.
    pub fn add_with_thumbprint(&self, identity: &str) -> Files {
        let files = certificates::self_signed(self.files.path(), identity);
        let add = format!("identity add {identity} --thumbprint {}", files.thumbprint);
        self.daemon.edge(&add).output("").code(0);
        files
    }

    /// Makes an identity that shows a certificate of the authority that the daemon trusts.
    pub fn add_with_chain(&self, identity: &str) -> Files {
        let files = self.authority.issue(self.files.path(), identity);
        let add = format!("identity add {identity} --ca");
        self.daemon.edge(&add).output("").code(0);
        files
    }

    /// The file with which clients trust the gateway.
    pub fn trust_bundle(&self) -> PathBuf {
        let path = self.files.path().join("trust-bundle.pem");
        let bundle = self.daemon.edge("certificates --bundle").output("").code(0);
        fs::write(&path, bundle.out).unwrap();
        path
    }

    /// Calls a method by the command, and waits for a target that is on its way back.
    #[track_caller]
    pub fn method(&self, target: &str, name: &str, payload: &Value) -> Value {
        let call = format!("method {target} {name} --connect-timeout 30s --json");
        let edge = self.daemon.edge(&call).arg(payload.to_string());
        json_of(edge.output("").code(0))
    }

    /// Merges a patch into desired properties.
    #[track_caller]
    pub fn set_desired(&self, target: &str, patch: &Value) {
        let edge = self.daemon.edge(&format!("twin set {target}"));
        edge.arg(patch.to_string()).output("").code(0);
    }

    /// Reported properties as the hub has them.
    #[track_caller]
    pub fn reported(&self, target: &str) -> Value {
        self.daemon.json(&format!("twin get {target}"))["reported"].clone()
    }

    /// Sends to a device; returns when it has acknowledged.
    #[track_caller]
    pub fn send_to_device(&self, device: &str, body: &str, property: &str) {
        let edge = self.daemon.edge("send --wait 60s --device").arg(device);
        edge.arg("--body")
            .arg(body)
            .arg("--property")
            .arg(property)
            .output("")
            .code(0);
    }

    /// Looks on, as `edge tail` does.
    pub fn tail(&self, words: &str) -> Running {
        self.daemon.edge(&format!("tail --json {words}")).start()
    }
}

#[track_caller]
fn json_of(output: Output) -> Value {
    serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error} in {output:#?}"))
}
