//! AMQP: a message from a client through the hub and back to a client, on the disk before it is accepted; and what
//! the same library does as a bare relay, which keeps nothing. A backlog of a child, drained into its parent.
//!
//! Both relays are in this process, over TCP on loopback without TLS, with the same two clients.

mod support;

use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_amqp::{AmqpHead, Limits};
use edge_core::{DeviceId, EndpointId, Identity, MessageBuilder, ModuleId, Priority};
use edge_heads::HeadConfig;
use edge_hub::{Hub, HubConfig};
use edge_identity::{Peer, PeerAddress, Registry};
use edge_route::{Mode, RouteTable};
use edge_store::{Commit, FileLog, FileLogConfig, MessageLog, Seq, Visible};
use fe2o3_amqp::acceptor::{ConnectionAcceptor, LinkAcceptor, LinkEndpoint, SessionAcceptor};
use fe2o3_amqp::link::{CreditMode, Receiver, Sender};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Session};
use fe2o3_amqp_types::messaging::{ApplicationProperties, Body, Data, Message, Outcome};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Value};
use support::{Bench, Goal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

const BODY: usize = 256;
/// Messages of a client without an outcome.
const WINDOW: usize = 400;
const EVENTS: &str = "/devices/d/modules/m/messages/events";
const PATIENCE: Duration = Duration::from_secs(300);

fn module() -> Identity {
    let device = DeviceId::new("d").expect("an id");
    Identity::Module(device, ModuleId::new("m").expect("an id"))
}

fn message() -> Message<Data> {
    let mut properties = ApplicationProperties::default();
    let output = SimpleValue::String("o".to_owned());
    properties.0.insert("iothub-outputname".to_owned(), output);
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: None,
        application_properties: Some(properties),
        body: Data(Binary::from(vec![b'x'; BODY])),
        footer: None,
    }
}

/// Seconds that so many messages take from one link to the other.
async fn relay(address: std::net::SocketAddr, password: Option<String>, count: usize) -> f64 {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("TCP");
    let builder = Connection::builder().container_id("bench");
    let mut connection = match password {
        Some(password) => {
            let username = "d/m@sas.hub".to_owned();
            let profile = SaslProfile::Plain { username, password };
            builder.sasl_profile(profile).open_with_stream(stream).await
        }
        None => builder.open_with_stream(stream).await,
    }
    .expect("it opens");
    let mut session = Session::begin(&mut connection).await.expect("it begins");
    let mut sender = Sender::attach(&mut session, "sender", EVENTS)
        .await
        .expect("it attaches");
    let mut receiver = Receiver::builder()
        .name("receiver")
        .source(EVENTS)
        .credit_mode(CreditMode::Auto(1_000))
        .attach(&mut session)
        .await
        .expect("it attaches");
    let begin = Instant::now();
    let receiving = tokio::spawn(async move {
        let mut infos = Vec::new();
        let mut received = 0;
        while received < count {
            let delivery = receiver.recv::<Body<Value>>().await.expect("a message");
            received += 1;
            infos.push(delivery.into_parts().0);
            if infos.len() == 50 || received == count {
                receiver
                    .accept_all(std::mem::take(&mut infos))
                    .await
                    .expect("it is accepted");
            }
        }
        receiver
    });
    let (outcomes, mut waiting) = mpsc::channel(WINDOW);
    let settling = tokio::spawn(async move {
        while let Some(outcome) = waiting.recv().await {
            let outcome: Result<Outcome, _> = tokio::time::timeout(PATIENCE, outcome)
                .await
                .expect("an outcome");
            assert!(matches!(outcome, Ok(Outcome::Accepted(_))), "{outcome:?}");
        }
    });
    for _ in 0..count {
        let outcome = sender.send_batchable(message()).await.expect("it is sent");
        outcomes.send(outcome).await.expect("it is waited for");
    }
    drop(outcomes);
    settling.await.expect("all have an outcome");
    let receiver = receiving.await.expect("all came");
    let seconds = begin.elapsed().as_secs_f64();
    drop(receiver);
    let _ = connection.close().await;
    seconds
}

