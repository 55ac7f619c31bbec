//! `wasi:keyvalue` in both drafts: a module's own state, in the commit of its step.

use bytes::Bytes;
use edge_store::Table;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::HostState;
use super::bindings::wasi;
use crate::step::Step;

/// Longest bucket name and key in bytes.
const MAX_NAME: usize = 1 << 10;
/// Largest value in bytes.
const MAX_VALUE: usize = 1 << 20;
/// Keys on one page.
const PAGE: usize = 1_000;

/// An open bucket. Its keys in the log begin with the module's and the bucket's name.
#[derive(Debug, Clone)]
pub struct Bucket {
    prefix: Vec<u8>,
}

/// A value as it was when the handle was made.
#[derive(Debug)]
pub struct Cas {
    key: Bytes,
    seen: Option<Bytes>,
}

impl Bucket {
    fn key(&self, key: &str) -> Result<Bytes, String> {
        if key.len() > MAX_NAME {
            return Err(format!(
                "a key has at most {MAX_NAME} bytes, this one {}",
                key.len()
            ));
        }
        Ok([&self.prefix, key.as_bytes()].concat().into())
    }
}

fn set(step: &mut Step, key: Bytes, value: Vec<u8>) -> Result<(), String> {
    if value.len() > MAX_VALUE {
        return Err(format!(
            "a value has at most {MAX_VALUE} bytes, this one {}",
            value.len()
        ));
    }
    step.put(Table::ModuleState, key, Some(value.into()))
}

/// A page of keys after `after`, with what the step changed.
fn list(step: &Step, bucket: &Bucket, after: Option<&str>) -> Result<Vec<String>, String> {
    let prefix = bucket.prefix.as_slice();
    let after = after.map(|after| [prefix, after.as_bytes()].concat());
    let changes: Vec<_> = step
        .commit
        .puts()
        .iter()
        .filter(|put| put.table == Table::ModuleState && put.key.starts_with(prefix))
        .filter(|put| after.as_deref().is_none_or(|after| put.key > after))
        .collect();
    // Enough for a full page even if the step deleted as many as it names.
    let wanted = PAGE + changes.len();
    let stored = step
        .hub()
        .log()
        .keys(Table::ModuleState, prefix, after.as_deref(), wanted);
    let mut keys: std::collections::BTreeSet<Bytes> = stored.into_iter().collect();
    for put in changes {
        match put.value {
            Some(_) => keys.insert(put.key.clone()),
            None => keys.remove(&put.key),
        };
    }
    let name = |key: &Bytes| {
        String::from_utf8(key[prefix.len()..].to_vec())
            .map_err(|_| "a stored key is not UTF-8".to_owned())
    };
    keys.iter().take(PAGE).map(name).collect()
}

impl HostState {
    fn open_bucket(&mut self, name: &str) -> Result<Result<Resource<Bucket>, Refused>> {
        if !self.shared.options.grants.state {
            return Ok(Err(Refused::Denied));
        }
        if name.len() > MAX_NAME || name.contains('\0') {
            let why = format!("a bucket's name has at most {MAX_NAME} bytes and no NUL");
            return Ok(Err(Refused::Other(why)));
        }
        let prefix = format!("{}\0{name}\0", self.shared.id).into_bytes();
        Ok(Ok(self.table.push(Bucket { prefix })?))
    }

    fn key(&mut self, bucket: &Resource<Bucket>, key: &str) -> Result<Result<Bytes, String>> {
        Ok(self.table.get(bucket)?.key(key))
    }

    fn get_value(
        &mut self,
        bucket: &Resource<Bucket>,
        key: &str,
    ) -> Result<Result<Option<Bytes>, String>> {
        Ok(match self.key(bucket, key)? {
            Ok(key) => Ok(self.step()?.get(Table::ModuleState, &key)),
            Err(why) => Err(why),
        })
    }

    fn set_value(
        &mut self,
        bucket: &Resource<Bucket>,
        key: &str,
        value: Vec<u8>,
    ) -> Result<Result<(), String>> {
        Ok(match self.key(bucket, key)? {
            Ok(key) => set(self.step()?, key, value),
            Err(why) => Err(why),
        })
    }

    fn delete_value(&mut self, bucket: &Resource<Bucket>, key: &str) -> Result<Result<(), String>> {
        Ok(match self.key(bucket, key)? {
            Ok(key) => self.step()?.put(Table::ModuleState, key, None),
            Err(why) => Err(why),
        })
    }

