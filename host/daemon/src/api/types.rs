//! What requests and answers of the management API look like: the daemon writes them, the typed client
//! reads them, commands print them. Times are RFC 3339 in UTC with milliseconds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use edge_agent::ModuleStatus;
use edge_core::{Timestamp, format_duration};
use edge_upstream::LinkState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod identity;
mod message;

pub use identity::{
    AddIdentity, CertificateInfo, CertificatesInfo, ChangeIdentity, EnvironmentInfo, Hidden,
    IdentityAuth, IdentityInfo, IdentitySecrets, IdentityStatus, Removed, RotateKeys, WhichKey,
};
pub use message::{Body, DeadLetterInfo, MessageInfo, Outcome, SendRequest, Sent};

/// An answer that is none. `{"code":"not-found","message":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable, for programs.
    pub code: String,
    /// For people: what was attempted, what is wrong, what to do.
    pub message: String,
    /// Each thing that is wrong with a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<String>,
}

/// `GET /v1/device`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The device's name.
    pub device: String,
    /// The program's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// When the daemon started.
    pub started: String,
    /// Its data directory.
    pub data: PathBuf,
    /// The name by which clients reach it.
    pub hostname: String,
    /// The hub's name in tokens and connection strings.
    pub hub_name: String,
    /// Where clients are served.
    pub listeners: Vec<ListenerInfo>,
    /// Where metrics are, if anywhere.
    pub metrics: Option<String>,
    /// What is deployed.
    pub deployment: Option<DeploymentInfo>,
    /// The link to the parent, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamInfo>,
}

/// How the link to the parent stands, and what passed it since the daemon started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamInfo {
    /// Whether it is connected.
    pub connected: bool,
    /// Seconds that it has been, or has not been.
    pub seconds: u64,
    /// Why it is not.
    pub why: Option<String>,
    /// Whether that passes by itself, as far as is known: the parent may be back at any time.
    #[serde(default)]
    pub passes: bool,
    /// Connections so far.
    pub connections: u64,
    /// Bytes that went up, without TLS.
    pub bytes_up: u64,
    /// Bytes that came down, without TLS.
    pub bytes_down: u64,
    /// Bytes that went up and came down, by day in UTC, also from before the start.
    #[serde(default)]
    pub days: BTreeMap<String, DayBytes>,
    /// Messages that wait for the parent, those that are with it included.
    #[serde(default)]
    pub waiting: u64,
    /// Messages that the parent has.
    pub accepted: u64,
    /// Messages that it never takes.
    pub rejected: u64,
    /// Messages that are with it and without an outcome.
    pub under_way: u64,
    /// Identities that it does not let in, and why.
    pub refused: BTreeMap<String, String>,
}

impl UpstreamInfo {
    /// For how long it has been connected, or has not been, for people: in whole units.
    pub fn span(&self) -> String {
        let unit = match self.seconds {
            0..120 => 1,
            120..7_200 => 60,
            7_200..172_800 => 3_600,
            _ => 86_400,
        };
        format_duration(Duration::from_secs(self.seconds / unit * unit))
    }
}

/// Bytes of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayBytes {
    /// To the parent.
    pub up: u64,
    /// From it.
    pub down: u64,
}

impl From<edge_upstream::UpstreamStatus> for UpstreamInfo {
    fn from(status: edge_upstream::UpstreamStatus) -> Self {
        let (connected, seconds, why, passes) = match status.state {
            LinkState::Online(seconds) => (true, seconds, None, true),
            LinkState::Offline {
                seconds,
                why,
                passes,
            } => (false, seconds, Some(why), passes),
        };
        let refused = status.refused.into_iter();
        Self {
            connected,
            seconds,
            why,
            passes,
            connections: status.connections,
            bytes_up: status.bytes_up,
            bytes_down: status.bytes_down,
            days: (status.days.into_iter())
                .map(|(day, bytes)| {
                    let edge_upstream::DayUsage { up, down } = bytes;
                    (day, DayBytes { up, down })
                })
                .collect(),
            waiting: status.waiting,
            accepted: status.accepted,
            rejected: status.rejected,
            under_way: status.under_way,
            refused: refused.map(|(who, why)| (who.to_string(), why)).collect(),
        }
    }
}

/// A port that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerInfo {
    /// What is spoken there, by the section of the settings: mqtt, https, topics or workload.
    pub name: String,
    /// The address.
    pub address: String,
}

