use std::time::Duration;

use bytes::Bytes;
use edge_core::ModuleId;
use edge_store::MemoryLog;
use rustls::pki_types::CertificateDer;

use super::*;
use crate::{
    CLOCK_SKEW, CertificateFault, CommonName, Credential, Denied, Thumbprint, Token, TokenFault,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);
const HUB: &str = "hub1.azure-devices.net";

fn device(id: &str) -> Identity {
    Identity::Device(DeviceId::new(id).unwrap())
}

fn module(device: &str, module: &str) -> Identity {
    Identity::Module(
        DeviceId::new(device).unwrap(),
        ModuleId::new(module).unwrap(),
    )
}

fn registry() -> (Arc<dyn MessageLog>, Arc<Registry>) {
    let log: Arc<dyn MessageLog> = Arc::new(MemoryLog::default());
    let registry = Registry::open(log.clone()).unwrap();
    (log, registry)
}

fn token(registry: &Registry, signer: &Identity, of: &Identity, expires: Timestamp) -> String {
    let entry = registry.get(signer).unwrap();
    let key = &entry.auth.keys().unwrap().primary;
    Token::make(HUB, of, key, expires).to_string()
}

fn hour() -> Timestamp {
    NOW.after(Duration::from_secs(3600))
}

#[test]
fn identities_come_back_from_the_log() {
    let (log, registry) = registry();
    let made = [
        registry.ensure(&device("edge1"), NOW).unwrap().0,
        registry.ensure(&module("edge1", "m"), NOW).unwrap().0,
        registry
            .add(&device("ca"), NewAuth::Authority, NOW)
            .unwrap()
            .0,
        registry
            .add(
                &device("thumb"),
                NewAuth::Thumbprints {
                    primary: Thumbprint::sha1(b"one").to_string(),
                    secondary: Some(Thumbprint::sha256(b"two").to_string()),
                },
                NOW,
            )
            .unwrap()
            .0,
        registry
            .set_status(&device("ca"), Status::Disabled, NOW)
            .unwrap()
            .0,
        registry
            .set_parent(
                &device("thumb"),
                Some(&DeviceId::new("edge1").unwrap()),
                hour(),
            )
            .unwrap()
            .0,
    ];
    assert_eq!(made[5].changed, hour());
    let again = Registry::open(log).unwrap();
    assert_eq!(again.list(), registry.list());
    assert_eq!(again.list().len(), 4);
    assert_eq!(again.get(&device("edge1")).unwrap(), made[0]);
    assert!(again.damaged().is_empty());
}

#[test]
fn more_identities_than_a_page_come_back() {
    let (log, registry) = registry();
    for n in 0..600 {
        registry
            .add(&device(&format!("d{n}")), NewAuth::Authority, NOW)
            .unwrap();
    }
    assert_eq!(Registry::open(log).unwrap().list().len(), 600);
}

#[test]
fn devices_are_listed_each_before_its_modules() {
    let (_, registry) = registry();
    for identity in [
        device("b"),
        device("a"),
        module("a", "y"),
        module("b", "x"),
        module("a", "x"),
        device("a-"),
    ] {
        registry.ensure(&identity, NOW).unwrap();
    }
    let names: Vec<_> = registry
        .list()
        .iter()
        .map(|entry| entry.identity.to_string())
        .collect();
    assert_eq!(names, ["a", "a/x", "a/y", "a-", "b", "b/x"]);
    let modules = registry.modules(&DeviceId::new("a").unwrap());
    assert_eq!(modules.len(), 2);
}

#[test]
fn a_damaged_entry_is_named_and_costs_only_itself() {
    let (log, registry) = registry();
    registry.ensure(&device("good"), NOW).unwrap();
    registry.ensure(&device("newer"), NOW).unwrap();
    let put = |key: &'static [u8], value: &'static [u8]| {
        let mut commit = Commit::new();
        commit.put(Put {
            table: Table::Identities,
            key: Bytes::from_static(key),
            value: Some(Bytes::from_static(value)),
        });
        log.commit(&mut commit).unwrap();
    };
    put(
        b"cut",
        b"{\"format\":1,\"auth\":{\"sas\":{\"primary\":\"c2VjcmV0",
    );
    put(b"newer", b"{\"format\":2}");
    put(b"a b", b"{}");
    put(b"\xff", b"{}");
    let again = Registry::open(log.clone()).unwrap();
    assert_eq!(again.list().len(), 1);
    let damaged = again.damaged();
    assert_eq!(damaged.len(), 4, "{damaged:?}");
    let of = |key: &str| &damaged.iter().find(|entry| entry.key == key).unwrap().why;
    assert!(of("newer").contains("format 2"), "{damaged:?}");
    assert!(!of("cut").contains("c2VjcmV0"), "{damaged:?}");
    // Adding it again mends it.
    again.add(&device("cut"), NewAuth::FRESH, NOW).unwrap();
    assert!(Registry::open(log).unwrap().get(&device("cut")).is_some());
}

