//! What a device tells of itself to those who look after it: lines of logs that are wanted, archives without
//! secrets, and the way of both to wherever they are to go.
//!
//! Called by the daemon (methods of `$edgeAgent`, management API) and by commands. Knows neither hub nor
//! agent: lines, documents and addresses come in, text and bytes go out.
//!
//! ```text
//!   moment ─┐
//!   Filter ─┴─► lines that are wanted ─► render: text │ JSON ─► pack: gzip │ base64 ─► answer │ put
//!   documents ─► redact ─► Archive (tar.gz) ───────────────────────────────────────► file   │ put
//! ```
//!
//! Promises
//! - What goes through [`redact`] has no value left whose name says that it is secret, and none that looks
//!   like a token, a signature or a private key.
//! - Patterns of callers cost time linear in what they are matched with, and a bounded amount of memory.
//! - No message names the query of an address: that is where signatures are.

mod archive;
mod lines;
mod moment;
pub mod redact;
pub mod request;
mod upload;

pub use archive::Archive;
pub use lines::{BadPattern, Filter, Line, Severity, Wanted, pattern, severity_of};
pub use moment::{BadMoment, moment};
pub use upload::{Destination, Upload, UploadError, Uploader, gzip};
