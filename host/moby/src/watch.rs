//! Watches what runs: the engine's events say where to look, a slow round finds what no event told.
//!
//! ```text
//!   nothing runs ── bell ──► connect ─► round ─► events, a round every minute ──┐
//!                              ▲  │ not there: again after 0.5 s, 1 s, … 10 s   │ the engine is gone
//!                              └──┴─────────────────────────────────────────────┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::models::{ContainerState, EventMessage, HealthStatusEnum};
use bollard::query_parameters::EventsOptions;
use edge_core::ModuleId;
use edge_core::runtime::{ModuleEvent, Outcome, RuntimeEvent};
use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use crate::body;
use crate::engine::EngineError;
use crate::runtime::{Shared, runs};

/// Time between rounds, in case that an event went astray.
const ROUND: Duration = Duration::from_secs(60);
/// The first and the longest time before the engine is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What was seen of a container before it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was watched all the time.
    Always,
    /// The engine was away, and may have ended it.
    Gap,
}

/// Watches for as long as it is driven.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (mut seen, mut wait) = (Seen::Always, RETRY.0);
    loop {
        if shared.names().is_empty() {
            shared.bell.notified().await;
            continue;
        }
        match session(&shared, seen, &mut wait).await {
            Ok(()) => info!("the container engine has gone: it is waited for"),
            Err(error) => debug!(%error, "the container engine is waited for"),
        }
        shared.engine.forget();
        seen = Seen::Gap;
        sleep(wait).await;
        wait = RETRY.1.min(wait * 2);
    }
}

/// From a connection to its end.
async fn session(shared: &Arc<Shared>, seen: Seen, wait: &mut Duration) -> Result<(), EngineError> {
    let docker = shared.engine.docker().await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let filter = |key: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        (key.to_owned(), values)
    };
    let device = format!("{}={}", body::DEVICE, shared.config.device);
    let options = EventsOptions {
        // What happens until the engine has taken this call is told as well.
        since: Some(now.unwrap_or_default().as_secs().to_string()),
        until: None,
        filters: Some(HashMap::from([
            filter("type", &["container"]),
            // Podman filters by names of its own: died and remove.
            filter(
                "event",
                &["die", "died", "destroy", "remove", "health_status"],
            ),
            filter("label", &[&device]),
        ])),
    };
    let mut events = docker.events(Some(options));
    if seen == Seen::Gap {
        // Whether it is back is known when it answers.
        let back = docker.ping().await;
        back.map_err(|error| shared.engine.error(error))?;
        info!("the container engine is back");
    }
    *wait = RETRY.0;
    let mut seen = seen;
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {
                for module in shared.names() {
                    look(shared, &module, seen).await;
                    shared.read_again(&module);
                }
                seen = Seen::Always;
            }
            event = events.next() => match event {
                Some(Ok(event)) => if let Some(module) = module(&event) {
                    look(shared, &module, seen).await;
                },
                Some(Err(error)) => return Err(shared.engine.error(error)),
                None => return Ok(()),
            }
        }
    }
}

fn module(event: &EventMessage) -> Option<ModuleId> {
    let labels = event.actor.as_ref()?.attributes.as_ref()?;
    ModuleId::new(labels.get(body::MODULE)?).ok()
}

