//! Sets of sequence numbers as runs.

use std::collections::BTreeMap;

/// Numbers that are in, as runs that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(crate) fn contains(&self, n: u64) -> bool {
        self.0
            .range(..=n)
            .next_back()
            .is_some_and(|(_, end)| n < *end)
    }

    /// Adds one that is not in it.
    pub(crate) fn insert(&mut self, n: u64) {
        self.insert_run(n, n + 1);
    }

    /// Adds `start..end`.
    pub(crate) fn insert_run(&mut self, mut start: u64, mut end: u64) {
        if let Some((&before, &until)) = self.0.range(..=start).next_back()
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        while let Some((&next, &until)) = self.0.range(start..=end).next() {
            self.0.remove(&next);
            end = end.max(until);
        }
        self.0.insert(start, end);
    }

    /// Takes out the run that begins at or before `n`, if one does; says where it ends.
    pub(crate) fn take_first_until(&mut self, n: u64) -> Option<u64> {
        let (&start, &end) = self.0.first_key_value()?;
        (start <= n).then(|| {
            self.0.remove(&start);
            end
        })
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.0.iter().map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_hold_what_a_set_holds(runs in prop::collection::vec((0u64..60, 1u64..5), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (start, len) in runs {
                ranges.insert_run(start, start + len);
                set.extend(start..start + len);
            }
            for n in 0..70 {
                prop_assert_eq!(ranges.contains(n), set.contains(&n));
            }
            let pairs: Vec<_> = ranges.iter().collect();
            for two in pairs.windows(2) {
                prop_assert!(two[0].1 < two[1].0, "runs touch: {:?}", pairs);
            }
        }
    }
}
