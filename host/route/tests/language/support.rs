//! Messages and shorthands for tests.

use std::borrow::Cow;

use edge_route::{
    Body, CompileOptions, Condition, Diagnostic, MessageView, Mode, Route, RouteTable, Scratch,
    Truth,
};

/// A message in memory.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    pub app: Vec<(String, Option<String>)>,
    pub system: Vec<(String, Option<String>)>,
    pub body: Vec<u8>,
}

fn find<'a>(list: &'a [(String, Option<String>)], name: &str) -> Option<Option<Cow<'a, str>>> {
    let (_, value) = list.iter().find(|(k, _)| k.eq_ignore_ascii_case(name))?;
    Some(value.as_deref().map(Cow::Borrowed))
}

impl MessageView for Fake {
    fn body(&self) -> &[u8] {
        &self.body
    }
    fn property(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        find(&self.app, name)
    }
    fn system(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        find(&self.system, name)
    }
}

impl Fake {
    pub fn app(mut self, name: &str, value: &str) -> Self {
        self.app.push((name.to_owned(), Some(value.to_owned())));
        self
    }
    pub fn null(mut self, name: &str) -> Self {
        self.app.push((name.to_owned(), None));
        self
    }
    pub fn system(mut self, name: &str, value: &str) -> Self {
        self.system.push((name.to_owned(), Some(value.to_owned())));
        self
    }
    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }
    pub fn json(self, body: &str) -> Self {
        self.bytes(body.as_bytes())
            .system("contentType", "application/json")
            .system("contentEncoding", "utf-8")
    }
}

/// The message of the tables in the language's description.
pub fn sample() -> Fake {
    Fake::default()
        .app("key1", "value1")
        .app("key2", "3")
        .app("a-b", "x")
        .null("nothing")
        .json(
            r#"{"t":25,"s":"text","flag":true,"off":false,"n":null,"list":[1,[2,3],{"k":"v"}],"zero":0,
                  "o":{"only":7},"when":"2024-02-29T23:59:59Z","odd key":1,"dup":1,"dup":2}"#,
        )
}

pub fn compile(text: &str, mode: Mode) -> Result<Condition, Vec<Diagnostic>> {
    Condition::compile(text, &CompileOptions::new(mode))
}

/// "true", "false", "undefined" or "error".
pub fn outcome(text: &str, mode: Mode, message: &Fake) -> &'static str {
    match compile(text, mode) {
        Err(_) => "error",
        Ok(condition) => match condition.evaluate(message, &mut Body::default()) {
            Truth::True => "true",
            Truth::False => "false",
            Truth::Undefined => "undefined",
        },
    }
}

/// Checks a table of conditions for the sample, and tells all that fail.
pub fn check(mode: Mode, message: &Fake, table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(text, expected)| {
            let found = outcome(text, mode, message);
            let why = compile(text, mode)
                .err()
                .map(|e| e[0].to_string())
                .unwrap_or_default();
            (found != *expected)
                .then(|| format!("{text}: found {found}, expected {expected} {why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{mode}:\n{}", wrong.join("\n"));
}

pub fn route(text: &str, mode: Mode) -> Route {
    match Route::compile(text, mode) {
        Ok(Some(route)) => route,
        Ok(None) => panic!("{text}: blank"),
        Err(errors) => panic!("{text}: {errors:?}"),
    }
}

/// The first error of a route.
pub fn fault(text: &str, mode: Mode) -> Diagnostic {
    match Route::compile(text, mode) {
        Ok(_) => panic!("{text}: compiled"),
        Err(mut errors) => errors.remove(0),
    }
}

/// Endpoints that a message with a path goes to.
pub fn targets(table: &RouteTable, path: &str, message: &Fake) -> Vec<String> {
    let mut out = Vec::new();
    table.evaluate(&table.select(path), message, &mut Scratch::default(), |t| {
        out.push(table.endpoints()[t.endpoint].to_string());
    });
    out
}
