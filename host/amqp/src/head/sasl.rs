//! Who a peer says it is before the connection opens.
//!
//! | mechanism | what it proves |
//! |---|---|
//! | `MSSBCBS`, `ANONYMOUS` | nothing: tokens are put to `$cbs` later |
//! | `EXTERNAL` | nothing more than its certificate does, which is looked at when it attaches a link |
//! | `PLAIN` | an identity, by a token or a key: `{device}[/{module}][@sas.{hub}]` |

use std::sync::{Arc, Mutex, PoisonError};

use edge_core::{DeviceId, Identity, ModuleId};
use edge_identity::{Credential, Denied, Permit};
use fe2o3_amqp::acceptor::SaslAcceptor;
use fe2o3_amqp::acceptor::sasl_acceptor::SaslServerFrame;
use fe2o3_amqp_types::primitives::{Array, Symbol};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit, SaslOutcome, SaslResponse};

use super::Shared;

/// Why a peer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SaslFault {
    #[error("mechanism {0:?}, which was not offered")]
    Mechanism(String),
    #[error(
        "PLAIN without authorization id, user and password, or with a user that is none: expected \
         {{device}}[/{{module}}][@sas.{{hub}}]"
    )]
    Plain,
    #[error("{0}: {1}")]
    Denied(Identity, Denied),
}

/// What a peer was found to be.
type Found = Arc<Mutex<Option<Result<Permit, SaslFault>>>>;

/// One negotiation. The library clones it, so what it finds is shared.
#[derive(Debug, Clone)]
pub(super) struct Sasl {
    shared: Arc<Shared>,
    found: Found,
}

impl Sasl {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            found: Found::default(),
        }
    }

    /// What came of it; none: nothing that proves anything.
    pub(super) fn found(&self) -> Option<Result<Permit, SaslFault>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Result<Permit, SaslFault>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plain(&self, response: &[u8]) -> Result<Permit, SaslFault> {
        let mut parts = response.splitn(3, |byte| *byte == 0);
        let (Some(_), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslFault::Plain);
        };
        let user = std::str::from_utf8(user).map_err(|_| SaslFault::Plain)?;
        let identity = identity(user).ok_or(SaslFault::Plain)?;
        let credential = Credential::from_password(password);
        let config = &self.shared.config;
        config
            .registry
            .authenticate(&identity, credential, config.hub.now())
            .map_err(|denied| SaslFault::Denied(identity, denied))
    }
}

/// The identity that a user name means.
fn identity(user: &str) -> Option<Identity> {
    let name = user.split_once("@sas.").map_or(user, |(name, _)| name);
    match name.split_once('/') {
        None => Some(Identity::Device(DeviceId::new(name).ok()?)),
        Some((device, module)) => Some(Identity::Module(
            DeviceId::new(device).ok()?,
            ModuleId::new(module).ok()?,
        )),
    }
}

impl SaslAcceptor for Sasl {
    fn mechanisms(&self) -> Array<Symbol> {
        let all = ["MSSBCBS", "ANONYMOUS", "EXTERNAL", "PLAIN"];
        Array::from(all.map(Symbol::from).to_vec())
    }

    fn on_init(&mut self, init: SaslInit) -> SaslServerFrame {
        let found = match init.mechanism.as_str() {
            "MSSBCBS" | "ANONYMOUS" | "EXTERNAL" => None,
            "PLAIN" => {
                let response = init.initial_response.map(|response| response.into_vec());
                Some(self.plain(&response.unwrap_or_default()))
            }
            other => {
                let name = other.chars().take(40).collect();
                Some(Err(SaslFault::Mechanism(name)))
            }
        };
        let code = match &found {
            None | Some(Ok(_)) => SaslCode::Ok,
            Some(Err(SaslFault::Denied(_, denied))) if denied.is_transient() => SaslCode::SysTemp,
            Some(Err(_)) => SaslCode::Auth,
        };
        *self.lock() = found;
        outcome(code)
    }

    fn on_response(&mut self, _: SaslResponse) -> SaslServerFrame {
        // None of the mechanisms challenges.
        outcome(SaslCode::Auth)
    }
}

fn outcome(code: SaslCode) -> SaslServerFrame {
    SaslServerFrame::Outcome(SaslOutcome {
        code,
        additional_data: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_identities_with_or_without_a_hub() {
        let device = Identity::Device(DeviceId::new("d").expect("id"));
        let module = Identity::Module(
            DeviceId::new("d").expect("id"),
            ModuleId::new("m").expect("id"),
        );
        assert_eq!(identity("d"), Some(device.clone()));
        assert_eq!(identity("d@sas.hub1"), Some(device));
        assert_eq!(identity("d/m@sas.root.hub1"), Some(module));
        assert_eq!(identity("d/m/x"), None);
        assert_eq!(identity(""), None);
    }
}
