//! Numbers what it handles, and says what is odd about the numbers of its input.
//!
//! Each message goes on to `output1` with two more properties: `<name>`, its running number here, and
//! `<name>-sum`, the sum of all input numbers so far. A message whose own number is not the one after
//! its sender's last also makes a message at `report`: property `odd` says `gap`, `repeat` or `back`,
//! `last` the number before.
//!
//! Running number, sum and the last number of each sender are in the module's key-value state, so
//! they tell of every step that happened, once: a step that was lost leaves a gap, one that was done
//! twice leaves a repeat, one done by half leaves a sum that does not fit.
//!
//! Settings: `name` (counter), `sender` and `number`, the properties that say who sent a message and
//! which one it is (sender, seq); without `sender` all messages count as of one sender. Needs the
//! grant `state`.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "message-module",
        generate_all,
    });
}

use std::cmp::Ordering;

use bindings::edge::module::send_event;
use bindings::edge::module::types::{Failure, Message};
use bindings::exports::edge::module::input_handler::Guest;
use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::store::{self, Bucket};

struct Counter;
bindings::export!(Counter with_types_in bindings);

impl Guest for Counter {
    fn handle(input: String, message: &Message) -> Result<(), Failure> {
        let name = setting("name", "counter")?;
        let sender = match setting("sender", "sender")?.as_str() {
            "" => String::new(),
            property => required(message, property)?,
        };
        let number = number(message, &setting("number", "seq")?)?;
        let bucket = store::open("").map_err(state_failure)?;

        let last_key = format!("last/{input}/{sender}");
        let last = read(&bucket, &last_key)?;
        if let Some(odd) = odd(last, number) {
            let set = [pair("odd", odd), pair("last", last), pair("by", &name)];
            send("report", &message.derive(&set, &[]))?;
        }
        let count = read(&bucket, "count")? + 1;
        let sum = read(&bucket, "sum")?.wrapping_add(number);
        write(&bucket, "count", count)?;
        write(&bucket, "sum", sum)?;
        write(&bucket, &last_key, last.max(number))?;
        let set = [pair(&name, count), pair(&format!("{name}-sum"), sum)];
        send("output1", &message.derive(&set, &[]))
    }
}

/// What is odd about a number after another.
fn odd(last: u64, number: u64) -> Option<&'static str> {
    match number.cmp(&last) {
        Ordering::Equal => Some("repeat"),
        Ordering::Less => Some("back"),
        Ordering::Greater if number > last + 1 => Some("gap"),
        Ordering::Greater => None,
    }
}

fn send(output: &str, message: &Message) -> Result<(), Failure> {
    send_event::send(output, message).map_err(|error| match error {
        send_event::SendError::Full => Failure::Retry(None),
        error => Failure::Reject(format!("send to {output}: {}", error.name())),
    })
}

fn required(message: &Message, property: &str) -> Result<String, Failure> {
    let missing = || Failure::Reject(format!("property {property} is missing"));
    message.property(property).ok_or_else(missing)
}

fn number(message: &Message, property: &str) -> Result<u64, Failure> {
    let text = required(message, property)?;
    text.parse()
        .map_err(|_| Failure::Reject(format!("property {property} is no number: {text}")))
}

fn setting(name: &str, default: &str) -> Result<String, Failure> {
    match config::get(name) {
        Ok(value) => Ok(value.unwrap_or_else(|| default.to_owned())),
        Err(error) => Err(Failure::Reject(format!("setting {name}: {error}"))),
    }
}

/// A number of the state; 0 where there is none yet.
fn read(bucket: &Bucket, key: &str) -> Result<u64, Failure> {
    let Some(bytes) = bucket.get(key).map_err(state_failure)? else {
        return Ok(0);
    };
    let text = String::from_utf8_lossy(&bytes);
    text.parse()
        .map_err(|_| Failure::Reject(format!("state {key} is no number: {text}")))
}

fn write(bucket: &Bucket, key: &str, value: u64) -> Result<(), Failure> {
    let text = value.to_string();
    bucket.set(key, text.as_bytes()).map_err(state_failure)
}

fn pair(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn state_failure(error: store::Error) -> Failure {
    Failure::Reject(format!("state: {error}"))
}
