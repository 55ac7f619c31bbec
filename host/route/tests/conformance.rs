//! The peer's unit tests as data: every vector of every kind but `hub_config`, which is about whole
//! manifests and checked by `edge-manifest`.
//!
//! `EDGE_ROUTING_VECTORS` names another file to run instead of the fixture.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use edge_core::{EndpointId, ModuleId, Priority};
use edge_route::{
    Body, CompileOptions, Condition, DiagnosticCode, Features, MessageView, Mode, Route,
    RouteEndpoint, RouteEntry, RouteTable, Scalar, Scratch, SourcePattern, Truth, source_path,
};
use serde_json::{Map, Value};

/// A message as the vectors describe one. Nulls are possible.
#[derive(Default)]
struct Vector {
    app: Map<String, Value>,
    system: Map<String, Value>,
    body: Vec<u8>,
}

fn look_up<'a>(map: &'a Map<String, Value>, name: &str) -> Option<Option<Cow<'a, str>>> {
    let (_, value) = map
        .iter()
        .find(|(key, _)| key.to_lowercase() == name.to_lowercase())?;
    Some(value.as_str().map(Cow::Borrowed))
}

impl MessageView for Vector {
    fn body(&self) -> &[u8] {
        &self.body
    }
    fn property(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        look_up(&self.app, name)
    }
    fn system(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        look_up(&self.system, name)
    }
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .bytes()
        .filter(|b| *b != b'=')
        .map(|b| u32::try_from(ALPHABET.iter().position(|a| *a == b).unwrap()).unwrap())
        .collect();
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, d| bits << 6 | d) << (6 * (4 - group.len()));
        out.extend(bits.to_be_bytes()[1..].iter().take(group.len() - 1));
    }
    out
}

impl Vector {
    fn new(message: &Value) -> Self {
        let map = |key: &str| message[key].as_object().cloned().unwrap_or_default();
        let body = match (
            &message["body"],
            message["body_text"].as_str(),
            message["body_base64"].as_str(),
        ) {
            (_, Some(text), _) => text.as_bytes().to_vec(),
            (_, _, Some(text)) => base64(text),
            (Value::Null, ..) => Vec::new(),
            (json, ..) => serde_json::to_vec(json).unwrap(),
        };
        Self {
            app: map("app"),
            system: map("system"),
            body,
        }
    }
}

fn options(vector: &Value) -> CompileOptions {
    let has = |name: &str| {
        vector["features"]
            .as_array()
            .is_some_and(|list| list.iter().any(|f| f == name))
    };
    let source = SourcePattern::new(vector["source"].as_str().unwrap_or("/messages"));
    CompileOptions {
        mode: Mode::Compat,
        twin_source: source.is_twin_change(),
        features: Features {
            body_query: has("body_query"),
            twin_change_includes: has("twin_change_includes"),
        },
    }
}

fn shown(result: Result<Truth, String>) -> Value {
    match result {
        Ok(Truth::True) => true.into(),
        Ok(Truth::False) => false.into(),
        Ok(Truth::Undefined) => "undefined".into(),
        Err(_) => "error".into(),
    }
}

