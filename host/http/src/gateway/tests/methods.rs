use std::sync::Arc;
use std::time::Duration;

use edge_core::{DeviceId, Identity, Timestamp};
use edge_hub::{Caller, Invocation, MethodError};
use edge_identity::{NewAuth, Which};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::version::TLS12;

use crate::gateway::Gateway;
use crate::support::{
    Answer, Client, EchoTarget, Target, World, authority, connect_tls, leaf, module, plain,
    tls_client,
};
use crate::{Listener, ListenerConfig};

const TO_MOD2: &str = "/twins/edge1/modules/mod2/methods";

/// A request as Python's SDK spells it, up to its length.
pub(super) fn head(world: &World, path: &str, caller: &Identity) -> String {
    let token = world.token(caller);
    format!(
        "POST {path}?api-version=2019-10-01 HTTP/1.1\r\n\
         Host: edgegw\r\n\
         User-Agent: azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%29\r\n\
         Accept-Encoding: identity\r\n\
         Content-Type: application/json\r\n\
         Authorization: {token}\r\n\
         x-ms-edge-moduleId: {caller}\r\n"
    )
}

async fn call(world: &World, path: &str, body: &Value) -> Answer {
    let head = head(world, path, &module("mod1"));
    world.connect().request(&head, &body.to_string()).await
}

