//! A server of HTTP that answers as a test wants, down to the byte, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What follows the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The end of the connection.
    Close,
    /// Silence.
    Silence,
    /// More of the same, without an end.
    Flood,
}

/// An answer.
#[derive(Clone)]
pub struct Reply {
    /// Status line and headers; empty: not even that.
    pub head: String,
    /// What comes of the body.
    pub body: Vec<u8>,
    /// What comes after it.
    pub then: Then,
}

impl Reply {
    /// 200, with the length of the body.
    pub fn ok(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            head: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n",
                body.len()
            ),
            body,
            then: Then::Close,
        }
    }

    /// A status with one more header, and no body.
    pub fn status(status: &str, header: &str) -> Self {
        let header = match header {
            "" => String::new(),
            header => format!("{header}\r\n"),
        };
        Self {
            head: format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\n"),
            body: Vec::new(),
            then: Then::Close,
        }
    }

    /// The body without its length: it ends with the connection.
    pub fn unbounded(mut self, then: Then) -> Self {
        self.head = "HTTP/1.1 200 OK\r\n".to_owned();
        self.then = then;
        self
    }

    /// Only so much of the body comes, then what is said.
    pub fn cut(mut self, to: usize, then: Then) -> Self {
        self.body.truncate(to);
        self.then = then;
        self
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub authorization: Option<String>,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A running server; its threads end with the test's process.
pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen): (Arc<Handler>, _) = (Arc::new(handler), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, seen) = (handler.clone(), seen.clone());
                std::thread::spawn(move || serve(stream, &*handler, &seen));
            }
        });
        Self { address, asked }
    }

    /// Answers by path; anything else is not there.
    pub fn of(replies: HashMap<String, Reply>) -> Self {
        Self::start(move |request| match replies.get(&request.path) {
            Some(reply) => reply.clone(),
            None => Reply::status("404 Not Found", ""),
        })
    }

    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    pub fn was_asked_for(&self, part: &str) -> bool {
        self.asked().iter().any(|asked| asked.path.contains(part))
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, seen: &Mutex<Vec<Request>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        authorization: None,
    };
    for line in lines.map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            request.authorization = Some(value.to_owned());
        }
    }
    seen.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    // Who asked may have had enough.
    if !reply.head.is_empty() {
        let head = format!("{}Connection: close\r\n\r\n", reply.head);
        let _ = stream.write_all(head.as_bytes());
    }
    let _ = stream.write_all(&reply.body);
    match reply.then {
        Then::Close => {}
        Then::Flood => while stream.write_all(&[b' '; 64 << 10]).is_ok() {},
        // Until the other side goes away.
        Then::Silence => {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }
}

/// An artifact and the paths under which a registry has it.
pub struct Artifact {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub component: Vec<u8>,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub const WASM: &str = "application/wasm";

impl Artifact {
    /// One as it should be.
    pub fn good() -> Self {
        let component = super::component();
        let config = serde_json::json!({
            "created": "2026-01-01T00:00:00Z", "author": null, "architecture": "wasm", "os": "wasip2",
            "layerDigests": [super::sha256(&component).to_string()],
            "component": {
                "exports": ["edge:module/input-handler@0.1.0"], "imports": ["wasi:io/poll@0.2.6"], "target": null,
            },
        });
        Self::of(component, config.to_string(), CONFIG, WASM)
    }

    pub fn of(
        component: Vec<u8>,
        config: String,
        config_type: &'static str,
        layer_type: &'static str,
    ) -> Self {
        let (config, digest) = (config.into_bytes(), super::sha256(&component));
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": config_type, "digest": super::sha256(&config).to_string(), "size": config.len(),
            },
            "layers": [{"mediaType": layer_type, "digest": digest.to_string(), "size": component.len()}],
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            component,
        }
    }

    pub fn digest(&self) -> edge_core::Digest {
        super::sha256(&self.manifest)
    }

    pub fn manifest_path(&self) -> String {
        "/v2/a/filter/manifests/1".to_owned()
    }

    pub fn pinned_path(&self) -> String {
        format!("/v2/a/filter/manifests/{}", self.digest())
    }

    pub fn config_path(&self) -> String {
        format!("/v2/a/filter/blobs/{}", super::sha256(&self.config))
    }

    pub fn component_path(&self) -> String {
        format!("/v2/a/filter/blobs/{}", super::sha256(&self.component))
    }

    /// As a good registry answers.
    pub fn replies(&self) -> HashMap<String, Reply> {
        let manifest = Reply::ok(MANIFEST, self.manifest.clone());
        HashMap::from([
            (self.manifest_path(), manifest.clone()),
            (self.pinned_path(), manifest),
            (
                self.config_path(),
                Reply::ok("application/octet-stream", self.config.clone()),
            ),
            (
                self.component_path(),
                Reply::ok("application/octet-stream", self.component.clone()),
            ),
        ])
    }
}
