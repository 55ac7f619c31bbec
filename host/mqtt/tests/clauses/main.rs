//! Both heads against the specifications, clause by clause, with frames byte by byte: MQTT 3.1.1 (OASIS
//! Standard, 29 October 2014) and MQTT 5.0 (OASIS Standard, 7 March 2019).
//!
//! ```text
//!   chapter (format, connect, publish, …)   cases: clauses, claim, script
//!   script      what clients send and what must come         notation   how frames are written
//!   world       a hub and both heads                         ledger     clauses without a case, and why
//! ```
//!
//! A case is run with each version that it names a clause of, on the head of the open topics, that of Azure's
//! SDKs, or both. One that fails does not keep others from running; all are named with their clauses.

mod connack;
mod connect;
mod flow;
mod format;
#[path = "../support/gate.rs"]
mod gate;
mod ledger;
mod notation;
mod publish;
mod retain;
mod script;
mod session;
mod subscribe;
mod will;
#[path = "../support/world.rs"]
mod world;

use edge_mqtt::packet::Version;

use world::Site;

/// Each head with each version.
const ALL: [(Site, Version); 4] = [
    (Site::Open, Version::V3),
    (Site::Open, Version::V5),
    (Site::Sdk, Version::V3),
    (Site::Sdk, Version::V5),
];

#[tokio::test]
async fn texts_numbers_and_packet_ids_are_as_chapters_1_and_2_have_them() {
    script::run(format::CASES).await;
}

#[tokio::test]
async fn connections_begin_as_3_1_and_3_2_have_it() {
    script::run(connect::CASES).await;
}

#[tokio::test]
async fn what_either_side_says_of_itself_is_taken_as_3_1_2_11_3_2_2_and_4_12_have_it() {
    script::run(connack::CASES).await;
}

#[tokio::test]
async fn messages_are_taken_and_delivered_as_3_3_to_3_7_and_4_3_have_it() {
    script::run(publish::CASES).await;
}

#[tokio::test]
async fn messages_are_retained_as_3_3_1_has_it() {
    script::run(retain::CASES).await;
}

#[tokio::test]
async fn subscriptions_are_kept_as_3_8_to_3_11_have_it() {
    script::run(subscribe::CASES).await;
}

#[tokio::test]
async fn filters_match_as_4_7_has_it() {
    for version in [Version::V3, Version::V5] {
        let failures = subscribe::matching(version).await;
        assert!(failures.is_empty(), "{version:?}:\n{}", failures.join("\n"));
    }
}

#[tokio::test]
async fn wills_are_published_as_3_1_2_has_it() {
    script::run(will::CASES).await;
}

#[tokio::test]
async fn sessions_last_and_end_as_3_14_and_4_1_to_4_6_have_it() {
    script::run(session::CASES).await;
}

#[tokio::test]
async fn limits_of_either_side_are_kept_as_3_1_2_11_and_4_9_have_it() {
    script::run(flow::CASES).await;
}

#[tokio::test]
async fn silence_ends_a_connection_as_3_1_2_10_has_it() {
    for (site, version) in ALL {
        let kept = flow::silence(site, version).await;
        assert_eq!(kept, Ok(()), "{site:?} {version:?}");
    }
}

#[tokio::test]
async fn answers_come_when_a_message_is_on_the_device_as_4_3_2_has_it() {
    for (site, version) in ALL {
        let kept = flow::ownership(site, version).await;
        assert_eq!(kept, Ok(()), "{site:?} {version:?}");
    }
}

#[tokio::test]
async fn a_client_that_sends_more_than_it_may_is_closed_as_3_3_4_has_it() {
    for (site, version) in ALL {
        let kept = flow::excess(site, version).await;
        assert_eq!(kept, Ok(()), "{site:?} {version:?}");
    }
}

#[test]
fn each_clause_has_a_case_or_a_reason_why_it_has_none() {
    let cases = [
        format::CASES,
        connack::CASES,
        connect::CASES,
        publish::CASES,
        retain::CASES,
        subscribe::CASES,
        will::CASES,
        session::CASES,
        flow::CASES,
    ];
    let others = [
        subscribe::MATCHING,
        flow::SILENCE,
        flow::OWNERSHIP,
        flow::EXCESS,
    ];
    let faults = ledger::audit(&cases, &others);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Appendix B of 5 says 251.
    assert_eq!(ledger::count().1, 251);
}
