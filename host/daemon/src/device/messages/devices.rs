//! Messages to devices ("cloud to device"): they wait in a queue of the device's own until it takes them.

use std::time::Duration;

use edge_core::{DeviceId, EndpointId, Identity, MessageId, Priority, Timestamp, system};
use edge_store::{CommitError, DeadReason, MessageLog, QueueId, Seq, Visible};

use super::SendError;
use crate::api::types::Outcome;
use crate::device::Device;

/// How often a message that is waited for is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Entries of a queue, or dead letters, that are looked through at a time.
const PAGE: usize = 64;

/// A message that was sent to a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnItsWay {
    pub(super) queue: QueueId,
    pub(super) id: MessageId,
    pub(super) expires: Option<Timestamp>,
}

impl Device {
    /// The queue of a device that is registered.
    ///
    /// # Errors
    /// It is no id, or nobody's.
    pub(super) fn queue_of(&self, device: &str) -> Result<(DeviceId, QueueId), SendError> {
        let device =
            DeviceId::new(device).map_err(|error| SendError::Request(error.to_string()))?;
        if self
            .registry
            .get(&Identity::Device(device.clone()))
            .is_none()
        {
            return Err(SendError::Request(format!(
                "there is no device {device}: `edge identity list` shows those that there are, \
                 `edge identity add` makes one"
            )));
        }
        let endpoint = EndpointId::Device(device.clone());
        let queue = self.hub.queue(&endpoint, Priority::DEFAULT);
        Ok((device, queue))
    }

    /// Waits until a device has done with a message, or it has expired, or the time is up.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn outcome(
        &self,
        sent: OnItsWay,
        within: Duration,
    ) -> Result<Outcome, CommitError> {
        let log = self.hub.log().clone();
        let first = {
            let log = log.clone();
            blocking(move || find(&*log, sent)).await?
        };
        // It may be gone before it was found.
        let gone = async {
            let Some(seq) = first else { return Ok(()) };
            loop {
                let log = log.clone();
                if !blocking(move || waits(&*log, sent.queue, seq)).await? {
                    return Ok::<_, CommitError>(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(within, gone).await {
            Err(_) => return Ok(Outcome::Waiting),
            Ok(gone) => gone?,
        }
        let now = self.hub.now();
        let log = log.clone();
        blocking(move || {
            if let Some(reason) = given_up(&*log, sent.id) {
                return match reason {
                    DeadReason::Rejected(_) => Outcome::Rejected,
                    _ => Outcome::GivenUp,
                };
            }
            match sent.expires.is_some_and(|at| at <= now) {
                true => Outcome::Expired,
                false => Outcome::Acknowledged,
            }
        })
        .await
    }
}

/// The address that a device's messages carry, as the seed system writes it.
pub(super) fn address(device: &DeviceId) -> String {
    format!("/devices/{device}/messages/devicebound")
}

/// The name of the property that holds it.
pub(super) const TO: &str = system::TO;

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CommitError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CommitError::Failed(error.to_string()))
}

/// The place of a message in its queue, if it still waits there.
fn find(log: &dyn MessageLog, sent: OnItsWay) -> Option<Seq> {
    let (mut from, mut page) = (Seq(0), Vec::new());
    loop {
        page.clear();
        log.read(sent.queue, from, PAGE, Visible::Committed, &mut page);
        if let Some(found) = page.iter().find(|delivery| delivery.message.id == sent.id) {
            return Some(found.seq);
        }
        from = Seq(page.last()?.seq.0 + 1);
    }
}

fn waits(log: &dyn MessageLog, queue: QueueId, seq: Seq) -> bool {
    let mut next = Vec::new();
    log.read(queue, seq, 1, Visible::Committed, &mut next);
    next.first().is_some_and(|delivery| delivery.seq == seq)
}

/// Why a message became a dead letter, if it did.
fn given_up(log: &dyn MessageLog, id: MessageId) -> Option<DeadReason> {
    let mut from = Seq(0);
    loop {
        let page = log.dead_letters(from, PAGE);
        if let Some((_, letter)) = page.iter().find(|(_, letter)| letter.message.id == id) {
            return Some(letter.reason.clone());
        }
        from = Seq(page.last()?.0.0 + 1);
    }
}
