//! Why a registry's artifact is not here, or not there. Each failed check is a variant of its own that says
//! what was expected and what was found.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use edge_core::{ByteSize, Digest, format_duration};

use edge_core::Reference;

/// A part of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The document that names all others.
    Manifest,
    /// What the artifact says of itself.
    Config,
    /// The component.
    Component,
    /// What is attached to an artifact, as a signature.
    Attachment,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Component => "component",
            Self::Attachment => "attachment",
        })
    }
}

/// A registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is the parent's.
    #[error("{0} comes by way of a parent ($upstream), and this device has none")]
    Upstream(Reference),
    /// No request can be made: certificates of this machine or of the settings.
    #[error("cannot prepare requests to registry {registry}: {why}")]
    Client {
        /// The registry.
        registry: String,
        /// Why.
        why: String,
    },
    /// There is no connection, or it broke.
    #[error("registry {registry} cannot be reached: {why}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        why: String,
    },
    /// It is silent.
    #[error("registry {registry} stalled: no byte of {what} for {}", format_duration(*after))]
    Stalled {
        /// The registry.
        registry: String,
        /// What was wanted of it.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// It knows somebody else, or nobody.
    #[error(
        "registry {registry} refuses {}: {}",
        who(user),
        advice(user, registry)
    )]
    Unauthorized {
        /// The registry.
        registry: String,
        /// As whom it was asked; `None`: nobody.
        user: Option<String>,
    },
    /// It does not let this user.
    #[error("registry {registry} does not let {} have {what}: {why}", who(user))]
    Denied {
        /// The registry.
        registry: String,
        /// As whom it was asked; `None`: nobody.
        user: Option<String>,
        /// What was wanted of it.
        what: String,
        /// What it says.
        why: String,
    },
    /// It has no such thing.
    #[error("registry {registry} has no {what}: {why}")]
    NotFound {
        /// The registry.
        registry: String,
        /// What was wanted of it.
        what: String,
        /// What it says.
        why: String,
    },
    /// It answers something else.
    #[error("registry {registry} answers {status} to the request for {what}: {why}")]
    Status {
        /// The registry.
        registry: String,
        /// What was wanted of it.
        what: String,
        /// The status code of HTTP.
        status: u16,
        /// What it says.
        why: String,
    },
    /// It sends more than may be.
    #[error("registry {registry} sends more than {limit} as {what}, the most that one may have")]
    TooLarge {
        /// The registry.
        registry: String,
        /// What was wanted of it.
        what: String,
        /// The most.
        limit: ByteSize,
    },
    /// Its demand for credentials cannot be met.
    #[error("registry {registry} asks for credentials in a way that is not followed: {why}")]
    Challenge {
        /// The registry.
        registry: String,
        /// Why.
        why: String,
    },
}

fn who(user: &Option<String>) -> String {
    match user {
        Some(user) => format!("user {user:?}"),
        None => "a request without credentials".to_owned(),
    }
}

fn advice(user: &Option<String>, registry: &str) -> String {
    match user {
        Some(_) => "the user name or the password is wrong".to_owned(),
        None => format!(
            "give it credentials, in registryCredentials of the manifest with the address {registry:?}, \
             or in [[registries]] of the settings"
        ),
    }
}

impl RegistryError {
    /// Whether the deployment has to change. Wrong credentials may be the registry's fault, which passes:
    /// they are tried again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Upstream(_) | Self::TooLarge { .. })
    }
}

