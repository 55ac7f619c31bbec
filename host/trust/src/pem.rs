//! PEM (RFC 7468): a label and the bytes under it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::pem::parse_x509_pem;

use crate::KeyError;
use crate::key::MAX_KEY_FILE;

/// Characters of a line.
const LINE: usize = 64;

/// The first block of a text: its label, and what is in it.
pub(crate) fn read(text: &[u8]) -> Result<(String, Vec<u8>), KeyError> {
    if text.len() > MAX_KEY_FILE {
        return Err(KeyError::TooLarge { found: text.len() });
    }
    let (_, block) = parse_x509_pem(text).map_err(|error| KeyError::NotPem {
        why: error.to_string(),
    })?;
    Ok((block.label, block.contents))
}

/// A block.
pub(crate) fn write(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