fn told(errors: &[edge_route::Diagnostic]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

type Outcome = Result<(), String>;

fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Outcome {
    match found == expected {
        true => Ok(()),
        false => Err(format!("found {found:?}, expected {expected:?}")),
    }
}

fn condition(v: &Value) -> Outcome {
    let text = v["condition"].as_str().unwrap();
    let message = Vector::new(&v["message"]);
    let compiled = Condition::compile(text, &options(v)).map_err(|e| told(&e));
    let result = compiled
        .as_ref()
        .map(|c| c.evaluate(&message, &mut Body::default()));
    let detail = result.err().cloned().unwrap_or_default();
    let alone = shown(result.map_err(Clone::clone));
    same(&alone, &v["expect"]).map_err(|e| format!("{e} {detail}"))?;
    if v["source"].as_str().is_none_or(|s| s == "/messages") {
        in_a_route(text, &message, v)?;
    }
    Ok(())
}

/// The same condition within a route, which always has body queries.
fn in_a_route(text: &str, message: &Vector, v: &Value) -> Outcome {
    if text.trim().is_empty() || v["features"].as_array().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let route = Route::compile(
        &format!("FROM /messages WHERE {text} INTO $upstream"),
        Mode::Compat,
    );
    let route = route.map(|r| r.expect("the text is not blank"));
    let mut chosen = false;
    if let Ok(route) = &route {
        same(&route.condition_text(), &text.trim())?;
        let table = table([route.clone()]);
        let selection = table.select("/messages");
        table.evaluate(&selection, message, &mut Scratch::default(), |_| {
            chosen = true
        });
        same(&Value::from(chosen), &(v["expect"] == true).into())?;
    }
    let truth = route
        .map(|r| r.condition().evaluate(message, &mut Body::default()))
        .map_err(|e| told(&e));
    same(&shown(truth), &v["expect"]).map_err(|e| format!("in a route: {e}"))
}

fn table(routes: impl IntoIterator<Item = Route>) -> RouteTable {
    let entry = |(i, route)| RouteEntry {
        name: format!("r{i}"),
        route,
        priority: Priority::DEFAULT,
        time_to_live: None,
    };
    RouteTable::new(routes.into_iter().enumerate().map(entry).collect())
}

fn value(v: &Value) -> Outcome {
    let condition =
        Condition::compile(v["condition"].as_str().unwrap(), &options(v)).map_err(|e| told(&e))?;
    let found = condition.value(&Vector::new(&v["message"]), &mut Body::default());
    let number = |n: f64| match found {
        Scalar::Number(m) if m == n || (m - n).abs() < 1e-12 => Ok(()),
        Scalar::Undefined if n.is_nan() => Ok(()),
        _ => Err(format!("found {found:?}, expected {n}")),
    };
    match &v["value"] {
        Value::Number(n) => number(n.as_f64().unwrap()),
        Value::Bool(b) => same(&found, &Scalar::Bool(*b)),
        Value::Null => same(&found, &Scalar::Null),
        Value::String(s) => match (s.as_str(), &found) {
            ("NaN", _) => number(f64::NAN),
            ("Infinity", Scalar::Number(_)) => number(f64::INFINITY),
            ("-Infinity", Scalar::Number(_)) => number(f64::NEG_INFINITY),
            _ => same(&found, &Scalar::String(s.clone())),
        },
        other => Err(format!("this test does not know the value {other}")),
    }
}

fn diagnostic(v: &Value) -> Outcome {
    let errors = match Condition::compile(v["condition"].as_str().unwrap(), &options(v)) {
        Ok(_) => return Err("compiled".to_owned()),
        Err(errors) => errors,
    };
    let first = &errors[0];
    let expect = |key: &str, found: u64| match v[key].as_u64() {
        Some(n) if n != found => Err(format!(
            "{key}: found {found}, expected {n}: {}",
            told(&errors)
        )),
        _ => Ok(()),
    };
    expect("error_count", errors.len() as u64)?;
    expect("line", first.line.into())?;
    expect("column_start", first.column.into())?;
    expect("column_end_exclusive", first.end_column.into())
}

/// Faults that the peer notices only when a parsed route is put to use.
const TYPES: [DiagnosticCode; 5] = [
    DiagnosticCode::Operands,
    DiagnosticCode::Arguments,
    DiagnosticCode::UnknownFunction,
    DiagnosticCode::FunctionUnavailable,
    DiagnosticCode::BodyPath,
];

fn route(v: &Value) -> Outcome {
    let route = Route::compile(v["route"].as_str().unwrap(), Mode::Compat);
    if v["expect"] == "error" {
        return match route {
            Err(_) => Ok(()),
            Ok(route) => Err(format!("compiled: {route:?}")),
        };
    }
    // Parsing a route looks at syntax and sink only; types are checked when it is put to use. We do
    // both at once, so a route with nothing wrong but types still shows that it was parsed.
    let text = v["route"].as_str().unwrap();
    let (route, condition) = match route {
        Ok(route) => {
            let route = route.ok_or("blank")?;
            (route.clone(), route.condition_text().to_owned())
        }
        Err(errors) if errors.iter().all(|e| TYPES.contains(&e.code)) => {
            let condition = v["condition"].as_str().unwrap();
            let at = text
                .find(condition)
                .ok_or("the condition is not in the text")?;
            let without = format!("{}true{}", &text[..at], &text[at + condition.len()..]);
            let route = Route::compile(&without, Mode::Compat).map_err(|e| told(&e))?;
            (route.ok_or("blank")?, condition.to_owned())
        }
        Err(errors) => return Err(told(&errors)),
    };
    let plain = |s: &str| {
        s.to_lowercase()
            .trim_end_matches('*')
            .trim_end_matches('/')
            .to_owned()
    };
    same(
        &plain(route.source().text()),
        &plain(v["source"].as_str().unwrap()),
    )?;
    same(&condition.as_str(), &v["condition"].as_str().unwrap())?;
    let expected = &v["endpoint"];
    let endpoint = match expected["type"].as_str() {
        Some("system") => RouteEndpoint::system(expected["name"].as_str().unwrap()),
        Some("function") => RouteEndpoint::function(
            expected["name"].as_str().unwrap(),
            expected["address"].as_str().unwrap(),
            Mode::Compat,
        ),
        other => {
            return Err(format!(
                "this test does not know the endpoint type {other:?}"
            ));
        }
    };
    same(route.endpoint(), &endpoint.map_err(|e| e.to_string())?)
}

fn endpoint(v: &Value) -> Outcome {
    let endpoint = match v["system"].as_str() {
        Some(name) => RouteEndpoint::system(name),
        None => {
            let text = |key: &str| v[key].as_str().unwrap_or_default();
            RouteEndpoint::function(text("function"), text("address"), Mode::Compat)
        }
    };
    match (endpoint, &v["expect"]) {
        (Err(_), Value::String(s)) if s == "error" => Ok(()),
        (Ok(endpoint @ RouteEndpoint::ModuleInput { .. }), expected @ Value::Object(_)) => {
            let id = endpoint.id(v["edge_device"].as_str().unwrap_or_default());
            same(&id.as_str(), &expected["id"].as_str().unwrap_or_default())?;
            let RouteEndpoint::ModuleInput { input, .. } = &endpoint else {
                return Err("no module input".to_owned());
            };
            same(&&**input, &expected["input"].as_str().unwrap_or(input))
        }
        // How an upstream is named in the vectors is not ours to know.
        (Ok(RouteEndpoint::Upstream), expected) if *expected != "error" => Ok(()),
        (found, expected) => Err(format!("found {found:?}, expected {expected}")),
    }
}

fn source_match(v: &Value) -> Outcome {
    let pattern = SourcePattern::new(v["pattern"].as_str().unwrap());
    same(
        &Value::from(pattern.matches(v["message_source"].as_str().unwrap())),
        &v["expect"],
    )
}

fn message_source(v: &Value) -> Outcome {
    let message = Vector::new(v);
    same(
        &source_path(&message).as_str(),
        &v["expect"].as_str().unwrap(),
    )
}

fn body_path(v: &Value) -> Outcome {
    let message = Vector::new(&v["message"]);
    let found = Body::default().get(&message, v["path"].as_str().unwrap(), Mode::Compat);
    let found = match found {
        Err(_) => "error".into(),
        Ok(Scalar::Undefined) => "undefined".into(),
        Ok(Scalar::Null) => Value::Null,
        Ok(Scalar::Bool(b)) => b.into(),
        Ok(Scalar::Number(n)) => n.into(),
        Ok(Scalar::String(s)) => s.into(),
    };
    match (found.as_f64(), v["value"].as_f64()) {
        (Some(a), Some(b)) => same(&a, &b),
        _ => same(&found, &v["value"]),
    }
}

fn evaluate(v: &Value) -> Outcome {
    let compile = |r: &Value| {
        let endpoint = RouteEndpoint::ModuleInput {
            module: ModuleId::new(r["endpoint"].as_str().unwrap()).unwrap(),
            input: "input".into(),
        };
        let route = Route::from_parts(
            r["source"].as_str().unwrap(),
            r["condition"].as_str().unwrap(),
            endpoint,
            Mode::Compat,
        )
        .map_err(|e| told(&e))?;
        Ok(RouteEntry {
            name: String::new(),
            route,
            priority: Priority(
                r["priority"]
                    .as_u64()
                    .unwrap_or_default()
                    .try_into()
                    .unwrap(),
            ),
            time_to_live: r["ttl_secs"]
                .as_u64()
                .filter(|s| *s > 0)
                .map(Duration::from_secs),
        })
    };
    let routes = v["routes"].as_array().unwrap().iter().map(compile);
    let message = Vector::new(&v["message"]);
    let path = v["message_source"].as_str().unwrap();
    let run = |table: &RouteTable, path: &str| {
        let mut found = BTreeSet::new();
        table.evaluate(
            &table.select(path),
            &message,
            &mut Scratch::default(),
            |t| {
                let EndpointId::ModuleInput { module, .. } = &table.endpoints()[t.endpoint] else {
                    return;
                };
                let ttl = t.time_to_live.map_or(0, |d| d.as_secs());
                assert!(
                    found.insert((module.to_string(), u64::from(t.priority.0), ttl)),
                    "two copies"
                );
            },
        );
        found
    };
    let mut found = run(
        &RouteTable::new(routes.collect::<Result<_, String>>()?),
        path,
    );
    // The peer's library has a fallback route for telemetry, which looks at no source; its hub has
    // none, and so have we. What the vectors say of it is checked with a table of its own.
    if let (true, fallback @ Value::Object(_)) = (
        found.is_empty() && path.starts_with("/messages"),
        &v["fallback"],
    ) {
        let entry = compile(fallback)?;
        let path = entry.route.source().prefix().to_owned();
        found = run(&RouteTable::new(vec![entry]), &path);
    }
    let expected = v["expect_endpoints"].as_array().unwrap();
    let expected: BTreeSet<_> = expected
        .iter()
        .map(|e| {
            let number = |key: &str| e[key].as_u64().unwrap_or_default();
            (
                e["endpoint"].as_str().unwrap().to_owned(),
                number("priority"),
                number("ttl_secs"),
            )
        })
        .collect();
    same(&found, &expected)
}

fn hub_route(v: &Value) -> Outcome {
    let routes: Result<Vec<_>, _> = v["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| Route::compile(r.as_str().unwrap(), Mode::Compat).map_err(|e| told(&e)))
        .collect();
    let mut message = Vector::new(&v["message"]);
    let sender = &v["sender"];
    let mut set = |name: &str, value: &Value| {
        if !value.is_null() {
            message.system.insert(name.to_owned(), value.clone());
        }
    };
    set("connectionDeviceId", &sender["device"]);
    set("connectionModuleId", &sender["module"]);
    set("outputName", &sender["output"]);
    if sender["reported_update"] == true {
        set("messageType", &"twinChangeNotification".into());
    }
    let table = table(routes?.into_iter().flatten());
    let mut found = BTreeSet::new();
    table.evaluate(
        &table.select(&source_path(&message)),
        &message,
        &mut Scratch::default(),
        |t| {
            found.insert(table.endpoints()[t.endpoint].to_string());
        },
    );
    let expected = v["expect_sinks"].as_array().unwrap();
    let expected = expected
        .iter()
        .map(|s| s.as_str().unwrap().to_owned())
        .collect();
    same(&found, &expected)
}

fn complexity(v: &Value) -> Outcome {
    // A matter of syntax: one of these does not pass the types.
    let text = v["condition"].as_str().unwrap();
    let tokens = Condition::complexity_of(text, Mode::Compat).map_err(|e| e.to_string())?;
    if let Ok(condition) = Condition::compile(text, &options(v)) {
        same(&condition.complexity(), &tokens)?;
    }
    same(&Some(tokens as u64), &v["tokens"].as_u64())
}

fn never_throws(v: &Value) -> Outcome {
    let message = Vector::new(&v["message"]);
    let mut texts = vec![v["condition_template"].as_str().unwrap().to_owned()];
    for (name, range) in v["ranges"].as_object().unwrap() {
        let (from, to) = (range[0].as_i64().unwrap(), range[1].as_i64().unwrap());
        let place = format!("{{{name}}}");
        texts = (from..=to)
            .flat_map(|n| {
                texts
                    .iter()
                    .map(|t| t.replace(&place, &n.to_string()))
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    for text in texts {
        let condition =
            Condition::compile(&text, &options(v)).map_err(|e| format!("{text}: {}", told(&e)))?;
        condition.evaluate(&message, &mut Body::default());
    }
    Ok(())
}

#[test]
fn every_vector_holds() {
    let path = std::env::var_os("EDGE_ROUTING_VECTORS");
    let path =
        path.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors.json").into());
    let text =
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(!vectors.is_empty());
    let mut failures = Vec::new();
    for v in vectors {
        let kind = v["kind"].as_str().unwrap_or_default();
        let outcome = match kind {
            "condition" => condition(v),
            "value" => value(v),
            "diagnostic" => diagnostic(v),
            "route" => route(v),
            "endpoint" => endpoint(v),
            "source_match" => source_match(v),
            "message_source" => message_source(v),
            "body_path" => body_path(v),
            "evaluate" => evaluate(v),
            "hub_route" => hub_route(v),
            "complexity" => complexity(v),
            "never_throws" => never_throws(v),
            "hub_config" => Ok(()),
            _ => Err("no such kind is known".to_owned()),
        };
        if let Err(why) = outcome {
            failures.push(format!("{} ({kind}): {why}\n    {v}", v["id"]));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} vectors fail:\n{}",
        failures.len(),
        vectors.len(),
        failures.join("\n")
    );
}
