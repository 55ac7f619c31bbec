//! Takes secrets out of what leaves the device.
//!
//! ```text
//!   JSON    members by their names; KEY=value in lists; createOptions in a string, or in pieces of one
//!   text    signatures of SAS, connection strings, name=value and "name": "value" by names, Bearer and Basic,
//!           user:password@ in addresses, private keys
//! ```
//!
//! Names decide, values do not: a name is secret if it has one of `WORDS` in it, whatever its case and
//! whatever stands between its words. Better one value too many than one too few.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What stands in place of a secret.
pub const HIDDEN: &str = "***";

/// Parts of the names of secrets, without what separates words.
const WORDS: [&str; 14] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "connectionstring",
    "credential",
    "signature",
    "sasurl",
    "authorization",
    "privatekey",
];

/// Names that have such a part and say nothing secret.
const HARMLESS: [&str; 6] = [
    "keepalive",
    "passed",
    "keyid",
    "tokens",
    "publickey",
    "keys",
];

/// Whether a value of this name is to be hidden.
pub fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if HARMLESS.contains(&plain.as_str()) {
        return false;
    }
    plain == "sig" || WORDS.iter().any(|word| plain.contains(word))
}

/// A document without its secrets.
pub fn json(value: &mut Value) {
    walk(value, false);
}

/// `hidden`: it stands under a name that is secret.
fn walk(value: &mut Value, hidden: bool) {
    match value {
        Value::String(text) => match hidden {
            true => HIDDEN.clone_into(text),
            false => *text = string(text),
        },
        Value::Number(_) if hidden => *value = HIDDEN.into(),
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|element| walk(element, hidden)),
        Value::Object(members) => object(members, hidden),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn object(members: &mut Map<String, Value>, hidden: bool) {
    join_pieces(members);
    // `"name": "API_KEY", "value": "…"`, as lists of variables have it.
    let named = |name: &str| members.get(name).and_then(Value::as_str);
    let pair = ["name", "Name", "key", "Key"]
        .iter()
        .find_map(|name| named(name))
        .is_some_and(is_secret);
    for (name, value) in members.iter_mut() {
        // Of a registry's credentials only the address is told.
        if name.eq_ignore_ascii_case("registryCredentials") {
            credentials(value);
            continue;
        }
        let of_pair = pair && name.eq_ignore_ascii_case("value");
        walk(value, hidden || of_pair || is_secret(name));
    }
}

fn credentials(value: &mut Value) {
    let Value::Object(registries) = value else {
        *value = HIDDEN.into();
        return;
    };
    for registry in registries.values_mut() {
        match registry {
            Value::Object(members) => {
                for (name, value) in members.iter_mut() {
                    match name.as_str() {
                        "address" => walk(value, false),
                        _ => *value = HIDDEN.into(),
                    }
                }
            }
            other => *other = HIDDEN.into(),
        }
    }
}

/// `createOptions` that goes on in `createOptions01` … becomes one: a secret may lie across two pieces.
fn join_pieces(members: &mut Map<String, Value>) {
    const NAME: &str = "createOptions";
    let piece = |name: &str| {
        let digits = name.strip_prefix(NAME)?;
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| name.to_owned())
    };
    let mut pieces: Vec<String> = members.keys().filter_map(|name| piece(name)).collect();
    if pieces.is_empty() {
        return;
    }
    pieces.sort();
    let first = members.get(NAME).and_then(Value::as_str);
    let mut whole = first.unwrap_or_default().to_owned();
    for name in pieces {
        if let Some(Value::String(piece)) = members.remove(&name) {
            whole.push_str(&piece);
        }
    }
    members.insert(NAME.to_owned(), whole.into());
}

/// A string in a document: JSON in itself, `NAME=value`, or text.
fn string(text: &str) -> String {
    let trimmed = text.trim_start();
    if trimmed.starts_with(['{', '['])
        && let Ok(mut inner) = serde_json::from_str::<Value>(text)
    {
        walk(&mut inner, false);
        return inner.to_string();
    }
    let name = |name: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        !name.is_empty() && name.chars().all(word)
    };
    match text.split_once('=') {
        Some((variable, _)) if name(variable) && is_secret(variable) => {
            format!("{variable}={HIDDEN}")
        }
        _ => self::text(text).into_owned(),
    }
}

/// Text without its secrets, line by line or whole.
pub fn text(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for rule in RULES.iter() {
        if let Cow::Owned(new) = rule.apply(&out) {
            out = Cow::Owned(new);
        }
    }
    out
}

struct Rule {
    pattern: Regex,
    /// Whether the group `name` has to be the name of a secret.
    named: bool,
}

impl Rule {
    fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.pattern.replace_all(text, |found: &Captures<'_>| {
            let group = |name| found.name(name).map_or("", |group| group.as_str());
            if self.named && !is_secret(group("name")) {
                return found[0].to_owned();
            }
            format!("{}{HIDDEN}{}", group("before"), group("after"))
        })
    }
}

