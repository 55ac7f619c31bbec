//! What outlives a connection and a crash, and what ends.

use edge_mqtt::Reason;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Connect, Packet, Version};

use super::world::{World, acknowledged, device, eventually, kept};

#[tokio::test]
async fn messages_wait_for_a_session_that_sleeps_also_over_a_crash() {
    for version in [Version::V3, Version::V5] {
        let world = World::new();
        let (mut client, present) = world.enter(kept(version, "sleeper")).await;
        assert!(!present);
        client.subscribe(1, "free/#").await;
        drop(client);
        let mut sender = world.anyone(version, "sender").await;
        for n in 1..4 {
            sender.publish(n, "free/a", &n.to_string()).await;
            acknowledged(&mut sender, n).await;
        }
        let world = world.crash().await;
        let mut sender = world.anyone(version, "sender").await;
        sender.publish(1, "free/a", "4").await;
        acknowledged(&mut sender, 1).await;
        let (mut client, present) = world.enter(kept(version, "sleeper")).await;
        assert!(present);
        for n in 1..5 {
            let (_, body, number, dup) = client.message().await;
            assert_eq!((body, dup), (n.to_string(), false));
            let number = number.expect("QoS 1");
            client.send(&Packet::PubAck(client::ack(number))).await;
        }
        eventually("all are settled", || world.waiting() == 0).await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_after_a_crash_with_its_id_and_dup() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/#").await;
    let mut sender = world.anyone(Version::V3, "sender").await;
    sender.publish(1, "free/a", "1").await;
    let (_, body, number, dup) = client.message().await;
    assert_eq!((&*body, dup), ("1", false));
    let world = world.crash().await;
    let (mut client, present) = world.enter(kept(Version::V3, "c")).await;
    assert!(present);
    let again = client.message().await;
    assert_eq!((&*again.1, again.2, again.3), ("1", number, true));
}

#[tokio::test]
async fn a_subscription_ends_with_the_rule_that_allowed_it() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/a").await;
    client.subscribe(2, "free/b").await;
    drop(client);
    let world = World::with_rule(world.kill().await, "free/b");
    let (mut client, present) = world.enter(kept(Version::V3, "c")).await;
    assert!(present);
    let mut sender = world.anyone(Version::V3, "sender").await;
    for (n, topic) in [(1, "free/a"), (2, "free/b")] {
        sender.publish(n, topic, topic).await;
        acknowledged(&mut sender, n).await;
    }
    assert_eq!(client.message().await.1, "free/b");
}

#[tokio::test]
async fn a_session_that_is_over_leaves_nothing_behind() {
    let world = World::new();
    let (mut client, _) = world.enter(kept(Version::V3, "c")).await;
    client.subscribe(1, "free/#").await;
    drop(client);
    let mut sender = world.anyone(Version::V3, "sender").await;
    for n in 1..10 {
        sender.publish(n, "free/a", "x").await;
        acknowledged(&mut sender, n).await;
    }
    assert_eq!(world.waiting(), 9);
    let mut hello = kept(Version::V3, "c");
    hello.clean_start = true;
    let (mut client, present) = world.enter(hello).await;
    assert!(!present);
    eventually("its queue is emptied", || world.waiting() == 0).await;
    // And it is subscribed to nothing.
    sender.publish(20, "free/a", "y").await;
    acknowledged(&mut sender, 20).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.hear().await, Some(Heard::PingResp));
}

#[tokio::test]
async fn a_session_for_which_too_much_waits_is_over_and_its_client_is_told() {
    let world = World::new();
    let (mut sleeper, _) = world.enter(kept(Version::V5, "sleeper")).await;
    sleeper.subscribe(1, "free/#").await;
    drop(sleeper);
    let (mut idler, _) = world.enter(kept(Version::V5, "idler")).await;
    idler.subscribe(1, "free/a").await;
    let (mut reader, _) = world.enter(kept(Version::V5, "reader")).await;
    reader.subscribe(1, "free/a").await;
    let mut sender = world.anyone(Version::V5, "sender").await;
    for n in 1..12 {
        sender.publish(n, "free/a", &"x".repeat(8 << 10)).await;
        acknowledged(&mut sender, n).await;
        let (_, _, number, _) = reader.message().await;
        reader
            .send(&Packet::PubAck(client::ack(number.unwrap())))
            .await;
    }
    // Somebody goes, and the keeper looks around.
    drop(world.enter(kept(Version::V5, "nudge")).await);
    loop {
        match idler.hear().await {
            Some(Heard::Publish { .. }) => {}
            Some(Heard::Disconnect { reason, .. }) => {
                assert_eq!(reason, Reason::QuotaExceeded);
                break;
            }
            other => panic!("expected DISCONNECT: {other:?}"),
        }
    }
    for name in ["sleeper", "idler"] {
        let (_, present) = world.enter(kept(Version::V5, name)).await;
        assert!(!present, "{name}");
    }
    reader.send(&Packet::PingReq).await;
    assert_eq!(reader.hear().await, Some(Heard::PingResp));
    eventually("their queues are emptied", || world.waiting() == 0).await;
}

#[tokio::test]
async fn what_a_connection_without_session_had_waiting_is_gone_after_a_crash() {
    let world = World::new();
    let mut client = world.anyone(Version::V3, "c").await;
    client.subscribe(1, "free/#").await;
    let mut sender = world.anyone(Version::V3, "sender").await;
    sender.publish(1, "free/a", "x").await;
    acknowledged(&mut sender, 1).await;
    let world = world.crash().await;
    eventually("its queue is emptied", || world.waiting() == 0).await;
}

#[tokio::test]
async fn sessions_of_an_identity_that_is_removed_are_forgotten() {
    let world = World::new();
    let hello = Connect {
        clean_start: false,
        session_expiry: u32::MAX,
        ..world.hello(Version::V3, "press-1")
    };
    let (mut press, _) = world.enter(hello).await;
    press.subscribe(1, "plant/all").await;
    drop(press);
    eventually("it sleeps", || world.topics.status().asleep == 1).await;
    world.registry.remove(&device("press-1")).unwrap();
    eventually("it is forgotten", || world.topics.status().asleep == 0).await;
}

#[tokio::test]
async fn clients_are_told_when_the_daemon_stops() {
    let world = World::new();
    let mut client = world.anyone(Version::V5, "c").await;
    world.closing.send_replace(true);
    match client.hear().await {
        Some(Heard::Disconnect { reason, .. }) => assert_eq!(reason, Reason::ServerShuttingDown),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.hear().await, None);
    assert!(world.hub.pressure().waiting == 0);
}
