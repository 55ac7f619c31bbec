//! What the service manager is told, if there is one.

use sd_notify::NotifyState;
use tracing::warn;

/// Commands are taken.
pub(super) fn ready() {
    say(NotifyState::Ready);
}

/// The end has begun.
pub(super) fn stopping() {
    say(NotifyState::Stopping);
}

/// Says at half of the time asked for that the daemon's threads still get their turn. Runs until it is
/// dropped.
pub(super) async fn watchdog() -> &'static str {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(within / 2).await;
        if tokio::task::spawn_blocking(|| ()).await.is_ok() {
            say(NotifyState::Watchdog);
        }
    }
}

/// Without a service manager this does nothing.
fn say(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "the service manager was not told");
    }
}