#[test]
fn generations_are_those_of_the_seed_and_never_repeat() {
    let (log, registry) = registry();
    let first = registry.ensure(&device("d"), NOW).unwrap().0.generation;
    // 100 ns since the year 1, as .NET counts: 2027-01-15T08:00:00Z.
    assert_eq!(first.to_string(), "639355968000000000");
    registry.remove(&device("d")).unwrap();
    let second = registry.ensure(&device("d"), NOW).unwrap().0.generation;
    assert!(second > first);
    // A clock that goes back to 1970 does not bring one back either.
    let again = Registry::open(log).unwrap();
    let third = again
        .ensure(&device("e"), Timestamp(0))
        .unwrap()
        .0
        .generation;
    assert!(third > second);
    assert_eq!(third.to_string().parse(), Ok(third));
}

#[test]
fn ensure_makes_an_identity_once() {
    let (_, registry) = registry();
    let (made, lsn) = registry.ensure(&device("d"), NOW).unwrap();
    assert!(lsn.is_some());
    assert_eq!(registry.ensure(&device("d"), hour()).unwrap(), (made, None));
    assert_eq!(
        registry.add(&device("d"), NewAuth::FRESH, NOW),
        Err(RegistryError::AlreadyThere(device("d")))
    );
}

#[test]
fn an_identity_that_many_want_at_once_is_made_once() {
    let (_, registry) = registry();
    let (made, agreed) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| registry.ensure(&device("d"), NOW).unwrap()))
            .collect();
        let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        let made = results.iter().filter(|(_, lsn)| lsn.is_some()).count();
        (
            made,
            results.iter().all(|(entry, _)| *entry == results[0].0),
        )
    });
    assert_eq!(made, 1);
    assert!(agreed);
}

#[test]
fn a_module_needs_its_device() {
    let (_, registry) = registry();
    assert!(matches!(
        registry.ensure(&module("d", "m"), NOW),
        Err(RegistryError::NoSuchDevice { .. })
    ));
    registry.ensure(&device("d"), NOW).unwrap();
    registry.ensure(&module("d", "m"), NOW).unwrap();
    let (removed, _) = registry.remove(&device("d")).unwrap();
    assert_eq!(removed, [device("d"), module("d", "m")]);
    assert!(registry.list().is_empty());
}

#[test]
fn given_keys_and_thumbprints_are_checked() {
    let (_, registry) = registry();
    let keys = |primary: &str| NewAuth::Keys {
        primary: Some(primary.to_owned()),
        secondary: None,
    };
    assert!(matches!(
        registry.add(&device("d"), keys("no key"), NOW),
        Err(RegistryError::BadKey(InvalidKey::NotBase64))
    ));
    let text = Secret::generate().unwrap().base64().to_string();
    let (entry, _) = registry.add(&device("d"), keys(&text), NOW).unwrap();
    assert_eq!(*entry.auth.keys().unwrap().primary.base64(), text);
    let prints = NewAuth::Thumbprints {
        primary: "xyz".to_owned(),
        secondary: None,
    };
    assert!(matches!(
        registry.set_auth(&device("d"), prints, NOW),
        Err(RegistryError::BadThumbprint(_))
    ));
    assert_eq!(registry.get(&device("d")).unwrap(), entry);
}

