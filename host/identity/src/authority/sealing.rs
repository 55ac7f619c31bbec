//! The device's secret under which modules' data is encrypted. It is kept apart from the keys of identities, which
//! are replaced now and then: what was encrypted stays readable.
//!
//! ```text
//!   -----BEGIN EDGE SEALING KEY-----      base64 of  format (1 byte, 1) │ secret (32) │ SHA-256 of both, first 8
//! ```

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use zeroize::Zeroizing;

use super::AuthorityError;
use super::files::{self, Readers, damaged};
use crate::Secret;

const LABEL: &str = "EDGE SEALING KEY";
const FORMAT: u8 = 1;
const CHECK: usize = 8;

/// Reads the secret, or makes it.
pub(super) fn open(dir: &Path) -> Result<Secret, AuthorityError> {
    let path = dir.join("sealing.key");
    if let Some(text) = files::read(&path)? {
        files::close_to_others(&path)?;
        let lost = |why| {
            damaged(
                &path,
                &format!(
                    "{why}. Restore it from a backup, or remove it: what modules had encrypted is lost then"
                ),
            )
        };
        return decode(&text).map_err(lost);
    }
    let secret = Secret::generate().map_err(AuthorityError::Random)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + secret.bytes().len() + CHECK));
    bytes.push(FORMAT);
    bytes.extend_from_slice(secret.bytes());
    let check = digest::digest(&digest::SHA256, &bytes);
    bytes.extend_from_slice(&check.as_ref()[..CHECK]);
    let mut text = Zeroizing::new(String::with_capacity(256));
    files::pem(LABEL, &bytes, &mut text);
    files::write(&path, text.as_bytes(), Readers::Owner)?;
    Ok(secret)
}

fn decode(text: &[u8]) -> Result<Secret, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let body = text
        .trim()
        .strip_prefix("-----BEGIN EDGE SEALING KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END EDGE SEALING KEY-----"))
        .ok_or("it is no sealing key, or cut off")?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let bytes = STANDARD.decode(&*body).map_err(|_| "it is not base64")?;
    let bytes = Zeroizing::new(bytes);
    let (stated, check) = bytes.split_last_chunk::<CHECK>().ok_or("it is too short")?;
    if digest::digest(&digest::SHA256, stated).as_ref()[..CHECK] != *check {
        return Err("its checksum is wrong");
    }
    match stated.split_first() {
        Some((&FORMAT, secret)) => {
            let text = Zeroizing::new(STANDARD.encode(secret));
            Secret::from_base64(&text).map_err(|_| "it has the wrong length")
        }
        _ => Err("it has a format that this program does not know"),
    }
}
