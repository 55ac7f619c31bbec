//! The rules of twins: what they may hold, and how patches merge (twin limits as IoT Hub has them).

use serde_json::{Map, Value};

/// Deepest nesting of a section.
const DEPTH: usize = 10;
/// Longest name in bytes.
const NAME: usize = 1024;
/// Longest string value in bytes.
const STRING: usize = 4096;
/// Whole numbers are kept exactly by every client up to here, in both directions.
const INTEGER: i64 = 1 << 52;

/// Something that a twin cannot hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct InvalidTwin {
    /// Names from the section down, separated by dots; `$` is the section itself.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

/// Checks a section, or a patch of one (`patch`: `null` removes a name).
///
/// # Errors
/// The first thing that a twin cannot hold.
pub fn validate(section: &Map<String, Value>, patch: bool) -> Result<(), InvalidTwin> {
    object(section, patch, 1, &mut vec!["$"])
}

fn invalid<T>(path: &[&str], why: impl Into<String>) -> Result<T, InvalidTwin> {
    Err(InvalidTwin {
        path: path.join("."),
        why: why.into(),
    })
}

fn object<'a>(
    map: &'a Map<String, Value>,
    patch: bool,
    depth: usize,
    path: &mut Vec<&'a str>,
) -> Result<(), InvalidTwin> {
    if depth > DEPTH {
        return invalid(path, format!("nested deeper than {DEPTH} levels"));
    }
    for (name, value) in map {
        path.push(name);
        if name.is_empty() || name.len() > NAME {
            return invalid(path, format!("a name has 1 to {NAME} bytes"));
        }
        let forbidden = |c: char| c.is_control() || matches!(c, '.' | '$' | '#' | ' ');
        if let Some(c) = name.chars().find(|c| forbidden(*c)) {
            return invalid(path, format!("a name may not hold {c:?}"));
        }
        check(value, patch, depth, path)?;
        path.pop();
    }
    Ok(())
}

fn check<'a>(
    value: &'a Value,
    null_removes: bool,
    depth: usize,
    path: &mut Vec<&'a str>,
) -> Result<(), InvalidTwin> {
    match value {
        Value::Object(map) => object(map, null_removes, depth + 1, path),
        Value::Array(items) if depth >= DEPTH && !items.is_empty() => {
            invalid(path, format!("nested deeper than {DEPTH} levels"))
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check(item, false, depth + 1, path)),
        Value::String(text) if text.len() > STRING => invalid(
            path,
            format!(
                "a string has at most {STRING} bytes, this one {}",
                text.len()
            ),
        ),
        Value::Number(n) if n.is_u64() || n.is_i64() => match n.as_i64() {
            Some(n) if (-INTEGER..=INTEGER).contains(&n) => Ok(()),
            _ => invalid(path, "a whole number lies within ±2^52"),
        },
        Value::Null if !null_removes => invalid(
            path,
            "null may stand in a patch only, where it removes a name",
        ),
        _ => Ok(()),
    }
}

/// Merges a patch: objects merge name by name, `null` removes, everything else replaces
/// (JSON Merge Patch, RFC 7396).
pub fn merge(section: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                section.remove(&name);
            }
            Value::Object(patch) => {
                let slot = section.entry(name).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(section) = slot {
                    merge(section, patch);
                }
            }
            value => {
                section.insert(name, value);
            }
        }
    }
}

/// The patch that makes one section out of another; `None`: they are the same.
pub fn difference(
    from: &Map<String, Value>,
    to: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for (name, wanted) in to {
        match (from.get(name), wanted) {
            (Some(there), wanted) if there == wanted => {}
            (Some(Value::Object(there)), Value::Object(wanted)) => {
                if let Some(inner) = difference(there, wanted) {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (_, wanted) => {
                patch.insert(name.clone(), wanted.clone());
            }
        }
    }
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn patches_merge_as_rfc_7396_says() {
        let mut twin = map(json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}));
        merge(
            &mut twin,
            map(json!({"a": null, "b": {"c": null, "x": {"y": null, "z": 1}}, "e": {"f": 1}})),
        );
        assert_eq!(
            Value::Object(twin),
            json!({"b": {"d": 3, "x": {"z": 1}}, "e": {"f": 1}})
        );
    }

    #[test]
    fn what_a_twin_cannot_hold_is_named_with_its_place() {
        let mut deep = json!(1);
        for _ in 0..10 {
            deep = json!({ "n": deep });
        }
        for (bad, path) in [
            (json!({"a": {"b.c": 1}}), "$.a.b.c"),
            (json!({"a": 4_503_599_627_370_497u64}), "$.a"),
            (json!({"a": [null]}), "$.a"),
            (json!({"a": "x".repeat(4097)}), "$.a"),
            (json!({ "m": deep }), "$.m.n.n.n.n.n.n.n.n.n"),
        ] {
            assert_eq!(validate(&map(bad), true).expect_err("invalid").path, path);
        }
        assert_eq!(
            validate(&map(json!({"a": null, "b": {"c": 1.5}})), true),
            Ok(())
        );
        assert!(validate(&map(json!({"a": null})), false).is_err());
    }

    #[test]
    fn a_patch_leads_from_one_section_to_the_other() {
        let sections = [
            json!({}),
            json!({"a": 1, "b": {"c": 2, "d": [1]}}),
            json!({"a": 1, "b": {"c": 3}}),
            json!({"a": {"x": 1}, "b": 5}),
            json!({"b": {}}),
        ];
        let object = |value: &Value| value.as_object().cloned().expect("an object");
        for (from, to) in sections
            .iter()
            .flat_map(|a| sections.iter().map(move |b| (a, b)))
        {
            let (mut at, to) = (object(from), object(to));
            match difference(&at, &to) {
                None => assert_eq!(at, to),
                Some(patch) => merge(&mut at, patch),
            }
            assert_eq!(at, to, "from {from}");
        }
    }
}
