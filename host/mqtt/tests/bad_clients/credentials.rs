//! Clients that are not who they say they are, or do what is not theirs to do.

use std::time::Duration;

use edge_core::{DeviceId, Identity, ModuleId, Timestamp};
use edge_identity::{CLOCK_SKEW, Secret, Status, Token};
use edge_mqtt::Reason;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Connect, Packet, QoS, Version};

use crate::client::{Client, id};
use crate::world::{Site, World};
use crate::{anyone, enter, lines, open, ping};

const VERSIONS: [Version; 2] = [Version::V3, Version::V5];
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn module(name: &str) -> Identity {
    Identity::Module(
        DeviceId::new("d").expect("id"),
        ModuleId::new(name).expect("id"),
    )
}

fn key(world: &World) -> Secret {
    let entry = world.registry.get(&module("m")).expect("registered");
    entry.auth.keys().expect("keys").primary.clone()
}

/// The CONNECT of the module with another password.
fn with_password(world: &World, version: Version, password: &[u8]) -> Connect {
    Connect {
        password: Some(password.to_vec().into()),
        ..world.hello(version, "m")
    }
}

fn token(world: &World, expires: Timestamp) -> Vec<u8> {
    let token = Token::make("hub", &module("m"), &key(world), expires);
    token.as_bytes().to_vec()
}

