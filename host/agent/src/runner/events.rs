//! Where runtimes' events wait for the runner.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use edge_core::ModuleId;
use edge_core::runtime::{ModuleEvent, RuntimeEvent};
use tokio::sync::Notify;

/// At most one event per module waits: a later one takes its place, save that a run's end stays and
/// that an earlier run does not count any more. So nothing that matters is lost, and nothing grows.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: Mutex<BTreeMap<ModuleId, RuntimeEvent>>,
    some: Notify,
}

impl Events {
    pub(super) fn push(&self, event: RuntimeEvent) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = waiting.get(&event.module).is_some_and(|known| {
            known.run > event.run
                || (known.run == event.run && matches!(known.what, ModuleEvent::Ended(_)))
        });
        if !stays {
            waiting.insert(event.module.clone(), event);
        }
        drop(waiting);
        self.some.notify_one();
    }

    /// Waits until some may be there. Cancel safe.
    pub(super) async fn some(&self) {
        self.some.notified().await;
    }

    pub(super) fn take(&self) -> Vec<RuntimeEvent> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use edge_core::runtime::{Outcome, Run};

    use super::*;

    #[test]
    fn a_runs_end_outlasts_what_else_is_said_of_it_and_gives_way_to_the_next_run() {
        let events = Events::default();
        let event = |run, what| RuntimeEvent {
            module: ModuleId::new("m").unwrap(),
            run: Run(run),
            what,
        };
        let end = ModuleEvent::Ended(Outcome::Done);
        events.push(event(2, end.clone()));
        events.push(event(2, ModuleEvent::Healthy));
        events.push(event(1, ModuleEvent::Healthy));
        assert_eq!(events.take(), [event(2, end.clone())]);
        events.push(event(2, end));
        events.push(event(3, ModuleEvent::Healthy));
        assert_eq!(events.take(), [event(3, ModuleEvent::Healthy)]);
        assert_eq!(events.take(), []);
    }
}
