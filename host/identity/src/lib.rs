//! Who may connect: identities, keys, tokens, certificates, and what modules ask of them.
//!
//! Called by the protocol heads (authenticate at CONNECT, check again when an identity changes), by the
//! workload API and by the daemon (settings, commands). No sockets and no clock of its own: time comes in
//! as an argument, but for TLS handshakes, which ask the clock of [`AuthorityConfig`].
//!
//! ```text
//!   Table::Identities ──► Registry ── authenticate(identity, credential, now) ──► Permit │ Denied
//!                            │  └──── changed ──► Watcher: heads check their connections again
//!                            ├─ ScopeTeller ─► gateway below ─► its Registry::adopt
//!                            │
//!   root ─► edge CA ─► server certificate          Authority: own CA, or files that were given
//!                 └──► modules' certificates          │
//!                            │                        │
//!                            └────── Workload ────────┘   sign, encrypt, certificates, trust bundle
//! ```
//!
//! Promises
//! - A change of an identity is in the log before anybody acts on it; its `Lsn` says when it is on the device.
//! - Secrets and keys are compared in constant time, wiped when dropped, and never in `Debug` or errors.
//! - Known identities are judged without asking anybody: a device that is offline for ever goes on.
//! - No clock makes the server's certificate invalid for longer than one handshake, if the CA is our own.

mod authority;
mod credential;
mod entry;
mod environment;
mod peer;
mod registry;
mod scope;
mod secret;
mod thumbprint;
mod token;
mod workload;

pub use authority::{
    Authority, AuthorityConfig, AuthorityError, CertificateDetails, CommonName, Issue, IssueError,
    Issued, Kind, MAX_LIFETIME, Renewal, Source, certificate_details, certificates_of,
};
pub use credential::{CertificateFault, ChainVerifier, Credential, Denied, Permit};
pub use entry::{Auth, Entry, GenerationId, Status, SymmetricKeys, Thumbprints};
pub use environment::{
    BadConnectionString, ConnectionString, ModuleEnvironment, WORKLOAD_API_VERSION,
    connection_string, debug_environment, module_environment,
};
pub use peer::{Peer, PeerAddress};
pub use registry::{DamagedEntry, NewAuth, Registry, RegistryError, Watcher, Which};
pub use scope::{BadScope, ScopeTeller, ScopeUpdate, Unread};
pub use secret::{InvalidKey, Secret};
pub use thumbprint::{InvalidThumbprint, Thumbprint};
pub use token::{CLOCK_SKEW, Token, TokenFault};
pub use workload::{CertificateRequest, Workload, WorkloadError, WorkloadErrorKind};
