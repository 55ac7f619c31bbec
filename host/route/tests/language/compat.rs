//! Compat mode where no peer test fixes it: what follows from the peer's implementation, quirks
//! included.

use crate::support::{Fake, check, compile, fault, outcome, route, sample};
use edge_route::{DiagnosticCode, Mode, Route};

fn compat(table: &[(&str, &str)]) {
    check(Mode::Compat, &sample(), table);
}

#[test]
fn names_swallow_operator_signs() {
    compat(&[
        ("key1='value1'", "true"),
        ("key1!='x'", "undefined"),
        ("key1 != 'x'", "true"),
        ("key1<>'x'", "true"),
        ("a-b = 'x'", "true"),
        ("'a'||'b' = 'ab'", "undefined"),
        ("'a' || 'b' = 'ab'", "true"),
        ("as_number(key2)-1 = 2", "undefined"),
        ("as_number(key2) - 1 = 2", "true"),
        ("3!=4", "error"),
        ("6%4=2", "error"),
        ("6/3 = 2", "true"),
        ("$body.t -1 = 24", "undefined"),
        ("-$body.t = 1", "error"),
        ("5. = 'x'", "undefined"),
        ("1-2 = 'x'", "undefined"),
    ]);
}

#[test]
fn literals_are_read_as_the_lexer_has_them() {
    compat(&[
        ("0xFFFFFFFFFFFFFFFF = -1", "true"),
        ("0x10 = 16", "true"),
        ("0x1FFFFFFFFFFFFFFFF = 1", "error"),
        ("e5", "undefined"),
        ("e5 = 1", "error"),
        ("is_defined(e5)", "false"),
        (".5 = 0.5", "true"),
        ("-.5e1 = -5", "true"),
        ("True = 'x'", "undefined"),
        ("NULL = 'x'", "undefined"),
        ("tRuE = null", "error"),
        ("'line\nbreak' = \"line\nbreak\"", "true"),
        (r"'\n' = 'x'", "error"),
        (r"'\u00e9' = 'é'", "true"),
        (r"'it\'s' = \u0022x", "error"),
        ("\"it's\" = 'it\\'s'", "true"),
        ("10e1000 = 1/0", "true"),
    ]);
}

#[test]
fn a_condition_alone_is_cut_where_it_cannot_go_on() {
    compat(&[
        ("true garbage", "true"),
        ("true 'x'", "true"),
        ("false ) or true", "false"),
        ("true (", "true"),
        ("true @", "error"),
        ("true =", "error"),
        ("", "undefined"),
        ("/* only a comment */", "undefined"),
        ("/* c */ true /* d", "error"),
    ]);
    for text in ["true garbage", "true 'x'", "false ) or true", "true ("] {
        let whole = format!("FROM /messages WHERE {text} INTO $upstream");
        assert!(Route::compile(&whole, Mode::Compat).is_err(), "{whole}");
    }
}

#[test]
fn precedence_and_grouping() {
    compat(&[
        ("1 = 1 = true", "true"),
        ("1 < 2 < 3", "error"),
        ("NOT key1 = 'b'", "error"),
        ("NOT (key1 = 'b')", "true"),
        ("NOT true = false", "true"),
        ("true OR true AND false", "true"),
        ("2 + 3 * 4 = 14", "true"),
        ("'a' || 'b' = 'ab'", "true"),
        ("10 - 4 - 3 = 3", "true"),
        ("- - 3 = 3", "true"),
        ("false ?? true", "false"),
        ("(nix ?? 'd') = 'd'", "true"),
        ("(nothing ?? 'd') = 'd'", "undefined"),
    ]);
}