/// A relay by the library alone: what comes on one link goes out on the other, then it is accepted.
async fn bare(listener: TcpListener) {
    let (stream, _) = listener.accept().await.expect("a client");
    stream.set_nodelay(true).expect("TCP");
    let acceptor = ConnectionAcceptor::new("bare");
    let mut connection = acceptor.accept(stream).await.expect("it opens");
    let mut session = SessionAcceptor::new()
        .accept(&mut connection)
        .await
        .expect("it begins");
    let links = LinkAcceptor::new();
    let (mut sender, mut receiver) = (None, None);
    while sender.is_none() || receiver.is_none() {
        match links.accept(&mut session).await.expect("it attaches") {
            LinkEndpoint::Sender(link) => sender = Some(link),
            LinkEndpoint::Receiver(link) => receiver = Some(link),
        }
    }
    let (mut sender, mut receiver) = (sender.expect("both"), receiver.expect("both"));
    receiver.set_credit_mode(CreditMode::Auto(512));
    let _ = receiver.set_credit(512).await;
    let mut infos = Vec::new();
    let (outcomes, mut waiting) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(outcome) = waiting.recv().await {
            // One that fails is missing at the client, which says so.
            let _: Result<Result<Outcome, _>, _> = tokio::time::timeout(PATIENCE, outcome).await;
        }
    });
    loop {
        let Ok(delivery) = receiver.recv::<Body<Value>>().await else {
            return;
        };
        let mut next = Some(delivery);
        while let Some(delivery) = next.take() {
            let (info, message) = delivery.into_parts();
            infos.push(info);
            let Ok(outcome) = sender.send_batchable(message).await else {
                return;
            };
            if outcomes.send(outcome).is_err() {
                return;
            }
            if infos.len() < 100
                && let Some(Ok(more)) =
                    futures_util::FutureExt::now_or_never(receiver.recv::<Body<Value>>())
            {
                next = Some(more);
            }
        }
        if receiver
            .accept_all(std::mem::take(&mut infos))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// The hub on a log on disk, which leads the module's output to its input.
async fn hub(listener: TcpListener, dir: &Path, closing: watch::Receiver<bool>) -> String {
    let (log, _) = FileLog::open_dir(dir, FileLogConfig::default()).expect("it opens");
    let log: Arc<dyn MessageLog> = Arc::new(log);
    let device = DeviceId::new("d").expect("an id");
    let hub = Hub::new(HubConfig::new(device.clone()), log.clone());
    let text = r#"FROM /messages/modules/m/outputs/o INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
    hub.set_routes(
        RouteTable::new(vec![support::route(text, Mode::Compat)]),
        None,
    );
    let registry = Registry::open(log).expect("it opens");
    let now = hub.now();
    registry
        .ensure(&Identity::Device(device), now)
        .expect("it is made");
    let (entry, _) = registry.ensure(&module(), now).expect("it is made");
    let key = entry.auth.keys().expect("it has keys").primary.base64();
    let head = AmqpHead::new(HeadConfig::new(hub, registry, closing), Limits::default());
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            stream.set_nodelay(true).expect("TCP");
            tokio::spawn(head.serve(stream, Peer::plain(PeerAddress::Tcp(from))));
        }
    });
    key.to_string()
}

fn relays(bench: &Bench) {
    let case = format!("relay of {BODY} B, {WINDOW} in flight");
    if !bench.wants(&case) {
        return;
    }
    let count = if bench.quick { 20_000 } else { 300_000 };
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("starts");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let [mut hubs, mut bares, mut ratios] = [(); 3].map(|()| Vec::new());
    #[allow(clippy::cast_precision_loss, reason = "figures")]
    let rate = |seconds: f64| count as f64 / seconds;
    for round in 0..bench.repetitions(5) {
        tokio.block_on(async {
            let (_open, closing) = watch::channel(false);
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("a port");
            let dir = scratch.path().join(round.to_string());
            let password = hub(listener, &dir, closing).await;
            hubs.push(rate(relay(address, Some(password), count).await));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("a port");
            tokio::spawn(bare(listener));
            bares.push(rate(relay(address, None, count).await));
        });
        if let (Some(hub), Some(bare)) = (hubs.last(), bares.last()) {
            ratios.push(hub / bare);
        }
    }
    bench.figure(&case, "hub", "msg/s", &hubs, Goal::None);
    bench.figure(&case, "bare", "msg/s", &bares, Goal::None);
    bench.figure(&case, "hub/bare", "", &ratios, Goal::AtLeast(0.5));
}

/// Memory that may come after the first tenth of what is drained, in megabytes: it does not grow with what waits.
const FLAT: f64 = 16.0;

