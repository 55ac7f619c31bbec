//! What the tests of this crate share: a hub with identities, and a client that sends requests byte for byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_core::{DeviceId, Identity, ModuleId, Timestamp};
use edge_hub::{Clock, Hub, HubConfig, MethodCall, MethodResponse, MethodTarget, SystemClock};
use edge_identity::{
    Authority, AuthorityConfig, Issue, Kind, NewAuth, Peer, PeerAddress, Registry, Token,
};
use edge_store::MemoryLog;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{BoxedStream, ByteStream, Gateway, GatewayConfig, Serving, StreamHead};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn device() -> Identity {
    Identity::Device(DeviceId::new("edge1").expect("id"))
}

pub(crate) fn leaf() -> Identity {
    Identity::Device(DeviceId::new("leaf1").expect("id"))
}

pub(crate) fn module(name: &str) -> Identity {
    let module = ModuleId::new(name).expect("id");
    Identity::Module(DeviceId::new("edge1").expect("id"), module)
}

/// A device `edge1` with modules `mod1`, `mod2` and `$edgeHub`, and a device `leaf1` with a module `mod1`.
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) closing: watch::Sender<bool>,
}

impl World {
    pub(crate) fn new() -> Self {
        let log = Arc::new(MemoryLog::default());
        let registry = Registry::open(log.clone()).expect("it is empty");
        let hub = Hub::new(HubConfig::new(DeviceId::new("edge1").expect("id")), log);
        let of_leaf = Identity::Module(
            DeviceId::new("leaf1").expect("id"),
            ModuleId::new("mod1").expect("id"),
        );
        let modules = ["mod1", "mod2", "$edgeHub"].map(module);
        for identity in [device(), leaf(), of_leaf].iter().chain(&modules) {
            registry
                .add(identity, NewAuth::FRESH, hub.now())
                .expect("it is new");
        }
        Self {
            hub,
            registry,
            closing: watch::Sender::new(false),
        }
    }

    /// A token of an identity, an hour long.
    pub(crate) fn token(&self, identity: &Identity) -> String {
        let expires = self.hub.now().after(Duration::from_secs(3_600));
        self.token_until(identity, expires)
    }

    pub(crate) fn token_until(&self, identity: &Identity, expires: Timestamp) -> String {
        let entry = self.registry.get(identity).expect("it is there");
        let keys = entry.auth.keys().expect("it has keys");
        Token::make("hub1.azure-devices.net", identity, &keys.primary, expires).to_string()
    }

    pub(crate) fn gateway_config(&self) -> GatewayConfig {
        let closing = self.closing.subscribe();
        GatewayConfig::new(self.hub.clone(), self.registry.clone(), closing)
    }

    pub(crate) fn gateway(&self, heads: Vec<Arc<dyn StreamHead>>) -> Gateway {
        Gateway::new(GatewayConfig {
            heads,
            ..self.gateway_config()
        })
    }

    /// A connection to a gateway without WebSockets.
    pub(crate) fn connect(&self) -> Client<DuplexStream> {
        Client::of(&self.gateway(Vec::new()), plain())
    }
}

pub(crate) fn plain() -> Peer {
    Peer::plain(PeerAddress::Tcp(([127, 0, 0, 1], 4711).into()))
}

/// A CA in a directory, and what it says of itself in handshakes.
pub(crate) fn authority(dir: &TempDir) -> Arc<Authority> {
    let config = AuthorityConfig::own(dir.path(), "edgegw");
    Authority::open(config, SystemClock.now()).expect("the directory is ours")
}

/// What a client says in handshakes: it trusts a CA, and has a certificate by it if `name` is given.
pub(crate) fn tls_client(
    authority: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
    name: Option<&str>,
) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.trust_bundle().as_bytes()) {
        roots.add(root.expect("it is PEM")).expect("it is a CA");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider has it")
        .with_root_certificates(roots);
    let client = match name {
        None => client.with_no_client_auth(),
        Some(name) => {
            let wanted = Issue {
                common_name: name,
                names: &[],
                kind: Kind::Client,
                lifetime: Duration::from_secs(3_600),
            };
            let issued = authority.issue(&wanted, SystemClock.now());
            let issued = issued.expect("it is a CA");
            let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("it is PEM");
            let key = PrivateKeyDer::from_pem_slice(issued.private_key.as_bytes());
            client
                .with_client_auth_cert(chain, key.expect("it is PEM"))
                .expect("they belong together")
        }
    };
    TlsConnector::from(Arc::new(client))
}

