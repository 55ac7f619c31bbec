//! What every benchmark shares: its options, its figures, and how they are printed.
//!
//! `cargo bench --bench NAME -- [--quick] [--json] [--only TEXT]`: a table for people, or one JSON object a line:
//! `{"bench":"hop","case":"…","metric":"rate","value":412000,"unit":"msg/s","low":…,"high":…,"goal":300000,"met":true}`.
//! A value is the median of the repetitions, `low` and `high` are their range.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]

pub mod process;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use edge_core::Priority;
use edge_route::{Mode, Route, RouteEntry};

/// What a figure is held against.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// One benchmark's options and figures.
pub struct Bench {
    name: &'static str,
    json: bool,
    pub quick: bool,
    only: Option<String>,
}

impl Bench {
    /// Reads the options of the command line. Unknown ones are refused.
    pub fn new(name: &'static str) -> Self {
        let mut bench = Self {
            name,
            json: false,
            quick: false,
            only: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--only" => bench.only = words.next(),
                "--json" => bench.json = true,
                "--quick" => bench.quick = true,
                "--bench" => {} // cargo's own
                other => {
                    eprintln!(
                        "{name}: unknown option {other}: expected --quick, --json or --only TEXT"
                    );
                    std::process::exit(2);
                }
            }
        }
        if !bench.json {
            println!(
                "{:<44} {:<10} {:>14} {:<7} {:>27}  goal",
                name, "metric", "median", "unit", "range"
            );
        }
        bench
    }

    /// Whether a case is asked for: all are, or with `--only TEXT` those with the text in their name.
    pub fn wants(&self, case: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| case.contains(only.as_str()))
    }

    /// As many repetitions as asked for, or few in a quick run.
    pub fn repetitions(&self, full: usize) -> usize {
        if self.quick { full.min(3) } else { full }
    }

    /// Prints a figure: the median of its repetitions.
    pub fn figure(&self, case: &str, metric: &str, unit: &str, values: &[f64], goal: Goal) {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else {
            eprintln!("{}: {case}: {metric}: nothing was measured", self.name);
            std::process::exit(1);
        };
        let median = sorted[sorted.len() / 2];
        let (goal, met) = match goal {
            Goal::AtLeast(goal) => (Some((">=", goal)), Some(median >= goal)),
            Goal::AtMost(goal) => (Some(("<=", goal)), Some(median <= goal)),
            Goal::None => (None, None),
        };
        if self.json {
            let line = serde_json::json!({
                "bench": self.name, "case": case, "metric": metric, "value": median, "unit": unit,
                "low": low, "high": high, "repetitions": values.len(),
                "goal": goal.map(|(_, goal)| goal), "met": met,
            });
            println!("{line}");
        } else {
            let goal = goal.map_or(String::new(), |(sign, goal)| {
                format!(
                    "{sign} {goal} {}",
                    if met == Some(true) { "met" } else { "MISSED" }
                )
            });
            let range = format!("{low:.3} … {high:.3}");
            println!("{case:<44} {metric:<10} {median:>14.3} {unit:<7} {range:>27}  {goal}");
        }
    }
}

/// A route as a deployment has it, named by its own text.
pub fn route(text: &str, mode: Mode) -> RouteEntry {
    RouteEntry {
        name: text.to_owned(),
        route: Route::compile(text, mode)
            .expect("compiles")
            .expect("not blank"),
        priority: Priority::DEFAULT,
        time_to_live: None,
    }
}

/// Says on standard error what is missing or wrong in a run.
pub fn complain(bench: &str, what: impl std::fmt::Display) {
    eprintln!("{bench}: {what}");
}

/// Time of one call, over enough calls to be told.
pub fn per_call(calls: u32, mut call: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..calls {
        call();
    }
    begin.elapsed() / calls
}

/// The value below which a share of the sorted values lies.
pub fn percentile(sorted: &[u64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a length is a length"
    )]
    let index = (last as f64 * share).round() as usize;
    #[allow(clippy::cast_precision_loss, reason = "figures")]
    sorted.get(index).map_or(f64::NAN, |value| *value as f64)
}

/// Prints what modules complain of, and nothing else: a benchmark's module should have no reason to.
#[derive(Debug)]
pub struct Complaints;

impl edge_wasm::LogSink for Complaints {
    fn line(&self, module: &edge_core::ModuleId, level: edge_wasm::Level, _: &str, line: &str) {
        if level >= edge_wasm::Level::Warn {
            eprintln!("[{module}] {level}: {line}");
        }
    }
}

/// A component of `sample-modules`, which `.ci/build-samples` builds.
pub fn sample(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("sample-modules/target/wasm32-wasip2/release");
    let path = dir.join(name);
    if !path.exists() {
        eprintln!("{} is not there: run .ci/build-samples", path.display());
        std::process::exit(2);
    }
    path
}

/// Keeps the process on one processor, so that a rate is one core's.
pub fn pin_to_one_core() {
    let mut one = rustix::thread::CpuSet::new();
    let here = rustix::thread::sched_getcpu();
    one.set(here);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &one) {
        eprintln!("cannot stay on one processor: {error}");
    }
}

/// CPU time of this process so far, all threads together.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
