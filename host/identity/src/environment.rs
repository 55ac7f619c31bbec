//! What a client is given to find the hub and prove who it is: connection strings, and the environment of a module
//! (client contract, section 2).

use edge_core::{DeviceId, Identity, InvalidId, ModuleId};
use zeroize::Zeroizing;

use crate::{Auth, Entry, GenerationId, InvalidKey, Secret};

/// The version of the workload API that modules are told. Clients that ignore it use 2018-06-28.
pub const WORKLOAD_API_VERSION: &str = "2020-07-07";

/// Where a module finds its hub and its workload API.
#[derive(Debug, Clone, Copy)]
pub struct ModuleEnvironment<'a> {
    /// The host name of the IoT hub: in tokens and user names, never connected to.
    pub hub: &'a str,
    /// The host name of this hub, as its certificate has it.
    pub gateway: &'a str,
    /// The host name of the parent, if this device is a child.
    pub parent: Option<&'a str>,
    /// The module's device.
    pub device: &'a DeviceId,
    /// The module.
    pub module: &'a ModuleId,
    /// The module's generation.
    pub generation: GenerationId,
    /// Where its workload API is: `unix:///path` or `http://host:port`.
    pub workload: &'a str,
}

/// A connection string, as IoT Hub prints it: of the primary key, or with `x509=true`. With a gateway the client
/// connects there and not to the hub. Fields are in the order that the SDKs document; none is left empty, since
/// Python refuses those.
pub fn connection_string(entry: &Entry, hub: &str, gateway: Option<&str>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("HostName={hub}"));
    match &entry.identity {
        Identity::Device(device) => text.push_str(&format!(";DeviceId={device}")),
        Identity::Module(device, module) => {
            text.push_str(&format!(";DeviceId={device};ModuleId={module}"));
        }
    }
    match &entry.auth {
        Auth::Keys(keys) => {
            text.push_str(";SharedAccessKey=");
            text.push_str(&keys.primary.base64());
        }
        Auth::Thumbprints(_) | Auth::Authority => text.push_str(";x509=true"),
    }
    if let Some(gateway) = gateway {
        text.push_str(&format!(";GatewayHostName={gateway}"));
    }
    text
}

/// The variables that a module needs, all of which must be set for Python. They hold no secret: the module signs by
/// its workload API.
pub fn module_environment(of: &ModuleEnvironment<'_>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("IOTEDGE_IOTHUBHOSTNAME", of.hub.to_owned()),
        ("IOTEDGE_GATEWAYHOSTNAME", of.gateway.to_owned()),
        ("IOTEDGE_DEVICEID", of.device.to_string()),
        ("IOTEDGE_MODULEID", of.module.to_string()),
        ("IOTEDGE_MODULEGENERATIONID", of.generation.to_string()),
        ("IOTEDGE_WORKLOADURI", of.workload.to_owned()),
        ("IOTEDGE_APIVERSION", WORKLOAD_API_VERSION.to_owned()),
        ("IOTEDGE_AUTHSCHEME", "sasToken".to_owned()),
    ];
    if let Some(parent) = of.parent {
        variables.push(("IOTEDGE_PARENTHOSTNAME", parent.to_owned()));
    }
    variables
}

/// What a connection string says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// The hub: its name in tokens.
    pub hub: String,
    /// The device.
    pub device: DeviceId,
    /// The module of it; none: the device itself.
    pub module: Option<ModuleId>,
    /// Its key.
    pub key: Secret,
    /// Where to connect instead of to the hub.
    pub gateway: Option<String>,
}

/// Why text is no connection string. Holds nothing of it: it has a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConnectionString {
    /// A part is not there.
    #[error("{0} is missing; expected HostName=…;DeviceId=…;SharedAccessKey=…[;GatewayHostName=…]")]
    Missing(&'static str),
    /// A part is no `name=value`, or has a name that is not known.
    #[error(
        "part {0} is none that is known; expected HostName=…;DeviceId=…;SharedAccessKey=…[;GatewayHostName=…]"
    )]
    Part(usize),
    /// An id is none.
    #[error("{0}")]
    Id(#[from] InvalidId),
    /// The key is none.
    #[error("SharedAccessKey: {0}")]
    Key(#[from] InvalidKey),
}

impl std::str::FromStr for ConnectionString {
    type Err = BadConnectionString;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [mut hub, mut device, mut module, mut key, mut gateway] = [None; 5];
        let parts = text.trim().split(';').filter(|part| !part.is_empty());
        for (at, part) in parts.enumerate() {
            let place = match part.split_once('=') {
                Some(("HostName", value)) => (&mut hub, value),
                Some(("DeviceId", value)) => (&mut device, value),
                Some(("ModuleId", value)) => (&mut module, value),
                Some(("SharedAccessKey", value)) => (&mut key, value),
                Some(("GatewayHostName", value)) => (&mut gateway, value),
                _ => return Err(BadConnectionString::Part(at + 1)),
            };
            *place.0 = Some(place.1);
        }
        let missing = |name| move || BadConnectionString::Missing(name);
        Ok(Self {
            hub: hub.ok_or_else(missing("HostName"))?.to_owned(),
            device: DeviceId::new(device.ok_or_else(missing("DeviceId"))?)?,
            module: module.map(ModuleId::new).transpose()?,
            key: Secret::from_base64(key.ok_or_else(missing("SharedAccessKey"))?)?,
            gateway: gateway.map(str::to_owned),
        })
    }
}

