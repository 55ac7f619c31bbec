//! Who this module is, from the variables that every module container is given.

use std::io;

/// What the agent says in the environment.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The hub's name in tokens and user names; nobody connects to it.
    pub hub: String,
    /// The host to connect to.
    pub gateway: String,
    pub device: String,
    pub module: String,
    pub generation: String,
    /// `unix:///path` of the workload socket.
    pub workload: String,
}

impl Environment {
    /// Reads it, by a function that knows variables by name.
    ///
    /// # Errors
    /// A variable is not there.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> io::Result<Self> {
        let get = |name: &str| {
            variable(name).ok_or_else(|| io::Error::other(format!("{name} is not set")))
        };
        Ok(Self {
            hub: get("IOTEDGE_IOTHUBHOSTNAME")?,
            gateway: get("IOTEDGE_GATEWAYHOSTNAME")?,
            device: get("IOTEDGE_DEVICEID")?,
            module: get("IOTEDGE_MODULEID")?,
            generation: get("IOTEDGE_MODULEGENERATIONID")?,
            workload: get("IOTEDGE_WORKLOADURI")?,
        })
    }

    /// The client id of MQTT.
    pub fn client_id(&self) -> String {
        format!("{}/{}", self.device, self.module)
    }

    /// The user name of MQTT.
    pub fn user_name(&self) -> String {
        let (hub, device, module) = (&self.hub, &self.device, &self.module);
        format!("{hub}/{device}/{module}/?api-version=2018-06-30")
    }

    /// The filter of this module's inputs.
    pub fn inputs(&self) -> String {
        format!("devices/{}/modules/{}/inputs/#", self.device, self.module)
    }

    /// The topic of one of this module's outputs.
    pub fn output(&self, name: &str) -> String {
        let (device, module) = (&self.device, &self.module);
        format!("devices/{device}/modules/{module}/messages/events/%24.on={name}")
    }
}
