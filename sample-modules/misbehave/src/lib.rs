//! Does on command what a module must not do, and what is hard to provoke otherwise. For tests.
//!
//! The command is the application property `do`, or else the body's text; commands and their
//! properties are listed at [`run`]. A message without a known command goes to `output1` as it is.
//! It answers the methods `ping`, and `call-back`, whose payload, a JSON string, is a module to ping.
//! Needs the grant `state`.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package sample:misbehave;
            world misbehave {
                include edge:module/message-module@0.1.0;
                export edge:module/method-handler@0.1.0;
            }
        ",
        generate_all,
    });
}

mod crash;

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bindings::edge::module::method_types::Response;
use bindings::edge::module::methods::{self, Target};
use bindings::edge::module::send_event;
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::{input_handler, method_handler};
use bindings::wasi::keyvalue::store::{self, Bucket};
use bindings::wasi::logging::logging::{Level, log};

struct Misbehave;
bindings::export!(Misbehave with_types_in bindings);

impl input_handler::Guest for Misbehave {
    fn handle(_input: String, message: &Message) -> Result<(), Failure> {
        let command = message
            .property("do")
            .map_or_else(|| message.body(), String::into_bytes);
        run(&String::from_utf8_lossy(&command), message)
    }
}

impl method_handler::Guest for Misbehave {
    fn invoke(name: String, payload: String) -> Result<Response, String> {
        let payload = match name.as_str() {
            "ping" => "\"pong\"".to_owned(),
            "call-back" => {
                let target = Target::Module(payload.trim_matches('"').to_owned());
                match methods::invoke(&target, "ping", "null", None) {
                    Ok(response) => response.payload,
                    Err(error) => format!("\"{error}\""),
                }
            }
            other => return Err(format!("no method {other}: there are ping and call-back")),
        };
        Ok(Response {
            status: 200,
            payload,
        })
    }
}

fn run(command: &str, message: &Message) -> Result<(), Failure> {
    match command.trim() {
        // Never return, or not by returning.
        "loop" => crash::spin(),
        "trap" => crash::trap(),
        "panic" => panic!("told to panic"),
        "recurse" => crash::recurse(),
        // `mib`: how much (without it, all there is).
        "allocate" => crash::allocate(number(message, "mib")?),
        // `code` (3).
        "exit" => std::process::exit(number(message, "code")?.unwrap_or(3)),
        // `ms` (1000): waits without using the CPU.
        "sleep" => {
            std::thread::sleep(Duration::from_millis(
                number(message, "ms")?.unwrap_or(1_000),
            ));
            forward(message)
        }

        // Fail in an orderly way. `reason`.
        "reject" => Err(Failure::Reject(text(message, "reason", "told to reject"))),
        // `times` (for ever): until it was tried that often; `delay-ms` (the hub's back-off).
        "retry" => match number::<u32>(message, "times")? {
            Some(times) if message.attempts() >= times => forward(message),
            _ => Err(Failure::Retry(
                number::<u64>(message, "delay-ms")?.map(|ms| ms * 1_000_000),
            )),
        },

        // Fail after an effect, which must not be seen then. `key` (key), `value` (value).
        "send-then-fail" => forward(message).and(fail()),
        "send-then-trap" => {
            forward(message)?;
            crash::trap()
        }
        "state-then-fail" => write(message).and(fail()),
        "state-then-trap" => {
            write(message)?;
            crash::trap()
        }
        "state-write" => write(message),
        // Sends the value of `key`; an empty body and property `missing` if there is none.
        "state-read" => match bucket()?
            .get(&text(message, "key", "key"))
            .map_err(state_failure)?
        {
            Some(value) => forward(&Message::new(&value, &[])),
            None => forward(&Message::new(
                &[],
                &[("missing".to_owned(), "true".to_owned())],
            )),
        },

        // Go over a limit. `count`: how often.
        "send-too-many" => {
            for _ in 0..number(message, "count")?.unwrap_or(1_001) {
                forward(message)?;
            }
            Ok(())
        }
        // `bytes` (300 000): sends a body of that size.
        "send-too-large" => forward(&Message::new(
            &vec![b'x'; number(message, "bytes")?.unwrap_or(300_000)],
            &[],
        )),
        "flood-log" => {
            for n in 0..number(message, "count")?.unwrap_or(10_000) {
                log(Level::Info, "flood", &format!("line {n}"));
            }
            Ok(())
        }
        "log" => {
            log(Level::Info, "", &text(message, "text", "told to log"));
            Ok(())
        }
        "flood-stderr" => {
            for n in 0..number(message, "count")?.unwrap_or(10_000) {
                eprintln!("line {n}");
            }
            Ok(())
        }

        // Look around. `path`: sends the file's content.
        "read-file" => {
            let path = text(message, "path", "/etc/passwd");
            match std::fs::read(&path) {
                Ok(content) => forward(&Message::new(&content, &[])),
                Err(error) => Err(Failure::Reject(format!("read {path}: {error}"))),
            }
        }
        // `module`, `method`, `payload` (JSON): calls a method, its own perhaps; sends the answer with
        // its `status`.
        "call" => call(message),
        // Sends how many messages with this command its memory remembers, this one included.
        "count" => {
            static SEEN: AtomicU64 = AtomicU64::new(0);
            let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
            forward(&Message::json(&format!("{{\"seen\":{seen}}}"), &[]))
        }
        _ => forward(message),
    }
}

fn forward(message: &Message) -> Result<(), Failure> {
    send_event::send("output1", message)
        .map_err(|error| Failure::Reject(format!("send to output1: {}", error.name())))
}

fn fail() -> Result<(), Failure> {
    Err(Failure::Reject("told to fail".to_owned()))
}

fn bucket() -> Result<Bucket, Failure> {
    store::open("").map_err(state_failure)
}

fn write(message: &Message) -> Result<(), Failure> {
    let (key, value) = (text(message, "key", "key"), text(message, "value", "value"));
    bucket()?.set(&key, value.as_bytes()).map_err(state_failure)
}

fn state_failure(error: store::Error) -> Failure {
    Failure::Reject(format!("state: {error}"))
}

fn call(message: &Message) -> Result<(), Failure> {
    let target = Target::Module(text(message, "module", "misbehave"));
    let (method, payload) = (
        text(message, "method", "ping"),
        text(message, "payload", "null"),
    );
    let response = methods::invoke(&target, &method, &payload, None)
        .map_err(|error| Failure::Reject(format!("call: {error}")))?;
    let status = ("status".to_owned(), response.status.to_string());
    forward(&Message::json(&response.payload, &[status]))
}

/// A property, or what stands in for it.
fn text(message: &Message, property: &str, default: &str) -> String {
    message
        .property(property)
        .unwrap_or_else(|| default.to_owned())
}

/// A property that is a number.
fn number<N: FromStr>(message: &Message, property: &str) -> Result<Option<N>, Failure> {
    let Some(text) = message.property(property) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Failure::Reject(format!(
            "property {property} is no number: {text}"
        ))),
    }
}
