//! What the runner publishes.

use std::sync::Arc;

use edge_core::ModuleId;
use edge_core::deployment::{ComponentRef, ModuleKind, RestartPolicy};
use edge_core::runtime::{DesiredModule, Outcome, RuntimeKind};

use super::Runner;
use super::module::Module;
use crate::agent::Desired;
use crate::planner::{Command, Next, PresentState, Trouble, WaitReason};
use crate::status::{
    AgentStatus, Condition, DesiredState, LastDesiredStatus, ModuleStatus, RuntimeStatus,
};

/// Before anything is known.
pub(super) fn starting() -> AgentStatus {
    AgentStatus {
        generation: 0,
        revision: 0,
        settled: false,
        last_desired_status: unknown("the agent starts; nothing is wanted yet"),
        modules: Vec::new(),
    }
}

fn unknown(description: impl Into<String>) -> LastDesiredStatus {
    LastDesiredStatus {
        code: 406,
        description: description.into(),
    }
}

impl Runner {
    /// Publishes the state, if it is another one than before.
    pub(super) fn publish(&mut self) {
        let settled = self.deployment.is_some() && self.modules.values().all(is_settled);
        if let Some(deployment) = &mut self.deployment
            && settled
            && !deployment.in_place
        {
            deployment.in_place = true;
            self.meter.deploying(None);
            tracing::info!(
                generation = deployment.wanted.generation,
                "desired state in place"
            );
        }
        let modules = self.modules.iter().map(|(id, m)| report(id, m)).collect();
        self.send(settled, self.last_desired(), modules);
    }

    /// Publishes that the agent has ended.
    pub(super) fn publish_end(&mut self) {
        let ended = |(id, module)| {
            let mut status = report(id, module);
            if !module.runs() {
                status.description = "the agent was shut down".to_owned();
                status.next_try = None;
            }
            status
        };
        let modules = self.modules.iter().map(ended).collect();
        self.send(true, unknown("the agent was shut down"), modules);
    }

    fn send(
        &mut self,
        settled: bool,
        last_desired_status: LastDesiredStatus,
        modules: Vec<ModuleStatus>,
    ) {
        let deployment = self.deployment.as_ref();
        let mut status = AgentStatus {
            generation: deployment.map_or(0, |deployment| deployment.wanted.generation),
            revision: self.status.borrow().revision,
            settled,
            last_desired_status,
            modules,
        };
        if status != **self.status.borrow() {
            status.revision += 1;
            self.status.send_replace(Arc::new(status));
        }
    }

    fn last_desired(&self) -> LastDesiredStatus {
        let Some(deployment) = &self.deployment else {
            return starting().last_desired_status;
        };
        if let Some(refused) = &deployment.wanted.refused {
            return refused.clone();
        }
        let troubles: Vec<String> = self.modules.iter().filter_map(trouble_line).collect();
        if !troubles.is_empty() {
            return LastDesiredStatus {
                code: 500,
                description: troubles.join("\n"),
            };
        }
        if !deployment.in_place {
            let open = self.modules.iter().filter(|(_, m)| !is_settled(m));
            let open: Vec<&str> = open.map(|(id, _)| id.as_str()).collect();
            return unknown(format!("being put in place: {}", open.join(", ")));
        }
        match *deployment.wanted.desired {
            Desired::Nothing => LastDesiredStatus {
                code: 417,
                description: "there is no deployment".to_owned(),
            },
            Desired::Modules(_) => LastDesiredStatus {
                code: 200,
                description: String::new(),
            },
        }
    }
}

fn trouble_line((id, module): (&ModuleId, &Module)) -> Option<String> {
    let trouble = module.current.trouble.as_ref()?;
    Some(format!("module {id}: {}: {}", trouble.step, trouble.cause))
}

/// Whether nothing is left to do with a module until something happens.
fn is_settled(module: &Module) -> bool {
    !module.is_busy()
        && match module.next {
            // Not planned yet: it waits for its runtime.
            None => false,
            Some(Next::Do(_) | Next::Wait(_, WaitReason::Order)) => false,
            Some(Next::Wait(..) | Next::Rest) => true,
        }
}

