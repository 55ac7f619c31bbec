//! What to do next with a module: a pure function of what is wanted, what is, what was, and the time.
//!
//! Called by the runner whenever something has happened, for every module that no command is under way
//! for. It names one command at a time; what a whole change takes shows by asking again after each
//! (see the table in `tests`). The differences that count and the numbers are those of IoT Edge, save:
//!
//! - nobody is given up after 20 restarts;
//! - a change of restart policy or startup order alone is taken over without touching the module;
//! - what ended well is started again under `always` only, and then with back-off;
//! - components are started again at once, [`AT_ONCE`] times in [`AT_ONCE_WITHIN`], before that back-off;
//! - modules of a higher startup order wait until those of a lower one run, up to [`ORDER_WAIT`].

use std::sync::Arc;
use std::time::Duration;

use edge_core::Timestamp;
use edge_core::deployment::{DesiredStatus, RestartPolicy};
use edge_core::runtime::{DesiredModule, Outcome, RuntimeErrorKind, RuntimeKind, Step};

mod history;
mod order;
#[cfg(test)]
mod tests;

pub use history::{History, Pace};
pub use order::{Gate, Standing, gate, standing};

/// The first cool-off; doubled each time.
pub const COOL_OFF: Duration = Duration::from_secs(10);
/// The longest.
pub const COOL_OFF_MAX: Duration = Duration::from_secs(300);
/// A cool-off is shortened by up to one part in this many, so that modules do not all come at once.
pub const JITTER: u32 = 10;
/// Whoever runs well for so long has its restarts forgotten.
pub const RESET: Duration = Duration::from_secs(600);
/// Components are started again at once this many times …
pub const AT_ONCE: usize = 3;
/// … within this time.
pub const AT_ONCE_WITHIN: Duration = Duration::from_secs(60);
/// Modules of a higher startup order wait for those of a lower one at most this long, counted from when
/// the deployment came.
pub const ORDER_WAIT: Duration = Duration::from_secs(60);

/// What can be done with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Look at what is there of it from an earlier process.
    Adopt,
    /// Make the wanted build ready.
    Prepare,
    /// Start it.
    Start,
    /// Go over to the wanted build while it runs.
    Replace,
    /// Stop it.
    Stop,
    /// Stop what may be left of it and start it again; counts as a restart.
    Restart,
    /// Remove what its runtime keeps.
    Remove,
    /// Forget its restarts: it has run well for long enough.
    ForgetRestarts,
    /// Forget the module: nothing of it is there or wanted.
    Forget,
}

impl Command {
    /// Whether a failure of `step` is one of this command.
    fn includes(self, step: Step) -> bool {
        match self {
            Self::Adopt => step == Step::Adopt,
            Self::Prepare => step == Step::Prepare,
            Self::Start => step == Step::Start,
            Self::Replace => step == Step::Replace,
            Self::Stop => step == Step::Stop,
            Self::Restart => step == Step::Stop || step == Step::Start,
            Self::Remove => step == Step::Remove,
            Self::ForgetRestarts | Self::Forget => false,
        }
    }
}

/// Why a module waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// It ended, or is unhealthy, and cools off.
    CoolOff,
    /// A step failed and is tried again.
    Retry,
    /// Modules of a lower startup order do not run yet.
    Order,
    /// It runs; when it has done so for long enough, its restarts are forgotten.
    Reset,
}

/// What to do next with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This, now.
    Do(Command),
    /// Nothing until this time, or until something happens.
    Wait(Timestamp, WaitReason),
    /// Nothing until something happens.
    Rest,
}

/// What is there of a module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Current {
    /// What its runtime has of it.
    pub present: Option<Present>,
    /// The build that is ready to start.
    pub ready: Option<Arc<DesiredModule>>,
    /// Whether its runtime can take the running build over to the one that is ready.
    pub replaceable: bool,
    /// Somebody asked for a restart.
    pub restart_asked: bool,
    /// The step that failed last, until it succeeds or what is wanted changes.
    pub trouble: Option<Trouble>,
}

/// A build that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Which one; `None`: not known, it was found.
    pub build: Option<Arc<DesiredModule>>,
    /// What it does.
    pub state: PresentState,
}

/// What a build does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresentState {
    /// It was found when the agent started, and not looked at.
    Found,
    /// It runs.
    Running {
        /// Since when, and well.
        since: Timestamp,
    },
    /// It runs and cannot do its work.
    Unhealthy {
        /// Since when.
        since: Timestamp,
        /// How that shows.
        description: String,
    },
    /// It ended by itself, or was stopped because it was unhealthy.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
    },
    /// We stopped it.
    Stopped,
}

impl PresentState {
    /// Whether something of it runs, as far as is known.
    pub fn runs(&self) -> bool {
        !matches!(self, Self::Ended { .. } | Self::Stopped)
    }
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which.
    pub step: Step,
    /// When, the last time.
    pub at: Timestamp,
    /// How often in a row.
    pub tries: u32,
    /// Whether trying again can help.
    pub kind: RuntimeErrorKind,
    /// Of the wait for the next try, in thousandths of [`JITTER`].
    pub jitter: u16,
    /// Why.
    pub cause: String,
}

impl Trouble {
    /// When it is tried again; `None`: not before something changes.
    pub fn next_try(&self) -> Option<Timestamp> {
        let span = cool_off(self.tries.saturating_sub(1), self.jitter);
        (self.kind == RuntimeErrorKind::Transient).then(|| self.at.after(span))
    }
}

/// `10 s · 2ⁿ`, at most 300 s, less the jitter.
pub fn cool_off(n: u32, jitter: u16) -> Duration {
    let full = COOL_OFF
        .saturating_mul(2_u32.saturating_pow(n))
        .min(COOL_OFF_MAX);
    full - full / JITTER * u32::from(jitter.min(1_000)) / 1_000
}

