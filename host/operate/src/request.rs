//! What the methods of `$edgeAgent` take and give, with the seed system's names.
//!
//! ```text
//!   GetModuleLogs        { "schemaVersion": "1.0", "items": [ { "id": "<regex>", "filter": { "tail": 100,
//!                          "since": "1d", "until": "…", "loglevel": 3, "regex": "…" } } ],
//!                          "encoding": "none│gzip", "contentType": "text│json" }
//!                        ─► [ { "id": "cam", "payload": "…" } ], with gzip "payloadBytes" in Base64
//!   UploadModuleLogs     the same and "sasUrl"            ─► Task
//!   UploadSupportBundle  { "schemaVersion", "sasUrl", "since", "until", "edgeRuntimeOnly" } ─► Task
//!   GetTaskStatus        { "schemaVersion", "correlationId" } ─► Task
//!   RestartModule        { "schemaVersion", "id" }        ─► null
//! ```
//!
//! Names of members are read as they are written here; those that nobody knows are passed over, as the seed
//! system does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::Timestamp;
use regex::Regex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lines::{Filter, JsonLine, Line, Wanted, pattern};
use crate::moment;
use crate::upload::gzip;

/// Most bytes that an answer with logs may have; the seed system's number.
pub const LOGS_LIMIT: usize = 127_000;
/// Most parts of a request for logs.
const ITEMS: usize = 64;

/// A request that is wrong; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// Reads a request and checks its version.
///
/// # Errors
/// It is of another shape or version.
pub fn read<T: DeserializeOwned>(payload: &str) -> Result<T, BadRequest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: String,
    }
    let bad = |error: serde_json::Error| BadRequest(format!("the payload cannot be read: {error}"));
    let version: Version = serde_json::from_str(payload).map_err(bad)?;
    if version.schema_version.split('.').next() != Some("1") {
        return Err(BadRequest(format!(
            "schemaVersion {:?} is not known here: expected \"1.0\"",
            version.schema_version
        )));
    }
    serde_json::from_str(payload).map_err(bad)
}

/// Which module to restart.
#[derive(Debug, Deserialize)]
pub struct Restart {
    /// Its name.
    pub id: String,
}

/// Which task to tell of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatusRequest {
    /// What it was given as its name.
    pub correlation_id: String,
}

/// Where a bundle goes, and what is in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleRequest {
    /// Where it goes; a secret.
    pub sas_url: String,
    /// Lines of modules not before this.
    #[serde(default)]
    pub since: Option<String>,
    /// Lines of modules not after this.
    #[serde(default)]
    pub until: Option<String>,
    /// Without the lines of modules.
    #[serde(default)]
    pub edge_runtime_only: bool,
}

/// Which lines, and in what form.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsRequest {
    items: Vec<Item>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    content_type: ContentType,
    /// Where they go, if they are uploaded; a secret.
    #[serde(default)]
    pub sas_url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    id: String,
    #[serde(default)]
    filter: ItemFilter,
}

#[derive(Debug, Default, Deserialize)]
struct ItemFilter {
    #[serde(default)]
    tail: Option<usize>,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    loglevel: Option<u8>,
    #[serde(default)]
    regex: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    None,
    Gzip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ContentType {
    #[default]
    Text,
    Json,
}

/// A part of a request for logs, ready to be used.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Whose lines.
    pub modules: Regex,
    /// Which of them.
    pub filter: Filter,
}

impl LogsRequest {
    /// Its parts, checked.
    ///
    /// # Errors
    /// A pattern, a time or a level that is none.
    pub fn selections(&self, now: Timestamp) -> Result<Vec<Selection>, BadRequest> {
        if self.items.is_empty() || self.items.len() > ITEMS {
            return Err(BadRequest(format!(
                "items has {} elements: expected 1 to {ITEMS}, as in [{{\"id\": \"module\"}}]",
                self.items.len()
            )));
        }
        self.items.iter().map(|item| selection(item, now)).collect()
    }

    /// Writes lines as the request wants them.
    pub fn render(&self, hub: &str, device: &str, lines: &[Line<'_>]) -> Rendered {
        let text = match self.content_type {
            ContentType::Text => lines.iter().fold(String::new(), |mut out, line| {
                out.push_str(&line.plain());
                out.push('\n');
                out
            }),
            ContentType::Json => {
                let lines: Vec<_> = lines
                    .iter()
                    .map(|line| JsonLine {
                        iothub: hub,
                        device,
                        id: line.module,
                        stream: line.stream,
                        loglevel: line.severity(),
                        timestamp: line.time.to_string(),
                        text: line.text,
                    })
                    .collect();
                serde_json::to_string(&lines).expect("text and numbers can be written as JSON")
            }
        };
        match self.encoding {
            Encoding::None => Rendered::Text(text),
            Encoding::Gzip => Rendered::Gzip(gzip(text.as_bytes())),
        }
    }

    /// The end of the name of a file with such lines.
    pub fn extension(&self) -> &'static str {
        match (self.content_type, self.encoding) {
            (ContentType::Text, Encoding::None) => "log",
            (ContentType::Text, Encoding::Gzip) => "log.gz",
            (ContentType::Json, Encoding::None) => "json",
            (ContentType::Json, Encoding::Gzip) => "json.gz",
        }
    }

