//! Symmetric keys: made, compared and used here, and shown by one explicit call.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Bytes of a key that is made here.
const FRESH: usize = 32;

/// Bytes that a given key may have, as IoT Hub has it.
const GIVEN: std::ops::RangeInclusive<usize> = 16..=64;

/// A symmetric key: 32 bytes when made here, 16 to 64 when given. Decoded once, wiped when dropped, compared
/// in constant time; `Debug` prints `***`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

/// Text that is no key. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not standard base64 with padding.
    #[error("the key is not base64")]
    NotBase64,
    /// Too short to be safe, or longer than IoT Hub takes.
    #[error("the key has {0} bytes; expected 16 to 64")]
    Length(usize),
}

impl Secret {
    /// 32 bytes from the operating system's generator.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new(vec![0; FRESH].into_boxed_slice());
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads the base64 text of a key of 16 to 64 bytes.
    ///
    /// # Errors
    /// Other text; the error does not repeat it.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| InvalidKey::NotBase64)?;
        let bytes = Zeroizing::new(bytes.into_boxed_slice());
        if GIVEN.contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(InvalidKey::Length(bytes.len()))
        }
    }

    /// The key as text: for connection strings, for whoever owns it. The only way out.
    pub fn base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.0))
    }

    /// HMAC-SHA256 of some parts, one after another.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.mac(parts).as_ref());
        digest
    }

    /// Whether a MAC is the one of some parts; in constant time.
    pub fn verifies(&self, parts: &[&[u8]], mac: &[u8]) -> bool {
        self.mac(parts).as_ref().ct_eq(mac).into()
    }

    /// Whether bytes are the base64 text of this key; what it is compared with takes the same time,
    /// however much of it is right.
    pub(crate) fn is_text(&self, text: &[u8]) -> bool {
        let text = Zeroizing::new(STANDARD.decode(text).unwrap_or_default());
        self.0.ct_eq(&text).into()
    }

    /// The bytes, for ciphers of this crate.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn mac(&self, parts: &[&[u8]]) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_in_debug_output() {
        let key = Secret::generate().unwrap();
        assert_eq!(format!("{key:?}"), "***");
    }

    #[test]
    fn a_key_comes_back_from_its_text() {
        let key = Secret::generate().unwrap();
        assert_eq!(Secret::from_base64(&key.base64()), Ok(key.clone()));
        assert!(key.is_text(key.base64().as_bytes()));
        assert!(!key.is_text(&key.base64().as_bytes()[..40]));
        assert!(!key.is_text(b""));
        assert_ne!(Secret::generate().unwrap(), key);
    }

    #[test]
    fn keys_that_iot_hub_would_refuse_are_refused() {
        assert_eq!(Secret::from_base64("a b"), Err(InvalidKey::NotBase64));
        assert_eq!(Secret::from_base64(""), Err(InvalidKey::Length(0)));
        let text = STANDARD.encode([7; 65]);
        assert_eq!(Secret::from_base64(&text), Err(InvalidKey::Length(65)));
    }

    /// RFC 4231, test case 1 (its key has 20 bytes).
    #[test]
    fn macs_are_hmac_sha256() {
        let key = Secret::from_base64(&STANDARD.encode([0x0b; 20])).unwrap();
        let mac = key.sign(&[b"Hi ", b"There"]);
        assert_eq!(mac[..4], [0xb0, 0x34, 0x4c, 0x61]);
        assert_eq!(mac[28..], [0x2e, 0x32, 0xcf, 0xf7]);
        assert!(key.verifies(&[b"Hi There"], &mac));
        assert!(!key.verifies(&[b"Hi There"], &mac[..31]));
        assert!(!key.verifies(&[b"hi There"], &mac));
    }
}
