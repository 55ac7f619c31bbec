//! Where an offset is, for people: line, column and JSON path.
//!
//! One number names a place, also in JSON that is packed into strings: every document (the manifest
//! first, then each `createOptions` text) has its own stretch of numbers.
//!
//! ```text
//! 0 ……… manifest ……… n │ n+1 ……… createOptions of one module ……… │ …
//! ```

use std::rc::Rc;

use crate::json::{self, Node, SyntaxError, Value};
use crate::mistake::one_line;

/// All documents that were read, in order of their bases.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    documents: Vec<Document>,
    /// First bytes of the manifest's lines.
    lines: Vec<usize>,
}

#[derive(Debug)]
struct Document {
    /// Offset of its first byte.
    base: usize,
    text: String,
    /// None as long as it is not parsed, and if it is no JSON.
    root: Option<Rc<Node>>,
    /// For each byte, and for its end, the offset in an earlier document that it was decoded from.
    /// Empty for the manifest.
    origins: Vec<usize>,
}

impl Sources {
    /// Reads the manifest.
    pub fn manifest(&mut self, text: &str) -> Result<Rc<Node>, SyntaxError> {
        self.lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        self.parse(text.to_owned(), Vec::new())
    }

    /// Reads JSON that is the value of string nodes, one after the other.
    pub fn embedded(&mut self, strings: &[(&Node, &str)]) -> Result<Rc<Node>, SyntaxError> {
        let (mut text, mut origins) = (String::new(), Vec::new());
        for (node, value) in strings {
            origins.truncate(text.len());
            origins.extend(self.origins(node));
            text.push_str(value);
        }
        self.parse(text, origins)
    }

    fn parse(&mut self, text: String, origins: Vec<usize>) -> Result<Rc<Node>, SyntaxError> {
        // The end of a document is a place too, hence the gap of one.
        let base = self
            .documents
            .last()
            .map_or(0, |last| last.base + last.text.len() + 1);
        let parsed = json::parse(&text, base).map(Rc::new);
        self.documents.push(Document {
            base,
            text,
            root: parsed.as_ref().ok().map(Rc::clone),
            origins,
        });
        parsed
    }

    /// For each byte of a string's value, and for its end, the offset where it is written.
    pub fn origins(&self, node: &Node) -> Vec<usize> {
        let literal = self.document(node.start).and_then(|document| {
            document
                .text
                .get(node.start - document.base..node.end - document.base)
        });
        json::literal_offsets(literal.unwrap_or_default())
            .into_iter()
            .map(|offset| node.start + offset)
            .collect()
    }

    fn document(&self, offset: usize) -> Option<&Document> {
        let after = self
            .documents
            .partition_point(|document| document.base <= offset);
        self.documents.get(after.checked_sub(1)?)
    }

    /// The offset in the manifest.
    pub fn offset_in_manifest(&self, mut offset: usize) -> usize {
        while let Some(document) = self.document(offset)
            && let Some(origin) = document.origins.get(offset - document.base)
        {
            offset = *origin;
        }
        offset
    }

    /// Line and column of an offset, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (u32, u32) {
        let offset = self.offset_in_manifest(offset);
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|i| self.lines.get(i))
            .copied()
            .unwrap_or(0);
        let before = self
            .documents
            .first()
            .and_then(|manifest| manifest.text.get(start..offset));
        let column = before.map_or(0, |before| before.chars().count()) + 1;
        (clamp(line.max(1)), clamp(column))
    }

    /// The path of the innermost thing that an offset is in; its notation is
    /// [`Mistake::path`](crate::Mistake::path)'s.
    pub fn path(&self, offset: usize) -> String {
        let Some(document) = self.document(offset) else {
            return String::new();
        };
        let mut path = document
            .origins
            .first()
            .map_or_else(String::new, |host| self.path(*host));
        let mut next = document.root.as_deref();
        while let Some(node) = next {
            next = match &node.value {
                Value::Object(members) => members
                    .get(
                        members
                            .partition_point(|member| member.at <= offset)
                            .wrapping_sub(1),
                    )
                    .filter(|member| offset < member.node.end)
                    .map(|member| {
                        push_key(&mut path, &member.key);
                        &member.node
                    }),
                Value::Array(elements) => {
                    let index = elements
                        .partition_point(|element| element.start <= offset)
                        .wrapping_sub(1);
                    elements
                        .get(index)
                        .filter(|element| offset < element.end)
                        .inspect(|_| path.push_str(&format!("[{index}]")))
                }
                _ => None,
            };
        }
        path
    }
}

fn push_key(path: &mut String, key: &str) {
    const LONGEST: usize = 128;
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$');
    if !key.is_empty() && key.len() <= LONGEST && key.bytes().all(bare) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        let (shown, cut) = match key.char_indices().nth(LONGEST) {
            None => (key, ""),
            Some((end, _)) => (&key[..end], "…"),
        };
        let shown = one_line(&serde_json::Value::from(shown).to_string()) + cut;
        path.push('[');
        path.push_str(&shown);
        path.push(']');
    }
}

fn clamp(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
