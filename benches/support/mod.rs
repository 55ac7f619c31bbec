//! What every benchmark shares: its options, its figures, and how they are printed.
//!
//! `cargo bench --bench NAME -- [--quick] [--json] [--only TEXT] [--out FILE] [--html FILE] [--baseline FILE]`: a table
//! for people, or with `--json` one JSON object a line, which `--out` writes to a file beside the table:
//! `{"bench":"hop","case":"…","metric":"rate","value":412000,"unit":"msg/s","low":…,"high":…,"goal":300000,"met":true}`.
//! A value is the median of the repetitions, `low` and `high` are their range. `--html` writes a page with plots, and
//! `--baseline` compares each figure with those that an earlier run left by `--out`.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]

mod baseline;
mod calibration;
mod machine;
mod page;
pub mod process;
mod record;

use std::cell::RefCell;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use baseline::Baseline;
use calibration::Calibration;
use edge_core::Priority;
use edge_route::{Mode, Route, RouteEntry};
use machine::Machine;
use record::Record;

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
    html: Option<PathBuf>,
    baseline: Option<Baseline>,
    begin: Instant,
    run: RefCell<Run>,
}

/// What came of it so far.
#[derive(Default)]
struct Run {
    out: Option<File>,
    records: Vec<Record>,
    settings: Vec<(String, String)>,
    remarks: Vec<String>,
    calibration: Calibration,
    /// Letters of the line of progress that is on the terminal.
    progress: usize,
}

