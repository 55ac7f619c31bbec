//! The plots: ranges of one metric in all cases, on a scale of powers of ten where they are far apart, and how the
//! machine's speed went.

use plotters::prelude::*;

use super::super::record::{Record, digits};

const WIDTH: u32 = 1060;
/// Of a row, of what is around the rows, and of letters, in pixels.
const ROW: u32 = 24;
const FRAME: u32 = 84;
const LETTERS: u32 = 13;
/// Room for the names of cases.
const NAMES: i32 = 420;
/// From here on a linear scale would hide the small ones.
const FAR_APART: f64 = 20.0;
/// A scale that is shorter has no length.
const SHORTEST: f64 = 1e-6;

/// One row for each case.
pub fn ranges(title: &str, records: &[&Record]) -> Result<String, String> {
    let least = records
        .iter()
        .map(|record| record.low)
        .fold(f64::INFINITY, f64::min);
    let most = records
        .iter()
        .map(|record| record.high)
        .fold(f64::NEG_INFINITY, f64::max);
    if !(least.is_finite() && most.is_finite()) {
        return Err(format!("{title}: not all values are numbers"));
    }
    let powers = least > 0.0 && most / least > FAR_APART;
    let place = |value: f64| if powers { value.log10() } else { value };
    let (from, to) = match powers {
        true => (least.log10().floor(), most.log10() + 0.05),
        false => (least.min(0.0), most.max(0.0) * 1.05),
    };
    // A scale without length has no end of marks to be drawn on it.
    let to = if to - from < SHORTEST { from + 1.0 } else { to };
    let rows = i32::try_from(records.len()).map_err(|error| error.to_string())?;
    let height = FRAME + ROW * u32::try_from(records.len()).map_err(|error| error.to_string())?;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 17))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(from..to, -0.5..f64::from(rows) - 0.5)
            .map_err(said)?;
        let value = |at: &f64| match powers {
            true => short(10_f64.powf(*at)),
            false => short(*at),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .x_labels(8)
            .x_label_formatter(&value)
            .label_style(("sans-serif", LETTERS))
            .light_line_style(WHITE)
            .draw()
            .map_err(said)?;
        for (row, record) in (0..rows).rev().zip(records) {
            let y = f64::from(row);
            let colour = colour(&record.case);
            let (low, median, high) = (place(record.low), place(record.median), place(record.high));
            let line = PathElement::new([(low, y), (high, y)], colour.stroke_width(3));
            chart.draw_series([line]).map_err(said)?;
            chart
                .draw_series([Circle::new((median, y), 5, colour.filled())])
                .map_err(said)?;
            let (x, middle) = chart.backend_coord(&(from, y));
            let name = format!("{}  {}", record.case, digits(record.median));
            let style = ("sans-serif", LETTERS).into_font().color(&BLACK);
            let style = style.pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Right,
                plotters::style::text_anchor::VPos::Center,
            ));
            area.draw_text(&name, &style, (x - 8, middle))
                .map_err(said)?;
        }
        area.present().map_err(said)?;
    }
    Ok(svg)
}

/// How long the same loop took, turn by turn.
pub fn turns(title: &str, turns: &[f64]) -> Result<String, String> {
    let most = turns.iter().copied().fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 220)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 17))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(50)
            .build_cartesian_2d(0..turns.len().max(1), 0.0..most.max(0.1) * 1.1)
            .map_err(said)?;
        chart
            .configure_mesh()
            .label_style(("sans-serif", LETTERS))
            .light_line_style(WHITE)
            .draw()
            .map_err(said)?;
        let dots = turns
            .iter()
            .enumerate()
            .map(|(at, turn)| Circle::new((at, *turn), 2, BLUE.filled()));
        chart.draw_series(dots).map_err(said)?;
        area.present().map_err(said)?;
    }
    Ok(svg)
}

/// Cases of one kind have one colour; what is ours has one beside what others have.
fn colour(case: &str) -> RGBColor {
    if case.ends_with(": edge") {
        return RGBColor(200, 80, 20);
    }
    match (case.contains("Wasm"), case.contains("container")) {
        (true, false) => RGBColor(101, 79, 240),
        (false, true) => RGBColor(13, 110, 180),
        (true, true) => RGBColor(0, 140, 100),
        (false, false) => RGBColor(90, 90, 90),
    }
}

/// A label of a scale.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.01..1.0 => format!("{value:.2}"),
        1.0..10.0 => format!("{value:.1}"),
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