    /// Adds to a number kept as text, if the sum is in `range`.
    fn add(
        &mut self,
        bucket: &Resource<Bucket>,
        key: &str,
        delta: i128,
        range: std::ops::RangeInclusive<i128>,
    ) -> Result<Result<i128, String>> {
        let value = match self.get_value(bucket, key)? {
            Ok(value) => value.unwrap_or_else(|| Bytes::from_static(b"0")),
            Err(why) => return Ok(Err(why)),
        };
        let number = std::str::from_utf8(&value)
            .ok()
            .and_then(|text| text.parse::<i128>().ok());
        let Some(sum) = number.and_then(|number| number.checked_add(delta)) else {
            return Ok(Err(format!("the value of {key:?} is not a whole number")));
        };
        if !range.contains(&sum) {
            return Ok(Err(format!("{key:?} would become {sum}: out of range")));
        }
        let set = self.set_value(bucket, key, sum.to_string().into_bytes())?;
        Ok(set.map(|()| sum))
    }

    fn list_keys(
        &mut self,
        bucket: &Resource<Bucket>,
        after: Option<&str>,
    ) -> Result<Result<Vec<String>, String>> {
        let bucket = self.table.get(bucket)?.clone();
        Ok(list(self.step()?, &bucket, after))
    }
}

enum Refused {
    Denied,
    Other(String),
}