/// Whether a wait is over. A clock that was set back to before its beginning ends it.
fn over(from: Timestamp, until: Timestamp, now: Timestamp) -> bool {
    now >= until || now < from
}

/// What to do next with a module that no command is under way for.
pub fn next(
    desired: Option<&Arc<DesiredModule>>,
    current: &Current,
    history: &History,
    gate: Gate,
    now: Timestamp,
) -> Next {
    let plan = Planner {
        current,
        history,
        gate,
        now,
    };
    match (desired, &current.present) {
        (None, None) => Next::Do(Command::Forget),
        (None, Some(present)) if present.state.runs() => plan.attempt(Command::Stop),
        (None, Some(_)) => plan.attempt(Command::Remove),
        (Some(_), Some(present)) if present.state == PresentState::Found => {
            plan.attempt(Command::Adopt)
        }
        (Some(wanted), Some(present)) if present.state.runs() => plan.running(wanted, present),
        (Some(wanted), present) => plan.idle(wanted, present.as_ref()),
    }
}

struct Planner<'a> {
    current: &'a Current,
    history: &'a History,
    gate: Gate,
    now: Timestamp,
}

impl Planner<'_> {
    /// Something of it runs.
    fn running(&self, wanted: &Arc<DesiredModule>, present: &Present) -> Next {
        if wanted.spec.status == DesiredStatus::Stopped || self.current.restart_asked {
            return self.attempt(Command::Stop);
        }
        if !is_build(present.build.as_ref(), wanted) {
            return self.update(wanted);
        }
        match &present.state {
            PresentState::Unhealthy { since, .. } => self.unhealthy(wanted, *since),
            PresentState::Running { since } if !self.history.is_empty() => {
                // A clock that was set back makes the wait begin anew.
                let until = (*since).min(self.now).after(RESET);
                match self.now >= until {
                    true => Next::Do(Command::ForgetRestarts),
                    false => Next::Wait(until, WaitReason::Reset),
                }
            }
            _ => Next::Rest,
        }
    }

    /// The wanted build cannot do its work. A container may recover while it cools off; a component
    /// only fails its messages, which wait for it when it is stopped.
    fn unhealthy(&self, wanted: &DesiredModule, since: Timestamp) -> Next {
        match wanted.spec.restart {
            RestartPolicy::Never | RestartPolicy::OnFailure => return Next::Rest,
            RestartPolicy::OnUnhealthy | RestartPolicy::Always => {}
        }
        match (self.restart(wanted, since), RuntimeKind::of(&wanted.spec)) {
            (Next::Wait(_, WaitReason::CoolOff), RuntimeKind::Wasm) => self.attempt(Command::Stop),
            (next, _) => next,
        }
    }

    /// Another build runs; it goes on until the wanted one is ready to follow.
    fn update(&self, wanted: &Arc<DesiredModule>) -> Next {
        if !is_build(self.current.ready.as_ref(), wanted) {
            return self.attempt(Command::Prepare);
        }
        match self.gate {
            Gate::Closed(until) => Next::Wait(until, WaitReason::Order),
            Gate::Open if self.current.replaceable => self.attempt(Command::Replace),
            Gate::Open => self.attempt(Command::Stop),
        }
    }

    /// Nothing of it runs.
    fn idle(&self, wanted: &Arc<DesiredModule>, present: Option<&Present>) -> Next {
        if !is_build(self.current.ready.as_ref(), wanted) {
            return self.attempt(Command::Prepare);
        }
        let present = match present {
            Some(present) if !is_build(present.build.as_ref(), wanted) => {
                return self.attempt(Command::Remove);
            }
            other => other,
        };
        if wanted.spec.status == DesiredStatus::Stopped {
            return Next::Rest;
        }
        match present.map(|present| &present.state) {
            Some(PresentState::Ended { at, outcome }) => {
                match is_restarted(wanted.spec.restart, outcome) {
                    true => self.restart(wanted, *at),
                    false => Next::Rest,
                }
            }
            _ => match self.gate {
                Gate::Open => self.attempt(Command::Start),
                Gate::Closed(until) => Next::Wait(until, WaitReason::Order),
            },
        }
    }

    /// It ended, or became unhealthy, at `since`.
    fn restart(&self, wanted: &DesiredModule, since: Timestamp) -> Next {
        let kind = RuntimeKind::of(&wanted.spec);
        let until = match self.history.pace(kind, since) {
            Pace::AtOnce => since,
            Pace::CoolOff => since.after(cool_off(self.history.cool_offs, self.history.jitter)),
        };
        match over(since, until, self.now) {
            true => self.attempt(Command::Restart),
            false => Next::Wait(until, WaitReason::CoolOff),
        }
    }

    /// The command, unless it failed and must wait, or cannot succeed.
    fn attempt(&self, command: Command) -> Next {
        let trouble = self.current.trouble.as_ref();
        match trouble.filter(|trouble| command.includes(trouble.step)) {
            None => Next::Do(command),
            Some(trouble) => match trouble.next_try() {
                None => Next::Rest,
                Some(until) if over(trouble.at, until, self.now) => Next::Do(command),
                Some(until) => Next::Wait(until, WaitReason::Retry),
            },
        }
    }
}

fn is_build(build: Option<&Arc<DesiredModule>>, wanted: &DesiredModule) -> bool {
    build.is_some_and(|build| build.same_build(wanted))
}

/// Whether the policy starts a module again that ended so.
pub(crate) fn is_restarted(policy: RestartPolicy, outcome: &Outcome) -> bool {
    match policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure | RestartPolicy::OnUnhealthy => *outcome != Outcome::Done,
        RestartPolicy::Always => true,
    }
}
