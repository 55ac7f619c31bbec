//! Which handlers a component exports, and what to tell somebody whose component has none.

use super::names::{InterfaceName, track};
use super::shape::ExportName;
use super::{InspectError, clip};

/// What the host can call in a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Handlers {
    /// `edge:module/input-handler`.
    pub input_handler: bool,
    /// `edge:module/timer-handler`.
    pub timer_handler: bool,
    /// `edge:module/twin-handler`.
    pub twin_handler: bool,
    /// `edge:module/method-handler`.
    pub method_handler: bool,
    /// `wasi:cli/run` of WASI 0.2.
    pub run: bool,
    /// `wasi:cli/run` of WASI 0.3, an async function.
    pub run_async: bool,
}

impl Handlers {
    /// Whether there is any of the handlers of `edge:module`.
    pub fn any_handler(&self) -> bool {
        self.input_handler || self.timer_handler || self.twin_handler || self.method_handler
    }
}

/// The first of the handlers, for messages.
pub(super) const INPUT: &str = "edge:module/input-handler@0.1.0";

/// A handler that the host knows.
struct Known {
    package: &'static str,
    interface: &'static str,
    version: &'static str,
    function: &'static str,
    set: fn(&mut Handlers),
}

const MODULE: &str = "edge:module";
const MODULE_VERSION: &str = "0.1.0";

const KNOWN: [Known; 6] = [
    Known {
        package: MODULE,
        interface: "input-handler",
        version: MODULE_VERSION,
        function: "handle",
        set: |found| found.input_handler = true,
    },
    Known {
        package: MODULE,
        interface: "timer-handler",
        version: MODULE_VERSION,
        function: "tick",
        set: |found| found.timer_handler = true,
    },
    Known {
        package: MODULE,
        interface: "twin-handler",
        version: MODULE_VERSION,
        function: "desired-changed",
        set: |found| found.twin_handler = true,
    },
    Known {
        package: MODULE,
        interface: "method-handler",
        version: MODULE_VERSION,
        function: "invoke",
        set: |found| found.method_handler = true,
    },
    Known {
        package: "wasi:cli",
        interface: "run",
        version: "0.2.0",
        function: "run",
        set: |found| found.run = true,
    },
    Known {
        package: "wasi:cli",
        interface: "run",
        version: "0.3.0",
        function: "run",
        set: |found| found.run_async = true,
    },
];

/// Looks for handlers among a component's exports.
pub(super) fn find(exports: &[ExportName]) -> Result<Handlers, InspectError> {
    let mut found = Handlers::default();
    for export in exports {
        let Some(name) = InterfaceName::parse(&export.name) else {
            continue;
        };
        let known = KNOWN.iter().find(|known| {
            (name.package, name.interface) == (known.package, known.interface)
                && name.is_served_by(known.version)
        });
        let Some(known) = known else { continue };
        if !export
            .functions
            .iter()
            .any(|function| function == known.function)
        {
            return Err(InspectError::HandlerLacks {
                interface: clip(&export.name, 100),
                function: known.function,
            });
        }
        (known.set)(&mut found);
    }
    if found == Handlers::default() {
        return Err(InspectError::NoHandler {
            exports: list(exports),
            hint: hint(exports),
        });
    }
    Ok(found)
}

/// The exports' names, a few of them.
fn list(exports: &[ExportName]) -> String {
    const SHOWN: usize = 6;
    if exports.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<_> = exports
        .iter()
        .take(SHOWN)
        .map(|export| clip(&export.name, 100))
        .collect();
    match exports.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// What most likely went wrong: the nearest export to something that would have been right.
fn hint(exports: &[ExportName]) -> String {
    let names = || {
        exports
            .iter()
            .filter_map(|export| InterfaceName::parse(&export.name))
    };
    let handler =
        |name: &InterfaceName<'_>| KNOWN.iter().find(|known| known.interface == name.interface);
    // Of another version.
    for name in names() {
        if let Some(known) = handler(&name).filter(|known| known.package == name.package) {
            let shown = clip(&name.to_string(), 100);
            return format!(
                "{shown} is another version than the {}/{}@{} that this host calls: build against that one",
                known.package,
                known.interface,
                track(known.version)
            );
        }
    }
    // Of another package.
    for name in names() {
        if let Some(known) = handler(&name).filter(|known| known.package == MODULE) {
            let shown = clip(&name.to_string(), 100);
            return format!(
                "{shown} is not the host's interface of that name: export {MODULE}/{}@{MODULE_VERSION}",
                known.interface
            );
        }
    }
    if names().any(|name| {
        name.package == "wasi:http" && matches!(name.interface, "incoming-handler" | "handler")
    }) {
        return format!(
            "an HTTP server is not called here: messages come by {MODULE}/input-handler"
        );
    }
    let at_root = exports
        .iter()
        .find_map(|export| KNOWN.iter().find(|known| known.function == export.name));
    if let Some(known) = at_root {
        return format!(
            "the function `{}` stands outside of any interface: export {}/{}, which has it",
            known.function, known.package, known.interface
        );
    }
    format!(
        "let the module's world `include {MODULE}/message-module@{MODULE_VERSION}` or export a handler by name"
    )
}
