mod methods;
mod telemetry;
mod websocket;

use std::sync::Arc;

use crate::support::{Client, EchoTarget, World, module};

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let world = World::new();
    let mut client = world.connect();
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: gw\r\n", 404),
        (
            "POST /devices/leaf1/files?api-version=2019-10-01 HTTP/1.1\r\nHost: hub1\r\n",
            404,
        ),
        (
            "POST /devices/leaf1/files/notifications HTTP/1.1\r\nHost: hub1\r\n",
            404,
        ),
        ("GET /twins/edge1/methods HTTP/1.1\r\nHost: gw\r\n", 405),
        (
            "POST /twins/edge1/modules/%FF/methods HTTP/1.1\r\nHost: gw\r\n",
            400,
        ),
        (
            "POST /twins/edge1/modules/a%2Fb/methods HTTP/1.1\r\nHost: gw\r\n",
            400,
        ),
        ("GET /$iothub/websocket HTTP/1.1\r\nHost: gw\r\n", 426),
    ] {
        let answer = client.request(head, "").await;
        assert_eq!(answer.status, status, "{head}");
        assert!(!answer.message().is_empty());
    }
}

#[tokio::test]
async fn a_closing_gateway_ends_connections_after_the_request_under_way() {
    let world = World::new();
    world
        .hub
        .methods()
        .register(module("mod2"), Arc::new(EchoTarget));
    let mut idle = world.connect();
    assert_eq!(
        idle.request("GET / HTTP/1.1\r\nHost: gw\r\n", "")
            .await
            .status,
        404
    );
    let mut busy = world.connect();
    let body = r#"{"methodName":"m"}"#;
    let head = methods::head(&world, "/twins/edge1/modules/mod2/methods", &module("mod1"));
    busy.begin(&head, body).await;
    world.closing.send_replace(true);
    ended(&mut idle).await;
    busy.send(body.as_bytes()).await;
    assert_eq!(busy.answer().await.status, 200);
    ended(&mut busy).await;
}

async fn ended<S>(client: &mut Client<S>) {
    let serving = client.serving.take().expect("it is served");
    let ended = tokio::time::timeout(crate::support::PATIENCE, serving).await;
    ended.expect("in time").expect("without a panic");
}
