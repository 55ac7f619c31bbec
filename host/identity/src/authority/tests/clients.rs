//! Client certificates: TLS takes them all, the registry judges.

use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

use rustls::HandshakeKind;

use super::*;
use crate::Permit;

/// A certificate of X.509 version 1 and its key, valid until 2126: `openssl x509 -req -signkey` makes such.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJTCBywIUNsPXTZFsARRSXj8dnD1DHbIyHHYwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJb2xkIHN0eWxlMCAXDTI2MTEyNDA4NTEzM1oYDzIxMjYxMDMxMDg1MTMz
WjAUMRIwEAYDVQQDDAlvbGQgc3R5bGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQEjLoxsQtjm0CJE2ynLUaRisVzFl8uQivL50iza88Mq2qyqznlwsOgpNTzHUuW
y+NO8sT7Alkjj3qClHDR5puEMAoGCCqGSM49BAMCA0kAMEYCIQCiHX+DUSWz+Quj
cuIlED/b872d7aDSh2D3OzN7HpMnyAIhALqOMMolkA4HeaZyvKioxr6xheVR56Y4
Y3PZm/if6842
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgh7n3hC7ECv6YY7mP
eTy/oyhth+xecBCbvX0Y7x4wUoChRANCAAQEjLoxsQtjm0CJE2ynLUaRisVzFl8u
QivL50iza88Mq2qyqznlwsOgpNTzHUuWy+NO8sT7Alkjj3qClHDR5puE
-----END PRIVATE KEY-----
";

/// A client that shows a certificate whatever rustls thinks of it, and signs with a key.
fn showing(
    authority: &Authority,
    clock: &Arc<TestClock>,
    version: &'static SupportedProtocolVersion,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&client(&authority.trust_bundle(), clock, version, None));
    let key = ring::sign::any_supported_type(key).unwrap();
    let key = CertifiedKey::new(chain, key);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
    Arc::new(config)
}

fn device(id: &str) -> Identity {
    Identity::Device(DeviceId::new(id).unwrap())
}

fn registry(authority: &Arc<Authority>) -> Arc<Registry> {
    let registry = Registry::open(Arc::new(MemoryLog::default())).unwrap();
    registry.set_verifier(authority.clone());
    registry
}

/// A self-signed certificate as `openssl req -x509` makes it, valid in 2026 and 2027.
fn self_signed(name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2028, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (vec![certificate.der().clone()], key)
}

fn pair(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.private_key.as_bytes()).unwrap();
    (chain, key)
}

fn issue(authority: &Authority, common_name: &str, kind: Kind) -> Issued {
    let request = Issue {
        common_name,
        names: &[],
        kind,
        lifetime: Duration::from_secs(DAY),
    };
    authority.issue(&request, time(NOW)).unwrap()
}

