//! A run as one page of HTML that needs nothing else: plots are SVG in it.

mod plot;

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::calibration::Calibration;
use super::machine::Machine;
use super::record::{Record, digits};

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left;\
vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}tr.doubt td{background:#fff6e0}\
.no{color:#b00020}svg{max-width:100%;height:auto}h2{margin-top:2em}li{margin:.2em 0}";

/// What goes on the page.
pub struct Page<'a> {
    pub name: &'a str,
    pub quick: bool,
    pub took: Duration,
    pub machine: &'a Machine,
    pub settings: &'a [(String, String)],
    /// What a reader must know before the figures.
    pub says: &'a [String],
    pub calibration: &'a Calibration,
    pub records: &'a [Record],
}

impl Page<'_> {
    /// The whole document.
    pub fn html(&self) -> String {
        let mut out = String::new();
        let title = format!("{}: figures of one run", self.name);
        let kind = if self.quick {
            "A quick run: it shows that everything runs, its figures say little."
        } else {
            "A full run."
        };
        let seconds = self.took.as_secs();
        add(
            &mut out,
            format_args!(
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style>\
             <h1>{0}</h1><p>{kind} It took {1} min {2} s. A value is the median of its repetitions, the range is that of \
             all of them; repetitions of cases were interleaved. Rows that are marked tell little: the reason stands there.</p>",
                escape(&title),
                seconds / 60,
                seconds % 60,
            ),
        );
        if !self.says.is_empty() {
            out.push_str("<h2>To know first</h2><ul>");
            for line in self.says {
                add(&mut out, format_args!("<li>{}</li>", escape(line)));
            }
            out.push_str("</ul>");
        }
        out.push_str("<h2>Machine, versions, settings</h2><table>");
        let facts = self
            .machine
            .0
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let settings = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in facts.chain(settings) {
            add(
                &mut out,
                format_args!(
                    "<tr><th>{}</th><td>{}</td></tr>",
                    escape(name),
                    escape(value)
                ),
            );
        }
        out.push_str("</table>");
        self.plots(&mut out);
        self.table(&mut out);
        out.push_str("</html>\n");
        out
    }

    /// A plot for each metric that several cases have, and one of the machine's speed.
    fn plots(&self, out: &mut String) {
        out.push_str(
            "<h2>Plots</h2><p>A dot is a median, a line the range of the repetitions.</p>",
        );
        let mut drawn: Vec<(&str, &str)> = Vec::new();
        for record in self.records {
            let key = (record.metric.as_str(), record.unit.as_str());
            if drawn.contains(&key) {
                continue;
            }
            drawn.push(key);
            let same: Vec<&Record> = self
                .records
                .iter()
                .filter(|other| (other.metric.as_str(), other.unit.as_str()) == key)
                .collect();
            if same.len() > 1 {
                self.plot(out, plot::ranges(&format!("{} ({})", key.0, key.1), &same));
            }
        }
        self.plot(
            out,
            plot::turns(
                "the same loop through the run (ms)",
                &self.calibration.turns,
            ),
        );
    }

    fn plot(&self, out: &mut String, drawn: Result<String, String>) {
        match drawn {
            Ok(svg) => out.push_str(&svg),
            Err(error) => add(
                out,
                format_args!("<p class=\"no\">a plot is missing: {}</p>", escape(&error)),
            ),
        }
    }

    fn table(&self, out: &mut String) {
        let compared = self.records.iter().any(|record| record.before.is_some());
        out.push_str("<h2>Figures</h2><table><tr><th>case<th>metric<th>median<th>unit<th>range<th>repetitions<th>remarks");
        if compared {
            out.push_str("<th>of baseline");
        }
        for record in self.records {
            let class = if record.doubt.is_some() {
                " class=\"doubt\""
            } else {
                ""
            };
            let goal = record.goal.map_or(String::new(), |(sign, goal, met)| {
                format!(
                    "goal {sign} {goal}: {}. ",
                    if met { "met" } else { "missed" }
                )
            });
            let (low, high) = (digits(record.low), digits(record.high));
            add(
                out,
                format_args!(
                    "<tr{class}><td>{}<td>{}<td class=\"n\">{}<td>{}<td class=\"n\">{low} … {high}<td class=\"n\">{}<td>{}{}",
                    escape(&record.case),
                    escape(&record.metric),
                    digits(record.median),
                    escape(&record.unit),
                    record.values.len(),
                    escape(&goal),
                    record.doubt.unwrap_or_default(),
                ),
            );
            if let Some((ratio, overlaps)) = record.change() {
                let said = if overlaps {
                    "ranges overlap"
                } else {
                    "<b>ranges apart</b>"
                };
                add(out, format_args!("<td>{ratio:.2}, {said}"));
            } else if compared {
                out.push_str("<td>new");
            }
        }
        out.push_str("</table>");
    }
}

fn add(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Text takes whatever is written to it.
    let _ = out.write_fmt(what);
}

fn escape(text: impl Display) -> String {
    text.to_string()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
