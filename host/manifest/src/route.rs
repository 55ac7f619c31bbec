//! Routes: compiled to see whether they are right, mistakes placed in the manifest.

use edge_route::{Diagnostic, Mode, Route, RouteEndpoint};

use crate::checker::Checker;
use crate::json::Node;

/// A module that a route names.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Where the route names it.
    pub at: usize,
    /// Its name.
    pub module: String,
    /// Which end of the route it is.
    pub end: End,
}

/// The ends of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Messages come from there.
    Source,
    /// Messages go there.
    Endpoint,
}

/// Compiles the route that a string node holds. `None`: it has errors, and they are reported;
/// `Some(None)`: it is blank.
pub(crate) fn check(
    checker: &mut Checker,
    node: &Node,
    text: &str,
    mode: Mode,
) -> Option<Option<Vec<Reach>>> {
    let origins = checker.sources.origins(node);
    let place = |offset: usize| {
        origins
            .get(offset)
            .or(origins.last())
            .copied()
            .unwrap_or(node.start)
    };
    let route = match Route::compile(text, mode) {
        Ok(Some(route)) => route,
        Ok(None) => return Some(None),
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                let at = place(offset(text, &diagnostic));
                checker.error(at, diagnostic.message);
            }
            return None;
        }
    };
    for diagnostic in route.warnings() {
        let at = place(offset(text, diagnostic));
        checker.warn(at, diagnostic.message.clone());
    }
    let mut reaches = Vec::new();
    let mut reach = |module: &str, named: Option<usize>, end| {
        reaches.push(Reach {
            at: place(named.unwrap_or_default()),
            module: module.to_owned(),
            end,
        });
    };
    // Wildcards before the end have their own warning, names in quotes are found as they are.
    if let Some(module) = source_module(route.source().prefix()).filter(|name| *name != "*") {
        reach(module, text.find(module), End::Source);
    }
    if let RouteEndpoint::ModuleInput { module, .. } = route.endpoint() {
        // The endpoint comes last in a route; its address is `/modules/<module>/inputs/<input>`.
        let named = text.rfind(&format!("/{module}/")).map(|slash| slash + 1);
        reach(module.as_str(), named, End::Endpoint);
    }
    Some(Some(reaches))
}

/// The module that a source names: the third part of `/messages/modules/<module>…`. Letter case does
/// not count in sources.
fn source_module(prefix: &str) -> Option<&str> {
    let mut parts = prefix.strip_prefix('/')?.split('/');
    let mut word = |word: &str| {
        parts
            .next()
            .is_some_and(|part| part.eq_ignore_ascii_case(word))
    };
    if word("messages") && word("modules") {
        parts.next()
    } else {
        None
    }
}

/// Where in the text a diagnostic stands, in bytes; its end if it is beyond.
fn offset(text: &str, diagnostic: &Diagnostic) -> usize {
    let before = |n: u32| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(start) = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .nth(before(diagnostic.line))
    else {
        return text.len();
    };
    text[start..]
        .char_indices()
        .nth(before(diagnostic.column))
        .map_or(text.len(), |(at, _)| start + at)
}
