//! What is to be done now and then: queues that nobody reads are looked at, so that what expired in
//! them goes.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::Device;

/// Longest time between two looks. New entries of such a queue ring no bell.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

impl Device {
    /// Runs until it is dropped.
    pub(crate) async fn sweep(self: Arc<Self>) {
        loop {
            let device = self.clone();
            let swept = tokio::task::spawn_blocking(move || {
                let now = device.hub.now();
                device
                    .hub
                    .sweep(now)
                    .map(|again| again.map(|at| at.since(now)))
            });
            let wait = match swept.await {
                Ok(Ok(again)) => again.unwrap_or(LOOK_AGAIN),
                Ok(Err(error)) => {
                    warn!(%error, "queues without a reader were not swept");
                    LOOK_AGAIN
                }
                Err(error) => {
                    warn!(%error, "queues without a reader were not swept");
                    LOOK_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait.clamp(SHORTEST, LOOK_AGAIN)) => {}
                () = self.swept.notified() => {}
            }
        }
    }
}
