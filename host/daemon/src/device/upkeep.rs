//! What is to be done now and then: queues that nobody reads are looked at, so that what expired in
//! them goes.

use std::sync::Arc;
use std::time::Duration;

use edge_hub::Wake;
use tokio::sync::Notify;
use tracing::warn;

use super::Device;

/// Longest time between two looks while something waits: a clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

/// Rung by the hub when a look is due sooner than it was.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl Device {
    /// Runs until it is dropped. Sleeps without a timer while nothing waits that has an end.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let bell = Arc::new(Bell(Notify::new()));
        self.hub.when_unread(bell.clone());
        loop {
            let device = self.clone();
            let swept = tokio::task::spawn_blocking(move || device.hub.sweep(device.hub.now()));
            match swept.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => warn!(%error, "queues without a reader were not swept"),
                Err(error) => {
                    warn!(%error, "queues without a reader were not swept");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
            // Rung as often as it may be: not more often than this.
            tokio::time::sleep(SHORTEST).await;
            loop {
                let due = async {
                    match self.hub.next_sweep() {
                        Some(at) => {
                            let wait = at.since(self.hub.now());
                            tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = due => break,
                    () = self.swept.notified() => break,
                    // What it is due at has changed.
                    () = bell.0.notified() => {}
                }
            }
        }
    }
}
