//! Messages as they pass, for whoever looks on.
//!
//! Bounded: a reader may be [`BEHIND`] messages behind; what comes on top of that is counted and left out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use edge_core::{EndpointId, Message};
use edge_hub::{Hub, Tap};
use edge_store::QueueId;
use tokio::sync::mpsc;

use crate::api::types::{Event, MessageInfo, Passed};

/// Messages that a reader may be behind: 16 MiB, if all are as large as can be by default.
const BEHIND: usize = 64;

/// Which messages are wanted. What is not named is not asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// A module, `module/output`, or a path of a source.
    pub(crate) from: Option<String>,
    /// A module, or an endpoint.
    pub(crate) into: Option<String>,
}

impl Filter {
    fn takes_from(&self, message: &Message) -> bool {
        let Some(from) = &self.from else {
            return true;
        };
        let origin = &message.origin;
        let module = origin.module().map(|module| module.as_str());
        origin.path() == from
            || module == Some(from)
            || from.split_once('/').is_some_and(|(name, output)| {
                module == Some(name) && origin.output() == Some(output)
            })
            || (from == "$device" && module.is_none())
    }

    fn takes_into(&self, endpoints: &[EndpointId]) -> bool {
        let Some(into) = &self.into else {
            return true;
        };
        endpoints.iter().any(|endpoint| match endpoint {
            EndpointId::ModuleInput { module, .. } if module.as_str() == into => true,
            endpoint => endpoint.to_string() == *into,
        })
    }
}

/// A look at what passes; ends when it is dropped.
pub(crate) struct Tail {
    hub: Arc<Hub>,
    tap: Arc<dyn Tap>,
    dropped: Arc<AtomicU64>,
    messages: mpsc::Receiver<(Message, Vec<QueueId>)>,
    filter: Filter,
    endpoints: HashMap<QueueId, EndpointId>,
}

/// The end of it that the hub calls.
struct Passing {
    filter: Filter,
    /// Gone when nobody looks any more.
    dropped: Weak<AtomicU64>,
    messages: mpsc::Sender<(Message, Vec<QueueId>)>,
}

impl Tap for Passing {
    fn passed(&self, message: &Message, queues: &[QueueId]) {
        if !self.filter.takes_from(message) {
            return;
        }
        if self
            .messages
            .try_send((message.clone(), queues.to_vec()))
            .is_err()
            && let Some(dropped) = self.dropped.upgrade()
        {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tail {
    /// Looks at what passes from now on.
    pub(crate) fn start(hub: &Arc<Hub>, filter: Filter) -> Self {
        let (sender, messages) = mpsc::channel(BEHIND);
        let dropped = Arc::new(AtomicU64::new(0));
        let tap: Arc<dyn Tap> = Arc::new(Passing {
            filter: filter.clone(),
            dropped: Arc::downgrade(&dropped),
            messages: sender,
        });
        hub.add_tap(tap.clone());
        Self {
            hub: hub.clone(),
            tap,
            dropped,
            messages,
            filter,
            endpoints: HashMap::new(),
        }
    }

    /// The next message that is wanted, or how many were left out. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Event<Passed>> {
        loop {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                return Some(Event::Dropped(dropped));
            }
            let (message, queues) = self.messages.recv().await?;
            let into = self.endpoints(&queues);
            if self.filter.takes_into(&into) {
                return Some(Event::Item(Passed {
                    message: MessageInfo::from(&message),
                    into: into.iter().map(ToString::to_string).collect(),
                }));
            }
        }
    }

    fn endpoints(&mut self, queues: &[QueueId]) -> Vec<EndpointId> {
        if queues
            .iter()
            .any(|queue| !self.endpoints.contains_key(queue))
        {
            let known = self.hub.log().queues();
            self.endpoints = known
                .into_iter()
                .map(|queue| (queue.id, queue.endpoint))
                .collect();
        }
        queues
            .iter()
            .filter_map(|queue| self.endpoints.get(queue).cloned())
            .collect()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.hub.remove_tap(&self.tap);
    }
}
