//! A command instead of a handler: runs once, sends as many messages as its argument says (3) and
//! ends. Each send stands for itself, because there is no step around it; so it waits by itself where
//! the hub takes no more.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "imports",
        generate_all,
    });
}

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use bindings::edge::module::send_event::{SendError, send};
use bindings::edge::module::types::Message;

fn main() -> ExitCode {
    let count = match std::env::args().nth(1).map(|count| count.parse::<u64>()) {
        None => 3,
        Some(Ok(count)) => count,
        Some(Err(error)) => {
            eprintln!("how many messages: {error}");
            return ExitCode::FAILURE;
        }
    };
    for n in 1..=count {
        let message = Message::json(&format!("{{\"n\":{n}}}"), &[]);
        while let Err(error) = send("output1", &message) {
            if error != SendError::Full {
                eprintln!("send message {n}: {error}");
                return ExitCode::FAILURE;
            }
            sleep(Duration::from_millis(10));
        }
    }
    ExitCode::SUCCESS
}
