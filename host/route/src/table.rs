//! All routes of a deployment, and which endpoints a message goes to (section 10).
//!
//! The hub makes one table per deployment, asks [`RouteTable::select`] once per source path and
//! keeps the answer, and calls [`RouteTable::evaluate`] for each message. Every candidate is
//! evaluated, so that its counters are true; an endpoint gets one copy, by the route with the lowest
//! priority number, the first of equals.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_core::{EndpointId, Priority};

use crate::body::Body;
use crate::route::Route;
use crate::value::Truth;
use crate::view::MessageView;

/// A route in a table.
#[derive(Debug, Clone)]
pub struct RouteEntry {
    /// Its key in the manifest.
    pub name: String,
    /// The route.
    pub route: Route,
    /// Rank of the queue that it fills.
    pub priority: Priority,
    /// Its own time to live; none: that of the deployment.
    pub time_to_live: Option<Duration>,
}

/// Routes, ready for messages. Shared by all who route.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Row>,
    endpoints: Vec<EndpointId>,
}

#[derive(Debug)]
struct Row {
    entry: RouteEntry,
    endpoint: usize,
    matched: AtomicU64,
    not_matched: AtomicU64,
    undefined: AtomicU64,
    body_unreadable: AtomicU64,
}

/// What became of the messages that a route looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteCounters {
    /// Its condition was true.
    pub matched: u64,
    /// Its condition was false.
    pub not_matched: u64,
    /// Its condition could not be told, which is no match.
    pub undefined: u64,
    /// Its condition asked for a body that is not JSON or not said to be. Each of these is in one
    /// of the other counters as well.
    pub body_unreadable: u64,
}

/// The routes that take messages of one source path, for one table. A clone is a reference count.
#[derive(Debug, Clone)]
pub struct Selection(Arc<[u32]>);

impl Selection {
    /// How many routes are evaluated for such a message.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no route takes such messages.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One copy of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Index into [`RouteTable::endpoints`].
    pub endpoint: usize,
    /// Priority of the route that won.
    pub priority: Priority,
    /// Time to live of the route that won; none: that of the deployment.
    pub time_to_live: Option<Duration>,
    /// Index of the route that won.
    pub route: usize,
}

/// Memory that evaluation uses, kept from message to message. One per worker.
#[derive(Debug, Default)]
pub struct Scratch {
    body: Body,
    /// By endpoint: the round in which it was last hit.
    seen: Vec<u64>,
    round: u64,
}

impl RouteTable {
    /// A table of these routes, in the manifest's order.
    pub fn new(entries: Vec<RouteEntry>) -> Self {
        let mut endpoints = Vec::new();
        let mut known: HashMap<EndpointId, usize> = HashMap::new();
        let mut slots: HashMap<Box<str>, usize> = HashMap::new();
        let routes = entries
            .into_iter()
            .map(|mut entry| {
                // The same path in many routes is followed once per message.
                entry.route.condition_mut().paths_mut(|path, over| {
                    let next = slots.len();
                    let key = format!("{:?} {over:?}", path.steps).into_boxed_str();
                    path.slot = Some(*slots.entry(key).or_insert(next));
                });
                let id = EndpointId::from(entry.route.endpoint());
                let endpoint = *known.entry(id.clone()).or_insert_with(|| {
                    endpoints.push(id);
                    endpoints.len() - 1
                });
                Row {
                    entry,
                    endpoint,
                    matched: AtomicU64::new(0),
                    not_matched: AtomicU64::new(0),
                    undefined: AtomicU64::new(0),
                    body_unreadable: AtomicU64::new(0),
                }
            })
            .collect();
        Self { routes, endpoints }
    }

    /// The distinct endpoints, in the order of their first routes.
    pub fn endpoints(&self) -> &[EndpointId] {
        &self.endpoints
    }

    /// How many routes.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// A route by its index.
    pub fn entry(&self, route: usize) -> Option<&RouteEntry> {
        self.routes.get(route).map(|row| &row.entry)
    }

    /// All routes, in the manifest's order.
    pub fn entries(&self) -> impl Iterator<Item = &RouteEntry> {
        self.routes.iter().map(|row| &row.entry)
    }

    /// The routes whose source takes a path. Ask once per sender and output, and keep it.
    pub fn select(&self, path: &str) -> Selection {
        let mut rows: Vec<usize> = (0..self.routes.len())
            .filter(|&i| self.routes[i].entry.route.source().matches(path))
            .collect();
        // Stable: of equal priorities the first route comes first.
        rows.sort_by_key(|&i| self.routes[i].entry.priority);
        Selection(
            rows.into_iter()
                .filter_map(|i| u32::try_from(i).ok())
                .collect(),
        )
    }

    /// Evaluates the selected routes for a message and calls `each` once per endpoint that gets it,
    /// in the order of their priorities. A selection of another table selects arbitrary routes.
    pub fn evaluate(
        &self,
        selection: &Selection,
        view: &(impl MessageView + ?Sized),
        scratch: &mut Scratch,
        mut each: impl FnMut(Target),
    ) {
        scratch.body.clear();
        scratch.round += 1;
        scratch
            .seen
            .resize(self.endpoints.len().max(scratch.seen.len()), 0);
        for &index in &*selection.0 {
            let route = index as usize;
            let Some(row) = self.routes.get(route) else {
                continue;
            };
            let (truth, unreadable) = row.entry.route.condition().truth(view, &scratch.body);
            row.count(truth, unreadable);
            if truth == Truth::True && scratch.seen[row.endpoint] != scratch.round {
                scratch.seen[row.endpoint] = scratch.round;
                each(Target {
                    endpoint: row.endpoint,
                    priority: row.entry.priority,
                    time_to_live: row.entry.time_to_live,
                    route,
                });
            }
        }
    }

    /// What became of the messages that a route looked at; zeros for a route that there is not.
    pub fn counters(&self, route: usize) -> RouteCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.routes
            .get(route)
            .map_or_else(RouteCounters::default, |row| RouteCounters {
                matched: get(&row.matched),
                not_matched: get(&row.not_matched),
                undefined: get(&row.undefined),
                body_unreadable: get(&row.body_unreadable),
            })
    }
}

impl Row {
    fn count(&self, truth: Truth, unreadable: bool) {
        let counter = match truth {
            Truth::True => &self.matched,
            Truth::False => &self.not_matched,
            Truth::Undefined => &self.undefined,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if unreadable {
            self.body_unreadable.fetch_add(1, Ordering::Relaxed);
        }
    }
}
