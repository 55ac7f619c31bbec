//! Who subscribed to what, and which retained topics a filter means.
//!
//! [`Tree`] has one node per level of a filter:
//!
//! ```text
//! a/b, a/+, a/#      [root] ─ a ─┬─ b   {here: a/b}
//!                                ├─ +   {here: a/+}
//!                                └─ {below: a/#}
//! ```
//!
//! A match walks down the levels of the name, at each to at most two nodes, and allocates nothing. The
//! depth is bounded by [`topic::MAX_LEVELS`]. [`Retained`] is the reverse: names, in order, so that a
//! filter looks at those only that begin as it does.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::topic::{self, Filter, TopicError};

/// Values by filter and key; a key is mostly a client.
#[derive(Debug)]
pub struct Tree<K, V> {
    root: Node<K, V>,
    len: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    levels: HashMap<Box<str>, Node<K, V>>,
    plus: Option<Box<Node<K, V>>>,
    /// Of filters that end here.
    here: Vec<(K, V)>,
    /// Of filters that end here with `/#`.
    below: Vec<(K, V)>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self {
            levels: HashMap::new(),
            plus: None,
            here: Vec::new(),
            below: Vec::new(),
        }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            len: 0,
        }
    }
}

impl<K: PartialEq, V> Tree<K, V> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value under a filter, in the place of the one that this key had there, which is returned.
    /// Of a shared filter (`$share/group/filter`) only what is behind the group counts: put the group
    /// into the key.
    ///
    /// # Errors
    /// A filter that is none.
    pub fn insert(&mut self, filter: &str, key: K, value: V) -> Result<Option<V>, TopicError> {
        let mut node = &mut self.root;
        let mut parts = Filter::parse(filter)?.filter.split('/');
        let values = loop {
            match parts.next() {
                None => break &mut node.here,
                Some("#") => break &mut node.below,
                Some("+") => node = node.plus.get_or_insert_default(),
                Some(level) => node = node.levels.entry(level.into()).or_default(),
            }
        };
        match values.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => Ok(Some(std::mem::replace(old, value))),
            None => {
                values.push((key, value));
                self.len += 1;
                Ok(None)
            }
        }
    }

    /// Takes away what a key has under a filter, and the nodes that nobody needs any more.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let filter = Filter::parse(filter).ok()?.filter;
        let value = self.root.remove(filter.split('/'), key)?;
        self.len -= 1;
        Some(value)
    }

    /// What a key has under a filter.
    pub fn get(&self, filter: &str, key: &K) -> Option<&V> {
        let mut node = &self.root;
        let mut parts = Filter::parse(filter).ok()?.filter.split('/');
        let values = loop {
            match parts.next() {
                None => break &node.here,
                Some("#") => break &node.below,
                Some("+") => node = node.plus.as_ref()?,
                Some(level) => node = node.levels.get(level)?,
            }
        };
        values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Shows what is under filters that match a topic name. A key with several such filters is shown
    /// once for each.
    pub fn matches<'a>(&'a self, name: &str, mut visit: impl FnMut(&'a K, &'a V)) {
        if topic::check_name(name).is_ok() {
            let wildcards = !name.starts_with('$'); // [MQTT-4.7.2-1]
            self.root.matches(Some(name), wildcards, &mut visit);
        }
    }
}

impl<K: PartialEq, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        self.levels.is_empty()
            && self.plus.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }

    /// Recursion ends at [`topic::MAX_LEVELS`]: names and filters have no more.
    fn remove<'p>(&mut self, mut parts: impl Iterator<Item = &'p str>, key: &K) -> Option<V> {
        fn take<K: PartialEq, V>(values: &mut Vec<(K, V)>, key: &K) -> Option<V> {
            let place = values.iter().position(|(k, _)| k == key)?;
            Some(values.remove(place).1)
        }
        // A trait object would do as well; the iterator has one type, so there is one instance.
        match parts.next() {
            None => take(&mut self.here, key),
            Some("#") => take(&mut self.below, key),
            Some("+") => {
                let node = self.plus.as_mut()?;
                let value = node.remove(parts, key)?;
                if node.is_empty() {
                    self.plus = None;
                }
                Some(value)
            }
            Some(level) => {
                let node = self.levels.get_mut(level)?;
                let value = node.remove(parts, key)?;
                if node.is_empty() {
                    self.levels.remove(level);
                }
                Some(value)
            }
        }
    }

    /// `rest` is the name from this node's level on, or none behind its last.
    fn matches<'a>(
        &'a self,
        rest: Option<&str>,
        wildcards: bool,
        visit: &mut impl FnMut(&'a K, &'a V),
    ) {
        let mut show = |values: &'a [(K, V)]| {
            for (key, value) in values {
                visit(key, value);
            }
        };
        if wildcards {
            show(&self.below);
        }
        let Some(rest) = rest else {
            return show(&self.here);
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(node) = self.levels.get(level) {
            node.matches(rest, true, visit);
        }
        if let Some(node) = self.plus.as_ref().filter(|_| wildcards) {
            node.matches(rest, true, visit);
        }
    }
}

/// Values by topic name, in order of the names.
#[derive(Debug)]
pub struct Retained<V>(BTreeMap<Box<str>, V>);

