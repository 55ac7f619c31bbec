//! The topics and names of Azure's SDKs (client contract, 6.1 to 6.5): a closed set, not a tree of topics.
//!
//! Nothing here decides who may use what: the caller compares the ids with the connection's identity.
//! Ids are compared as they stand in the topic; a `/` inside a property bag is always encoded, so topics
//! are split first and decoded afterwards.

use edge_core::{DeviceId, Identity, InvalidId, ModuleId};

/// What a client publishes (6.3). All slices of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish<'a> {
    /// `devices/{d}[/modules/{m}]/messages/events/{bag}`: telemetry, and outputs of modules.
    Telemetry {
        /// Whose.
        owner: Owner<'a>,
        /// Its properties, for [`crate::bag::parse`]; one `/` at the end is off.
        bag: &'a str,
    },
    /// `$iothub/twin/GET/?$rid={rid}`
    TwinGet {
        /// To be repeated in the answer.
        rid: &'a str,
    },
    /// `$iothub/twin/PATCH/properties/reported/?$rid={rid}`
    ReportedPatch {
        /// To be repeated in the answer.
        rid: &'a str,
    },
    /// `$iothub/methods/res/{status}/?$rid={rid}`
    MethodAnswer {
        /// What the method returned.
        status: i32,
        /// Of the call.
        rid: &'a str,
    },
}

/// The ids in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Device id.
    pub device: &'a str,
    /// Module id, if it is a module's.
    pub module: Option<&'a str>,
}

/// A topic or filter that none of the SDKs uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAzure(&'static str);

/// What a client subscribes to (6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription<'a> {
    /// `devices/{d}/modules/{m}/inputs/#`, or `devices/{d}/modules/{m}/#` as C and C# have it.
    Inputs(Owner<'a>),
    /// `devices/{d}/messages/devicebound/#`
    DeviceBound(Owner<'a>),
    /// `$iothub/twin/res/#`
    TwinAnswers,
    /// `$iothub/twin/PATCH/properties/desired/#`
    DesiredPatches,
    /// `$iothub/methods/POST/#`
    Methods,
}

/// A user name (6.1) taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName<'a> {
    /// Host name of the IoT hub, as the client has it.
    pub hub: &'a str,
    /// Who it says it is.
    pub identity: Identity,
    /// What comes behind `?`, still encoded; empty if there is none.
    pub query: &'a str,
}

/// A user name that is none of an Azure SDK.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserName {
    /// Parts are missing, or there are too many.
    #[error("user name {0:?}: expected HUB/DEVICE[/MODULE]/?api-version=…")]
    Shape(String),
    /// No `api-version` in it.
    #[error("user name {0:?}: api-version is missing, expected HUB/DEVICE[/MODULE]/?api-version=…")]
    NoApiVersion(String),
    /// A part of it is no id.
    #[error("user name: {0}")]
    Id(#[from] InvalidId),
}

impl<'a> Publish<'a> {
    /// Reads a topic that a client publishes to.
    ///
    /// # Errors
    /// A topic that is none of these. It is not to be taken as anything else: deny it.
    pub fn parse(topic: &'a str) -> Result<Self, NotAzure> {
        if let Some(rest) = topic.strip_prefix("devices/") {
            return Self::telemetry(rest);
        }
        let rest = topic
            .strip_prefix("$iothub/")
            .ok_or(NotAzure("begins with neither devices/ nor $iothub/"))?;
        if let Some(query) = rest.strip_prefix("twin/GET/") {
            return Ok(Self::TwinGet { rid: rid(query)? });
        }
        if let Some(query) = rest.strip_prefix("twin/PATCH/properties/reported/") {
            return Ok(Self::ReportedPatch { rid: rid(query)? });
        }
        let (status, query) = rest
            .strip_prefix("methods/res/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(NotAzure(
                "expected twin/GET, twin/PATCH/properties/reported or methods/res behind $iothub",
            ))?;
        Ok(Self::MethodAnswer {
            status: status
                .parse()
                .map_err(|_| NotAzure("the status of a method's answer is no number"))?,
            rid: rid(query)?,
        })
    }

    /// `{d}[/modules/{m}]/messages/events[/{bag}[/]]`
    fn telemetry(rest: &'a str) -> Result<Self, NotAzure> {
        const EXPECTED: NotAzure =
            NotAzure("expected devices/DEVICE[/modules/MODULE]/messages/events/PROPERTIES");
        let (owner, rest) = Owner::split(rest).ok_or(EXPECTED)?;
        let bag = match rest.strip_prefix("messages/events").ok_or(EXPECTED)? {
            "" => "",
            rest => rest.strip_prefix('/').ok_or(EXPECTED)?,
        };
        let bag = bag.strip_suffix('/').unwrap_or(bag);
        if bag.contains('/') {
            return Err(NotAzure("has a '/' in its properties: expected %2F"));
        }
        Ok(Self::Telemetry { owner, bag })
    }
}

impl<'a> Owner<'a> {
    /// Takes `{d}/` or `{d}/modules/{m}/` off.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let (device, rest) = text.split_once('/')?;
        let (module, rest) = match rest.strip_prefix("modules/") {
            Some(rest) => {
                let (module, rest) = rest.split_once('/')?;
                (Some(module), rest)
            }
            None => (None, rest),
        };
        if device.is_empty() || module == Some("") {
            return None;
        }
        Some((Self { device, module }, rest))
    }

    /// Whether these are the ids of somebody.
    pub fn is(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Device(device) => self.device == device.as_str() && self.module.is_none(),
            Identity::Module(device, module) => {
                self.device == device.as_str() && self.module == Some(module.as_str())
            }
        }
    }
}

