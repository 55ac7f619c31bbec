//! Keys of identities that are behind this device no longer: what they sent through it is still to be delivered, and
//! a token of their own is what the parent lets it in by. One that was removed or disabled there is not let in by it.
//!
//! ```text
//!   gone from the registry ─► kept with a date ─► signs what waits ─► forgotten after 30 days, or when it is back
//! ```

use std::time::Duration;

use bytes::Bytes;
use edge_core::{Identity, Timestamp};
use edge_identity::{Entry, Registry, Secret};
use edge_store::{Commit, CommitError, MessageLog, Put, Table};

/// By then whatever waited has been delivered, or has outlived its time.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const PREFIX: &[u8] = b"left\0";
/// Keys that are read from the log at a time.
const PAGE: usize = 256;

#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    until: u64,
    key: String,
}

fn key(identity: &Identity) -> Bytes {
    [PREFIX, identity.to_string().as_bytes()].concat().into()
}

/// Adds the keys of those that go to the changes of a commit.
pub(crate) fn keep(commit: &mut Commit, registry: &Registry, gone: &[Identity], now: Timestamp) {
    for identity in gone {
        let entry = registry.get(identity).filter(|entry| entry.from_parent);
        let Some(keys) = entry.as_ref().and_then(|entry| entry.auth.keys()) else {
            continue;
        };
        let kept = Kept {
            until: now.after(KEPT).0,
            key: keys.primary.base64().to_string(),
        };
        let value = serde_json::to_vec(&kept).expect("strings and numbers always become JSON");
        commit.put(Put {
            table: Table::Upstream,
            key: key(identity),
            value: Some(value.into()),
        });
    }
}

/// Adds to the changes of a commit that those who are back have their own keys.
pub(crate) fn give_back(commit: &mut Commit, log: &dyn MessageLog, back: &[Entry]) {
    for entry in back {
        let key = key(&entry.identity);
        if log.get(Table::Upstream, &key).is_some() {
            commit.put(Put {
                table: Table::Upstream,
                key,
                value: None,
            });
        }
    }
}

/// The key of one that went.
pub(crate) fn find(log: &dyn MessageLog, identity: &Identity, now: Timestamp) -> Option<Secret> {
    let value = log.get(Table::Upstream, &key(identity))?;
    let kept = serde_json::from_slice::<Kept>(&value).ok();
    let Some((until, key)) = kept.and_then(|kept| {
        let key = Secret::from_base64(&kept.key).ok()?;
        Some((kept.until, key))
    }) else {
        tracing::warn!(client = %identity, "the key that it left here cannot be read");
        return None;
    };
    (now.0 < until).then_some(key)
}

/// Forgets those whose time is over, and those that cannot be read.
///
/// # Errors
/// The log did not take it; they are still there.
pub(crate) fn forget(log: &dyn MessageLog, now: Timestamp) -> Result<(), CommitError> {
    let mut commit = Commit::new();
    let mut after = None;
    loop {
        let page = log.keys(Table::Upstream, PREFIX, after.as_deref(), PAGE);
        for key in &page {
            let value = log.get(Table::Upstream, key);
            let kept = value.and_then(|value| serde_json::from_slice::<Kept>(&value).ok());
            if kept.is_none_or(|kept| kept.until <= now.0) {
                commit.put(Put {
                    table: Table::Upstream,
                    key: key.clone(),
                    value: None,
                });
            }
        }
        match page.into_iter().last() {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    log.commit(&mut commit).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edge_core::DeviceId;
    use edge_identity::NewAuth;
    use edge_store::MemoryLog;

    use super::*;

    #[test]
    fn a_key_is_kept_for_what_waits_and_forgotten_in_the_end() {
        let log: Arc<dyn MessageLog> = Arc::new(MemoryLog::default());
        let (parent, here) = (
            Registry::open(Arc::new(MemoryLog::default())).unwrap(),
            Registry::open(log.clone()).unwrap(),
        );
        let id = |name: &str| Identity::Device(DeviceId::new(name).unwrap());
        let now = Timestamp(1_800_000_000_000_000_000);
        let (told, _) = parent.add(&id("leaf"), NewAuth::FRESH, now).unwrap();
        here.adopt(vec![Entry::clone(&told)], &[]).unwrap();
        here.add(&id("own"), NewAuth::FRESH, now).unwrap();
        let gone = [id("leaf"), id("own"), id("unknown")];
        let mut commit = Commit::new();
        keep(&mut commit, &here, &gone, now);
        log.commit(&mut commit).unwrap();
        here.adopt(Vec::new(), &gone).unwrap();
        assert!(here.get(&id("leaf")).is_none());
        let find = |name: &str, now: Timestamp| find(log.as_ref(), &id(name), now);
        let kept = find("leaf", now);
        assert_eq!(kept.as_ref(), told.auth.keys().map(|keys| &keys.primary));
        assert_eq!(find("own", now), None);
        let (soon, late) = (now.after(KEPT / 2), now.after(KEPT));
        forget(log.as_ref(), soon).unwrap();
        assert!(find("leaf", soon).is_some());
        assert!(find("leaf", late).is_none());
        forget(log.as_ref(), late).unwrap();
        assert!(find("leaf", soon).is_none());
    }

    #[test]
    fn who_is_back_has_its_own_key() {
        let log: Arc<dyn MessageLog> = Arc::new(MemoryLog::default());
        let here = Registry::open(log.clone()).unwrap();
        let leaf = Identity::Device(DeviceId::new("leaf").unwrap());
        let now = Timestamp(1_800_000_000_000_000_000);
        let (told, _) = here.add(&leaf, NewAuth::FRESH, now).unwrap();
        let adopted = Entry {
            from_parent: true,
            ..Entry::clone(&told)
        };
        here.remove(&leaf).unwrap();
        here.adopt(vec![adopted.clone()], &[]).unwrap();
        let mut commit = Commit::new();
        keep(&mut commit, &here, std::slice::from_ref(&leaf), now);
        log.commit(&mut commit).unwrap();
        assert!(find(log.as_ref(), &leaf, now).is_some());
        give_back(&mut commit, log.as_ref(), &[adopted]);
        log.commit(&mut commit).unwrap();
        assert!(find(log.as_ref(), &leaf, now).is_none());
    }
}
