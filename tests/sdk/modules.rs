//! Modules: processes with the environment that a module's container would have.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::{Sdk, Subject, World, features, isolated};

/// Connects, does everything, and renews its token without subscribing again.
fn module(sdk: Sdk, transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, sdk, "peer", json!({ "transport": transport }));
    let with = json!({"transport": transport, "token_ttl": features::SHORT});
    let mut subject = Subject::module(&world, sdk, "subject", with);
    features::all(&world, &mut subject, &mut peer, "first");
    subject.renew(&mut world, sdk);
    features::all(&world, &mut subject, &mut peer, "renewed");
    subject.client.ask("disconnect", json!({}));
}

/// Outlives a crash while its messages go round.
fn crash(sdk: Sdk, transport: &str) {
    let mut world = World::new();
    let with = json!({"transport": transport, "asynchronous": true});
    let mut peer = Subject::module(&world, sdk, "peer", with.clone());
    let mut subject = Subject::module(&world, sdk, "subject", with);
    features::crash(&mut world, &mut subject, &mut peer, "crash");
    subject.client.ask("disconnect", json!({}));
}

isolated! {
    fn a_python_module_does_everything_over_mqtt() { module(Sdk::Python, "tcp"); }
    fn a_python_module_does_everything_over_websocket() { module(Sdk::Python, "ws"); }
    fn a_node_module_does_everything_over_mqtt() { module(Sdk::Node, "tcp"); }
    fn a_node_module_does_everything_over_websocket() { module(Sdk::Node, "ws"); }

    fn a_python_module_outlives_a_crash_over_mqtt() { crash(Sdk::Python, "tcp"); }
    fn a_python_module_outlives_a_crash_over_websocket() { crash(Sdk::Python, "ws"); }
    fn a_node_module_outlives_a_crash_over_mqtt() { crash(Sdk::Node, "tcp"); }
    fn a_node_module_outlives_a_crash_over_websocket() { crash(Sdk::Node, "ws"); }

    /// The debugging set of variables: a connection string and the file of the trust bundle.
    fn a_module_may_have_a_connection_string_instead_of_a_workload_socket() {
        let world = World::new();
        let mut peer = Subject::module(&world, Sdk::Node, "peer", json!({}));
        for sdk in [Sdk::Python, Sdk::Node] {
            let mut subject = Subject::debugged(&world, sdk, "subject");
            features::all(&world, &mut subject, &mut peer, &format!("{sdk:?}"));
            subject.client.ask("disconnect", json!({}));
        }
    }

    /// What passes is seen by the command with properties and names as the sender wrote them.
    fn outputs_are_seen_by_the_command_as_they_were_sent() {
        let world = World::new();
        let peer = Subject::module(&world, Sdk::Python, "peer", json!({}));
        let mut subject = Subject::module(&world, Sdk::Python, "subject", json!({}));
        let mut tail = world.tail("--from subject/output1");
        // The command looks on from some moment on: send until it has seen one.
        let until = Instant::now() + PATIENCE;
        for number in 0.. {
            assert!(Instant::now() < until, "nothing was seen");
            features::messages(&mut subject, &peer, &format!("seen-{number}"));
            let Some(line) = tail.line_if_any() else {
                continue;
            };
            let seen: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(seen["module"], "subject", "{seen}");
            assert_eq!(seen["output"], "output1", "{seen}");
            assert_eq!(seen["into"], json!(["subject/input1"]), "{seen}");
            if seen["properties"] == json!({}) {
                continue;
            }
            assert_eq!(seen["properties"]["na sty&k"], "a b&c=d/e+f%g?h#é", "{seen}");
            assert_eq!(seen["properties"]["empty"], "", "{seen}");
            assert_eq!(seen["system"]["contentType"], "application/json", "{seen}");
            break;
        }
    }

    /// Two programs with one identity: the newer one has it, and the older one learns of it. One that comes
    /// back by itself would take it over in turn, and so on: the older one here does not.
    fn a_second_program_takes_an_identity_over() {
        let world = World::new();
        let with = json!({"retry": false});
        let mut first = Subject::module(&world, Sdk::Python, "subject", with);
        let second = Subject::module(&world, Sdk::Node, "subject", json!({}));
        first
            .client
            .event("connection", |event| event["connected"] == false);
        features::method_in(&world, &second, "second");
        let state = first.client.ask("state", json!({}));
        assert_eq!(state["connected"], false, "{state}");
    }

    /// An identity that is disabled loses its connection, and gets none.
    fn a_disabled_identity_is_cut_off_at_once() {
        let world = World::new();
        let mut subject = Subject::device(&world, Sdk::Python, "leaf1", json!({}));
        world.daemon.edge("identity disable leaf1").output("").code(0);
        subject
            .client
            .event("connection", |event| event["connected"] == false);
        subject.client.attempt("connect", json!({})).unwrap_err();
    }
}
