//! One entry: machine code as wasmtime serializes it, and a footer that says what it is.
//!
//! ```text
//! payload                 any length   the ELF image, at offset 0 so that the file can be mapped
//! magic            8 B    "EDGECWSM"                                  ┐
//! format version   u32    1                                           │
//! reserved         u32    0                                           │
//! payload length   u64                                                │ footer, little-endian
//! component        32 B   SHA-256 of the component                    │
//! engine           32 B   SHA-256 of wasmtime's compatibility hash    │
//! target           32 B   architecture and system, zero-padded        │
//! MAC              32 B   HMAC-SHA256(key, all bytes above)           ┘
//! ```
//!
//! The footer's fields are compared before the MAC is: they only decide which reason is given, since
//! any difference ends in a rebuild.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;

use edge_core::Digest;
use hmac::Mac;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use super::MAX_ENTRY;
use super::key::DeviceKey;

const MAGIC: [u8; 8] = *b"EDGECWSM";
const VERSION: u32 = 1;
const MAC_LEN: usize = 32;
const SIGNED_LEN: usize = 8 + 4 + 4 + 8 + 32 + 32 + 32;
/// Length of the footer in bytes.
pub(super) const FOOTER_LEN: usize = SIGNED_LEN + MAC_LEN;

/// How much of a file is read and hashed at a time: fits the second-level cache.
const CHUNK: usize = 128 << 10;

/// Why an entry is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildReason {
    /// It is a link or a special file, belongs to another user, or others may write it.
    #[error("the entry is not a file that only this user can write")]
    NotOurs,
    /// Smaller than a footer, or larger than an entry may be.
    #[error("the entry has {0} bytes, which no entry can have")]
    Size(u64),
    /// No footer where one should be: truncated, extended or overwritten.
    #[error("the entry does not end in a footer of ours: it is cut off or overwritten")]
    NoFooter,
    /// Written by another version of this program.
    #[error("the entry has format version {0}, expected {VERSION}")]
    Version(u32),
    /// The footer says another length than the file has.
    #[error("the entry's machine code has {found} bytes, expected {expected}")]
    Length {
        /// Bytes before the footer.
        found: u64,
        /// What the footer says.
        expected: u64,
    },
    /// It was made from another component.
    #[error("the entry is of component {0}")]
    Component(Digest),
    /// It was compiled with other settings or by another wasmtime.
    #[error("the entry was compiled by another engine version or with other settings")]
    Engine,
    /// It was compiled for another kind of machine.
    #[error("the entry was compiled for another kind of machine")]
    Target,
    /// It was changed, or made under another key.
    #[error("the entry's MAC does not match: it was changed, or comes from another device")]
    Mac,
    /// It is what we stored, and wasmtime does not take it (no memory, for example).
    #[error("the engine does not load the entry: {0}")]
    Refused(String),
}

/// What machine code is bound to: usable for this component with these engine settings only.
pub(super) struct Binding {
    component: Digest,
    engine: [u8; 32],
    target: [u8; 32],
}

impl Binding {
    pub(super) fn new(engine: &Engine, component: &Digest) -> Self {
        Self {
            component: *component,
            engine: engine_settings(engine).0,
            target: target(),
        }
    }

    /// Engines have files of their own, so that two of them never throw out each other's entries.
    pub(super) fn file_name(&self) -> String {
        let engine = Digest(self.engine).hex();
        format!("{}.{}.cwasm", self.component.hex(), &engine[..16])
    }

    /// The footer up to the MAC.
    fn signed(&self, payload_len: u64) -> [u8; SIGNED_LEN] {
        let mut out = [0; SIGNED_LEN];
        let mut rest = out.as_mut_slice();
        let fields: [&[u8]; 7] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &0u32.to_le_bytes(),
            &payload_len.to_le_bytes(),
            &self.component.0,
            &self.engine,
            &self.target,
        ];
        for field in fields {
            let (head, tail) = rest.split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        }
        out
    }
}

/// All settings of an engine that machine code depends on, hashed.
pub(crate) fn engine_settings(engine: &Engine) -> Digest {
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Digest(hasher.0.finalize().into())
}

/// Architecture, width, byte order and system, as far as machine code depends on them; the engine's
/// hash has the details.
fn target() -> [u8; 32] {
    let text = format!(
        "{}-{}-{}{}",
        std::env::consts::ARCH,
        std::env::consts::OS,
        usize::BITS,
        if cfg!(target_endian = "big") {
            "be"
        } else {
            "le"
        },
    );
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    out
}