#[test]
fn names_look_in_application_properties_first() {
    let message = Fake::default()
        .app("$sys", "app")
        .app("$body.t", "hidden")
        .system("sys", "system")
        .system("other", "o")
        .json(r#"{"t":1}"#);
    check(
        Mode::Compat,
        &message,
        &[
            ("$sys = 'app'", "true"),
            ("{$sys} = 'system'", "true"),
            ("{ $SYS } = 'system'", "true"),
            ("$OTHER = 'o'", "true"),
            ("$body.t = 'hidden'", "true"),
            ("{$body.t} = 1", "true"),
            ("$a[0]", "undefined"),
            ("$a[0] = 'x'", "error"),
            ("a[0] = 'x'", "error"),
        ],
    );
}

#[test]
fn body_values_of_different_kinds_are_ordered_by_kind() {
    compat(&[
        ("$body.t = '25'", "false"),
        ("$body.t < 'abc'", "true"),
        ("$body.missing > 10", "true"),
        ("$body.missing < 10", "false"),
        ("$body.missing <> 'x'", "true"),
        ("$body.missing = null", "true"),
        ("$body.flag < $body.t", "true"),
        ("$body.s < $body.n", "true"),
        ("$body.n <= null", "true"),
        ("$body.n < null", "false"),
        ("$body.t > nix", "undefined"),
        ("$body.s > nothing", "true"),
        ("$body.s = nothing", "false"),
        ("$body.t = undefined", "error"),
        ("undefined = $body.t", "error"),
    ]);
}

#[test]
fn body_paths_lead_where_the_peer_goes() {
    compat(&[
        ("$body.T = 25", "false"),
        ("$BODY.t = 25", "true"),
        ("$body.list[0] = 1", "true"),
        ("$body.list[1][0] = 2", "true"),
        ("$body.list[2].k = 'v'", "true"),
        ("$body.list[9] = null", "true"),
        ("$body.t[0] = null", "true"),
        ("$body.$.t = 25", "true"),
        ("$body.o.* = 7", "true"),
        ("is_defined($body.*)", "false"),
        ("is_defined($body.o)", "false"),
        ("is_defined($body.list)", "false"),
        ("is_defined($body.missing)", "true"),
        ("is_defined($body.when)", "false"),
        ("$body.when <> 'x'", "undefined"),
        ("$body.dup = 2", "true"),
        ("$body. = 1", "error"),
        ("$body.a..b = 1", "error"),
        ("$body.1 = 1", "error"),
        ("$body.list[x] = 1", "error"),
        ("$body.list['k'] = 1", "error"),
        ("$body.list[-1] = 1", "error"),
    ]);
}

#[test]
fn operators_on_body_values() {
    compat(&[
        ("$body.t + 5 = 30", "true"),
        ("5 + $body.t = 30", "true"),
        ("$body.s + 5 = 30", "undefined"),
        ("$body.t % 2 = 1", "error"),
        ("- ($body.t) = 1", "error"),
        ("$body.s || 'x' = 'textx'", "true"),
        ("$body.t || 'x' = 'x'", "undefined"),
        ("$body.flag", "true"),
        ("$body.t", "undefined"),
        ("$body.n", "undefined"),
        ("NOT $body.flag", "false"),
        ("NOT $body.n", "undefined"),
        ("$body.flag AND key1 = 'value1'", "true"),
        ("key1 = 'value1' AND $body.flag", "error"),
        ("$body.off AND $body.t", "undefined"),
        ("$body.flag OR $body.t", "undefined"),
        ("$body.off AND nix = 'a'", "undefined"),
        ("$body.flag AND null", "error"),
        ("$body.flag AND 'text'", "undefined"),
        ("($body.missing ?? 5) = 5", "false"),
        ("($body.o ?? 5) = 5", "true"),
        // NaN made of body values stays a number, below all others.
        ("$body.zero / $body.zero < 5", "true"),
        ("is_defined($body.zero / $body.zero)", "true"),
        ("is_number($body.zero / $body.zero)", "false"),
        ("is_defined(0/0)", "false"),
    ]);
}

#[test]
fn null_in_logic() {
    compat(&[
        ("null AND true", "false"),
        ("null AND (nix = 'a')", "false"),
        ("(null AND true) = null", "true"),
        ("null OR true", "true"),
        ("true OR null", "true"),
        ("null OR (nix = 'a')", "undefined"),
        ("NOT null", "true"),
        ("null", "false"),
        ("null = null", "true"),
        ("null < null", "false"),
        ("null <= null", "true"),
        ("null = 1", "error"),
        ("key1 AND true", "error"),
        ("undefined = undefined", "undefined"),
        ("undefined = 'x'", "error"),
        ("not undefined", "error"),
    ]);
}

#[test]
fn functions_at_their_edges() {
    compat(&[
        ("is_null($body.t)", "true"),
        ("is_null($body.n)", "true"),
        ("is_null($body.missing)", "false"),
        ("is_null($body.o)", "undefined"),
        ("is_null(nothing)", "true"),
        ("is_null(nix)", "false"),
        ("is_bool(nix = 'a')", "undefined"),
        ("is_bool(nix)", "false"),
        ("is_bool($body.o)", "undefined"),
        ("is_bool($body.flag)", "true"),
        ("is_number(1/0)", "false"),
        ("is_string($body.s)", "true"),
        ("substring('abc', 3) = ''", "true"),
        ("is_defined(substring('abc', 3, 0))", "false"),
        ("substring('abc', 1.9) = 'bc'", "true"),
        ("substring('abc', 0.5, 2.5) = 'ab'", "true"),
        ("is_defined(substring('abc', 1, 3))", "false"),
        ("length('😀') = 2", "true"),
        ("index_of('😀x', 'x') = 2", "true"),
        ("index_of('abc', '') = 0", "true"),
        ("concat(nothing, 'a') = 'a'", "true"),
        ("is_defined(concat(nix, 'a'))", "false"),
        ("as_number('(3)') = -3", "true"),
        ("as_number('1,000') = 1000", "true"),
        ("is_defined(as_number('0x10'))", "false"),
        ("as_number(3) = 3", "true"),
        ("sign(-0.0) = 0", "true"),
        ("power(2, 10) = 1024", "true"),
        ("abs (-3) = 3", "true"),
        ("upper('straße') = 'STRAßE'", "true"),
        ("twin_change_includes(properties.reported.t)", "error"),
    ]);
}

#[test]
fn strings_are_ordered_by_utf16_units() {
    compat(&[
        ("'a' < 'B'", "false"),
        ("'😀' < '\u{FF5E}'", "true"),
        ("'' < 'a'", "true"),
        ("'abc' = 'ABC'", "false"),
    ]);
}

#[test]
fn a_body_is_read_only_as_what_it_is_said_to_be() {
    let said = |content_type: &str, encoding: &str, body: &[u8]| {
        let message = Fake::default()
            .bytes(body)
            .system("contentType", content_type)
            .system("contentEncoding", encoding);
        outcome("$body.t = 1", Mode::Compat, &message)
    };
    let json = br#"{"t":1}"#;
    let wide: Vec<u8> = json.iter().flat_map(|b| [*b, 0]).collect();
    let wider: Vec<u8> = json.iter().flat_map(|b| [*b, 0, 0, 0]).collect();
    assert_eq!(said("Application/JSON", "UTF-8", json), "true");
    assert_eq!(said("application/json", "utf-16", &wide), "true");
    assert_eq!(said("application/json", "UTF-32", &wider), "true");
    assert_eq!(
        said("application/json; charset=utf-8", "utf-8", json),
        "undefined"
    );
    assert_eq!(said("application/json", "utf8", json), "undefined");
    assert_eq!(said("application/json", "utf-8", &wide), "undefined");
    assert_eq!(
        said("application/json", "utf-16", &wide[..wide.len() - 1]),
        "undefined"
    );
    // .NET's decoders leave a byte order mark in the text, and the JSON reader does not take it.
    assert_eq!(
        said("application/json", "utf-8", b"\xEF\xBB\xBF{\"t\":1}"),
        "undefined"
    );
    assert_eq!(
        said(
            "application/json",
            "utf-16",
            &[&[0xFF, 0xFE], &wide[..]].concat()
        ),
        "undefined"
    );
    // What is no character is replaced, not refused.
    assert_eq!(
        said("application/json", "utf-8", b"{\"t\":1,\"x\":\"\xFF\"}"),
        "true"
    );
    for body in [
        "[1]",
        "1",
        "{\"t\":1}x",
        "{'t':1}",
        "{\"t\":1,}",
        "{\"t\":01}",
        "",
        "{\"t\":1",
    ] {
        assert_eq!(
            said("application/json", "utf-8", body.as_bytes()),
            "undefined",
            "{body}"
        );
    }
    assert_eq!(
        said(
            "application/json",
            "utf-8",
            br#" {"\u0074":1, "e":"\ud83d\ude00\ud83d"} "#
        ),
        "true"
    );
}

#[test]
fn routes_are_read_as_the_grammar_has_them() {
    for text in [
        "from/messages into $UPSTREAM",
        "SELECT * FROM /messages INTO $upstream",
        "select*from /messages INTO $upstream",
        "FROM /a /b INTO $upstream and whatever follows ( ) '",
        "FROM /messages/modules/* INTO brokeredendpoint('/x/m/y/i')",
        "FROM /* INTO BROKEREDENDPOINT(\" /modules/m/inputs/i/ \")",
        "FROM /messages/* c */ INTO $upstream",
    ] {
        let ok = Route::compile(text, Mode::Compat).is_ok();
        assert_eq!(ok, text != "select*from /messages INTO $upstream", "{text}");
    }
    for text in [
        "FROM messages INTO $upstream",
        "FROM / INTO $upstream",
        "FROM /messages/ INTO $upstream",
        "FROM /messages/modules/from INTO $upstream",
        "FROM /messages/modules/e5 INTO $upstream",
        "FROM /messages/modules/123 INTO $upstream",
        "FROM /messages/modules/and INTO $upstream",
        "FROM /messages INTO $downstream",
        "FROM /messages INTO Endpoint('/modules/m/inputs/i')",
        "FROM /messages INTO BrokeredEndpoint('/modules/m/i')",
        "FROM /messages WHERE INTO $upstream",
        "FROM /messages WHERE",
        "FROM /messages",
        "FROM",
        "SELECT a FROM /messages INTO $upstream",
        "FROM /messages/* INTO BrokeredEndpoint('/modules/m/inputs/*/')",
    ] {
        assert!(Route::compile(text, Mode::Compat).is_err(), "{text}");
    }
    for blank in ["", "  \n", "/* nothing */"] {
        assert!(
            matches!(Route::compile(blank, Mode::Compat), Ok(None)),
            "{blank:?}"
        );
        assert!(edge_route::is_blank(blank));
    }
    let kept = route(
        "FROM /a WHERE  key1  =  'x' /* c */ AND true  INTO $upstream",
        Mode::Compat,
    );
    assert_eq!(kept.condition_text(), "key1  =  'x' /* c */ AND true");
    assert_eq!(kept.source().text(), "/a");
}

#[test]
fn what_strict_mode_would_read_differently_is_warned_of() {
    use DiagnosticCode as C;
    let codes = |text: &str| {
        let warnings = route(text, Mode::Compat).warnings().to_vec();
        warnings.iter().map(|w| w.code).collect::<Vec<_>>()
    };
    assert_eq!(
        codes("FROM /messages WHERE key1!='x' INTO $upstream"),
        [C::OperatorInName]
    );
    assert_eq!(
        codes("FROM /messages WHERE a-b = 'x' INTO $upstream"),
        [C::OperatorInName]
    );
    assert_eq!(
        codes("FROM /messages WHERE $absolute-expiry-time = 'x' INTO $upstream"),
        []
    );
    assert_eq!(
        codes("FROM /messages WHERE $body.t > 10 INTO $upstream"),
        [C::AbsentCompares]
    );
    assert_eq!(
        codes("FROM /messages WHERE $body.t < 10 INTO $upstream"),
        []
    );
    assert_eq!(
        codes("FROM /messages WHERE is_null($body.t) INTO $upstream"),
        [C::InvertedIsNull]
    );
    assert_eq!(
        codes("FROM /messages/modules/*/outputs/o INTO $upstream"),
        [C::InnerWildcard]
    );
    // It takes outputs too, as documented; everybody writes it like this.
    assert_eq!(codes("FROM /messages/modules/m/* INTO $upstream"), []);
    assert_eq!(
        codes("FROM /* INTO BrokeredEndpoint('/module/m/input/i')"),
        [C::AddressWords]
    );
    assert_eq!(
        codes("FROM /messages INTO $upstream WHERE x"),
        [C::TrailingText]
    );
    assert_eq!(
        codes("FROM /messages/* c */ INTO $upstream"),
        [C::CommentInRoute]
    );
    assert_eq!(codes("FROM /messages/* INTO $upstream"), []);
}

#[test]
fn errors_say_what_where_and_what_instead() {
    let error = fault("FROM /messages WHERE key2 > 2 INTO $upstream", Mode::Compat);
    assert_eq!(
        error.to_string(),
        "line 1, column 27: property `key2` is a string, `>` compares it with a number: write as_number(key2)"
    );
    assert_eq!((error.column, error.end_column), (27, 28));
    let message = |text: &str| compile(text, Mode::Compat).unwrap_err()[0].message.clone();
    assert!(message("substirng('a', 1) = 'x'").contains("did you mean substring?"));
    assert!(message("key1 == 'a'").contains("one ="));
    assert!(message("(true && true)").contains("write AND"));
    assert!(message("abs(key2) = 1").contains("write as_number(key2)"));
    assert!(message("key1 AND true").contains("key1 = 'true'"));
    assert!(message("key1 = true").contains("key1 = 'true'"));
    assert!(message("true AND $body.x").contains("swap"));
    assert!(
        fault("FORM /messages INTO $upstream", Mode::Compat)
            .message
            .contains("did you mean FROM?")
    );
    assert!(
        fault("FROM /messages INTO $upstraem", Mode::Compat)
            .message
            .contains("$upstream")
    );
    let comment = fault(
        "FROM /messages/* INTO BrokeredEndpoint('/modules/m/inputs/*/')",
        Mode::Compat,
    );
    assert!(comment.message.contains("comment"), "{comment}");
    let second = fault(
        "FROM /messages\n  WHERE key2 > 2\n  INTO $upstream",
        Mode::Compat,
    );
    assert_eq!((second.line, second.column), (2, 14));
}

#[test]
fn unmatched_parentheses_are_placed() {
    let at = |text: &str| {
        let errors = compile(text, Mode::Compat).unwrap_err();
        (
            errors[0].code.as_str(),
            errors[0].column,
            errors[0].end_column,
            errors.len(),
        )
    };
    assert_eq!(at("(2 + 22 = 24"), ("unmatched-parenthesis", 1, 2, 1));
    assert_eq!(at("((2 + 22) = 24"), ("unmatched-parenthesis", 2, 3, 2));
    assert_eq!(at("abs(2)) = 2"), ("unmatched-parenthesis", 7, 8, 2));
    assert_eq!(at("abs((2) = 2").0, "unmatched-parenthesis");
}

#[test]
fn deep_conditions_and_bodies_are_refused_and_long_ones_are_not() {
    let deep = "(".repeat(100_000) + "true" + &")".repeat(100_000);
    assert_eq!(
        compile(&deep, Mode::Compat).unwrap_err()[0].code,
        DiagnosticCode::TooDeep
    );
    for prefix in ["not ", "- ", "abs(", "@ ", "(", "true ?? ", "1 + "] {
        let text = prefix.repeat(50_000) + "1";
        assert!(compile(&text, Mode::Compat).is_err(), "{prefix}");
    }
    let long = vec!["key1 = 'value1'"; 20_000].join(" AND ");
    assert_eq!(outcome(&long, Mode::Compat, &sample()), "true");
    let nested = |n: usize| format!(r#"{{"t":{}1{}}}"#, "[".repeat(n), "]".repeat(n));
    let message = |n| Fake::default().json(&nested(n));
    assert_eq!(
        outcome("$body.x = null", Mode::Compat, &message(100)),
        "true"
    );
    assert_eq!(
        outcome("$body.x = null", Mode::Compat, &message(1_000_000)),
        "undefined"
    );
    assert!(compile(&" ".repeat(2 << 20), Mode::Compat).is_err());
}
