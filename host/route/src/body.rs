//! The body of one message as JSON: parsed at most once, and only when a condition asks.
//!
//! Whether it may be read at all depends on `contentType` and `contentEncoding` and on the mode
//! (section 7, section 13 item 8); the text and its tree are the same for all.

use std::cell::{OnceCell, RefCell};
use std::fmt;

use edge_core::system;

use crate::condition::Scalar;
use crate::eval::Env;
use crate::mode::Mode;
use crate::path::{BodyPath, Step};
use crate::view::MessageView;

mod date;
mod decode;
mod json;

pub(crate) use date::is_date;
pub(crate) use decode::Encoding;
pub(crate) use json::Kind;
use json::{Document, Node};

/// Why a body cannot be read as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// The message has no `contentType`.
    NoContentType,
    /// `contentType` is another.
    ContentType(String),
    /// The message has no `contentEncoding`.
    NoEncoding,
    /// `contentEncoding` is none that is known.
    Encoding(String),
    /// The text begins with a byte order mark, which compat mode does not take.
    ByteOrderMark,
    /// Not JSON: byte offset in the decoded text, and what is wrong there.
    NotJson(usize, &'static str),
    /// JSON, and not an object.
    NotAnObject,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoContentType => f.write_str("contentType is missing; expected application/json"),
            Self::ContentType(found) => {
                write!(f, "contentType is `{found}`; expected application/json")
            }
            Self::NoEncoding => {
                f.write_str("contentEncoding is missing; expected utf-8, utf-16 or utf-32")
            }
            Self::Encoding(found) => {
                write!(
                    f,
                    "contentEncoding is `{found}`; expected utf-8, utf-16 or utf-32"
                )
            }
            Self::ByteOrderMark => f.write_str("the body begins with a byte order mark"),
            Self::NotJson(at, what) => write!(f, "the body is not JSON: {what} at byte {at}"),
            Self::NotAnObject => f.write_str("the body is JSON and not an object"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Why there is no value at a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// The path cannot be one; says why.
    #[error("{0}")]
    Path(String),
    /// The body cannot be read.
    #[error(transparent)]
    Body(#[from] Unreadable),
}

/// The parsed body of one message. Keep one per worker and [`clear`](Self::clear) it between
/// messages: memory is kept.
#[derive(Debug, Default)]
pub struct Body {
    /// May it be read in compat mode, in strict mode, as a twin change.
    gates: OnceCell<[Result<Encoding, Unreadable>; 3]>,
    document: OnceCell<Box<Document>>,
    /// What was found out about paths that have a slot.
    slots: RefCell<Vec<Slot>>,
    /// Memory of the last document.
    spare: RefCell<Option<Box<Document>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Where the path leads.
    found: Option<Found>,
    /// Whether an application property goes before it.
    hidden: Option<bool>,
}

static BYTE_ORDER_MARK: Unreadable = Unreadable::ByteOrderMark;

/// Who asks for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Compat,
    Strict,
    /// Strict, on a twin change: the hub itself made the body.
    Twin,
}

impl From<Mode> for Reader {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Compat => Self::Compat,
            Mode::Strict => Self::Strict,
        }
    }
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Missing,
    /// The path cannot be followed at all.
    Impossible,
    /// Several values.
    Several,
    Node(u32),
}

impl Body {
    /// Forgets the message; the memory stays.
    pub fn clear(&mut self) {
        self.gates.take();
        if let Some(document) = self.document.take() {
            *self.spare.get_mut() = Some(document);
        }
        self.slots.get_mut().clear();
    }

    /// The value at a path, written as after `$body.`.
    ///
    /// # Errors
    /// A path that conditions may not use, and a body that cannot be read in this mode.
    pub fn get(
        &mut self,
        view: &(impl MessageView + ?Sized),
        path: &str,
        mode: Mode,
    ) -> Result<Scalar, GetError> {
        let path = match mode {
            Mode::Compat => BodyPath::compat(path),
            Mode::Strict => BodyPath::strict(path),
        }
        .map_err(GetError::Path)?;
        self.read(view, mode.into()).map_err(Unreadable::clone)?;
        Ok(Env::new(view, self).body_value(&path, mode.into()).into())
    }

