use edge_core::ModuleId;
use edge_store::MemoryLog;
use tempfile::TempDir;

use super::*;
use crate::{AuthorityConfig, NewAuth, Status, Token, Which};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

struct Device {
    dir: TempDir,
    registry: Arc<Registry>,
    workload: Workload,
}

fn module(name: &str) -> Identity {
    Identity::Module(
        DeviceId::new("edge1").unwrap(),
        ModuleId::new(name).unwrap(),
    )
}

fn device() -> Device {
    let dir = TempDir::new().unwrap();
    let registry = Registry::open(Arc::new(MemoryLog::default())).unwrap();
    let own = Identity::Device(DeviceId::new("edge1").unwrap());
    registry.ensure(&own, NOW).unwrap();
    for name in ["m", "n", "$edgeAgent"] {
        registry.ensure(&module(name), NOW).unwrap();
    }
    let authority = Authority::open(AuthorityConfig::own(dir.path(), "edgegw"), NOW).unwrap();
    Device {
        dir,
        workload: Workload::new(registry.clone(), authority),
        registry,
    }
}

impl Device {
    fn generation(&self, name: &str) -> String {
        let entry = self.registry.get(&module(name)).unwrap();
        entry.generation.to_string()
    }
}

#[test]
fn what_is_signed_makes_a_token_that_lets_the_module_in() {
    let device = device();
    let generation = device.generation("m");
    let data = b"hub1.azure-devices.net%2Fdevices%2Fedge1%2Fmodules%2Fm\n1800003600";
    for (key, algorithm) in [("primary", "HMACSHA256"), ("Secondary", "hmacsha256")] {
        let digest = device
            .workload
            .sign(&module("m"), &generation, key, algorithm, data)
            .unwrap();
        let entry = device.registry.get(&module("m")).unwrap();
        let keys = entry.auth.keys().unwrap();
        let own = if key == "primary" {
            &keys.primary
        } else {
            &keys.secondary
        };
        let expires = Timestamp(1_800_003_600_000_000_000);
        let token = Token::make("hub1.azure-devices.net", &module("m"), own, expires);
        let token = Token::parse(&token).unwrap();
        assert!(token.is_signed_by(own));
        assert_eq!(digest, own.sign(&[data]));
    }
}

#[test]
fn nothing_is_done_for_another_generation_or_a_module_that_may_not() {
    let device = device();
    let generation = device.generation("m");
    let sign = |name: &str, generation: &str| {
        device
            .workload
            .sign(&module(name), generation, "primary", "HMACSHA256", b"x")
    };
    sign("m", &generation).unwrap();
    for wrong in ["", "1", &device.generation("n"), "x"] {
        let error = sign("m", wrong).unwrap_err();
        assert!(matches!(error, WorkloadError::Generation { .. }), "{error}");
        assert_eq!(error.kind(), WorkloadErrorKind::NotFound);
    }
    let error = sign("absent", &generation).unwrap_err();
    assert!(matches!(error, WorkloadError::Unknown(_)), "{error}");
    device
        .registry
        .set_status(&module("m"), Status::Disabled, NOW)
        .unwrap();
    let error = sign("m", &generation).unwrap_err();
    assert!(matches!(error, WorkloadError::Disabled(_)), "{error}");
    assert_eq!(error.kind(), WorkloadErrorKind::Forbidden);
    device
        .registry
        .set_status(&module("m"), Status::Enabled, NOW)
        .unwrap();
    // Keys may be replaced; the generation stays.
    device
        .registry
        .rotate(&module("m"), Which::Both, NOW)
        .unwrap();
    sign("m", &generation).unwrap();
    device
        .registry
        .set_auth(&module("m"), NewAuth::Authority, NOW)
        .unwrap();
    let error = sign("m", &generation).unwrap_err();
    assert!(matches!(error, WorkloadError::NoKeys(_)), "{error}");
}

#[test]
fn other_keys_and_algorithms_are_refused() {
    let device = device();
    let generation = device.generation("m");
    let sign = |key: &str, algorithm: &str| {
        let error = device
            .workload
            .sign(&module("m"), &generation, key, algorithm, b"x")
            .unwrap_err();
        assert_eq!(error.kind(), WorkloadErrorKind::BadRequest);
        error
    };
    assert!(matches!(
        sign("third", "HMACSHA256"),
        WorkloadError::KeyId(_)
    ));
    assert!(matches!(
        sign("primary", "MD5"),
        WorkloadError::Algorithm(_)
    ));
}

