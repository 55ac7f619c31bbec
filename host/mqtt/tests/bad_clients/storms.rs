//! One identity, thousands of connections.

use edge_mqtt::Reason;
use edge_mqtt::client::Heard;
use edge_mqtt::packet::{Connect, Disconnect, Packet, Version};
use tokio::task::JoinSet;

use crate::memory::Watermark;
use crate::world::{Site, World};
use crate::{anyone, enter, eventually, open, ping, welcome};

/// A CONNECT of one whose session is kept.
fn kept(world: &World) -> Connect {
    Connect {
        clean_start: false,
        session_expiry: u32::MAX,
        ..world.hello(Version::V5, "storm")
    }
}

#[tokio::test]
async fn thousands_of_orderly_reconnects_leave_one_session_behind() {
    for site in [Site::Open, Site::Sdk] {
        let world = World::new(site);
        let mut memory = None;
        for n in 0..5_000 {
            let mut client = open(&world, kept(&world), 1 << 10).await;
            assert_eq!(welcome(&mut client).await, n > 0);
            let end = Disconnect {
                reason: Reason::Success,
                session_expiry: None,
                reason_string: None,
            };
            client.send(&Packet::Disconnect(end)).await;
            assert_eq!(client.hear().await, None);
            if n == 100 {
                memory = Some(Watermark::set().await);
            }
        }
        let memory = memory.expect("it was set");
        assert!(memory.more() < 64 << 10, "{} bytes", memory.more());
        assert!(memory.most() < 256 << 10, "{} bytes", memory.most());
        let status = world.status();
        assert_eq!(
            (status.connected, status.asleep, status.taken_over),
            (0, 1, 0)
        );
    }
}

#[tokio::test]
async fn thousands_that_are_gone_before_they_are_answered_do_not_cost_a_session() {
    for site in [Site::Open, Site::Sdk] {
        let world = World::new(site);
        drop(enter(&world, kept(&world)).await);
        eventually("it is gone", || world.status().asleep == 1).await;
        let memory = Watermark::set().await;
        for n in 1..=2_000 {
            drop(open(&world, kept(&world), 1 << 10).await);
            let came = || {
                let status = world.status();
                status.accepted + status.refused > n && status.connected == 0
            };
            eventually("it came and went", came).await;
        }
        assert_eq!(world.status().asleep, 1);
        assert!(memory.more() < 64 << 10, "{} bytes", memory.more());
        let mut client = open(&world, kept(&world), 1 << 10).await;
        assert!(welcome(&mut client).await, "the session is lost");
    }
}

#[tokio::test]
async fn of_thousands_that_fight_over_one_identity_one_works_and_the_newest_is_next() {
    const MANY: usize = 2_000;
    for site in [Site::Open, Site::Sdk] {
        let world = World::new(site);
        let mut seated = enter(&world, kept(&world)).await;
        // Who takes over now and then does not wait.
        for _ in 0..3 {
            let mut next = open(&world, kept(&world), 1 << 10).await;
            welcome(&mut next).await;
            let heard = seated.hear().await;
            let taken = matches!(
                heard,
                Some(Heard::Disconnect {
                    reason: Reason::SessionTakenOver,
                    ..
                })
            );
            assert!(taken, "{heard:?}");
            seated = next;
        }
        assert_eq!(world.status().taken_over, 3);

        let memory = Watermark::set().await;
        let mut newcomers = JoinSet::new();
        for _ in 0..MANY {
            let mut newcomer = open(&world, kept(&world), 1 << 10).await;
            newcomers.spawn(async move {
                let heard = newcomer.hear().await;
                (newcomer, heard)
            });
        }
        // The one that is there works on.
        for _ in 0..100 {
            ping(&mut seated).await;
        }
        assert_eq!(world.status().connected, 1);
        assert_eq!(world.status().taken_over, 3);
        assert!(memory.most() < MANY * (16 << 10), "{} bytes", memory.most());

        // When it goes, one of them is let in at once, and the others are told to come later.
        drop(seated);
        let mut accepted = Vec::new();
        let mut refused = 0;
        while let Some(told) = newcomers.join_next().await {
            match told.expect("task") {
                (client, Some(Heard::ConnAck { code: 0, .. })) => accepted.push(client),
                (_, Some(Heard::ConnAck { code: 0x88, .. })) => refused += 1,
                (_, other) => panic!("{other:?}"),
            }
        }
        assert_eq!((accepted.len(), refused), (1, MANY - 1));
        ping(&mut accepted[0]).await;
        drop(accepted);
        eventually("all are gone", || world.status().connected == 0).await;
        assert!(memory.more() < 128 << 10, "{} bytes", memory.more());
    }
}

#[tokio::test]
async fn thousands_of_clients_that_come_once_leave_nothing_behind() {
    let world = World::new(Site::Open);
    let mut good = anyone(&world, "good").await;
    let mut memory = None;
    for n in 0..5_000 {
        let mut client = anyone(&world, &format!("c{n}")).await;
        assert_eq!(client.subscribe(1, &format!("only/for/{n}")).await, [1]);
        client.publish(2, &format!("only/for/{n}"), "x").await;
        drop(client);
        eventually("it is gone", || world.status().connected == 1).await;
        if n == 500 {
            memory = Some(Watermark::set().await);
        }
    }
    ping(&mut good).await;
    let memory = memory.expect("it was set");
    // Queues are used again; some 500 of them may not be empty yet.
    assert!(memory.more() < 1 << 20, "{} bytes", memory.more());
    assert_eq!(world.status().asleep, 0);
}
