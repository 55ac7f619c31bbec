//! How values are spread: counts in buckets whose width grows with the value.
//!
//! ```text
//!   value    0 1 2 3 │ 4 5 6 7 │ 8- 10- 12- 14- │ 16- 20- 24- 28- │ …
//!   bucket   0 1 2 3 │ 4 5 6 7 │ 8  9   10  11  │ 12  13  14  15  │ …      four to each doubling
//! ```
//!
//! A bucket is at most a quarter of its lower end wide, so a quantile read from it is off by no more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Up to 2^41 units, which is 26 days of microseconds; what is larger counts as that.
const BUCKETS: usize = 160;

/// Counts by value, in units of 2^`SHIFT`.
#[derive(Debug)]
pub struct Histogram<const SHIFT: u32> {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// Spans in nanoseconds, told apart by microseconds (1 024 ns).
pub type Durations = Histogram<10>;

/// Numbers of bytes.
pub type Sizes = Histogram<0>;

impl<const SHIFT: u32> Default for Histogram<SHIFT> {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
        }
    }
}

impl<const SHIFT: u32> Histogram<SHIFT> {
    /// Counts a value `times` times.
    pub(crate) fn record(&self, value: u64, times: u64) {
        self.buckets[bucket(value >> SHIFT)].fetch_add(times, Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Relaxed);
    }

    /// Counts values, those that follow each other in one bucket together.
    pub(crate) fn record_all(&self, values: impl IntoIterator<Item = u64>) {
        let (mut sum, mut place, mut times) = (0_u64, 0, 0);
        for value in values {
            sum = sum.saturating_add(value);
            let next = bucket(value >> SHIFT);
            if next != place && times > 0 {
                self.buckets[place].fetch_add(times, Relaxed);
                times = 0;
            }
            place = next;
            times += 1;
        }
        if times > 0 {
            self.buckets[place].fetch_add(times, Relaxed);
            self.sum.fetch_add(sum, Relaxed);
        }
    }

    /// What was counted.
    pub fn read(&self) -> Distribution {
        Distribution {
            shift: SHIFT,
            buckets: self.buckets.iter().map(|n| n.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|n| n.load(Relaxed)).sum()
    }
}

fn bucket(value: u64) -> usize {
    if value < 4 {
        return usize::try_from(value).unwrap_or(0);
    }
    let doubling = value.ilog2();
    let quarter = (value >> (doubling - 2)) & 3;
    let place = u64::from(doubling - 1) * 4 + quarter;
    usize::try_from(place).map_or(BUCKETS - 1, |place| place.min(BUCKETS - 1))
}

/// The lowest value of a bucket.
fn lower(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    match bucket {
        0..4 => bucket,
        _ => (4 + bucket % 4) << (bucket / 4 - 1),
    }
}

/// What one or several histograms of a kind counted, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    shift: u32,
    buckets: Vec<u64>,
    sum: u64,
}

impl Distribution {
    /// Adds what another one of the same kind counted.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.shift, other.shift, "of one kind");
        for (here, there) in self.buckets.iter_mut().zip(&other.buckets) {
            *here += there;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of the values, exactly.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// An estimate of the value that `share` (0 to 1) of all do not exceed: it lies in the right bucket,
    /// at the place where it would be if values were spread evenly in there. NaN if there is no value.
    #[allow(
        clippy::cast_precision_loss,
        reason = "an estimate, far coarser than what is lost"
    )]
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = share * self.count() as f64;
        let unit = (1_u64 << self.shift) as f64;
        let mut below = 0.0;
        let mut estimate = f64::NAN;
        for (place, count) in self.buckets.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            let (from, to) = (lower(place) as f64, lower(place + 1) as f64);
            let count = *count as f64;
            let within = ((rank - below) / count).clamp(0.0, 1.0);
            // Where a unit is one, a value below 8 is known exactly.
            let exact = self.shift == 0 && to - from <= 1.0;
            estimate = unit
                * if exact {
                    from
                } else {
                    from + (to - from) * within
                };
            below += count;
            if below >= rank {
                break;
            }
        }
        estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_begins_at_or_below_it() {
        let powers = (0..41).flat_map(|power| {
            let value = 1_u64 << power;
            [value - 1, value, value + 1, value + value / 3]
        });
        for value in powers.chain(0..1_000) {
            let place = bucket(value);
            assert!(lower(place) <= value, "{value} in {place}");
            assert!(value < lower(place + 1), "{value} in {place}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn values_counted_together_are_counted_as_one_by_one() {
        let values = [1, 1, 1, 900, 901, 1, 70_000];
        let (together, one_by_one) = (Sizes::default(), Sizes::default());
        together.record_all(values);
        values.iter().for_each(|value| one_by_one.record(*value, 1));
        assert_eq!(together.read(), one_by_one.read());
    }

    #[test]
    fn quantiles_are_off_by_a_quarter_at_most() {
        let sizes = Sizes::default();
        (1..=10_000).for_each(|value| sizes.record(value, 1));
        let read = sizes.read();
        assert_eq!((read.count(), read.sum()), (10_000, 50_005_000));
        for share in [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999] {
            let (estimate, truth) = (read.quantile(share), share * 10_000.0);
            assert!(
                (estimate / truth - 1.0).abs() < 0.25,
                "{share}: {estimate} for {truth}"
            );
        }
    }

    #[test]
    fn without_a_value_a_quantile_is_not_a_number() {
        assert!(Durations::default().read().quantile(0.5).is_nan());
    }

    #[test]
    fn merged_they_say_what_one_would_have_said() {
        let (all, odd, even) = (
            Durations::default(),
            Durations::default(),
            Durations::default(),
        );
        for value in (0..1_000).map(|n| n * 77_777) {
            all.record(value, 2);
            let half = if value % 2 == 0 { &even } else { &odd };
            half.record_all([value, value]);
        }
        let mut merged = odd.read();
        merged.merge(&even.read());
        assert_eq!(merged, all.read());
    }
}
