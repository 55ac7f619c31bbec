//! Tables that live as long as the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Change, StateTables, TableError};
use crate::{Lsn, Table};

/// [`StateTables`] in memory. Clones share one state, so a test keeps a clone over the crash of a log:
/// what was applied is then still there, as on a device.
#[derive(Debug, Clone, Default)]
pub struct MemoryTables {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Clone, Default)]
struct Inner {
    applied: Lsn,
    pairs: BTreeMap<(Table, Bytes), Bytes>,
}

impl MemoryTables {
    /// Empty ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy that later changes do not reach: the state as a crash at this moment would leave it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = self.lock().clone();
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateTables for MemoryTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        let key = (table, Bytes::copy_from_slice(key));
        Ok(self.lock().pairs.get(&key).cloned())
    }

    fn keys(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Bytes>, TableError> {
        let start = match after {
            Some(after) if after >= prefix => {
                Bound::Excluded((table, Bytes::copy_from_slice(after)))
            }
            _ => Bound::Included((table, Bytes::copy_from_slice(prefix))),
        };
        let inner = self.lock();
        let keys = inner.pairs.range((start, Bound::Unbounded));
        Ok(keys
            .map(|(key, _)| key)
            .take_while(|(of, key)| *of == table && key.starts_with(prefix))
            .take(max)
            .map(|(_, key)| key.clone())
            .collect())
    }

    fn for_each(
        &self,
        table: Table,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), TableError> {
        // A copy (of handles), so that the visitor may call back.
        let pairs = self.lock().pairs.clone();
        let of_table = pairs.iter().filter(|((of, _), _)| *of == table);
        of_table.for_each(|((_, key), value)| visit(key, value));
        Ok(())
    }

    fn apply(&self, changes: &[Change<'_>], upto: Lsn) -> Result<(), TableError> {
        let mut inner = self.lock();
        if upto < inner.applied {
            return Ok(());
        }
        for change in changes {
            let key = (change.table, Bytes::copy_from_slice(change.key));
            match change.value {
                Some(value) => inner.pairs.insert(key, Bytes::copy_from_slice(value)),
                None => inner.pairs.remove(&key),
            };
        }
        inner.applied = upto;
        Ok(())
    }

    fn applied(&self) -> Lsn {
        self.lock().applied
    }
}
