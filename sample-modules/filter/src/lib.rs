//! Passes a message on to `output1` when its temperature is over a threshold.
//!
//! The message itself is sent on: its body stays in the host and is not even read when the sender
//! put the temperature into a property. Setting: `threshold` (25).

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "message-module",
        generate_all,
    });
}

use std::sync::OnceLock;

use bindings::edge::module::send_event;
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::input_handler::Guest;
use bindings::wasi::config::store;
use bindings::wasi::logging::logging::{Level, log};

struct Filter;
bindings::export!(Filter with_types_in bindings);

impl Guest for Filter {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        match reading::temperature(message.property("temperature"), || message.body()) {
            Ok(Some(temperature)) if temperature > threshold()? => {
                // `full` passes when the hub has room again; the other errors stay.
                send_event::send("output1", message).map_err(|error| match error {
                    send_event::SendError::Full => Failure::Retry(None),
                    error => Failure::Reject(format!("send to output1: {}", error.name())),
                })
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                log(Level::Debug, "filter", "dropped: no temperature in it");
                Ok(())
            }
            Err(reason) => Err(Failure::Reject(reason)),
        }
    }
}

/// The setting, read when the first message comes.
fn threshold() -> Result<f64, Failure> {
    static THRESHOLD: OnceLock<f64> = OnceLock::new();
    if let Some(threshold) = THRESHOLD.get() {
        return Ok(*threshold);
    }
    let threshold = match store::get("threshold") {
        Ok(None) => 25.0,
        Ok(Some(text)) => {
            let number = text.trim().parse();
            number
                .map_err(|_| Failure::Reject(format!("setting threshold is no number: {text}")))?
        }
        Err(error) => return Err(Failure::Reject(format!("read setting threshold: {error}"))),
    };
    Ok(*THRESHOLD.get_or_init(|| threshold))
}
