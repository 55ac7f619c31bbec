//! Passes a message on to `output1` when its temperature is over a threshold.
//!
//! The message itself is sent on: its body stays in the host and is not even read when the sender
//! put the temperature into a property. Setting: `threshold` (25).

mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "module",
        generate_all,
    });
}

use std::sync::OnceLock;

use bindings::edge::module::send_event::{self, SendError};
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::input_handler::Guest;
use bindings::wasi::config::store;
use bindings::wasi::logging::logging::{Level, log};
use serde_json::Value;

struct Filter;
bindings::export!(Filter with_types_in bindings);

impl Guest for Filter {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        match temperature(message)? {
            Some(temperature) if temperature > threshold()? => send("output1", message),
            Some(_) => Ok(()),
            None => {
                log(Level::Debug, "filter", "dropped: no temperature in it");
                Ok(())
            }
        }
    }
}

/// The temperature of a message, or `None` if there is none in it.
fn temperature(message: &Message) -> Result<Option<f64>, Failure> {
    if let Some(text) = message.property("temperature") {
        return number(&text, "temperature").map(Some);
    }
    let Ok(body) = serde_json::from_slice::<Value>(&message.body()) else {
        return Ok(None); // no JSON
    };
    let inner = body
        .pointer("/machine/temperature")
        .filter(|value| !value.is_null());
    match inner.or(body.get("temperature")) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => number(&value.to_string(), "temperature").map(Some),
    }
}

/// The setting, read when the first message comes.
fn threshold() -> Result<f64, Failure> {
    static THRESHOLD: OnceLock<f64> = OnceLock::new();
    if let Some(threshold) = THRESHOLD.get() {
        return Ok(*threshold);
    }
    let setting = store::get("threshold")
        .map_err(|error| Failure::Reject(format!("read setting threshold: {error}")))?;
    let threshold = setting.map_or(Ok(25.0), |text| number(&text, "setting threshold"))?;
    Ok(*THRESHOLD.get_or_init(|| threshold))
}

fn number(text: &str, what: &str) -> Result<f64, Failure> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(Failure::Reject(format!("{what} is no number: {text}"))),
    }
}

fn send(output: &str, message: &Message) -> Result<(), Failure> {
    send_event::send(output, message).map_err(|error| match error {
        SendError::Full => Failure::Retry(None), // there will be room again
        error => Failure::Reject(format!("send to {output}: {}", error.name())),
    })
}
