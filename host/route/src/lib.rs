//! The routing language: parse, check, compile, evaluate, explain.
//!
//! ```text
//! text ── Route::compile ──► Route ──┐
//!                                    ├─► RouteTable ── select(path) ──► Selection   once per sender
//! name, priority, time to live ──────┘        └─ evaluate(selection, message) ──► targets   each message
//! ```
//!
//! Who calls it: `edge-manifest` compiles the routes of a deployment and reports what is wrong with
//! them, the hub evaluates, the command line explains. Pure: no I/O, no clock, no logging; nothing
//! here panics, whatever the text or the message.
//!
//! # Modes
//!
//! [`Mode::Compat`] is the language of Azure IoT Edge with all its quirks; [`Route::warnings`] names
//! those that a route relies on. [`Mode::Strict`] differs so:
//!
//! - Operator signs end a name: `a-b` is a subtraction. A property of such a name is written
//!   `['a-b']`, a system property `$['a-b']`; known ones as `$absolute-expiry-time` stay.
//! - What follows a complete condition or route is an error.
//! - A missing body value is undefined. Body values of different kinds are unequal and in no order.
//!   `is_null` of a body value is true for JSON's null and for nothing else.
//! - Body values may stand on either side of AND and OR, and work with `%` and unary `-`.
//! - Text that looks like a date is text.
//! - `contentType` may have parameters; its charset stands in for a missing `contentEncoding`, and
//!   UTF-8 for both. A byte order mark is taken.
//! - Any key of a body can be named: `$body['odd key'].list[0]['a.b']`, with as many indices as it takes.
//! - `*` in a source is its last part, whole. A part in quotes is a name whatever it holds:
//!   `FROM /messages/modules/'from'/outputs/x`.
//! - Comments are in conditions only, so `/*` is always a wildcard in a source.
//! - The words `modules` and `inputs` of an address are checked.
//! - `twin_change_includes(properties.reported.x)` works on routes `FROM /twinChangeNotifications`, for
//!   bodies with that path and for bodies that are the bare patch.
//!
//! In both modes `FROM /messages/modules/m/*` takes what `m` sends with and without an output; only
//! what has none: `FROM /messages/modules/m WHERE NOT is_defined({$outputName})`.
//!
//! Text is counted and ordered in UTF-16 units in both modes. Half a surrogate pair, as
//! `substring` can leave it, is U+FFFD.

mod body;
mod check;
mod condition;
mod diagnostic;
mod endpoint;
mod eval;
mod explain;
mod ir;
mod lexer;
mod literal;
mod mode;
mod number;
mod parser;
mod path;
mod route;
mod source;
mod suggest;
mod syntax;
mod table;
mod text;
mod value;
mod view;

pub use body::{Body, GetError, Unreadable};
pub use condition::{CompileOptions, Condition, Features, Scalar};
pub use diagnostic::{Diagnostic, DiagnosticCode};
pub use endpoint::{EndpointError, RouteEndpoint};
pub use explain::{Explanation, Part, explain};
pub use mode::{Mode, ParseModeError};
pub use route::{Route, is_blank};
pub use source::SourcePattern;
pub use table::{RouteCounters, RouteEntry, RouteTable, Scratch, Selection, Target};
pub use value::Truth;
pub use view::{MessageView, source_path};
