//! The server's certificate is replaced while it is in use.

use super::*;

#[test]
fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_connections_stay() {
    let (_dir, clock, authority) = own();
    let client = client(&authority.trust_bundle(), &clock, &TLS13, None);
    let tls = authority.server_config();
    let mut open = Connection::open(&tls, &client, "edgegw").unwrap();
    let early = authority.renew(time(NOW + 59 * DAY)).unwrap();
    assert!(!early.renewed);
    assert_eq!(early.next, time(NOW + 60 * DAY));
    assert_eq!(early.warning, None);

    clock.set(NOW + 60 * DAY);
    let renewal = authority.renew(clock.now()).unwrap();
    assert!(renewal.renewed);
    assert_eq!(renewal.expires, time(NOW + 150 * DAY));
    assert_eq!(renewal.next, time(NOW + 120 * DAY));
    assert!(open.works());
    let fresh = Connection::open(&tls, &client, "edgegw").unwrap();
    assert_ne!(fresh.server_certificate(), open.server_certificate());
    assert_eq!(fresh.server_certificate(), authority.server_chain()[0]);
    // Nothing is due then.
    assert!(!authority.renew(clock.now()).unwrap().renewed);
}

#[test]
fn a_clock_that_jumps_either_way_costs_no_handshake() {
    let (dir, clock, authority) = own();
    let client = client(&authority.trust_bundle(), &clock, &TLS12, None);
    let tls = authority.server_config();
    let mut open = Connection::open(&tls, &client, "edgegw").unwrap();
    let mut last = open.server_certificate();
    for at in [
        NOW + 10 * YEAR,
        0,
        5,
        NOW,
        NOW + 200 * YEAR,
        NOW - 20 * YEAR,
    ] {
        clock.set(at);
        let mut connection = Connection::open(&tls, &client, "edgegw")
            .unwrap_or_else(|error| panic!("at {}: {error}", clock.now()));
        assert!(connection.works() && open.works());
        let certificate = connection.server_certificate();
        assert_eq!(certificate == last, at == 5, "at {}", clock.now());
        last = certificate;
        // It was written, too.
        let again = Authority::open(config(dir.path(), &clock), clock.now()).unwrap();
        assert_eq!(again.server_chain()[0], last);
        // And needs no renewal.
        assert!(!authority.renew(clock.now()).unwrap().renewed);
    }
}

#[test]
fn renewing_notices_a_clock_that_jumped_too() {
    let (_dir, _clock, authority) = own();
    let ahead = time(NOW + 10 * YEAR);
    assert!(authority.renew(ahead).unwrap().renewed);
    // Back again: the certificate begins in the future.
    let back = authority.renew(time(NOW)).unwrap();
    assert!(back.renewed);
    assert_eq!(back.expires, time(NOW + 90 * DAY));
}

#[test]
fn a_device_that_first_starts_in_1970_is_trusted_when_its_clock_is_set() {
    let dir = TempDir::new().unwrap();
    let clock = clock();
    clock.set(0);
    let authority = Authority::open(config(dir.path(), &clock), clock.now()).unwrap();
    let bundle = authority.trust_bundle();
    for at in [0, NOW] {
        clock.set(at);
        let client = client(&bundle, &clock, &TLS13, None);
        Connection::open(&authority.server_config(), &client, "edgegw").unwrap();
    }
    assert_eq!(authority.trust_bundle(), bundle);
}

#[test]
fn handshakes_go_on_when_the_new_certificate_cannot_be_written() {
    let (dir, clock, authority) = own();
    let client = client(&authority.trust_bundle(), &clock, &TLS13, None);
    fs::remove_dir_all(dir.path()).unwrap();
    clock.set(NOW + YEAR);
    Connection::open(&authority.server_config(), &client, "edgegw").unwrap();
    assert_eq!(authority.expires(), time(NOW + YEAR + 90 * DAY));
}

#[test]
fn short_lives_are_renewed_at_their_own_two_thirds() {
    let dir = TempDir::new().unwrap();
    let clock = clock();
    let config = AuthorityConfig {
        server_lifetime: Duration::from_secs(30),
        ..config(dir.path(), &clock)
    };
    let authority = Authority::open(config, clock.now()).unwrap();
    assert!(!authority.renew(time(NOW + 19)).unwrap().renewed);
    let renewal = authority.renew(time(NOW + 20)).unwrap();
    assert!(renewal.renewed);
    assert_eq!(renewal.next, time(NOW + 40));
}