#[test]
fn parents_form_no_ring() {
    let (_, registry) = registry();
    for name in ["a", "b", "c"] {
        registry.ensure(&device(name), NOW).unwrap();
    }
    let id = |name: &str| DeviceId::new(name).unwrap();
    registry
        .set_parent(&device("b"), Some(&id("a")), NOW)
        .unwrap();
    registry
        .set_parent(&device("c"), Some(&id("b")), NOW)
        .unwrap();
    let ring = registry.set_parent(&device("a"), Some(&id("c")), NOW);
    assert!(matches!(ring, Err(RegistryError::BadParent { .. })));
    let unknown = registry.set_parent(&device("a"), Some(&id("x")), NOW);
    assert!(matches!(unknown, Err(RegistryError::NoSuchDevice { .. })));
    let (entry, _) = registry.set_parent(&device("b"), None, NOW).unwrap();
    assert_eq!(entry.parent, None);
}

#[test]
fn either_key_and_the_devices_key_sign_for_a_module() {
    let (_, registry) = registry();
    let (d, m) = (device("edge1"), module("edge1", "m"));
    registry.ensure(&d, NOW).unwrap();
    registry.ensure(&device("other"), NOW).unwrap();
    let (entry, _) = registry.ensure(&m, NOW).unwrap();
    let secondary = &entry.auth.keys().unwrap().secondary;
    for text in [
        token(&registry, &m, &m, hour()),
        token(&registry, &d, &m, hour()),
        Token::make(HUB, &m, secondary, hour()).to_string(),
    ] {
        let permit = registry
            .authenticate(&m, Credential::Token(&text), NOW)
            .unwrap();
        assert_eq!(permit.identity, m);
        assert_eq!(permit.expires, Some(hour().after(CLOCK_SKEW)));
        registry.recheck(&permit, NOW).unwrap();
    }
    let by_other = token(&registry, &device("other"), &m, hour());
    assert_eq!(
        registry
            .authenticate(&m, Credential::Token(&by_other), NOW)
            .unwrap_err(),
        Denied::BadToken(TokenFault::Signature)
    );
    // A module's key is not its device's.
    let upward = token(&registry, &m, &d, hour());
    assert_eq!(
        registry
            .authenticate(&d, Credential::Token(&upward), NOW)
            .unwrap_err(),
        Denied::BadToken(TokenFault::Signature)
    );
    let for_device = token(&registry, &d, &d, hour());
    assert!(matches!(
        registry.authenticate(&m, Credential::Token(&for_device), NOW),
        Err(Denied::WrongAudience { .. })
    ));
}

#[test]
fn a_token_ends_five_minutes_after_its_expiry() {
    let (_, registry) = registry();
    let d = device("d");
    registry.ensure(&d, NOW).unwrap();
    let text = token(&registry, &d, &d, NOW);
    let last = Timestamp(NOW.after(CLOCK_SKEW).0 - 1);
    let permit = registry
        .authenticate(&d, Credential::Token(&text), last)
        .unwrap();
    registry.recheck(&permit, last).unwrap();
    let end = NOW.after(CLOCK_SKEW);
    assert!(matches!(
        registry.recheck(&permit, end),
        Err(Denied::Expired { .. })
    ));
    assert_eq!(
        registry
            .authenticate(&d, Credential::Token(&text), end)
            .unwrap_err(),
        Denied::Expired { at: NOW }
    );
}

#[test]
fn a_token_ends_with_its_expiry_where_clocks_do_not_differ() {
    let registry = Registry::open_with(Arc::new(MemoryLog::default()), Duration::ZERO).unwrap();
    let d = device("d");
    registry.ensure(&d, NOW).unwrap();
    let text = token(&registry, &d, &d, NOW);
    let last = Timestamp(NOW.0 - 1);
    let permit = registry
        .authenticate(&d, Credential::Token(&text), last)
        .unwrap();
    assert_eq!(permit.expires, Some(NOW));
    let ended = Err(Denied::Expired { at: NOW });
    assert_eq!(registry.recheck(&permit, NOW), ended);
    let again = registry.authenticate(&d, Credential::Token(&text), NOW);
    assert_eq!(again.map(drop), ended);
}

#[test]
fn a_plain_device_may_show_its_key() {
    let (_, registry) = registry();
    let d = device("d");
    let (entry, _) = registry.ensure(&d, NOW).unwrap();
    registry.ensure(&module("d", "m"), NOW).unwrap();
    for key in entry.auth.keys().unwrap().iter() {
        let text = key.base64();
        let permit = registry
            .authenticate(&d, Credential::Key(text.as_bytes()), NOW)
            .unwrap();
        assert_eq!(permit.expires, None);
        let as_module =
            registry.authenticate(&module("d", "m"), Credential::Key(text.as_bytes()), NOW);
        assert_eq!(as_module.unwrap_err(), Denied::BadKey);
    }
    for bad in ["", "x", &*Secret::generate().unwrap().base64()] {
        assert_eq!(
            registry
                .authenticate(&d, Credential::Key(bad.as_bytes()), NOW)
                .unwrap_err(),
            Denied::BadKey
        );
    }
}

