//! The exposition format, version 0.0.4: a head for each name, then its samples.

use std::fmt::{self, Write};

use edge_hub::meters::Distribution;

use super::messages::summed;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        })
    }
}

/// Those of the seed system.
const QUANTILES: [(f64, &str); 6] = [
    (0.5, "0.5"),
    (0.9, "0.9"),
    (0.95, "0.95"),
    (0.99, "0.99"),
    (0.999, "0.999"),
    (0.9999, "0.9999"),
];

/// The page being written.
pub(super) struct Page {
    text: String,
    /// Labels of every sample, written.
    common: String,
}

/// The samples of one name.
pub(super) struct Metric<'p> {
    page: &'p mut Page,
    name: &'static str,
}

impl Page {
    /// Empty, with labels that every sample has.
    pub(super) fn new(common: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut text = String::new();
        for (name, value) in common {
            label(&mut text, name, &value);
        }
        Self {
            text: String::with_capacity(16 << 10),
            common: text,
        }
    }

    /// Begins a metric. Each name once.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Metric<'_> {
        // Help texts are ours and have no line breaks. Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric { page: self, name }
    }

    /// A metric with one sample and no labels of its own.
    pub(super) fn single(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: impl Number,
    ) {
        self.metric(name, kind, help).sample(&[], value);
    }

    /// A counter with several samples.
    pub(super) fn counted<const N: usize, L: AsRef<str>>(
        &mut self,
        name: &'static str,
        help: &str,
        labels: [&str; N],
        samples: impl IntoIterator<Item = ([L; N], u64)>,
    ) {
        let mut metric = self.metric(name, Kind::Counter, help);
        for (values, count) in samples {
            let pairs: Vec<_> = labels
                .into_iter()
                .zip(values.iter().map(AsRef::as_ref))
                .collect();
            metric.sample(&pairs, count);
        }
    }

    /// A summary; parts that have the same labels are added up. `unit` is what one means in the unit of
    /// the metric.
    pub(super) fn spread<const N: usize, L: AsRef<str> + Ord>(
        &mut self,
        name: &'static str,
        help: &str,
        unit: f64,
        labels: [&str; N],
        parts: impl IntoIterator<Item = ([L; N], Distribution)>,
    ) {
        let help = format!(
            "{help} Quantiles are of all since the start, and estimated from buckets: off by a quarter \
             at most."
        );
        let mut metric = self.metric(name, Kind::Summary, &help);
        for (values, spread) in summed(parts) {
            let mut pairs: Vec<_> = labels
                .into_iter()
                .zip(values.iter().map(AsRef::as_ref))
                .collect();
            // Exact up to 2^53 nanoseconds of waiting in all, 104 days.
            #[allow(clippy::cast_precision_loss, reason = "a sum for people")]
            let sum = spread.sum() as f64 * unit;
            metric.suffixed("_sum", &pairs, sum);
            metric.suffixed("_count", &pairs, spread.count());
            for (share, name) in QUANTILES {
                pairs.push(("quantile", name));
                metric.sample(&pairs, spread.quantile(share) * unit);
                pairs.pop();
            }
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Metric<'_> {
    /// A sample with its own labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Number) {
        self.suffixed("", labels, value);
    }

    /// A sample of a part: `_bucket`, `_sum`, `_count`.
    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Number) {
        let text = &mut self.page.text;
        let _ = write!(text, "{}{suffix}{{{}", self.name, self.page.common);
        for (name, value) in labels {
            label(text, name, value);
        }
        // A comma after the last label is allowed.
        let _ = writeln!(text, "}} {}", value.text());
    }
}

fn label(text: &mut String, name: &str, value: &str) {
    let _ = write!(text, "{name}=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push_str("\",");
}

/// What a sample may be.
pub(super) trait Number {
    fn text(&self) -> String;
}

impl Number for u64 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Number for f64 {
    fn text(&self) -> String {
        match self.is_nan() {
            true => "NaN".to_owned(),
            false => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_common_ones_come_first() {
        let mut page = Page::new([("device", "d\"1".to_owned())]);
        page.metric("m_total", Kind::Counter, "Messages.")
            .sample(&[("id", "a\\b\nc")], 5_u64);
        page.single("g", Kind::Gauge, "A gauge.", 0.5);
        assert_eq!(
            page.finish(),
            "# HELP m_total Messages.\n# TYPE m_total counter\n\
             m_total{device=\"d\\\"1\",id=\"a\\\\b\\nc\",} 5\n\
             # HELP g A gauge.\n# TYPE g gauge\ng{device=\"d\\\"1\",} 0.5\n"
        );
    }
}