impl Bench {
    /// Reads the options of the command line. Unknown ones are refused.
    pub fn new(name: &'static str) -> Self {
        let mut bench = Self {
            name,
            json: false,
            quick: false,
            only: None,
            html: None,
            baseline: None,
            begin: Instant::now(),
            run: RefCell::default(),
        };
        let (mut out, mut baseline): (Option<PathBuf>, Option<PathBuf>) = (None, None);
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut file = || match words.next() {
                Some(file) => Some(PathBuf::from(file)),
                None => refuse(name, format_args!("{word}: a value is missing")),
            };
            match word.as_str() {
                "--only" => bench.only = words.next(),
                "--json" => bench.json = true,
                "--quick" => bench.quick = true,
                "--out" => out = file(),
                "--html" => bench.html = file(),
                "--baseline" => baseline = file(),
                "--bench" => {} // cargo's own
                other => refuse(
                    name,
                    format_args!(
                        "unknown option {other}: expected --quick, --json, --only TEXT, --out FILE, --html FILE \
                         or --baseline FILE"
                    ),
                ),
            }
        }
        // Before the file is written anew: it may be the same one.
        bench.baseline = baseline.map(|path| match Baseline::read(&path, name) {
            Ok(baseline) => baseline,
            Err(error) => refuse(name, format_args!("read {}: {error}", path.display())),
        });
        if let Some(path) = out {
            match File::create(&path) {
                Ok(file) => bench.run.get_mut().out = Some(file),
                Err(error) => refuse(name, format_args!("create {}: {error}", path.display())),
            }
            bench.keep(&serde_json::json!({
                "bench": name, "quick": bench.quick, "machine": Machine::look().facts(),
            }));
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

    /// How a run was set up, for its page.
    pub fn setting(&self, name: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        self.keep(&serde_json::json!({"bench": self.name, "setting": name, "is": value}));
        self.run
            .borrow_mut()
            .settings
            .push((name.to_owned(), value));
    }

    /// Says what a reader of the figures must know: what was left out, and why; what went wrong.
    pub fn remark(&self, what: impl std::fmt::Display) {
        self.wipe();
        let what = what.to_string();
        complain(self.name, &what);
        self.keep(&serde_json::json!({"bench": self.name, "remark": what}));
        self.run.borrow_mut().remarks.push(what);
    }

    /// Says on standard error what is done now, and looks meanwhile how fast the machine is.
    pub fn progress(&self, what: impl std::fmt::Display) {
        self.run.borrow_mut().calibration.take_turn();
        let seconds = self.begin.elapsed().as_secs();
        let line = format!("[{}:{:02}] {what}", seconds / 60, seconds % 60);
        if std::io::stderr().is_terminal() {
            self.wipe();
            eprint!("{line}");
            self.run.borrow_mut().progress = line.chars().count();
        } else {
            eprintln!("{line}");
        }
    }

    /// Takes the line of progress off the terminal.
    fn wipe(&self) {
        let width = std::mem::take(&mut self.run.borrow_mut().progress);
        if width > 0 {
            eprint!("\r{:width$}\r", "");
        }
    }

    /// Prints a figure: the median of its repetitions.
    pub fn figure(&self, case: &str, metric: &str, unit: &str, values: &[f64], goal: Goal) {
        let Some(mut record) = Record::of(case, metric, unit, values, goal) else {
            eprintln!("{}: {case}: {metric}: nothing was measured", self.name);
            std::process::exit(1);
        };
        self.run.borrow_mut().calibration.take_turn();
        if let Some(baseline) = &self.baseline {
            record.before = baseline.find(case, metric);
        }
        self.emit(record);
    }

    /// Prints how one sort of thing does against another, from repetitions next to each other: above 1, the first
    /// one's figures are larger. Says so where that cannot be told.
    pub fn versus(&self, case: &str, metric: &str, one: &[f64], other: &[f64]) {
        let pairs = one.iter().zip(other);
        let ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
        let Some(mut record) = Record::of(case, metric, "ratio", &ratios, Goal::None) else {
            return;
        };
        if let Some(baseline) = &self.baseline {
            record.before = baseline.find(case, metric);
        }
        if ratios.len() == 1 {
            record.doubt = Some("one repetition: no spread is known");
        } else if record.low <= 1.0 && record.high >= 1.0 {
            record.doubt = Some("too noisy to tell which is larger");
        }
        self.emit(record);
    }

    fn emit(&self, record: Record) {
        self.wipe();
        let line = record.json(self.name);
        self.keep(&line);
        if self.json {
            println!("{line}");
        } else {
            println!("{}", record.row());
        }
        self.run.borrow_mut().records.push(record);
    }

    /// Writes a line to the file of `--out`.
    fn keep(&self, line: &serde_json::Value) {
        let mut run = self.run.borrow_mut();
        if let Some(out) = &mut run.out
            && let Err(error) = writeln!(out, "{line}")
        {
            complain(self.name, format_args!("write the lines of --out: {error}"));
            run.out = None;
        }
    }

    /// What only the whole run can tell.
    fn end(&mut self) {
        self.wipe();
        let (name, html) = (self.name, self.html.take());
        let run = self.run.get_mut();
        if run.records.is_empty() {
            return;
        }
        let mut says = Vec::new();
        says.extend(run.calibration.verdict());
        let doubtful = run.records.iter().filter(|record| record.doubt.is_some());
        match doubtful.count() {
            0 => {}
            count => says.push(format!(
                "{count} of {} figures are marked ~: their repetitions differ too much for a fine comparison",
                run.records.len()
            )),
        }
        if let Some(baseline) = &self.baseline {
            says.extend(baseline.verdict(&run.records));
        }
        for line in &says {
            eprintln!("{name}: {line}");
        }
        let says: Vec<String> = run.remarks.iter().chain(&says).cloned().collect();
        if let Some(path) = html {
            let took = self.begin.elapsed();
            let page = page::Page {
                name,
                quick: self.quick,
                took,
                machine: &Machine::look(),
                settings: &run.settings,
                says: &says,
                calibration: &run.calibration,
                records: &run.records,
            };
            match std::fs::write(&path, page.html()) {
                Ok(()) => eprintln!("{name}: {} has the page", path.display()),
                Err(error) => complain(name, format_args!("write {}: {error}", path.display())),
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A page of half a run would be taken for a whole one.
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Ends the program because of its command line.
fn refuse(name: &str, why: std::fmt::Arguments<'_>) -> ! {
    eprintln!("{name}: {why}");
    std::process::exit(2);
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
