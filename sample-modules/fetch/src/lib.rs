//! Asks an HTTP server: GET of the message's property `url`, and the answer goes to `output1`, its
//! status in property `status`. The deployment must allow the host (grant `http`).
//!
//! An HTTP request is outside the step: when a handler fails or the device crashes, the message
//! comes again and so does the request. Make only requests that may be repeated.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "message-module",
        generate_all,
    });
}

mod http;

use bindings::edge::module::send_event;
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::input_handler::Guest;

struct Fetch;
bindings::export!(Fetch with_types_in bindings);

impl Guest for Fetch {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        let url = message
            .property("url")
            .ok_or_else(|| Failure::Reject("property url is missing".to_owned()))?;
        let answer = http::get(&url).map_err(|error| {
            let text = format!("get {url}: {error}");
            match error {
                // The server may be back later.
                http::Error::Connection(_) => {
                    eprintln!("{text}");
                    Failure::Retry(None)
                }
                http::Error::Invalid(_) | http::Error::Denied | http::Error::TooLarge => {
                    Failure::Reject(text)
                }
            }
        })?;
        let status = ("status".to_owned(), answer.status.to_string());
        send_event::send("output1", &Message::new(&answer.body, &[status])).map_err(|error| {
            match error {
                send_event::SendError::Full => Failure::Retry(None),
                error => Failure::Reject(format!("send to output1: {}", error.name())),
            }
        })
    }
}
