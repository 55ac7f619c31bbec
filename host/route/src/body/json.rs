//! JSON (RFC 8259) into a flat list of nodes, in the order of the text: each knows where the one
//! after it and all under it stands. Strings stay in the body unless they hold escapes.

use super::Unreadable;
use super::decode::{Decoded, Encoding, decode};

mod parser;

use parser::Parser;

/// A parsed body. Reused from message to message.
#[derive(Debug, Default)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    /// Strings that held escapes, one after the other.
    unescaped: String,
    /// The text where the body's bytes are not it.
    decoded: Option<String>,
    mark: bool,
    error: Option<Unreadable>,
}

/// A value and the key that it has in its object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub key: Text,
    pub kind: Kind,
    /// Index of the node after this one and all in it.
    next: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Num(f64),
    Str(Text),
    Object,
    Array,
}

/// A string: a part of the text, or of what was unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Text {
    start: u32,
    end: u32,
    unescaped: bool,
}

impl Document {
    /// Reads a body. What is wrong with it is kept and told by [`error`](Self::error).
    pub(super) fn parse(&mut self, bytes: &[u8], encoding: Encoding) {
        self.nodes.clear();
        self.unescaped.clear();
        let Decoded { text, skip } = decode(bytes, encoding);
        self.mark = skip > 0;
        self.decoded = text.map(Into::into);
        let (bytes, at) = match &self.decoded {
            Some(text) => (text.as_bytes(), 0),
            None => (bytes, skip),
        };
        let mut parser = Parser {
            bytes,
            at,
            nodes: &mut self.nodes,
            unescaped: &mut self.unescaped,
        };
        self.error = parser.document().err();
    }

    pub(super) fn error(&self) -> Option<&Unreadable> {
        self.error.as_ref()
    }

    pub(super) fn has_mark(&self) -> bool {
        self.mark
    }

    pub(crate) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    /// Members or elements of a node with their indices.
    pub(super) fn children(&self, of: u32) -> impl Iterator<Item = (u32, &Node)> {
        let end = self.node(of).map_or(0, |n| n.next);
        let mut at = of + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (index, node) = (at, self.node(at)?);
            at = node.next;
            Some((index, node))
        })
    }

    fn text_bytes<'a>(&'a self, bytes: &'a [u8], text: Text) -> Option<&'a [u8]> {
        let source = match (text.unescaped, &self.decoded) {
            (true, _) => self.unescaped.as_bytes(),
            (false, Some(decoded)) => decoded.as_bytes(),
            (false, None) => bytes,
        };
        source.get(text.start as usize..text.end as usize)
    }

    /// A string's text; none only if these are not the bytes that were parsed.
    pub(crate) fn text<'a>(&'a self, bytes: &'a [u8], text: Text) -> Option<&'a str> {
        std::str::from_utf8(self.text_bytes(bytes, text)?).ok()
    }

    pub(super) fn key_is(&self, node: &Node, bytes: &[u8], key: &str) -> bool {
        self.text_bytes(bytes, node.key) == Some(key.as_bytes())
    }
}