/// A connection to a listener by TLS, to the name that the SDKs know.
pub(crate) async fn connect_tls(
    connector: &TlsConnector,
    address: SocketAddr,
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let name = "edgegw".try_into().expect("a name");
    let handshake = connector.connect(name, stream);
    let done = tokio::time::timeout(PATIENCE, handshake).await;
    done.expect("in time").expect("a handshake")
}

/// Waits for something that comes about by itself.
pub(crate) async fn eventually(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it comes about");
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).expect("it is JSON")
    }

    /// The message of a refusal.
    pub(crate) fn message(&self) -> String {
        let json = self.json();
        json["message"].as_str().expect("it says why").to_owned()
    }
}

/// One end of an HTTP connection.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) serving: Option<JoinHandle<()>>,
}

impl Client<DuplexStream> {
    pub(crate) fn of(head: &dyn StreamHead, peer: Peer) -> Self {
        let (near, far) = tokio::io::duplex(4 << 10);
        let serving = tokio::spawn(head.serve(Box::new(far), peer));
        Self {
            stream: near,
            serving: Some(serving),
        }
    }
}

impl<S: ByteStream> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            serving: None,
        }
    }

    /// Sends a request with a body, whose length is added, and reads the answer.
    pub(crate) async fn request(&mut self, head: &str, body: &str) -> Answer {
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        self.send(head.as_bytes()).await;
        self.send(body.as_bytes()).await;
        self.answer().await
    }

    /// Sends the head of a request, and waits until the other end asks for the body: the request is under way.
    pub(crate) async fn begin(&mut self, head: &str, body: &str) {
        let length = body.len();
        let head = format!("{head}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
        self.send(head.as_bytes()).await;
        assert_eq!(self.answer().await.status, 100);
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sending = self.stream.write_all(bytes);
        let sent = tokio::time::timeout(PATIENCE, sending).await;
        sent.expect("in time").expect("the other end reads");
    }

    /// Reads one answer: its head, then as much as its length says.
    pub(crate) async fn answer(&mut self) -> Answer {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await.expect("there is an answer"));
            }
            let head = String::from_utf8(head).expect("it is text");
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
            let mut answer = Answer {
                status: status.expect("it begins with a status"),
                head,
                body: String::new(),
            };
            let length = answer.header("content-length").unwrap_or("0");
            let mut body = vec![0; length.parse().expect("it is a number")];
            self.stream.read_exact(&mut body).await.expect("a body");
            answer.body = String::from_utf8(body).expect("it is text");
            answer
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("in time")
    }
}

/// Hands its calls to the test.
pub(crate) struct Target(mpsc::Sender<MethodCall>);

impl Target {
    pub(crate) fn register(world: &World, identity: Identity) -> mpsc::Receiver<MethodCall> {
        let (calls, kept) = mpsc::channel(8);
        let target = Arc::new(Self(calls));
        world.hub.methods().register(identity, target);
        kept
    }
}

impl MethodTarget for Target {
    fn call(&self, call: MethodCall) {
        self.0.try_send(call).expect("the test takes them");
    }
}

/// Answers at once, with what it was asked.
pub(crate) struct EchoTarget;

impl MethodTarget for EchoTarget {
    fn call(&self, call: MethodCall) {
        let payload = format!(r#"{{"name":"{}","got":{}}}"#, call.name, call.payload);
        let status = 207;
        call.answer(Ok(MethodResponse { status, payload }));
    }
}

/// Sends back what it gets, and tells the test who came.
pub(crate) struct EchoHead {
    pub(crate) name: &'static str,
    pub(crate) came: mpsc::Sender<Peer>,
}

impl EchoHead {
    pub(crate) fn new(name: &'static str) -> (Arc<Self>, mpsc::Receiver<Peer>) {
        let (came, peers) = mpsc::channel(64);
        (Arc::new(Self { name, came }), peers)
    }
}

impl StreamHead for EchoHead {
    fn protocol(&self) -> &str {
        self.name
    }

    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving {
        let came = self.came.clone();
        Box::pin(async move {
            came.send(peer).await.expect("the test listens");
            let (mut read, mut write) = tokio::io::split(stream);
            // The other end may leave in any way it likes.
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        })
    }
}
