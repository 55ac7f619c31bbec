//! AMQP: the SDK for Node.js over it, in mixed company, and rhea, which knows nothing of hubs.

use serde_json::{Value, json};

use crate::{Client, Sdk, Subject, World, features, isolated};

/// A module connects, does everything, and renews its token on the connection that it has.
fn module(transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, Sdk::Node, "peer", json!({ "transport": transport }));
    let with = json!({ "transport": transport });
    let mut subject = Subject::module(&world, Sdk::Node, "subject", with);
    features::all(&world, &mut subject, &mut peer, "first");
    subject.renew_in_place(&mut world);
    features::all(&world, &mut subject, &mut peer, "renewed");
    subject.client.ask("disconnect", json!({}));
}

/// A device does, and a module by MQTT gets what it sends.
fn device(transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, Sdk::Python, "peer", json!({}));
    let with = json!({ "transport": transport });
    let mut subject = Subject::device(&world, Sdk::Node, "leaf1", with);
    features::all(&world, &mut subject, &mut peer, "first");
    subject.renew_in_place(&mut world);
    features::all(&world, &mut subject, &mut peer, "renewed");
    subject.client.ask("disconnect", json!({}));
}

/// A module outlives a crash while its messages go round.
fn crash(transport: &str) {
    let mut world = World::new();
    let with = json!({ "transport": transport });
    let mut peer = Subject::module(&world, Sdk::Node, "peer", with.clone());
    let mut subject = Subject::module(&world, Sdk::Node, "subject", with);
    features::crash(&mut world, &mut subject, &mut peer, "crash");
    subject.client.ask("disconnect", json!({}));
}

/// A device outlives one while it sends.
fn device_crash(transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, Sdk::Python, "peer", json!({"asynchronous": true}));
    let with = json!({ "transport": transport });
    let mut subject = Subject::device(&world, Sdk::Node, "leaf1", with);
    features::crash(&mut world, &mut subject, &mut peer, "crash");
    subject.client.ask("disconnect", json!({}));
}

/// One step of rhea's script, on a fresh daemon.
fn rhea(step: &str) -> Value {
    let world = World::new();
    let environment = world.environment("subject --connection-string");
    let mut environment = environment.into_iter();
    let connection_string = environment.find(|(name, _)| name == "EdgeHubConnectionString");
    let with = json!({
        "ca": world.trust_bundle(),
        "connection_string": connection_string.expect("it has one").1,
    });
    Client::rhea().ask(step, with)
}

isolated! {
    fn a_node_module_does_everything_over_amqp() { module("amqp"); }
    fn a_node_module_does_everything_over_amqp_in_a_websocket() { module("amqp-ws"); }
    fn a_node_device_does_everything_over_amqp() { device("amqp"); }
    fn a_node_device_does_everything_over_amqp_in_a_websocket() { device("amqp-ws"); }

    fn a_node_module_outlives_a_crash_over_amqp() { crash("amqp"); }
    fn a_node_module_outlives_a_crash_over_amqp_in_a_websocket() { crash("amqp-ws"); }
    fn a_node_device_outlives_a_crash_over_amqp() { device_crash("amqp"); }
    fn a_node_device_outlives_a_crash_over_amqp_in_a_websocket() { device_crash("amqp-ws"); }

    /// With a certificate it puts no token.
    fn node_devices_with_certificates_do_everything_over_amqp() {
        let world = World::new();
        let mut peer = Subject::module(&world, Sdk::Node, "peer", json!({}));
        let own = world.add_with_thumbprint("leaf-own");
        let issued = world.add_with_chain("leaf-issued");
        for (name, files) in [("leaf-own", &own), ("leaf-issued", &issued)] {
            let with = json!({"transport": "amqp"});
            let mut subject = Subject::with_certificate(&world, Sdk::Node, name, files, with);
            features::all(&world, &mut subject, &mut peer, name);
            subject.client.ask("disconnect", json!({}));
        }
    }

    /// Who comes back by another protocol takes the place of the connection that it left behind.
    fn an_identity_is_taken_over_across_protocols() {
        let world = World::new();
        let with = json!({"retry": false});
        let mut first = Subject::module(&world, Sdk::Python, "subject", with);
        let second = Subject::module(&world, Sdk::Node, "subject", json!({"transport": "amqp"}));
        first
            .client
            .event("connection", |event| event["connected"] == false);
        features::method_in(&world, &second, "second");
        let state = first.client.ask("state", json!({}));
        assert_eq!(state["connected"], false, "{state}");
    }

    fn rhea_opens_with_sasl_and_without_and_is_told_why_it_is_refused() {
        let answer = rhea("open");
        for way in ["plain", "anonymous", "bare"] {
            assert_eq!(answer[way], "opened", "{way}: {answer}");
        }
        assert_eq!(answer["bad password"], "amqp:unauthorized-access", "{answer}");
        assert_eq!(answer["bad token"], 401, "{answer}");
        assert_eq!(answer["foreign link"], "amqp:unauthorized-access", "{answer}");
        assert_eq!(answer["no address"], "amqp:not-found", "{answer}");
    }

    fn rhea_sends_large_messages_in_many_frames_and_gets_no_more_than_its_credit() {
        let answer = rhea("large");
        assert_eq!(answer["accepted"], 40, "{answer}");
        assert_eq!(answer["received"], 40, "{answer}");
        assert_eq!(answer["most with it"], 3, "{answer}");
        assert_eq!(answer["too large"], "amqp:link:message-size-exceeded", "{answer}");
    }

    fn rhea_drains_rejects_and_releases_and_what_it_left_comes_again() {
        let answer = rhea("settle");
        assert_eq!(answer["drained"], json!(["0", "1", "late"]), "{answer}");
        assert_eq!(answer["without credit"], 0, "{answer}");
        assert_eq!(answer["order"], json!(["2", "3", "2", "4"]), "{answer}");
        assert_eq!(answer["after detach"], json!(["5", "6"]), "{answer}");
        assert_eq!(answer["after reconnect"], json!(["5", "6", "7"]), "{answer}");
    }
}
