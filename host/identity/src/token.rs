//! SAS tokens: proof that somebody has an identity's key, without showing it (client contract, section 4).
//!
//! ```text
//!   SharedAccessSignature sr={resource}&sig={signature}&se={expiry}     fields in any order
//!
//!   resource    percent-encoded   {hub host}/devices/{device}[/modules/{module}]
//!   signature   percent-encoded   base64 of HMAC-SHA256(key, sr as received, LF, se as received)
//!   expiry      seconds since 1970
//! ```
//!
//! What is signed is the text of `sr` as it came: clients differ in what they encode and in which case.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::{Identity, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::Secret;

/// How long after its expiry a token is still taken where nothing else is set, because clocks differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Longest token in bytes that is looked at. Three ids of 128 characters, each encoded twice, fit.
const MAX_TOKEN: usize = 4096;

/// How a token begins.
pub(crate) const SCHEME: &str = "SharedAccessSignature ";

/// All but the unreserved characters of RFC 3986, as Python's `quote(…, safe='')`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A token that was read, not yet one that was verified. Borrows from its text.
#[derive(Debug)]
pub struct Token<'a> {
    resource: &'a str,
    expiry: &'a str,
    expires: Timestamp,
    signature: [u8; 32],
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is something else, perhaps a key.
    #[error("it does not begin with `SharedAccessSignature `")]
    Scheme,
    /// More than 4096 bytes.
    #[error("it is longer than 4096 bytes")]
    TooLong,
    /// A field is not there.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// A field is there more than once: which of them counts cannot be told.
    #[error("it has `{0}` twice")]
    Twice(&'static str),
    /// `se` is no number of seconds.
    #[error("`se` is no number of seconds since 1970")]
    Expiry,
    /// `sig` is not the base64 of 32 bytes, percent-encoded.
    #[error("`sig` is not the base64 of 32 bytes, percent-encoded")]
    Encoding,
    /// The signature is by no key of the identity.
    #[error("its signature is by none of the keys of the identity, nor of its device")]
    Signature,
    /// The identity has no keys; it proves who it is with a certificate.
    #[error("the identity has no keys, it is known by a certificate")]
    NoKeys,
}

impl<'a> Token<'a> {
    /// Reads a token. Fields that are not known (`skn`) are passed over.
    ///
    /// # Errors
    /// It has another form; see [`TokenFault`].
    pub fn parse(text: &'a str) -> Result<Self, TokenFault> {
        if text.len() > MAX_TOKEN {
            return Err(TokenFault::TooLong);
        }
        let fields = text.strip_prefix(SCHEME).ok_or(TokenFault::Scheme)?;
        let [mut resource, mut signature, mut expiry] = [None; 3];
        for field in fields.trim().split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let (place, name) = match name {
                "sr" => (&mut resource, "sr"),
                "sig" => (&mut signature, "sig"),
                "se" => (&mut expiry, "se"),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(TokenFault::Twice(name));
            }
        }
        let resource = resource.ok_or(TokenFault::Missing("sr"))?;
        let signature = signature.ok_or(TokenFault::Missing("sig"))?;
        let expiry = expiry.ok_or(TokenFault::Missing("se"))?;
        if !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TokenFault::Expiry);
        }
        let seconds: u64 = expiry.parse().map_err(|_| TokenFault::Expiry)?;
        let signature: Vec<u8> = percent_decode_str(signature).collect();
        Ok(Self {
            resource,
            expiry,
            expires: Timestamp(seconds.saturating_mul(1_000_000_000)),
            signature: STANDARD
                .decode(signature)
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(TokenFault::Encoding)?,
        })
    }

    /// When it expires, by its own words.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// `sr`, decoded for people to read.
    pub fn audience(&self) -> String {
        percent_decode_str(self.resource)
            .decode_utf8_lossy()
            .into_owned()
    }

    /// Whether `sr` names this identity. The host is that of the hub which the client believes to talk to,
    /// and says nothing here. Ids may be encoded once more, as some clients do.
    pub fn is_for(&self, identity: &Identity) -> bool {
        let audience = percent_decode_str(self.resource).decode_utf8_lossy();
        let is =
            |part: &str, id: &str| part == id || percent_decode_str(part).decode_utf8_lossy() == id;
        let mut parts = audience.split('/').skip(1);
        let mut names = |kind: &str, id: &str| {
            let found = parts.next().zip(parts.next());
            found.is_some_and(|(k, name)| k.eq_ignore_ascii_case(kind) && is(name, id))
        };
        let named = match identity {
            Identity::Device(device) => names("devices", device.as_str()),
            Identity::Module(device, module) => {
                names("devices", device.as_str()) && names("modules", module.as_str())
            }
        };
        named && parts.next().is_none()
    }

    /// Whether this key signed it. Takes the same time whatever is wrong.
    pub fn is_signed_by(&self, key: &Secret) -> bool {
        let parts = [self.resource, "\n", self.expiry].map(str::as_bytes);
        key.verifies(&parts, &self.signature)
    }

    /// Makes a token for an identity of a hub, as clients with a key do; `expires` is cut to seconds.
    pub fn make(
        hub: &str,
        identity: &Identity,
        key: &Secret,
        expires: Timestamp,
    ) -> Zeroizing<String> {
        let resource = match identity {
            Identity::Device(device) => format!("{hub}/devices/{device}"),
            Identity::Module(device, module) => format!("{hub}/devices/{device}/modules/{module}"),
        };
        let resource = utf8_percent_encode(&resource, RESERVED).to_string();
        let expiry = (expires.0 / 1_000_000_000).to_string();
        let signature = key.sign(&[resource.as_bytes(), b"\n", expiry.as_bytes()]);
        let signature = STANDARD.encode(signature);
        let signature = utf8_percent_encode(&signature, RESERVED);
        Zeroizing::new(format!("{SCHEME}sr={resource}&sig={signature}&se={expiry}"))
    }
}

#[cfg(test)]
mod tests;
