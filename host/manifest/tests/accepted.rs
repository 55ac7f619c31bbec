//! Manifests that are accepted, and what comes out of them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use edge_core::deployment::{
    ComponentRef, ContainerSpec, DesiredStatus, InstanceMode, ModuleKind, ModuleSpec, PullPolicy,
    RestartPolicy, Rollback, WasmOptions, WasmSpec,
};
use edge_core::{ByteSize, ModuleId, Priority, limits};
use edge_manifest::{Read, ReadOptions, Severity, read, render};
use edge_route::Mode;

fn accept(text: &str) -> Read {
    for mode in [Mode::Strict, Mode::Compat] {
        if let Err(mistakes) = read(text, &ReadOptions { routes: mode }) {
            panic!("{}", render("manifest.json", &mistakes));
        }
    }
    read(
        text,
        &ReadOptions {
            routes: Mode::Compat,
        },
    )
    .unwrap()
}

fn module<'d>(read: &'d Read, name: &str) -> &'d ModuleSpec {
    read.deployment
        .modules
        .iter()
        .find(|m| m.id.as_str() == name)
        .unwrap()
}

fn wasm<'d>(read: &'d Read, name: &str) -> &'d WasmSpec {
    match &module(read, name).kind {
        ModuleKind::Wasm(spec) => spec,
        ModuleKind::Container(_) => panic!("{name} is a component"),
    }
}

