//! The body of the engine's create call: the deployment's options, and what we add.

use std::collections::BTreeMap;

use edge_core::deployment::{ContainerSpec, ModuleSpec};
use edge_core::{DeviceId, Digest, ModuleId};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::Surroundings;
use crate::options::{Options, OptionsError, kind};

/// Marks containers that a runtime of edge devices made; the seed system's label with a value of ours, so
/// that neither takes the other's.
pub(crate) const OWNER: (&str, &str) = ("net.azure-devices.edge.owner", "edge");
/// The device that a container belongs to.
pub(crate) const DEVICE: &str = "edge.device";
/// Its module.
pub(crate) const MODULE: &str = "edge.module";
/// What it was made from: [`Body::build`].
pub(crate) const BUILD: &str = "edge.build";
/// The image as the deployment names it; the container itself knows the id only.
const IMAGE: &str = "net.azure-devices.edge.original-image";

/// A body that lacks only what is found out when it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    top: Map<String, Value>,
    host: Map<String, Value>,
    /// A hash of everything that shows in the container, apart from the image's content.
    pub(crate) build: String,
    /// Options that the agent's work stands against, and that were left out.
    pub(crate) left_out: Vec<&'static str>,
    /// The network that the container is to join, if the options leave that open.
    pub(crate) network: Option<String>,
    hostname: Option<String>,
}

impl Body {
    /// Puts it together.
    pub(crate) fn new(
        device: &DeviceId,
        spec: &ModuleSpec,
        container: &ContainerSpec,
        around: &Surroundings,
        network: &str,
    ) -> Result<Self, OptionsError> {
        let Options { mut top, mut host } = Options::read(&container.options)?;
        // What runs is what was checked.
        top.remove("Image");
        let environment = environment(top.remove("Env"), spec, around)?;
        top.insert("Env".to_owned(), environment);
        let mut labels = match top.remove("Labels") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(labels)) => labels,
            Some(other) => return Err(kind("Labels", &other, "an object")),
        };
        for (name, value) in [
            OWNER,
            (DEVICE, device.as_str()),
            (MODULE, spec.id.as_str()),
            (IMAGE, &container.image),
        ] {
            labels.insert(name.to_owned(), value.into());
        }
        top.insert("Labels".to_owned(), labels.into());

        let mounts = around.mounts.iter().map(
            |(from, to)| json!({"Type": "bind", "Source": from.to_string_lossy(), "Target": to}),
        );
        append(&mut host, "Mounts", mounts.collect())?;
        if let Some(logging) = &container.logging
            && host.get("LogConfig").is_none_or(Value::is_null)
        {
            let logging = serde_json::from_str(logging);
            let logging = logging.map_err(|error| OptionsError::Syntax(error.to_string()))?;
            host.insert("LogConfig".to_owned(), logging);
        }
        let mut left_out = Vec::new();
        let no_policy = |policy: &Value| {
            let name = policy.get("Name").and_then(Value::as_str);
            policy.is_null() || matches!(name, Some("" | "no"))
        };
        if host
            .remove("RestartPolicy")
            .is_some_and(|policy| !no_policy(&policy))
        {
            left_out.push("HostConfig.RestartPolicy");
        }
        if host
            .remove("AutoRemove")
            .is_some_and(|remove| remove == true)
        {
            left_out.push("HostConfig.AutoRemove");
        }
        let mode = host.get("NetworkMode").and_then(Value::as_str);
        let open = matches!(mode, None | Some("" | "default"));
        let named = top.get("NetworkingConfig").is_some_and(names_networks);
        let network = (open && !named).then(|| network.to_owned());
        if let Some(network) = &network {
            host.insert("NetworkMode".to_owned(), network.as_str().into());
        }
        let whole = json!([top, host, spec.version, container.image]).to_string();
        let build = Digest(Sha256::digest(whole.as_bytes()).into()).hex();
        Ok(Self {
            top,
            host,
            build,
            left_out,
            network,
            hostname: around.hostname.clone(),
        })
    }

    /// The body for a container of this image. `gateway` is where containers of the network reach the host.
    pub(crate) fn finish(
        &self,
        image: &Digest,
        gateway: Option<&str>,
    ) -> Result<Value, OptionsError> {
        let (mut top, mut host) = (self.top.clone(), self.host.clone());
        if let (Some(name), Some(gateway)) = (&self.hostname, gateway) {
            let known = host.get("ExtraHosts").and_then(Value::as_array);
            let mut known = known.into_iter().flatten().filter_map(Value::as_str);
            let is_it = |entry: &str| entry.split([':', '=']).next() == Some(name);
            if !known.any(is_it) {
                append(
                    &mut host,
                    "ExtraHosts",
                    vec![format!("{name}:{gateway}").into()],
                )?;
            }
        }
        if let Some(labels) = top.get_mut("Labels").and_then(Value::as_object_mut) {
            labels.insert(BUILD.to_owned(), self.build.as_str().into());
        }
        top.insert("Image".to_owned(), image.to_string().into());
        top.insert("HostConfig".to_owned(), host.into());
        Ok(top.into())
    }
}