/// Feeds `Hash` into SHA-256: the standard library's hashers give no promise between two builds.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash: [u8; 32] = self.0.clone().finalize().into();
        hash.iter()
            .take(8)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// The footer of a new entry.
pub(super) fn footer(payload: &[u8], binding: &Binding, key: &DeviceKey) -> [u8; FOOTER_LEN] {
    let signed = binding.signed(payload.len() as u64);
    let mut mac = key.mac();
    mac.update(payload);
    mac.update(&signed);
    let mut out = [0; FOOTER_LEN];
    let (head, tail) = out.split_at_mut(SIGNED_LEN);
    head.copy_from_slice(&signed);
    tail.copy_from_slice(&mac.finalize().into_bytes());
    out
}

/// Whether a file is an entry that we made, for what it is bound to. Reads it piece by piece.
pub(super) fn verify(
    file: &File,
    len: u64,
    binding: &Binding,
    key: &DeviceKey,
) -> io::Result<Result<(), RebuildReason>> {
    let (payload_len, footer) = match read_footer(file, len, binding)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut mac = key.mac();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < payload_len {
        let left = usize::try_from(payload_len - at).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(CHUNK)];
        // The size was right a moment ago: a file that ends early is an error, not an entry.
        file.read_exact_at(piece, at)?;
        mac.update(piece);
        at += piece.len() as u64;
    }
    Ok(check_mac(mac, &footer))
}

/// Reads an entry's payload whole; the bytes given back are the bytes that were checked.
pub(super) fn read_verified(
    file: &File,
    len: u64,
    binding: &Binding,
    key: &DeviceKey,
) -> io::Result<Result<Vec<u8>, RebuildReason>> {
    let (payload_len, footer) = match read_footer(file, len, binding)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let Ok(size) = usize::try_from(payload_len) else {
        return Ok(Err(RebuildReason::Size(len)));
    };
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size)?;
    bytes.resize(size, 0);
    file.read_exact_at(&mut bytes, 0)?;
    let mut mac = key.mac();
    mac.update(&bytes);
    Ok(check_mac(mac, &footer).map(|()| bytes))
}

/// The payload's length and the footer, once it says what it should.
fn read_footer(
    file: &File,
    len: u64,
    binding: &Binding,
) -> io::Result<Result<(u64, [u8; FOOTER_LEN]), RebuildReason>> {
    let Some(found) = len
        .checked_sub(FOOTER_LEN as u64)
        .filter(|found| *found > 0 && len <= MAX_ENTRY)
    else {
        return Ok(Err(RebuildReason::Size(len)));
    };
    let mut footer = [0; FOOTER_LEN];
    file.read_exact_at(&mut footer, found)?;
    Ok(check_footer(&footer, found, binding).map(|()| (found, footer)))
}

fn check_footer(
    footer: &[u8; FOOTER_LEN],
    found: u64,
    binding: &Binding,
) -> Result<(), RebuildReason> {
    let (magic, rest) = footer.split_at(8);
    let (version, rest) = rest.split_at(4);
    let (reserved, rest) = rest.split_at(4);
    let (length, rest) = rest.split_at(8);
    let (component, rest) = rest.split_at(32);
    let (engine, rest) = rest.split_at(32);
    let target = &rest[..32];
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    if magic != MAGIC || number(reserved) != 0 {
        return Err(RebuildReason::NoFooter);
    }
    if version != VERSION.to_le_bytes() {
        let found = u32::try_from(number(version)).unwrap_or(u32::MAX);
        return Err(RebuildReason::Version(found));
    }
    if target != binding.target {
        return Err(RebuildReason::Target);
    }
    if component != binding.component.0 {
        let mut digest = Digest([0; 32]);
        digest.0.copy_from_slice(component);
        return Err(RebuildReason::Component(digest));
    }
    if engine != binding.engine {
        return Err(RebuildReason::Engine);
    }
    let expected = number(length);
    if expected != found {
        return Err(RebuildReason::Length { found, expected });
    }
    Ok(())
}

/// `mac` has seen the payload. Compares in constant time.
fn check_mac(
    mut mac: super::key::EntryMac,
    footer: &[u8; FOOTER_LEN],
) -> Result<(), RebuildReason> {
    let (signed, tag) = footer.split_at(SIGNED_LEN);
    mac.update(signed);
    mac.verify_slice(tag).map_err(|_| RebuildReason::Mac)
}
