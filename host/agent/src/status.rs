//! What the agent says of itself and of its modules.
//!
//! As JSON the names are those of `$edgeAgent`'s reported properties where these have one:
//!
//! ```text
//! { "generation": 3, "revision": 41, "settled": true,
//!   "lastDesiredStatus": { "code": 200, "description": "" },
//!   "modules": [ { "module": "filter", "type": "wasm", "status": "running", "runtimeStatus": "running", … } ] }
//! ```

use edge_core::deployment::{DesiredStatus, RestartPolicy};
use edge_core::runtime::{RuntimeKind, Step};
use edge_core::{Digest, ModuleId, Timestamp};
use serde::{Serialize, Serializer};

/// The agent's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Which desired state this is about: the number that `set_desired` gave; 0 before the first.
    pub generation: u64,
    /// Counts published states.
    pub revision: u64,
    /// Whether there is nothing left to do until something happens: every module runs, is stopped, or
    /// waits for its next try. False while the agent starts.
    pub settled: bool,
    /// How the desired state was taken.
    pub last_desired_status: LastDesiredStatus,
    /// By name. Those that are being removed are among them until they are gone.
    pub modules: Vec<ModuleStatus>,
}

impl AgentStatus {
    /// The status of a module.
    pub fn module(&self, id: &ModuleId) -> Option<&ModuleStatus> {
        self.modules.iter().find(|module| module.module == *id)
    }
}

/// How the desired state was taken, with the codes of IoT Edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastDesiredStatus {
    /// 200: it is in place; 400: it could not be read; 406: not known yet (starting, being put in place,
    /// shut down); 412: its schema has another version; 417: there is no deployment; 500: a module
    /// could not be put in place. After 400 and 412 what was wanted before still is.
    pub code: u16,
    /// Empty for 200; else modules, steps and causes, one a line.
    pub description: String,
}

/// Whether and how a module runs, in IoT Edge's words, and `downloading` beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeStatus {
    /// It is prepared: fetched, checked, compiled.
    Downloading,
    /// It runs.
    Running,
    /// It runs and cannot do its work.
    Unhealthy,
    /// It does not run, and will not by itself.
    Failed,
    /// It does not run: it is done, is not wanted running, or is about to start.
    Stopped,
    /// It does not run; it is started again when it has cooled off.
    Backoff,
}

/// What the deployment wants of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// To run.
    Running,
    /// To be there and not run.
    Stopped,
    /// Not to be there.
    Absent,
}

impl From<DesiredStatus> for DesiredState {
    fn from(status: DesiredStatus) -> Self {
        match status {
            DesiredStatus::Running => Self::Running,
            DesiredStatus::Stopped => Self::Stopped,
        }
    }
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Its name.
    #[serde(serialize_with = "text")]
    pub module: ModuleId,
    /// What runs it: `wasm` or `docker`.
    #[serde(rename = "type", serialize_with = "kind")]
    pub kind: RuntimeKind,
    /// The version that the deployment states.
    pub version: Option<String>,
    /// Where its component or image comes from, as the deployment says it.
    pub image: String,
    /// What its component or image hashes to, once that is known.
    #[serde(serialize_with = "optional_text")]
    pub digest: Option<Digest>,
    /// What is wanted.
    #[serde(rename = "status")]
    pub desired: DesiredState,
    /// What is.
    pub runtime_status: RuntimeStatus,
    /// Why it is so; never empty.
    #[serde(rename = "statusDescription")]
    pub description: String,
    /// When it is started again.
    #[serde(serialize_with = "restart_policy")]
    pub restart_policy: RestartPolicy,
    /// Its place in the order of first starts.
    pub startup_order: u32,
    /// When it was last started.
    #[serde(rename = "lastStartTimeUtc", serialize_with = "optional_text")]
    pub last_start: Option<Timestamp>,
    /// When it last ended by itself.
    #[serde(rename = "lastExitTimeUtc", serialize_with = "optional_text")]
    pub last_exit: Option<Timestamp>,
    /// What it ended with then, if it had a code.
    pub exit_code: Option<i32>,
    /// Times that it was started again after an end that nobody asked for, since it last ran well for
    /// ten minutes or was changed.
    pub restart_count: u32,
    /// Those of them that it had to cool off for.
    pub cool_offs: u32,
    /// The last of these times.
    #[serde(rename = "lastRestartTimeUtc", serialize_with = "optional_text")]
    pub last_restart: Option<Timestamp>,
    /// When it is tried again, while it waits for that.
    #[serde(rename = "nextTryTimeUtc", serialize_with = "optional_text")]
    pub next_try: Option<Timestamp>,
    /// What stands in the way of what is wanted; empty if nothing does.
    pub conditions: Vec<Condition>,
}

/// A step that failed and was not made good yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The step: `prepare`, `start`, …
    #[serde(serialize_with = "text")]
    pub step: Step,
    /// When it failed last.
    #[serde(rename = "sinceUtc", serialize_with = "text")]
    pub since: Timestamp,
    /// Whether it stays so until the deployment changes, or somebody asks for a restart.
    pub permanent: bool,
    /// Tries so far.
    pub tries: u32,
    /// When it is tried again.
    #[serde(rename = "nextTryTimeUtc", serialize_with = "optional_text")]
    pub next_try: Option<Timestamp>,
    /// The cause, without the module and the step.
    pub cause: String,
}

fn text<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn optional_text<S: Serializer>(
    value: &Option<impl std::fmt::Display>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn kind<S: Serializer>(value: &RuntimeKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.as_str())
}

fn restart_policy<S: Serializer>(value: &RestartPolicy, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match value {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::OnUnhealthy => "on-unhealthy",
        RestartPolicy::Always => "always",
    })
}
