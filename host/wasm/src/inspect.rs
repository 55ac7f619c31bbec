//! What a file is, before anything is compiled.
//!
//! Whoever takes in a component asks first: [`inspect`] tells components from everything else and
//! lists what they import and export, [`check_imports`] compares that with the grants. Both are pure
//! and meant for bytes from anywhere: whatever the input, they answer or refuse, in time and memory
//! proportional to its size, and on a bounded stack. Function bodies are not looked at; the compiler
//! does that.

use wasmparser::{BinaryReaderError, WasmFeatures};

mod grants;
mod handlers;
mod names;
mod shape;
mod sniff;
#[cfg(test)]
mod tests;

pub use grants::{GrantName, MissingGrant, MissingReason, check_claims, check_imports, describe};
pub use handlers::Handlers;
pub use names::InterfaceName;

use shape::{Shape, ShapeError};

/// What [`inspect`] found in a component.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Inspection {
    /// What the host can call.
    pub exports: Handlers,
    /// What it wants of the host, in the component's order.
    pub imports: Vec<ImportName>,
    /// Uses the component model's async parts (WASI 0.3): needs the engine with concurrency support.
    pub uses_async: bool,
    /// A call may wait for something outside: time, the network, another module; and services always
    /// may. Such calls are to keep off the worker threads of guests that only compute. File access and
    /// standard streams do not count.
    pub may_block: bool,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportName {
    /// Its name with the version: `wasi:io/poll@0.2.6`. An import from no interface has a plain name.
    pub name: String,
    /// The functions used of it, as the component names them: `[method]pollable.block`.
    pub functions: Vec<String>,
    /// Only names of data types, which need nothing of the host.
    pub types_only: bool,
}

/// What is wrong with a file. Each text is one line that goes on from "FILE: ": what it is, what was
/// expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// No bytes.
    #[error("the file is empty, expected a Wasm component; was the build or the copy interrupted?")]
    Empty,
    /// Something else than Wasm.
    #[error("this is {found}, expected a Wasm component; {hint}")]
    NotWasm {
        /// What it looks like.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A core module.
    #[error("this is a core Wasm module{detail}, expected a component; {hint}")]
    CoreModule {
        /// What else is known of it.
        detail: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Wasm of a kind or age that this host does not read.
    #[error(
        "this is Wasm of version {version} in layer {layer}, expected a component (version 13, layer 1); \
         build it with current tools"
    )]
    Format {
        /// The header's version field.
        version: u16,
        /// The header's layer field.
        layer: u16,
    },
    /// An encoded WIT package: types without code.
    #[error(
        "this is a WIT package in binary form: interfaces without code, expected a Wasm component; \
         give the component that was built from it"
    )]
    WitPackage,
    /// The bytes end too early.
    #[error(
        "this is a Wasm component that is cut off: its {len} bytes end inside of the part at offset {offset:#x}; copy or build it again"
    )]
    Truncated {
        /// Size of the file in bytes.
        len: usize,
        /// Where the end was noticed.
        offset: usize,
    },
    /// Not valid.
    #[error(
        "this is a Wasm component that is not valid: at offset {offset:#x}: {reason}; build it again, with current tools"
    )]
    Invalid {
        /// Where in the file.
        offset: usize,
        /// The validator's words.
        reason: String,
    },
    /// Nested deeper than any tool makes it.
    #[error(
        "this is a Wasm component whose {what} are nested more than {limit} deep, which no tool makes; it is not loaded"
    )]
    TooDeep {
        /// What is nested.
        what: &'static str,
        /// How deep it may be.
        limit: usize,
    },
    /// Nothing that the host could call.
    #[error(
        "this is a Wasm component with no handler: it exports {exports}; expected {} or another handler of \
         edge:module, or wasi:cli/run@0.2; {hint}",
        handlers::INPUT
    )]
    NoHandler {
        /// What it exports, as a list.
        exports: String,
        /// What to do.
        hint: String,
    },
    /// A handler that lacks its function.
    #[error(
        "this is a Wasm component whose export {interface} has no function `{function}`; \
         build it against the WIT package edge:module"
    )]
    HandlerLacks {
        /// The export.
        interface: String,
        /// The function.
        function: &'static str,
    },
}

/// Component-model features that wasmtime has only with concurrency support.
const CONCURRENT: WasmFeatures = WasmFeatures::CM_ASYNC
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_THREADING)
    .union(WasmFeatures::CM_ERROR_CONTEXT);

/// Finds out what a file is.
///
/// # Errors
/// Whatever is not a component that the host could start; each error says what it is instead.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    sniff::check_component(bytes)?;
    // A component needs concurrency support exactly if it is not valid without.
    let sync = Shape::read(bytes, WasmFeatures::all().difference(CONCURRENT));
    let (shape, uses_async) = match sync {
        Ok(shape) => (shape, false),
        Err(ShapeError::TooDeep { what, limit }) => {
            return Err(InspectError::TooDeep { what, limit });
        }
        Err(ShapeError::Invalid(_)) => match Shape::read(bytes, WasmFeatures::all()) {
            Ok(shape) => (shape, true),
            Err(ShapeError::TooDeep { what, limit }) => {
                return Err(InspectError::TooDeep { what, limit });
            }
            Err(ShapeError::Invalid(error)) => return Err(invalid(bytes, &error)),
        },
    };
    if shape.is_wit_package {
        return Err(InspectError::WitPackage);
    }
    let exports = handlers::find(&shape.exports)?;
    let may_block = exports.run || exports.run_async || may_wait(&shape.imports);
    Ok(Inspection {
        exports,
        imports: shape.imports,
        uses_async,
        may_block,
    })
}

/// Whether a call may wait. The functions that wait prove nothing by themselves: standard libraries
/// call `pollable.block` for every line they print, on streams that are always ready. It takes
/// something to wait for.
fn may_wait(imports: &[ImportName]) -> bool {
    let (mut waits, mut slow) = (false, false);
    for import in imports {
        let Some(name) = InterfaceName::parse(&import.name) else {
            continue;
        };
        let mut functions = import.functions.iter();
        match (name.package, name.interface) {
            ("wasi:io", "poll") => {
                waits |= functions.any(|f| f == "poll" || f == "[method]pollable.block")
            }
            ("wasi:clocks", "monotonic-clock") => {
                slow |= functions.any(|f| f.starts_with("subscribe-"))
            }
            ("edge:module", "methods") | ("wasi:http" | "wasi:sockets", _)
                if functions.len() > 0 =>
            {
                return true;
            }
            _ => {}
        }
    }
    waits && slow
}

fn invalid(bytes: &[u8], error: &BinaryReaderError) -> InspectError {
    if error.message().starts_with("unexpected end") {
        return InspectError::Truncated {
            len: bytes.len(),
            offset: error.offset(),
        };
    }
    InspectError::Invalid {
        offset: error.offset(),
        reason: clip(error.message(), 240),
    }
}

/// Text from a file, fit for one line of a message: no control characters, at most `max` characters.
fn clip(text: &str, max: usize) -> String {
    let mut out: String = text
        .chars()
        .take(max)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}
