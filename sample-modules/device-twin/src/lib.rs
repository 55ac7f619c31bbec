//! Follows its twin and answers a method.
//!
//! The desired property `interval` (seconds, a whole number above 0) is taken over and reported
//! back; anything else is reported as refused. The method `getInterval` answers
//! `{"interval": 5}`.

mod bindings {
    // A world of this module's own: two handlers, and only what they need.
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package sample:device-twin;
            world device-twin {
                import edge:module/twin@0.1.0;
                export edge:module/twin-handler@0.1.0;
                export edge:module/method-handler@0.1.0;
            }
        ",
        generate_all,
    });
}

use std::sync::atomic::{AtomicU64, Ordering};

use bindings::edge::module::method_types::Response;
use bindings::edge::module::twin;
use bindings::edge::module::types::Failure;
use bindings::exports::edge::module::{method_handler, twin_handler};
use serde_json::{Value, json};

struct DeviceTwin;
bindings::export!(DeviceTwin with_types_in bindings);

/// What holds until the twin says otherwise, in seconds.
const DEFAULT: u64 = 5;
static INTERVAL: AtomicU64 = AtomicU64::new(DEFAULT);

impl twin_handler::Guest for DeviceTwin {
    fn desired_changed(patch: String, version: u64) -> Result<(), Failure> {
        let patch: Value = serde_json::from_str(&patch)
            .map_err(|error| Failure::Reject(format!("read desired: {error}")))?;
        let Some(wanted) = patch.get("interval") else {
            return Ok(()); // something else changed
        };
        let interval = match wanted {
            Value::Null => Some(DEFAULT), // removed
            value => value.as_u64().filter(|seconds| *seconds > 0),
        };
        let report = match interval {
            Some(seconds) => {
                json!({ "interval": seconds, "intervalVersion": version, "intervalRefused": null })
            }
            None => {
                json!({ "intervalRefused": format!("no whole number of seconds above 0: {wanted}") })
            }
        };
        twin::update_reported(&report.to_string())
            .map_err(|error| Failure::Reject(format!("report interval: {error}")))?;
        if let Some(seconds) = interval {
            INTERVAL.store(seconds, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl method_handler::Guest for DeviceTwin {
    fn invoke(name: String, _payload: String) -> Result<Response, String> {
        match name.as_str() {
            "getInterval" => Ok(Response {
                status: 200,
                payload: json!({ "interval": INTERVAL.load(Ordering::Relaxed) }).to_string(),
            }),
            other => Err(format!("no method {other}: there is getInterval")),
        }
    }
}
