//! Why a signature does not hold: the check, what was expected, what was found.

use std::fmt;

use edge_core::Digest;

/// Most characters of foreign text in a message.
const EXCERPT: usize = 300;

/// A check that a signature has not passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// More than is looked at.
    #[error("size of the {what}: expected at most {most} bytes, found {found}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit, in bytes.
        most: usize,
        /// Its size, in bytes.
        found: usize,
    },
    /// It cannot be read.
    #[error("format of the {what}: expected {expected}, found {found}")]
    Format {
        /// Of what.
        what: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// It says that it is something else.
    #[error("{what}: expected {expected:?}, found {found:?}")]
    Kind {
        /// What says it: media type, payload type, predicate type …
        what: &'static str,
        /// What it should say.
        expected: &'static str,
        /// What it says.
        found: String,
    },
    /// It rests on a certificate.
    #[error(
        "kind of signature: expected one by a key, found one by a certificate chain, which this device \
         does not trust; sign with a key pair"
    )]
    Certificate,
    /// It is of something else.
    #[error("digest in the {what}: expected {expected}, found {found}")]
    Digest {
        /// What names it.
        what: &'static str,
        /// What is to run.
        expected: Digest,
        /// What was signed.
        found: String,
    },
    /// No key made it.
    #[error(
        "signature of the {what}: expected one by {expected}, found one by another key, or of other bytes"
    )]
    Signature {
        /// What it is over.
        what: &'static str,
        /// The keys.
        expected: String,
    },
    /// It is over bytes that are not here.
    #[error(
        "signature of the {what}: expected one of a statement that names the digest, found one of the \
         bytes themselves, which are not at hand"
    )]
    BytesNeeded {
        /// What it is in.
        what: &'static str,
    },
    /// Where it was kept it is not whole any more.
    #[error("content of the signature: expected it whole, found that {found}")]
    Damaged {
        /// What is wrong with it.
        found: String,
    },
    /// Nothing is trusted.
    #[error("trusted keys: expected at least one, found none")]
    NoKeys,
}

impl VerifyError {
    /// The text of somebody else, short and on one line.
    pub(crate) fn excerpt(text: &str) -> String {
        match text.char_indices().nth(EXCERPT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    pub(crate) fn format(
        what: &'static str,
        expected: &'static str,
        found: impl fmt::Display,
    ) -> Self {
        Self::Format {
            what,
            expected,
            found: Self::excerpt(&found.to_string()),
        }
    }

    pub(crate) fn size(what: &'static str, bytes: &[u8], most: usize) -> Result<(), Self> {
        match bytes.len() {
            found if found > most => Err(Self::TooLarge { what, most, found }),
            _ => Ok(()),
        }
    }

    pub(crate) fn kind(
        what: &'static str,
        expected: &'static str,
        found: &str,
    ) -> Result<(), Self> {
        match found == expected {
            true => Ok(()),
            false => Err(Self::Kind {
                what,
                expected,
                found: Self::excerpt(found),
            }),
        }
    }
}

/// Nothing that was found makes a subject trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// There is no signature.
    #[error("signature: expected one by {expected}, found none")]
    Missing {
        /// The keys.
        expected: String,
    },
    /// There are signatures, and none holds: each by where it was found, and why.
    #[error("{}", several(.0))]
    Refused(Vec<(String, VerifyError)>),
}

fn several(refused: &[(String, VerifyError)]) -> String {
    let told = refused
        .iter()
        .map(|(place, error)| format!("{error} ({place})"));
    told.collect::<Vec<_>>().join("; ")
}