    /// The media type of what is rendered, before it is packed.
    pub fn media_type(&self) -> &'static str {
        match self.content_type {
            ContentType::Text => "text/plain; charset=utf-8",
            ContentType::Json => "application/json",
        }
    }
}

fn selection(item: &Item, now: Timestamp) -> Result<Selection, BadRequest> {
    let filter = &item.filter;
    let bad = |error: &dyn std::fmt::Display| BadRequest(format!("item {:?}: {error}", item.id));
    let time = |text: &Option<String>| {
        let read = text.as_ref().map(|text| moment(text, now)).transpose();
        read.map_err(|error| bad(&error))
    };
    let level = match filter.loglevel {
        Some(level) if level > 7 => {
            return Err(bad(&format!(
                "loglevel {level}: expected 0 to 7, as syslog has it"
            )));
        }
        level => level.map(Wanted::Exactly),
    };
    // As the seed system spells "of all modules".
    let id = match item.id.as_str() {
        "all" => ".*",
        id => id,
    };
    let grep = filter.regex.as_ref().map(|text| pattern(text, false));
    Ok(Selection {
        modules: pattern(id, true).map_err(|error| bad(&error))?,
        filter: Filter {
            since: time(&filter.since)?,
            until: time(&filter.until)?,
            level,
            grep: grep.transpose().map_err(|error| bad(&error))?,
            tail: filter.tail,
        },
    })
}

/// Lines in the form that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// As they are.
    Text(String),
    /// Packed.
    Gzip(Vec<u8>),
}

impl Rendered {
    /// For an upload.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Gzip(bytes) => bytes,
        }
    }
}

/// The lines of a module, in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleLogs {
    /// Whose.
    pub id: String,
    /// The lines, where they are not packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The lines, packed and in Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<String>,
}

impl ModuleLogs {
    /// The lines of a module.
    pub fn new(id: String, rendered: Rendered) -> Self {
        let (payload, payload_bytes) = match rendered {
            Rendered::Text(text) => (Some(text), None),
            Rendered::Gzip(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self {
            id,
            payload,
            payload_bytes,
        }
    }
}

/// Work that goes on after its method was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// How far it is.
    pub status: TaskStatus,
    /// Why it failed; else empty.
    pub message: String,
    /// Its name: a GUID.
    pub correlation_id: String,
}

/// How far work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskStatus {
    /// Not begun.
    NotStarted,
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// It will not be done.
    Failed,
    /// There is no such work, or it was long ago.
    Unknown,
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    fn lines() -> [Line<'static>; 2] {
        let line = |text| Line {
            time: NOW,
            module: "cam",
            logged: 4,
            stream: "stderr",
            text,
        };
        [line("one"), line("<3> two")]
    }

    fn request(rest: &str) -> LogsRequest {
        read(&format!(
            r#"{{"schemaVersion":"1.0","items":[{{"id":"CAM"}}]{rest}}}"#
        ))
        .expect("a request")
    }

    #[test]
    fn lines_come_as_text_or_json_packed_or_not() {
        let text = request("").render("h", "d", &lines());
        let expected = "<4> 2027-01-15T08:00:00.000Z one\n<3> two\n";
        assert_eq!(text, Rendered::Text(expected.to_owned()));
        let packed = request(r#","encoding":"gzip""#);
        assert_eq!(packed.extension(), "log.gz");
        let bytes = packed.render("h", "d", &lines()).into_bytes();
        let mut plain = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
        decoder.read_to_string(&mut plain).expect("gzip");
        assert_eq!(plain, expected);
        let json = request(r#","contentType":"json""#).render("h", "d", &lines());
        let json: serde_json::Value = serde_json::from_slice(&json.into_bytes()).expect("JSON");
        assert_eq!(
            json[1],
            serde_json::json!({
                "iothub": "h", "device": "d", "id": "cam", "stream": "stderr", "loglevel": 3,
                "timestamp": "2027-01-15T08:00:00.000Z", "text": "<3> two",
            })
        );
    }

    #[test]
    fn modules_are_named_by_patterns_without_regard_to_case() {
        let selections = request("").selections(NOW).expect("right");
        assert!(selections[0].modules.is_match("webcam"));
        assert!(!selections[0].modules.is_match("filter"));
    }

    #[test]
    fn wrong_requests_say_what_was_expected() {
        for (payload, word) in [
            ("null", "cannot be read"),
            ("{}", "schemaVersion"),
            (r#"{"schemaVersion":"2.0","items":[]}"#, "2.0"),
            (r#"{"schemaVersion":"1.0"}"#, "items"),
            (r#"{"schemaVersion":"1.0","items":[]}"#, "0 elements"),
            (r#"{"schemaVersion":"1.0","items":[{"id":"("}]}"#, "pattern"),
            (
                r#"{"schemaVersion":"1.0","items":[{"id":"a","filter":{"since":"never"}}]}"#,
                "never",
            ),
            (
                r#"{"schemaVersion":"1.0","items":[{"id":"a","filter":{"loglevel":9}}]}"#,
                "loglevel 9",
            ),
            (
                r#"{"schemaVersion":"1.0","items":[{"id":"a"}],"encoding":"zip"}"#,
                "zip",
            ),
        ] {
            let read = read::<LogsRequest>(payload);
            let error = read
                .and_then(|request| request.selections(NOW).map(drop))
                .expect_err("it is wrong");
            assert!(error.0.contains(word), "{payload}: {error}");
        }
    }
}
