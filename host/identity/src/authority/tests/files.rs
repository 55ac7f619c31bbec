//! What is on the device, and what of it may be missing or broken.

use super::*;

/// What is done to the files.
type Harm = (&'static str, fn(&Path));

fn reopen(dir: &Path) -> Result<Arc<Authority>, AuthorityError> {
    let clock = clock();
    Authority::open(config(dir, &clock), clock.now())
}

fn lost(dir: &Path) -> String {
    match reopen(dir) {
        Err(error @ AuthorityError::LostRoot { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_start_finds_the_same_certificates() {
    let (dir, _clock, authority) = own();
    let again = reopen(dir.path()).unwrap();
    assert_eq!(again.server_chain(), authority.server_chain());
    assert_eq!(again.trust_bundle(), authority.trust_bundle());
    assert_eq!(again.sealing_secret(), authority.sealing_secret());
}

#[test]
fn keys_are_for_their_owner_only() {
    let (dir, _clock, _authority) = own();
    let mode = |name: &str| {
        let path = dir.path().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for key in ["root.key", "edge-ca.key", "server.key", "sealing.key"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    // One that was opened up is closed again.
    let path = dir.path().join("server.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    reopen(dir.path()).unwrap();
    assert_eq!(mode("server.key"), 0o600);
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().ends_with(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_server_certificate_that_is_not_whole_is_made_again() {
    let (dir, _clock, authority) = own();
    let mut last = authority.server_chain()[0].clone();
    let break_one: [Harm; 5] = [
        ("cut key", |dir| {
            fs::write(dir.join("server.key"), "-----BEGIN PRIV").unwrap();
        }),
        ("no key", |dir| {
            fs::remove_file(dir.join("server.key")).unwrap()
        }),
        ("cut certificate", |dir| {
            let text = fs::read(dir.join("server.pem")).unwrap();
            fs::write(dir.join("server.pem"), &text[..text.len() / 4]).unwrap();
        }),
        ("no certificate", |dir| {
            fs::remove_file(dir.join("server.pem")).unwrap();
        }),
        ("other key", |dir| {
            fs::copy(dir.join("edge-ca.key"), dir.join("server.key")).unwrap();
        }),
    ];
    for (what, harm) in break_one {
        harm(dir.path());
        let again = reopen(dir.path()).unwrap();
        assert_ne!(again.server_chain()[0], last, "{what}");
        assert_eq!(again.trust_bundle(), authority.trust_bundle());
        last = again.server_chain()[0].clone();
    }
}

#[test]
fn other_names_make_another_server_certificate() {
    let (dir, clock, authority) = own();
    let more = AuthorityConfig {
        names: vec!["new.example".to_owned()],
        ..config(dir.path(), &clock)
    };
    let again = Authority::open(more, clock.now()).unwrap();
    assert_ne!(again.server_chain()[0], authority.server_chain()[0]);
    let client = client(&authority.trust_bundle(), &clock, &TLS13, None);
    let tls = again.server_config();
    assert!(Connection::open(&tls, &client, "new.example").is_ok());
    assert!(Connection::open(&tls, &client, "edgehub").is_err());
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused() {
    let dir = TempDir::new().unwrap();
    let clock = clock();
    for bad in ["", "a b", "a/b", "é"] {
        let config = AuthorityConfig {
            names: vec![bad.to_owned()],
            ..config(dir.path(), &clock)
        };
        let error = Authority::open(config, clock.now()).unwrap_err();
        assert!(
            matches!(&error, AuthorityError::Issue(IssueError::BadName(name)) if name == bad),
            "{error}"
        );
    }
}

#[test]
fn an_edge_ca_that_is_not_whole_is_made_again_under_the_same_root() {
    for file in ["edge-ca.key", "edge-ca.pem"] {
        let (dir, clock, authority) = own();
        fs::write(dir.path().join(file), "torn").unwrap();
        let again = reopen(dir.path()).unwrap();
        assert_ne!(again.server_chain()[1], authority.server_chain()[1]);
        assert_eq!(again.trust_bundle(), authority.trust_bundle());
        let client = client(&authority.trust_bundle(), &clock, &TLS12, None);
        Connection::open(&again.server_config(), &client, "edgegw").unwrap();
    }
}

#[test]
fn a_root_key_may_be_kept_elsewhere() {
    let (dir, _clock, authority) = own();
    fs::remove_file(dir.path().join("root.key")).unwrap();
    let again = reopen(dir.path()).unwrap();
    assert_eq!(again.server_chain(), authority.server_chain());
    // Until the edge CA has to be made again.
    fs::remove_file(dir.path().join("edge-ca.key")).unwrap();
    let message = lost(dir.path());
    assert!(message.contains("root.key: it is not there"), "{message}");
}

#[test]
fn a_root_is_never_replaced_in_silence() {
    let (dir, _clock, _authority) = own();
    let root = dir.path().join("root.pem");
    let text = fs::read(&root).unwrap();
    fs::write(&root, &text[..100]).unwrap();
    let message = lost(dir.path());
    assert!(
        message.contains("root.pem") && message.contains("old-roots"),
        "{message}"
    );
    fs::copy(dir.path().join("server.pem"), &root).unwrap();
    lost(dir.path());
    fs::remove_file(&root).unwrap();
    lost(dir.path());
    // Another root's key does not do either.
    fs::write(&root, &text).unwrap();
    fs::copy(dir.path().join("edge-ca.key"), dir.path().join("root.key")).unwrap();
    fs::remove_file(dir.path().join("edge-ca.pem")).unwrap();
    let message = lost(dir.path());
    assert!(message.contains("not the key of root.pem"), "{message}");
}

#[test]
fn a_first_start_that_was_cut_off_begins_anew() {
    let (dir, _clock, authority) = own();
    // The root's key was written, its certificate was not.
    for file in [
        "root.pem",
        "edge-ca.pem",
        "edge-ca.key",
        "server.pem",
        "server.key",
    ] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    let again = reopen(dir.path()).unwrap();
    assert_ne!(again.trust_bundle(), authority.trust_bundle());
}

#[test]
fn a_former_root_stays_in_the_bundle_until_it_ends() {
    let (dir, clock, former) = own();
    let old_roots = dir.path().join("old-roots");
    fs::create_dir(&old_roots).unwrap();
    fs::rename(dir.path().join("root.pem"), old_roots.join("root.pem")).unwrap();
    for file in ["root.key", "edge-ca.pem", "edge-ca.key"] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    let again = reopen(dir.path()).unwrap();
    let bundle = again.trust_bundle();
    assert!(bundle.ends_with(&*former.trust_bundle()));
    let both = client(&bundle, &clock, &TLS13, None);
    for server in [&former, &again] {
        Connection::open(&server.server_config(), &both, "edgegw").unwrap();
    }
    let only_former = client(&former.trust_bundle(), &clock, &TLS13, None);
    assert!(Connection::open(&again.server_config(), &only_former, "edgegw").is_err());
    // One that ended leaves: a leaf of 90 days does for a root here.
    let leaf = certificates_pem(&former.server_chain()[..1]);
    fs::write(old_roots.join("short.pem"), &leaf).unwrap();
    again.renew(time(NOW)).unwrap();
    assert!(again.trust_bundle().contains(&leaf));
    again.renew(time(NOW + 91 * DAY)).unwrap();
    assert!(!again.trust_bundle().contains(&leaf));
}

#[test]
fn a_damaged_sealing_key_is_refused_and_named() {
    let (dir, _clock, _authority) = own();
    let path = dir.path().join("sealing.key");
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find("-----\n").unwrap() + 10;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let flipped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
    for bad in ["", &text[..60], &flipped] {
        fs::write(&path, bad).unwrap();
        let message = reopen(dir.path()).unwrap_err().to_string();
        assert!(message.contains("sealing.key"), "{message}");
    }
    fs::write(&path, text).unwrap();
    reopen(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let below = dir.path().join("file").join("certs");
    let message = reopen(&below).unwrap_err().to_string();
    assert!(message.contains("file/certs"), "{message}");
}