/// Whether an engine takes a module's name for a container's: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn is_name(module: &ModuleId) -> bool {
    let name = module.as_str();
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Variables of the options, the deployment and the daemon; of one name the last counts.
fn environment(
    of_options: Option<Value>,
    spec: &ModuleSpec,
    around: &Surroundings,
) -> Result<Value, OptionsError> {
    // A name without `=` takes a variable of the image away.
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let list = match of_options {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(kind("Env", &other, "a list of NAME=VALUE")),
    };
    for entry in list {
        let Value::String(entry) = entry else {
            return Err(kind("Env", &entry, "a list of NAME=VALUE"));
        };
        let name = entry.split('=').next().unwrap_or_default();
        variables.insert(name.to_owned(), entry);
    }
    let ours = spec
        .env
        .iter()
        .chain(around.environment.iter().map(|(n, v)| (n, v)));
    for (name, value) in ours {
        variables.insert(name.clone(), format!("{name}={value}"));
    }
    Ok(variables.into_values().collect::<Vec<_>>().into())
}

fn names_networks(config: &Value) -> bool {
    let mut endpoints = config
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.eq_ignore_ascii_case("EndpointsConfig"));
    endpoints.any(|(_, networks)| networks.as_object().is_some_and(|map| !map.is_empty()))
}

