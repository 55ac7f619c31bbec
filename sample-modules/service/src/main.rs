//! A command instead of a handler: runs once, sends three messages and ends. Each send stands for
//! itself, because there is no step around it.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "imports",
        generate_all,
    });
}

use std::process::ExitCode;

use bindings::edge::module::send_event;
use bindings::edge::module::types::Message;

fn main() -> ExitCode {
    for n in 1..=3 {
        let message = Message::json(&format!("{{\"n\":{n}}}"), &[]);
        if let Err(error) = send_event::send("output1", &message) {
            eprintln!("send message {n}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
