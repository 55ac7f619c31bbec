//! Who may connect: commands, the environment of modules, certificates, and what survives.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn named(name: &str) -> Daemon {
    Daemon::with(&format!("device.name = \"{name}\"\n"))
}

fn names(daemon: &Daemon) -> Vec<String> {
    let list = daemon.json("identity list");
    let name = |entry: &Value| entry["identity"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_fresh_device_has_an_identity_of_its_own() {
    let daemon = named("press-7");
    assert_eq!(
        names(&daemon),
        ["press-7", "press-7/$edgeAgent", "press-7/$edgeHub"]
    );
    for words in [
        "identity remove press-7",
        "identity disable press-7",
        "identity remove press-7/$edgeHub",
    ] {
        daemon
            .edge(words)
            .output("")
            .code(2)
            .says("this device's own");
    }
    assert_eq!(names(&daemon).len(), 3);
}

#[test]
fn a_device_that_is_added_gets_a_connection_string_and_keeps_it() {
    let mut daemon = named("press-7");
    let added = daemon.edge("identity add leaf").output("").code(0).silent();
    let line = added.out.trim().to_owned();
    assert!(
        line.starts_with("HostName=edge.internal;DeviceId=leaf;SharedAccessKey=")
            && line.ends_with(";GatewayHostName=localhost"),
        "{line}"
    );
    daemon
        .edge("identity add leaf")
        .output("")
        .code(2)
        .says("leaf is registered already");
    daemon.kill();
    daemon.again();
    let shown = daemon.json("identity show leaf --keys");
    assert_eq!(shown["secrets"]["connection_string"], line);
    assert!(daemon.json("identity show leaf").get("secrets").is_none());
}

#[test]
fn an_identity_can_have_given_keys_thumbprints_or_a_trusted_ca() {
    let daemon = named("press-7");
    let add = |words: &str| daemon.json(&format!("identity add {words}"));
    assert_eq!(
        add(&format!("a --key {KEY}"))["secrets"]["primary_key"],
        KEY
    );
    let from_stdin = daemon
        .edge("identity add b --key -")
        .output(format!("{KEY}\n"))
        .code(0);
    assert!(from_stdin.out.contains(KEY), "{from_stdin:#?}");
    let module = daemon.edge("identity add a/m").output("").code(0);
    assert!(
        module.out.contains(";DeviceId=a;ModuleId=m;"),
        "{module:#?}"
    );
    let thumbprint = "ab".repeat(32);
    let x509 = add(&format!("c --thumbprint {thumbprint},{}", "CD".repeat(20)));
    assert_eq!(x509["auth"], "x509-thumbprint");
    assert_eq!(x509["thumbprints"].as_array().unwrap().len(), 2);
    let string = x509["secrets"]["connection_string"].as_str().unwrap();
    assert!(string.contains(";x509=true;"), "{string}");
    assert_eq!(add("d --ca")["auth"], "x509-ca");
    for (words, why) in [
        ("identity add e --key short", "bad key"),
        ("identity add e --thumbprint 12", "bad thumbprint"),
        ("identity add nobody/m", "device nobody is not registered"),
        ("identity add a//m", "is no identity"),
        ("identity rotate c", "has no keys to replace"),
        ("identity show nobody", "nobody is not registered"),
    ] {
        daemon.edge(words).output("").code(2).says(why);
    }
    daemon.edge("identity remove a").output("").code(0);
    let left = names(&daemon);
    assert!(!left.iter().any(|name| name.starts_with("a")), "{left:?}");
}

#[test]
fn keys_are_rotated_and_identities_disabled() {
    let daemon = named("press-7");
    let keys = |value: &Value| {
        let secrets = &value["secrets"];
        [
            secrets["primary_key"].clone(),
            secrets["secondary_key"].clone(),
        ]
    };
    let first = keys(&daemon.json("identity add leaf"));
    let second = keys(&daemon.json("identity rotate leaf --secondary"));
    assert!(first[0] == second[0] && first[1] != second[1]);
    let third = keys(&daemon.json("identity rotate leaf"));
    assert!(second[0] != third[0] && second[1] != third[1]);
    daemon
        .edge("identity disable leaf")
        .output("")
        .code(0)
        .prints_nothing();
    assert_eq!(daemon.json("identity show leaf")["status"], "disabled");
    daemon.edge("identity enable leaf").output("").code(0);
    assert_eq!(daemon.json("identity show leaf")["status"], "enabled");
}

#[test]
fn keys_are_in_no_log_and_private_files_stay_private() {
    let mut daemon = Daemon::with("device.name = \"press-7\"\n");
    daemon
        .edge("identity add leaf --key")
        .arg(KEY)
        .output("")
        .code(0);
    daemon.json("identity list");
    let output = daemon.stop();
    assert!(!output.err.contains(KEY), "{output:#?}");
    for entry in fs::read_dir(daemon.data().join("certificates")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "key") {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    let folder = fs::metadata(daemon.data().join("certificates")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}

#[test]
fn modules_of_a_deployment_have_identities_for_as_long_as_they_are_in_it() {
    let mut daemon = named("press-7");
    daemon
        .edge("identity add press-7/by-hand")
        .output("")
        .code(0);
    let both = Manifest::new()
        .module("filter", "filter", json!({}))
        .module("by-hand", "filter", json!({}));
    daemon.apply(&both);
    assert!(names(&daemon).contains(&"press-7/filter".to_owned()));
    let generation = daemon.json("identity show press-7/filter")["generation"].clone();
    daemon.kill();
    daemon.again();
    let again = daemon.json("identity show press-7/filter");
    assert_eq!(again["generation"], generation);
    let socket = daemon.data().join("workload/filter/sock");
    assert!(socket.exists());
    // What was made by hand stays, whether it was deployed meanwhile or not.
    daemon.apply(&Manifest::new().module("other", "filter", json!({})));
    let left = names(&daemon);
    assert!(!left.contains(&"press-7/filter".to_owned()), "{left:?}");
    assert!(left.contains(&"press-7/by-hand".to_owned()), "{left:?}");
    daemon.eventually("its socket is gone", |_| !socket.exists());
    // One that is made by hand after it has left is not taken away by a start.
    daemon
        .edge("identity add press-7/filter")
        .output("")
        .code(0);
    daemon.kill();
    daemon.again();
    assert!(names(&daemon).contains(&"press-7/filter".to_owned()));
}

/// A value of the environment that `edge identity env` prints.
fn variable(env: &str, name: &str) -> String {
    let line = env
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}=")));
    let value = line.unwrap_or_else(|| panic!("no {name} in {env}"));
    value.trim_matches('\'').to_owned()
}

/// A call of the workload API.
fn workload(socket: &Path, request: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")),
    )
}

#[test]
fn a_process_in_a_modules_environment_can_ask_for_what_it_needs() {
    let daemon = named("press-7");
    daemon.edge("identity add press-7/dev").output("").code(0);
    let env = daemon
        .edge("identity env dev")
        .output("")
        .code(0)
        .silent()
        .out;
    assert_eq!(variable(&env, "IOTEDGE_DEVICEID"), "press-7");
    assert_eq!(variable(&env, "IOTEDGE_MODULEID"), "dev");
    assert_eq!(variable(&env, "IOTEDGE_IOTHUBHOSTNAME"), "edge.internal");
    assert_eq!(variable(&env, "IOTEDGE_GATEWAYHOSTNAME"), "localhost");
    assert_eq!(variable(&env, "IOTEDGE_AUTHSCHEME"), "sasToken");
    assert!(!env.contains("SharedAccessKey"), "{env}");
    let uri = variable(&env, "IOTEDGE_WORKLOADURI");
    let socket = PathBuf::from(uri.strip_prefix("unix://").unwrap());
    let generation = variable(&env, "IOTEDGE_MODULEGENERATIONID");
    let (status, bundle) = workload(
        &socket,
        "GET /trust-bundle?api-version=2018-06-28 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status, 200);
    let printed = daemon.edge("certificates --bundle").output("").code(0).out;
    assert_eq!(
        bundle["certificate"].as_str().unwrap().trim(),
        printed.trim()
    );
    let body = r#"{"keyId": "primary", "algo": "HMACSHA256", "data": "eA=="}"#;
    let sign = |generation: &str| {
        let length = body.len();
        let request = format!(
            "POST /modules/dev/genid/{generation}/sign?api-version=2018-06-28 HTTP/1.1\r\n\
             Host: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        workload(&socket, &request)
    };
    let (status, digest) = sign(&generation);
    assert_eq!(
        (status, digest["digest"].as_str().unwrap().len()),
        (200, 44)
    );
    assert_ne!(sign("1").0, 200);
    let mode = fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
}

#[test]
fn a_command_runs_as_a_module() {
    let daemon = named("press-7");
    let print = "echo $IOTEDGE_MODULEID ${EdgeHubConnectionString:-none} $1; exit 7";
    let run = daemon
        .edge("run --as $edgeAgent -- sh -c")
        .arg(print)
        .args("sh word")
        .env("EdgeHubConnectionString", "stray");
    let output = run.output("").code(7);
    assert_eq!(output.out, "$edgeAgent none word\n", "{output:#?}");
    let printed = daemon.edge("run --as $edgeAgent").output("").code(0).out;
    assert!(
        printed.contains("IOTEDGE_MODULEID='$edgeAgent'\n"),
        "{printed}"
    );
    daemon
        .edge("run --as nobody")
        .output("")
        .code(2)
        .says("there is no module nobody");
    daemon
        .edge("run --as $edgeAgent -- /not/there")
        .output("")
        .code(2)
        .says("start /not/there");
    daemon.edge("run -- true").output("").code(2);
}

#[test]
fn a_process_that_reaches_no_socket_gets_a_connection_string() {
    let daemon = named("press-7");
    daemon
        .edge("identity add press-7/dev --key")
        .arg(KEY)
        .output("")
        .code(0);
    let object = daemon.json("identity env dev --connection-string");
    assert_eq!(
        object["EdgeHubConnectionString"],
        format!(
            "HostName=edge.internal;DeviceId=press-7;ModuleId=dev;SharedAccessKey={KEY};GatewayHostName=localhost"
        )
    );
    let file = object["EdgeModuleCACertificateFile"].as_str().unwrap();
    let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644);
    assert!(
        fs::read_to_string(file)
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert_eq!(object.as_object().unwrap().len(), 2, "{object}");
}

#[test]
fn certificates_are_listed_and_stay_over_a_restart() {
    let mut daemon = Daemon::with(
        "device.hostname = \"press-7.example\"\ncertificates.names = [\"10.0.0.7\"]\n",
    );
    let before = daemon.json("certificates");
    let server = &before["certificates"][0];
    assert_eq!(server["role"], "server");
    let names: Vec<_> = server["names"].as_array().unwrap().iter().collect();
    for name in ["press-7.example", "10.0.0.7", "localhost", "127.0.0.1"] {
        assert!(names.contains(&&json!(name)), "{name} is not in {names:?}");
    }
    let roles: Vec<_> = before["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["role"])
        .collect();
    assert_eq!(
        roles,
        [&json!("server"), &json!("intermediate"), &json!("root")]
    );
    daemon.stop().code(0);
    daemon.again();
    assert_eq!(daemon.json("certificates"), before);
    let table = daemon.edge("certificates").output("").code(0).out;
    assert!(table.contains("trust-bundle.pem"), "{table}");
}

#[test]
fn a_file_of_certificates_that_is_not_there_is_named_with_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let settings = "metrics.listen = \"off\"\nmqtt.listen = \"off\"\namqp.listen = \"off\"\nhttps.listen = \"off\"\n\
                    certificates.certificate = \"/not/there.pem\"\ncertificates.key = \"/not/there.key\"\n";
    fs::write(&config, settings).unwrap();
    let daemon = crate::support::edge(["daemon", "--config"])
        .arg(&config)
        .arg("--data")
        .arg(dir.path().join("data"));
    daemon.output("").code(78).says("/not/there.pem");
}

#[test]
fn twins_of_devices_are_wanted_replaced_and_watched() {
    let daemon = named("press-7");
    daemon.edge("identity add leaf").output("").code(0);
    daemon.edge("identity add leaf/m").output("").code(0);
    let mut watch = daemon.edge("twin watch leaf --json").start();
    let next = |watch: &mut crate::support::Running| -> Value {
        serde_json::from_str(&watch.line()).unwrap()
    };
    assert_eq!(next(&mut watch)["desired"]["properties"], json!({}));
    daemon.json("twin set leaf {\"a\":1,\"b\":2}");
    assert_eq!(
        next(&mut watch)["desired"]["properties"],
        json!({"a": 1, "b": 2})
    );
    daemon.json("twin set leaf {\"c\":3} --replace");
    assert_eq!(next(&mut watch)["desired"]["properties"], json!({"c": 3}));
    daemon.json("twin set leaf/m {\"x\":1}");
    assert_eq!(
        daemon.json("twin get leaf/m")["desired"]["properties"],
        json!({"x": 1})
    );
    assert_eq!(
        daemon.json("twin get leaf")["desired"]["properties"],
        json!({"c": 3})
    );
    daemon
        .edge("twin get nobody")
        .output("")
        .code(2)
        .says("there is no module nobody");
    daemon
        .edge("twin get leaf/nobody")
        .output("")
        .code(2)
        .says("leaf/nobody is not registered");
    daemon
        .edge("method leaf ping")
        .output("")
        .code(2)
        .says("answers no methods");
}

#[test]
fn what_a_module_reports_is_watched() {
    let daemon = named("press-7");
    let manifest = Manifest::new().module("device", "device_twin", json!({}));
    daemon.apply(&manifest);
    let mut watch = daemon.edge("twin watch device --json").start();
    let first: Value = serde_json::from_str(&watch.line()).unwrap();
    let version = first["reported"]["version"].as_u64().unwrap();
    daemon.json("twin set device {\"interval\":2}");
    // The desired change, then the report that answers it.
    loop {
        let twin: Value = serde_json::from_str(&watch.line()).unwrap();
        if twin["reported"]["version"].as_u64().unwrap() > version {
            break;
        }
    }
}

#[test]
fn a_message_waits_for_a_device_that_sleeps() {
    let mut daemon = named("press-7");
    daemon.edge("identity add leaf").output("").code(0);
    daemon
        .edge("send --device leaf --body hello")
        .output("")
        .code(0)
        .silent();
    assert_eq!(daemon.depth("$device/leaf"), 1);
    let waited = daemon
        .edge("send --device leaf --body two --wait 1s")
        .output("");
    waited
        .code(1)
        .says("the device has not taken the message yet");
    daemon.kill();
    daemon.again();
    assert_eq!(daemon.depth("$device/leaf"), 2);
    daemon
        .edge("send --device nobody --body x")
        .output("")
        .code(2)
        .says("there is no device nobody");
    daemon
        .edge("send --wait --body x $upstream")
        .output("")
        .code(2);
}

#[test]
fn a_port_that_is_taken_is_said_and_the_daemon_goes_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut daemon = Daemon::with(&format!(
        "https.listen = [\"{address}\", \"127.0.0.1:0\"]\n"
    ));
    let info = daemon.call("GET", "/v1/device", "").1;
    let info: Value = serde_json::from_str(&info).unwrap();
    let listeners = info["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 1, "{info}");
    let output = daemon.stop();
    assert!(
        output
            .err
            .contains("[https] is not served: set [https] listen to another address"),
        "{output:#?}"
    );
    assert!(output.err.contains(&format!(
        ", https {}",
        listeners[0]["address"].as_str().unwrap()
    )));
}
