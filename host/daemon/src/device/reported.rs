//! What the device reports of its modules: the reported properties of `$edgeAgent`, as the seed system has them.
//!
//! ```text
//!   agent's status ─► report ─► difference to what is reported ─► twin of $edgeAgent      once a second at most
//! ```
//!
//! A report that the twin has no room for is shortened: options of containers go first, then descriptions. A
//! module whose name cannot be that of a property is left out. Environment variables are not reported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge_agent::{AgentStatus, ModuleStatus};
use edge_core::deployment::{ModuleKind, PullPolicy};
use edge_core::{ModuleId, twin};
use edge_hub::{Side, TwinError};
use edge_manifest::ReadOptions;
use edge_operate::redact;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::wanted::LastDesired;
use super::{Device, Record};

/// Shortest time between two reports.
const PAUSE: Duration = Duration::from_secs(1);
/// Most bytes of a description.
const DESCRIPTION: usize = 1_000;
/// Most bytes of a string in a twin.
const STRING: usize = 4_096;

/// What a report says of a module beside its status.
#[derive(Debug, Clone, Default)]
struct Settings {
    /// Options of a container, without secrets.
    options: Option<String>,
    pull: Option<&'static str>,
}

/// How much of it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    All,
    NoOptions,
    NoDescriptions,
}

impl Device {
    /// Reports for as long as it is driven.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut status = self.agent.status();
        let mut taken = self.taken.subscribe();
        let mut settings = (0, Arc::default());
        loop {
            let now = status.borrow_and_update().clone();
            let record = self.shown().map(|(record, _)| record);
            let number = record.as_ref().map_or(0, |record| record.number);
            if settings.0 != number {
                settings = (
                    number,
                    Arc::new(record.as_deref().map(read).unwrap_or_default()),
                );
            }
            let (device, known) = (self.clone(), settings.1.clone());
            let reported = tokio::task::spawn_blocking(move || device.report_now(&now, &known));
            match reported.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "the state of modules was not reported"),
                Err(error) => warn!(%error, "the state of modules was not reported"),
            }
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                // Its sender lives as long as the device.
                Ok(()) = taken.changed() => {}
                changed = status.changed() => if changed.is_err() {
                    // The agent has ended; whoever drives this knows.
                    return std::future::pending().await;
                },
            }
        }
    }

    /// Brings the twin up to a status. Blocks.
    fn report_now(
        &self,
        status: &AgentStatus,
        settings: &BTreeMap<ModuleId, Settings>,
    ) -> Result<(), TwinError> {
        let last = match status.last_desired_status.code {
            400 | 412 => LastDesired::Refused,
            _ => LastDesired::InForce,
        };
        let version = self.last_desired(last).agent;
        let agent =
            ModuleId::new("$edgeAgent").map_err(|error| TwinError::Invalid(error.to_string()))?;
        let identity = self.identity(&agent);
        let mut detail = Detail::All;
        loop {
            let report = report(status, version, settings, detail);
            let reported = self.hub.twin(&identity, Side::Reported, None)?.properties;
            let Some(patch) = edge_core::twin::difference(&reported, &report) else {
                return Ok(());
            };
            let patch = Value::Object(patch).to_string();
            detail = match (self.hub.change_reported(&identity, &patch), detail) {
                (Ok(_), _) => return Ok(()),
                (Err(TwinError::TooLarge { .. }), Detail::All) => Detail::NoOptions,
                (Err(TwinError::TooLarge { .. }), Detail::NoOptions) => Detail::NoDescriptions,
                (Err(error), _) => return Err(error),
            };
        }
    }
}

/// What a deployment says of its modules.
fn read(record: &Record) -> BTreeMap<ModuleId, Settings> {
    let options = ReadOptions {
        routes: record.mode(),
    };
    // What was accepted can be read, unless by another version: then there is nothing to tell of it.
    let Ok(read) = edge_manifest::read(&record.manifest, &options) else {
        return BTreeMap::new();
    };
    let settings = read.deployment.modules.into_iter().map(|spec| {
        let settings = match spec.kind {
            ModuleKind::Container(container) => Settings {
                options: hidden(&container.options),
                pull: Some(match container.pull {
                    PullPolicy::Never => "never",
                    PullPolicy::IfAbsent => "if-absent",
                    PullPolicy::OnCreate => "on-create",
                }),
            },
            ModuleKind::Wasm(_) => Settings::default(),
        };
        (spec.id, settings)
    });
    settings.collect()
}

/// Options without secrets, if they are a string that a twin can have.
fn hidden(options: &str) -> Option<String> {
    let mut options: Value = serde_json::from_str(options).ok()?;
    redact::json(&mut options);
    Some(options.to_string()).filter(|text| text.len() <= STRING)
}

