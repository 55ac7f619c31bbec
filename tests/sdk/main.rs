//! `edge daemon` and clients that nobody changed for it: the device SDKs for Python and Node.js as they
//! are published, paho-mqtt 2, rhea, and mosquitto's commands.
//!
//! Each test has network and mount namespaces of its own ([`support::namespace`]), because the SDKs know only the
//! ports 8883, 5671 and 443 and connect to the gateway by its name. [`World`] is the gateway in it, [`Client`]
//! one process of a client that is told what to do step by step, and [`features`] is all that a client
//! can do, done at every stage of a test: after connecting, after a renewed token, after a crash of the
//! daemon. `.ci/install` installs the clients.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod amqp;
mod certificates;
mod client;
mod devices;
mod features;
mod modules;
mod mosquitto;
mod paho;
mod topics;
mod world;

use client::{Client, Sdk};
use features::Subject;
use support::namespace::{GATEWAY, isolated};
use world::{DEVICE, HUB, World};
