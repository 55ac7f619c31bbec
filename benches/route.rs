//! The routing language: one condition on a property, and a thousand routes over one message with a
//! JSON body, the body's one parse included.

mod support;

use std::hint::black_box;

use edge_core::{DeviceId, Message, MessageBuilder, MessageId, Origin, Source, Timestamp};
use edge_route::{Mode, RouteTable, Scratch};
use support::{Bench, Goal, per_call, route};

fn message() -> Message {
    let body = format!(
        r#"{{"machine":{{"temperature":31.25,"pressure":2.5,"id":"press-7"}},"ambient":{{"temperature":21.0,"humidity":40}},"timeCreated":"2026-03-04T05:06:07Z","note":"{}"}}"#,
        "x".repeat(90)
    );
    let content = MessageBuilder::new(body)
        .json()
        .property("level", "7")
        .property("kind", "reading")
        .property("site", "north");
    Message {
        content: content.build(),
        origin: Origin::new(Source::Device(DeviceId::new("d").expect("valid"))),
        id: MessageId::default(),
        enqueued: Timestamp(1),
        hops: 0,
    }
}

fn table(mode: Mode, texts: impl Iterator<Item = String>) -> RouteTable {
    RouteTable::new(texts.map(|text| route(&text, mode)).collect())
}

fn main() {
    let bench = Bench::new("route");
    let message = message();
    let body_bytes = message.content.body.len();
    let into = |n: usize| format!("INTO BrokeredEndpoint(\"/modules/m{n}/inputs/in\")");
    let cases: [(String, usize, RouteTable, Goal); 6] = [
        (
            "one condition: site = 'south'".to_owned(),
            1,
            table(Mode::Compat, (0..1).map(|n| format!("FROM /messages WHERE site = 'south' {}", into(n)))),
            Goal::AtMost(150.0),
        ),
        (
            "one condition: as_number(level) > 9".to_owned(),
            1,
            table(Mode::Compat, (0..1).map(|n| format!("FROM /messages WHERE as_number(level) > 9 {}", into(n)))),
            Goal::AtMost(150.0),
        ),
        (
            format!("1 000 routes, $body in each, {body_bytes} B, compat"),
            1_000,
            table(
                Mode::Compat,
                (0..1_000).map(|n| format!("FROM /messages WHERE $body.machine.temperature > {} {}", 40 + n, into(n))),
            ),
            Goal::AtMost(100_000.0),
        ),
        (
            format!("1 000 routes, $body in each, {body_bytes} B, strict"),
            1_000,
            table(
                Mode::Strict,
                (0..1_000).map(|n| format!("FROM /messages WHERE $body.machine.temperature > {} {}", 40 + n, into(n))),
            ),
            Goal::AtMost(100_000.0),
        ),
        (
            format!("1 000 routes, body and property, {body_bytes} B"),
            1_000,
            table(
                Mode::Compat,
                (0..1_000).map(|n| {
                    format!("FROM /messages WHERE $body.ambient.humidity > {n} AND site = 'south{n}' {}", into(n))
                }),
            ),
            Goal::AtMost(100_000.0),
        ),
        (
            "1 000 routes, a property in each".to_owned(),
            1_000,
            table(Mode::Compat, (0..1_000).map(|n| format!("FROM /messages WHERE kind = 'k{n}' {}", into(n)))),
            Goal::None,
        ),
    ];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for _ in 0..bench.repetitions(15) {
        for ((_, routes, table, _), times) in cases.iter().zip(&mut times) {
            let selection = table.select(message.origin.path());
            let mut scratch = Scratch::default();
            let calls = if *routes == 1 { 1_000_000 } else { 2_000 };
            let time = per_call(calls, || {
                table.evaluate(&selection, black_box(&message), &mut scratch, |target| {
                    black_box(target);
                });
            });
            #[allow(clippy::cast_precision_loss, reason = "figures")]
            times.push(time.as_nanos() as f64);
        }
    }
    for ((case, _, _, goal), times) in cases.iter().zip(&times) {
        bench.figure(case, "time", "ns", times, *goal);
    }
}
