//! What goes out: one JSON object a line on standard output.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use base64::Engine as _;
use edge_core::{Message, ModuleId, Source};
use edge_daemon::{LocalDevice, MethodResponse, Section, Take, Upstream, UpstreamError};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The running output.
pub(super) struct Running(Upstream);

/// Starts printing what is routed to `$upstream`.
pub(super) fn start(device: &LocalDevice) -> io::Result<Running> {
    let out = Printer(BufWriter::with_capacity(64 << 10, io::stdout()));
    Ok(Running(device.upstream(Box::new(out))?))
}

struct Printer(BufWriter<io::Stdout>);

impl Take for Printer {
    fn message(&mut self, message: &Message) -> io::Result<()> {
        let (module, output) = match message.origin.source() {
            Source::Module { module, output, .. } => (Some(module.as_str()), output.as_deref()),
            Source::Device(_) | Source::TwinChange(_) => (None, None),
        };
        line(
            &mut self.0,
            &Sent {
                module,
                output,
                body: Body(&message.content.body),
                properties: Properties(&message.content.properties),
            },
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// A message that a module sent.
#[derive(Serialize)]
struct Sent<'a> {
    module: Option<&'a str>,
    output: Option<&'a str>,
    body: Body<'a>,
    properties: Properties<'a>,
}

/// JSON if it is JSON, else text, else `{"base64":…}`.
struct Body<'a>(&'a [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Ok(text) = std::str::from_utf8(self.0) else {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(
                "base64",
                &base64::engine::general_purpose::STANDARD.encode(self.0),
            )?;
            return map.end();
        };
        // Line breaks in JSON stand between tokens only; the object must stay on its line.
        let one_line = match text.contains(['\n', '\r']) {
            true => Cow::Owned(text.replace(['\n', '\r'], " ")),
            false => Cow::Borrowed(text),
        };
        match serde_json::from_str::<&RawValue>(&one_line) {
            Ok(json) => json.serialize(serializer),
            Err(_) => serializer.serialize_str(text),
        }
    }
}

struct Properties<'a>(&'a edge_core::Properties);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

impl Running {
    /// Whether standard output can no longer be written to.
    pub(super) fn has_failed(&self) -> bool {
        self.0.has_failed()
    }

    /// Ends it. A reader that went away is no fault of ours: pipes to `head` end like that.
    pub(super) fn stop(self, grace: Duration) -> Result<(), UpstreamError> {
        match self.0.stop(grace) {
            Err(UpstreamError::Take(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            ended => ended,
        }
    }
}

/// Prints the answer of a method.
pub(super) fn method(module: &ModuleId, method: &str, answer: &MethodResponse) -> io::Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        module: &'a str,
        method: &'a str,
        status: u32,
        payload: Body<'a>,
    }
    let answer = Answer {
        module: module.as_str(),
        method,
        status: answer.status,
        payload: Body(answer.payload.as_bytes()),
    };
    line(&mut io::stdout().lock(), &answer)
}

/// Prints what a module reports.
pub(super) fn reported(module: &ModuleId, section: &Section) -> io::Result<()> {
    #[derive(Serialize)]
    struct Reported<'a> {
        module: &'a str,
        reported: &'a serde_json::Map<String, serde_json::Value>,
        version: u64,
    }
    let reported = Reported {
        module: module.as_str(),
        reported: &section.properties,
        version: section.version,
    };
    line(&mut io::stdout().lock(), &reported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &[u8]) -> String {
        serde_json::to_string(&Body(body)).expect("serializes")
    }

    #[test]
    fn a_body_is_json_else_text_else_base64_on_one_line() {
        assert_eq!(shown(b"{\"t\": 1.50}"), "{\"t\": 1.50}");
        assert_eq!(shown(b"{\n\"t\":\r\n1}"), "{ \"t\":  1}");
        assert_eq!(shown(b"25"), "25");
        assert_eq!(shown(b"not\njson"), "\"not\\njson\"");
        assert_eq!(shown(b""), "\"\"");
        assert_eq!(shown(&[0, 255]), "{\"base64\":\"AP8=\"}");
    }
}