fn report(
    status: &AgentStatus,
    version: u64,
    settings: &BTreeMap<ModuleId, Settings>,
    detail: Detail,
) -> Map<String, Value> {
    let described = |text: &str| match detail {
        Detail::NoDescriptions => Value::Null,
        _ => cut(&redact::text(text)).into(),
    };
    let own =
        || json!({ "type": "docker", "runtimeStatus": "running", "settings": { "image": "edge" } });
    let host = rustix::system::uname();
    let last = &status.last_desired_status;
    let none = Settings::default();
    let modules = status.modules.iter().filter_map(|module| {
        let name = module.module.to_string();
        let alone = Map::from_iter([(name.clone(), json!({}))]);
        twin::validate(&alone, false).ok()?;
        let settings = settings.get(&module.module).unwrap_or(&none);
        let options = settings.options.as_ref().filter(|_| detail == Detail::All);
        let description = described(&module.description);
        Some((
            name,
            self::module(module, settings.pull, options, description),
        ))
    });
    let report = json!({
        "schemaVersion": "1.0",
        "version": { "version": env!("CARGO_PKG_VERSION") },
        "lastDesiredVersion": version,
        "lastDesiredStatus": { "code": last.code, "description": described(&last.description) },
        "runtime": {
            "type": "docker",
            "platform": {
                "os": "linux",
                "architecture": std::env::consts::ARCH,
                "version": host.release().to_string_lossy(),
            },
        },
        // Both are this program.
        "systemModules": { "edgeAgent": own(), "edgeHub": own() },
        "modules": modules.collect::<Map<_, _>>(),
    });
    match without_nulls(report) {
        Value::Object(report) => report,
        _ => Map::new(),
    }
}

fn module(
    status: &ModuleStatus,
    pull: Option<&str>,
    options: Option<&String>,
    description: Value,
) -> Value {
    let status = serde_json::to_value(status).unwrap_or_default();
    let mut module = json!({
        "imagePullPolicy": pull,
        "settings": {
            "image": redact::text(status["image"].as_str().unwrap_or_default()),
            "imageHash": status["digest"],
            "createOptions": options,
        },
        "statusDescription": description,
    });
    for name in [
        "type",
        "status",
        "version",
        "restartPolicy",
        "startupOrder",
        "runtimeStatus",
        "exitCode",
        "restartCount",
        "lastStartTimeUtc",
        "lastExitTimeUtc",
        "lastRestartTimeUtc",
    ] {
        module[name] = status[name].clone();
    }
    module
}

/// In a patch a null would take away what is not there: each report would be a change.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        value => value,
    }
}

/// The beginning of a text.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(DESCRIPTION);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use edge_agent::{DesiredState, LastDesiredStatus, RuntimeStatus};
    use edge_core::deployment::RestartPolicy;
    use edge_core::runtime::RuntimeKind;

    use super::*;

    fn status(names: &[&str], description: &str) -> AgentStatus {
        let module = |name: &&str| ModuleStatus {
            module: ModuleId::new(name).expect("id"),
            kind: RuntimeKind::Container,
            version: None,
            image: "r.example/cam:1".to_owned(),
            digest: None,
            desired: DesiredState::Running,
            runtime_status: RuntimeStatus::Backoff,
            description: description.to_owned(),
            restart_policy: RestartPolicy::Always,
            startup_order: 3,
            last_start: None,
            last_exit: None,
            exit_code: Some(1),
            restart_count: 2,
            cool_offs: 0,
            last_restart: None,
            next_try: None,
            conditions: Vec::new(),
        };
        AgentStatus {
            generation: 1,
            revision: 1,
            settled: true,
            last_desired_status: LastDesiredStatus {
                code: 500,
                description: "cam: start: no".to_owned(),
            },
            modules: names.iter().map(module).collect(),
        }
    }

    #[test]
    fn a_report_has_the_seed_systems_names_and_no_nulls() {
        let report = report(
            &status(&["cam"], "ended with 1"),
            7,
            &BTreeMap::new(),
            Detail::All,
        );
        assert_eq!(report["lastDesiredVersion"], 7);
        assert_eq!(report["lastDesiredStatus"]["code"], 500);
        assert_eq!(
            report["modules"]["cam"],
            json!({
                "type": "docker", "status": "running", "restartPolicy": "always", "startupOrder": 3,
                "settings": { "image": "r.example/cam:1" }, "runtimeStatus": "backoff",
                "statusDescription": "ended with 1", "exitCode": 1, "restartCount": 2,
            })
        );
        twin::validate(&report, false).expect("a twin can hold it");
        // The same again is no change.
        assert_eq!(edge_core::twin::difference(&report, &report), None);
    }

    #[test]
    fn names_that_no_twin_can_hold_and_long_descriptions_are_left_out() {
        let status = status(&["a.b", "cam"], &"ä".repeat(5_000));
        let report = report(&status, 1, &BTreeMap::new(), Detail::All);
        let modules = report["modules"].as_object().expect("modules");
        assert_eq!(modules.keys().collect::<Vec<_>>(), ["cam"]);
        twin::validate(&report, false).expect("a twin can hold it");
    }

    #[test]
    fn options_are_reported_without_secrets() {
        let options = hidden(r#"{"Env":["API_KEY=abc","MODE=fast"]}"#).expect("short");
        assert_eq!(options, r#"{"Env":["API_KEY=***","MODE=fast"]}"#);
        assert_eq!(
            hidden(&format!(r#"{{"a":"{}"}}"#, "x".repeat(STRING))),
            None
        );
    }
}
