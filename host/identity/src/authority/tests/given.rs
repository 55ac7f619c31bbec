//! Certificates and CAs that are given as files.

use super::*;

/// Files of a CA and of a server certificate by it, as an operator brings them.
struct Given {
    dir: TempDir,
    clock: Arc<TestClock>,
    root: String,
}

impl Given {
    fn new() -> Self {
        let (dir, clock, authority) = own();
        Self {
            root: authority.trust_bundle().to_string(),
            dir,
            clock,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file of several parts.
    fn write(&self, name: &str, parts: &[&str]) -> PathBuf {
        fs::write(self.path(name), parts.concat()).unwrap();
        self.path(name)
    }

    fn open(&self, source: Source, trusted: &[PathBuf]) -> Result<Arc<Authority>, AuthorityError> {
        let config = AuthorityConfig {
            source,
            trusted: trusted.to_vec(),
            ..config(&self.path("fresh"), &self.clock)
        };
        Authority::open(config, self.clock.now())
    }

    fn ca(&self) -> Source {
        let parts = [self.read("edge-ca.pem"), self.root.clone()];
        Source::EdgeCa {
            certificate: self.write("ca-chain.pem", &[&parts[0], &parts[1]]),
            key: self.path("edge-ca.key"),
        }
    }

    fn server(&self) -> Source {
        let parts = [self.read("server.pem"), self.root.clone()];
        Source::Server {
            certificate: self.write("server-chain.pem", &[&parts[0], &parts[1]]),
            key: self.write("given.key", &[&self.read("server.key")]),
        }
    }

    fn connect(&self, authority: &Authority) -> Result<Connection, rustls::Error> {
        let client = client(&self.root, &self.clock, &TLS12, None);
        Connection::open(&authority.server_config(), &client, "edgegw")
    }
}

#[test]
fn a_given_ca_issues_for_clients_that_trust_its_root() {
    let given = Given::new();
    let authority = given.open(given.ca(), &[]).unwrap();
    assert_eq!(*authority.trust_bundle(), *given.root);
    given.connect(&authority).unwrap();
    given.clock.set(NOW + 10 * YEAR);
    given.connect(&authority).unwrap();
    assert!(!given.path("fresh/root.pem").exists());
}

#[test]
fn a_root_may_be_among_the_trusted_files_instead() {
    let given = Given::new();
    let source = Source::EdgeCa {
        certificate: given.path("edge-ca.pem"),
        key: given.path("edge-ca.key"),
    };
    let message = given.open(source.clone(), &[]).unwrap_err().to_string();
    assert!(
        message.contains("edge-ca.pem") && message.contains("no root above"),
        "{message}"
    );
    let authority = given.open(source, &[given.path("root.pem")]).unwrap();
    assert_eq!(*authority.trust_bundle(), *given.root);
    given.connect(&authority).unwrap();
}

#[test]
fn a_given_server_certificate_is_swapped_when_its_files_change() {
    let given = Given::new();
    let authority = given.open(given.server(), &[]).unwrap();
    let mut open = given.connect(&authority).unwrap();
    let same = authority.renew(given.clock.now()).unwrap();
    assert!(!same.renewed);
    assert_eq!(
        same.next,
        given.clock.now().after(Duration::from_secs(3600))
    );

    // The operator renews it.
    given.clock.set(NOW + 70 * DAY);
    Authority::open(config(given.dir.path(), &given.clock), given.clock.now()).unwrap();
    // A key without its certificate changes nothing, and is named.
    given.write("given.key", &[&given.read("server.key")]);
    let error = authority.renew(given.clock.now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Mismatch { .. }), "{error}");
    given.connect(&authority).unwrap();
    given.server();
    let renewal = authority.renew(given.clock.now()).unwrap();
    assert!(renewal.renewed);
    assert!(open.works());
    let fresh = given.connect(&authority).unwrap();
    assert_ne!(fresh.server_certificate(), open.server_certificate());
}

#[test]
fn a_given_server_certificate_issues_nothing_and_warns_when_it_ends() {
    let given = Given::new();
    let authority = given.open(given.server(), &[]).unwrap();
    let request = Issue {
        common_name: "m",
        names: &[],
        kind: Kind::Client,
        lifetime: Duration::from_secs(60),
    };
    assert!(matches!(
        authority.issue(&request, given.clock.now()),
        Err(IssueError::NoCa)
    ));
    let late = authority.renew(time(NOW + 91 * DAY)).unwrap();
    assert!(late.warning.unwrap().contains("valid from"));
}

#[test]
fn a_given_server_certificate_for_other_names_is_warned_of() {
    let given = Given::new();
    let config = AuthorityConfig {
        hostname: "gw.example".to_owned(),
        source: given.server(),
        ..config(&given.path("fresh"), &given.clock)
    };
    let authority = Authority::open(config, given.clock.now()).unwrap();
    let warning = authority.renew(given.clock.now()).unwrap().warning;
    assert!(warning.unwrap().contains("gw.example"));
}

#[test]
fn mistakes_in_given_files_are_named() {
    let given = Given::new();
    let (edge_ca, root) = (given.read("edge-ca.pem"), given.root.clone());
    let ca = |certificate: PathBuf, key: &str| Source::EdgeCa {
        certificate,
        key: given.path(key),
    };
    let message = |source: Source| given.open(source, &[]).unwrap_err().to_string();
    let whole = given.write("whole.pem", &[&edge_ca, &root]);

    let absent = message(ca(given.path("absent.pem"), "edge-ca.key"));
    assert!(absent.contains("absent.pem"), "{absent}");
    let mixed = message(ca(given.write("mixed.pem", &[&root, &edge_ca]), "root.key"));
    assert!(mixed.contains("not in order"), "{mixed}");
    let other = message(ca(whole.clone(), "server.key"));
    assert!(other.contains("is not the key of"), "{other}");
    let no_key = message(ca(whole.clone(), "root.pem"));
    assert!(no_key.contains("no private key"), "{no_key}");
    let empty = message(ca(given.write("empty.pem", &[""]), "edge-ca.key"));
    assert!(empty.contains("no certificate in it"), "{empty}");
    let leaf = given.write("leaf.pem", &[&given.read("server.pem"), &root]);
    let leaf = message(ca(leaf, "server.key"));
    assert!(leaf.contains("no CA"), "{leaf}");
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n";
    given.write("sec1.key", &[sec1]);
    let sec1 = message(ca(whole, "sec1.key"));
    assert!(sec1.contains("openssl pkcs8"), "{sec1}");
}
