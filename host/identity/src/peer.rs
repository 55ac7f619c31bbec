//! Who is at the other end of a connection, as far as the connection itself can tell.
//!
//! Made by whoever accepts connections, read by the protocol heads: certificates are a credential
//! ([`Credential::Certificates`](crate::Credential::Certificates)), the rest is for logs and rules.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

/// The other end of a connection. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// The certificates of its TLS handshake, its own first; none if it showed none. TLS has proven that it has
    /// the private key, and nothing else.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// Whether what it sends comes through TLS.
    pub encrypted: bool,
    /// Whether it comes through a WebSocket.
    pub websocket: bool,
}

/// Where the other end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// On a network, or on this machine through its network.
    Tcp(SocketAddr),
    /// On this machine, through a socket in its file system.
    Unix,
}

impl Peer {
    /// Somebody without TLS, and so without certificates.
    pub fn plain(address: PeerAddress) -> Self {
        Self {
            address,
            certificates: Arc::new([]),
            encrypted: false,
            websocket: false,
        }
    }

    /// Somebody who came through TLS, with the certificates that it showed.
    pub fn encrypted(address: PeerAddress, certificates: &[CertificateDer<'static>]) -> Self {
        Self {
            address,
            certificates: certificates.into(),
            encrypted: true,
            websocket: false,
        }
    }

    /// The same on the inside of a WebSocket.
    #[must_use]
    pub fn through_websocket(mut self) -> Self {
        self.websocket = true;
        self
    }
}

/// The address: `10.0.0.7:52114`, or `unix`.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Certificates are counted, not shown: they are long.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("address", &self.address)
            .field("certificates", &self.certificates.len())
            .field("encrypted", &self.encrypted)
            .field("websocket", &self.websocket)
            .finish()
    }
}
