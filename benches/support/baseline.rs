//! An earlier run, from the lines that `--out` or `--json` left.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::record::{Before, Record};

/// Figures of an earlier run, by case and metric.
#[derive(Debug)]
pub struct Baseline(BTreeMap<(String, String), Before>);

impl Baseline {
    /// Reads the figures of this benchmark; other lines are passed over.
    pub fn read(path: &Path, bench: &str) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut figures = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line: Value = serde_json::from_str(line)
                .map_err(|error| io::Error::other(format!("line {}: {error}", number + 1)))?;
            if line["bench"] != bench {
                continue;
            }
            let of = |name: &str| line[name].as_f64();
            if let (Some(case), Some(metric), Some(median), Some(low), Some(high)) = (
                line["case"].as_str(),
                line["metric"].as_str(),
                of("value"),
                of("low"),
                of("high"),
            ) {
                let before = Before { median, low, high };
                figures.insert((case.to_owned(), metric.to_owned()), before);
            }
        }
        match figures.is_empty() {
            true => Err(io::Error::other(format!("no figures of {bench} in it"))),
            false => Ok(Self(figures)),
        }
    }

    pub fn find(&self, case: &str, metric: &str) -> Option<Before> {
        self.0.get(&(case.to_owned(), metric.to_owned())).copied()
    }

    /// What the run as a whole says against it.
    pub fn verdict(&self, records: &[Record]) -> Vec<String> {
        let changes = records.iter().filter_map(Record::change);
        let apart = changes.clone().filter(|(_, overlaps)| !overlaps).count();
        let (both, new) = (changes.count(), records.len());
        vec![format!(
            "of {both} figures that the baseline has as well, {apart} have ranges that do not overlap with its; {} are new",
            new - both
        )]
    }
}
