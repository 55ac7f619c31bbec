//! Over real TLS handshakes in memory, with a clock that is set.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use edge_core::{DeviceId, Identity};
use edge_store::MemoryLog;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConnection, SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::files::certificates_pem;
use super::*;
use crate::{Credential, NewAuth, Registry, Thumbprint};

mod clients;
mod files;
mod given;
mod swap;

/// 2027-01-15T08:00:00Z in seconds.
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;

#[derive(Debug)]
struct TestClock(AtomicU64);

impl TestClock {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        time(self.0.load(Ordering::SeqCst))
    }
}

impl TimeProvider for TestClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::SeqCst);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn time(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000_000)
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(NOW)))
}

fn config(dir: &Path, clock: &Arc<TestClock>) -> AuthorityConfig {
    AuthorityConfig {
        names: vec!["edgehub".to_owned(), "10.1.2.3".to_owned()],
        clock: clock.clone(),
        ..AuthorityConfig::own(dir, "edgegw")
    }
}

/// An authority of its own in a fresh directory.
fn own() -> (TempDir, Arc<TestClock>, Arc<Authority>) {
    let dir = TempDir::new().unwrap();
    let clock = clock();
    let authority = Authority::open(config(dir.path(), &clock), clock.now()).unwrap();
    (dir, clock, authority)
}

/// A client that trusts a bundle, and shows a certificate if it has one.
fn client(
    bundle: &str,
    clock: &Arc<TestClock>,
    version: &'static SupportedProtocolVersion,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, clock.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    // A resumed session shows no new certificate.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Two ends of a connection.
struct Connection {
    client: ClientConnection,
    server: ServerConnection,
}

impl Connection {
    /// Shakes hands; the error of whichever end refuses.
    fn open(
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<Self, rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = Self {
            client: ClientConnection::new(client.clone(), name)?,
            server: ServerConnection::new(server.clone())?,
        };
        while connection.client.is_handshaking() || connection.server.is_handshaking() {
            connection.pass()?;
        }
        connection.pass()?;
        Ok(connection)
    }

    /// Carries what either end has to say.
    fn pass(&mut self) -> Result<(), rustls::Error> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).unwrap();
            self.server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Whether the client's words reach the server.
    fn works(&mut self) -> bool {
        use std::io::{Read as _, Write as _};
        self.client.writer().write_all(b"hello").unwrap();
        self.pass().unwrap();
        let mut heard = [0; 5];
        self.server.reader().read_exact(&mut heard).unwrap();
        heard == *b"hello"
    }

    fn server_certificate(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0].clone()
    }
}

#[test]
fn clients_with_the_bundle_connect_by_every_name_and_version() {
    let (_dir, clock, authority) = own();
    let bundle = authority.trust_bundle();
    for version in [&TLS12, &TLS13] {
        let client = client(&bundle, &clock, version, None);
        for name in [
            "edgegw",
            "edgehub",
            "10.1.2.3",
            "localhost",
            "127.0.0.1",
            "::1",
        ] {
            let mut connection =
                Connection::open(&authority.server_config(), &client, name).unwrap();
            assert!(connection.works(), "{name}");
            assert!(connection.server.peer_certificates().is_none());
        }
        for name in ["edgegw.example", "other", "10.1.2.4"] {
            let refused = Connection::open(&authority.server_config(), &client, name);
            assert!(refused.is_err(), "{name}");
        }
    }
}

#[test]
fn the_bundle_is_one_root_and_the_server_sends_what_is_between() {
    let (_dir, clock, authority) = own();
    let bundle = authority.trust_bundle();
    let roots: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes())
        .map(Result::unwrap)
        .collect();
    assert_eq!(roots.len(), 1);
    assert!(parse::is_self_signed(&roots[0]));
    let chain = authority.server_chain();
    assert_eq!(chain.len(), 2);
    assert!(parse::is_issued_by(&chain[0], &chain[1]));
    assert!(parse::is_issued_by(&chain[1], &roots[0]));
    // With its leaf alone the server would be refused by these same clients.
    let served = authority.inner.served();
    let key = CertifiedKey::new(chain[..1].to_vec(), served.key.key.clone());
    let leaf_only = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    let client = client(&bundle, &clock, &TLS12, None);
    assert!(Connection::open(&Arc::new(leaf_only), &client, "edgegw").is_err());
    assert!(Connection::open(&authority.server_config(), &client, "edgegw").is_ok());
}

#[test]
fn cas_are_valid_from_1970_to_9999_and_leaves_for_90_days() {
    let (_dir, _clock, authority) = own();
    let chain = authority.server_chain();
    let bundle = authority.trust_bundle();
    let root = CertificateDer::from_pem_slice(bundle.as_bytes()).unwrap();
    for ca in [&root, &chain[1]] {
        let (_, read) = x509_parser::parse_x509_certificate(ca).unwrap();
        assert_eq!(read.validity.not_before.timestamp(), 0);
        assert_eq!(
            read.validity.not_after.timestamp(),
            253_402_300_799 // 9999-12-31T23:59:59Z
        );
    }
    let leaf = validity(&chain[0]).unwrap();
    assert_eq!(leaf.from, time(NOW - DAY));
    assert_eq!(leaf.to, time(NOW + 90 * DAY));
    assert_eq!(authority.expires(), leaf.to);
}

#[test]
fn debug_output_names_no_key() {
    let (dir, _clock, authority) = own();
    let key = fs::read_to_string(dir.path().join("server.key")).unwrap();
    let line = key.lines().nth(1).unwrap();
    let shown = format!("{authority:?} {:?}", authority.server_config());
    assert!(!shown.contains(line), "{shown}");
    assert!(format!("{authority:?}").len() < 200);
}
