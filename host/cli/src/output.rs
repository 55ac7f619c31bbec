//! What commands print on standard output: tables for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::{Exit, printable};

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", printable(text))
        .and_then(|()| out.flush())
        .map_err(Exit::output)
}

/// Prints a value as JSON on one line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush())
        .map_err(Exit::output)
}

/// Rows under heads, in columns as wide as they need to be.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of numbers end at the same place.
    right: Vec<bool>,
}

impl Table {
    /// Without rows. A head that begins with `>` is of a column of numbers.
    pub(crate) fn new(heads: &[&str]) -> Self {
        let right = heads.iter().map(|head| head.starts_with('>'));
        let heads = heads
            .iter()
            .map(|head| head.trim_start_matches('>').to_owned());
        Self {
            right: right.collect(),
            rows: vec![heads.collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        // A cell is one line, whatever a module put in it.
        let cell = |cell: T| printable(&cell.into().replace('\n', " ")).into_owned();
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Its lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).zip(&self.right);
            let cells = cells.map(|((cell, width), right)| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Result<(), Exit> {
        self.lines().iter().try_for_each(|text| line(text))
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => {
            let tenths = count / (size / 10).max(1);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}

/// A span of time for people: 42s, 7m, 3h, 5d.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7_200.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0}h", s / 3_600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

/// A body on one line, cut where it is long.
pub(crate) fn excerpt(body: &edge_daemon::types::Body) -> String {
    const MOST: usize = 200;
    let text = match &body.0 {
        serde_json::Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(&["NAME", ">DEPTH", "WHY"]);
        table.row(["ä", "5", "two\nlines"]);
        table.row(["long-name", "1234567", ""]);
        assert_eq!(
            table.lines(),
            [
                "NAME         DEPTH  WHY",
                "ä                5  two lines",
                "long-name  1234567"
            ]
        );
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(span(0.25), "250ms");
        assert_eq!(span(61.0), "61s");
        assert_eq!(span(7_300.0), "2h");
    }
}