/// A daemon that ends with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn start(dir: &Path, settings: &str) -> Self {
        let config = dir.join("config.toml");
        std::fs::create_dir_all(dir).expect("a folder");
        std::fs::write(&config, settings).expect("it is written");
        let child = Command::new(env!("CARGO_BIN_EXE_edge"))
            .args(["daemon", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(dir.join("data"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).expect("a file"))
            .spawn()
            .expect("it starts");
        let begin = Instant::now();
        while !std::fs::read_to_string(dir.join("log")).is_ok_and(|log| log.contains("edge: ready"))
        {
            assert!(begin.elapsed() < PATIENCE, "not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(child)
    }

    /// Ends it in order.
    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// Megabytes.
    fn memory(&self) -> f64 {
        support::process::megabytes(self.0.id(), "smaps_rollup", "Pss:")
    }
}

fn edge(dir: &Path, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_edge"))
        .args(words)
        .env("EDGE_DATA_DIR", dir.join("data"))
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {told}");
    String::from_utf8(output.stdout).expect("text")
}

/// Puts messages for upstream into the store of a daemon that does not run.
fn fill(store: &Path, device: &str, count: u64) {
    let (log, _) = FileLog::open_dir(store, FileLogConfig::default()).expect("it opens");
    let log = Arc::new(log);
    let device = DeviceId::new(device).expect("an id");
    let hub = Hub::new(HubConfig::new(device.clone()), log.clone());
    let queue = hub.queue(&EndpointId::Upstream, Priority::DEFAULT);
    let mut sender = hub.sender(Identity::Device(device));
    let mut commit = Commit::new();
    for n in 1..=count {
        let content = MessageBuilder::new(vec![b'x'; BODY])
            .property("n", &n.to_string())
            .build();
        sender
            .stage_for(&mut commit, queue, content, None, hub.now())
            .expect("it is taken");
        if n % 100 == 0 || n == count {
            hub.commit(&mut commit).expect("it is committed");
        }
    }
    log.close().expect("it closes");
}

/// That all are there, in order.
fn check(store: &Path, count: u64) {
    let (log, _) = FileLog::open_dir(store, FileLogConfig::default()).expect("it opens");
    let mut queues = log.queues().into_iter();
    let queue = queues.find(|queue| queue.endpoint == EndpointId::Upstream);
    let queue = queue.expect("it is there").id;
    let (mut from, mut next, mut entries) = (Seq(1), 1u64, Vec::new());
    loop {
        log.read(queue, from, 1_000, Visible::Durable, &mut entries);
        let Some(last) = entries.last() else { break };
        from = last.seq.next();
        for entry in entries.drain(..) {
            let number = entry.message.content.properties.get("n");
            assert_eq!(number, Some(next.to_string().as_str()), "out of order");
            next += 1;
        }
    }
    assert_eq!(next, count + 1, "some are missing");
    log.close().expect("it closes");
}

/// A parent that runs, and the settings of its child.
struct Family {
    parent: Daemon,
    port: u16,
    parent_dir: PathBuf,
    child_dir: PathBuf,
    offline: String,
    online: String,
}

impl Family {
    fn new(dir: &Path) -> Self {
        let (parent_dir, child_dir) = (dir.join("parent"), dir.join("child"));
        let taken = StdListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("a port").port();
        drop(taken);
        let base = "metrics.listen = \"off\"\nmqtt.listen = \"off\"\nhttps.listen = \"off\"\n\
                    containers.socket = \"off\"\nhub.time-to-live = \"24h\"\nstore.limit = \"4GiB\"\n";
        let settings = format!("{base}amqp.listen = \"127.0.0.1:{port}\"\n");
        let parent = Daemon::start(&parent_dir, &settings);
        let manifest = parent_dir.join("manifest.json");
        let routes = serde_json::json!({"modulesContent": {
            "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {}}},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1",
                "routes": {"up": "FROM /messages/* INTO $upstream"}}},
        }});
        std::fs::write(&manifest, routes.to_string()).expect("it is written");
        edge(&parent_dir, &["apply", &manifest.display().to_string()]);
        let secret = edge(&parent_dir, &["identity", "add", "child"]);
        for module in ["child/$edgeAgent", "child/$edgeHub"] {
            edge(&parent_dir, &["identity", "add", module]);
        }
        let bundle = edge(&parent_dir, &["certificates", "--bundle"]);
        std::fs::create_dir_all(&child_dir).expect("a folder");
        std::fs::write(child_dir.join("secret"), secret).expect("it is written");
        std::fs::write(child_dir.join("bundle"), bundle).expect("it is written");
        let offline = format!("{base}amqp.listen = \"off\"\ndevice.name = \"child\"\n");
        let online = format!(
            "{offline}upstream.kind = \"amqp\"\nupstream.port = {port}\n\
             upstream.connection-string-file = \"{}\"\nupstream.trusted = [\"{}\"]\n",
            child_dir.join("secret").display(),
            child_dir.join("bundle").display()
        );
        Self {
            parent,
            port,
            parent_dir,
            child_dir,
            offline,
            online,
        }
    }
}

