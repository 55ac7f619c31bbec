//! Messages that an operator sends by hand.

use std::sync::Arc;

use edge_core::{EndpointId, Identity, ModuleId, Priority};
use edge_hub::SendRefusal;
use edge_store::{Commit, CommitError};

use super::Device;
use crate::api::types::{SendRequest, Sent};

/// The device itself as a source.
const DEVICE: &str = "$device";

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
        let content = request
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
        let (content, now) = (Arc::new(content), self.hub.now());
        let mut commit = Commit::new();
        match (&request.to, &request.from) {
            (Some(to), None) => {
                let endpoint = self.endpoint(to)?;
                let queue = self.hub.queue(&endpoint, Priority::DEFAULT);
                let mut sender = self.hub.sender(Identity::Device(self.name().clone()));
                sender.stage_for(&mut commit, queue, content, None, now)?;
            }
            (None, Some(from)) => {
                let (identity, output) = self.source(from)?;
                let mut sender = self.hub.sender(identity);
                sender.stage(&mut commit, output, content, 0, now)?;
            }
            _ => {
                return Err(SendError::Request(
                    "expected either to (an endpoint) or from (a source)".to_owned(),
                ));
            }
        }
        let id = commit.messages().next().map(|(_, message)| message.id);
        let sent = Sent {
            id: id.unwrap_or_default().to_string(),
            queues: commit.targets().len(),
        };
        let lsn = self.commit(&mut commit)?;
        self.durable(lsn).await?;
        Ok(sent)
    }

    /// `$upstream` or `module/input`, of a module that is deployed.
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
        if self.agent.status().borrow().module(&module).is_none() {
            return Err(SendError::Request(format!(
                "there is no module {module} in the deployment: `edge list` shows those that there are"
            )));
        }
        Ok(EndpointId::module_input(module, input))
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
