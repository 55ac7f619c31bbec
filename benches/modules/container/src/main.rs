//! The compared module as a program for a container: the module that its environment says, on the hub's MQTT.
//!
//! ```text
//!   PUBLISH (input) ─► work ─► PUBLISH (output1) ─► its PUBACK ─► PUBACK of the input
//! ```
//!
//! What came in is acknowledged when what became of it is on the device, and not before: a message is not lost when
//! this program ends in between. Many are under way at a time, so the order of the two costs no rate.

mod environment;
mod mqtt;
mod workload;

use std::collections::VecDeque;
use std::io::{self, Write as _};

use environment::Environment;
use mqtt::{Came, Connection};
use work::{Verdict, Work};

fn main() {
    if let Err(error) = run() {
        eprintln!("compared: {error}");
        std::process::exit(1);
    }
}

fn run() -> io::Result<()> {
    let variable = |name: &str| std::env::var(name).ok();
    let work = Work::new(variable).map_err(io::Error::other)?;
    let environment = Environment::read(variable)?;
    let bundle = workload::trust_bundle(&environment)?;
    let token = workload::token(&environment)?;
    let mut connection = Connection::open(&environment, &bundle, &token)?;
    serve(&mut connection, &environment.output("output1"), work)
}

/// One input message: what its output is known by while it is not acknowledged.
struct Pending {
    input: u16,
    output: Option<u16>,
}

fn serve(connection: &mut Connection, topic: &str, work: Work) -> io::Result<()> {
    let mut pending: VecDeque<Pending> = VecDeque::new();
    let mut last = 0_u16;
    loop {
        while let Some(came) = connection.next()? {
            match came {
                Came::Publish { id, body } => {
                    let length = body.len();
                    let output = match work.handle(|| body, say) {
                        Verdict::Forward => {
                            // 0 is no packet id.
                            last = last.checked_add(1).unwrap_or(1);
                            let place = connection.place(length);
                            connection.publish(topic, last, place)?;
                            Some(last)
                        }
                        Verdict::Drop => None,
                        Verdict::Reject(reason) => {
                            say(&reason);
                            None
                        }
                    };
                    pending.push_back(Pending { input: id, output });
                }
                // PUBACKs come in the order of the messages [MQTT-4.6.0-2].
                Came::PubAck { id } => match pending.front_mut() {
                    Some(first) if first.output == Some(id) => first.output = None,
                    _ => return Err(io::Error::other(format!("PUBACK {id} out of order"))),
                },
                Came::Other { .. } => {}
            }
            while pending.front().is_some_and(|first| first.output.is_none()) {
                if let Some(first) = pending.pop_front() {
                    connection.acknowledge(first.input);
                }
            }
        }
        connection.fill()?;
    }
}

fn say(line: &str) {
    // Who reads it may be gone.
    let _ = writeln!(io::stdout(), "{line}");
}
