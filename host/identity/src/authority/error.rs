//! Why certificates are not there.

use std::path::PathBuf;

/// Why there is no authority, or no new server certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file system.
    #[error("{attempted} {}: {source}", .path.display())]
    File {
        /// What was attempted: "open", "write" and so on.
        attempted: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {why}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A given key is that of another certificate.
    #[error("{} is not the key of {}; give the two that belong together", .key.display(), .certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The own root cannot be used. It is not replaced, because all who trust it would be lost.
    #[error(
        "{}: {why}. Restore it from a backup; or, to begin a new trust, move root.pem to old-roots/ and remove root.key, edge-ca.pem and edge-ca.key",
        .path.display()
    )]
    LostRoot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A given chain ends below its root.
    #[error("{}: there is no root above {subject:?}; append it to the file, or name its file among the trusted ones", .path.display())]
    NoRoot {
        /// The file.
        path: PathBuf,
        /// The last certificate in it.
        subject: String,
    },
    /// A name or a key.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// TLS does not take the settings.
    #[error("set up TLS: {0}")]
    Tls(rustls::Error),
    /// The operating system has no randomness to give.
    #[error("make a key: {0}")]
    Random(getrandom::Error),
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The server's certificate is given; there is no CA to issue others with.
    #[error(
        "there is no CA here to issue certificates with: only a server certificate is configured"
    )]
    NoCa,
    /// A name that cannot be in a certificate.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    BadName(String),
    /// Making the key or signing failed.
    #[error("issue a certificate: {0}")]
    Crypto(String),
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}
