//! What commands share that talk to a running daemon.

use std::path::PathBuf;

use edge_daemon::{Client, ClientError};

use crate::exit::{Code, Exit, say};

/// Which daemon.
#[derive(clap::Args, Debug)]
pub(crate) struct Target {
    /// The management socket of the daemon.
    #[arg(long, value_name = "PATH", help_heading = "Daemon")]
    socket: Option<PathBuf>,
    /// The data directory of the daemon [default: $EDGE_DATA_DIR, else the system's, else the user's]
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "socket",
        help_heading = "Daemon"
    )]
    data: Option<PathBuf>,
}

impl Target {
    /// Does work that talks to the daemon.
    pub(crate) fn run<T>(
        &self,
        work: impl AsyncFnOnce(Client) -> Result<T, Exit>,
    ) -> Result<T, Exit> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => edge_daemon::find_socket(self.data.as_deref()).map_err(Exit::usage)?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Exit::usage)?;
        runtime.block_on(work(Client::new(socket)))
    }
}

/// Only a call that reached the daemon can have done anything.
impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::NotRunning { .. } | ClientError::NotAllowed { .. } => {
                Self::with(Code::NotRunning, error)
            }
            ClientError::Refused(body) => {
                for mistake in &body.mistakes {
                    say(mistake);
                }
                match body.code.as_str() {
                    "bad-request" | "bad-manifest" | "not-found" | "already-there"
                    | "own-identity" | "too-large" | "no-such-call" => Self::usage(error),
                    _ => Self::incomplete(error),
                }
            }
            _ => Self::incomplete(error),
        }
    }
}
