//! Over real sockets, as the SDKs spell their requests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_hub::SystemClock;
use edge_identity::Which;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::support::{Answer, Client, PATIENCE, World, authority, eventually, module};

struct Device {
    dir: TempDir,
    world: World,
    server: WorkloadServer,
}

impl Device {
    fn new() -> Self {
        let (dir, world) = (TempDir::new().expect("dir"), World::new());
        let agent = module("$edgeAgent");
        let made = world.registry.ensure(&agent, world.hub.now());
        made.expect("it is new");
        let workload = Workload::new(world.registry.clone(), authority(&dir));
        let server = WorkloadServer::new(WorkloadConfig {
            workload: Arc::new(workload),
            device: world.hub.device().clone(),
            clock: Arc::new(SystemClock),
            manifest_trust_bundle: None,
        });
        Self { dir, world, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("workload/{name}.sock"))
    }

    fn open(&self, name: &str) -> WorkloadSocket {
        let Identity::Module(_, id) = module(name) else {
            panic!("it is a module");
        };
        let socket = self.server.open(&self.path(name), &id, 0o600);
        socket.expect("its place is free")
    }

    async fn connect(&self, name: &str) -> Client<UnixStream> {
        let stream = UnixStream::connect(self.path(name)).await;
        Client::over(stream.expect("it listens"))
    }

    fn generation(&self, name: &str) -> String {
        let entry = self.world.registry.get(&module(name));
        entry.expect("it is there").generation.to_string()
    }

    /// A call of a module about itself.
    async fn call(&self, name: &str, call: &str, body: &Value) -> Answer {
        let generation = self.generation(name);
        let path = format!("/modules/{name}/genid/{generation}/{call}");
        let mut client = self.connect(name).await;
        client
            .request(&python("POST", &path), &body.to_string())
            .await
    }
}

/// A request as Python's SDK spells it, up to its length: no content type.
fn python(method: &str, path: &str) -> String {
    format!(
        "{method} {path}?api-version=2018-06-28 HTTP/1.1\r\nHost: localhost\r\n\
         User-Agent: azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%29\r\n\
         Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n"
    )
}

/// The same as Node's spells it.
fn node(method: &str, path: &str) -> String {
    format!(
        "{method} {path}?api-version=2018-06-28 HTTP/1.1\r\nContent-Type: application/json\r\n\
         Request-Id: 1fd0e4f8-16a3-4217-aa08-3de04fff3056\r\nHost: localhost\r\n\
         User-Agent: azure-iot-device/1.18.4\r\nConnection: close\r\n"
    )
}

const DATA: &str = "hub1.azure-devices.net%2Fdevices%2Fedge1%2Fmodules%2Fmod1\n1795292852";

fn to_sign() -> Value {
    json!({"keyId": "primary", "algo": "HMACSHA256", "data": STANDARD.encode(DATA)})
}

fn digest(device: &Device, name: &str) -> String {
    let entry = device.world.registry.get(&module(name));
    let entry = entry.expect("it is there");
    let keys = entry.auth.keys().expect("it has keys");
    STANDARD.encode(keys.primary.sign(&[DATA.as_bytes()]))
}

#[tokio::test]
async fn a_module_gets_what_both_sdks_need_to_connect() {
    let device = Device::new();
    let _socket = device.open("mod1");
    let generation = device.generation("mod1");
    let path = format!("/modules/mod1/genid/{generation}/sign");
    let body = to_sign().to_string();
    let mut kept = device.connect("mod1").await;
    let bundle = kept.request(&python("GET", "/trust-bundle"), "").await;
    assert_eq!(bundle.status, 200);
    let certificate = bundle.json()["certificate"].clone();
    let certificate = certificate.as_str().expect("it is text");
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    let signed = kept.request(&python("POST", &path), &body).await;
    assert_eq!(signed.status, 200, "{signed:?}");
    assert_eq!(signed.json(), json!({"digest": digest(&device, "mod1")}));
    let mut client = device.connect("mod1").await;
    let signed = client.request(&node("POST", &path), &body).await;
    assert_eq!(signed.json(), json!({"digest": digest(&device, "mod1")}));
}