/// The variables of a program under a debugger that has no workload API: a connection string with the module's key,
/// and the file of the trust bundle. Only to be used without those of [`module_environment`]: Node prefers these,
/// Python those.
pub fn debug_environment(
    entry: &Entry,
    hub: &str,
    gateway: &str,
    bundle: &std::path::Path,
) -> Vec<(&'static str, Zeroizing<String>)> {
    let bundle = Zeroizing::new(bundle.display().to_string());
    let connection = connection_string(entry, hub, Some(gateway));
    vec![
        ("EdgeHubConnectionString", connection),
        ("EdgeModuleCACertificateFile", bundle),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edge_core::Timestamp;
    use edge_store::MemoryLog;

    use super::*;
    use crate::{NewAuth, Registry};

    fn entries() -> (Arc<Entry>, Arc<Entry>, Arc<Entry>) {
        let registry = Registry::open(Arc::new(MemoryLog::default())).unwrap();
        let id = DeviceId::new("edge1").unwrap();
        let device = Identity::Device(id.clone());
        let module = Identity::Module(id, ModuleId::new("$m").unwrap());
        let plain = Identity::Device(DeviceId::new("leaf").unwrap());
        let now = Timestamp(0);
        (
            registry.ensure(&device, now).unwrap().0,
            registry.ensure(&module, now).unwrap().0,
            registry.add(&plain, NewAuth::Authority, now).unwrap().0,
        )
    }

    #[test]
    fn a_connection_string_is_read_as_it_is_written() {
        let text = "HostName=hub1;DeviceId=d;SharedAccessKey=c2VjcmV0LXNlY3JldC1zZWNyZXQ=;GatewayHostName=gw";
        let read: ConnectionString = text.parse().expect("it is one");
        assert_eq!((read.hub.as_str(), read.device.as_str()), ("hub1", "d"));
        assert_eq!(read.gateway.as_deref(), Some("gw"));
        assert_eq!(&*read.key.base64(), "c2VjcmV0LXNlY3JldC1zZWNyZXQ=");
        for (bad, why) in [
            ("", "HostName is missing"),
            ("HostName=h;DeviceId=d", "SharedAccessKey is missing"),
            (
                "HostName=h;DeviceId=d;SharedAccessKey=x",
                "SharedAccessKey: ",
            ),
            ("HostName=h;x509=true", "part 2 is none"),
        ] {
            let error = bad.parse::<ConnectionString>().expect_err(bad).to_string();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn connection_strings_are_those_of_iot_hub() {
        let (device, module, certified) = entries();
        let key = |entry: &Entry| entry.auth.keys().unwrap().primary.base64();
        assert_eq!(
            *connection_string(&device, "hub1", None),
            format!(
                "HostName=hub1;DeviceId=edge1;SharedAccessKey={}",
                *key(&device)
            )
        );
        assert_eq!(
            *connection_string(&module, "hub1", Some("gw")),
            format!(
                "HostName=hub1;DeviceId=edge1;ModuleId=$m;SharedAccessKey={};GatewayHostName=gw",
                *key(&module)
            )
        );
        assert_eq!(
            *connection_string(&certified, "hub1", Some("gw")),
            "HostName=hub1;DeviceId=leaf;x509=true;GatewayHostName=gw"
        );
    }

    #[test]
    fn a_module_gets_all_variables_that_the_sdks_ask_for() {
        let (_, module, _) = entries();
        let Identity::Module(device, id) = &module.identity else {
            panic!("{module:?}");
        };
        let of = ModuleEnvironment {
            hub: "hub1",
            gateway: "gw",
            parent: None,
            device,
            module: id,
            generation: module.generation,
            workload: "unix:///run/edge/m.sock",
        };
        let variables = module_environment(&of);
        let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "IOTEDGE_IOTHUBHOSTNAME",
                "IOTEDGE_GATEWAYHOSTNAME",
                "IOTEDGE_DEVICEID",
                "IOTEDGE_MODULEID",
                "IOTEDGE_MODULEGENERATIONID",
                "IOTEDGE_WORKLOADURI",
                "IOTEDGE_APIVERSION",
                "IOTEDGE_AUTHSCHEME",
            ]
        );
        let generation = &variables[4].1;
        assert_eq!(*generation, module.generation.to_string());
        assert_eq!(variables[7].1, "sasToken");
        let nested = ModuleEnvironment {
            parent: Some("parent"),
            ..of
        };
        let last = module_environment(&nested).pop().unwrap();
        assert_eq!(last, ("IOTEDGE_PARENTHOSTNAME", "parent".to_owned()));
    }

    #[test]
    fn a_debugger_gets_the_key_and_the_bundle() {
        let (_, module, _) = entries();
        let variables = debug_environment(&module, "hub1", "gw", "/tmp/ca.pem".as_ref());
        assert_eq!(variables[0].0, "EdgeHubConnectionString");
        assert!(variables[0].1.contains("ModuleId=$m;SharedAccessKey="));
        assert_eq!(variables[1].0, "EdgeModuleCACertificateFile");
        assert_eq!(*variables[1].1, "/tmp/ca.pem");
    }
}
