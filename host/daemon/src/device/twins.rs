//! Twins and methods of modules, for operators; desired properties of a deployment, set as a whole.

use std::sync::Arc;
use std::time::Duration;

use edge_core::ModuleId;
use edge_hub::{MethodError, MethodResponse, Section, Side, TwinError};
use serde_json::{Map, Value};
use tokio::task::JoinError;

use super::Device;

impl Device {
    /// One half of a module's twin.
    ///
    /// # Errors
    /// What is stored is damaged.
    pub(crate) fn twin(&self, module: &ModuleId, side: Side) -> Result<Section, TwinError> {
        self.hub.twin(&self.identity(module), side, None)
    }

    /// Merges a patch into what is wanted of a module. On the device when this returns.
    ///
    /// # Errors
    /// Nothing changed; or it did, and the store failed before it was on the device.
    pub(crate) async fn set_twin(
        &self,
        module: &ModuleId,
        patch: Map<String, Value>,
    ) -> Result<Section, TwinError> {
        let patch = Value::Object(patch).to_string();
        let (section, lsn) = self.hub.change_desired(&self.identity(module), &patch)?;
        self.durable(lsn).await?;
        Ok(section)
    }

    /// Calls a method of a module.
    ///
    /// # Errors
    /// No answer, and why.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        module: &ModuleId,
        name: String,
        payload: Value,
        timeout: Duration,
    ) -> Result<Result<MethodResponse, MethodError>, JoinError> {
        let (device, target) = (self.clone(), self.identity(module));
        let call = tokio::task::spawn_blocking(move || {
            let methods = device.hub.methods();
            methods.invoke(None, &target, &name, &payload.to_string(), timeout)
        });
        call.await
    }
}

/// The patch that makes one section out of another; `None`: they are the same.
pub(crate) fn patch(
    from: &Map<String, Value>,
    to: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for (name, wanted) in to {
        match (from.get(name), wanted) {
            (Some(there), wanted) if there == wanted => {}
            (Some(Value::Object(there)), Value::Object(wanted)) => {
                if let Some(inner) = self::patch(there, wanted) {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (_, wanted) => {
                patch.insert(name.clone(), wanted.clone());
            }
        }
    }
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use edge_core::twin;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_leads_from_one_section_to_the_other() {
        let sections = [
            json!({}),
            json!({"a": 1, "b": {"c": 2, "d": [1]}}),
            json!({"a": 1, "b": {"c": 3}}),
            json!({"a": {"x": 1}, "b": 5}),
            json!({"b": {}}),
        ];
        let object = |value: &Value| value.as_object().cloned().expect("an object");
        for (from, to) in sections
            .iter()
            .flat_map(|a| sections.iter().map(move |b| (a, b)))
        {
            let (mut at, to) = (object(from), object(to));
            match patch(&at, &to) {
                None => assert_eq!(at, to),
                Some(patch) => twin::merge(&mut at, patch),
            }
            assert_eq!(at, to, "from {from}");
        }
    }
}
