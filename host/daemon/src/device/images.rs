//! Images that no module runs any more: removed from the engine after a while, or they fill the disk.
//!
//! ```text
//!   a module has it ─► in use ─► unused since … ── [containers] unused-images ──► removed
//!                        ▲            │ used again                                  │ a container has it, or it came
//!                        └────────────┘                                             └─ from no registry: stays
//! ```
//!
//! Only images that modules of this device had are looked at; others on the engine are somebody else's. What a rollback
//! needs again is fetched by the digest that its deployment recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edge_agent::AgentStatus;
use edge_core::runtime::RuntimeKind;
use edge_core::{Digest, Timestamp};
use edge_moby::Moby;
use edge_store::{Commit, MessageLog, Put, Table};
use tracing::{info, warn};

use super::Device;

const KEY: &[u8] = b"images";

/// Since when each image is not used; `None`: it is.
type Ledger = BTreeMap<String, Option<u64>>;

fn read(log: &dyn MessageLog) -> Ledger {
    let Some(kept) = log.get(Table::Deployments, KEY) else {
        return Ledger::new();
    };
    serde_json::from_slice(&kept).unwrap_or_else(|error| {
        warn!(%error, "which images were used is not known: what is unused by now stays");
        Ledger::new()
    })
}

/// Brings the ledger up to date with what is used.
fn note(ledger: &mut Ledger, used: &BTreeSet<String>, now: Timestamp) {
    for image in used {
        ledger.insert(image.clone(), None);
    }
    for (image, since) in ledger {
        if since.is_none() && !used.contains(image) {
            *since = Some(now.0);
        }
    }
}

/// When the first of them has been unused for `age`.
fn due(ledger: &Ledger, age: Duration) -> Option<Timestamp> {
    let since = ledger.values().filter_map(|since| *since);
    since.min().map(|since| Timestamp(since).after(age))
}

fn used(status: &AgentStatus) -> BTreeSet<String> {
    let containers = status
        .modules
        .iter()
        .filter(|m| m.kind == RuntimeKind::Container);
    let digests = containers.filter_map(|module| module.digest);
    digests.map(|digest| digest.to_string()).collect()
}

impl Device {
    /// Removes what is unused. Runs until it is dropped; sleeps while nothing changes.
    pub(crate) async fn keep_images(self: Arc<Self>) {
        let (Some(containers), Some(age)) = (&self.containers, self.unused_images) else {
            return std::future::pending().await;
        };
        let mut agent = self.agent.status();
        let mut ledger = read(&**self.hub.log());
        loop {
            let status = agent.borrow_and_update().clone();
            // Before it is known what runs, nothing is unused.
            if status.settled && status.generation > 0 {
                let before = ledger.clone();
                let now = self.hub.now();
                note(&mut ledger, &used(&status), now);
                if due(&ledger, age).is_some_and(|due| due <= now) {
                    remove(containers, &mut ledger, age, now).await;
                }
                if ledger != before {
                    self.store_images(&ledger);
                }
            }
            let wait = due(&ledger, age).map(|due| due.since(self.hub.now()));
            tokio::select! {
                changed = agent.changed() => if changed.is_err() {
                    // The agent has ended, and the device with it.
                    return std::future::pending().await;
                },
                () = async {
                    match wait {
                        // Clocks are set: not for longer than an hour.
                        Some(wait) => tokio::time::sleep(wait.min(Duration::from_secs(3_600))).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    fn store_images(&self, ledger: &Ledger) {
        let mut commit = Commit::new();
        let text = serde_json::to_vec(ledger).expect("text and numbers can be written as JSON");
        commit.put(Put {
            table: Table::Deployments,
            key: Bytes::from_static(KEY),
            value: Some(Bytes::from(text)),
        });
        if let Err(error) = self.commit(&mut commit) {
            warn!(%error, "which images are used is not kept");
        }
    }
}

/// Removes what has been unused for long enough. What stays is looked at again after as long.
async fn remove(containers: &Moby, ledger: &mut Ledger, age: Duration, now: Timestamp) {
    let old: Vec<String> = ledger
        .iter()
        .filter(|(_, since)| since.is_some_and(|since| Timestamp(since).after(age) <= now))
        .map(|(image, _)| image.clone())
        .collect();
    for image in old {
        let Ok(id) = image.parse::<Digest>() else {
            ledger.remove(&image);
            continue;
        };
        match containers.remove_image(&id).await {
            Ok(true) => {
                info!(%image, "unused image removed");
                ledger.remove(&image);
            }
            Ok(false) => {
                ledger.insert(image, Some(now.0));
            }
            Err(error) => {
                warn!(%image, %error, "unused image not removed");
                ledger.insert(image, Some(now.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_due_so_long_after_its_last_use() {
        let (mut ledger, age) = (Ledger::new(), Duration::from_secs(10));
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        let used = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        note(&mut ledger, &used(&["a", "b"]), at(1));
        assert_eq!(due(&ledger, age), None);
        note(&mut ledger, &used(&["b"]), at(5));
        assert_eq!(due(&ledger, age), Some(at(15)));
        // Not from when it was looked at again.
        note(&mut ledger, &used(&["b"]), at(9));
        assert_eq!(due(&ledger, age), Some(at(15)));
        note(&mut ledger, &used(&["a"]), at(12));
        assert_eq!(due(&ledger, age), Some(at(22)), "a is used again, b is not");
    }
}
