//! The methods of `$edgeAgent`, and what it reports.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest, PATIENCE};

/// A device with a module that has logged two lines.
pub fn logged(text: &str) -> Daemon {
    let daemon = Daemon::start();
    daemon.apply(&Manifest::new().module("cam", "misbehave", json!({"grants": {"state": true}})));
    for text in ["first line", text] {
        let send = daemon.edge("send cam/input1 --body x --property do=log --property");
        send.arg(format!("text={text}")).output("").code(0);
    }
    daemon.eventually("both are logged", |daemon| {
        daemon.edge("logs cam").output("").out.lines().count() == 2
    });
    daemon
}

#[track_caller]
fn call(daemon: &Daemon, method: &str, payload: &Value) -> (u64, Value) {
    let answer = daemon.edge("method --json $edgeAgent").arg(method);
    let answer = answer.arg(payload.to_string()).output("").code(0);
    let answer: Value = serde_json::from_str(&answer.out).unwrap();
    (
        answer["status"].as_u64().unwrap(),
        answer["payload"].clone(),
    )
}

fn logs(rest: Value) -> Value {
    let mut request = json!({"schemaVersion": "1.0", "items": [{"id": "^cam$"}]});
    for (name, value) in rest.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

#[test]
fn the_agent_answers_its_methods_whatever_their_case() {
    let daemon = logged("<3> second line");
    assert_eq!(call(&daemon, "PING", &Value::Null), (200, Value::Null));

    let (status, answer) = call(&daemon, "GetModuleLogs", &logs(json!({})));
    assert_eq!((status, &answer[0]["id"]), (200, &json!("cam")), "{answer}");
    let payload = answer[0]["payload"].as_str().unwrap();
    assert!(
        payload.ends_with(" first line\n<3> second line\n"),
        "{payload}"
    );
    let bad = json!({"items": [{"id": "cam", "filter": {"loglevel": 3}}], "contentType": "json"});
    let (_, answer) = call(&daemon, "getmodulelogs", &logs(bad));
    let lines: Value = serde_json::from_str(answer[0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(lines.as_array().unwrap().len(), 1, "{lines}");
    assert_eq!(lines[0]["text"], "<3> second line");
    let (_, answer) = call(&daemon, "GetModuleLogs", &logs(json!({"encoding": "gzip"})));
    assert!(
        answer[0]["payloadBytes"].is_string() && answer[0]["payload"].is_null(),
        "{answer}"
    );

    let restart = |id: &str| json!({"schemaVersion": "1.0", "id": id});
    assert_eq!(call(&daemon, "RestartModule", &restart("cam")).0, 200);
    for (method, payload, expected) in [
        ("RestartModule", restart("nobody"), 400),
        ("RestartModule", json!({"id": "cam"}), 400),
        (
            "GetModuleLogs",
            logs(json!({"items": [{"id": "nobody"}]})),
            400,
        ),
        ("GetModuleLogs", Value::Null, 400),
        ("UploadModuleLogs", logs(json!({})), 400),
        (
            "UploadModuleLogs",
            logs(json!({"sasUrl": "ftp://x/y"})),
            400,
        ),
        ("UploadSupportBundle", json!({"schemaVersion": "1.0"}), 400),
        ("GetTaskStatus", json!({"schemaVersion": "1.0"}), 400),
        ("MakeCoffee", Value::Null, 404),
    ] {
        let (status, answer) = call(&daemon, method, &payload);
        assert_eq!(status, expected, "{method}: {answer}");
        assert!(answer["message"].is_string(), "{method}: {answer}");
    }
}

#[test]
fn lines_that_are_too_many_for_an_answer_are_refused() {
    let daemon = logged("x");
    // A line has 8 KiB at most.
    for _ in 0..17 {
        let send = daemon.edge("send cam/input1 --body x --property do=log --property");
        let text = format!("text={}", "x".repeat(8_000));
        send.arg(text).output("").code(0);
    }
    daemon.eventually("it is logged", |daemon| {
        daemon.edge("logs cam").output("").out.lines().count() == 19
    });
    let (status, answer) = call(&daemon, "GetModuleLogs", &logs(json!({})));
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("127000"),
        "{answer}"
    );
    // They shrink to little.
    let (status, _) = call(&daemon, "GetModuleLogs", &logs(json!({"encoding": "gzip"})));
    assert_eq!(status, 200);
}

/// A server that takes one upload, gives its head and body, and answers.
fn sink(answer: &'static str) -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (got, taken) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let head = loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
            if request.ends_with(b"\r\n\r\n") {
                break String::from_utf8(request).unwrap().to_ascii_lowercase();
            }
        };
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // The test may have seen enough.
        let _ = got.send((head, body));
    });
    (format!("http://{at}"), taken)
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

/// The answer to `GetTaskStatus`, once the task has ended.
#[track_caller]
fn ended(daemon: &Daemon, task: &Value) -> Value {
    let ask = json!({"schemaVersion": "1.0", "correlationId": task["correlationId"]});
    let mut last = Value::Null;
    daemon.eventually("the task has ended", |daemon| {
        last = call(daemon, "GetTaskStatus", &ask).1;
        last["status"] != "Running"
    });
    last
}

