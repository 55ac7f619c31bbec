//! Finds the temperature in a message: the application property `temperature`, or else
//! `machine.temperature` or `temperature` in a JSON body.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The body as far as it matters here. Values stay text until one is wanted, so nothing is copied.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    machine: Option<Machine<'a>>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Machine<'a> {
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
}

/// The temperature of a message. The body is only fetched when the property is not there.
///
/// `None`: there is no reading, because the body is not JSON, has another shape, or says `null`.
///
/// # Errors
/// There is a temperature, but it is no number; the text says what it is.
pub fn temperature(
    property: Option<String>,
    body: impl FnOnce() -> Vec<u8>,
) -> Result<Option<f64>, String> {
    if let Some(text) = property {
        return number(&text).map(Some);
    }
    of_body(&body())
}

/// The temperature in a body alone.
///
/// # Errors
/// As [`temperature`].
pub fn of_body(body: &[u8]) -> Result<Option<f64>, String> {
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        return Ok(None);
    };
    let inner = body.machine.and_then(|machine| machine.temperature);
    inner
        .or(body.temperature)
        .map(|raw| number(raw.get()))
        .transpose()
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("temperature is no number: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_body(body: &str) -> Result<Option<f64>, String> {
        let found = super::of_body(body.as_bytes());
        assert_eq!(found, temperature(None, || body.as_bytes().to_vec()));
        found
    }

    #[test]
    fn the_property_counts_before_the_body_which_is_not_fetched_then() {
        let unread = || -> Vec<u8> { unreachable!("the body is not needed") };
        assert_eq!(temperature(Some("26.5".to_owned()), unread), Ok(Some(26.5)));
        for bad in ["", "hot", "nan", "inf"] {
            assert!(temperature(Some(bad.to_owned()), unread).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_places_in_a_body_are_found() {
        assert_eq!(
            of_body(r#"{"machine":{"temperature":2.6e1},"temperature":1}"#),
            Ok(Some(26.0))
        );
        assert_eq!(
            of_body(r#"{"machine":{},"temperature":-4}"#),
            Ok(Some(-4.0))
        );
        assert!(of_body(r#"{"temperature":"26"}"#).is_err());
    }

    #[test]
    fn other_bodies_have_no_reading() {
        for body in [
            "",
            "hot",
            "42",
            r#"{"temperature":null}"#,
            r#"{"temperature":26"#,
            r#"{"machine":7}"#,
        ] {
            assert_eq!(of_body(body), Ok(None), "{body}");
        }
    }
}
