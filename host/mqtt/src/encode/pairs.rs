//! User properties to write, wherever they are kept.

use bytestring::ByteString;

/// Names and values. Asked twice for each packet, to count and to write, and must say the same.
pub trait Pairs {
    /// Shows each pair in order.
    fn each(&self, visit: &mut dyn FnMut(&str, &str));
}

/// None.
#[derive(Debug, Clone, Copy)]
pub struct NoPairs;

impl Pairs for NoPairs {
    fn each(&self, _: &mut dyn FnMut(&str, &str)) {}
}

impl Pairs for edge_core::Properties {
    fn each(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self.iter() {
            visit(name, value);
        }
    }
}

impl Pairs for Vec<(ByteString, ByteString)> {
    fn each(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self {
            visit(name, value);
        }
    }
}

impl<const N: usize> Pairs for [(&str, &str); N] {
    fn each(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self {
            visit(name, value);
        }
    }
}

/// Whatever a closure shows: pairs put together from several places.
#[derive(Debug, Clone, Copy)]
pub struct Each<F>(pub F);

impl<F: Fn(&mut dyn FnMut(&str, &str))> Pairs for Each<F> {
    fn each(&self, visit: &mut dyn FnMut(&str, &str)) {
        (self.0)(visit);
    }
}