/// In the order in which they are applied.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |named, pattern: &str| Rule {
        pattern: Regex::new(pattern).expect("the patterns here are right: a test uses each"),
        named,
    };
    vec![
        rule(
            false,
            r"(?s)(?P<before>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?P<after>-----END [A-Z ]*PRIVATE KEY-----|\z)",
        ),
        // Lines of such a key that came without its beginning.
        rule(
            false,
            r"(?s)\A[A-Za-z0-9+/=\s]{32,}?(?P<after>-----END [A-Z ]*PRIVATE KEY-----)",
        ),
        // Tokens of SAS, and queries that are signed.
        rule(false, r#"(?i)(?P<before>\bsig=)[^&\s"'<>\\]+"#),
        // Of connection strings: their values end at a semicolon only.
        rule(true, r#"(?P<before>\b(?P<name>[A-Za-z]*Key)=)[^;\s"'&\\]+"#),
        rule(
            false,
            r"(?i)(?P<before>\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}",
        ),
        rule(
            false,
            r#"(?P<before>[a-z][a-z0-9+.-]*://[^\s/:@"']*:)[^\s/@"']+(?P<after>@)"#,
        ),
        // "name": "value", also where the quotes are escaped.
        rule(
            true,
            r#"(?P<before>(?P<quote>\\*["'])(?P<name>[A-Za-z0-9_.\- ]{1,64})\\*["']\s*[:=]\s*\\*["'])(?:[^"'\\]|\\[^"'])*"#,
        ),
        // name=value, name: value; a value in quotes may have blanks.
        rule(
            true,
            r#"(?P<before>\b(?P<name>[A-Za-z][A-Za-z0-9_.\-]{0,63})\s?[:=]\s?)(?:"[^"]*"|'[^']*'|[^\s"',;&}\])]+)"#,
        ),
        // --password value
        rule(
            true,
            r#"(?P<before>--(?P<name>[A-Za-z][A-Za-z0-9_\-]{0,63})\s+)(?:"[^"]*"|'[^']*'|[^\s"'-][^\s"']*)"#,
        ),
    ]
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "Hunter2hunter2";

    #[test]
    fn secrets_in_text_are_hidden_wherever_they_stand() {
        for line in [
            "password=Hunter2hunter2",
            "Password: Hunter2hunter2, next",
            "DB_PASSWORD='Hunter2hunter2 with blanks'",
            r#"{"api_key":"Hunter2hunter2"}"#,
            r#"{\"apiKey\": \"Hunter2hunter2\"}"#,
            "HostName=h;DeviceId=d;SharedAccessKey=Hunter2hunter2=",
            "AccountName=a;AccountKey=Hunter2hunter2==;EndpointSuffix=x",
            "SharedAccessSignature sr=h&sig=Hunter2hunter2%3D&se=1",
            "PUT https://a.blob.core.windows.net/c?sv=2020&sig=Hunter2hunter2&sr=c",
            "Authorization: Bearer Hunter2hunter2.x.y",
            "header Basic Hunter2hunter2==",
            "cloning https://user:Hunter2hunter2@example.com/x",
            "started with --token Hunter2hunter2",
            "-----BEGIN PRIVATE KEY-----\nHunter2hunter2\n-----END PRIVATE KEY-----",
            "-----BEGIN EC PRIVATE KEY-----\nHunter2hunter2",
            "private key: Hunter2hunter2",
        ] {
            let shown = text(line);
            assert!(!shown.contains(SECRET), "{line} → {shown}");
            assert!(shown.contains(HIDDEN), "{line} → {shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "2026-11-24T08:00:00.000Z cam info: sent 3 messages to https://example.com/a?b=c",
            "keepalive=30 tests passed: 7",
            r#"{"image":"registry.example/cam:1.0","restartPolicy":"always"}"#,
            "basic set-up done",
        ] {
            assert_eq!(text(line), line);
        }
    }

    #[test]
    fn documents_lose_the_values_of_secret_names_at_any_depth() {
        let mut document = json!({
            "registryCredentials": {
                "acr": { "address": "r.example", "username": SECRET, "password": SECRET },
                "odd": SECRET,
            },
            "modules": { "cam": {
                "env": { "API_KEY": { "value": SECRET }, "MODE": { "value": "fast" } },
                "settings": {
                    "image": "r.example/cam:1",
                    "createOptions": format!(
                        r#"{{"Env":["TOKEN={SECRET}","MODE=fast"],"Labels":{{"a":"b"}}}}"#
                    ),
                },
            } },
            "list": [ { "name": "DB_PASSWORD", "value": SECRET }, { "name": "x", "value": "kept" } ],
            "nested": { "credentials": { "a": [ SECRET, { "b": SECRET } ] } },
            "url": format!("https://x/?sv=1&sig={SECRET}"),
        });
        json(&mut document);
        let shown = document.to_string();
        assert!(!shown.contains(SECRET), "{shown}");
        for kept in ["r.example", "fast", "kept", "MODE=fast"] {
            assert!(shown.contains(kept), "{kept} is gone from {shown}");
        }
    }

    #[test]
    fn a_secret_across_two_pieces_of_create_options_is_hidden() {
        let whole = format!(r#"{{"Env":["TOKEN={SECRET}"]}}"#);
        let (a, b) = whole.split_at(whole.find("ter2hun").expect("in the middle"));
        let mut document = json!({"settings": {"createOptions": a, "createOptions01": b}});
        json(&mut document);
        let shown = document.to_string();
        assert!(!shown.contains("Hun") && !shown.contains("ter2"), "{shown}");
    }
}