#[test]
fn what_was_encrypted_is_read_by_the_same_module_and_vector_only() {
    let device = device();
    let w = &device.workload;
    let (m, n) = (device.generation("m"), device.generation("n"));
    for plaintext in [&b"secret"[..], b"", &[7; 100_000]] {
        let sealed = w.encrypt(&module("m"), &m, b"iv", plaintext).unwrap();
        assert_eq!(sealed.len(), plaintext.len() + 28);
        assert_eq!(
            w.decrypt(&module("m"), &m, b"iv", &sealed).unwrap(),
            plaintext
        );
        let again = w.encrypt(&module("m"), &m, b"iv", plaintext).unwrap();
        assert_ne!(sealed, again);
        let mut changed = sealed.clone();
        changed[14] ^= 1;
        for (who, generation, vector, sealed) in [
            ("n", &n, &b"iv"[..], &sealed[..]),
            ("m", &m, b"iw", &sealed),
            ("m", &m, b"iv", &sealed[..sealed.len() - 1]),
            ("m", &m, b"iv", &changed),
            ("m", &m, b"iv", b"short"),
            ("m", &m, b"iv", b""),
        ] {
            let error = w
                .decrypt(&module(who), generation, vector, sealed)
                .unwrap_err();
            assert!(matches!(error, WorkloadError::Ciphertext), "{error}");
        }
    }
    let error = w.encrypt(&module("m"), &m, b"", b"x").unwrap_err();
    assert!(matches!(error, WorkloadError::EmptyVector), "{error}");
}

#[test]
fn what_was_encrypted_survives_restarts_and_other_keys_but_no_other_generation() {
    let device = device();
    let generation = device.generation("m");
    let sealed = device
        .workload
        .encrypt(&module("m"), &generation, b"iv", b"kept")
        .unwrap();
    device
        .registry
        .rotate(&module("m"), Which::Both, NOW)
        .unwrap();
    let config = AuthorityConfig::own(device.dir.path(), "edgegw");
    let authority = Authority::open(config, NOW).unwrap();
    let again = Workload::new(device.registry.clone(), authority);
    let plaintext = again.decrypt(&module("m"), &generation, b"iv", &sealed);
    assert_eq!(plaintext.unwrap(), b"kept");
    device.registry.remove(&module("m")).unwrap();
    device.registry.ensure(&module("m"), NOW).unwrap();
    let other = device.generation("m");
    let error = again
        .decrypt(&module("m"), &other, b"iv", &sealed)
        .unwrap_err();
    assert!(matches!(error, WorkloadError::Ciphertext), "{error}");
}

#[test]
fn a_server_certificate_has_the_name_asked_for_and_the_modules() {
    let device = device();
    let generation = device.generation("$edgeAgent");
    let issued = device
        .workload
        .certificate_server(
            &module("$edgeAgent"),
            &generation,
            CertificateRequest {
                common_name: Some("proxy.example"),
                expires: Some(NOW.after(std::time::Duration::from_secs(60))),
            },
            NOW,
        )
        .unwrap();
    assert_eq!(
        issued.expires,
        NOW.after(std::time::Duration::from_secs(60))
    );
    let names = names(&issued.certificate);
    assert_eq!(names, ["edgeAgent", "proxy.example"]);
    let plain = device
        .workload
        .certificate_server(
            &module("m"),
            &device.generation("m"),
            CertificateRequest::default(),
            NOW,
        )
        .unwrap();
    assert_eq!(plain.expires, NOW.after(MAX_LIFETIME));
    let past = CertificateRequest {
        common_name: None,
        expires: Some(NOW),
    };
    let error = device
        .workload
        .certificate_server(&module("m"), &device.generation("m"), past, NOW)
        .unwrap_err();
    assert!(matches!(error, WorkloadError::Past(_)), "{error}");
}

#[test]
fn an_identity_certificate_is_in_the_name_of_its_module() {
    let device = device();
    let request = CertificateRequest::default();
    let issued = device
        .workload
        .certificate_identity(&module("m"), request, NOW)
        .unwrap();
    let chain = pem(&issued.certificate);
    device
        .registry
        .set_verifier(device.workload.authority.clone());
    device
        .registry
        .set_auth(&module("m"), NewAuth::Authority, NOW)
        .unwrap();
    let credential = crate::Credential::Certificates(&chain);
    let permit = device
        .registry
        .authenticate(&module("m"), credential, NOW)
        .unwrap();
    assert_eq!(permit.identity, module("m"));
    let error = device
        .workload
        .certificate_identity(&module("absent"), request, NOW)
        .unwrap_err();
    assert!(matches!(error, WorkloadError::Unknown(_)), "{error}");
}

#[test]
fn modules_and_the_bundle_are_listed() {
    let device = device();
    let names: Vec<_> = device
        .workload
        .modules(&DeviceId::new("edge1").unwrap())
        .iter()
        .map(|entry| entry.identity.to_string())
        .collect();
    assert_eq!(names, ["edge1/$edgeAgent", "edge1/m", "edge1/n"]);
    assert!(
        device
            .workload
            .trust_bundle()
            .starts_with("-----BEGIN CERTIFICATE-----\n")
    );
}

fn pem(text: &str) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::pem_slice_iter(text.as_bytes())
        .map(Result::unwrap)
        .collect()
}

fn names(text: &str) -> Vec<String> {
    crate::authority::names(&pem(text)[0])
}