#[test]
fn a_manifest_of_containers_is_taken_as_it_is() {
    let read = accept(include_str!("manifests/temperature-sensor.json"));
    assert_eq!(
        render("d.json", &read.warnings),
        "d.json:14:9: note: agent and hub are built in: images and settings of theirs are not used \
         (modulesContent.$edgeAgent[\"properties.desired\"].systemModules)\n"
    );
    let sensor = module(&read, "SimulatedTemperatureSensor");
    assert_eq!(sensor.version.as_deref(), Some("1.5"));
    assert_eq!(sensor.status, DesiredStatus::Running);
    assert_eq!(sensor.restart, RestartPolicy::Always);
    assert_eq!(sensor.startup_order, 2);
    assert_eq!(sensor.env["MessageCount"], "-1");
    assert_eq!(sensor.env["Verbose"], "true");
    let image = "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.5";
    assert_eq!(
        sensor.kind,
        ModuleKind::Container(ContainerSpec::new(image))
    );
    let routes = &read.deployment.routes;
    assert_eq!(routes[0].name, "sensorToFilter");
    assert!(
        routes[0]
            .text
            .ends_with(r#"INTO BrokeredEndpoint("/modules/FilterModule/inputs/input1")"#)
    );
    assert_eq!(
        (routes[0].priority, routes[0].time_to_live),
        (Priority::DEFAULT, None)
    );
    assert_eq!(
        (routes[1].priority, routes[1].time_to_live),
        (Priority(0), Some(Duration::from_secs(86_400)))
    );
    assert_eq!(
        read.deployment.time_to_live,
        Some(Duration::from_secs(7_200))
    );
    let desired = &read.deployment.desired[&ModuleId::new("FilterModule").unwrap()];
    assert_eq!(desired, r#"{"TemperatureThreshold":25}"#);
}

#[test]
fn components_have_what_is_written_and_defaults_for_the_rest() {
    let read = accept(include_str!("manifests/components.json"));
    assert_eq!(read.warnings, []);
    let order: Vec<_> = read
        .deployment
        .modules
        .iter()
        .map(|m| m.id.as_str())
        .collect();
    assert_eq!(order, ["sensor", "filter", "packed"]);

    let sensor = module(&read, "sensor");
    assert_eq!(
        (sensor.status, sensor.restart),
        (DesiredStatus::Running, RestartPolicy::Always)
    );
    assert_eq!(
        (sensor.startup_order, sensor.env["start"].as_str()),
        (u32::MAX, "21.5")
    );
    let spec = wasm(&read, "sensor");
    assert_eq!(spec.image, ComponentRef::File("sensor.wasm".into()));
    assert_eq!(spec.options.timers["report"], Duration::from_secs(90));
    assert_eq!(spec.options.log_rate, 10);
    assert_eq!(spec.options.grants, WasmOptions::default().grants);
    assert_eq!(spec.options.memory, WasmOptions::default().memory);

    let filter = module(&read, "filter");
    assert_eq!(
        (filter.status, filter.restart),
        (DesiredStatus::Stopped, RestartPolicy::OnFailure)
    );
    let spec = wasm(&read, "filter");
    assert!(
        matches!(&spec.image, ComponentRef::Registry(image) if image.starts_with("registry.local/filter:1.2@"))
    );
    assert_eq!(spec.digest.unwrap().hex(), "0af1".repeat(16));
    let options = &spec.options;
    assert_eq!(
        (options.mode, options.memory),
        (InstanceMode::PerMessage, ByteSize(1 << 20))
    );
    assert_eq!(options.deadline, Duration::from_millis(50));
    assert_eq!(options.timeout, Duration::from_secs(2));
    assert_eq!(options.args, ["--quiet"]);
    assert!(options.grants.state);
    assert_eq!(
        options.grants.http,
        ["https://api.example", "https://*.example.com"]
    );
    let dirs: Vec<_> = options
        .grants
        .dirs
        .iter()
        .map(|dir| (dir.host.as_path(), dir.guest.as_str(), dir.write))
        .collect();
    assert_eq!(
        dirs,
        [
            (Path::new("/var/lib/in"), "/in", false),
            (Path::new("out"), "/out", true)
        ]
    );

    let packed = wasm(&read, "packed");
    assert_eq!(packed.image, ComponentRef::File("/opt/packed.wasm".into()));
    assert_eq!(packed.options.memory, ByteSize(128 << 10));

    assert_eq!(read.deployment.time_to_live, Some(limits::TIME_TO_LIVE));
    let desired = &read.deployment.desired[&ModuleId::new("filter").unwrap()];
    assert_eq!(desired, r#"{"threshold":25,"names":["a",{}]}"#);
}

#[test]
fn a_manifest_may_be_wrapped_in_content_and_start_with_a_byte_order_mark() {
    let inner = include_str!("manifests/components.json");
    let wrapped = format!("\u{feff}{{\"id\": \"d1\", \"priority\": 10, \"content\": {inner}}}");
    assert_eq!(accept(&wrapped).deployment, accept(inner).deployment);
}

#[test]
fn a_layer_reaches_into_properties_and_is_merged() {
    let read = accept(
        r#"{"content": {"modulesContent": {
            "$edgeAgent": {
                "properties.desired.modules.late": {"type": "docker", "settings": {"image": "late:1"}},
                "properties.desired.modules.early": {"type": "docker", "settings": {"image": "early:1"}}},
            "$edgeHub": {
                "properties.desired.routes.up": "FROM /messages/modules/late INTO $upstream",
                "properties.desired.routes.down": {"route": "FROM /messages INTO BrokeredEndpoint(\"/modules/early/inputs/a\")"}},
            "late": {"properties.desired": {"a": {"b": 1}}, "properties.desired.a.c": 2, "properties.desired.d": "x"}
        }}}"#,
    );
    assert_eq!(read.warnings, []);
    let names: Vec<_> = read
        .deployment
        .modules
        .iter()
        .map(|m| m.id.as_str())
        .collect();
    assert_eq!(names, ["late", "early"]);
    assert_eq!(module(&read, "late").restart, RestartPolicy::OnUnhealthy);
    let routes: Vec<_> = read
        .deployment
        .routes
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(routes, ["up", "down"]);
    let desired = &read.deployment.desired[&ModuleId::new("late").unwrap()];
    assert_eq!(desired, r#"{"a":{"b":1,"c":2},"d":"x"}"#);
}

#[test]
fn without_a_hub_there_are_no_routes() {
    let read = accept(
        r#"{"modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.0", "modules": {
            "cam": {"type": "Docker", "settings": {"image": " cam:3 "}}}}}}}"#,
    );
    assert!(read.deployment.routes.is_empty() && read.deployment.desired.is_empty());
    assert_eq!(read.deployment.time_to_live, Some(limits::TIME_TO_LIVE));
    assert_eq!(
        module(&read, "cam").kind,
        ModuleKind::Container(ContainerSpec::new("cam:3"))
    );
}

