//! The compared module as a Wasm component: what is passed on stays in the host.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
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
use work::{Verdict, Work};

struct Compared;
bindings::export!(Compared with_types_in bindings);

impl Guest for Compared {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        let say = |line: &str| log(Level::Info, "compared", line);
        match work()?.handle(|| message.body(), say) {
            // `full` passes when the hub has room again; the other errors stay.
            Verdict::Forward => send_event::send("output1", message).map_err(|error| match error {
                send_event::SendError::Full => Failure::Retry(None),
                error => Failure::Reject(format!("send to output1: {}", error.name())),
            }),
            Verdict::Drop => Ok(()),
            Verdict::Reject(reason) => Err(Failure::Reject(reason)),
        }
    }
}

/// The settings, read when the first message comes.
fn work() -> Result<Work, Failure> {
    static WORK: OnceLock<Work> = OnceLock::new();
    if let Some(work) = WORK.get() {
        return Ok(*work);
    }
    let work = Work::new(|name| store::get(name).ok().flatten()).map_err(Failure::Reject)?;
    Ok(*WORK.get_or_init(|| work))
}
