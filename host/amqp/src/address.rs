//! Addresses of links, and what they mean (client contract, section 8.3).
//!
//! ```text
//!   $cbs                                              tokens
//!   /devices/{d}[/modules/{m}]/messages/events        telemetry from the peer; to a module: its inputs
//!   /devices/{d}/messages/devicebound                 messages to a device
//!   /devices/{d}[/modules/{m}]/twin                   requests and answers about a twin
//!   /devices/{d}[/modules/{m}]/methods/devicebound    calls and answers
//!   /devices/{d}/scope                                identities behind a gateway; ours, IoT Hub has no such address
//! ```
//!
//! Some clients write whole URIs (`amqps://{hub}/devices/…`) or begin without a slash, and letter case differs;
//! ids keep theirs. An id may be percent-encoded: none holds a `/`, and `%` is taken as it is where what follows
//! is no encoding.

use std::fmt;

use edge_core::{DeviceId, Identity, InvalidId, ModuleId};
use percent_encoding::percent_decode_str;

/// What a link is about. Which way messages go says the link's role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Where tokens are put.
    Cbs,
    /// Telemetry and outputs of an identity; in the other direction, what is routed to a module's inputs.
    Events(Identity),
    /// Messages to a device.
    DeviceBound(DeviceId),
    /// A twin.
    Twin(Identity),
    /// Direct methods.
    Methods(Identity),
    /// Who is behind a gateway.
    Scope(DeviceId),
}

/// An address that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownAddress {
    /// None of the forms.
    #[error(
        "address {0:?}: expected $cbs or /devices/{{device}}[/modules/{{module}}]/ and messages/events, \
         messages/devicebound, twin, methods/devicebound or scope"
    )]
    Form(String),
    /// An id in it is none.
    #[error("address {address:?}: {why}")]
    Id {
        /// As it came.
        address: String,
        /// What is wrong with the id.
        why: InvalidId,
    },
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// It has another form, or an id in it is none.
    pub fn parse(text: &str) -> Result<Self, UnknownAddress> {
        if text.eq_ignore_ascii_case("$cbs") {
            return Ok(Self::Cbs);
        }
        let unknown = || UnknownAddress::Form(text.chars().take(QUOTED).collect());
        let mut parts = path(text).split('/');
        let mut next = || parts.next();
        let is =
            |part: Option<&str>, word: &str| part.is_some_and(|p| p.eq_ignore_ascii_case(word));
        let bad = |why| UnknownAddress::Id {
            address: text.chars().take(QUOTED).collect(),
            why,
        };
        if !is(next(), "devices") {
            return Err(unknown());
        }
        let device = DeviceId::new(&decoded(next().ok_or_else(unknown)?)).map_err(bad)?;
        let mut word = next();
        let identity = if is(word, "modules") {
            let module = ModuleId::new(&decoded(next().ok_or_else(unknown)?)).map_err(bad)?;
            word = next();
            Identity::Module(device, module)
        } else {
            Identity::Device(device)
        };
        let (first, second, more) = (word, next(), next());
        if more.is_some() {
            return Err(unknown());
        }
        match (identity, second) {
            (identity, None) if is(first, "twin") => Ok(Self::Twin(identity)),
            (Identity::Device(device), None) if is(first, "scope") => Ok(Self::Scope(device)),
            (identity, Some(_)) if is(first, "messages") && is(second, "events") => {
                Ok(Self::Events(identity))
            }
            (Identity::Device(device), Some(_))
                if is(first, "messages") && is(second, "devicebound") =>
            {
                Ok(Self::DeviceBound(device))
            }
            (identity, Some(_)) if is(first, "methods") && is(second, "devicebound") => {
                Ok(Self::Methods(identity))
            }
            _ => Err(unknown()),
        }
    }

    /// Whose it is; none of `$cbs`.
    pub fn identity(&self) -> Option<Identity> {
        match self {
            Self::Cbs => None,
            Self::DeviceBound(device) | Self::Scope(device) => {
                Some(Identity::Device(device.clone()))
            }
            Self::Events(identity) | Self::Twin(identity) | Self::Methods(identity) => {
                Some(identity.clone())
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = |f: &mut fmt::Formatter<'_>, identity: &Identity| match identity {
            Identity::Device(device) => write!(f, "/devices/{device}"),
            Identity::Module(device, module) => write!(f, "/devices/{device}/modules/{module}"),
        };
        match self {
            Self::Cbs => f.write_str("$cbs"),
            Self::Events(identity) => {
                whose(f, identity)?;
                f.write_str("/messages/events")
            }
            Self::DeviceBound(device) => write!(f, "/devices/{device}/messages/devicebound"),
            Self::Twin(identity) => {
                whose(f, identity)?;
                f.write_str("/twin")
            }
            Self::Methods(identity) => {
                whose(f, identity)?;
                f.write_str("/methods/devicebound")
            }
            Self::Scope(device) => write!(f, "/devices/{device}/scope"),
        }
    }
}

/// Characters of a peer's text that go into an error.
const QUOTED: usize = 200;

/// What follows scheme, host and first slash.
fn path(text: &str) -> &str {
    let text = match text.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => text,
    };
    text.strip_prefix('/').unwrap_or(text)
}

fn decoded(id: &str) -> std::borrow::Cow<'_, str> {
    percent_decode_str(id)
        .decode_utf8()
        .unwrap_or(std::borrow::Cow::Borrowed(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).expect("a device id")
    }

    fn module(device_name: &str, name: &str) -> Identity {
        Identity::Module(device(device_name), ModuleId::new(name).expect("an id"))
    }

    #[test]
    fn every_address_is_read_as_it_is_written() {
        let all = [
            Address::Cbs,
            Address::Events(Identity::Device(device("d"))),
            Address::Events(module("d", "m")),
            Address::DeviceBound(device("d")),
            Address::Twin(Identity::Device(device("d"))),
            Address::Twin(module("d", "$edgeHub")),
            Address::Methods(Identity::Device(device("d"))),
            Address::Methods(module("d", "m")),
            Address::Scope(device("d")),
        ];
        for address in all {
            assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }

    #[test]
    fn letter_case_whole_uris_and_encoded_ids_are_taken() {
        for text in [
            "/devices/D1/messages/deviceBound",
            "devices/D1/messages/devicebound",
            "amqps://hub.example/Devices/D1/Messages/DeviceBound",
        ] {
            assert_eq!(Address::parse(text), Ok(Address::DeviceBound(device("D1"))));
        }
        let hub = Address::Twin(module("d", "$edgeHub"));
        assert_eq!(
            Address::parse("/devices/d/modules/%24edgeHub/twin"),
            Ok(hub)
        );
        let odd = Address::Twin(Identity::Device(device("50%")));
        assert_eq!(Address::parse("/devices/50%/twin"), Ok(odd));
    }

    #[test]
    fn what_is_no_address_is_named() {
        for bad in [
            "",
            "/",
            "amqps://hub",
            "/devices",
            "/devices/d",
            "/devices/d/messages",
            "/devices/d/messages/events/x",
            "/devices/d/modules/m",
            "/devices/d/modules/m/messages/devicebound",
            "/devices/d/twin/x",
            "/devices/d/modules/m/scope",
            "/things/d/twin",
        ] {
            let error = Address::parse(bad).expect_err(bad);
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
        let error = Address::parse("/devices/a b/twin").expect_err("no id");
        assert!(error.to_string().contains("device id \"a b\""), "{error}");
    }
}
