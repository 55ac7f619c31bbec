//! What commands share that look at a device from its files, whether its daemon runs or not.

use std::path::PathBuf;

use edge_daemon::check::Place;
use edge_daemon::settings::Settings;

/// Where the device is.
#[derive(clap::Args, Debug)]
pub(crate) struct PlaceArgs {
    /// Settings of the daemon [default: as `edge daemon` finds them]
    #[arg(long, value_name = "FILE", help_heading = "Daemon")]
    config: Option<PathBuf>,
    /// The data directory of the daemon [default: as set, else $EDGE_DATA_DIR, else the system's, else the
    /// user's]
    #[arg(long, value_name = "DIR", help_heading = "Daemon")]
    data: Option<PathBuf>,
    /// The management socket of the daemon.
    #[arg(long, value_name = "PATH", help_heading = "Daemon")]
    socket: Option<PathBuf>,
}

impl PlaceArgs {
    /// Where its files are. Settings that cannot be read say nothing of that.
    ///
    /// # Errors
    /// Nothing says where.
    pub(crate) fn find(&self) -> anyhow::Result<Place> {
        let config = self.config.clone().or_else(edge_daemon::config_file);
        let settings = Settings::load(config.as_deref()).unwrap_or_default();
        let data = settings.data_dir(self.data.as_deref())?;
        let socket = match (&self.socket, &settings.management.socket, &self.data) {
            (Some(socket), _, _) | (None, Some(socket), _) => socket.clone(),
            // As other commands do, which know nothing of settings.
            (None, None, None) if settings.data.is_none() => edge_daemon::find_socket(None)?,
            (None, None, _) => settings.socket(&data),
        };
        Ok(Place {
            config,
            data,
            socket,
        })
    }
}
