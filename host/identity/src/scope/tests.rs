use std::collections::HashSet;
use std::sync::Arc;

use edge_core::Timestamp;
use edge_store::MemoryLog;

use super::*;
use crate::{Credential, Denied, NewAuth, RegistryError, Status, Token, Which};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);
const SOON: Timestamp = Timestamp(1_800_000_600_000_000_000);

fn id(name: &str) -> Identity {
    identity(name).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn registry() -> Arc<Registry> {
    Registry::open(Arc::new(MemoryLog::default())).unwrap()
}

/// A root with a gateway `g`, one behind it `h`, and leaves behind both and beside them.
fn family() -> Arc<Registry> {
    let root = registry();
    for (name, parent) in [
        ("g", None),
        ("h", Some("g")),
        ("under-g", Some("g")),
        ("under-h", Some("h")),
        ("beside", None),
    ] {
        let parent = parent.map(device);
        root.add_behind(&id(name), NewAuth::FRESH, parent.as_ref(), NOW)
            .unwrap();
    }
    root.add(&id("under-h/m"), NewAuth::FRESH, NOW).unwrap();
    root.add(&id("g/own"), NewAuth::FRESH, NOW).unwrap();
    root
}

fn names(registry: &Registry) -> Vec<String> {
    let list = registry.list();
    list.iter()
        .map(|entry| entry.identity.to_string())
        .collect()
}

#[test]
fn the_gateway_next_to_a_device_hands_on_what_is_for_those_behind_it() {
    let (root, gateway) = (family(), registry());
    take(&gateway, ScopeTeller::new(device("g"), None).updates(&root));
    let below = |registry: &Registry, name: &str, own: &str| {
        let found = registry.gateway_below(&device(name), &device(own));
        found.map(|gateway| gateway.to_string())
    };
    for (name, at_root, at_gateway) in [
        ("under-h", Some("g"), Some("h")),
        ("under-g", Some("g"), None),
        ("g", None, None),
        ("beside", None, None),
    ] {
        assert_eq!(below(&root, name, "root").as_deref(), at_root, "{name}");
        assert_eq!(below(&gateway, name, "g").as_deref(), at_gateway, "{name}");
    }
}

/// As a gateway takes what comes over one link.
fn take(gateway: &Registry, updates: Vec<ScopeUpdate>) {
    let mut seen = HashSet::new();
    for update in updates {
        let update = ScopeUpdate::parse(update.to_json().as_bytes()).unwrap();
        seen.extend(update.entries.iter().map(|entry| entry.identity.clone()));
        let mut gone = update.gone;
        if update.is_complete {
            let adopted = gateway.adopted();
            gone.extend(adopted.into_iter().filter(|known| !seen.contains(known)));
        }
        gateway.adopt(update.entries, &gone).unwrap();
    }
}

/// What a new link tells a gateway that says what it knows.
fn told_again(root: &Registry, gateway: &Registry) -> Vec<ScopeUpdate> {
    ScopeTeller::new(device("g"), Some(gateway.scope_digest())).updates(root)
}

#[test]
fn a_gateway_is_told_of_all_behind_it_and_of_nobody_else() {
    let (root, gateway) = (family(), registry());
    let mut teller = ScopeTeller::new(device("g"), None);
    take(&gateway, teller.updates(&root));
    assert_eq!(names(&gateway), ["h", "under-g", "under-h", "under-h/m"]);
    for name in names(&gateway) {
        let (ours, told) = (
            root.get(&id(&name)).unwrap(),
            gateway.get(&id(&name)).unwrap(),
        );
        assert_eq!((&ours.auth, ours.generation), (&told.auth, told.generation));
        assert!(told.from_parent);
    }
    assert!(teller.updates(&root).is_empty());
    // The next one below is told by the gateway what it was told.
    let below = registry();
    take(
        &below,
        ScopeTeller::new(device("h"), None).updates(&gateway),
    );
    assert_eq!(names(&below), ["under-h", "under-h/m"]);
}

#[test]
fn changes_are_told_and_whoever_left_is_gone() {
    let (root, gateway) = (family(), registry());
    let mut teller = ScopeTeller::new(device("g"), None);
    take(&gateway, teller.updates(&root));
    root.set_status(&id("under-g"), Status::Disabled, NOW)
        .unwrap();
    root.set_parent(&id("under-h"), None, NOW).unwrap();
    let updates = teller.updates(&root);
    assert!(updates.iter().all(|update| !update.is_complete));
    take(&gateway, updates);
    assert_eq!(names(&gateway), ["h", "under-g"]);
    let under = gateway.get(&id("under-g")).unwrap();
    assert_eq!(under.status, Status::Disabled);
    // What changed while there was no link is found when there is one.
    root.remove(&id("under-g")).unwrap();
    root.add(&id("h/made"), NewAuth::FRESH, NOW).unwrap();
    take(&gateway, ScopeTeller::new(device("g"), None).updates(&root));
    assert_eq!(names(&gateway), ["h", "h/made"]);
}

#[test]
fn many_come_in_pages_and_outlive_a_restart() {
    let root = registry();
    root.add(&id("g"), NewAuth::FRESH, NOW).unwrap();
    for n in 0..150 {
        let leaf = id(&format!("leaf{n}"));
        root.add_behind(&leaf, NewAuth::FRESH, Some(&device("g")), NOW)
            .unwrap();
    }
    let log = Arc::new(MemoryLog::default());
    let gateway = Registry::open(log.clone()).unwrap();
    let updates = ScopeTeller::new(device("g"), None).updates(&root);
    assert_eq!(updates.len(), 4);
    take(&gateway, updates);
    let again = Registry::open(log).unwrap();
    assert_eq!(again.list(), gateway.list());
    assert_eq!(again.adopted().len(), 150);
}

#[test]
fn what_was_made_here_stays_and_what_the_parent_made_is_changed_there() {
    let (root, gateway) = (family(), registry());
    let (own, _) = gateway.add(&id("under-g"), NewAuth::FRESH, NOW).unwrap();
    take(&gateway, ScopeTeller::new(device("g"), None).updates(&root));
    assert_eq!(gateway.get(&id("under-g")), Some(own));
    let refused = Err(RegistryError::OfParent(id("h")));
    let rotated = gateway.rotate(&id("h"), Which::Both, NOW);
    assert_eq!(rotated.map(drop), refused);
    // A module of such a device may be made here, and goes with it.
    gateway.add(&id("h/m"), NewAuth::FRESH, NOW).unwrap();
    gateway.adopt(Vec::new(), &[id("h")]).unwrap();
    assert_eq!(names(&gateway), ["under-g", "under-h", "under-h/m"]);
    // One that is removed would come back when all are told of again, so it is not.
    for identity in ["under-h", "under-h/m"].map(id) {
        let refused = RegistryError::WouldComeBack(identity.clone());
        assert_eq!(gateway.remove(&identity), Err(refused));
    }
    assert_eq!(names(&gateway), ["under-g", "under-h", "under-h/m"]);
    take(&gateway, told_again(&root, &gateway));
    assert_eq!(names(&gateway), ["h", "under-g", "under-h", "under-h/m"]);
    // Without a parent nobody tells of it.
    let (removed, _) = gateway.remove_orphan(&id("under-h")).unwrap();
    assert_eq!(removed, [id("under-h"), id("under-h/m")]);
    assert_eq!(names(&gateway), ["h", "under-g"]);
}

#[test]
fn who_is_kept_out_here_stays_out_whatever_the_parent_says() {
    let (root, gateway) = (family(), registry());
    let mut teller = ScopeTeller::new(device("g"), None);
    take(&gateway, teller.updates(&root));
    gateway.set_status(&id("h"), Status::Disabled, NOW).unwrap();
    let is_enabled = || gateway.get(&id("h")).unwrap().is_enabled();
    assert!(!is_enabled());
    // The parent changes it, and tells of all again: it is changed, and stays out.
    root.rotate(&id("h"), Which::Both, NOW).unwrap();
    take(&gateway, teller.updates(&root));
    take(&gateway, ScopeTeller::new(device("g"), None).updates(&root));
    assert!(!is_enabled());
    let keys = |registry: &Registry| registry.get(&id("h")).unwrap().auth.clone();
    assert_eq!(keys(&gateway), keys(&root));
    // Whoever is told by this one is told so.
    let told = ScopeTeller::new(device("g"), None).updates(&gateway);
    let h = told[0]
        .entries
        .iter()
        .find(|entry| entry.identity == id("h"));
    assert_eq!(
        h.map(|entry| (entry.status, entry.kept_out)),
        Some((Status::Disabled, false))
    );
    // Let in here, it is in; unless the parent keeps it out.
    gateway.set_status(&id("h"), Status::Enabled, NOW).unwrap();
    assert!(is_enabled());
    root.set_status(&id("h"), Status::Disabled, NOW).unwrap();
    take(&gateway, teller.updates(&root));
    gateway.set_status(&id("h"), Status::Enabled, NOW).unwrap();
    assert!(!is_enabled());
    root.set_status(&id("h"), Status::Enabled, NOW).unwrap();
    take(&gateway, teller.updates(&root));
    assert!(is_enabled());
}

#[test]
fn who_is_kept_out_here_stays_out_when_it_went_and_comes_back() {
    let (root, gateway) = (family(), registry());
    let mut teller = ScopeTeller::new(device("g"), None);
    take(&gateway, teller.updates(&root));
    let h = id("under-h");
    let kept_out = gateway.set_status(&h, Status::Disabled, NOW);
    kept_out.unwrap();
    let refused = Err(RegistryError::WouldComeBack(h.clone()));
    assert_eq!(gateway.remove(&h), refused);
    root.set_parent(&h, None, NOW).unwrap();
    take(&gateway, teller.updates(&root));
    let gone = gateway.get(&h).unwrap();
    assert!(!gone.is_enabled() && !gone.from_parent);
    // Its module is not, and is gone.
    assert_eq!(gateway.get(&id("under-h/m")), None);
    let enabled = gateway.set_status(&h, Status::Enabled, NOW);
    assert_eq!(enabled.map(drop), Err(RegistryError::OfParent(h.clone())));
    assert!(told_again(&root, &gateway)[0].is_same);
    root.set_parent(&h, Some(&device("h")), NOW).unwrap();
    take(&gateway, teller.updates(&root));
    let back = gateway.get(&h).unwrap();
    assert!(!back.is_enabled() && back.from_parent);
    gateway.set_status(&h, Status::Enabled, NOW).unwrap();
    assert!(gateway.get(&h).unwrap().is_enabled());
    // When the parent has it no more, that it is kept out can be forgotten here.
    gateway.set_status(&h, Status::Disabled, NOW).unwrap();
    root.remove(&h).unwrap();
    take(&gateway, teller.updates(&root));
    gateway.remove(&h).unwrap();
    assert_eq!(gateway.get(&h), None);
}

#[test]
fn a_gateway_that_knows_all_is_not_told_again() {
    let (root, gateway) = (family(), registry());
    take(&gateway, told_again(&root, &gateway));
    let same = ScopeUpdate {
        is_complete: true,
        is_same: true,
        ..ScopeUpdate::default()
    };
    assert_eq!(told_again(&root, &gateway), std::slice::from_ref(&same));
    // Whoever is kept out here does not make it another.
    gateway.set_status(&id("h"), Status::Disabled, NOW).unwrap();
    let mut teller = ScopeTeller::new(device("g"), Some(gateway.scope_digest()));
    assert_eq!(teller.updates(&root), [same]);
    // What comes after it are changes alone.
    root.set_status(&id("under-g"), Status::Disabled, NOW)
        .unwrap();
    let updates = teller.updates(&root);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].entries.len(), 1);
    take(&gateway, updates);
    assert!(told_again(&root, &gateway)[0].is_same);
    root.remove(&id("under-g")).unwrap();
    assert!(!told_again(&root, &gateway)[0].is_same);
}

