//! Endpoints: where a route leads (section 3).

use std::fmt;
use std::sync::Arc;

use edge_core::{EndpointId, InvalidId, ModuleId};

use crate::mode::Mode;
use crate::suggest::nearest;

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RouteEndpoint {
    /// `$upstream`.
    Upstream,
    /// `BrokeredEndpoint("/modules/<module>/inputs/<input>")`.
    ModuleInput {
        /// The module.
        module: ModuleId,
        /// Its input.
        input: Arc<str>,
    },
}

/// Why an endpoint is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not `$upstream`.
    #[error("there is no endpoint `{0}`; expected $upstream{1}")]
    UnknownSystem(String, String),
    /// Not `BrokeredEndpoint`.
    #[error("there is no endpoint function `{0}`; expected BrokeredEndpoint{1}")]
    UnknownFunction(String, String),
    /// An address of another form.
    #[error("the address `{0}` has {1} parts; expected /modules/<module>/inputs/<input>")]
    Parts(String, usize),
    /// The words around the names are others (strict).
    #[error(
        "`{found}` in the address; expected `{expected}`, as in /modules/<module>/inputs/<input>"
    )]
    Word {
        /// The word as written.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The name of the module cannot be one.
    #[error(transparent)]
    Module(#[from] InvalidId),
    /// The name of the input is empty.
    #[error("the address `{0}` names no input")]
    NoInput(String),
}

const UPSTREAM: &str = "$upstream";
const FUNCTION: &str = "BrokeredEndpoint";

impl RouteEndpoint {
    /// The endpoint that a `$` name stands for.
    ///
    /// # Errors
    /// Any but `$upstream`.
    pub fn system(name: &str) -> Result<Self, EndpointError> {
        if name.eq_ignore_ascii_case(UPSTREAM) {
            return Ok(Self::Upstream);
        }
        Err(EndpointError::UnknownSystem(
            name.to_owned(),
            hint(name, UPSTREAM),
        ))
    }

    /// The endpoint that a function gives for an address.
    ///
    /// # Errors
    /// Another function than `BrokeredEndpoint`, and addresses of another form than
    /// `/modules/<module>/inputs/<input>`; compat mode does not look at the two words.
    pub fn function(name: &str, address: &str, mode: Mode) -> Result<Self, EndpointError> {
        if !name.eq_ignore_ascii_case(FUNCTION) {
            return Err(EndpointError::UnknownFunction(
                name.to_owned(),
                hint(name, FUNCTION),
            ));
        }
        let trimmed = address.trim();
        let inner = trimmed.strip_prefix('/').unwrap_or(trimmed);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let parts: Vec<&str> = inner.split('/').collect();
        let [modules, module, inputs, input] = parts[..] else {
            return Err(EndpointError::Parts(address.to_owned(), parts.len()));
        };
        if mode == Mode::Strict {
            for (found, expected) in [(modules, "modules"), (inputs, "inputs")] {
                if found != expected {
                    return Err(EndpointError::Word {
                        found: found.to_owned(),
                        expected,
                    });
                }
            }
        }
        if input.is_empty() {
            return Err(EndpointError::NoInput(address.to_owned()));
        }
        Ok(Self::ModuleInput {
            module: ModuleId::new(module)?,
            input: input.into(),
        })
    }

    /// Its name among all endpoints of a device: `<device>/<module>/<input>`.
    pub fn id(&self, device: &str) -> String {
        match self {
            Self::Upstream => UPSTREAM.to_owned(),
            Self::ModuleInput { module, input } => format!("{device}/{module}/{input}"),
        }
    }
}

fn hint(name: &str, expected: &str) -> String {
    nearest(name, [expected]).map_or_else(String::new, |near| format!(": did you mean {near}?"))
}

impl From<&RouteEndpoint> for EndpointId {
    fn from(endpoint: &RouteEndpoint) -> Self {
        match endpoint {
            RouteEndpoint::Upstream => Self::Upstream,
            RouteEndpoint::ModuleInput { module, input } => Self::ModuleInput {
                module: module.clone(),
                input: Arc::clone(input),
            },
        }
    }
}

impl fmt::Display for RouteEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EndpointId::from(self).fmt(f)
    }
}
