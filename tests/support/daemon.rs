//! `edge daemon` in a temporary directory, and manifests for it.
//!
//! [`Daemon::start`] waits for its ready line; [`Daemon::edge`] are commands that talk to it. It is
//! killed when it is dropped, and its directory goes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{Edge, Output, PATIENCE, Running, edge, sample_as};

/// No port that another test could have.
const PORTS: &str = "metrics.listen = \"127.0.0.1:0\"\nmqtt.listen = \"off\"\namqp.listen = \"off\"\nhttps.listen = \"off\"\n";

/// A running daemon and its directory.
pub struct Daemon {
    dir: TempDir,
    running: Option<Running>,
}

impl Daemon {
    /// A daemon with an empty data directory, metrics at a port of its own, and no other port.
    pub fn start() -> Self {
        Self::with("")
    }

    /// A daemon with more settings.
    pub fn with(settings: &str) -> Self {
        let mut daemon = Self {
            dir: tempdir().unwrap(),
            running: None,
        };
        // What a test sets itself takes the place of these.
        let drop_ins = daemon.dir.path().join("config.d");
        fs::create_dir(&drop_ins).unwrap();
        fs::write(drop_ins.join("test.toml"), settings).unwrap();
        fs::write(daemon.config(), PORTS).unwrap();
        daemon.again();
        daemon
    }

    /// Starts it again, in the same directory.
    pub fn again(&mut self) {
        let running = self.command().start();
        running.says("edge: ready");
        self.running = Some(running);
    }

    /// The command line that starts it.
    pub fn command(&self) -> Edge {
        edge(["daemon", "--config"])
            .arg(self.config())
            .arg("--data")
            .arg(self.data())
    }

    /// A folder for whatever belongs to it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Its management socket.
    pub fn socket(&self) -> PathBuf {
        self.data().join("mgmt.sock")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// The process.
    pub fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it runs")
    }