/// Bytes that have passed a child's connection, both ways, with the heads of TCP and IP.
fn passed(port: u16) -> f64 {
    let output = Command::new("ss")
        .args(["-tinH", "dport", "=", &port.to_string()])
        .output()
        .expect("ss is there");
    let text = String::from_utf8(output.stdout).expect("text");
    let number = |name: &str| {
        let mut words = text.split_whitespace();
        let found = words.find_map(|word| word.strip_prefix(name));
        found.and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    // IPv4 with time stamps: 52 bytes a segment.
    let segments = number("segs_out:") + number("segs_in:");
    number("bytes_sent:") + number("bytes_received:") + 52.0 * segments
}

fn idle(bench: &Bench) {
    let case = "idle link of a device with a parent";
    if !bench.wants(case) {
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let family = Family::new(scratch.path());
    let _child = Daemon::start(&family.child_dir, &family.online);
    // Whatever a new connection has to say.
    std::thread::sleep(Duration::from_secs(5));
    let before = passed(family.port);
    // Heartbeats come every 100 and 120 s.
    let span = Duration::from_secs(if bench.quick { 10 } else { 600 });
    std::thread::sleep(span);
    let bytes = passed(family.port) - before;
    let a_day = bytes / span.as_secs_f64() * 86_400.0 / 1e3;
    bench.figure(case, "a day", "kB", &[a_day], Goal::None);
}

fn drain(bench: &Bench) {
    let count: u64 = if bench.quick { 50_000 } else { 1_000_000 };
    let case = format!("{count} of {BODY} B, drained into a parent");
    if !bench.wants(&case) {
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut rates = Vec::new();
    // Megabytes beyond the most that it had while the first tenth was under way: the child, the parent.
    let mut later = [(); 2].map(|()| Vec::new());
    for round in 0..bench.repetitions(3) {
        let dir = scratch.path().join(round.to_string());
        let family = Family::new(&dir);
        let Family {
            parent,
            parent_dir,
            child_dir,
            ..
        } = &family;
        // It makes its store, which is then filled.
        Daemon::start(child_dir, &family.offline).stop();
        fill(&child_dir.join("data/store"), "child", count);
        let begin = Instant::now();
        let child = Daemon::start(child_dir, &family.online);
        let mut most = [[0.0f64; 2]; 2];
        let waiting = |dir: &Path| {
            let queues: serde_json::Value =
                serde_json::from_str(&edge(dir, &["queues", "--json"])).expect("JSON");
            let queues = queues.as_array().expect("a list").iter();
            queues
                .filter_map(|queue| queue["depth"].as_u64())
                .sum::<u64>()
        };
        loop {
            let left = waiting(child_dir);
            if left == 0 {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "not drained");
            let part = usize::from(left < count - count / 10);
            for (most, daemon) in most.iter_mut().zip([&child, parent]) {
                most[part] = most[part].max(daemon.memory());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        #[allow(clippy::cast_precision_loss, reason = "figures")]
        rates.push(count as f64 / begin.elapsed().as_secs_f64());
        for (later, [first, rest]) in later.iter_mut().zip(most) {
            // A short one may be over before it is looked at.
            if first > 0.0 {
                later.push((rest - first).max(0.0));
            }
        }
        let store = parent_dir.join("data/store");
        child.stop();
        family.parent.stop();
        check(&store, count);
    }
    bench.figure(&case, "rate", "msg/s", &rates, Goal::AtLeast(50_000.0));
    for (who, later) in ["child", "parent"].iter().zip(&later) {
        bench.figure(&case, who, "MB more", later, Goal::AtMost(FLAT));
    }
}

fn main() {
    let bench = Bench::new("amqp");
    relays(&bench);
    drain(&bench);
    idle(&bench);
}