#[test]
fn a_password_is_a_token_or_a_key() {
    let (_, registry) = registry();
    let d = device("d");
    let (entry, _) = registry.ensure(&d, NOW).unwrap();
    let token = token(&registry, &d, &d, hour());
    let key = entry.auth.keys().unwrap().secondary.base64();
    for password in [token.as_bytes(), key.as_bytes()] {
        let credential = Credential::from_password(password);
        registry.authenticate(&d, credential, NOW).unwrap();
    }
    for bad in [&b"\xff"[..], b"", b"SharedAccessSignature"] {
        let denied = registry.authenticate(&d, Credential::from_password(bad), NOW);
        assert_eq!(denied.unwrap_err(), Denied::BadKey);
    }
}

#[test]
fn who_is_unknown_disabled_or_shows_nothing_is_told_so() {
    let (_, registry) = registry();
    let (d, m) = (device("d"), module("d", "m"));
    let denied = |identity: &Identity, credential: Credential<'_>| {
        registry
            .authenticate(identity, credential, NOW)
            .unwrap_err()
    };
    assert_eq!(denied(&d, Credential::None), Denied::Unknown);
    registry.ensure(&d, NOW).unwrap();
    registry.ensure(&m, NOW).unwrap();
    assert_eq!(denied(&d, Credential::None), Denied::NoCredential);
    let text = token(&registry, &m, &m, hour());
    let permit = registry
        .authenticate(&m, Credential::Token(&text), NOW)
        .unwrap();
    registry.set_status(&d, Status::Disabled, NOW).unwrap();
    assert_eq!(denied(&m, Credential::Token(&text)), Denied::Disabled);
    assert_eq!(
        registry.recheck(&permit, NOW).unwrap_err(),
        Denied::Disabled
    );
    registry.set_status(&d, Status::Enabled, NOW).unwrap();
    registry.recheck(&permit, NOW).unwrap();
}

#[test]
fn a_permit_ends_with_the_key_that_proved_it() {
    let (_, registry) = registry();
    let d = device("d");
    registry.ensure(&d, NOW).unwrap();
    let text = token(&registry, &d, &d, hour());
    let permit = registry
        .authenticate(&d, Credential::Token(&text), NOW)
        .unwrap();
    registry.rotate(&d, Which::Secondary, NOW).unwrap();
    registry.recheck(&permit, NOW).unwrap();
    let (entry, _) = registry.rotate(&d, Which::Primary, NOW).unwrap();
    assert_eq!(entry.version, 3);
    assert_eq!(
        registry.recheck(&permit, NOW).unwrap_err(),
        Denied::Replaced
    );
    // Made anew with the same key, it is still another identity.
    let keys = entry.auth.keys().unwrap();
    let same = NewAuth::Keys {
        primary: Some(keys.primary.base64().to_string()),
        secondary: None,
    };
    let text = token(&registry, &d, &d, hour());
    let permit = registry
        .authenticate(&d, Credential::Token(&text), NOW)
        .unwrap();
    registry.remove(&d).unwrap();
    assert_eq!(registry.recheck(&permit, NOW).unwrap_err(), Denied::Unknown);
    registry.add(&d, same, NOW).unwrap();
    assert_eq!(
        registry.recheck(&permit, NOW).unwrap_err(),
        Denied::Replaced
    );
}

#[test]
fn rotating_both_leaves_no_old_key() {
    let (_, registry) = registry();
    let d = device("d");
    let (before, _) = registry.ensure(&d, NOW).unwrap();
    let (after, _) = registry.rotate(&d, Which::Both, NOW).unwrap();
    let old = before.auth.keys().unwrap();
    let new = after.auth.keys().unwrap();
    for key in new.iter() {
        assert!(old.iter().all(|old| old != key));
    }
    registry.set_auth(&d, NewAuth::Authority, NOW).unwrap();
    assert_eq!(
        registry.rotate(&d, Which::Both, NOW),
        Err(RegistryError::NoKeys(d))
    );
}

#[derive(Debug)]
struct OneCa;

