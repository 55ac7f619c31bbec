//! Who is behind a gateway, as its parent tells it (`edge_identity::ScopeUpdate`).

use edge_core::DeviceId;
use edge_identity::ScopeUpdate;
use fe2o3_amqp::link::Receiver;
use fe2o3_amqp_types::messaging::Body;
use fe2o3_amqp_types::primitives::Value;

use super::said::said;
use super::{LinkFault, Links};
use crate::{Address, SCOPE_WINDOW, message};

/// The link on which a gateway is told.
#[derive(Debug)]
pub struct ScopeLink(Receiver);

impl ScopeLink {
    /// Attaches it, and says what is known already (`edge_identity::Registry::scope_digest`). The gateway was proven
    /// before, and the parent offered it.
    ///
    /// # Errors
    /// The parent refuses, or is gone.
    pub async fn attach(links: &Links, gateway: &DeviceId, known: &str) -> Result<Self, LinkFault> {
        let address = Address::Scope(gateway.clone());
        let credit = SCOPE_WINDOW.into();
        links
            .receiver(&address, Some(known), credit)
            .await
            .map(Self)
    }

    /// What comes next. Cancel safe. What is lost with a link is told again on the next one.
    ///
    /// # Errors
    /// The link is over, or what came cannot be read.
    pub async fn next(&mut self) -> Result<ScopeUpdate, LinkFault> {
        let lost = |error: String| LinkFault::Lost(format!("scope: {error}"));
        let delivery = self.0.recv::<Body<Value>>().await;
        let delivery = delivery.map_err(|error| lost(said(&error)))?;
        let accepted = self.0.accept(&delivery).await;
        accepted.map_err(|error| lost(said(&error)))?;
        let body = message::body(delivery.into_message().body);
        let body = body.map_err(|fault| lost(fault.to_string()))?;
        ScopeUpdate::parse(&body).map_err(|fault| lost(fault.to_string()))
    }
}
