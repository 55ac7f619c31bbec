//! Messages that an operator sends by hand.

mod devices;

use std::sync::Arc;
use std::time::Duration;

use edge_core::{EndpointId, Identity, ModuleId, Priority};
use edge_hub::SendRefusal;
use edge_store::{Commit, CommitError};

use super::Device;
use super::identities::is_system;
use crate::api::types::{SendRequest, Sent};
use devices::OnItsWay;

/// The device itself as a source.
const DEVICE: &str = "$device";
/// The longest that a device's acknowledgement is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The request is wrong.
    #[error("{0}")]
    Request(String),
    /// The message itself is refused.
    #[error(transparent)]
    Refused(#[from] SendRefusal),
    /// The store is full, or failed.
    #[error(transparent)]
    Store(#[from] CommitError),
}

impl Device {
    /// Takes a message in. It is on the device when this returns.
    ///
    /// # Errors
    /// It was not taken; or it was, and the store failed before it was on the device.
    pub(crate) async fn send(&self, request: &SendRequest) -> Result<Sent, SendError> {
        let mut content = request
            .content()
            .map_err(|error| SendError::Request(format!("base64: {error}")))?;
        let pressure = self.hub.pressure();
        if pressure.is_high() {
            return Err(CommitError::Full {
                used: pressure.used,
                limit: pressure.limit,
            }
            .into());
        }
        let now = self.hub.now();
        let mut commit = Commit::new();
        let mut waited = None;
        match (&request.to, &request.from, &request.device) {
            (None, None, Some(device)) => {
                let (device, queue) = self.queue_of(device)?;
                if content.system.get(devices::TO).is_none() {
                    content.system.set(devices::TO, devices::address(&device));
                }
                let mut sender = self.hub.sender(Identity::Device(self.name().clone()));
                sender.stage_for(&mut commit, queue, Arc::new(content), None, now)?;
                waited = request.wait_seconds.map(|seconds| (queue, seconds));
            }
            (Some(to), None, None) => {
                let endpoint = self.endpoint(to)?;
                let queue = self.hub.queue(&endpoint, Priority::DEFAULT);
                let mut sender = self.hub.sender(Identity::Device(self.name().clone()));
                sender.stage_for(&mut commit, queue, Arc::new(content), None, now)?;
            }
            (None, Some(from), None) => {
                let (identity, output) = self.source(from)?;
                let mut sender = self.hub.sender(identity);
                sender.stage(&mut commit, output, Arc::new(content), 0, now)?;
            }
            _ => {
                return Err(SendError::Request(
                    "expected one of to (an endpoint), from (a source) and device".to_owned(),
                ));
            }
        }
        let id = commit.messages().next().map(|(_, message)| message.id);
        let id = id.unwrap_or_default();
        let expires = commit.targets().first().and_then(|target| target.expiry);
        let mut sent = Sent {
            id: id.to_string(),
            queues: commit.targets().len(),
            outcome: None,
        };
        let lsn = self.commit(&mut commit)?;
        self.durable(lsn).await?;
        if let Some((queue, seconds)) = waited {
            let within = Duration::from_secs(seconds).min(LONGEST_WAIT);
            let on_its_way = OnItsWay { queue, id, expires };
            sent.outcome = Some(self.outcome(on_its_way, within).await?);
        }
        Ok(sent)
    }

    /// `$upstream` or `module/input`.
    fn endpoint(&self, text: &str) -> Result<EndpointId, SendError> {
        if text == "$upstream" {
            return Ok(EndpointId::Upstream);
        }
        let (module, input) = text
            .split_once('/')
            .filter(|(_, input)| is_name(input))
            .ok_or_else(|| {
                SendError::Request(format!(
                    "{text:?} is no endpoint: expected MODULE/INPUT or $upstream"
                ))
            })?;
        let module =
            ModuleId::new(module).map_err(|error| SendError::Request(error.to_string()))?;
        if !self.takes_inputs(&module) {
            return Err(SendError::Request(format!(
                "there is no module {module}: `edge list` shows those of the deployment, `edge identity list` \
                 those that connect by themselves"
            )));
        }
        Ok(EndpointId::module_input(module, input))
    }

    /// Whether a module is deployed, or an identity made by hand with which one connects by itself.
    fn takes_inputs(&self, module: &ModuleId) -> bool {
        let deployed = self.agent.status().borrow().module(module).is_some();
        let registered = || self.registry.get(&self.identity(module)).is_some();
        deployed || !is_system(module) && registered()
    }

    /// `$device`, `module` or `module/output`.
    fn source<'t>(&self, text: &'t str) -> Result<(Identity, Option<&'t str>), SendError> {
        if text == DEVICE {
            return Ok((Identity::Device(self.name().clone()), None));
        }
        let (module, output) = text
            .split_once('/')
            .map_or((text, None), |(module, output)| (module, Some(output)));
        let module =
            ModuleId::new(module).map_err(|error| SendError::Request(error.to_string()))?;
        Ok((self.identity(&module), output))
    }
}

/// Whether it can name an input, as outputs are named.
fn is_name(text: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '/' | '#' | '+');
    !text.is_empty() && text.len() <= 128 && !text.contains(bad)
}
