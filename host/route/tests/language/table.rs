//! Tables and explanations.

use std::time::Duration;

use crate::support::{Fake, route, sample, targets};
use edge_core::{EndpointId, Priority};
use edge_route::{Mode, RouteCounters, RouteEntry, RouteTable, Scratch, Target, explain};

fn entry(text: &str, priority: u32, seconds: Option<u64>) -> RouteEntry {
    RouteEntry {
        name: text.to_owned(),
        route: route(text, Mode::Compat),
        priority: Priority(priority),
        time_to_live: seconds.map(Duration::from_secs),
    }
}

fn evaluate(table: &RouteTable, path: &str, message: &Fake, scratch: &mut Scratch) -> Vec<Target> {
    let mut out = Vec::new();
    table.evaluate(&table.select(path), message, scratch, |t| out.push(t));
    out
}

#[test]
fn an_endpoint_gets_one_copy_by_the_best_route() {
    let table = RouteTable::new(vec![
        entry("FROM /messages INTO $upstream", 5, Some(50)),
        entry(
            "FROM /messages WHERE key1 = 'value1' INTO $upstream",
            1,
            Some(10),
        ),
        entry("FROM /* INTO $upstream", 1, Some(99)),
        entry(
            "FROM /messages INTO BrokeredEndpoint('/modules/m/inputs/i')",
            3,
            None,
        ),
        entry("FROM /messages INTO BrokeredEndpoint('/x/m/y/i/')", 2, None),
        entry("FROM /twinChangeNotifications INTO $upstream", 0, None),
    ]);
    assert_eq!(table.endpoints().len(), 2);
    assert_eq!(table.endpoints()[0], EndpointId::Upstream);
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        let found = evaluate(&table, "/messages", &sample(), &mut scratch);
        let shown: Vec<_> = found
            .iter()
            .map(|t| (t.endpoint, t.priority.0, t.route))
            .collect();
        assert_eq!(shown, [(0, 1, 1), (1, 2, 4)]);
        assert_eq!(found[0].time_to_live, Some(Duration::from_secs(10)));
    }
    let other = Fake::default();
    assert_eq!(
        evaluate(&table, "/messages", &other, &mut scratch)[0].route,
        2
    );
    assert_eq!(table.select("/messages").len(), 5);
    assert!(RouteTable::new(Vec::new()).select("/messages").is_empty());
}

#[test]
fn counters_tell_why_a_route_is_silent() {
    let table = RouteTable::new(vec![
        entry("FROM /messages WHERE $body.t > 20 INTO $upstream", 1, None),
        entry("FROM /messages WHERE nix = 'a' INTO $upstream", 1, None),
        entry(
            "FROM /messages WHERE key1 = 'a' AND $body.flag = true INTO $upstream",
            1,
            None,
        ),
    ]);
    let mut scratch = Scratch::default();
    evaluate(&table, "/messages", &sample(), &mut scratch);
    evaluate(
        &table,
        "/messages",
        &Fake::default().app("key1", "b"),
        &mut scratch,
    );
    let counters = |matched, not_matched, undefined, body_unreadable| RouteCounters {
        matched,
        not_matched,
        undefined,
        body_unreadable,
    };
    assert_eq!(table.counters(0), counters(1, 0, 1, 1));
    assert_eq!(table.counters(1), counters(0, 0, 2, 0));
    // The body is not asked for where the answer is known without it.
    assert_eq!(table.counters(2), counters(0, 2, 0, 0));
    assert_eq!(table.counters(99), RouteCounters::default());
}

