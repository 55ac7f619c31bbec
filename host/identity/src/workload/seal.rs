//! Encryption of modules' data.
//!
//! ```text
//!   key         HKDF-SHA256(device's secret; module, generation, vector: each with its length in 8 bytes before it)
//!   ciphertext  nonce (12) │ AES-256-GCM of the plaintext │ tag (16)
//! ```

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use super::WorkloadError;
use crate::{Entry, Secret};

/// The key of a module's vector.
pub(super) fn key(
    secret: &Secret,
    entry: &Entry,
    vector: &[u8],
) -> Result<LessSafeKey, WorkloadError> {
    if vector.is_empty() {
        return Err(WorkloadError::EmptyVector);
    }
    let identity = entry.identity.to_string();
    let generation = entry.generation.to_string();
    let parts = [identity.as_bytes(), generation.as_bytes(), vector];
    let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
    let info = [
        &lengths[0][..],
        parts[0],
        &lengths[1][..],
        parts[1],
        &lengths[2][..],
        parts[2],
    ];
    let secret = Salt::new(HKDF_SHA256, b"edge workload encryption 1").extract(secret.bytes());
    let key = secret
        .expand(&info, &AES_256_GCM)
        .expect("HKDF gives 32 bytes of any input");
    Ok(LessSafeKey::new(UnboundKey::from(key)))
}

pub(super) fn encrypt(key: &LessSafeKey, plaintext: &[u8]) -> Result<Vec<u8>, WorkloadError> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| {
        WorkloadError::Encrypt(format!(
            "the operating system has no randomness to give: {error}"
        ))
    })?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::empty(), &mut sealed[NONCE_LEN..])
        .map_err(|_| WorkloadError::Encrypt("the plaintext is too long".to_owned()))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

pub(super) fn decrypt(key: &LessSafeKey, ciphertext: &[u8]) -> Result<Vec<u8>, WorkloadError> {
    let (nonce, sealed) = ciphertext
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(WorkloadError::Ciphertext)?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key
        .open_in_place(nonce, Aad::empty(), &mut sealed)
        .map_err(|_| WorkloadError::Ciphertext)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}
