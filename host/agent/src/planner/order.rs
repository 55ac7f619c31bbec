//! The order of first starts.

use std::sync::Arc;

use edge_core::Timestamp;
use edge_core::deployment::DesiredStatus;
use edge_core::runtime::{DesiredModule, RuntimeErrorKind, Step};

use super::{Current, ORDER_WAIT, PresentState, is_build, is_restarted, over};

/// How far a module is, for those that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody waits for it: it runs, is not wanted running, is done, or cannot be started.
    Passed,
    /// It is on its way.
    Coming,
}

/// Whether a module may be started, as far as those before it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Not before one of them has come so far, or it is this time.
    Closed(Timestamp),
}

/// How far a module is.
pub fn standing(desired: Option<&Arc<DesiredModule>>, current: &Current) -> Standing {
    let Some(wanted) = desired.filter(|m| m.spec.status == DesiredStatus::Running) else {
        return Standing::Passed;
    };
    let refused = |step| step == Step::Prepare || step == Step::Start;
    if current
        .trouble
        .as_ref()
        .is_some_and(|trouble| trouble.kind == RuntimeErrorKind::Refused && refused(trouble.step))
    {
        return Standing::Passed;
    }
    let present = current.present.as_ref();
    match present.filter(|present| is_build(present.build.as_ref(), wanted)) {
        None => Standing::Coming,
        Some(present) => match &present.state {
            PresentState::Running { .. } | PresentState::Unhealthy { .. } => Standing::Passed,
            PresentState::Ended { outcome, .. } if !is_restarted(wanted.spec.restart, outcome) => {
                Standing::Passed
            }
            _ => Standing::Coming,
        },
    }
}

/// Whether a module with this startup order may be started, given all modules' orders and standings,
/// and when the deployment came.
pub fn gate(
    order: u32,
    mut all: impl Iterator<Item = (u32, Standing)>,
    since: Timestamp,
    now: Timestamp,
) -> Gate {
    let until = since.after(ORDER_WAIT);
    let waits = all.any(|(other, standing)| other < order && standing == Standing::Coming);
    match waits && !over(since, until, now) {
        true => Gate::Closed(until),
        false => Gate::Open,
    }
}
