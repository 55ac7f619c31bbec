//! What comes in: lines, envelopes, or one message from the command line.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use edge_core::{Content, EndpointId, MessageBuilder, limits};
use edge_daemon::{Feeder, Feeders, LocalDevice};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::args::{Format, Pair};
use crate::exit::{Exit, say};

/// Longest name of an input in bytes.
const MAX_INPUT: usize = 128;
/// Inputs that envelopes may name.
const MAX_INPUTS: usize = 256;

/// What became of the input.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Lines that could not be taken; each was reported.
    pub(super) refused: u64,
}

/// The inputs of one module, each with its feeder.
#[derive(Debug)]
pub(super) struct Inputs {
    target: EndpointId,
    feeders: HashMap<EndpointId, Feeder>,
    make: Feeders,
}

impl Inputs {
    pub(super) fn new(device: &LocalDevice, target: EndpointId) -> Self {
        Self {
            target,
            feeders: HashMap::new(),
            make: device.feeders(),
        }
    }

    /// The feeder of an input; of the target if none is named.
    fn feeder(&mut self, input: Option<&str>) -> anyhow::Result<&mut Feeder> {
        if let Some(name) = input {
            let bad = |c: char| c.is_control() || matches!(c, '/' | '#' | '+');
            ensure!(
                !name.is_empty() && name.len() <= MAX_INPUT && !name.contains(bad),
                "{name:?} is no name for an input: expected 1 to {MAX_INPUT} bytes without '/', '#', '+' or control characters"
            );
        }
        let endpoint = match (&self.target, input) {
            (EndpointId::ModuleInput { module, .. }, Some(input)) => {
                EndpointId::module_input(module.clone(), input)
            }
            (target, _) => target.clone(),
        };
        ensure!(
            self.feeders.len() < MAX_INPUTS || self.feeders.contains_key(&endpoint),
            "more than {MAX_INPUTS} different inputs"
        );
        let make = &self.make;
        Ok(self
            .feeders
            .entry(endpoint)
            .or_insert_with_key(|endpoint| make.of(endpoint)))
    }
}

/// A line in envelope format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(default)]
    input: Option<String>,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(default)]
    properties: serde_json::Map<String, serde_json::Value>,
}

/// A message with a body as it came; JSON is marked as such, so that `$body` conditions work.
fn content(body: &[u8], properties: &[Pair]) -> MessageBuilder {
    let mut message = MessageBuilder::new(body.to_vec());
    if serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        message = message.json();
    }
    properties.iter().fold(message, |message, pair| {
        message.property(&pair.name, &pair.value)
    })
}

/// Sends one message.
pub(super) fn one(mut feeder: Feeder, body: &str, properties: &[Pair]) -> Result<Fed, Exit> {
    feeder
        .feed(content(body.as_bytes(), properties).build(), None)
        .context("--body")
        .map_err(Exit::usage)?;
    Ok(Fed::default())
}

/// Sends every line until the end of the input. Lines that are no message are reported and counted.
pub(super) fn lines(
    mut source: impl BufRead,
    mut inputs: Inputs,
    format: Format,
    properties: &[Pair],
) -> Result<Fed, Exit> {
    let mut fed = Fed::default();
    let mut line = Vec::new();
    for number in 1u64.. {
        let read = read_line(&mut source, &mut line)
            .with_context(|| format!("read line {number} of standard input"))
            .map_err(Exit::incomplete)?;
        let length = match read {
            Line::End => break,
            Line::Whole => line.len(),
            Line::TooLong(length) => {
                fed.refused += 1;
                say(&format!(
                    "line {number} refused: {length} bytes, a message has at most {}",
                    limits::MESSAGE
                ));
                continue;
            }
        };
        if length == 0 {
            continue; // between records, as in any file of JSON lines
        }
        let taken = match format {
            Format::Lines => feed(&mut inputs, None, content(&line, properties).build()),
            Format::Envelope => match envelope(&line, properties) {
                Ok((input, content)) => feed(&mut inputs, input.as_deref(), content),
                Err(error) => Err(anyhow!("{error:#}")),
            },
        };
        if let Err(error) = taken {
            fed.refused += 1;
            say(&format!("line {number} refused: {error:#}"));
        }
    }
    Ok(fed)
}

fn feed(inputs: &mut Inputs, input: Option<&str>, content: Arc<Content>) -> anyhow::Result<()> {
    Ok(inputs.feeder(input)?.feed(content, None)?)
}