/// What the registry says of a certificate.
fn judge(
    registry: &Registry,
    identity: &Identity,
    chain: &[CertificateDer<'static>],
    at: u64,
) -> Result<Permit, CertificateFault> {
    match registry.authenticate(identity, Credential::Certificates(chain), time(at)) {
        Ok(permit) => Ok(permit),
        Err(Denied::BadCertificate(fault)) => Err(fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_self_signed_certificate_passes_tls_and_is_judged_by_thumbprint() {
    let (_dir, clock, authority) = own();
    let registry = registry(&authority);
    let (chain, key) = self_signed("whatever");
    for (version, print) in [
        (&TLS12, Thumbprint::sha1(&chain[0])),
        (&TLS13, Thumbprint::sha256(&chain[0])),
    ] {
        let id = device(if version == &TLS12 { "old" } else { "new" });
        let auth = NewAuth::Thumbprints {
            primary: Thumbprint::sha256(b"another").to_string(),
            secondary: Some(print.to_string().to_lowercase()),
        };
        registry.add(&id, auth, time(NOW)).unwrap();
        let own = Some((chain.clone(), key.clone_key()));
        let client = client(&authority.trust_bundle(), &clock, version, own);
        let connection = Connection::open(&authority.server_config(), &client, "edgegw").unwrap();
        let shown = connection.server.peer_certificates().unwrap();
        let permit = judge(&registry, &id, shown, NOW).unwrap();
        registry.recheck(&permit, time(NOW)).unwrap();
        // 2028-01-01T00:00:00Z
        assert_eq!(permit.expires, Some(time(1_830_297_600)));
        for outside in [0, NOW + 2 * YEAR] {
            assert!(matches!(
                judge(&registry, &id, shown, outside),
                Err(CertificateFault::NotValidNow { .. })
            ));
        }
        assert!(registry.recheck(&permit, time(NOW + 2 * YEAR)).is_err());
    }
    let (other, _) = self_signed("whatever");
    let fault = judge(&registry, &device("old"), &other, NOW).unwrap_err();
    assert!(matches!(fault, CertificateFault::Thumbprint { .. }));
}

#[test]
fn a_resumed_session_still_shows_its_client_certificate() {
    let (_dir, clock, authority) = own();
    let (chain, key) = self_signed("d");
    for version in [&TLS12, &TLS13] {
        let own = Some((chain.clone(), key.clone_key()));
        let mut config =
            ClientConfig::clone(&client(&authority.trust_bundle(), &clock, version, own));
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let connection =
                Connection::open(&authority.server_config(), &config, "edgegw").unwrap();
            assert_eq!(connection.server.handshake_kind(), Some(kind));
            assert_eq!(connection.server.peer_certificates().unwrap(), chain);
        }
    }
}

#[test]
fn a_certificate_of_version_1_is_taken() {
    let (_dir, clock, authority) = own();
    let registry = registry(&authority);
    let chain = vec![CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let auth = NewAuth::Thumbprints {
        primary: Thumbprint::sha1(&chain[0]).to_string(),
        secondary: None,
    };
    registry.add(&device("d"), auth, time(NOW)).unwrap();
    for version in [&TLS12, &TLS13] {
        let client = showing(&authority, &clock, version, chain.clone(), &key);
        let connection = Connection::open(&authority.server_config(), &client, "edgegw").unwrap();
        let shown = connection.server.peer_certificates().unwrap();
        judge(&registry, &device("d"), shown, NOW).unwrap();
    }
}

#[test]
fn somebody_elses_certificate_does_not_pass_tls() {
    let (_dir, clock, authority) = own();
    let (chain, _) = self_signed("d");
    let (_, key) = self_signed("d");
    for version in [&TLS12, &TLS13] {
        let client = showing(&authority, &clock, version, chain.clone(), &key);
        let refused = Connection::open(&authority.server_config(), &client, "edgegw");
        let error = refused.err().unwrap();
        assert!(
            matches!(
                error,
                rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature)
            ),
            "{error}"
        );
    }
}

#[test]
fn a_permit_by_thumbprint_ends_with_the_thumbprint() {
    let (_dir, _clock, authority) = own();
    let registry = registry(&authority);
    let (chain, _) = self_signed("d");
    let auth = |primary: Thumbprint| NewAuth::Thumbprints {
        primary: primary.to_string(),
        secondary: None,
    };
    let d = device("d");
    let known = auth(Thumbprint::sha256(&chain[0]));
    registry.add(&d, known, time(NOW)).unwrap();
    let permit = judge(&registry, &d, &chain, NOW).unwrap();
    let other = auth(Thumbprint::sha256(b"other"));
    registry.set_auth(&d, other, time(NOW)).unwrap();
    assert_eq!(
        registry.recheck(&permit, time(NOW)).unwrap_err(),
        Denied::Replaced
    );
}

#[test]
fn a_certificate_of_our_own_ca_proves_its_common_name() {
    let (_dir, clock, authority) = own();
    let registry = registry(&authority);
    for id in ["d", "e"] {
        registry
            .add(&device(id), NewAuth::Authority, time(NOW))
            .unwrap();
    }
    let (chain, key) = pair(&issue(&authority, "d", Kind::Client));
    let client = client(
        &authority.trust_bundle(),
        &clock,
        &TLS12,
        Some((chain.clone(), key)),
    );
    let connection = Connection::open(&authority.server_config(), &client, "edgegw").unwrap();
    let shown = connection.server.peer_certificates().unwrap();
    let permit = judge(&registry, &device("d"), shown, NOW).unwrap();
    assert_eq!(permit.expires, Some(time(NOW + DAY)));
    // The edge CA is known here: a client need not send it.
    assert!(judge(&registry, &device("d"), &chain[..1], NOW).is_ok());
    assert_eq!(
        judge(&registry, &device("e"), shown, NOW).unwrap_err(),
        CertificateFault::CommonName {
            expected: "e".to_owned(),
            found: "d".to_owned()
        }
    );
    assert!(matches!(
        judge(&registry, &device("d"), shown, NOW + 2 * DAY),
        Err(CertificateFault::NotValidNow { .. })
    ));
}

#[test]
fn a_server_certificate_is_no_clients() {
    let (_dir, _clock, authority) = own();
    let registry = registry(&authority);
    registry
        .add(&device("d"), NewAuth::Authority, time(NOW))
        .unwrap();
    let (chain, _) = pair(&issue(&authority, "d", Kind::Server));
    assert!(matches!(
        judge(&registry, &device("d"), &chain, NOW),
        Err(CertificateFault::Chain(_))
    ));
}

#[test]
fn strangers_certificates_lead_nowhere() {
    let (_dir, _clock, authority) = own();
    let (_dir2, _clock2, stranger) = own();
    let registry = registry(&authority);
    registry
        .add(&device("d"), NewAuth::Authority, time(NOW))
        .unwrap();
    let (chain, _) = pair(&issue(&stranger, "d", Kind::Client));
    for chain in [chain, self_signed("d").0] {
        assert!(matches!(
            judge(&registry, &device("d"), &chain, NOW),
            Err(CertificateFault::Chain(_))
        ));
    }
    let garbage = [CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])];
    assert_eq!(
        judge(&registry, &device("d"), &garbage, NOW).unwrap_err(),
        CertificateFault::Unreadable
    );
    let none = registry.authenticate(&device("d"), Credential::Certificates(&[]), time(NOW));
    assert_eq!(none.unwrap_err(), Denied::NoCredential);
}

#[test]
fn cas_of_devices_are_trusted_when_they_are_given() {
    let dir = TempDir::new().unwrap();
    let clock = clock();
    let root = ca::new_root("devices of the plant").unwrap();
    let path = dir.path().join("plant.pem");
    fs::write(&path, certificates_pem([&root.certificate])).unwrap();
    let config = AuthorityConfig {
        trusted: vec![path],
        ..config(&dir.path().join("own"), &clock)
    };
    let authority = Authority::open(config, clock.now()).unwrap();
    let registry = registry(&authority);
    registry
        .add(&device("d"), NewAuth::Authority, time(NOW))
        .unwrap();
    let key = KeyPair::try_from(root.key.as_slice()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&root.certificate, key).unwrap();
    let certificate = |names: &[&str]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (at, name) in names.iter().enumerate() {
            let kind = [DnType::CommonName, DnType::OrganizationName];
            params
                .distinguished_name
                .push(kind[at].clone(), (*name).to_owned());
        }
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &issuer).unwrap().der().clone()
    };
    // No extended key usage at all, as simple device CAs have it.
    let named = certificate(&["d", "plant"]);
    judge(&registry, &device("d"), &[named], NOW).unwrap();
    let nameless = certificate(&[]);
    assert_eq!(
        judge(&registry, &device("d"), &[nameless], NOW).unwrap_err(),
        CertificateFault::NoCommonName
    );
    // They are no trust of clients in the server.
    assert!(
        !authority
            .trust_bundle()
            .contains(&certificates_pem([&root.certificate]))
    );
}

#[test]
fn what_is_issued_lives_90_days_at_most() {
    let (_dir, _clock, authority) = own();
    let request = Issue {
        common_name: "m",
        names: &["m", "10.0.0.1"],
        kind: Kind::Server,
        lifetime: Duration::MAX,
    };
    let issued = authority.issue(&request, time(NOW)).unwrap();
    assert_eq!(issued.expires, time(NOW + 90 * DAY));
    let (chain, _) = pair(&issued);
    assert_eq!(parse::names(&chain[0]), ["10.0.0.1", "m"]);
    assert_eq!(chain[1..], authority.server_chain()[1..]);
    assert!(!format!("{issued:?}").contains("PRIVATE"));
    for bad in ["", "a b"] {
        let request = Issue {
            common_name: bad,
            names: &[bad],
            ..request
        };
        assert!(matches!(
            authority.issue(&request, time(NOW)),
            Err(IssueError::BadName(_))
        ));
    }
}
