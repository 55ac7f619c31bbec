//! The last lines that modules logged, and whoever reads along.
//!
//! Bounded: of each module the last [`LINES`] lines in at most [`BYTES`]; older ones give way. A reader
//! that is slower than the modules loses lines and is told how many.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_core::{ModuleId, Timestamp};
use edge_hub::{Clock, SystemClock};
use edge_operate::{Filter as LineFilter, Severity};
use edge_wasm::{Level, LogSink};
use tokio::sync::broadcast;

use crate::api::types::LogLine;

/// Lines that are kept of a module.
const LINES: usize = 1_000;
/// Bytes that they may take.
const BYTES: usize = 256 << 10;
/// Lines that a reader may be behind.
const BEHIND: usize = 1_024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) time: Timestamp,
    pub(crate) module: ModuleId,
    level: Level,
    context: String,
    line: String,
}

impl From<&Line> for LogLine {
    fn from(line: &Line) -> Self {
        Self {
            number: line.number,
            time: line.time.to_string(),
            module: line.module.to_string(),
            level: line.level.to_string(),
            context: line.context.clone(),
            line: line.line.clone(),
        }
    }
}

impl Line {
    /// As filters look at it.
    pub(crate) fn view(&self) -> edge_operate::Line<'_> {
        edge_operate::Line {
            time: self.time,
            module: self.module.as_str(),
            logged: severity(self.level),
            stream: match (self.context.as_str(), self.level) {
                ("", Level::Warn) => "stderr",
                ("", _) => "stdout",
                (context, _) => context,
            },
            text: &self.line,
        }
    }
}

/// A level in syslog's numbers.
fn severity(level: Level) -> Severity {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Of these modules; none: of all.
    pub(crate) modules: Vec<ModuleId>,
    /// Which of theirs.
    pub(crate) lines: LineFilter,
}

impl Filter {
    pub(crate) fn wants(&self, line: &Line) -> bool {
        (self.modules.is_empty() || self.modules.contains(&line.module))
            && self.lines.wants(&line.view())
    }
}

/// All lines.
pub(crate) struct Logs {
    kept: Mutex<Kept>,
    follow: broadcast::Sender<Arc<Line>>,
    console: Option<Arc<dyn LogSink>>,
}

#[derive(Debug, Default)]
struct Kept {
    number: u64,
    modules: BTreeMap<ModuleId, Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

impl Logs {
    /// None yet. What comes also goes to `console`.
    pub(crate) fn new(console: Option<Arc<dyn LogSink>>) -> Self {
        Self {
            kept: Mutex::default(),
            follow: broadcast::channel(BEHIND).0,
            console,
        }
    }

    /// The lines that are kept and wanted, in the order in which they came, and whatever comes after.
    pub(crate) fn read(&self, filter: &Filter) -> (Vec<Arc<Line>>, broadcast::Receiver<Arc<Line>>) {
        let kept = self.lock();
        // Under the lock: no line is in both, and none in neither.
        let follow = self.follow.subscribe();
        let rings = kept.modules.values();
        let wanted = rings
            .flat_map(|ring| &ring.lines)
            .filter(|line| filter.wants(line));
        let mut lines: Vec<_> = wanted.cloned().collect();
        drop(kept);
        lines.sort_by_key(|line| line.number);
        filter.lines.cut(&mut lines);
        (lines, follow)
    }

    /// Whether a module has said anything that is kept.
    pub(crate) fn knows(&self, module: &ModuleId) -> bool {
        self.lock().modules.contains_key(module)
    }

    /// The modules of which lines are kept, by name.
    pub(crate) fn modules(&self) -> Vec<ModuleId> {
        self.lock().modules.keys().cloned().collect()
    }

    /// Forgets the lines of all modules but these.
    pub(crate) fn keep(&self, wanted: impl Fn(&ModuleId) -> bool) {
        self.lock().modules.retain(|module, _| wanted(module));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogSink for Logs {
    fn line(&self, module: &ModuleId, level: Level, context: &str, line: &str) {
        if let Some(console) = &self.console {
            console.line(module, level, context, line);
        }
        let mut kept = self.lock();
        kept.number += 1;
        let line = Arc::new(Line {
            number: kept.number,
            time: SystemClock.now(),
            module: module.clone(),
            level,
            context: context.to_owned(),
            line: line.to_owned(),
        });
        let ring = kept.modules.entry(module.clone()).or_default();
        ring.bytes += cost(&line);
        ring.lines.push_back(line.clone());
        while ring.lines.len() > LINES || ring.bytes > BYTES {
            let Some(oldest) = ring.lines.pop_front() else {
                break;
            };
            ring.bytes -= cost(&oldest);
        }
        // Nobody may be reading.
        let _ = self.follow.send(line);
    }
}

fn cost(line: &Line) -> usize {
    size_of::<Line>() + line.context.len() + line.line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> ModuleId {
        ModuleId::new(name).expect("id")
    }

    fn texts(lines: &[Arc<Line>]) -> Vec<&str> {
        lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[test]
    fn lines_come_in_order_and_as_asked_for() {
        let logs = Logs::new(None);
        for (name, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")] {
            logs.line(&module(name), Level::Info, "", text);
        }
        let (all, mut follow) = logs.read(&Filter::default());
        assert_eq!(texts(&all), ["1", "2", "3", "4"]);
        let filter = Filter {
            modules: vec![module("a")],
            lines: LineFilter {
                tail: Some(1),
                ..LineFilter::default()
            },
        };
        assert_eq!(texts(&logs.read(&filter).0), ["3"]);
        logs.line(&module("a"), Level::Info, "", "5");
        assert_eq!(follow.try_recv().expect("it follows").line, "5");
    }

    #[test]
    fn what_is_kept_is_bounded_in_lines_and_bytes() {
        let logs = Logs::new(None);
        for _ in 0..2 * LINES {
            logs.line(&module("short"), Level::Info, "", "x");
            logs.line(&module("long"), Level::Info, "", &"x".repeat(8 << 10));
        }
        let of = |name| {
            let modules = vec![module(name)];
            let (lines, _) = logs.read(&Filter {
                modules,
                ..Filter::default()
            });
            lines
        };
        assert_eq!(of("short").len(), LINES);
        assert!(of("long").iter().map(|line| cost(line)).sum::<usize>() <= BYTES);
        assert!(!of("long").is_empty());
    }
}
