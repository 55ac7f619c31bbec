//! Simulates a machine with a temperature sensor: every tick of its timer sends one reading to
//! `temperatureOutput`, as JSON and with the temperature as a property.
//!
//! Settings: `temperature` (21), where it starts; `drift` (0.5), what each reading adds; `maximum`
//! (100), where the climb ends; `count` (0: no end), after how many readings it falls silent. The
//! desired property `sendData: false` makes it pause. No randomness: the same settings always give
//! the same readings.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "timer-module",
        generate_all,
    });
}

mod time;

use std::sync::atomic::{AtomicU64, Ordering};

use bindings::edge::module::types::{Failure, Message, Timestamp};
use bindings::edge::module::{send_event, twin};
use bindings::exports::edge::module::timer_handler::Guest;
use bindings::wasi::config::store;
use serde::Serialize;
use serde_json::Value;

struct Sensor;
bindings::export!(Sensor with_types_in bindings);

/// Readings sent since the instance started.
static SENT: AtomicU64 = AtomicU64::new(0);

impl Guest for Sensor {
    fn tick(_timer: String, due: Timestamp) -> Result<(), Failure> {
        let sent = SENT.load(Ordering::Relaxed);
        let count = setting("count", 0.0)?;
        if paused() || count > 0.0 && sent as f64 >= count {
            return Ok(());
        }
        let reading = Reading::at(sent as f64, due, &Settings::read()?);
        let body = serde_json::to_string(&reading)
            .map_err(|error| Failure::Reject(format!("write reading: {error}")))?;
        let property = (
            "temperature".to_owned(),
            reading.machine.temperature.to_string(),
        );
        let message = Message::json(&body, &[property]);
        send_event::send("temperatureOutput", &message).map_err(|error| match error {
            send_event::SendError::Full => Failure::Retry(None),
            error => Failure::Reject(format!("send to temperatureOutput: {}", error.name())),
        })?;
        SENT.store(sent + 1, Ordering::Relaxed);
        Ok(())
    }
}

struct Settings {
    temperature: f64,
    drift: f64,
    maximum: f64,
}

impl Settings {
    fn read() -> Result<Self, Failure> {
        Ok(Self {
            temperature: setting("temperature", 21.0)?,
            drift: setting("drift", 0.5)?,
            maximum: setting("maximum", 100.0)?,
        })
    }
}

/// A message's body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reading {
    machine: Machine,
    ambient: Ambient,
    time_created: String,
}

#[derive(Serialize)]
struct Machine {
    temperature: f64,
    pressure: f64,
}

#[derive(Serialize)]
struct Ambient {
    temperature: f64,
    humidity: f64,
}

impl Reading {
    /// The `n`th reading. The machine warms up and then hovers below its maximum; pressure follows
    /// the temperature, and the room around it breathes a little.
    fn at(n: f64, due: Timestamp, settings: &Settings) -> Self {
        let wave = (n * 0.7).sin();
        let climb = settings.temperature + settings.drift * n;
        let temperature = climb.min(settings.maximum - (1.0 + wave) * settings.drift.abs());
        Self {
            machine: Machine {
                temperature: round(temperature),
                pressure: round(1.0 + (temperature - 21.0) * 9.0 / 79.0),
            },
            ambient: Ambient {
                temperature: round(21.0 + 0.3 * wave),
                humidity: round(25.0 + wave),
            },
            time_created: time::rfc_3339(due),
        }
    }
}

/// Two decimals, as sensors have them.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Whether the desired property `sendData` is `false`.
fn paused() -> bool {
    let desired: Value = serde_json::from_str(&twin::desired().json).unwrap_or_default();
    desired.get("sendData") == Some(&Value::Bool(false))
}

fn setting(key: &str, default: f64) -> Result<f64, Failure> {
    let reject = |problem: String| Failure::Reject(format!("setting {key}: {problem}"));
    match store::get(key) {
        Ok(None) => Ok(default),
        Ok(Some(text)) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(reject(format!("no number: {text}"))),
        },
        Err(error) => Err(reject(error.to_string())),
    }
}