    /// Ends it as a service manager does, and waits for its end.
    pub fn stop(&mut self) -> Output {
        let running = self.running.take().expect("it runs");
        running.terminate();
        running.end()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// A command to it, words split at blanks.
    pub fn edge(&self, words: &str) -> Edge {
        edge(words.split_whitespace()).env("EDGE_DATA_DIR", self.data())
    }

    /// What a command to it answers in JSON. The command must succeed.
    #[track_caller]
    pub fn json(&self, words: &str) -> Value {
        let output = self.edge(words).arg("--json").output("").code(0);
        serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error} in {output:#?}"))
    }

    /// Applies a manifest, and does not wait for its modules.
    #[track_caller]
    pub fn apply_only(&self, manifest: &Manifest) {
        let path = manifest.write(self.dir());
        let apply = self.edge("apply --no-wait").arg(path);
        apply.output("").code(0);
    }

    /// A module, as `edge list` shows it.
    #[track_caller]
    pub fn module(&self, name: &str) -> Value {
        let list = self.json("list");
        let modules = list["modules"].as_array().unwrap();
        let found = modules.iter().find(|module| module["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// Waits until a module has this status.
    #[track_caller]
    pub fn becomes(&self, name: &str, status: &str) -> Value {
        self.eventually(&format!("{name} is {status}"), |daemon| {
            daemon.module(name)["status"] == status
        });
        self.module(name)
    }

    /// Applies a manifest, and expects that its modules are brought up.
    #[track_caller]
    pub fn apply(&self, manifest: &Manifest) -> Output {
        let path = manifest.write(self.dir());
        self.edge("apply").arg(path).output("").code(0)
    }

    /// Sends a message to an endpoint and gives its id.
    #[track_caller]
    pub fn send(&self, endpoint: &str, body: &str) -> String {
        let sent = self.edge("send").arg(endpoint).arg("--body").arg(body);
        sent.output("").code(0).out.trim().to_owned()
    }

    /// How many messages wait for an endpoint.
    #[track_caller]
    pub fn depth(&self, endpoint: &str) -> u64 {
        let queues = self.json("queues");
        let queues = queues.as_array().unwrap().iter();
        let depths = queues
            .filter(|queue| queue["endpoint"] == endpoint)
            .map(|queue| queue["depth"].as_u64().unwrap());
        depths.sum()
    }

    /// Looks again and again until something holds.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < until, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many messages wait for an endpoint.
    #[track_caller]
    pub fn waits(&self, endpoint: &str, count: u64) {
        self.eventually(&format!("{count} messages for {endpoint}"), |daemon| {
            daemon.depth(endpoint) == count
        });
    }

    /// The page of its metrics.
    #[track_caller]
    pub fn metrics(&self) -> String {
        let device = self.json_of_call("GET", "/v1/device", "");
        let mut stream = TcpStream::connect(device["metrics"].as_str().unwrap()).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// A call of the management API, past the client: status and body.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        // A daemon that refuses a body does not read all of it.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn json_of_call(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, body) = self.call(method, path, body);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A manifest that is being put together.
#[derive(Clone)]
pub struct Manifest {
    modules: Value,
    routes: Value,
    twins: Vec<(String, Value)>,
    agent: Value,
    samples: Vec<(String, String)>,
}

impl Manifest {
    /// Without modules and routes.
    pub fn new() -> Self {
        Self {
            modules: json!({}),
            routes: json!({}),
            twins: Vec::new(),
            agent: json!({"schemaVersion": "1.1"}),
            samples: Vec::new(),
        }
    }

    /// A module of a sample, with more keys of `createOptions`.
    pub fn module(mut self, name: &str, sample: &str, options: Value) -> Self {
        self.samples.push((sample.to_owned(), name.to_owned()));
        self.modules[name] = json!({
            "type": "wasm", "version": "1.0", "status": "running", "restartPolicy": "always",
            "settings": {"image": format!("file:{name}.wasm"), "createOptions": options},
        });
        self
    }

    /// A module whose component is in a registry, with more keys of `createOptions`.
    pub fn component(mut self, name: &str, image: &str, options: Value) -> Self {
        self.modules[name] = json!({
            "type": "wasm", "version": "1.0", "status": "running", "restartPolicy": "always",
            "settings": {"image": image, "createOptions": options},
        });
        self
    }

    /// A container with `createOptions`.
    pub fn container(mut self, name: &str, image: &str, options: Value) -> Self {
        self.modules[name] = json!({
            "type": "docker", "version": "1.0", "status": "running", "restartPolicy": "always",
            "settings": {"image": image, "createOptions": options.to_string()},
        });
        self
    }

    /// One more key of a module.
    pub fn key(mut self, module: &str, key: &str, value: Value) -> Self {
        self.modules[module][key] = value;
        self
    }

    /// One more key of a module's settings.
    pub fn setting(mut self, module: &str, key: &str, value: Value) -> Self {
        self.modules[module]["settings"][key] = value;
        self
    }

    /// A setting of a module.
    pub fn env(mut self, module: &str, name: &str, value: &str) -> Self {
        self.modules[module]["env"][name] = json!({ "value": value });
        self
    }

    /// One more key of `$edgeAgent`.
    pub fn agent(mut self, key: &str, value: Value) -> Self {
        self.agent[key] = value;
        self
    }

    /// A route.
    pub fn route(mut self, name: &str, route: &str) -> Self {
        self.routes[name] = route.into();
        self
    }

    /// Desired properties of a module.
    pub fn twin(mut self, module: &str, desired: Value) -> Self {
        self.twins
            .push((module.to_owned(), json!({"properties.desired": desired})));
        self
    }

    /// Writes it and its components to a folder.
    pub fn write(&self, dir: &Path) -> PathBuf {
        for (sample, name) in &self.samples {
            sample_as(sample, dir, name);
        }
        let mut agent = self.agent.clone();
        agent["modules"] = self.modules.clone();
        let mut content = json!({
            "$edgeAgent": {"properties.desired": agent},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": self.routes}},
        });
        for (module, twin) in &self.twins {
            content[module] = twin.clone();
        }
        let text = serde_json::to_string_pretty(&json!({"modulesContent": content})).unwrap();
        let path = dir.join("deployment.json");
        fs::write(&path, text).unwrap();
        path
    }
}
