use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::*;
use crate::ByteStream;
use crate::support::{EchoHead, PATIENCE, authority, connect_tls, tls_client};

struct Port {
    address: SocketAddr,
    came: mpsc::Receiver<Peer>,
    closing: watch::Sender<bool>,
    running: JoinHandle<()>,
}

async fn open(tls: Option<Arc<ServerConfig>>, config: ListenerConfig) -> Port {
    let (head, came) = EchoHead::new("echo");
    let any = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind(any, tls, head, config).await;
    let listener = listener.expect("there is a port");
    let closing = watch::Sender::new(false);
    Port {
        address: listener.address().expect("it is TCP"),
        came,
        running: tokio::spawn(listener.run(closing.subscribe())),
        closing,
    }
}

impl Port {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    async fn peer(&mut self) -> Peer {
        let came = tokio::time::timeout(PATIENCE, self.came.recv()).await;
        came.expect("in time").expect("the head is there")
    }

    /// Stops it, and waits until it has.
    async fn stop(self) {
        self.closing.send_replace(true);
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("in time").expect("without a panic");
    }
}

async fn echoes(stream: &mut impl ByteStream) {
    let echoing = async {
        stream.write_all(b"hello").await.expect("sent");
        stream.flush().await.expect("sent");
        let mut echoed = [0; 5];
        stream.read_exact(&mut echoed).await.expect("echoed");
        assert_eq!(&echoed, b"hello");
    };
    tokio::time::timeout(PATIENCE, echoing)
        .await
        .expect("in time");
}

/// Waits until the other end closes.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset is an end too.
    let _ = reading.expect("in time");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn heads_learn_which_certificates_a_client_showed() {
    let dir = TempDir::new().expect("dir");
    let authority = authority(&dir);
    let tls = Some(authority.server_config());
    let mut port = open(tls, ListenerConfig::default()).await;
    for version in [&TLS12, &TLS13] {
        for name in [None, Some("edge1/mod1")] {
            let connector = tls_client(&authority, version, name);
            let mut stream = connect_tls(&connector, port.address).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), None);
            echoes(&mut stream).await;
            let peer = port.peer().await;
            assert!(peer.encrypted && !peer.websocket);
            let local = stream.get_ref().0.local_addr().expect("it is connected");
            assert_eq!(peer.address, PeerAddress::Tcp(local));
            assert_eq!(peer.certificates.is_empty(), name.is_none());
        }
    }
    port.stop().await;
}

#[tokio::test]
async fn who_connects_and_says_nothing_delays_nobody() {
    let dir = TempDir::new().expect("dir");
    let authority = authority(&dir);
    let config = ListenerConfig {
        handshakes: 1,
        // Nobody gets through because somebody else is cut off.
        handshake_timeout: 10 * PATIENCE,
        ..ListenerConfig::default()
    };
    let mut port = open(Some(authority.server_config()), config).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(port.connect().await);
    }
    let connector = tls_client(&authority, &TLS13, None);
    let mut stream = connect_tls(&connector, port.address).await;
    echoes(&mut stream).await;
    // Somebody who speaks something else is told so by TLS; it is no silence.
    let mut other = port.connect().await;
    let request = other.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    request.expect("sent");
    let mut said = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, other.read_to_end(&mut said)).await;
    // A reset is an end too.
    let _ = reading.expect("in time");
    let mut again = connect_tls(&connector, port.address).await;
    echoes(&mut again).await;
    port.peer().await;
    port.peer().await;
    assert!(port.came.try_recv().is_err(), "nobody else came through");
    echoes(&mut stream).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_about_in_time_is_cut_off() {
    let dir = TempDir::new().expect("dir");
    let config = ListenerConfig {
        handshakes: 1,
        handshake_timeout: Duration::from_millis(1),
        ..ListenerConfig::default()
    };
    let tls = Some(authority(&dir).server_config());
    let mut port = open(tls, config).await;
    let (mut silent, mut begun) = (port.connect().await, port.connect().await);
    // It may be gone already.
    let _ = begun.write_all(&[0x16, 3, 1, 0, 200, 1]).await;
    is_closed(&mut silent).await;
    is_closed(&mut begun).await;
    assert!(port.came.try_recv().is_err());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let config = ListenerConfig {
        connections: 2,
        ..ListenerConfig::default()
    };
    let mut port = open(None, config).await;
    let (mut first, mut second) = (port.connect().await, port.connect().await);
    echoes(&mut first).await;
    echoes(&mut second).await;
    let mut third = port.connect().await;
    port.peer().await;
    port.peer().await;
    echoes(&mut first).await;
    assert!(port.came.try_recv().is_err());
    drop(second);
    echoes(&mut third).await;
    let peer = port.peer().await;
    assert!(!peer.encrypted && peer.certificates.is_empty());
}

#[tokio::test]
async fn a_listener_that_stops_refuses_and_cuts_off_who_does_not_end() {
    let config = ListenerConfig {
        drain: Duration::from_millis(1),
        ..ListenerConfig::default()
    };
    let port = open(None, config).await;
    let address = port.address;
    let mut stream = port.connect().await;
    echoes(&mut stream).await;
    port.stop().await;
    is_closed(&mut stream).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let port = open(None, ListenerConfig::default()).await;
    let (head, _came) = EchoHead::new("mqtt");
    let taken = Listener::bind(port.address, None, head, ListenerConfig::default()).await;
    let error = taken.expect_err("it is taken");
    let expected = format!("listen for mqtt on {}", port.address);
    assert_eq!(
        (error.to_string(), error.is_permission()),
        (expected, false)
    );
}

/// Panics at once.
struct Broken;

impl StreamHead for Broken {
    fn protocol(&self) -> &str {
        "broken"
    }

    fn serve(&self, _: BoxedStream, _: Peer) -> crate::Serving {
        Box::pin(async { panic!("as it should in this test") })
    }
}

#[tokio::test]
async fn a_connection_that_panics_gives_its_permit_back() {
    let any = ([127, 0, 0, 1], 0).into();
    let config = ListenerConfig {
        connections: 1,
        ..ListenerConfig::default()
    };
    let listener = Listener::bind(any, None, Arc::new(Broken), config).await;
    let listener = listener.expect("there is a port");
    let address = listener.address().expect("it is TCP");
    let closing = watch::Sender::new(false);
    let running = tokio::spawn(listener.run(closing.subscribe()));
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        is_closed(&mut stream).await;
    }
    drop(closing);
    running.await.expect("the loop goes on");
}