#[test]
fn logs_are_uploaded_and_what_became_of_it_is_known_after_a_restart() {
    let mut daemon = logged("second line");
    let (url, taken) = sink(CREATED);
    let request = logs(json!({"sasUrl": format!("{url}/box?sv=1&sr=c&sig=abc")}));
    let (status, task) = call(&daemon, "UploadModuleLogs", &request);
    assert_eq!(
        (status, &task["status"]),
        (200, &json!("Running")),
        "{task}"
    );
    let (head, body) = taken.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("put /box/edge.internal/"), "{head}");
    assert!(head.contains(".log?sv=1&sr=c&sig=abc http/1.1"), "{head}");
    assert!(head.contains("x-ms-blob-type: blockblob"), "{head}");
    let body = String::from_utf8(body).unwrap();
    assert!(body.ends_with("second line\n"), "{body}");
    assert_eq!(ended(&daemon, &task)["status"], "Completed");

    let (url, _taken) = sink("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let request = logs(json!({"sasUrl": format!("{url}/file?sig=verysecret")}));
    let (_, refused) = call(&daemon, "UploadModuleLogs", &request);
    let failed = ended(&daemon, &refused);
    assert_eq!(failed["status"], "Failed");
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("403") && !message.contains("verysecret"),
        "{message}"
    );

    // Nobody takes this one before the daemon is killed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let request = logs(json!({"sasUrl": format!("http://{at}/file")}));
    let (_, cut) = call(&daemon, "UploadModuleLogs", &request);
    daemon.kill();
    daemon.again();
    assert_eq!(ended(&daemon, &task)["status"], "Completed");
    assert_eq!(ended(&daemon, &refused), failed);
    let cut = ended(&daemon, &cut);
    assert_eq!(cut["status"], "Failed");
    assert!(
        cut["message"].as_str().unwrap().contains("daemon ended"),
        "{cut}"
    );
    let nobody = json!({"correlationId": "nobody"});
    assert_eq!(ended(&daemon, &nobody)["status"], "Unknown");
}

#[test]
fn a_support_bundle_is_uploaded() {
    let daemon = logged("second line");
    let (url, taken) = sink(CREATED);
    let request = json!({"schemaVersion": "1.0", "sasUrl": format!("{url}/bundle.tar.gz")});
    let (_, task) = call(&daemon, "UploadSupportBundle", &request);
    let (head, body) = taken.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("put /bundle.tar.gz http/1.1"), "{head}");
    assert_eq!(ended(&daemon, &task)["status"], "Completed");
    let files = crate::bundle::unpack(&body);
    let cam = files
        .iter()
        .find(|(name, _)| name.ends_with("logs/cam.log"));
    assert!(cam.unwrap().1.contains("second line"));
}

#[test]
fn the_agent_reports_its_modules_in_its_twin() {
    let daemon = logged("x");
    let reported = |daemon: &Daemon| daemon.json("twin get $edgeAgent")["reported"].clone();
    daemon.eventually("it is reported as running", |daemon| {
        let properties = reported(daemon)["properties"].clone();
        properties["modules"]["cam"]["runtimeStatus"] == "running"
            && properties["lastDesiredStatus"]["code"] == 200
    });
    let first = reported(&daemon);
    let properties = &first["properties"];
    assert_eq!(properties["schemaVersion"], "1.0", "{properties}");
    assert_eq!(properties["lastDesiredVersion"], 1);
    assert_eq!(properties["lastDesiredStatus"]["code"], 200);
    let hash = properties["modules"]["cam"]["settings"]["imageHash"].as_str();
    assert!(hash.unwrap().starts_with("sha256:"), "{properties}");

    let manifest = Manifest::new().module("filter", "filter", json!({}));
    daemon.apply(&manifest);
    daemon.eventually("the other one is reported instead", |daemon| {
        let modules = reported(daemon)["properties"]["modules"].clone();
        modules["cam"].is_null() && modules["filter"]["runtimeStatus"] == "running"
    });
}

#[test]
fn lines_of_logs_are_selected() {
    let daemon = logged("<3> it broke");
    let lines = |words: &str| daemon.edge(words).output("").code(0).out;
    for (words, count) in [
        ("logs cam --level error", 1),
        ("logs cam --level info", 2),
        ("logs cam --grep ^first", 1),
        ("logs cam --since 1h", 2),
        ("logs cam --until 1h", 0),
        ("logs cam --tail 1", 1),
    ] {
        assert_eq!(lines(words).lines().count(), count, "{words}");
    }
    // The name is there where it is needed.
    assert!(!lines("logs cam").contains(" cam "));
    assert!(lines("logs").contains(" cam info: "));
    for (words, said) in [
        ("logs --since soon", "\"soon\" is no time"),
        ("logs --level loud", "\"loud\" is no level"),
        ("logs --grep (", "cannot be used"),
    ] {
        daemon.edge(words).output("").code(2).says(said);
    }
}
