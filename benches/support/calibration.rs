//! How fast the machine is, told by the same piece of work again and again while a benchmark runs.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Between two turns.
const PAUSE: Duration = Duration::from_secs(2);
/// Rounds of the loop in a turn: a few milliseconds.
const ROUNDS: u64 = 4_000_000;
/// A machine that is slower than its best by this is said to be unsteady.
const UNSTEADY: f64 = 1.25;

/// Milliseconds of all turns so far.
#[derive(Debug, Default)]
pub struct Calibration {
    pub turns: Vec<f64>,
    last: Option<Instant>,
}

impl Calibration {
    /// One turn, unless the last one was a moment ago.
    pub fn take_turn(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        let begin = Instant::now();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..black_box(ROUNDS) {
            state = (state ^ round)
                .wrapping_mul(0x2545_f491_4f6c_dd1d)
                .rotate_left(17);
        }
        black_box(state);
        self.turns.push(begin.elapsed().as_secs_f64() * 1e3);
        self.last = Some(Instant::now());
    }

    /// Fastest, median and slowest turn.
    pub fn spread(&self) -> Option<(f64, f64, f64)> {
        let mut sorted = self.turns.clone();
        sorted.sort_by(f64::total_cmp);
        Some((*sorted.first()?, sorted[sorted.len() / 2], *sorted.last()?))
    }

    /// What it says of the run.
    pub fn verdict(&self) -> Option<String> {
        let (low, median, high) = self.spread()?;
        let said = format!(
            "the same loop took {low:.1} to {high:.1} ms, {median:.1} at the median of {} turns",
            self.turns.len()
        );
        Some(match high / low > UNSTEADY {
            true => format!(
                "{said}: this machine was NOT STEADY, differences below {:.1} times may be its own",
                high / low
            ),
            false => format!("{said}: the machine was steady"),
        })
    }
}
