//! Sets of one kind, by what names them, up to a limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use super::Count;

/// Sets of counts by name.
#[derive(Debug)]
pub struct Family<K, M> {
    limit: usize,
    sets: RwLock<HashMap<K, Arc<M>>>,
    other: Arc<M>,
    unnamed: Count,
}

impl<K: Eq + Hash + Clone, M: Default> Family<K, M> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            sets: RwLock::default(),
            other: Arc::default(),
            unnamed: Count::default(),
        }
    }

    /// The set of a name, made if need be; past the limit the one for all others.
    pub(crate) fn get(&self, key: &K) -> Arc<M> {
        let known = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(key) {
            return known.clone();
        }
        drop(known);
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have made it in between.
        if let Some(known) = sets.get(key) {
            return known.clone();
        }
        if sets.len() >= self.limit {
            self.unnamed.add(1);
            return self.other.clone();
        }
        let made = Arc::<M>::default();
        sets.insert(key.clone(), made.clone());
        made
    }

    /// The set for all that have none of their own. Whoever puts something there says so.
    pub(crate) fn unnamed_set(&self) -> Arc<M> {
        self.other.clone()
    }

    /// A set of its own was not asked for, because there is none to be had.
    pub(crate) fn count_unnamed(&self) {
        self.unnamed.add(1);
    }

    /// All sets; last, without a name, the one for all others, if anything was ever put there.
    pub fn all(&self) -> Vec<(Option<K>, Arc<M>)> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let named = sets
            .iter()
            .map(|(key, set)| (Some(key.clone()), set.clone()));
        let other = (self.unnamed.get() > 0).then(|| (None, self.other.clone()));
        named.chain(other).collect()
    }

    /// How many sets have a name.
    pub fn named(&self) -> usize {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.len()
    }

    /// How often a set was asked for that the limit left without one of its own.
    pub fn unnamed(&self) -> u64 {
        self.unnamed.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_limit_new_names_share_one_set_and_are_counted() {
        let family: Family<u32, Count> = Family::new(2);
        for key in [1, 2, 3, 4, 1] {
            family.get(&key).add(1);
        }
        let counts: HashMap<_, _> = family
            .all()
            .into_iter()
            .map(|(key, set)| (key, set.get()))
            .collect();
        assert_eq!(
            counts,
            HashMap::from([(Some(1), 2), (Some(2), 1), (None, 2)])
        );
        assert_eq!((family.named(), family.unnamed()), (2, 2));
    }

    #[test]
    fn nothing_is_said_of_others_while_there_are_none() {
        let family: Family<u32, Count> = Family::new(2);
        family.get(&1).add(1);
        assert_eq!(family.all().len(), 1);
    }
}