/// The store and batch functions that both drafts share to the letter.
macro_rules! shared_by_drafts {
    ($draft:ident) => {
        impl From<Refused> for $draft::store::Error {
            fn from(refused: Refused) -> Self {
                match refused {
                    Refused::Denied => Self::AccessDenied,
                    Refused::Other(why) => Self::Other(why),
                }
            }
        }

        impl $draft::store::Host for HostState {
            fn open(
                &mut self,
                name: String,
            ) -> Result<Result<Resource<Bucket>, $draft::store::Error>> {
                Ok(self.open_bucket(&name)?.map_err(Into::into))
            }
        }

        impl $draft::store::HostBucket for HostState {
            fn get(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> Result<Result<Option<Vec<u8>>, $draft::store::Error>> {
                let value = self.get_value(&bucket, &key)?;
                Ok(value
                    .map(|value| value.map(Vec::from))
                    .map_err($draft::store::Error::Other))
            }

            fn set(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
                value: Vec<u8>,
            ) -> Result<Result<(), $draft::store::Error>> {
                let set = self.set_value(&bucket, &key, value)?;
                Ok(set.map_err($draft::store::Error::Other))
            }

            fn delete(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> Result<Result<(), $draft::store::Error>> {
                let deleted = self.delete_value(&bucket, &key)?;
                Ok(deleted.map_err($draft::store::Error::Other))
            }

            fn exists(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> Result<Result<bool, $draft::store::Error>> {
                let value = self.get_value(&bucket, &key)?;
                Ok(value
                    .map(|value| value.is_some())
                    .map_err($draft::store::Error::Other))
            }

            fn list_keys(
                &mut self,
                bucket: Resource<Bucket>,
                cursor: Option<$draft::Cursor>,
            ) -> Result<Result<$draft::store::KeyResponse, $draft::store::Error>> {
                let page = $draft::page(self, &bucket, cursor)?;
                Ok(page
                    .map(|(keys, cursor)| $draft::store::KeyResponse { keys, cursor })
                    .map_err($draft::store::Error::Other))
            }

            fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
                self.table.delete(bucket)?;
                Ok(())
            }
        }

        impl $draft::batch::Host for HostState {
            fn get_many(
                &mut self,
                bucket: Resource<Bucket>,
                keys: Vec<String>,
            ) -> Result<Result<Vec<$draft::Found>, $draft::store::Error>> {
                let mut found = Vec::with_capacity(keys.len());
                for key in keys {
                    match self.get_value(&bucket, &key)? {
                        Ok(value) => found.push($draft::found(key, value.map(Vec::from))),
                        Err(why) => return Ok(Err($draft::store::Error::Other(why))),
                    }
                }
                Ok(Ok(found))
            }

            fn set_many(
                &mut self,
                bucket: Resource<Bucket>,
                pairs: Vec<(String, Vec<u8>)>,
            ) -> Result<Result<(), $draft::store::Error>> {
                for (key, value) in pairs {
                    if let Err(why) = self.set_value(&bucket, &key, value)? {
                        return Ok(Err($draft::store::Error::Other(why)));
                    }
                }
                Ok(Ok(()))
            }

            fn delete_many(
                &mut self,
                bucket: Resource<Bucket>,
                keys: Vec<String>,
            ) -> Result<Result<(), $draft::store::Error>> {
                for key in keys {
                    if let Err(why) = self.delete_value(&bucket, &key)? {
                        return Ok(Err($draft::store::Error::Other(why)));
                    }
                }
                Ok(Ok(()))
            }
        }
    };
}

/// A page of keys with the cursor of the next, or what went wrong.
type Page<C> = Result<Result<(Vec<String>, Option<C>), String>>;

/// What a page and a found key look like in the second draft: the cursor is the last key seen.
mod draft2 {
    use super::{Bucket, HostState, PAGE, Page, Resource};

    pub(super) use super::wasi::keyvalue0_2_0_draft2::{atomics, batch, store};

    pub(super) type Cursor = String;
    pub(super) type Found = (String, Option<Vec<u8>>);

    pub(super) fn found(key: String, value: Option<Vec<u8>>) -> Found {
        (key, value)
    }

    pub(super) fn page(
        state: &mut HostState,
        bucket: &Resource<Bucket>,
        cursor: Option<Cursor>,
    ) -> Page<Cursor> {
        let keys = state.list_keys(bucket, cursor.as_deref())?;
        Ok(keys.map(|keys| {
            let next = keys.last().filter(|_| keys.len() == PAGE).cloned();
            (keys, next)
        }))
    }
}

/// The same in the first draft: the cursor counts the keys seen.
mod draft1 {
    use super::{Bucket, HostState, PAGE, Page, Resource};

    pub(super) use super::wasi::keyvalue0_2_0_draft::{atomics, batch, store};

    pub(super) type Cursor = u64;
    pub(super) type Found = Option<(String, Vec<u8>)>;

    pub(super) fn found(key: String, value: Option<Vec<u8>>) -> Found {
        value.map(|value| (key, value))
    }

    pub(super) fn page(
        state: &mut HostState,
        bucket: &Resource<Bucket>,
        cursor: Option<Cursor>,
    ) -> Page<Cursor> {
        let wanted = cursor.unwrap_or(0);
        let (mut seen, mut after) = (0, None::<String>);
        loop {
            let keys = match state.list_keys(bucket, after.as_deref())? {
                Ok(keys) => keys,
                Err(why) => return Ok(Err(why)),
            };
            let full = keys.len() == PAGE;
            let end = seen + keys.len() as u64;
            if seen >= wanted || !full {
                return Ok(Ok((keys, full.then_some(end))));
            }
            (seen, after) = (end, keys.last().cloned());
        }
    }
}

shared_by_drafts!(draft1);
shared_by_drafts!(draft2);

impl draft1::atomics::Host for HostState {
    fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<Result<u64, draft1::store::Error>> {
        let range = 0..=u64::MAX.into();
        let sum = self.add(&bucket, &key, delta.into(), range)?;
        let in_range = |sum| u64::try_from(sum).map_err(|_| "out of range".to_owned());
        Ok(sum.and_then(in_range).map_err(draft1::store::Error::Other))
    }
}

impl draft2::atomics::Host for HostState {
    fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Result<Result<i64, draft2::store::Error>> {
        let range = i64::MIN.into()..=i64::MAX.into();
        let sum = self.add(&bucket, &key, delta.into(), range)?;
        let in_range = |sum| i64::try_from(sum).map_err(|_| "out of range".to_owned());
        Ok(sum.and_then(in_range).map_err(draft2::store::Error::Other))
    }

    fn swap(
        &mut self,
        handle: Resource<Cas>,
        value: Vec<u8>,
    ) -> Result<Result<(), draft2::atomics::CasError>> {
        use draft2::atomics::CasError;
        let Cas { key, seen } = self.table.delete(handle)?;
        let step = self.step()?;
        let current = step.get(Table::ModuleState, &key);
        if current != seen {
            let again = self.table.push(Cas { key, seen: current })?;
            return Ok(Err(CasError::CasFailed(again)));
        }
        Ok(set(step, key, value)
            .map_err(|why| CasError::StoreError(draft2::store::Error::Other(why))))
    }
}

impl draft2::atomics::HostCas for HostState {
    fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<Resource<Cas>, draft2::store::Error>> {
        let key = match self.key(&bucket, &key)? {
            Ok(key) => key,
            Err(why) => return Ok(Err(draft2::store::Error::Other(why))),
        };
        let seen = self.step()?.get(Table::ModuleState, &key);
        Ok(Ok(self.table.push(Cas { key, seen })?))
    }

    fn current(
        &mut self,
        handle: Resource<Cas>,
    ) -> Result<Result<Option<Vec<u8>>, draft2::store::Error>> {
        let seen = &self.table.get(&handle)?.seen;
        Ok(Ok(seen.as_ref().map(|value| value.to_vec())))
    }

    fn drop(&mut self, handle: Resource<Cas>) -> Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
