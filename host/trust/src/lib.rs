//! Keys, and signatures of artifacts by them: what says that somebody stands for a component or an image.
//!
//! Called by the daemon's gate and by the commands that sign. Pure: bytes in, an answer out; where
//! signatures lie (beside a file, in a registry) is the caller's.
//!
//! ```text
//!                         ┌─ Bundle    sigstore's JSON, v0.3: over the bytes, or over a statement (DSSE)
//!   Signature (as found) ─┼─ Simple    cosign 2: a payload that names the digest, and its signature
//!                         └─ Detached  base64 of a signature over the bytes (cosign sign-blob)
//!                              │
//!   size ─► format ─► signature by one of the keys ─► what was signed names the subject ─► Verified
//! ```
//!
//! Promises
//! - Trust is in keys alone. A signature that rests on a certificate is refused and said to be one: whether
//!   a certificate holds takes a clock, roots and logs, which a device off the network has not.
//! - Nothing larger than a named limit is looked at, and nothing that was signed is interpreted before its
//!   signature holds.
//! - A failure says the check, what was expected and what was found ([`VerifyError`]).
//! - What names a key beside a signature (hints, key ids) is not believed: every key is tried.

pub mod bundle;
pub mod detached;
mod error;
mod key;
mod pem;
mod private;
pub mod simple;
mod verify;

pub use error::{Untrusted, VerifyError};
pub use key::{Algorithm, KeyError, MAX_KEY_FILE, PublicKey};
pub use private::{NoRandom, PrivateKey};
pub use simple::SimpleSigning;
pub use verify::{Form, MAX_SIGNATURES, Signature, Subject, TrustedKey, Verified, check};
