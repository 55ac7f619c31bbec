//! An entry of the registry, and how it is written in the log.
//!
//! ```text
//!   key     device            a device
//!           device NUL module a module; ids have no NUL
//!   value   {"format":1,"generation":"637…","created":<ns>,"changed":<ns>,"version":1,
//!            "status":"enabled","parent":"…","from_parent":true,"kept_out":true,
//!            "auth":{"sas":{"primary":"<base64>","secondary":"<base64>"}}
//!                 | {"thumbprints":{"primary":"<hex>","secondary":"<hex>"}} | "authority"}
//! ```

use std::fmt;

use edge_core::{DeviceId, Identity, Timestamp};

use crate::{Secret, Thumbprint};

mod codec;

pub(crate) use codec::{decode, decode_key, encode, encode_key};

/// An identity and what is known of it. Never changed in place: a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who it is.
    pub identity: Identity,
    /// How it proves that.
    pub auth: Auth,
    /// Whether it may connect.
    pub status: Status,
    /// Which of the identities of this name, one after another, it is.
    pub generation: GenerationId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
    /// Counts its changes, from 1.
    pub version: u64,
    /// The gateway that a device is a child of; modules have none.
    pub parent: Option<DeviceId>,
    /// It was taken over from the parent's registry, and is changed there.
    pub from_parent: bool,
    /// It may not connect here, whatever the parent says of it. Without `from_parent`: the parent has it no more.
    pub kept_out: bool,
}

impl Entry {
    /// Whether it may connect here, as far as it and not its device is concerned.
    pub fn effective_status(&self) -> Status {
        match self.kept_out {
            true => Status::Disabled,
            false => self.status,
        }
    }

    /// Whether it is enabled, and not kept out here.
    pub fn is_enabled(&self) -> bool {
        self.effective_status() == Status::Enabled
    }
}

/// How an identity proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// By tokens signed with one of two keys, or by showing a key.
    Keys(SymmetricKeys),
    /// By a client certificate that is known itself; who issued it does not matter.
    Thumbprints(Thumbprints),
    /// By a client certificate that leads to a trusted CA, with the identity as its common name
    /// (`device` or `device/module`).
    Authority,
}

/// Two keys, so that one can be replaced while the other is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymmetricKeys {
    /// Tried first.
    pub primary: Secret,
    /// Tried second.
    pub secondary: Secret,
}

/// Two thumbprints, so that one can be replaced while the other is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thumbprints {
    /// Tried first.
    pub primary: Thumbprint,
    /// Tried second.
    pub secondary: Option<Thumbprint>,
}

/// Whether an identity may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It may.
    Enabled,
    /// It may not; nor may the modules of a disabled device.
    Disabled,
}

impl Status {
    /// `enabled` or `disabled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells identities of one name apart that were made one after another. Written in 18 digits as the seed
/// system does: 100 ns since the year 1, when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub(crate) u64);

impl GenerationId {
    /// 100 ns from the year 1 to 1970.
    const UNIX_EPOCH: u64 = 621_355_968_000_000_000;

    /// For an identity made now: after all that were made before, whatever the clock says.
    pub(crate) fn new(now: Timestamp, last: u64) -> Self {
        Self((Self::UNIX_EPOCH + now.0 / 100).max(last.saturating_add(1)))
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Digits only.
impl std::str::FromStr for GenerationId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Auth {
    /// Stable name of the kind, as lists show it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Keys(_) => "sas",
            Self::Thumbprints(_) => "x509-thumbprint",
            Self::Authority => "x509-ca",
        }
    }

    /// The keys, if it has any.
    pub fn keys(&self) -> Option<&SymmetricKeys> {
        match self {
            Self::Keys(keys) => Some(keys),
            _ => None,
        }
    }
}

impl SymmetricKeys {
    /// Two fresh ones.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self {
            primary: Secret::generate()?,
            secondary: Secret::generate()?,
        })
    }

    /// Primary, then secondary.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        [&self.primary, &self.secondary].into_iter()
    }
}

impl Thumbprints {
    /// Primary, then secondary.
    pub fn iter(&self) -> impl Iterator<Item = &Thumbprint> {
        std::iter::once(&self.primary).chain(&self.secondary)
    }
}
