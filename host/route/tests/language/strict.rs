//! Strict mode: every item in which it differs from compat mode.

use crate::support::{Fake, check, compile, fault, outcome, route, sample, targets};
use edge_route::{DiagnosticCode, Mode, Route, RouteEntry, RouteTable};

fn strict(table: &[(&str, &str)]) {
    check(Mode::Strict, &sample(), table);
}

#[test]
fn operator_signs_end_names() {
    strict(&[
        ("key1!='x'", "true"),
        ("'a'||'b' = 'ab'", "true"),
        ("as_number(key2)-1 = 2", "true"),
        ("as_number(key2) -1 = 2", "true"),
        ("3!=4", "true"),
        ("6%4=2", "true"),
        ("1e-3 = 0.001", "true"),
        ("2*3+1 = 7", "true"),
        ("5-2e1 = -15", "true"),
        ("$body.t-1 = 24", "true"),
        ("-$body.t = 0-25", "true"),
        ("a-b = 'x'", "error"),
        ("['a-b'] = 'x'", "true"),
        ("[\"a-b\"] = 'x'", "true"),
        ("e5 = 'x'", "undefined"),
        ("$absolute-expiry-time = 'x'", "undefined"),
        ("$['key-x'] = 'x'", "undefined"),
        ("{$['key-x']} = 'x'", "undefined"),
        ("[0] = 'x'", "error"),
        ("key1 & key2", "error"),
    ]);
    let message = Fake::default()
        .system("absolute-expiry-time", "never")
        .system("a-b", "system")
        .app("$a-b", "app");
    check(
        Mode::Strict,
        &message,
        &[
            ("$absolute-expiry-time = 'never'", "true"),
            ("$['a-b'] = 'app'", "true"),
            ("{$['a-b']} = 'system'", "true"),
        ],
    );
}

#[test]
fn leftovers_are_errors() {
    strict(&[
        ("true garbage", "error"),
        ("true)", "error"),
        ("true 'x'", "error"),
        ("", "undefined"),
    ]);
    let error = fault("FROM /messages INTO $upstream WHERE true", Mode::Strict);
    assert_eq!(
        (error.code, error.column),
        (DiagnosticCode::TrailingText, 31)
    );
}

#[test]
fn missing_and_different_kinds_decide_nothing() {
    strict(&[
        ("$body.missing > 10", "undefined"),
        ("$body.missing = null", "undefined"),
        ("$body.missing <> 'x'", "undefined"),
        ("is_defined($body.missing)", "false"),
        ("($body.missing ?? 5) = 5", "true"),
        ("$body.t = '25'", "false"),
        ("$body.t <> '25'", "true"),
        ("$body.t < 'abc'", "undefined"),
        ("$body.n = null", "true"),
        ("$body.t <> null", "true"),
        ("$body.n < 5", "undefined"),
        ("is_defined($body.zero / $body.zero)", "false"),
        ("$body.zero / $body.zero < 5", "undefined"),
    ]);
}

#[test]
fn is_null_is_true_of_null_alone() {
    strict(&[
        ("is_null($body.n)", "true"),
        ("is_null($body.t)", "false"),
        ("is_null($body.missing)", "false"),
        ("is_null($body.o)", "false"),
        ("is_null(nothing)", "true"),
        ("is_null(null)", "true"),
    ]);
}

#[test]
fn body_values_work_with_every_operator() {
    strict(&[
        ("key1 = 'value1' AND $body.flag", "true"),
        ("$body.flag AND key1 = 'value1'", "true"),
        ("$body.off AND nix = 'a'", "false"),
        ("$body.flag OR $body.t", "true"),
        ("$body.t AND true", "undefined"),
        ("$body.t OR $body.flag", "true"),
        ("null OR $body.flag", "true"),
        ("$body.flag OR null", "true"),
        ("$body.t OR null", "undefined"),
        ("null AND $body.flag", "false"),
        ("$body.flag AND 'text'", "error"),
        ("$body.t % 2 = 1", "true"),
        ("$body.s % 2 = 1", "undefined"),
        ("-($body.s) = 1", "undefined"),
    ]);
}

#[test]
fn dates_are_text() {
    strict(&[
        ("$body.when = '2024-02-29T23:59:59Z'", "true"),
        ("starts_with($body.when, '2024')", "true"),
    ]);
}

#[test]
fn any_key_of_a_body_can_be_named() {
    strict(&[
        ("$body['odd key'] = 1", "true"),
        ("$body.list[1][1] = 3", "true"),
        ("$body['list'][2]['k'] = 'v'", "true"),
        ("$body.list[x] = 1", "error"),
        ("$body = 1", "error"),
        ("$body.5 = 1", "error"),
        ("$key[0] = 1", "error"),
    ]);
}

#[test]
fn a_media_type_may_have_parameters() {
    let said = |headers: &[(&str, &str)], body: &[u8]| {
        let message = headers
            .iter()
            .fold(Fake::default().bytes(body), |m, (name, value)| {
                m.system(name, value)
            });
        outcome("$body.t = 1", Mode::Strict, &message)
    };
    let json = br#"{"t":1}"#;
    let big: Vec<u8> = [0xFE, 0xFF]
        .into_iter()
        .chain(json.iter().flat_map(|b| [0, *b]))
        .collect();
    assert_eq!(said(&[("contentType", "application/json")], json), "true");
    assert_eq!(
        said(
            &[("contentType", "application/json; charset=\"UTF-8\"")],
            json
        ),
        "true"
    );
    assert_eq!(
        said(&[("contentType", "application/json;charset=utf-16")], &big),
        "true"
    );
    assert_eq!(
        said(
            &[
                ("contentType", "application/json"),
                ("contentEncoding", "gzip")
            ],
            json
        ),
        "undefined"
    );
    assert_eq!(
        said(&[("contentType", "application/json;charset=latin1")], json),
        "undefined"
    );
    assert_eq!(said(&[("contentType", "text/json")], json), "undefined");
    assert_eq!(said(&[], json), "undefined");
    assert_eq!(
        said(
            &[("contentType", "application/json")],
            b"\xEF\xBB\xBF{\"t\":1}"
        ),
        "true"
    );
}