/// Why an artifact was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry has nothing of the pinned digest.
    #[error(
        "nothing with digest {expected} is at {reference}: {why}; correct the digest, or push the component"
    )]
    NoSuchDigest {
        /// The name.
        reference: String,
        /// The pin.
        expected: Digest,
        /// What the registry says.
        why: String,
    },
    /// The manifest is not the pinned one.
    #[error(
        "{reference} is not what the deployment pins: expected a manifest with digest {expected}, found {found}; \
         it was changed, or the pin is for another build"
    )]
    Pin {
        /// The name.
        reference: String,
        /// The pin.
        expected: Digest,
        /// The hash of what came.
        found: Digest,
    },
    /// A document cannot be read.
    #[error("the {part} of {reference} cannot be read: {why}")]
    Unreadable {
        /// The name.
        reference: String,
        /// The document.
        part: Part,
        /// Why.
        why: String,
    },
    /// A part is of another type.
    #[error(
        "{reference} is no component: the media type of its {part} is {found:?}, expected {expected}"
    )]
    MediaType {
        /// The name.
        reference: String,
        /// The part.
        part: Part,
        /// What may be.
        expected: String,
        /// What is.
        found: String,
    },
    /// It has another number of layers than one.
    #[error("{reference} has {found} layers, expected one: the component")]
    Layers {
        /// The name.
        reference: String,
        /// How many.
        found: usize,
    },
    /// The manifest names a part by a digest that cannot be checked.
    #[error(
        "the manifest of {reference} names the {part} by {found:?}, expected sha256: and 64 hexadecimal digits"
    )]
    DigestText {
        /// The name.
        reference: String,
        /// The part.
        part: Part,
        /// What is there.
        found: String,
    },
    /// A part is larger than may be.
    #[error("the {part} of {reference} has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The name.
        reference: String,
        /// The part.
        part: Part,
        /// The most.
        limit: ByteSize,
        /// In bytes, as the manifest says.
        found: u64,
    },
    /// A part is of another size than the manifest says.
    #[error(
        "the {part} of {reference} is not what its manifest names: expected {expected} bytes, found {found}"
    )]
    Size {
        /// The name.
        reference: String,
        /// The part.
        part: Part,
        /// In bytes, as the manifest says.
        expected: u64,
        /// In bytes; what comes too much is not counted to its end.
        found: u64,
    },
    /// A part is another one than the manifest says.
    #[error(
        "the {part} of {reference} is not what its manifest names: expected digest {expected}, found {found}"
    )]
    Digest {
        /// The name.
        reference: String,
        /// The part.
        part: Part,
        /// As the manifest says.
        expected: Digest,
        /// The hash of what came.
        found: Digest,
    },
    /// It is for another machine.
    #[error("{reference} is built for architecture {found:?}, expected \"wasm\"")]
    Architecture {
        /// The name.
        reference: String,
        /// As the config says.
        found: String,
    },
    /// It is no component but a plain module, or something unknown.
    #[error("{reference} is built for {found:?}, expected a component (\"wasip2\")")]
    Os {
        /// The name.
        reference: String,
        /// As the config says.
        found: String,
    },
    /// Config and manifest name different components.
    #[error(
        "the config of {reference} is of another component: expected layers {expected}, found {found}"
    )]
    LayerDigests {
        /// The name.
        reference: String,
        /// As the manifest says.
        expected: String,
        /// As the config says.
        found: String,
    },
    /// The caller does not take what is claimed.
    #[error("{reference} {why}")]
    NotAdmitted {
        /// The name.
        reference: String,
        /// Why.
        why: String,
    },
    /// It could not be stored.
    #[error("cannot store the component in {path}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

impl PullError {
    /// Whether the deployment, or what is in the registry, has to change. Otherwise it may pass.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_refusal(),
            Self::File { .. } => false,
            _ => true,
        }
    }
}

/// Why an artifact was not stored in a registry.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry cannot be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What something is to be attached to cannot be had.
    #[error(transparent)]
    Subject(#[from] PullError),
    /// A digest cannot be chosen.
    #[error("{0} names a digest, which follows from what is pushed: name a tag")]
    Pinned(String),
    /// The registry does not take it.
    #[error("registry {registry} does not take the {part}: {why}")]
    Refused {
        /// The registry.
        registry: String,
        /// What of it.
        part: Part,
        /// What it says.
        why: String,
    },
}
