//! Devices behind the gateway, with keys and with certificates.

use serde_json::json;

use crate::{Sdk, Subject, World, features, isolated};

/// Connects, does everything, and renews its token without subscribing again.
fn with_key(sdk: Sdk, transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, sdk, "peer", json!({}));
    let with = json!({"transport": transport, "token_ttl": features::SHORT});
    let mut subject = Subject::device(&world, sdk, "leaf1", with);
    features::all(&world, &mut subject, &mut peer, "first");
    subject.renew(&mut world, sdk);
    features::all(&world, &mut subject, &mut peer, "renewed");
    subject.client.ask("disconnect", json!({}));
}

/// Outlives a crash while it sends.
fn crash(sdk: Sdk, transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, sdk, "peer", json!({"asynchronous": true}));
    let with = json!({ "transport": transport });
    let mut subject = Subject::device(&world, sdk, "leaf1", with);
    features::crash(&mut world, &mut subject, &mut peer, "crash");
    subject.client.ask("disconnect", json!({}));
}

/// With a certificate, likewise.
fn crash_with_certificate(sdk: Sdk, transport: &str) {
    let mut world = World::new();
    let mut peer = Subject::module(&world, sdk, "peer", json!({"asynchronous": true}));
    let files = world.add_with_thumbprint("leaf-own");
    let with = json!({ "transport": transport });
    let mut subject = Subject::with_certificate(&world, sdk, "leaf-own", &files, with);
    features::crash(&mut world, &mut subject, &mut peer, "crash");
    subject.client.ask("disconnect", json!({}));
}

/// A certificate of its own, known by its thumbprint, and one by a CA that the daemon trusts.
fn with_certificates(sdk: Sdk, transport: &str) {
    let world = World::new();
    let mut peer = Subject::module(&world, sdk, "peer", json!({}));
    let own = world.add_with_thumbprint("leaf-own");
    let issued = world.add_with_chain("leaf-issued");
    for (name, files) in [("leaf-own", &own), ("leaf-issued", &issued)] {
        let with = json!({ "transport": transport });
        let mut subject = Subject::with_certificate(&world, sdk, name, files, with);
        features::all(&world, &mut subject, &mut peer, name);
        subject.client.ask("disconnect", json!({}));
    }
}

isolated! {
    fn a_python_device_does_everything_over_mqtt() { with_key(Sdk::Python, "tcp"); }
    fn a_python_device_does_everything_over_websocket() { with_key(Sdk::Python, "ws"); }
    fn a_node_device_does_everything_over_mqtt() { with_key(Sdk::Node, "tcp"); }
    fn a_node_device_does_everything_over_websocket() { with_key(Sdk::Node, "ws"); }

    fn a_python_device_outlives_a_crash_over_mqtt() { crash(Sdk::Python, "tcp"); }
    fn a_python_device_outlives_a_crash_over_websocket() { crash(Sdk::Python, "ws"); }
    fn a_node_device_outlives_a_crash_over_mqtt() { crash(Sdk::Node, "tcp"); }
    fn a_node_device_outlives_a_crash_over_websocket() { crash(Sdk::Node, "ws"); }

    fn a_python_device_with_a_certificate_outlives_a_crash() {
        crash_with_certificate(Sdk::Python, "tcp");
    }
    fn a_node_device_with_a_certificate_outlives_a_crash() {
        crash_with_certificate(Sdk::Node, "ws");
    }

    fn python_devices_with_certificates_do_everything_over_mqtt() {
        with_certificates(Sdk::Python, "tcp");
    }
    fn python_devices_with_certificates_do_everything_over_websocket() {
        with_certificates(Sdk::Python, "ws");
    }
    fn node_devices_with_certificates_do_everything_over_mqtt() {
        with_certificates(Sdk::Node, "tcp");
    }
    fn node_devices_with_certificates_do_everything_over_websocket() {
        with_certificates(Sdk::Node, "ws");
    }

    /// Messages wait for a device that sleeps, through a crash of the daemon.
    fn messages_wait_for_a_sleeping_device() {
        let mut world = World::new();
        let with = json!({"asynchronous": true});
        let mut subject = Subject::device(&world, Sdk::Python, "leaf1", with);
        subject.client.ask("disconnect", json!({}));
        for body in ["one", "two"] {
            let edge = world.daemon.edge("send --device leaf1 --body").arg(body);
            edge.output("").code(0);
        }
        world.crash();
        subject.client.ask("connect", json!({}));
        for body in ["one", "two"] {
            subject.client.event("message", |event| event["body"] == body);
        }
        let bodies: Vec<_> = subject.client.events("message");
        let bodies: Vec<_> = bodies.iter().map(|event| &event["body"]).collect();
        assert_eq!(bodies, ["one", "two"]);
    }

    /// Whoever shows a certificate that is not its own does not get in.
    fn a_foreign_certificate_is_refused() {
        let world = World::new();
        let _own = world.add_with_thumbprint("leaf-own");
        let other = world.add_with_thumbprint("leaf-other");
        let mut client = crate::Client::sdk(Sdk::Python, &[]);
        client.ask("create", json!({
            "kind": "device", "ca": world.trust_bundle(), "x509": {
                "hub": crate::HUB, "gateway": crate::GATEWAY, "device": "leaf-own",
                "certificate": other.certificate, "key": other.key,
            },
        }));
        let refused = client.attempt("connect", json!({})).unwrap_err();
        assert!(refused.contains("CredentialError"), "{refused}");
    }
}
