//! The one place that knows which log the device has.

use std::path::PathBuf;
use std::sync::Arc;

use edge_store::{CommitError, FileLog, FileLogConfig, MessageLog, OpenError, Opening};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::DeviceError;
use crate::data_dir::{DataDirError, private_folder};
use crate::settings::{StoreSettings, WhenFull};

/// The log.
#[derive(Debug)]
pub(crate) struct Store {
    file: Arc<FileLog>,
    log: Arc<dyn MessageLog>,
    failed: watch::Receiver<Option<String>>,
}

impl From<&StoreSettings> for FileLogConfig {
    fn from(settings: &StoreSettings) -> Self {
        Self {
            segment_size: settings.segment_size,
            quota: settings.limit,
            reserve: settings.reserve,
            when_full: match settings.when_full {
                WhenFull::Reject => edge_store::WhenFull::Reject,
                WhenFull::DropOldest => edge_store::WhenFull::DropOldest,
                WhenFull::DropLowestPriority => edge_store::WhenFull::DropLowestPriority,
            },
            ..Self::default()
        }
    }
}

impl Store {
    /// Opens it, and says what was found. Blocks while it recovers.
    pub(crate) fn open(settings: &StoreSettings, path: PathBuf) -> Result<Self, DeviceError> {
        private_folder(&path).map_err(|why| DataDirError::Unusable {
            path: path.clone(),
            why,
        })?;
        let (tell, failed) = watch::channel(None);
        let config = FileLogConfig {
            on_failure: Some(Box::new(move |why| {
                tell.send_replace(Some(why.to_owned()));
            })),
            ..FileLogConfig::from(settings)
        };
        let opened: Result<_, OpenError> = FileLog::open_dir(&path, config);
        let (file, opening) = opened.map_err(|why| DeviceError::Store { path, why })?;
        say(&opening);
        let file = Arc::new(file);
        Ok(Self {
            log: file.clone(),
            file,
            failed,
        })
    }

    /// The log.
    pub(crate) fn log(&self) -> &Arc<dyn MessageLog> {
        &self.log
    }

    /// Brings everything to the device, and takes nothing more. Blocks.
    pub(crate) fn close(&self) -> Result<(), CommitError> {
        self.file.close()
    }

    /// Resolves when it has failed for good. Cancel safe.
    pub(crate) async fn failed(&self) -> CommitError {
        let mut failed = self.failed.clone();
        let why = match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // The log is gone: there is nothing left that could fail.
            Err(_) => return std::future::pending().await,
        };
        CommitError::Failed(why)
    }
}

/// What opening found, in the journal.
fn say(opening: &Opening) {
    match opening.created {
        true => info!("store created"),
        false => info!(
            lsn = opening.lsn.0,
            replayed = opening.replayed,
            "store opened"
        ),
    }
    if let Some(torn) = &opening.torn {
        info!(file = %torn.file, offset = torn.offset, bytes = torn.bytes, "unfinished tail cut off; nothing of it was acknowledged");
    }
    for damage in &opening.damage {
        error!(
            file = %damage.file,
            offset = damage.offset,
            commits = damage.commits,
            entries = damage.entries,
            what = %damage.what,
            "damage in the store: what it held is lost"
        );
    }
    if let Some(aside) = &opening.set_aside {
        warn!(?aside, "state tables were damaged, set aside and rebuilt");
    }
    for module in &opening.lost_state {
        error!(%module, "state of a module was lost with the state tables");
    }
}