/// Adds to a list.
fn append(
    to: &mut Map<String, Value>,
    key: &'static str,
    more: Vec<Value>,
) -> Result<(), OptionsError> {
    if more.is_empty() {
        return Ok(());
    }
    match to.entry(key).or_insert(Value::Null) {
        Value::Array(list) => list.extend(more),
        empty @ Value::Null => *empty = more.into(),
        other => return Err(kind(key, other, "a list")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use edge_core::deployment::{DesiredStatus, ModuleKind, RestartPolicy};

    use super::*;

    fn container(options: Value) -> ContainerSpec {
        ContainerSpec {
            options: options.to_string(),
            ..ContainerSpec::new("r.example/cam:1")
        }
    }

    fn spec(container: &ContainerSpec, env: &[(&str, &str)]) -> ModuleSpec {
        ModuleSpec {
            id: ModuleId::new("cam").expect("id"),
            version: None,
            status: DesiredStatus::Running,
            restart: RestartPolicy::Always,
            startup_order: 0,
            env: env
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            kind: ModuleKind::Container(container.clone()),
        }
    }

    fn body(options: Value, env: &[(&str, &str)]) -> Result<Body, OptionsError> {
        let container = container(options);
        let spec = spec(&container, env);
        let around = Surroundings {
            environment: vec![("IOTEDGE_MODULEID".to_owned(), "cam".to_owned())],
            mounts: vec![("/run/w/cam".into(), "/run/w".to_owned())],
            hostname: Some("gw".to_owned()),
        };
        let device = DeviceId::new("edge1").expect("id");
        Body::new(&device, &spec, &container, &around, "plant")
    }

    fn sent(options: Value, env: &[(&str, &str)]) -> Value {
        let body = body(options, env).expect("a body");
        body.finish(&Digest([7; 32]), Some("172.18.0.1"))
            .expect("whole")
    }

    #[test]
    fn options_go_through_and_what_a_module_needs_is_added() {
        let body = sent(
            json!({
                "Unheard": 1, "image": "evil", "Env": ["A=1", "IOTEDGE_MODULEID=other", "B"],
                "Labels": {"mine": "x"},
                "hostConfig": {"New": [], "Mounts": [{"Type": "tmpfs", "Target": "/t"}], "ExtraHosts": ["db:10.0.0.2"]},
            }),
            &[("A", "2")],
        );
        assert_eq!(body["Unheard"], 1);
        assert_eq!(body["Image"], Digest([7; 32]).to_string());
        assert!(body.get("image").is_none() && body.get("hostConfig").is_none());
        assert_eq!(body["Env"], json!(["A=2", "B", "IOTEDGE_MODULEID=cam"]));
        assert_eq!(body["Labels"]["mine"], "x");
        assert_eq!(body["Labels"][MODULE], "cam");
        assert_eq!(body["Labels"][OWNER.0], OWNER.1);
        let host = &body["HostConfig"];
        assert_eq!(host["New"], json!([]));
        assert_eq!(host["NetworkMode"], "plant");
        assert_eq!(host["ExtraHosts"], json!(["db:10.0.0.2", "gw:172.18.0.1"]));
        assert_eq!(
            host["Mounts"],
            json!([
                {"Type": "tmpfs", "Target": "/t"},
                {"Type": "bind", "Source": "/run/w/cam", "Target": "/run/w"},
            ])
        );
    }

    #[test]
    fn networks_and_hosts_that_options_name_stay() {
        let body = sent(
            json!({"HostConfig": {"NetworkMode": "other", "ExtraHosts": ["gw:1.2.3.4"]}}),
            &[],
        );
        assert_eq!(body["HostConfig"]["NetworkMode"], "other");
        assert_eq!(body["HostConfig"]["ExtraHosts"], json!(["gw:1.2.3.4"]));
        let body = sent(
            json!({"NetworkingConfig": {"EndpointsConfig": {"other": {}}}}),
            &[],
        );
        assert!(body["HostConfig"].get("NetworkMode").is_none());
    }

    #[test]
    fn restarts_and_removal_are_the_agents_and_options_of_it_are_named() {
        let options =
            json!({"HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": true}});
        let made = body(options.clone(), &[]).expect("a body");
        assert_eq!(
            made.left_out,
            ["HostConfig.RestartPolicy", "HostConfig.AutoRemove"]
        );
        let host = &sent(options, &[])["HostConfig"];
        assert!(host.get("RestartPolicy").is_none() && host.get("AutoRemove").is_none());
        let quiet = json!({"HostConfig": {"RestartPolicy": {"Name": "no"}, "AutoRemove": false}});
        assert!(body(quiet, &[]).expect("a body").left_out.is_empty());
    }

    #[test]
    fn how_containers_log_is_the_deployments_where_options_do_not_say_it() {
        let logging = |options: Value| {
            let container = ContainerSpec {
                logging: Some(json!({"type": "local"}).to_string()),
                ..self::container(options)
            };
            let body = Body::new(
                &DeviceId::new("edge1").expect("id"),
                &spec(&container, &[]),
                &container,
                &Surroundings::default(),
                "plant",
            );
            let body = body.expect("a body").finish(&Digest([7; 32]), None);
            body.expect("whole")["HostConfig"]["LogConfig"].clone()
        };
        assert_eq!(logging(json!({})), json!({"type": "local"}));
        let own = json!({"Type": "none"});
        assert_eq!(logging(json!({"hostConfig": {"logconfig": own}})), own);
    }

    #[test]
    fn whatever_shows_in_a_container_makes_another_build() {
        let build = |options, env: &[_]| body(options, env).expect("a body").build;
        let one = build(json!({}), &[]);
        assert_eq!(one, build(json!({}), &[]));
        assert_ne!(one, build(json!({"Tty": true}), &[]));
        assert_ne!(one, build(json!({"HostConfig": {"Memory": 1}}), &[]));
        assert_ne!(one, build(json!({}), &[("A", "1")]));
    }
}
