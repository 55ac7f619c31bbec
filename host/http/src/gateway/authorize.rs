//! Who sends a request.

use edge_core::Identity;
use edge_identity::{Credential, Denied, Peer, Permit};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tracing::warn;

use super::Shared;
use crate::refusal::Refusal;

impl Shared {
    /// Checks that a request comes from `identity`: by the token in its head if there is one, else by the
    /// certificates of its connection.
    ///
    /// # Errors
    /// 401, or 503 if it cannot be checked yet. The reason is logged.
    pub(super) fn authenticate(
        &self,
        identity: &Identity,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Permit, Refusal> {
        let credential = match headers.get(AUTHORIZATION) {
            // What is no text is no token either: an empty one says so.
            Some(token) => Credential::Token(token.to_str().unwrap_or_default()),
            None if peer.certificates.is_empty() => Credential::None,
            None => Credential::Certificates(&peer.certificates),
        };
        let now = self.config.hub.now();
        let permit = self.config.registry.authenticate(identity, credential, now);
        permit.map_err(|denied| self.deny(identity, peer, denied))
    }

    fn deny(&self, identity: &Identity, peer: &Peer, denied: Denied) -> Refusal {
        if let Some(left_out) = self.denials.pass() {
            let reason = denied.code();
            warn!(%identity, peer = %peer.address, reason, error = %denied, left_out, "request denied");
        }
        denied.into()
    }
}
