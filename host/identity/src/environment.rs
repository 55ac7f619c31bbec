//! What a client is given to find the hub and prove who it is: connection strings, and the environment of a module
//! (client contract, section 2).

use edge_core::{DeviceId, Identity, ModuleId};
use zeroize::Zeroizing;

use crate::{Auth, Entry, GenerationId};

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
