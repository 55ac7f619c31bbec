//! Deployment manifests: read, check, and every mistake with its line, column and path.
//!
//! Called by whoever gets a manifest: `edge apply`, `edge run`, `edge check` and the agent. No I/O:
//! text in, [`Deployment`] or mistakes out.
//!
//! ```text
//! text ── json ──▶ tree with positions ── flatten ──▶ desired properties of each twin
//!                                                        ├─ $edgeAgent ─ agent, module ─▶ modules
//!                                                        ├─ $edgeHub ─── hub, route ────▶ routes
//!                                                        └─ others ───── twin ──────────▶ desired
//! ```
//!
//! What is promised: all mistakes of a document are told at once, each where it stands, also inside
//! of route texts and of JSON that is packed into a string; only text that is no JSON ends at its
//! first mistake. A document with errors gives no deployment. No input panics or overflows the
//! stack. Values that may be secrets (environment, credentials) are in no message.
//!
//! What is read is IoT Edge's manifest as it is, and `"type": "wasm"` beside `"type": "docker"`:
//!
//! ```json
//! { "modulesContent": {
//!     "$edgeAgent": { "properties.desired": { "schemaVersion": "1.1", "modules": {
//!       "filter": { "type": "wasm", "settings": {
//!         "image": "file:filter.wasm",
//!         "createOptions": { "memory": "16MiB", "grants": { "state": true } } } } } } },
//!     "$edgeHub": { "properties.desired": { "schemaVersion": "1.1", "routes": {
//!       "up": { "route": "FROM /messages/modules/filter INTO $upstream", "priority": 1 } } } },
//!     "filter": { "properties.desired": { "threshold": 25 } } } }
//! ```

use edge_core::deployment::Deployment;
use edge_route::Mode;

mod agent;
mod checker;
mod create_options;
mod flatten;
mod hub;
mod image;
mod json;
mod manifest;
mod mistake;
mod module;
mod nearest;
mod origin;
mod route;
mod sources;
mod span;
mod twin;
mod version;

pub use hub::HubConfig;
pub use mistake::{Mistake, Severity, render};

use checker::Checker;

/// How to read a manifest.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// How routes are understood: as IoT Edge does, or strictly.
    pub routes: Mode,
}

/// A manifest without errors.
#[derive(Debug, Clone)]
pub struct Read {
    /// What it asks for.
    pub deployment: Deployment,
    /// What is odd and yet no error: warnings and notes, by position.
    pub warnings: Vec<Mistake>,
}

/// Reads a manifest.
///
/// # Errors
/// All mistakes of the document by position, warnings and notes among them; at least one is of
/// [`Severity::Error`]. Of very many, the first [`MOST_MISTAKES`] and a last one that counts the
/// rest.
pub fn read(text: &str, options: &ReadOptions) -> Result<Read, Vec<Mistake>> {
    let mut checker = Checker::new();
    let deployment = checker
        .document(text)
        .map(|root| manifest::deployment(&mut checker, &root, options.routes));
    let (mistakes, failed) = checker.finish();
    match deployment {
        Some(deployment) if !failed => Ok(Read {
            deployment,
            warnings: mistakes,
        }),
        _ => Err(mistakes),
    }
}

/// The desired properties of each twin of a manifest, as compact JSON, by the module's name.
///
/// # Errors
/// As [`read`]; a manifest that can be read may still ask for what no twin can hold.
pub fn sections(text: &str) -> Result<Vec<(String, String)>, Vec<Mistake>> {
    let mut checker = Checker::new();
    let sections = checker
        .document(text)
        .map(|root| manifest::sections(&mut checker, &root));
    let (mistakes, failed) = checker.finish();
    match sections {
        Some(sections) if !failed => Ok(sections),
        _ => Err(mistakes),
    }
}

/// Reads the desired properties of `$edgeHub`: one twin document, without the manifest around it.
/// Paths of mistakes begin in it: `routes.alerts`.
///
/// # Errors
/// As [`read`].
pub fn check_hub_config(desired_json: &str, mode: Mode) -> Result<HubConfig, Vec<Mistake>> {
    let mut checker = Checker::new();
    let hub = checker
        .document(desired_json)
        .map(|root| hub::hub(&mut checker, &root, mode, hub::Layer::Whole));
    let (mistakes, failed) = checker.finish();
    match hub {
        Some(hub) if !failed => Ok(HubConfig {
            warnings: mistakes,
            ..hub.config
        }),
        _ => Err(mistakes),
    }
}

/// Most mistakes that are told of one document.
pub const MOST_MISTAKES: usize = 500;
