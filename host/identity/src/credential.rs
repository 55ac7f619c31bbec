//! What a client shows, what it gets for it, and why not. See [`Registry::authenticate`](crate::Registry::authenticate).

use edge_core::{Identity, Timestamp};
use rustls::pki_types::CertificateDer;

use crate::{CommonName, GenerationId, Secret, Thumbprint, TokenFault};

/// What a client shows to prove who it is.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// A SAS token.
    Token(&'a str),
    /// The base64 text of one of its keys: the password of a plain device that knows nothing of tokens.
    Key(&'a [u8]),
    /// The certificates of its TLS handshake, its own first. TLS has proven that it has the private key, and
    /// nothing else.
    Certificates(&'a [CertificateDer<'static>]),
    /// Nothing.
    None,
}

impl<'a> Credential<'a> {
    /// What a password is: a token if it says so, else a key.
    pub fn from_password(password: &'a [u8]) -> Self {
        match std::str::from_utf8(password) {
            Ok(text) if text.starts_with(crate::token::SCHEME) => Self::Token(text),
            _ => Self::Key(password),
        }
    }
}

/// Names the kind; never what was shown.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(***)",
            Self::Key(_) => "Key(***)",
            Self::Certificates(_) => "Certificates(..)",
            Self::None => "None",
        })
    }
}

/// Says that an identity was proven. Holds by what, so that it can be checked again when the identity changes.
#[derive(Debug, Clone)]
pub struct Permit {
    /// Who it is.
    pub identity: Identity,
    /// When it ends: a token's expiry and how far clocks may differ, or a certificate's end.
    pub expires: Option<Timestamp>,
    pub(crate) generation: GenerationId,
    pub(crate) proof: Proof,
}

/// What proved an identity.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// A key of itself, or of its device.
    Key(Secret),
    Thumbprint(Thumbprint),
    Chain,
}

/// Why somebody may not connect. `Display` is for logs: it says what was expected, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such identity.
    #[error("no such identity is registered; `edge identity add` makes one")]
    Unknown,
    /// It, or its device, is disabled.
    #[error("the identity or its device is disabled")]
    Disabled,
    /// It showed nothing.
    #[error("no credential: expected a SAS token or key as password, or a TLS client certificate")]
    NoCredential,
    /// The token is no good.
    #[error("bad token: {0}")]
    BadToken(TokenFault),
    /// The token is for somebody else.
    #[error("the token is for {found:?}; expected one for {expected:?} at any host")]
    WrongAudience {
        /// The path expected: `devices/{device}[/modules/{module}]`.
        expected: String,
        /// What `sr` says, cut after 200 characters.
        found: String,
    },
    /// The token has expired.
    #[error("the token expired at {at}")]
    Expired {
        /// When, by its own words.
        at: Timestamp,
    },
    /// What it showed is none of its keys.
    #[error("the password is none of the identity's keys")]
    BadKey,
    /// The certificate is no good.
    #[error("bad certificate: {0}")]
    BadCertificate(CertificateFault),
    /// It proved itself once, with what has been replaced or with what an earlier identity of the name had.
    #[error("the identity was made anew, or its key or certificate was replaced")]
    Replaced,
    /// It cannot be judged yet. Passing: MQTT 3.1.1 says 3, never 4 or 5.
    #[error("the CAs of client certificates are not loaded yet")]
    NotReady,
}

/// What is wrong with a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The identity proves itself by a key.
    #[error("the identity is known by keys, not by a certificate")]
    NotExpected,
    /// Its DER cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// None of the identity's thumbprints.
    #[error("its thumbprint {found} (SHA-1 {sha1}) is none of the identity's")]
    Thumbprint {
        /// Its SHA-256.
        found: Thumbprint,
        /// Its SHA-1.
        sha1: Thumbprint,
    },
    /// Before its validity begins, or after it ended.
    #[error("it is valid from {from} to {to} only")]
    NotValidNow {
        /// When its validity begins.
        from: Timestamp,
        /// When it ends.
        to: Timestamp,
    },
    /// It does not lead to a trusted CA; the verifier's words.
    #[error("it leads to no trusted CA: {0}")]
    Chain(String),
    /// Its common name is not the identity.
    #[error("its common name is {found:?}; expected {expected:?}")]
    CommonName {
        /// The identity.
        expected: String,
        /// What it says, cut after 200 characters.
        found: String,
    },
    /// It has no common name, or several.
    #[error("it has not exactly one common name")]
    NoCommonName,
}

impl Denied {
    /// Whether the same credential may do later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotReady)
    }

    /// Stable name, as counters have it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::NoCredential => "no-credential",
            Self::BadToken(_) => "bad-token",
            Self::WrongAudience { .. } => "wrong-audience",
            Self::Expired { .. } => "expired",
            Self::BadKey => "bad-key",
            Self::BadCertificate(_) => "bad-certificate",
            Self::Replaced => "replaced",
            Self::NotReady => "not-ready",
        }
    }
}

impl From<TokenFault> for Denied {
    fn from(fault: TokenFault) -> Self {
        Self::BadToken(fault)
    }
}

impl From<CertificateFault> for Denied {
    fn from(fault: CertificateFault) -> Self {
        Self::BadCertificate(fault)
    }
}

/// Judges client certificates that are to lead to a trusted CA. Called at each connect with one; must not wait.
pub trait ChainVerifier: Send + Sync + std::fmt::Debug {
    /// The common name of a chain's first certificate, and the time until which it is valid.
    ///
    /// # Errors
    /// The chain leads to no trusted CA, is not valid now, or has no common name.
    fn verify_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<CommonName, Denied>;
}