#[tokio::test]
async fn names_in_paths_are_decoded() {
    let device = Device::new();
    let _socket = device.open("$edgeAgent");
    let generation = device.generation("$edgeAgent");
    let encoded: String = generation.bytes().map(|b| format!("%{b:02x}")).collect();
    let mut client = device.connect("$edgeAgent").await;
    for path in [
        format!("/modules/%24edgeAgent/genid/{generation}/sign"),
        format!("/modules/$edgeAgent/genid/{encoded}/sign"),
    ] {
        let signed = client
            .request(&python("POST", &path), &to_sign().to_string())
            .await;
        let expected = json!({"digest": digest(&device, "$edgeAgent")});
        assert_eq!(signed.json(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_socket_answers_about_its_own_module_and_generation_only() {
    let device = Device::new();
    let _socket = device.open("mod1");
    let body = to_sign().to_string();
    let mut client = device.connect("mod1").await;
    let (own, other) = (device.generation("mod1"), device.generation("mod2"));
    for (path, status) in [
        (format!("/modules/mod2/genid/{other}/sign"), 403),
        (format!("/modules/MOD1/genid/{own}/sign"), 403),
        (format!("/modules/mod2/genid/{other}/encrypt"), 403),
        (format!("/modules/mod2/genid/{other}/decrypt"), 403),
        (
            format!("/modules/mod2/genid/{other}/certificate/server"),
            403,
        ),
        ("/modules/mod2/certificate/identity".to_owned(), 403),
        (format!("/modules/mod1/genid/{other}/sign"), 404),
        ("/modules/mod1/genid/0/sign".to_owned(), 404),
        (format!("/modules/mo%20d/genid/{own}/sign"), 400),
        (format!("/modules/mod1/genid/{own}/shout"), 404),
        ("/identities".to_owned(), 404),
        ("/trust-bundle".to_owned(), 405),
    ] {
        let answer = client.request(&python("POST", &path), &body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.message().is_empty());
    }
    // What was asked for before its identity was made anew is another module.
    let (registry, now) = (&device.world.registry, device.world.hub.now());
    registry.remove(&module("mod1")).expect("it is there");
    registry.ensure(&module("mod1"), now).expect("it is gone");
    let path = format!("/modules/mod1/genid/{own}/sign");
    assert_eq!(
        client.request(&python("POST", &path), &body).await.status,
        404
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_get_400_and_large_ones_413() {
    let device = Device::new();
    let _socket = device.open("mod1");
    for (call, body) in [
        ("sign", json!({})),
        (
            "sign",
            json!({"keyId": "primary", "algo": "HMACSHA256", "data": "no base64!"}),
        ),
        (
            "sign",
            json!({"keyId": "tertiary", "algo": "HMACSHA256", "data": ""}),
        ),
        (
            "sign",
            json!({"keyId": "primary", "algo": "MD5", "data": ""}),
        ),
        ("encrypt", json!({"plaintext": "eA=="})),
        (
            "encrypt",
            json!({"plaintext": "eA==", "initializationVector": ""}),
        ),
        (
            "decrypt",
            json!({"ciphertext": "eA==", "initializationVector": "eA=="}),
        ),
        ("certificate/server", json!({"expiration": "tomorrow"})),
        (
            "certificate/server",
            json!({"expiration": "2001-01-01T00:00:00Z"}),
        ),
    ] {
        let answer = device.call("mod1", call, &body).await;
        assert_eq!(answer.status, 400, "{call} {body}: {answer:?}");
        assert!(!answer.message().is_empty());
    }
    let large = json!({"plaintext": "x".repeat(2 << 20), "initializationVector": "eA=="});
    assert_eq!(device.call("mod1", "encrypt", &large).await.status, 413);
    let mut client = device.connect("mod1").await;
    let old = "GET /trust-bundle?api-version=2017-01-01 HTTP/1.1\r\nHost: x\r\n";
    assert_eq!(client.request(old, "").await.status, 400);
    let newer = "GET /trust-bundle?api-version=2030-01-01 HTTP/1.1\r\nHost: x\r\n";
    assert_eq!(client.request(newer, "").await.status, 200);
    let none = "GET /trust-bundle HTTP/1.1\r\nHost: x\r\n";
    assert_eq!(client.request(none, "").await.status, 200);
}

#[tokio::test]
async fn what_is_encrypted_is_decrypted_for_the_same_module_only() {
    let device = Device::new();
    let _sockets = [device.open("mod1"), device.open("mod2")];
    let vector = STANDARD.encode("vector");
    let plain = json!({"plaintext": STANDARD.encode("secret"), "initializationVector": vector});
    let sealed = device.call("mod1", "encrypt", &plain).await;
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let ciphertext = sealed.json()["ciphertext"].clone();
    let sealed = json!({"ciphertext": ciphertext, "initializationVector": vector});
    let opened = device.call("mod1", "decrypt", &sealed).await;
    assert_eq!(
        opened.json(),
        json!({"plaintext": STANDARD.encode("secret")})
    );
    assert_eq!(device.call("mod2", "decrypt", &sealed).await.status, 400);
}

#[tokio::test]
async fn certificates_are_made_as_asked() {
    let device = Device::new();
    let _socket = device.open("mod1");
    let asked = json!({"commonName": "edgegw", "expiration": "2001-01-01T00:00:00Z"});
    let past = device.call("mod1", "certificate/server", &asked).await;
    assert_eq!(past.status, 400);
    let ends = SystemClock
        .now()
        .after(std::time::Duration::from_secs(3_600));
    let ends = edge_core::Timestamp(ends.0 / 1_000_000_000 * 1_000_000_000).to_string();
    let asked = json!({"commonName": "edgegw", "expiration": ends});
    let made = device.call("mod1", "certificate/server", &asked).await;
    check_certificate(&made);
    assert_eq!(made.json()["expiration"], json!(ends));
    let mut client = device.connect("mod1").await;
    let path = python("POST", "/modules/mod1/certificate/identity");
    for body in ["", "{}", r#"{"expiration":""}"#] {
        check_certificate(&client.request(&path, body).await);
    }
}

fn check_certificate(answer: &Answer) {
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    assert_eq!(made["privateKey"]["type"], "key");
    assert!(text(&made["privateKey"]["bytes"]).contains("PRIVATE KEY-----"));
    let chain = text(&made["certificate"]);
    assert!(chain.matches("-----BEGIN CERTIFICATE-----").count() >= 2);
    assert!(time::parse(&text(&made["expiration"])).is_some());
}

#[tokio::test]
async fn modules_of_the_device_are_listed_and_keys_are_not() {
    let device = Device::new();
    let _socket = device.open("mod1");
    let mut client = device.connect("mod1").await;
    let list = client.request(&python("GET", "/modules"), "").await;
    let list = list.json();
    let modules = list["modules"].as_array().expect("a list");
    let names: Vec<_> = modules.iter().map(|m| m["name"].as_str()).collect();
    let expected = ["$edgeAgent", "$edgeHub", "mod1", "mod2"].map(Some);
    assert_eq!(names, expected);
    let fields = modules[2].as_object().expect("an object");
    assert_eq!(fields.len(), 3, "{fields:?}");
    assert_eq!(fields["generationId"], json!(device.generation("mod1")));
}

#[tokio::test]
async fn the_bundle_for_manifests_is_there_if_it_is_set() {
    let mut device = Device::new();
    let socket = device.open("mod1");
    let get = python("GET", "/manifest-trust-bundle");
    let mut client = device.connect("mod1").await;
    assert_eq!(client.request(&get, "").await.status, 404);
    socket.close().await;
    let config = WorkloadConfig {
        manifest_trust_bundle: Some("PEM".into()),
        ..(*device.server.config).clone()
    };
    device.server = WorkloadServer::new(config);
    let _socket = device.open("mod1");
    let mut client = device.connect("mod1").await;
    let answer = client.request(&get, "").await;
    assert_eq!(answer.json(), json!({"certificate": "PEM"}));
}

#[tokio::test]
async fn keys_that_were_replaced_sign_at_once() {
    let device = Device::new();
    let _socket = device.open("mod1");
    let before = device.call("mod1", "sign", &to_sign()).await;
    let now = device.world.hub.now();
    let rotated = device
        .world
        .registry
        .rotate(&module("mod1"), Which::Primary, now);
    rotated.expect("it has keys");
    let after = device.call("mod1", "sign", &to_sign()).await;
    assert_ne!(before.json(), after.json());
    assert_eq!(after.json(), json!({"digest": digest(&device, "mod1")}));
}

#[tokio::test]
async fn on_loopback_the_path_says_who_asks() {
    let device = Device::new();
    let any = ([127, 0, 0, 1], 0).into();
    let socket = device.server.listen(any).await.expect("a port");
    let address = socket.address().expect("it is TCP");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut client = Client::over(stream);
    let body = to_sign().to_string();
    for name in ["mod1", "mod2"] {
        let path = format!("/modules/{name}/genid/{}/sign", device.generation(name));
        let signed = client.request(&python("POST", &path), &body).await;
        assert_eq!(signed.json(), json!({"digest": digest(&device, name)}));
    }
    let nobody = python("POST", "/modules/nobody/genid/1/sign");
    assert_eq!(client.request(&nobody, &body).await.status, 404);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:15581"] {
        let address = address.parse().expect("an address");
        let refused = device.server.listen(address).await;
        assert!(matches!(refused, Err(WorkloadListenError::NotLoopback(_))));
    }
}

#[tokio::test]
async fn the_file_of_a_socket_has_its_mode_gives_way_and_goes() {
    let device = Device::new();
    let path = device.path("mod1");
    let first = device.open("mod1");
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // As after a kill: the file stays, and nobody listens.
    let stale = device.path("mod2");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
    let second = device.open("mod2");
    let answer = device.call("mod2", "sign", &to_sign()).await;
    assert_eq!(answer.status, 200);
    second.close().await;
    assert!(!stale.exists() && path.exists());
    drop(first);
    assert!(!path.exists());
    fs::write(&path, "mine").expect("a file");
    let Identity::Module(_, id) = module("mod1") else {
        panic!("it is a module");
    };
    let refused = device.server.open(&path, &id, 0o600);
    assert!(matches!(refused, Err(WorkloadListenError::NoSocket(_))));
    assert_eq!(fs::read(&path).expect("it stays"), b"mine");
}

#[tokio::test]
async fn requests_beyond_sixteen_wait_and_are_answered() {
    let device = Device::new();
    let asker = device.server.asker(Some(module("mod1")));
    let head = WorkloadHead::new(asker.clone());
    let connect = || Client::of(&head, Peer::plain(edge_identity::PeerAddress::Unix));
    let path = format!("/modules/mod1/genid/{}/sign", device.generation("mod1"));
    let body = to_sign().to_string();
    let begin = format!(
        "{}Content-Length: {}\r\n\r\n",
        python("POST", &path),
        body.len()
    );
    let mut busy: Vec<_> = (0..REQUESTS).map(|_| connect()).collect();
    for client in &mut busy {
        client.send(begin.as_bytes()).await;
    }
    eventually(|| asker.requests.available_permits() == 0).await;
    let mut waiting = connect();
    waiting.send(begin.as_bytes()).await;
    waiting.send(body.as_bytes()).await;
    for client in &mut busy {
        client.send(body.as_bytes()).await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(asker.requests.available_permits(), REQUESTS);
}

#[tokio::test]
async fn a_socket_that_closes_lets_the_request_under_way_end() {
    let device = Device::new();
    let socket = device.open("mod1");
    let mut client = device.connect("mod1").await;
    assert_eq!(
        client
            .request(&python("GET", "/trust-bundle"), "")
            .await
            .status,
        200
    );
    let path = format!("/modules/mod1/genid/{}/sign", device.generation("mod1"));
    let body = to_sign().to_string();
    client.begin(&python("POST", &path), &body).await;
    let closing = async {
        tokio::time::timeout(PATIENCE, socket.close())
            .await
            .expect("in time");
    };
    let asking = async {
        client.send(body.as_bytes()).await;
        client.answer().await
    };
    let ((), answer) = tokio::join!(closing, asking);
    assert_eq!(answer.status, 200);
    assert!(UnixStream::connect(device.path("mod1")).await.is_err());
}
