//! One figure: the median of its repetitions, their range, and what it is held against.

use super::Goal;

/// Repetitions whose range is wider than this share of their median tell little.
const WIDE: f64 = 0.5;

/// A figure.
#[derive(Debug, Clone)]
pub struct Record {
    pub case: String,
    pub metric: String,
    pub unit: String,
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub values: Vec<f64>,
    pub goal: Option<(&'static str, f64, bool)>,
    /// The same in an earlier run.
    pub before: Option<Before>,
    /// Why it is to be taken with care.
    pub doubt: Option<&'static str>,
}

/// A figure of an earlier run.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Record {
    /// `None`: there are no values.
    pub fn of(case: &str, metric: &str, unit: &str, values: &[f64], goal: Goal) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let median = sorted[sorted.len() / 2];
        let goal = match goal {
            Goal::AtLeast(goal) => Some((">=", goal, median >= goal)),
            Goal::AtMost(goal) => Some(("<=", goal, median <= goal)),
            Goal::None => None,
        };
        let wide = values.len() > 1 && high - low > WIDE * median.abs();
        Some(Self {
            case: case.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            median,
            low,
            high,
            values: values.to_vec(),
            goal,
            before: None,
            doubt: wide.then_some("the range is wider than half of the median"),
        })
    }

    /// How it compares with the earlier run, if that has it: now by then, and whether the ranges overlap.
    pub fn change(&self) -> Option<(f64, bool)> {
        let before = self.before?;
        // By nothing there is no ratio.
        if before.median == 0.0 {
            return None;
        }
        let overlaps = self.low <= before.high && before.low <= self.high;
        Some((self.median / before.median, overlaps))
    }

    /// The line of JSON.
    pub fn json(&self, bench: &str) -> serde_json::Value {
        let mut line = serde_json::json!({
            "bench": bench, "case": self.case, "metric": self.metric, "value": self.median, "unit": self.unit,
            "low": self.low, "high": self.high, "repetitions": self.values.len(), "values": self.values,
            "goal": self.goal.map(|(_, goal, _)| goal), "met": self.goal.map(|(_, _, met)| met),
        });
        if let Some(doubt) = self.doubt {
            line["doubt"] = doubt.into();
        }
        if let Some((ratio, overlaps)) = self.change() {
            line["to-baseline"] = ratio.into();
            line["overlaps-baseline"] = overlaps.into();
        }
        line
    }

    /// The line of the table.
    pub fn row(&self) -> String {
        let goal = self.goal.map_or(String::new(), |(sign, goal, met)| {
            format!("{sign} {goal} {}", if met { "met" } else { "MISSED" })
        });
        let Self {
            case, metric, unit, ..
        } = self;
        let median = digits(self.median);
        let mark = if self.doubt.is_some() { "~" } else { " " };
        let range = format!("{} … {}", digits(self.low), digits(self.high));
        let change = self.change().map_or(String::new(), |(ratio, overlaps)| {
            let said = if overlaps {
                "ranges overlap"
            } else {
                "CHANGED"
            };
            format!(" {ratio:.2} of baseline, {said}")
        });
        let row = format!(
            "{case:<44} {metric:<10} {median:>14} {unit:<7} {range:>27} {mark}{goal}{change}"
        );
        row.trim_end().to_owned()
    }
}

/// Four digits, or all before the point; no more than three behind it.
pub fn digits(value: f64) -> String {
    let behind = match value.abs() {
        large if large >= 1_000.0 => 0,
        large if large >= 100.0 => 1,
        large if large >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.behind$}")
}