/// It is refused in the words of its version, and closed.
async fn is_refused(world: &World, hello: Connect) {
    let (expected, before) = (hello.version, world.status().refused);
    let mut client = open(world, hello, 64 << 10).await;
    let heard = client.hear().await;
    let expected = match expected {
        Version::V3 => 5,
        Version::V5 => 0x87,
    };
    match heard {
        Some(Heard::ConnAck {
            session_present: false,
            code,
            ..
        }) if code == expected => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(client.hear().await, None);
    assert_eq!(world.status().refused, before + 1);
}

#[tokio::test]
async fn whoever_has_no_valid_token_is_refused_and_named_and_its_token_is_in_no_log() {
    lines::collect();
    let world = World::new(Site::Sdk);
    let now = world.hub.now();
    let past = Timestamp(now.0 - u64::try_from(DAY.as_nanos()).expect("short"));
    let other = Secret::generate().expect("chance");
    let forged = Token::make("hub", &module("m"), &other, now.after(DAY));
    let of_device = Token::make(
        "hub",
        &Identity::Device(DeviceId::new("d").expect("id")),
        &key(&world),
        now.after(DAY),
    );
    let good = token(&world, now.after(DAY));
    let cases: [(&[u8], &str); 8] = [
        (forged.as_bytes(), "its signature is by none of the keys"),
        (&token(&world, past), "the token expired at"),
        (of_device.as_bytes(), "the token is for \"hub/devices/d\""),
        (&good[..good.len() / 2], "bad token: it has no"),
        (b"", "no credential"),
        (
            b"bm90IHRoZSBrZXk=",
            "the password is none of the identity's keys",
        ),
        (&[b'x'; 5_000], "none of the identity's keys"),
        (&[0xff, 0x00, 0xfe], "none of the identity's keys"),
    ];
    for version in VERSIONS {
        for (password, why) in cases {
            let before = lines::with(&["connection refused", "d/m", why]).len();
            is_refused(&world, with_password(&world, version, password)).await;
            let after = lines::with(&["connection refused", "d/m", why]).len();
            assert_eq!(after, before + 1, "{why}: {:?}", lines::with(&[]));
        }
        // And with the whole of its token it is let in.
        drop(enter(&world, with_password(&world, version, &good)).await);
    }
    for secret in [&forged[60..], "bm90IHRoZSBrZXk=", "xxxxxxxxxx"] {
        assert_eq!(lines::with(&[secret]), [""; 0]);
    }
}

#[tokio::test]
async fn identities_that_are_unknown_or_disabled_are_refused_and_named() {
    lines::collect();
    let world = World::new(Site::Sdk);
    for version in VERSIONS {
        let hello = Connect {
            client_id: "d/nobody".into(),
            user_name: Some("hub/d/nobody/?api-version=2021-04-12".into()),
            ..world.hello(version, "m")
        };
        is_refused(&world, hello).await;
    }
    let lines_of = |why: &str| lines::with(&["connection refused", "d/", why]).len();
    assert_eq!(lines_of("no such identity is registered"), 2);
    let status = world
        .registry
        .set_status(&module("m"), Status::Disabled, world.hub.now());
    status.expect("stored");
    for version in VERSIONS {
        is_refused(&world, world.hello(version, "m")).await;
    }
    assert_eq!(lines_of("is disabled"), 2);
}

#[tokio::test]
async fn a_connection_ends_when_its_token_does() {
    lines::collect();
    let world = World::new(Site::Sdk);
    for version in VERSIONS {
        // A second before what clocks may be apart is over.
        let skew = u64::try_from(CLOCK_SKEW.as_nanos()).expect("short");
        let expires = Timestamp(world.hub.now().0 - skew).after(Duration::from_secs(1));
        let hello = with_password(&world, version, &token(&world, expires));
        let mut client = enter(&world, hello).await;
        ping(&mut client).await;
        world.pass(Duration::from_secs(2));
        is_closed(&mut client).await;
    }
    let lines = lines::with(&["client's connection closed", "d/m", "the token expired at"]);
    assert_eq!(lines.len(), 2);
}

/// It is closed as one that may not do what it did.
async fn is_closed(client: &mut Client) {
    if client.version == Version::V5 {
        match client.hear().await {
            Some(Heard::Disconnect {
                reason: Reason::NotAuthorized,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.hear().await, None);
}

#[tokio::test]
async fn whoever_publishes_or_subscribes_to_what_is_not_its_own_is_closed_and_named() {
    lines::collect();
    let world = World::new(Site::Sdk);
    for (number, version) in VERSIONS.into_iter().enumerate() {
        for topic in [
            "devices/d/modules/other/messages/events/",
            "devices/other/modules/m/messages/events/",
            "devices/d/messages/events/",
            "devices/d/modules/m/inputs/i/",
            "any/topic",
        ] {
            let mut client = enter(&world, world.hello(version, "m")).await;
            client.publish(1, topic, "x").await;
            is_closed(&mut client).await;
            let lines = lines::with(&["client's connection closed", "d/m", topic]);
            assert_eq!(lines.len(), number + 1, "{topic}");
        }
        for filter in [
            "devices/d/modules/other/inputs/#",
            "devices/other/modules/m/inputs/#",
            "devices/d/messages/devicebound/#",
        ] {
            let mut client = enter(&world, world.hello(version, "m")).await;
            let subscribe = client::subscribe(id(1), &[(filter, QoS::AtLeastOnce)]);
            client.send(&Packet::Subscribe(subscribe)).await;
            is_closed(&mut client).await;
            let lines = lines::with(&["client's connection closed", "d/m", filter]);
            assert_eq!(lines.len(), number + 1, "{filter}");
        }
    }
}

#[tokio::test]
async fn whoever_publishes_to_an_open_topic_that_no_rule_allows_is_closed_and_named() {
    lines::collect();
    let world = World::new(Site::Open);
    let mut victim = anyone(&world, "victim").await;
    assert_eq!(victim.subscribe(1, "#").await, [1]);
    for version in VERSIONS {
        let mut client = enter(&world, world.hello(version, "bad")).await;
        // What comes behind it is not taken either.
        client.publish(1, "$closed/x", "x").await;
        client.publish(2, "t", "y").await;
        is_closed(&mut client).await;
        for _ in 0..3 {
            ping(&mut victim).await;
        }
    }
    let lines = lines::with(&["client's connection closed", "bad", "$closed/x"]);
    assert_eq!(lines.len(), 2);
    let mut curious = anyone(&world, "curious").await;
    assert_eq!(curious.subscribe(1, "$closed/#").await, [0x87]);
    let lines = lines::with(&["subscription refused", "curious", "$closed/#"]);
    assert_eq!(lines.len(), 1);
}

#[tokio::test]
async fn what_a_client_wrote_is_cut_in_the_log() {
    lines::collect();
    let world = World::new(Site::Open);
    let long = "$closed/".to_owned() + &"\u{e9}".repeat(30_000);
    for version in VERSIONS {
        let mut client = enter(&world, world.hello(version, "bad")).await;
        client.publish(1, &long, "x").await;
        is_closed(&mut client).await;
    }
    let hello = Connect {
        user_name: Some("\u{e9}".repeat(30_000).into()),
        ..world.hello(Version::V5, "bad")
    };
    is_refused(&world, hello).await;
    let all = lines::with(&[]);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|line| line.len() < 1_000), "{all:?}");
}