/// A deployment that is or was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentInfo {
    /// Counts the deployments of this device.
    pub number: u64,
    /// The name of its manifest.
    pub name: String,
    /// When it was applied.
    pub applied: String,
    /// The routing language: compat or strict.
    pub routes: String,
    /// The components that it runs, by module.
    pub components: BTreeMap<String, String>,
    /// Whether it is known to work.
    pub state: DeploymentState,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The earlier deployment that it brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brings_back: Option<u64>,
}

/// Whether a deployment is known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Not yet: its modules have to run for a while.
    Trial,
    /// Its modules have run as they were to.
    Good,
    /// They have not.
    Failed,
}

/// `POST /v1/deployment/rollback`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RollbackRequest {
    /// The deployment to bring back; none: the last one that worked.
    #[serde(default)]
    pub number: Option<u64>,
}

/// `GET /v1/deployment`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentDeployment {
    /// What is in force.
    pub deployment: DeploymentInfo,
    /// Its manifest as it was given.
    pub manifest: String,
}

/// `PUT /v1/deployment`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyRequest {
    /// What to call the manifest in messages.
    pub name: String,
    /// Its text.
    pub manifest: String,
    /// What paths in it are relative to, from `/` on.
    pub base: PathBuf,
    /// The routing language: compat or strict.
    #[serde(default)]
    pub routes: Option<String>,
}

/// A deployment was taken; its modules are being brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What is in force now.
    pub deployment: DeploymentInfo,
    /// The desired state of the agent that it made; its modules are brought up when this has settled.
    pub generation: u64,
    /// What is odd about it and yet no error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `PUT /v1/devices/{device}/deployment`, with an [`ApplyRequest`]: what is wanted of a device below this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildDeployment {
    /// The device.
    pub device: String,
    /// Its modules.
    pub modules: Vec<String>,
    /// Whether it is connected now, or the gateway is that hands it on: else it is taken later.
    #[serde(default)]
    pub connected: bool,
    /// The gateway next to this device through which it gets there; none: it connects here itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// What is odd about it and yet no error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `GET /v1/modules`; with `?follow=true` a line whenever it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modules {
    /// The deployment that these belong to; 0: none.
    pub deployment: u64,
    /// Which desired state the agent speaks of; ascending.
    pub generation: u64,
    /// Whether nothing is under way: every module is as it is to be, or has failed.
    pub settled: bool,
    /// How the last deployment was taken.
    pub last_desired: LastDesired,
    /// In the order of their names.
    pub modules: Vec<ModuleInfo>,
}

/// How a deployment was taken, as `lastDesiredStatus` of `$edgeAgent` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDesired {
    /// 200: it is in place; 400: it could not be read; 406: not known yet; 412: its schema has another
    /// version; 417: there is none; 500: a module could not be put in place. After 400 and 412 the one
    /// before is still in force.
    pub code: u16,
    /// Why it is not in place, a cause a line.
    pub description: String,
}

/// A module, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// Its name.
    pub name: String,
    /// wasm or docker.
    pub kind: String,
    /// What is wanted: running, stopped or absent.
    pub wanted: String,
    /// What is: running, unhealthy, stopped, failed, backoff or downloading.
    pub status: String,
    /// Why it is as it is.
    pub description: String,
    /// Where it comes from.
    pub image: String,
    /// The digest of what runs.
    pub digest: Option<String>,
    /// The version that the manifest states.
    pub version: Option<String>,
    /// Starts after an end that nobody asked for.
    pub restarts: u32,
    /// When it started last.
    pub started: Option<String>,
    /// When it ended last by itself.
    pub exited: Option<String>,
    /// How it ended last.
    pub exit_code: Option<i32>,
    /// When it is tried again.
    pub next_try: Option<String>,
    /// What stands in the way of what is wanted; of a module that runs, in the way of its next build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionInfo>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionInfo {
    /// Which.
    pub step: String,
    /// Whether it stays so until the deployment changes.
    pub permanent: bool,
    /// Why.
    pub cause: String,
}

impl ModuleInfo {
    /// Whether it is as it is to be.
    pub fn is_well(&self) -> bool {
        match self.wanted.as_str() {
            "running" => {
                self.status == "running" && self.conditions.is_empty()
                    || (self.status == "stopped" && self.exit_code == Some(0))
            }
            _ => true,
        }
    }
}

