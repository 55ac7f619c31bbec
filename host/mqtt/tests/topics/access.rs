//! Who may connect, publish and subscribe, and as whom.

use bytes::Bytes;
use edge_mqtt::Reason;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{self, Connect, Packet, Version};

use super::world::{World, acknowledged, device, eventually, will};

#[tokio::test]
async fn what_no_rule_allows_is_refused_with_a_reason() {
    let world = World::new();
    let (mut press, _) = world.enter(world.hello(Version::V5, "press-1")).await;
    assert_eq!(press.subscribe(1, "plant/press-1/+").await, [1]);
    assert_eq!(press.subscribe(2, "plant/+/state").await, [0x87]);
    assert_eq!(press.subscribe(3, "#").await, [0x87]);
    assert_eq!(press.subscribe(4, "$share/g/plant/all").await, [0x9e]);
    press.publish(5, "plant/press-1/state", "on").await;
    acknowledged(&mut press, 5).await;
    press.publish(6, "plant/press-2/state", "on").await;
    loop {
        match press.hear().await {
            Some(Heard::Publish { .. }) => {}
            Some(Heard::Disconnect { reason, .. }) => {
                assert_eq!(reason, Reason::NotAuthorized);
                break;
            }
            other => panic!("expected DISCONNECT: {other:?}"),
        }
    }
    assert_eq!(press.hear().await, None);
    // Version 3 is closed without a word.
    let mut anyone = world.anyone(Version::V3, "a").await;
    assert_eq!(anyone.subscribe(1, "plant/#").await, [0x80]);
    anyone.publish(2, "plant/all", "x").await;
    assert_eq!(anyone.hear().await, None);
    // A will is judged when it is left.
    let mut hello = client::connect(Version::V5, "w");
    hello.will = will("plant/all", 0);
    let mut client = world.open(hello).await;
    assert!(matches!(
        client.hear().await,
        Some(Heard::ConnAck { code: 0x87, .. })
    ));
}

#[tokio::test]
async fn two_identities_may_use_one_client_id() {
    let world = World::new();
    let hello = |name: &str| Connect {
        client_id: "same".into(),
        ..world.hello(Version::V5, name)
    };
    let (mut one, _) = world.enter(hello("press-1")).await;
    let (mut two, _) = world.enter(hello("press-2")).await;
    for client in [&mut one, &mut two] {
        client.send(&Packet::PingReq).await;
        assert_eq!(client.hear().await, Some(Heard::PingResp));
    }
}

#[tokio::test]
async fn an_empty_client_id_is_answered_with_one() {
    let world = World::new();
    let mut client = world.open(client::connect(Version::V5, "")).await;
    let Some(Heard::ConnAck { properties, .. }) = client.hear().await else {
        panic!("not let in");
    };
    let given = properties
        .text(packet::id::ASSIGNED_CLIENT_ID)
        .expect("one is given");
    assert!(given.starts_with("auto-"), "{given}");
}

#[tokio::test]
async fn a_wrong_key_and_a_name_without_key_are_not_let_in() {
    let world = World::new();
    let mut hello = world.hello(Version::V3, "press-1");
    hello.password = Some(Bytes::from_static(b"wrong"));
    let mut client = world.open(hello).await;
    assert!(matches!(
        client.hear().await,
        Some(Heard::ConnAck { code: 5, .. })
    ));
    let mut hello = world.hello(Version::V3, "press-1");
    hello.password = None;
    let mut client = world.open(hello).await;
    assert!(matches!(
        client.hear().await,
        Some(Heard::ConnAck { code: 5, .. })
    ));
}

#[tokio::test]
async fn connections_are_counted_by_identity_and_refusals_by_reason() {
    let world = World::new();
    let (press, _) = world.enter(world.hello(Version::V3, "press-1")).await;
    let mut hello = world.hello(Version::V3, "press-1");
    hello.password = Some(Bytes::from_static(b"wrong"));
    let mut wrong = world.open(hello).await;
    assert!(matches!(
        wrong.hear().await,
        Some(Heard::ConnAck { code: 5, .. })
    ));
    drop(press);
    let clients = || {
        let all = world.hub.meters().clients.all().into_iter();
        let counts = all.map(|(id, meter)| (id, meter.connects.get(), meter.disconnects.get()));
        counts.collect::<Vec<_>>()
    };
    let expected = [(Some(Some(device("press-1"))), 1, 1)];
    eventually("it has gone", || clients() == expected).await;
    let refused = world.hub.meters().refused.all();
    let refused: Vec<_> = refused
        .iter()
        .map(|(reason, count)| (*reason, count.get()))
        .collect();
    assert_eq!(refused, [(Some("not authorized"), 1)]);
}