#[test]
fn a_containers_digest_becomes_part_of_its_image() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let read = accept(&format!(
        r#"{{"modulesContent": {{"$edgeAgent": {{"properties.desired": {{"schemaVersion": "1.1", "modules": {{
            "cam": {{"type": "docker", "settings": {{"image": "r.example/cam:3", "digest": "{digest}"}}}}}}}}}}}}}}"#,
    ));
    let image = format!("r.example/cam:3@{digest}");
    assert_eq!(
        module(&read, "cam").kind,
        ModuleKind::Container(ContainerSpec::new(image))
    );
}

#[test]
fn notes_and_warnings_do_not_refuse_a_manifest() {
    let read = accept(
        r#"{"modulesContent": {"$edgeHub": {"properties.desired": {"schemaVersion": "1.0", "integrity": {},
            "routes": {"blank": " "}}}}}"#,
    );
    assert!(read.deployment.routes.is_empty());
    assert!(
        read.warnings
            .iter()
            .all(|w| w.severity == Severity::Warning)
    );
    assert_eq!(read.warnings.len(), 2);
}

#[test]
fn a_container_has_its_options_whole_and_sorted_its_pull_policy_and_its_registrys_credentials() {
    let read = accept(
        r#"{"modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"loggingOptions": "{\"type\": \"local\"}",
            "registryCredentials": {"a": {"address": "r.example", "username": "u", "password": "secret"}}}},
        "rollback": {"within": "2m"}, "modules": {
            "cam": {"type": "docker", "imagePullPolicy": "if-absent", "settings": {"image": "r.example/cam:3",
                "createOptions": "{\"Zeta\": [1.0, {\"b\": null, \"a\": true}], ",
                "createOptions01": "\"HostConfig\": {\"Unheard\": \"\\u00e9\\n\"}}"}},
            "hub": {"type": "docker", "settings": {"image": "hub"}}}}}}}"#,
    );
    let container = |name| match &module(&read, name).kind {
        ModuleKind::Container(container) => container,
        ModuleKind::Wasm(_) => panic!("{name} is a container"),
    };
    let cam = container("cam");
    assert_eq!(
        cam.options,
        r#"{"HostConfig":{"Unheard":"é\n"},"Zeta":[1.0,{"a":true,"b":null}]}"#
    );
    assert_eq!(cam.pull, PullPolicy::IfAbsent);
    let credentials = cam.credentials.as_ref().unwrap();
    assert_eq!(
        (&*credentials.username, &*credentials.password),
        ("u", "secret")
    );
    assert!(!format!("{cam:?}").contains("secret"));
    let hub = ContainerSpec {
        logging: Some(r#"{"type":"local"}"#.to_owned()),
        ..ContainerSpec::new("hub")
    };
    assert_eq!(*container("hub"), hub);
    let rollback = Rollback::Wanted {
        within: Some(Duration::from_secs(120)),
        stable: None,
    };
    assert_eq!(read.deployment.rollback, rollback);
}

#[test]
fn a_component_in_a_registry_has_its_registrys_credentials() {
    let read = accept(
        r#"{"modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"registryCredentials": {
            "a": {"address": "https://r.example:5000", "username": "u", "password": "secret"}}}},
        "modules": {
            "one": {"type": "wasm", "settings": {"image": "r.example:5000/filter:3"}},
            "two": {"type": "wasm", "settings": {"image": "r.example/filter:3"}},
            "three": {"type": "wasm", "settings": {"image": "file:filter.wasm"}}}}}}}"#,
    );
    let user = |name| {
        let credentials = wasm(&read, name).credentials.as_ref();
        credentials.map(|known| known.username.as_str())
    };
    assert_eq!(
        (user("one"), user("two"), user("three")),
        (Some("u"), None, None)
    );
}
