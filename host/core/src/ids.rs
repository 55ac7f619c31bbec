//! Names of things that have an identity.

use std::fmt;
use std::sync::Arc;

/// A name that cannot be one; says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?}: {why}")]
pub struct InvalidId {
    /// What was to be named: "module id" and so on.
    pub what: &'static str,
    /// The name as given.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Longest id in bytes, as IoT Hub has it.
const MAX_ID: usize = 128;

fn check(what: &'static str, name: &str) -> Result<(), InvalidId> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_ID {
        "is longer than 128 bytes"
    } else if name
        .bytes()
        .any(|b| !(b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@$'".contains(&b)))
    {
        "may hold letters, digits and - : . + % _ # * ? ! ( ) , = @ $ ' only"
    } else {
        return Ok(());
    };
    Err(InvalidId {
        what,
        name: name.to_owned(),
        why,
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// # Errors
            /// Names that IoT Hub would refuse: empty, over 128 bytes, or with other characters
            /// than ASCII letters, digits and ``- : . + % _ # * ? ! ( ) , = @ $ '``.
            pub fn new(name: &str) -> Result<Self, InvalidId> {
                check($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(name: &str) -> Result<Self, InvalidId> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id!(
    /// A device: this one, or one downstream of it.
    DeviceId,
    "device id"
);
id!(
    /// A module, by its name in the deployment.
    ModuleId,
    "module id"
);

/// Who somebody is: a device, or a module of a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A device.
    Device(DeviceId),
    /// A module and the device that it belongs to.
    Module(DeviceId, ModuleId),
}

impl Identity {
    /// The device itself, or the one that the module belongs to.
    pub fn device(&self) -> &DeviceId {
        match self {
            Self::Device(device) | Self::Module(device, _) => device,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(d) => write!(f, "{d}"),
            Self::Module(d, m) => write!(f, "{d}/{m}"),
        }
    }
}

/// Where a route leads: one endpoint has one queue per [`Priority`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointId {
    /// The parent hub or cloud.
    Upstream,
    /// An input of a module of this device.
    ModuleInput {
        /// The module.
        module: ModuleId,
        /// The input's name.
        input: Arc<str>,
    },
    /// Messages to a device, which wait while it sleeps ("cloud to device").
    Device(DeviceId),
    /// What a client of the open topics subscribed to. Places are given out by number and used again, so
    /// that clients that come and go leave no queues behind.
    Session(u32),
}

impl EndpointId {
    /// The endpoint of a module's input.
    pub fn module_input(module: ModuleId, input: &str) -> Self {
        Self::ModuleInput {
            module,
            input: input.into(),
        }
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream => f.write_str("$upstream"),
            Self::ModuleInput { module, input } => write!(f, "{module}/{input}"),
            Self::Device(device) => write!(f, "$device/{device}"),
            Self::Session(place) => write!(f, "$session/{place}"),
        }
    }
}

/// Rank of a queue of an endpoint: the lowest number is delivered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(pub u32);

impl Priority {
    /// Of routes that name none: after all that do (routing language, section 12).
    pub const DEFAULT: Self = Self(2_000_000_000);
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_to_the_hubs_alphabet() {
        assert!(ModuleId::new("temp-filter_1.$'").is_ok());
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(ModuleId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unnumbered_routes_come_last() {
        assert!(Priority(9) < Priority::DEFAULT);
    }
}