fn envelope(line: &[u8], properties: &[Pair]) -> anyhow::Result<(Option<String>, Arc<Content>)> {
    let expected = || "expected an envelope {\"input\":…,\"body\":…,\"properties\":{…}}".to_owned();
    // An array would do for serde, its values in the order of the fields.
    let first = line.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| *first != b'{') {
        return Err(anyhow!("this is no JSON object")).with_context(expected);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(line).with_context(expected)?;
    let mut message = match serde_json::from_str::<serde_json::Value>(envelope.body.get())? {
        serde_json::Value::Object(body) if body.len() == 1 && body.contains_key("base64") => {
            use base64::Engine as _;
            let text = body.get("base64").and_then(|text| text.as_str());
            let bytes =
                text.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
            content(
                &bytes.ok_or_else(|| anyhow!("the body's base64 cannot be read"))?,
                properties,
            )
        }
        // Text is a body as it is; `"\"text\""` is the JSON string.
        serde_json::Value::String(text) => content(text.as_bytes(), properties),
        _ => content(envelope.body.get().as_bytes(), properties),
    };
    for (name, value) in envelope.properties {
        let value = match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Object(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Null => {
                return Err(anyhow!(
                    "property {name:?} is {value}: expected text, a number or a bool"
                ));
            }
            other => other.to_string(),
        };
        message = message.property(&name, &value);
    }
    Ok((envelope.input, message.build()))
}

enum Line {
    End,
    Whole,
    TooLong(u64),
}

/// Reads a line without its end into `line`, and no more of it than a message may have.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<Line> {
    // An envelope is larger than the message in it: base64 and escapes.
    let limit = usize::try_from(limits::MESSAGE.0 * 8).unwrap_or(usize::MAX);
    line.clear();
    let mut length: u64 = 0;
    loop {
        let buffer = source.fill_buf()?;
        if buffer.is_empty() && length == 0 {
            return Ok(Line::End);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        length += piece.len() as u64;
        if line.len() + piece.len() <= limit {
            line.extend_from_slice(piece);
        }
        let last = end.is_some() || buffer.is_empty();
        let used = piece.len() + usize::from(end.is_some());
        source.consume(used);
        if end.is_some() {
            length = length.max(1); // an empty line is not the end
        }
        if last {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(match length > limit as u64 {
                true => Line::TooLong(length),
                false => Line::Whole,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Result<Vec<u8>, u64>> {
        let (mut source, mut line, mut out) = (text, Vec::new(), Vec::new());
        loop {
            match read_line(&mut source, &mut line).expect("memory can be read") {
                Line::End => return out,
                Line::Whole => out.push(Ok(line.clone())),
                Line::TooLong(length) => out.push(Err(length)),
            }
        }
    }

    #[test]
    fn lines_end_with_newline_or_with_the_input() {
        let lines = [b"a".to_vec(), vec![], b"b".to_vec(), b"\xff".to_vec()];
        assert_eq!(all(b"a\n\r\nb\r\n\xff"), lines.map(Ok));
        assert!(all(b"").is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_not_kept_and_the_next_one_is_read() {
        let limit = usize::try_from(limits::MESSAGE.0).expect("fits");
        let mut text = vec![b'x'; limit * 8 + 1];
        let length = text.len() as u64;
        text.extend_from_slice(b"\nnext");
        assert_eq!(all(&text), [Err(length), Ok(b"next".to_vec())]);
    }

    #[test]
    fn an_envelope_names_input_body_and_properties() {
        let line = br#"{"input":"alarms","body":{"t":31},"properties":{"k":"v","n":2}}"#;
        let (input, content) = envelope(line, &[]).expect("an envelope");
        assert_eq!(input.as_deref(), Some("alarms"));
        assert_eq!(&content.body[..], br#"{"t":31}"#);
        assert_eq!(
            (content.properties.get("k"), content.properties.get("n")),
            (Some("v"), Some("2"))
        );
        assert!(content.is_json());
        let (_, text) = envelope(br#"{"body":"plain text"}"#, &[]).expect("an envelope");
        assert_eq!(
            (&text.body[..], text.is_json()),
            (&b"plain text"[..], false)
        );
        let (_, bytes) = envelope(br#"{"body":{"base64":"AP8="}}"#, &[]).expect("an envelope");
        assert_eq!(&bytes.body[..], [0, 255]);
        for bad in [
            "",
            "[]",
            r#"["input1",1,{}]"#,
            "{}",
            r#"{"body":1,"boddy":2}"#,
            r#"{"body":1,"properties":{"k":null}}"#,
        ] {
            assert!(envelope(bad.as_bytes(), &[]).is_err(), "{bad}");
        }
    }
}
