//! Digests of certificates, by which devices with self-signed ones are known.

use std::fmt;
use std::str::FromStr;

use ring::digest;

/// SHA-1 or SHA-256 of a certificate's DER. Read from hexadecimal digits in either case, with or without
/// colons; written in upper case without, as IoT Hub and `openssl x509 -fingerprint` have it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// SHA-1: what IoT Hub's tools print. Enough here: a second certificate would need a second preimage.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// Text that is no thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no thumbprint: expected 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")]
pub struct InvalidThumbprint {
    /// The text, cut after 80 characters.
    pub text: String,
}

impl Thumbprint {
    /// The SHA-256 of a certificate.
    pub fn sha256(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self::Sha256(bytes)
    }

    /// The SHA-1 of a certificate.
    pub fn sha1(der: &[u8]) -> Self {
        let legacy = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        let mut bytes = [0; 20];
        bytes.copy_from_slice(digest::digest(legacy, der).as_ref());
        Self::Sha1(bytes)
    }

    /// Whether it is the thumbprint of this certificate.
    pub fn is_of(&self, der: &[u8]) -> bool {
        match self {
            Self::Sha1(_) => Self::sha1(der) == *self,
            Self::Sha256(_) => Self::sha256(der) == *self,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, InvalidThumbprint> {
        let parse = || {
            let mut bytes = [0; 32];
            let mut count = 0;
            for digit in text.trim().bytes().filter(|byte| *byte != b':') {
                let value = (digit as char).to_digit(16)?;
                let byte: &mut u8 = bytes.get_mut(count / 2)?;
                *byte = *byte << 4 | u8::try_from(value).ok()?;
                count += 1;
            }
            match count {
                64 => Some(Self::Sha256(bytes)),
                40 => Some(Self::Sha1(bytes[..20].try_into().ok()?)),
                _ => None,
            }
        };
        parse().ok_or_else(|| InvalidThumbprint {
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_are_read_in_the_forms_that_tools_print() {
        let sha1: Thumbprint = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D"
            .parse()
            .unwrap();
        assert!(sha1.is_of(b"abc") && !sha1.is_of(b"abd"));
        assert_eq!(sha1.to_string().parse(), Ok(sha1));
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sha256: Thumbprint = text.parse().unwrap();
        assert!(sha256.is_of(b"abc"));
        assert_eq!(sha256.to_string(), text.to_uppercase());
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "zz", &"a".repeat(41), &"a".repeat(66), "é"] {
            assert!(bad.parse::<Thumbprint>().is_err(), "{bad}");
        }
    }
}