impl<V> Default for Retained<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> Retained<V> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value; returns the one before.
    pub fn insert(&mut self, name: &str, value: V) -> Option<V> {
        match self.0.get_mut(name) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => self.0.insert(name.into(), value),
        }
    }

    /// Takes a value away.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        self.0.remove(name)
    }

    /// The value of one name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.0.get(name)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// What a valid filter, without `$share/…/`, matches, in order of the names, from behind `after` on.
    pub fn matching<'a>(
        &'a self,
        filter: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a V)> {
        let wildcard = filter.find(['+', '#']);
        // `a/#` matches `a` too, which comes before what begins with `a/`.
        let prefix = match wildcard.map(|at| filter.split_at(at)) {
            Some((prefix, "#")) => prefix.strip_suffix('/').unwrap_or(prefix),
            Some((prefix, _)) => prefix,
            None => filter,
        };
        let from = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let begins = move |name: &str| match wildcard {
            Some(_) => name.starts_with(prefix),
            None => name == filter,
        };
        let range = self.0.range::<str, _>((from, Bound::Unbounded));
        range
            .map(|(name, value)| (&**name, value))
            .take_while(move |(name, _)| begins(name))
            .filter(move |(name, _)| topic::matches(filter, name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(tree: &Tree<u8, ()>, name: &str) -> Vec<u8> {
        let mut found = Vec::new();
        tree.matches(name, |key, ()| found.push(*key));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_key_has_one_value_under_a_filter() {
        let mut tree = Tree::new();
        assert_eq!(tree.insert("a/+", 1, "x"), Ok(None));
        assert_eq!(tree.insert("a/+", 1, "y"), Ok(Some("x")));
        assert_eq!(tree.insert("a/+", 2, "z"), Ok(None));
        assert_eq!((tree.len(), tree.get("a/+", &1)), (2, Some(&"y")));
        assert_eq!(tree.remove("a/#", &1), None);
        assert_eq!(tree.remove("a/+", &1), Some("y"));
        assert_eq!((tree.len(), tree.get("a/+", &1)), (1, None));
    }

    #[test]
    fn removing_the_last_value_leaves_no_nodes() {
        let mut tree = Tree::new();
        for filter in ["a/b/c/d/#", "a/+/c", "+/+/#", "#", "a/b"] {
            tree.insert(filter, 0, ()).expect("filter");
        }
        for filter in ["a/b", "#", "+/+/#", "a/+/c", "a/b/c/d/#"] {
            assert_eq!(tree.remove(filter, &0), Some(()), "{filter}");
        }
        assert!(tree.is_empty() && tree.root.is_empty());
    }

    #[test]
    fn shared_filters_lie_under_what_is_behind_the_group() {
        let mut tree = Tree::new();
        tree.insert("$share/g/a/+", 7, ()).expect("filter");
        assert_eq!(found(&tree, "a/b"), [7]);
        assert_eq!(tree.remove("$share/h/a/+", &7), Some(()));
        assert!(tree.insert("$share/g", 7, ()).is_err());
    }

    #[test]
    fn a_filter_of_most_levels_is_found() {
        let mut tree = Tree::new();
        let filter = format!("{}#", "+/".repeat(topic::MAX_LEVELS - 1));
        tree.insert(&filter, 1, ()).expect("filter");
        assert_eq!(found(&tree, &"/".repeat(topic::MAX_LEVELS - 1)), [1]);
    }

    fn levels(wild: bool) -> impl Strategy<Value = String> {
        let level = if wild { "a|b|\\$c||\\+" } else { "a|b|\\$c|" };
        let end = if wild { "(/#)?" } else { "" };
        let pattern = format!("({level})(/({level})){{0,4}}{end}");
        proptest::string::string_regex(&pattern).expect("pattern")
    }

    proptest! {
        #[test]
        fn tree_and_map_find_what_comparing_one_by_one_finds(
            filters in proptest::collection::vec(levels(true), 1..20),
            names in proptest::collection::vec(levels(false), 1..20),
            gone in proptest::collection::vec(any::<bool>(), 20),
        ) {
            let filters: Vec<_> = filters.into_iter().filter(|f| topic::check_filter(f).is_ok()).collect();
            let names: Vec<_> = names.into_iter().filter(|n| topic::check_name(n).is_ok()).collect();
            let mut tree = Tree::new();
            for (key, filter) in (0u8..).zip(&filters) {
                tree.insert(filter, key, ()).expect("filter");
            }
            let mut left = Vec::new();
            for ((key, filter), gone) in (0u8..).zip(&filters).zip(gone) {
                if gone {
                    tree.remove(filter, &key).expect("was there");
                } else {
                    left.push((key, filter));
                }
            }
            prop_assert_eq!(tree.len(), left.len());
            let mut retained = Retained::new();
            for name in &names {
                let expected: Vec<u8> = left.iter()
                    .filter(|(_, filter)| topic::matches(filter, name))
                    .map(|(key, _)| *key)
                    .collect();
                prop_assert_eq!(found(&tree, name), expected, "{}", name);
                retained.insert(name, ());
            }
            for filter in &filters {
                let found: Vec<_> = retained.matching(filter, None).map(|(name, ())| name).collect();
                for (place, name) in found.iter().enumerate() {
                    let rest = retained.matching(filter, Some(*name)).map(|(name, ())| name);
                    prop_assert!(rest.eq(found[place + 1..].iter().copied()));
                }
                let mut expected: Vec<_> = names.iter().map(String::as_str)
                    .filter(|name| topic::matches(filter, name)).collect();
                expected.sort_unstable();
                expected.dedup();
                prop_assert_eq!(found, expected, "{}", filter);
            }
        }
    }
}