impl<'a> Subscription<'a> {
    /// Reads a filter that a client subscribes to.
    ///
    /// # Errors
    /// A filter that is none of these: grant nothing for it.
    pub fn parse(filter: &'a str) -> Result<Self, NotAzure> {
        match filter {
            "$iothub/twin/res/#" => return Ok(Self::TwinAnswers),
            "$iothub/twin/PATCH/properties/desired/#" => return Ok(Self::DesiredPatches),
            "$iothub/methods/POST/#" => return Ok(Self::Methods),
            _ => {}
        }
        let (owner, rest) = filter
            .strip_prefix("devices/")
            .and_then(Owner::split)
            .filter(|(owner, _)| {
                let wild = |id: &str| id == "+";
                !wild(owner.device) && !owner.module.is_some_and(wild)
            })
            .ok_or(NotAzure("is no filter of an IoT device or module"))?;
        match (owner.module, rest) {
            (Some(_), "inputs/#" | "#") => Ok(Self::Inputs(owner)),
            (None, "messages/devicebound/#") => Ok(Self::DeviceBound(owner)),
            (Some(_), _) => Err(NotAzure("is no filter of a module: expected inputs/#")),
            (None, _) => Err(NotAzure(
                "is no filter of a device: expected messages/devicebound/#",
            )),
        }
    }
}

/// The `$rid` of `?$rid={rid}[&…]`, as it stands there.
fn rid(query: &str) -> Result<&str, NotAzure> {
    query
        .strip_prefix('?')
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("$rid=")))
        .filter(|rid| !rid.is_empty() && !rid.contains('/'))
        .ok_or(NotAzure("has no request id: expected ?$rid=ID at the end"))
}

/// The topic of a message to a module's input, in pieces. The `/` before the bag is never missing, even
/// if that is empty: Node's SDK drops the message otherwise.
pub fn input_topic<'a>(
    device: &'a DeviceId,
    module: &'a ModuleId,
    input: &'a str,
    bag: &'a str,
) -> [&'a str; 8] {
    [
        "devices/",
        device.as_str(),
        "/modules/",
        module.as_str(),
        "/inputs/",
        input,
        "/",
        bag,
    ]
}

/// The topic of a message from the cloud to a device, in pieces.
pub fn device_bound_topic<'a>(device: &'a DeviceId, bag: &'a str) -> [&'a str; 4] {
    ["devices/", device.as_str(), "/messages/devicebound/", bag]
}

/// The topic of an answer to a request for, or a change of, a twin. The version is that of the reported
/// properties after a change.
pub fn twin_answer_topic(status: u16, rid: &str, version: Option<u64>) -> String {
    match version {
        None => format!("$iothub/twin/res/{status}/?$rid={rid}"),
        Some(version) => format!("$iothub/twin/res/{status}/?$rid={rid}&$version={version}"),
    }
}

/// The topic of a change of desired properties to this version.
pub fn desired_patch_topic(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

/// The topic of a call of a method. Keep the name to `[A-Za-z0-9._-]` and the id to letters and digits:
/// Node's SDK decodes neither.
pub fn method_topic(name: &str, rid: &str) -> String {
    format!("$iothub/methods/POST/{name}/?$rid={rid}")
}

/// Reads a client id: `{d}` or `{d}/{m}`.
///
/// # Errors
/// What is no id.
pub fn parse_client_id(client_id: &str) -> Result<Identity, InvalidId> {
    match client_id.split_once('/') {
        None => Ok(Identity::Device(DeviceId::new(client_id)?)),
        Some((device, module)) => Ok(Identity::Module(
            DeviceId::new(device)?,
            ModuleId::new(module)?,
        )),
    }
}

impl<'a> UserName<'a> {
    /// Reads a user name: `{hub}/{d}[/{m}]/?api-version=…&…`. The `?` may be missing, as old clients
    /// have it, and keys that nobody knows are let be.
    ///
    /// # Errors
    /// See [`InvalidUserName`].
    pub fn parse(text: &'a str) -> Result<Self, InvalidUserName> {
        let shape = || InvalidUserName::Shape(text.to_owned());
        let (hub, mut rest) = text.split_once('/').ok_or_else(shape)?;
        let mut ids: [&str; 2] = [""; 2];
        let mut count = 0;
        let query = loop {
            if let Some(query) = rest.strip_prefix('?') {
                break query;
            }
            if rest.is_empty() || rest.starts_with("api-version=") {
                break rest;
            }
            let (id, behind) = rest.split_once('/').unwrap_or((rest, ""));
            *ids.get_mut(count).ok_or_else(shape)? = id;
            count += 1;
            rest = behind;
        };
        if hub.is_empty() || count == 0 {
            return Err(shape());
        }
        let device = DeviceId::new(ids[0])?;
        let identity = match count {
            1 => Identity::Device(device),
            _ => Identity::Module(device, ModuleId::new(ids[1])?),
        };
        let name = Self {
            hub,
            identity,
            query,
        };
        match name.value("api-version") {
            Some(_) => Ok(name),
            None => Err(InvalidUserName::NoApiVersion(text.to_owned())),
        }
    }

    /// The value of a key of the query, as it stands there.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        // Old clients separate by '/'.
        self.query.split(['&', '/']).find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name == key && !value.is_empty()).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests;