#[test]
fn wildcards_end_a_source_and_quotes_name_anything() {
    let takes = |source: &str, path: &str| {
        let text = format!("FROM {source} INTO $upstream");
        route(&text, Mode::Strict).source().matches(path)
    };
    assert!(takes("/messages/*", "/messages/modules/m"));
    assert!(takes("/*", "/twinChangeNotifications"));
    assert!(takes(
        "/messages/modules/'from'/outputs/x",
        "/messages/modules/from/outputs/x"
    ));
    assert!(takes("/messages/modules/\"e5\"", "/messages/modules/e5"));
    assert!(takes("/messages/modules/123", "/messages/modules/123"));
    assert!(takes(
        "/messages/modules/temp-filter/*",
        "/messages/modules/temp-filter/outputs/o"
    ));
    assert!(takes("/messages/modules/'m(1)'", "/messages/modules/m(1)"));
    assert!(takes(
        "/messages/modules/'*'",
        "/messages/modules/*/outputs/o"
    ));
    assert!(!takes("/messages/modules/'*'", "/messages/modules/m"));
    for source in [
        "/messages/modules/*/outputs/o",
        "/messages/modules/m*",
        "/messages/''",
        "/messages/'a/b'",
        "/messages/",
        "/messages/from",
    ] {
        let text = format!("FROM {source} INTO $upstream");
        assert!(Route::compile(&text, Mode::Strict).is_err(), "{source}");
    }
}

#[test]
fn comments_stay_out_of_sources_and_sinks() {
    let r = route(
        "FROM /messages/* INTO BrokeredEndpoint('/modules/m/inputs/*/')",
        Mode::Strict,
    );
    assert_eq!(r.endpoint().to_string(), "m/*");
    let r = route(
        "FROM /messages/* WHERE true /* why */ INTO $upstream",
        Mode::Strict,
    );
    assert_eq!(r.condition_text(), "true");
    assert!(Route::compile("FROM /messages INTO $upstream /* x */", Mode::Strict).is_err());
}

#[test]
fn address_words_are_checked() {
    let error = fault(
        "FROM /* INTO BrokeredEndpoint('/module/m/inputs/i')",
        Mode::Strict,
    );
    assert_eq!(
        (error.code, error.column),
        (DiagnosticCode::AddressWords, 31)
    );
    assert!(
        error.message.contains("`module`") && error.message.contains("`modules`"),
        "{error}"
    );
}

#[test]
fn twin_changes_can_be_looked_into() {
    let text = |path: &str| {
        format!("FROM /twinChangeNotifications WHERE twin_change_includes({path}) INTO $upstream")
    };
    let taken = |path: &str, body: &str| {
        let entry = RouteEntry {
            name: "r".to_owned(),
            route: route(&text(path), Mode::Strict),
            priority: edge_core::Priority::DEFAULT,
            time_to_live: None,
        };
        let message = Fake::default().bytes(body.as_bytes());
        !targets(
            &RouteTable::new(vec![entry]),
            "/twinChangeNotifications",
            &message,
        )
        .is_empty()
    };
    let whole = r#"{"properties":{"reported":{"t":5}}}"#;
    assert!(taken("properties.reported.t", whole));
    assert!(taken("properties.reported.t", r#"{"t":null}"#));
    assert!(!taken("properties.reported.x", whole));
    assert!(!taken("properties.desired.t", r#"{"t":1}"#));
    assert!(!taken("properties.reported.t", "no json"));
    for path in [
        "",
        "'properties.reported.t'",
        "t",
        "properties.reported.",
        "tags.a, tags.b",
    ] {
        assert!(Route::compile(&text(path), Mode::Strict).is_err(), "{path}");
        assert!(Route::compile(&text("tags.a"), Mode::Compat).is_err());
    }
    let elsewhere = "FROM /messages WHERE twin_change_includes(tags.a) INTO $upstream";
    assert_eq!(
        fault(elsewhere, Mode::Strict).code,
        DiagnosticCode::FunctionUnavailable
    );
}

#[test]
fn messages_without_an_output_can_be_told() {
    let source = "FROM /messages/modules/m WHERE NOT is_defined({$outputName}) INTO $upstream";
    let condition = route(source, Mode::Strict);
    let truth = |m: &Fake| {
        condition
            .condition()
            .evaluate(m, &mut edge_route::Body::default())
    };
    assert_eq!(truth(&Fake::default()), edge_route::Truth::True);
    assert_eq!(
        truth(&Fake::default().system("outputName", "o")),
        edge_route::Truth::False
    );
}

#[test]
fn errors_show_the_strict_form() {
    let message = |text: &str| compile(text, Mode::Strict).unwrap_err()[0].message.clone();
    assert!(message("true & true").contains("AND"));
    assert!(message("abs(key1").contains("`)`"));
    assert!(
        fault("FROM /messages/into INTO $upstream", Mode::Strict)
            .message
            .contains("expected a name")
    );
}
