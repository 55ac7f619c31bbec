use std::sync::Arc;

use edge_core::{Identity, Message, Priority, system};
use edge_hub::{Owner, Wake};
use edge_identity::NewAuth;
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{Commit, Visible};

use crate::support::{World, leaf, module};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

fn world() -> World {
    let world = World::new();
    let text = "FROM /messages/* INTO $upstream";
    let route = Route::compile(text, Mode::Compat).expect("it is a route");
    let entry = RouteEntry {
        name: "up".to_owned(),
        route: route.expect("it leads somewhere"),
        priority: Priority::DEFAULT,
        time_to_live: None,
    };
    world.hub.set_routes(RouteTable::new(vec![entry]), None);
    world
}

fn received(world: &World) -> Vec<Message> {
    let mut inbox = world
        .hub
        .inbox(Owner::Upstream, Arc::new(Nobody), Visible::Durable);
    let mut out = Vec::new();
    inbox.take(100, world.hub.now(), &mut out, &mut Commit::new());
    out.into_iter().map(|delivery| delivery.message).collect()
}

fn head(world: &World, identity: &Identity) -> String {
    let path = match identity {
        Identity::Device(device) => format!("/devices/{device}"),
        Identity::Module(device, module) => format!("/devices/{device}/modules/{module}"),
    };
    let token = world.token(identity);
    format!(
        "POST {path}/messages/events?api-version=2020-03-13 HTTP/1.1\r\nHost: gw\r\n\
         Authorization: {token}\r\n"
    )
}

#[tokio::test]
async fn a_message_arrives_with_its_properties_and_as_who_sent_it() {
    let world = world();
    let mut client = world.connect();
    let properties = "iothub-messageid: m-1\r\nIoTHub-CorrelationId: c-1\r\niothub-userid: ü\r\n\
                      iothub-app-Line: 3\r\niothub-app-empty:\r\nContent-Type: application/json\r\n";
    let of_leaf = head(&world, &leaf()) + properties;
    let answer = client.request(&of_leaf, r#"{"t":31}"#).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let of_module = head(&world, &module("mod1"))
        + "Content-Type: application/json\r\niothub-contenttype: text/csv\r\n\
           iothub-contentencoding: utf-16\r\n";
    assert_eq!(client.request(&of_module, "1;2").await.status, 204);
    let bare = client.request(&head(&world, &leaf()), "").await;
    assert_eq!(bare.status, 204);
    let messages = received(&world);
    assert_eq!(messages.len(), 3);
    let first = &messages[0];
    assert_eq!(first.origin.identity(), leaf());
    assert_eq!(first.origin.path(), "/messages");
    assert_eq!(&first.content.body[..], br#"{"t":31}"#);
    let all: Vec<_> = first.content.properties.iter().collect();
    assert_eq!(all, [("line", "3"), ("empty", "")]);
    let of = |name| first.content.system.get(name);
    assert_eq!(of(system::MESSAGE_ID), Some("m-1"));
    assert_eq!(of(system::CORRELATION_ID), Some("c-1"));
    assert_eq!(of(system::USER_ID), Some("ü"));
    assert_eq!(of(system::CONTENT_ENCODING), Some("utf-8"));
    assert!(first.content.is_json());
    let second = &messages[1];
    assert_eq!(second.origin.identity(), module("mod1"));
    let of = |name| second.content.system.get(name);
    assert_eq!(of(system::CONTENT_TYPE), Some("text/csv"));
    assert_eq!(of(system::CONTENT_ENCODING), Some("utf-16"));
    assert_eq!(messages[2].content.size(), 0);
}

#[tokio::test]
async fn what_is_no_message_of_its_sender_is_refused_and_goes_nowhere() {
    let world = world();
    let mut client = world.connect();
    let as_leaf = head(&world, &leaf());
    let other = as_leaf.replace("/devices/leaf1/", "/devices/edge1/");
    assert_eq!(client.request(&other, "x").await.status, 401);
    let batch = as_leaf.clone() + "Content-Type: application/vnd.microsoft.iothub.json\r\n";
    assert_eq!(client.request(&batch, "[]").await.status, 415);
    let no_text = [
        as_leaf.as_bytes(),
        b"iothub-app-x: \xFF\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat();
    client.send(&no_text).await;
    assert_eq!(client.answer().await.status, 400);
    let body = "x".repeat(256 << 10);
    let property = as_leaf.clone() + "iothub-app-x: 1\r\n";
    let answer = client.request(&property, &body).await;
    assert_eq!(answer.status, 413, "with its property it is too large");
    let mut client = world.connect();
    let answer = client.request(&as_leaf, &"x".repeat((256 << 10) + 1)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(received(&world).len(), 0);
    assert_eq!(world.connect().request(&as_leaf, &body).await.status, 204);
    assert_eq!(received(&world).len(), 1);
}

#[tokio::test]
async fn a_device_that_is_known_by_a_certificate_needs_no_token() {
    let world = world();
    let auth = NewAuth::Authority;
    let changed = world.registry.set_auth(&leaf(), auth, world.hub.now());
    changed.expect("it is there");
    let mut client = world.connect();
    let head = "POST /devices/leaf1/messages/events HTTP/1.1\r\nHost: gw\r\n";
    // Without one, and while nothing can judge those that lead to a CA.
    assert_eq!(client.request(head, "x").await.status, 401);
    let peer =
        edge_identity::Peer::encrypted(crate::support::plain().address, &[vec![0x30, 0].into()]);
    let gateway = world.gateway(Vec::new());
    let mut client = crate::support::Client::of(&gateway, peer);
    assert_eq!(client.request(head, "x").await.status, 503);
}
