//! Takes over from the parent who is behind this device, so that they are known before they come, and offline too.
//!
//! ```text
//!   connected ─► token ─► the parent offers it? ─► what we know is all ──────────────────┬─► every change
//!                              │                ─► everybody; who was not told of is gone ─┘
//!                              │ no: IoT Hub
//!                              └► identities are registered here by hand
//! ```

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use edge_amqp::client::{LinkFault, Links, ScopeLink};
use edge_core::Identity;
use edge_identity::{Entry, ScopeUpdate, Status, Unread};
use edge_store::Commit;
use tokio::time::sleep;

use crate::{Signer, Upstream, back_off, left_keys};

/// The wait after a link that ended, doubled with each.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

impl Upstream {
    /// Follows the parent's registry for as long as the connection holds.
    pub(crate) async fn follow(&self, signer: &Signer, links: &Links) -> Infallible {
        let mut failures = 0;
        loop {
            let mut complete = false;
            let Err(fault) = self.take_scope(signer, links, &mut complete).await;
            failures = if complete { 1 } else { failures + 1 };
            tracing::info!(why = %fault, "the parent does not tell who is behind this device");
            sleep(back_off(failures, FIRST, LONGEST)).await;
        }
    }

    async fn take_scope(
        &self,
        signer: &Signer,
        links: &Links,
        complete: &mut bool,
    ) -> Result<Infallible, LinkFault> {
        let registry = &self.config.registry;
        let gateway = self.config.hub.device();
        let own = Identity::Device(gateway.clone());
        let (offer, _) = signer.prove(links, &own).await?;
        if !offer.scope {
            return std::future::pending().await;
        }
        let mut link = ScopeLink::attach(links, gateway, &registry.scope_digest()).await?;
        let mut told: HashSet<Identity> = HashSet::new();
        loop {
            let mut update = link.next().await?;
            told.extend(self.heed_unread(&mut update));
            update.entries.retain(|entry| {
                let is_ours = entry.identity.device() == gateway;
                if is_ours {
                    tracing::warn!(client = %entry.identity, "the parent tells of this device itself; passed over");
                }
                !is_ours
            });
            if !*complete {
                told.extend(update.entries.iter().map(|entry| entry.identity.clone()));
            }
            if update.is_complete {
                *complete = true;
                if !update.is_same {
                    let adopted = registry.adopted().into_iter();
                    let gone = adopted.filter(|known| !told.contains(known));
                    update.gone.extend(gone);
                }
                told = HashSet::new();
            }
            // What is not stored is told again on the next link.
            let lost = |error: &dyn std::error::Error| LinkFault::Lost(error.to_string());
            let mut commit = Commit::new();
            left_keys::keep(&mut commit, registry, &update.gone, self.config.hub.now());
            left_keys::give_back(&mut commit, self.config.hub.log().as_ref(), &update.entries);
            let kept = self.config.hub.commit(&mut commit);
            kept.map_err(|error| lost(&error))?;
            let adopted = registry.adopt(update.entries, &update.gone);
            adopted.map_err(|error| lost(&error))?;
        }
    }

    /// Does what can be done about entries of another form: what is known of them is kept, as a parent of a newer kind
    /// has not removed them, and those that say so are disabled. Whom they are of.
    fn heed_unread(&self, update: &mut ScopeUpdate) -> Vec<Identity> {
        let unread = std::mem::take(&mut update.unread).into_iter();
        let heed = |unread: Unread| {
            let (identity, why) = (unread.identity, unread.why);
            tracing::warn!(client = %identity, %why, "what the parent says of an identity cannot be read");
            let known = self.config.registry.get(&identity);
            if let Some(known) = known.filter(|_| unread.is_disabled) {
                let status = Status::Disabled;
                update.entries.push(Entry {
                    status,
                    ..Entry::clone(&known)
                });
            }
            identity
        };
        unread.map(heed).collect()
    }
}
