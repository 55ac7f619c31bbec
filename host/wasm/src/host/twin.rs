//! `edge:module/twin`.

use edge_hub::TwinError as HubError;
use edge_hub::{Section, Side};
use wasmtime::{Result, bail};

use super::HostState;
use super::bindings::edge::module::twin::{self, Host, TwinError};

impl HostState {
    fn section(&mut self, side: Side) -> Result<twin::Section> {
        let identity = self.shared.identity.clone();
        let step = self.step()?;
        match step.hub().twin(&identity, side, Some(&step.commit)) {
            Ok(Section {
                version,
                properties,
            }) => Ok(twin::Section {
                json: serde_json::Value::Object(properties).to_string(),
                version,
            }),
            Err(error) => bail!("{error}"),
        }
    }
}

impl Host for HostState {
    fn desired(&mut self) -> Result<twin::Section> {
        self.section(Side::Desired)
    }

    fn reported(&mut self) -> Result<twin::Section> {
        self.section(Side::Reported)
    }

    fn update_reported(&mut self, patch: String) -> Result<Result<u64, TwinError>> {
        let identity = self.shared.identity.clone();
        let step = self.step()?;
        if let Err(why) = step.admit_put(patch.len()) {
            return Ok(Err(TwinError::Invalid(why)));
        }
        let hub = step.hub().clone();
        let updated = hub
            .stage_reported(&mut step.commit, &identity, &patch)
            .and_then(|version| Ok(step.flush_if_immediate().map(|()| version)?));
        Ok(updated.map_err(|error| match error {
            HubError::TooLarge { .. } => TwinError::TooLarge,
            HubError::Invalid(why) => TwinError::Invalid(why),
            HubError::NotStored(error) => TwinError::Invalid(error.to_string()),
        }))
    }
}