#[tokio::test]
async fn a_module_gets_the_answer_of_another_whatever_its_status() {
    let world = World::new();
    let methods = world.hub.methods();
    methods.register(module("mod2"), Arc::new(EchoTarget));
    methods.register(module("$edgeHub"), Arc::new(EchoTarget));
    methods.register(leaf(), Arc::new(EchoTarget));
    let payload = json!({"token": "63f9…", "n": [1, 2.50]});
    let body = json!({
        "methodName": "checkMethod", "payload": payload,
        "responseTimeoutInSeconds": 10, "connectTimeoutInSeconds": 5,
    });
    for path in [
        TO_MOD2,
        "/twins/edge1/modules/%24edgeHub/methods",
        "/twins/edge1/modules/$edgeHub/methods",
        "/twins/leaf1/methods",
    ] {
        let answer = call(&world, path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let expected = json!({"status": 207, "payload": {"name": "checkMethod", "got": payload}});
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn a_request_as_node_spells_it_is_taken_on_a_connection_that_stays() {
    let world = World::new();
    let methods = world.hub.methods();
    methods.register(module("mod2"), Arc::new(EchoTarget));
    let mut client = world.connect();
    let token = world.token(&module("mod1"));
    // No api-version, no timeouts, no payload; names of headers in another case; no content type.
    let head = format!(
        "POST {TO_MOD2} HTTP/1.1\r\nhost: edgegw\r\nauthorization: {token}\r\n\
         Request-Id: 1fd0e4f8-16a3-4217-aa08-3de04fff3056\r\nX-MS-Edge-ModuleID: edge1/mod1\r\n"
    );
    for body in [
        r#"{"methodName":"m"}"#,
        r#"{"methodName":"m","payload":null}"#,
    ] {
        let answer = client.request(&head, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let expected = json!({"status": 207, "payload": {"name": "m", "got": null}});
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn a_caller_that_does_not_prove_who_it_is_gets_401() {
    let world = World::new();
    let methods = world.hub.methods();
    methods.register(module("mod2"), Arc::new(EchoTarget));
    let body = r#"{"methodName":"m"}"#;
    let mut client = world.connect();
    let mut status = async |caller: &str, token: Option<&str>| {
        let token = token.map(|token| format!("Authorization: {token}\r\n"));
        let head = format!(
            "POST {TO_MOD2} HTTP/1.1\r\nHost: gw\r\nx-ms-edge-moduleId: {caller}\r\n{}",
            token.unwrap_or_default()
        );
        let answer = client.request(&head, body).await;
        if answer.status != 200 {
            assert!(!answer.message().contains("sig"), "{answer:?}");
        }
        answer.status
    };
    let good = world.token(&module("mod1"));
    assert_eq!(status("edge1/mod1", Some(&good)).await, 200);
    assert_eq!(status("edge1/mod1", None).await, 401);
    assert_eq!(status("edge1/mod1", Some("")).await, 401);
    assert_eq!(
        status("edge1/mod1", Some("Basic bW9kMTpzZWNyZXQ=")).await,
        401
    );
    // Somebody else's, and one of nobody known.
    assert_eq!(status("edge1/mod2", Some(&good)).await, 401);
    assert_eq!(status("edge1/nobody", Some(&good)).await, 401);
    let long_ago = world.token_until(&module("mod1"), Timestamp(1_000_000_000));
    assert_eq!(status("edge1/mod1", Some(&long_ago)).await, 401);
    // A module of another device proves who it is, and may not.
    let device = DeviceId::new("leaf1").expect("id");
    let Identity::Module(_, mod1) = module("mod1") else {
        panic!("it is a module");
    };
    let other = world.token(&Identity::Module(device, mod1));
    assert_eq!(status("leaf1/mod1", Some(&other)).await, 401);
    let rotated = world
        .registry
        .rotate(&module("mod1"), Which::Both, world.hub.now());
    rotated.expect("it has keys");
    assert_eq!(status("edge1/mod1", Some(&good)).await, 401);
}

#[tokio::test]
async fn requests_that_make_no_sense_get_400() {
    let world = World::new();
    let token = world.token(&module("mod1"));
    let mut client = world.connect();
    for caller in [
        "",
        "x-ms-edge-moduleId: mod1\r\n",
        "x-ms-edge-moduleId: edge1/\r\n",
        "x-ms-edge-moduleId: edge1/a/b\r\n",
    ] {
        let head =
            format!("POST {TO_MOD2} HTTP/1.1\r\nHost: gw\r\nAuthorization: {token}\r\n{caller}");
        let answer = client.request(&head, r#"{"methodName":"m"}"#).await;
        assert_eq!(answer.status, 400, "{caller:?}: {answer:?}");
    }
    let head = head(&world, TO_MOD2, &module("mod1"));
    for body in [
        "",
        "[]",
        "{",
        r#"{"payload":1}"#,
        r#"{"methodName":""}"#,
        r#"{"methodName":"m","payload":{]}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":4}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":301}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":-1}"#,
        r#"{"methodName":"m","connectTimeoutInSeconds":301}"#,
    ] {
        let answer = client.request(&head, body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(!answer.message().is_empty());
    }
}

#[tokio::test]
async fn a_target_that_is_not_there_gets_404() {
    let world = World::new();
    let answer = call(&world, TO_MOD2, &json!({"methodName": "m"})).await;
    assert_eq!(answer.status, 404);
    assert!(answer.message().contains("edge1/mod2"));
}

#[tokio::test]
async fn time_that_is_up_gets_504_without_an_answer_and_404_without_a_target() {
    let world = World::new();
    let gateway = Gateway::with(world.gateway_config(), |_| {
        tokio::time::sleep(Duration::ZERO)
    });
    let mut client = Client::of(&gateway, plain());
    let head = head(&world, TO_MOD2, &module("mod1"));
    let body = r#"{"methodName":"m","connectTimeoutInSeconds":6}"#;
    assert_eq!(client.request(&head, body).await.status, 404);
    let mut calls = Target::register(&world, module("mod2"));
    for (body, time) in [
        (
            r#"{"methodName":"m","responseTimeoutInSeconds":7}"#,
            "within 7s",
        ),
        (r#"{"methodName":"m"}"#, "within 30s"),
    ] {
        let answer = client.request(&head, body).await;
        assert_eq!(answer.status, 504);
        assert!(answer.message().contains(time), "{answer:?}");
        let call = calls.try_recv().expect("it was called");
        assert!(!call.is_wanted());
    }
}

#[tokio::test]
async fn a_target_that_comes_within_the_time_for_it_answers() {
    let world = World::new();
    let body = json!({"methodName": "m", "connectTimeoutInSeconds": 300});
    let calling = call(&world, TO_MOD2, &body);
    let coming = async {
        // Not before the caller has been told to wait, or it would prove nothing.
        tokio::task::yield_now().await;
        let methods = world.hub.methods();
        methods.register(module("mod2"), Arc::new(EchoTarget));
    };
    let (answer, ()) = tokio::join!(calling, coming);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_target_that_stops_gets_502_and_one_that_waits_for_the_caller_503() {
    let world = World::new();
    let mut calls = Target::register(&world, module("mod2"));
    let body = json!({"methodName": "m"});
    let calling = call(&world, TO_MOD2, &body);
    let stopping = async { drop(calls.recv().await) };
    let (answer, ()) = tokio::join!(calling, stopping);
    assert_eq!(answer.status, 502);
    // mod2 calls mod1 from its step, and mod1 calls back before it answers.
    let mut of_mod1 = Target::register(&world, module("mod1"));
    let (from, to) = (module("mod2"), module("mod1"));
    let step = Invocation {
        caller: Caller::Step(&from),
        target: &to,
        name: "outer",
        payload: "null",
        connect_timeout: Duration::ZERO,
        response_timeout: Duration::from_secs(60),
    };
    let outer = world.hub.methods().call(step, tokio::time::sleep);
    let inner = async {
        let held = of_mod1.recv().await.expect("it is called");
        let answer = call(&world, TO_MOD2, &body).await;
        assert_eq!(answer.status, 503);
        assert!(answer.message().contains("waits for the caller"));
        held.answer(Err(MethodError::Failed("enough".to_owned())));
    };
    let (outer, ()) = tokio::join!(outer, inner);
    assert_eq!(outer, Err(MethodError::Failed("enough".to_owned())));
}

#[tokio::test]
async fn a_caller_that_hangs_up_gives_its_call_up() {
    let world = World::new();
    let mut calls = Target::register(&world, module("mod2"));
    let mut client = world.connect();
    let head = head(&world, TO_MOD2, &module("mod1"));
    let body = r#"{"methodName":"m"}"#;
    client
        .send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .await;
    let call = calls.recv().await.expect("it is called");
    assert!(call.is_wanted());
    let serving = client.serving.take().expect("it is served");
    drop(client);
    serving.await.expect("without a panic");
    assert!(!call.is_wanted());
}

#[tokio::test]
async fn payloads_that_are_too_large_get_413_and_the_answer_arrives() {
    let world = World::new();
    let methods = world.hub.methods();
    methods.register(module("mod2"), Arc::new(EchoTarget));
    let limit = 128 << 10;
    let fits = json!({"methodName": "m", "payload": "x".repeat(limit - 64)});
    // What comes back is larger than what went in.
    assert_eq!(call(&world, TO_MOD2, &fits).await.status, 200);
    for size in [limit, limit + (32 << 10), 3 << 20] {
        let body = json!({"methodName": "m", "payload": "x".repeat(size)});
        let answer = call(&world, TO_MOD2, &body).await;
        assert_eq!(answer.status, 413, "{size}");
        assert!(answer.message().contains("at most"));
    }
    // Without a length up front.
    let mut client = world.connect();
    let head = head(&world, TO_MOD2, &module("mod1"));
    let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    client.send(head.as_bytes()).await;
    let piece = "x".repeat(60_000);
    for _ in 0..4 {
        client
            .send(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
            .await;
    }
    client.send(b"0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_module_calls_with_its_certificate_through_tls() {
    let (world, dir) = (World::new(), TempDir::new().expect("dir"));
    let authority = authority(&dir);
    assert!(world.registry.set_verifier(authority.clone()));
    let changed = world
        .registry
        .set_auth(&module("mod1"), NewAuth::Authority, world.hub.now());
    changed.expect("it is there");
    let methods = world.hub.methods();
    methods.register(module("mod2"), Arc::new(EchoTarget));
    let listener = Listener::bind(
        ([127, 0, 0, 1], 0).into(),
        Some(authority.server_config()),
        Arc::new(world.gateway(Vec::new())),
        ListenerConfig::default(),
    );
    let listener = listener.await.expect("there is a port");
    let address = listener.address().expect("it is TCP");
    let running = tokio::spawn(listener.run(world.closing.subscribe()));
    let head = format!("POST {TO_MOD2} HTTP/1.1\r\nHost: gw\r\nx-ms-edge-moduleId: edge1/mod1\r\n");
    for (name, status) in [
        (Some("edge1/mod1"), 200),
        (Some("edge1/mod2"), 401),
        (None, 401),
    ] {
        let connector = tls_client(&authority, &TLS12, name);
        let mut client = Client::over(connect_tls(&connector, address).await);
        let answer = client.request(&head, r#"{"methodName":"m"}"#).await;
        assert_eq!(answer.status, status, "{name:?}: {answer:?}");
    }
    world.closing.send_replace(true);
    running.await.expect("without a panic");
}