#[test]
fn a_module_that_was_made_here_under_an_adopted_device_becomes_the_parents() {
    let (root, gateway) = (family(), registry());
    take(&gateway, ScopeTeller::new(device("g"), None).updates(&root));
    for registry in [&root, &gateway] {
        registry.add(&id("h/made"), NewAuth::FRESH, NOW).unwrap();
    }
    root.set_status(&id("h/made"), Status::Disabled, NOW)
        .unwrap();
    take(&gateway, told_again(&root, &gateway));
    let made = gateway.get(&id("h/made")).unwrap();
    assert!(made.from_parent && !made.is_enabled());
    // One that was kept out here before stays out.
    gateway.add(&id("h/own"), NewAuth::FRESH, NOW).unwrap();
    gateway
        .set_status(&id("h/own"), Status::Disabled, NOW)
        .unwrap();
    root.add(&id("h/own"), NewAuth::FRESH, NOW).unwrap();
    take(&gateway, told_again(&root, &gateway));
    let own = gateway.get(&id("h/own")).unwrap();
    assert!(own.from_parent && !own.is_enabled());
}

#[test]
fn one_entry_that_cannot_be_read_keeps_no_other_out() {
    let text = r#"{"entries":[
        {"identity":"a","entry":{"format":9,"auth":"c2VjcmV0"}},
        {"identity":"b","entry":{"format":1,"generation":"1","created":5,"changed":5,"version":1,"status":"enabled","auth":"authority"}},
        {"identity":"c","entry":{"format":1,"status":"disabled","auth":"c2VjcmV0"}}
    ]}"#;
    let update = ScopeUpdate::parse(text.as_bytes()).unwrap();
    assert_eq!(update.entries[0].identity, id("b"));
    let [a, c] = update.unread.as_slice() else {
        panic!("{update:?}");
    };
    assert_eq!((&a.identity, &c.identity), (&id("a"), &id("c")));
    assert!(a.why.contains("format 9"), "{}", a.why);
    assert!(!c.why.contains("c2VjcmV0"), "{}", c.why);
    assert!(!a.is_disabled && c.is_disabled);
}

