//! Keys whose newest value is in the log and not yet in the state tables.
//!
//! ```text
//!   put ──► open ──freeze──► frozen ──(durable, applied to the tables)──► gone
//! ```
//! A key is looked for in `open`, then `frozen`, then the tables.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Lsn, Put, Table};

/// Keys and values of one layer; `None` is a key that was deleted.
pub(crate) type Layer = BTreeMap<Bytes, Option<Bytes>>;

/// The layers of all tables, in the order of [`Table::ALL`].
pub(crate) type Layers = [Layer; Table::ALL.len()];

/// What a key costs beside itself and its value.
const KEY_COST: u64 = 96;

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    open: Layers,
    bytes: u64,
    frozen: Option<Frozen>,
}

/// Keys as they were after a commit, on their way into the tables.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) layers: Arc<Layers>,
    pub(crate) upto: Lsn,
}

fn place(table: Table) -> usize {
    usize::from(table.code()) - 1
}

fn size(key: &Bytes, value: Option<&Bytes>) -> u64 {
    (key.len() + value.map_or(0, Bytes::len)) as u64 + KEY_COST
}

impl Overlay {
    pub(crate) fn put(&mut self, put: Put) {
        self.bytes += size(&put.key, put.value.as_ref());
        let layer = &mut self.open[place(put.table)];
        if let Some((key, before)) = layer.get_key_value(&put.key) {
            self.bytes -= size(key, before.as_ref());
        }
        layer.insert(put.key, put.value);
    }

    /// Bytes that wait to be applied and are not on their way.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the overlay says of a key: nothing, that it was deleted, or its value.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<Bytes>> {
        let layer = place(table);
        let frozen = || self.frozen.as_ref()?.layers[layer].get(key);
        self.open[layer].get(key).or_else(frozen).cloned()
    }

    /// Keys with a prefix after `after`, and whether they are there.
    pub(crate) fn keys(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> BTreeMap<Bytes, bool> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let frozen = self.frozen.as_ref().map(|frozen| &*frozen.layers);
        let layers = frozen.into_iter().chain([&self.open]);
        layers
            .flat_map(|layers| {
                layers[place(table)]
                    .range::<[u8], _>((start, Bound::Unbounded))
                    .take_while(|(key, _)| key.starts_with(prefix))
            })
            .map(|(key, value)| (key.clone(), value.is_some()))
            .collect()
    }

    /// All that is in it, on the way into the tables; what is on its way already comes first.
    pub(crate) fn freeze(&mut self, upto: Lsn) -> Frozen {
        self.frozen
            .get_or_insert_with(|| {
                self.bytes = 0;
                Frozen {
                    layers: Arc::new(std::mem::take(&mut self.open)),
                    upto,
                }
            })
            .clone()
    }

    /// The tables have what was frozen.
    pub(crate) fn applied(&mut self) {
        self.frozen = None;
    }
}

/// Iterates over the changes of layers.
pub(crate) fn changes(layers: &Layers) -> impl Iterator<Item = (Table, &Bytes, Option<&Bytes>)> {
    Table::ALL.into_iter().flat_map(|table| {
        layers[place(table)]
            .iter()
            .map(move |(key, value)| (table, key, value.as_ref()))
    })
}