impl From<&ModuleStatus> for ModuleInfo {
    fn from(status: &ModuleStatus) -> Self {
        let word = |value| match value {
            Ok(serde_json::Value::String(word)) => word,
            _ => "unknown".to_owned(),
        };
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        Self {
            name: status.module.to_string(),
            kind: status.kind.as_str().to_owned(),
            wanted: word(serde_json::to_value(status.desired)),
            status: word(serde_json::to_value(status.runtime_status)),
            description: status.description.clone(),
            image: status.image.clone(),
            digest: status.digest.map(|digest| digest.to_string()),
            version: status.version.clone(),
            restarts: status.restart_count,
            started: time(status.last_start),
            exited: time(status.last_exit),
            exit_code: status.exit_code,
            next_try: time(status.next_try),
            conditions: status.conditions.iter().map(ConditionInfo::from).collect(),
        }
    }
}

impl From<&edge_agent::Condition> for ConditionInfo {
    fn from(condition: &edge_agent::Condition) -> Self {
        Self {
            step: condition.step.to_string(),
            permanent: condition.permanent,
            cause: condition.cause.clone(),
        }
    }
}

/// `GET /v1/queues`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueInfo {
    /// `module/input` or `$upstream`.
    pub endpoint: String,
    /// Rank; the lowest number is delivered first. None: of routes that name none.
    pub priority: Option<u32>,
    /// Messages that wait.
    pub depth: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// When the oldest came in.
    pub oldest: Option<String>,
    /// How long ago that was, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Whether somebody reads it.
    pub reader: bool,
    /// Whether a route leads to it.
    pub routed: bool,
}

/// Which lines of `GET /v1/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Of these modules; none: of all.
    pub modules: Vec<String>,
    /// At most so many, the newest.
    pub tail: Option<usize>,
    /// Not before: a span before now, an RFC 3339 time, or seconds since 1970.
    pub since: Option<String>,
    /// Not after, likewise.
    pub until: Option<String>,
    /// Of this severity and worse: a name as `warn`, or a number of syslog.
    pub level: Option<String>,
    /// In which this pattern is found.
    pub grep: Option<String>,
    /// Go on with what comes.
    pub follow: bool,
}

/// A line of `GET /v1/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Counts the lines of all modules since the daemon started.
    pub number: u64,
    /// When it came.
    pub time: String,
    /// Whose it is.
    pub module: String,
    /// trace, debug, info, warn, error or critical.
    pub level: String,
    /// What the module named as its context, often nothing.
    pub context: String,
    /// The line.
    pub line: String,
}

/// What a stream carries, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event<T> {
    /// What was asked for.
    Item(T),
    /// So many were left out because this reader was too slow.
    Dropped(u64),
}

/// A message that passes, in `GET /v1/tail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// The message.
    #[serde(flatten)]
    pub message: MessageInfo,
    /// The endpoints that it goes to; none: no route takes it.
    pub into: Vec<String>,
}

/// `POST /v1/dead-letters/replay` and `…/drop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// These.
    Numbers(Vec<u64>),
    /// All that there are now.
    All,
}

/// What became of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Handled {
    /// Done.
    pub done: Vec<u64>,
    /// Not done, and why.
    pub failed: Vec<(u64, String)>,
}

/// `GET /v1/twins/{identity}`; with `?follow=true` a line now and whenever it changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// What is wanted.
    pub desired: TwinSection,
    /// What is.
    pub reported: TwinSection,
}

/// One half of a twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinSection {
    /// Counts its changes.
    pub version: u64,
    /// The properties.
    pub properties: Map<String, Value>,
}

/// `POST /v1/methods/{identity}/{name}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodRequest {
    /// What the method gets.
    #[serde(default)]
    pub payload: Value,
    /// How long to wait for the answer, in seconds.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// How long to wait for a target that is not there yet, in seconds.
    #[serde(default)]
    pub connect_timeout_seconds: Option<u64>,
}

/// What a method answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodAnswer {
    /// Status in the manner of HTTP; the module's choice.
    pub status: u32,
    /// The answer.
    pub payload: Value,
}

/// A line of `GET /v1/top`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopSample {
    /// When it was taken.
    pub time: String,
    /// Since the sample before, or since the start of the daemon.
    pub seconds: f64,
    /// Running counts since the daemon started, by name.
    pub counts: BTreeMap<String, u64>,
    /// How they changed, a second.
    pub rates: BTreeMap<String, f64>,
    /// Bytes of messages that wait.
    pub waiting_bytes: u64,
    /// Bytes at which senders outside are made to wait.
    pub waiting_limit: u64,
    /// Queues.
    pub queues: Vec<QueueInfo>,
    /// Modules.
    pub modules: Modules,
    /// The link to the parent, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamInfo>,
}
