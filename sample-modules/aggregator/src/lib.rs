//! Averages temperatures: every `window` messages (setting, 10) it sends one summary to `output1`.
//!
//! The open window is kept in the module's key-value state. Writing it is part of the step that
//! handles the message, so every message counts exactly once, however often the module or the
//! device restarts in between.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "message-module",
        generate_all,
    });
}

use bindings::edge::module::send_event;
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::input_handler::Guest;
use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::store::{self, Bucket};
use serde::{Deserialize, Serialize};

struct Aggregator;
bindings::export!(Aggregator with_types_in bindings);

/// Where the open window is kept, as JSON.
const KEY: &str = "window";

impl Guest for Aggregator {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        let reading = reading::temperature(message.property("temperature"), || message.body());
        let Some(temperature) = reading.map_err(Failure::Reject)? else {
            return Ok(());
        };
        let bucket = store::open("").map_err(state_failure)?;
        let window = match bucket.get(KEY).map_err(state_failure)? {
            Some(bytes) => Window::parse(&bytes)?.with(temperature),
            None => Window::of(temperature),
        };
        if window.count < size()? {
            return window.save(&bucket);
        }
        bucket.delete(KEY).map_err(state_failure)?;
        let summary = Message::json(&window.summary()?, &[]);
        send_event::send("output1", &summary).map_err(|error| match error {
            send_event::SendError::Full => Failure::Retry(None),
            error => Failure::Reject(format!("send to output1: {}", error.name())),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Window {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Window {
    fn of(value: f64) -> Self {
        Self {
            count: 1,
            sum: value,
            min: value,
            max: value,
        }
    }

    fn with(self, value: f64) -> Self {
        Self {
            count: self.count + 1,
            sum: self.sum + value,
            min: self.min.min(value),
            max: self.max.max(value),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::Reject(format!("read state {KEY}: {error}")))
    }

    fn save(&self, bucket: &Bucket) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Failure::Reject(format!("write state {KEY}: {error}")))?;
        bucket.set(KEY, &bytes).map_err(state_failure)
    }

    fn summary(&self) -> Result<String, Failure> {
        let summary = Summary {
            count: self.count,
            average: self.sum / self.count as f64,
            min: self.min,
            max: self.max,
        };
        serde_json::to_string(&summary)
            .map_err(|error| Failure::Reject(format!("write summary: {error}")))
    }
}

/// What is sent.
#[derive(Serialize)]
struct Summary {
    count: u64,
    average: f64,
    min: f64,
    max: f64,
}

/// How many readings make a window.
fn size() -> Result<u64, Failure> {
    let reject = |problem: String| Failure::Reject(format!("setting window: {problem}"));
    match config::get("window") {
        Ok(None) => Ok(10),
        Ok(Some(text)) => match text.trim().parse() {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(reject(format!("no whole number above 0: {text}"))),
        },
        Err(error) => Err(reject(error.to_string())),
    }
}

fn state_failure(error: store::Error) -> Failure {
    Failure::Reject(format!("state: {error}"))
}