    /// Whether the body was asked for and parsed.
    pub fn is_parsed(&self) -> bool {
        self.document.get().is_some()
    }

    /// The document, if this reader may read it.
    pub(crate) fn read(
        &self,
        view: &(impl MessageView + ?Sized),
        reader: Reader,
    ) -> Result<&Document, &Unreadable> {
        let gates = self.gates.get_or_init(|| decode::gates(view));
        let encoding = match reader {
            Reader::Compat => &gates[0],
            Reader::Strict => &gates[1],
            Reader::Twin => &gates[2],
        };
        let encoding = *encoding.as_ref()?;
        let document = self.document.get_or_init(|| {
            let mut document = self.spare.take().unwrap_or_default();
            document.parse(view.body(), encoding);
            document
        });
        match document.error() {
            Some(error) => Err(error),
            None if reader == Reader::Compat && document.has_mark() => Err(&BYTE_ORDER_MARK),
            None => Ok(document),
        }
    }

    /// Follows a path; one with a slot is followed once per message.
    pub(crate) fn find(&self, document: &Document, bytes: &[u8], path: &BodyPath) -> Found {
        self.slot(
            path,
            |slot| &mut slot.found,
            || follow(document, bytes, path),
        )
    }

    /// Whether an application property of this name goes before a path.
    pub(crate) fn is_hidden(
        &self,
        view: &(impl MessageView + ?Sized),
        path: &BodyPath,
        name: &str,
    ) -> bool {
        self.slot(
            path,
            |slot| &mut slot.hidden,
            || view.property(name).is_some(),
        )
    }

    /// What a slot knows, found out if it does not; a path without a slot has nowhere to keep it.
    fn slot<T: Copy>(
        &self,
        path: &BodyPath,
        field: impl Fn(&mut Slot) -> &mut Option<T>,
        find: impl FnOnce() -> T,
    ) -> T {
        let Some(index) = path.slot else {
            return find();
        };
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= index {
            slots.resize(index + 1, Slot::default());
        }
        *field(&mut slots[index]).get_or_insert_with(find)
    }
}

fn follow(document: &Document, bytes: &[u8], path: &BodyPath) -> Found {
    let Some(steps) = &path.steps else {
        return Found::Impossible;
    };
    walk(document, bytes, 0, steps)
}

/// Follows steps from a node. Wildcards branch; two hits are [`Found::Several`].
fn walk(document: &Document, bytes: &[u8], from: u32, steps: &[Step]) -> Found {
    let mut at = from;
    for (i, step) in steps.iter().enumerate() {
        let kind = document.node(at).map(|n| n.kind);
        let next = match (step, kind) {
            // Of equal keys the last one counts.
            (Step::Key(key), Some(Kind::Object)) => document
                .children(at)
                .filter(|(_, n)| document.key_is(n, bytes, key))
                .last(),
            (Step::Index(index), Some(Kind::Array)) => document.children(at).nth(*index),
            (Step::AnyKey, Some(Kind::Object)) | (Step::AnyIndex, Some(Kind::Array)) => {
                let mut hit = Found::Missing;
                for (child, _) in document.children(at) {
                    match (walk(document, bytes, child, &steps[i + 1..]), hit) {
                        (Found::Missing, _) => {}
                        (other, Found::Missing) => hit = other,
                        _ => return Found::Several,
                    }
                }
                return hit;
            }
            _ => None,
        };
        match next {
            Some((child, _)) => at = child,
            None => return Found::Missing,
        }
    }
    Found::Node(at)
}

impl Document {
    /// What a node is, and its text if it is a string.
    pub(crate) fn value<'a>(&'a self, bytes: &'a [u8], node: &Node) -> (Kind, Option<&'a str>) {
        match node.kind {
            Kind::Str(text) => (node.kind, self.text(bytes, text)),
            kind => (kind, None),
        }
    }
}

/// Value of a system property that is there and not null.
fn system_value<'a>(
    view: &'a (impl MessageView + ?Sized),
    name: &str,
) -> Option<std::borrow::Cow<'a, str>> {
    view.system(name).flatten()
}

/// The names that the gates look at.
const CONTENT_TYPE: &str = system::CONTENT_TYPE;
const CONTENT_ENCODING: &str = system::CONTENT_ENCODING;