/// Looks at a container that runs as far as is known, and tells what is new.
pub(crate) async fn look(shared: &Arc<Shared>, module: &ModuleId, seen: Seen) {
    let known = {
        let running = shared.running();
        let known = running.get(module);
        known.map(|known| (known.container.clone(), known.run))
    };
    let Some((container, run)) = known else {
        return;
    };
    let docker = match shared.engine.docker().await {
        Ok(docker) => docker,
        // The watcher comes again when it is back.
        Err(error) => return debug!(%module, %error, "not looked at"),
    };
    let found = docker.inspect_container(&container, None).await;
    let what = match found.map_err(|error| shared.engine.error(error)) {
        Ok(found) if runs(&found) => health(found.state.as_ref()),
        Ok(found) => Some(ModuleEvent::Ended(outcome(found.state.as_ref(), seen))),
        Err(error) if error.is_not_found() => Some(ModuleEvent::Ended(Outcome::Failed {
            description: "its container is gone: something else removed it".to_owned(),
            code: None,
        })),
        Err(error) => return warn!(%module, %error, "not looked at"),
    };
    let Some(what) = what else {
        return;
    };
    let mut running = shared.running();
    // It may have been stopped, or started again, while the engine was asked.
    let same =
        |known: &&mut crate::runtime::Running| known.run == run && known.container == container;
    let Some(known) = running.get_mut(module).filter(same) else {
        return;
    };
    match &what {
        ModuleEvent::Ended(_) => drop(running.remove(module)),
        ModuleEvent::Healthy if known.healthy => return,
        ModuleEvent::Healthy => known.healthy = true,
        ModuleEvent::Unhealthy { .. } if !known.healthy => return,
        ModuleEvent::Unhealthy { .. } => known.healthy = false,
    }
    drop(running);
    if let Some(sink) = shared.sink.get() {
        sink(RuntimeEvent {
            module: module.clone(),
            run,
            what,
        });
    }
}

/// What the container's own check says; none: it has none, or it has not said anything yet.
fn health(state: Option<&ContainerState>) -> Option<ModuleEvent> {
    let health = state?.health.as_ref()?;
    match health.status? {
        HealthStatusEnum::HEALTHY => Some(ModuleEvent::Healthy),
        HealthStatusEnum::UNHEALTHY => {
            let last = health.log.as_ref().and_then(|log| log.last());
            let said = last.and_then(|last| last.output.as_deref());
            let said = said.and_then(|said| said.trim().lines().next());
            let times = health.failing_streak.unwrap_or_default();
            Some(ModuleEvent::Unhealthy {
                description: match said {
                    Some(said) => format!("its health check failed {times} times: {said}"),
                    None => format!("its health check failed {times} times"),
                },
            })
        }
        _ => None,
    }
}

fn outcome(state: Option<&ContainerState>, seen: Seen) -> Outcome {
    let code = state.and_then(|state| state.exit_code);
    let code: Option<i32> = code.and_then(|code| code.try_into().ok());
    let number = code.map_or("unknown".to_owned(), |code| code.to_string());
    let failed = |description| Outcome::Failed { description, code };
    let trouble = state.and_then(|state| state.error.as_deref());
    match (code, trouble.filter(|text| !text.is_empty())) {
        // An engine that ends takes its containers along, whatever they make of that.
        _ if seen == Seen::Gap => failed(format!(
            "it ended while the container engine was away (exit code {number})"
        )),
        (_, Some(trouble)) => failed(format!("{trouble} (exit code {number})")),
        _ if state.and_then(|state| state.oom_killed) == Some(true) => failed(format!(
            "it was ended for want of memory (exit code {number})"
        )),
        (Some(0), None) => Outcome::Done,
        _ => failed(format!("exit code {number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i64) -> ContainerState {
        ContainerState {
            running: Some(false),
            exit_code: Some(code),
            ..ContainerState::default()
        }
    }

    #[test]
    fn an_exit_code_tells_how_a_container_ended() {
        assert_eq!(outcome(Some(&ended(0)), Seen::Always), Outcome::Done);
        let failed = |description: &str, code| Outcome::Failed {
            description: description.to_owned(),
            code: Some(code),
        };
        assert_eq!(
            outcome(Some(&ended(3)), Seen::Always),
            failed("exit code 3", 3)
        );
        let killed = ContainerState {
            oom_killed: Some(true),
            ..ended(137)
        };
        let why = "it was ended for want of memory (exit code 137)";
        assert_eq!(outcome(Some(&killed), Seen::Always), failed(why, 137));
    }

    #[test]
    fn what_ends_with_its_engine_has_failed_whatever_its_code() {
        let outcome = outcome(Some(&ended(0)), Seen::Gap);
        assert!(
            matches!(outcome, Outcome::Failed { code: Some(0), .. }),
            "{outcome:?}"
        );
    }
}