#[test]
fn a_message_does_not_see_the_body_of_the_one_before() {
    let table = RouteTable::new(vec![entry(
        "FROM /messages WHERE $body.t = 1 INTO $upstream",
        1,
        None,
    )]);
    let mut scratch = Scratch::default();
    for t in [1, 2, 1] {
        let message = Fake::default().json(&format!(r#"{{"t":{t}}}"#));
        assert_eq!(
            evaluate(&table, "/messages", &message, &mut scratch).len(),
            usize::from(t == 1)
        );
    }
    let selection = table.select("/messages");
    assert!(RouteTable::new(Vec::new()).endpoints().is_empty());
    // A selection of another table finds nothing rather than panicking.
    RouteTable::new(Vec::new()).evaluate(&selection, &sample(), &mut scratch, |_| unreachable!());
}

#[test]
fn routes_of_both_modes_share_one_body() {
    let strict = "FROM /messages WHERE $body.t = 1 INTO BrokeredEndpoint('/modules/m/inputs/i')";
    let table = RouteTable::new(vec![
        entry("FROM /messages WHERE $body.t = 1 INTO $upstream", 1, None),
        RouteEntry {
            route: route(strict, Mode::Strict),
            ..entry(strict, 1, None)
        },
    ]);
    let message = Fake::default()
        .bytes(br#"{"t":1}"#)
        .system("contentType", "application/json; charset=utf-8");
    assert_eq!(targets(&table, "/messages", &message), ["m/i"]);
}

fn explained(text: &str, mode: Mode, path: &str, message: &Fake) -> String {
    explain(&route(text, mode), path, message).to_string()
}

#[test]
fn an_explanation_names_the_part_that_decides() {
    let text = "FROM /messages/modules/m WHERE as_number(key1) > 5 AND $body.t > 20 INTO $upstream";
    assert_eq!(
        explained(text, Mode::Strict, "/messages", &sample()),
        r#"not taken: the source does not match
  FROM /messages/modules/m: does not match; /messages is neither /messages/modules/m nor below it
  WHERE: undefined
    as_number(key1) > 5 AND $body.t > 20 = undefined  (as_number(key1) > 5 is undefined, and no other operand of AND is false)
      as_number(key1) > 5 = undefined  (as_number(key1) is undefined)
        as_number(key1) = undefined  ("value1" is not a number)
          key1 = "value1"
      $body.t > 20 = true
        $body.t = 25
  INTO $upstream"#
    );
}

#[test]
fn reasons_are_given_for_what_is_undefined() {
    let why = |condition: &str, mode: Mode, message: &Fake| {
        let text = format!("FROM /messages WHERE {condition} INTO $upstream");
        explained(&text, mode, "/messages", message)
    };
    let bare = Fake::default().bytes(b"{}");
    let typed = |ct: &str| {
        Fake::default()
            .bytes(b"{")
            .system("contentType", ct)
            .system("contentEncoding", "utf-8")
    };
    for (condition, mode, message, expected) in [
        (
            "nix = 'a'",
            Mode::Compat,
            sample(),
            "no application property nix",
        ),
        (
            "$nix = 'a'",
            Mode::Compat,
            sample(),
            "no system property nix",
        ),
        ("$body.t > 1", Mode::Compat, bare, "contentType is missing"),
        (
            "$body.t > 1",
            Mode::Compat,
            typed("text/plain"),
            "contentType is `text/plain`",
        ),
        (
            "$body.t > 1",
            Mode::Compat,
            typed("application/json"),
            "not JSON: the text ends early at byte 1",
        ),
        (
            "$body.o.x > 1",
            Mode::Strict,
            sample(),
            "the body has o, and no o.x",
        ),
        ("$body.o = 1", Mode::Strict, sample(), "an object"),
        (
            "$body.when = 'x'",
            Mode::Compat,
            sample(),
            "looks like a date",
        ),
        (
            "$body.missing > 1",
            Mode::Compat,
            sample(),
            "counts as null",
        ),
        ("$body.t > 'x'", Mode::Strict, sample(), "in no order"),
        ("$body.t", Mode::Strict, sample(), "no bool"),
        (
            "substring('a', 5) = 'x'",
            Mode::Compat,
            sample(),
            "outside of the string",
        ),
        (
            "$body.s * 2 = 1",
            Mode::Compat,
            sample(),
            "a number is wanted",
        ),
    ] {
        let text = why(condition, mode, &message);
        assert!(
            text.contains(expected),
            "{condition}: expected {expected} in\n{text}"
        );
    }
    let e = explain(
        &route("FROM /* INTO $upstream", Mode::Compat),
        "/messages",
        &sample(),
    );
    assert!(e.fires);
    assert_eq!(serde_json::to_value(&e).unwrap()["outcome"], "true");
}
