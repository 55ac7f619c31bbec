//! A signature in a file of its own: base64 of a signature over the bytes, as `cosign sign-blob` prints it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::PrivateKey;
use crate::error::VerifyError;
use crate::private::NoRandom;
use crate::verify::{Form, Subject, TrustedKey, Verified, signer};

/// Most bytes of such a file.
pub const MAX: usize = 4 << 10;
/// How its name ends, after the whole name of the file that was signed.
pub const SUFFIX: &str = ".sig";

const WHAT: &str = "detached signature";

/// Signs bytes: the text of the file.
///
/// # Errors
/// The system has no random numbers.
pub fn sign(key: &PrivateKey, bytes: &[u8]) -> Result<String, NoRandom> {
    Ok(STANDARD.encode(key.sign(bytes)?) + "\n")
}

/// Checks such a text.
///
/// # Errors
/// The check that it does not pass.
pub fn verify(
    text: &[u8],
    subject: Subject<'_>,
    keys: &[TrustedKey],
) -> Result<Verified, VerifyError> {
    VerifyError::size(WHAT, text, MAX)?;
    let signature = STANDARD
        .decode(text.trim_ascii())
        .map_err(|error| VerifyError::format(WHAT, "base64", error))?;
    let key = signer("bytes", subject.bytes(WHAT)?, &signature, keys)?;
    Ok(Verified {
        digest: subject.digest(),
        key: key.clone(),
        form: Form::Detached,
    })
}