impl ChainVerifier for OneCa {
    fn verify_client(
        &self,
        chain: &[CertificateDer<'_>],
        _now: Timestamp,
    ) -> Result<CommonName, Denied> {
        Ok(CommonName {
            name: String::from_utf8_lossy(&chain[0]).into_owned(),
            expires: hour(),
        })
    }
}

#[test]
fn certificates_by_a_ca_wait_for_who_judges_them() {
    let (_, registry) = registry();
    let m = module("d", "m");
    registry.ensure(&device("d"), NOW).unwrap();
    registry.add(&m, NewAuth::Authority, NOW).unwrap();
    let judge = |name: &'static str| {
        let chain = [CertificateDer::from(name.as_bytes())];
        registry.authenticate(&m, Credential::Certificates(&chain), NOW)
    };
    let early = judge("d/m").unwrap_err();
    assert_eq!(early, Denied::NotReady);
    assert!(early.is_transient());
    assert!(registry.set_verifier(Arc::new(OneCa)));
    assert!(!registry.set_verifier(Arc::new(OneCa)));
    assert!(matches!(
        judge("d").unwrap_err(),
        Denied::BadCertificate(CertificateFault::CommonName { .. })
    ));
    let permit = judge("d/m").unwrap();
    assert_eq!(permit.expires, Some(hour()));
    registry.recheck(&permit, NOW).unwrap();
    registry.set_auth(&m, NewAuth::FRESH, NOW).unwrap();
    assert_eq!(
        registry.recheck(&permit, NOW).unwrap_err(),
        Denied::Replaced
    );
    assert_eq!(
        judge("d/m").unwrap_err(),
        Denied::BadCertificate(CertificateFault::NotExpected)
    );
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Watcher for Told {
    fn changed(&self, identity: &Identity) {
        self.0.lock().unwrap().push(identity.to_string());
    }
}

#[test]
fn a_change_of_a_device_is_told_for_its_modules_too() {
    let (_, registry) = registry();
    let told = Arc::new(Told::default());
    registry.watch(told.clone());
    let (d, m) = (device("d"), module("d", "m"));
    registry.ensure(&d, NOW).unwrap();
    registry.ensure(&m, NOW).unwrap();
    registry.set_status(&d, Status::Disabled, NOW).unwrap();
    registry.rotate(&m, Which::Both, NOW).unwrap();
    registry.remove(&d).unwrap();
    let told = told.0.lock().unwrap();
    assert_eq!(*told, ["d", "d/m", "d", "d/m", "d/m", "d", "d/m"]);
}

#[test]
fn debug_output_has_no_key() {
    let (_, registry) = registry();
    let (entry, _) = registry.ensure(&device("d"), NOW).unwrap();
    let text = entry.auth.keys().unwrap().primary.base64();
    let token = token(&registry, &device("d"), &device("d"), hour());
    let credential = Credential::Token(&token);
    let permit = registry
        .authenticate(&device("d"), credential, NOW)
        .unwrap();
    let shown = format!("{entry:?} {registry:?} {permit:?} {credential:?}");
    assert!(
        !shown.contains(&*text) && !shown.contains("sig="),
        "{shown}"
    );
}

#[test]
fn an_edge_device_makes_its_modules_by_its_key_and_nobody_else_does() {
    let (_, registry) = registry();
    let (edge, filter) = (device("edge7"), module("edge7", "filter"));
    registry.ensure(&edge, NOW).unwrap();
    let good = token(&registry, &edge, &filter, hour());
    let make = |token: &str| registry.authenticate_or_make(&filter, token, NOW);
    // A plain device makes none.
    assert_eq!(make(&good).unwrap_err(), Denied::Unknown);
    registry
        .ensure(&module("edge7", "$edgeAgent"), NOW)
        .unwrap();
    registry.ensure(&device("other"), NOW).unwrap();
    let foreign = token(&registry, &device("other"), &filter, hour());
    assert_eq!(make(&foreign).unwrap_err(), TokenFault::Signature.into());
    let of_another = token(&registry, &edge, &module("edge7", "x"), hour());
    assert!(matches!(
        make(&of_another),
        Err(Denied::WrongAudience { .. })
    ));
    assert!(registry.get(&filter).is_none());
    assert_eq!(make(&good).unwrap().identity, filter);
    assert!(registry.get(&filter).is_some());
}