fn report(id: &ModuleId, module: &Module) -> ModuleStatus {
    let present = module.current.present.as_ref();
    let build = present.and_then(|present| present.build.as_ref());
    let shown = build.or(module.desired.as_ref());
    let next_try = match module.next {
        Some(Next::Wait(at, WaitReason::CoolOff | WaitReason::Retry)) => Some(at),
        _ => None,
    };
    let (runtime_status, description) = state(module);
    let spec = module.desired.as_ref().or(shown).map(|m| &m.spec);
    ModuleStatus {
        module: id.clone(),
        kind: module.kinds().next().unwrap_or(RuntimeKind::Wasm),
        version: shown.and_then(|module| module.spec.version.clone()),
        image: shown.map(|module| image(module)).unwrap_or_default(),
        digest: module.digest(),
        desired: module
            .desired
            .as_ref()
            .map_or(DesiredState::Absent, |m| m.spec.status.into()),
        runtime_status,
        description,
        restart_policy: spec.map_or(RestartPolicy::Never, |spec| spec.restart),
        startup_order: spec.map_or(0, |spec| spec.startup_order),
        last_start: module.last_start,
        last_exit: module.last_exit.as_ref().map(|(at, _)| *at),
        exit_code: module.last_exit.as_ref().and_then(|(_, end)| code(end)),
        restart_count: module.history.restarts,
        cool_offs: module.history.cool_offs,
        last_restart: module.last_restart,
        next_try,
        conditions: module.current.trouble.iter().map(condition).collect(),
    }
}

fn condition(trouble: &Trouble) -> Condition {
    Condition {
        step: trouble.step,
        since: trouble.at,
        permanent: trouble.next_try().is_none(),
        tries: trouble.tries,
        next_try: trouble.next_try(),
        cause: trouble.cause.clone(),
    }
}

fn code(outcome: &Outcome) -> Option<i32> {
    match outcome {
        Outcome::Done => Some(0),
        Outcome::Failed { code, .. } => *code,
    }
}

fn image(module: &DesiredModule) -> String {
    match &module.spec.kind {
        ModuleKind::Container(container) => container.image.clone(),
        ModuleKind::Wasm(wasm) => match &wasm.image {
            ComponentRef::File(path) => format!("file:{}", path.display()),
            ComponentRef::Registry(image) => image.clone(),
        },
    }
}

/// What a module does, and why.
fn state(module: &Module) -> (RuntimeStatus, String) {
    let busy = module.busy.as_ref().map(|busy| busy.command);
    let present = module.current.present.as_ref();
    let mut trouble = String::new();
    if let Some(last) = &module.current.trouble {
        trouble = format!("{} failed: {}", last.step, last.cause);
    }
    let and_trouble = |text: &str| match trouble.as_str() {
        "" => text.to_owned(),
        trouble => format!("{text}; {trouble}"),
    };
    match present.map(|present| &present.state) {
        Some(PresentState::Unhealthy { description, .. }) => {
            let text = format!("unhealthy: {}", first_line(description));
            (RuntimeStatus::Unhealthy, and_trouble(&text))
        }
        Some(state) if state.runs() => {
            let text = match busy {
                Some(Command::Stop) => "being stopped",
                Some(Command::Prepare) => "running; its new build is being prepared",
                Some(Command::Replace) => "running; its new build takes over",
                _ => "running",
            };
            (RuntimeStatus::Running, and_trouble(text))
        }
        Some(PresentState::Ended { outcome, .. }) => ended(module, outcome, and_trouble),
        _ => not_running(module, busy, trouble),
    }
}

fn ended(
    module: &Module,
    outcome: &Outcome,
    and_trouble: impl Fn(&str) -> String,
) -> (RuntimeStatus, String) {
    let how = match outcome {
        Outcome::Done => "it ended by itself, without an error".to_owned(),
        Outcome::Failed { description, .. } => format!("it failed: {}", first_line(description)),
    };
    let again = module.is_busy() || module.next != Some(Next::Rest);
    let status = match outcome {
        _ if again => RuntimeStatus::Backoff,
        Outcome::Done => RuntimeStatus::Stopped,
        Outcome::Failed { .. } => RuntimeStatus::Failed,
    };
    (status, and_trouble(&how))
}

fn not_running(module: &Module, busy: Option<Command>, trouble: String) -> (RuntimeStatus, String) {
    let waits = matches!(module.next, Some(Next::Wait(_, WaitReason::Retry)));
    match busy {
        Some(Command::Prepare) => (RuntimeStatus::Downloading, "being prepared".to_owned()),
        Some(_) => (RuntimeStatus::Stopped, "being started".to_owned()),
        None if !trouble.is_empty() && waits => (RuntimeStatus::Backoff, trouble),
        None if !trouble.is_empty() => (RuntimeStatus::Failed, trouble),
        None => {
            let why = match (module.is_expected(), module.next) {
                (true, Some(Next::Wait(_, WaitReason::Order))) => {
                    "waits for modules with a lower startupOrder"
                }
                (true, None) => "waits until it is known what runs already",
                (true, _) => "about to start",
                (false, _) => "the deployment wants it stopped",
            };
            (RuntimeStatus::Stopped, why.to_owned())
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