#[test]
fn a_gateway_signs_for_those_behind_it_as_long_as_it_is_let_in() {
    let root = family();
    let key = |name: &str| {
        root.get(&id(name))
            .unwrap()
            .auth
            .keys()
            .unwrap()
            .primary
            .clone()
    };
    let token = |whose: &str, signer: &str| {
        let key = key(signer);
        Token::make("hub", &id(whose), &key, SOON).to_string()
    };
    let judged =
        |whose: &str, token: &str| root.authenticate(&id(whose), Credential::Token(token), NOW);
    for (whose, signer) in [
        ("under-g", "g"),
        ("under-h", "h"),
        ("under-h", "g"),
        ("under-h/m", "g"),
    ] {
        let permit = judged(whose, &token(whose, signer)).unwrap();
        assert_eq!(root.recheck(&permit, NOW), Ok(()), "{whose} by {signer}");
    }
    for (whose, signer) in [("beside", "g"), ("under-g", "h"), ("g", "under-g")] {
        let denied = judged(whose, &token(whose, signer)).unwrap_err();
        assert!(
            matches!(denied, Denied::BadToken(_)),
            "{whose} by {signer}: {denied}"
        );
    }
    let by_gateway = token("under-h", "g");
    let permit = judged("under-h", &by_gateway).unwrap();
    root.set_status(&id("g"), Status::Disabled, NOW).unwrap();
    assert_eq!(root.recheck(&permit, NOW), Err(Denied::Replaced));
    assert!(judged("under-h", &by_gateway).is_err());
    // Its own key does not depend on the gateway's fate.
    assert!(judged("under-h", &token("under-h", "under-h")).is_ok());
}

#[test]
fn broken_updates_are_named_without_their_keys() {
    for (text, says) in [
        ("{", "line 1"),
        (r#"{"gone":["a b"]}"#, "\"a b\""),
        (
            r#"{"entries":[{"identity":"a b","entry":{"auth":"c2VjcmV0"}}]}"#,
            "\"a b\"",
        ),
    ] {
        let error = ScopeUpdate::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }
}
