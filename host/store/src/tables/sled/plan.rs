//! From keys and values to sled's pairs, and back.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Store;
use super::fault::Fault;
use super::layout::{self, Header, Stored};
use crate::{Lsn, Table};

/// The changes of a call, the last one of each key.
pub(super) type Latest<'a> = BTreeMap<(Table, &'a [u8]), Option<&'a [u8]>>;

impl Store {
    /// What to write for changes, the header it leads to, and how many bytes that is.
    pub(super) fn plan(
        &self,
        changes: &Latest<'_>,
        upto: Lsn,
    ) -> Result<(::sled::Batch, Header, u64), Fault> {
        let mut batch = ::sled::Batch::default();
        let mut header = Header {
            applied: upto,
            ..self.header
        };
        let mut last_id = header.last_id;
        let mut bytes = 0;
        let mut write = |key: Vec<u8>, value: Option<Vec<u8>>| -> Result<(), Fault> {
            if let Some(old) = self.db.get(&key)? {
                header.forget(&key, &old);
            }
            bytes += key.len() as u64;
            match value {
                Some(value) => {
                    header.count(&key, &value);
                    bytes += value.len() as u64;
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
            Ok(())
        };
        for (&(table, key), value) in changes {
            let head = layout::head_key(table, key);
            let old = self.db.get(&head)?;
            let old = old.as_deref().map(Stored::read).transpose()?;
            let (old_id, before) = match old {
                Some(old @ Stored::Pieces { id, .. }) => (Some(id), old.pieces()),
                Some(Stored::Whole(_)) | None => (None, 0),
            };
            let mut pieces = 0;
            match value {
                Some(value) if value.len() > layout::PIECE => {
                    let len = u32::try_from(value.len()).map_err(|_| Fault::too_long())?;
                    let id = old_id.unwrap_or_else(|| {
                        last_id += 1;
                        last_id
                    });
                    for (piece, n) in value.chunks(layout::PIECE).zip(0..) {
                        write(layout::piece_key(table, id, n), Some(piece.to_vec()))?;
                        pieces = n + 1;
                    }
                    write(head, Some(Stored::Pieces { id, len }.write()))?;
                }
                Some(value) => write(head, Some(Stored::Whole(value).write()))?,
                None => write(head, None)?,
            }
            for n in pieces..before {
                let id = old_id.unwrap_or_default();
                write(layout::piece_key(table, id, n), None)?;
            }
        }
        header.last_id = last_id;
        let sealed = header.write();
        batch.insert(layout::HEADER_KEY, sealed.as_slice());
        Ok((batch, header, bytes))
    }
}

/// The value that belongs to a pair of sled's.
pub(super) fn value(db: &::sled::Db, table: Table, stored: &[u8]) -> Result<Bytes, Fault> {
    match Stored::read(stored)? {
        Stored::Whole(value) => Ok(Bytes::copy_from_slice(value)),
        found @ Stored::Pieces { id, len } => {
            let mut value = Vec::new();
            for n in 0..found.pieces() {
                let piece = db.get(layout::piece_key(table, id, n))?;
                let missing = || Fault::damage("a piece of a long value is missing");
                value.extend_from_slice(&piece.ok_or_else(missing)?);
            }
            if u32::try_from(value.len()) != Ok(len) {
                return Err(Fault::damage("a long value has another length"));
            }
            Ok(value.into())
        }
    }
}
