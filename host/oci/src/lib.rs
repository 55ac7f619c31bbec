//! Components in OCI registries: names, registries, the layout of an artifact, and what is attached to one.
//!
//! Called by the daemon (to fetch components and what proves where they come from) and by `edge push`,
//! `edge pull`, `edge sign`. Keeps nothing between calls, neither connections nor tokens.
//!
//! ```text
//!   Reference ─► manifest ─► hashed, compared with the pin ─► its types ─► config: hash, architecture, layers
//!                                                                             │
//!      into the folder, by digest ◄─ synced ◄─ hashed while it comes ◄─ layer ◄─ admit(claims)
//! ```
//!
//! Layouts that are read (CNCF, "Wasm OCI Artifact layout", and what came before it; `layout.rs`)
//!
//! | | config | layer |
//! |---|---|---|
//! | CNCF, the one that is written | `application/vnd.wasm.config.v0+json` | `application/wasm` |
//! | the same, where a registry does not take that config | `application/vnd.oci.image.config.v1+json` | `application/wasm` |
//! | Azure IoT Operations, ORAS | `application/vnd.oci.empty.v1+json` | `application/wasm` |
//! | Krustlet, old wasmCloud | `application/vnd.wasm.config.v1+json` | `application/vnd.wasm.content.layer.v1+wasm`, `application/vnd.module.wasm.content.layer.v1+wasm` |
//!
//! Promises
//! - Every digest that comes out of here is a hash that was made here, of the bytes that came. No header of
//!   a registry is believed.
//! - What a registry sends is bounded, in what it may take of memory and in how long it may be silent: each
//!   document has a most, and is given up when no byte comes for [`RegistriesConfig::stall`].
//! - Nothing of a component is fetched before its manifest and config are checked and the caller has admitted
//!   what they claim. Claims are no proof: whoever runs the component looks into it.
//! - A file with a digest's name is complete, is what that digest says, and is on the device.
//! - Credentials go to the registry that they are for, and to the token service that it names over TLS; never
//!   to where it redirects to, and in the clear only where plain HTTP was asked for.
//!
//! Reading is ours, on `reqwest`: `oci-client` reads answers whole, whatever their size, compares them with
//! headers, and keeps the first credentials that it saw. Writing is done by it: who pushes chose the registry,
//! and runs a command that ends.

mod attached;
mod challenge;
mod config;
mod error;
mod land;
mod layout;
mod legacy;
mod pull;
mod push;
mod session;

pub use attached::{AttachOptions, Attached};
pub use config::{ConfigError, Registries, RegistriesConfig, RegistryConfig};
pub use edge_core::{ParseReferenceError, Reference};
pub use error::{Part, PullError, PushError, RegistryError};
pub use layout::{Claims, Layout};
pub use pull::{PullLimits, Pulled};
pub use push::PushOptions;
