//! Twins and methods of modules and devices, for operators; desired properties of a deployment, set as a
//! whole.

use std::sync::Arc;
use std::time::Duration;

use edge_core::{Identity, Message, Source, twin};
use edge_hub::{
    Caller, Hub, Invocation, MethodError, MethodResponse, Section, Side, Tap, TwinError,
    TwinListener,
};
use edge_store::{Lsn, QueueId};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::Device;
use crate::api::types::{Twin, TwinSection};

impl Device {
    /// A twin.
    ///
    /// # Errors
    /// What is stored is damaged.
    pub(crate) fn twin(&self, identity: &Identity) -> Result<Twin, TwinError> {
        let section = |side| -> Result<TwinSection, TwinError> {
            Ok(self.hub.twin(identity, side, None)?.into())
        };
        Ok(Twin {
            desired: section(Side::Desired)?,
            reported: section(Side::Reported)?,
        })
    }

    /// Merges a patch into what is wanted of somebody. On the device when this returns.
    ///
    /// # Errors
    /// Nothing changed; or it did, and the store failed before it was on the device.
    pub(crate) async fn set_twin(
        &self,
        identity: &Identity,
        patch: Map<String, Value>,
    ) -> Result<Section, TwinError> {
        let patch = Value::Object(patch).to_string();
        let (section, lsn) = self.hub.change_desired(identity, &patch)?;
        self.durable(lsn).await?;
        Ok(section)
    }

    /// Makes these properties all that is wanted of somebody. On the device when this returns.
    ///
    /// # Errors
    /// As [`set_twin`](Self::set_twin).
    pub(crate) async fn replace_twin(
        &self,
        identity: &Identity,
        wanted: &Map<String, Value>,
    ) -> Result<Section, TwinError> {
        let section = self.hub.twin(identity, Side::Desired, None)?;
        match twin::difference(&section.properties, wanted) {
            Some(patch) => self.set_twin(identity, patch).await,
            None => Ok(section),
        }
    }

    /// A look at a twin as it changes.
    pub(crate) fn watch_twin(&self, identity: &Identity) -> TwinWatch {
        TwinWatch::start(&self.hub, identity.clone())
    }

    /// Calls a method.
    ///
    /// # Errors
    /// No answer, and why.
    pub(crate) async fn invoke(
        &self,
        target: &Identity,
        name: &str,
        payload: &Value,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<MethodResponse, MethodError> {
        let invocation = Invocation {
            caller: Caller::Outside,
            target,
            name,
            payload: &payload.to_string(),
            connect_timeout,
            response_timeout,
        };
        self.hub
            .methods()
            .call(invocation, tokio::time::sleep)
            .await
    }
}

impl From<Section> for TwinSection {
    fn from(section: Section) -> Self {
        Self {
            version: section.version,
            properties: section.properties,
        }
    }
}

/// Tells when a twin has changed; ends when it is dropped.
pub(crate) struct TwinWatch {
    hub: Arc<Hub>,
    identity: Identity,
    bell: Arc<TwinBell>,
    listener: Arc<dyn TwinListener>,
    tap: Arc<dyn Tap>,
}

/// Rung by the hub at changes of either half.
struct TwinBell {
    identity: Identity,
    changed: Notify,
}

impl TwinListener for TwinBell {
    fn desired_changed(&self, _: String, _: u64, _: Option<Lsn>) {
        self.changed.notify_one();
    }
}

/// What is reported passes as a message, where somebody looks.
impl Tap for TwinBell {
    fn passed(&self, message: &Message, _: &[QueueId]) {
        if matches!(message.origin.source(), Source::TwinChange(whose) if *whose == self.identity) {
            self.changed.notify_one();
        }
    }
}

impl TwinWatch {
    fn start(hub: &Arc<Hub>, identity: Identity) -> Self {
        let bell = Arc::new(TwinBell {
            identity: identity.clone(),
            changed: Notify::new(),
        });
        let (listener, tap): (Arc<dyn TwinListener>, Arc<dyn Tap>) = (bell.clone(), bell.clone());
        hub.listen_to_twin(&identity, listener.clone());
        hub.add_tap(tap.clone());
        Self {
            hub: hub.clone(),
            identity,
            bell,
            listener,
            tap,
        }
    }

    /// Resolves when it has changed since this was last called, or since the start. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.bell.changed.notified().await;
    }
}

impl Drop for TwinWatch {
    fn drop(&mut self) {
        self.hub.forget_listener(&self.identity, &self.listener);
        self.hub.remove_tap(&self.tap);
    }
}
