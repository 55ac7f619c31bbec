//! `[verify]`: what a component or an image must have before it runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use edge_trust::{KeyError, MAX_KEY_FILE, PublicKey, TrustedKey};

/// `[verify]`: what a component or an image must have before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifySettings {
    /// Whether a deployment must pin what it runs.
    pub require_digest: bool,
    /// Whether one of the keys must have signed it.
    pub require_signature: bool,
    /// Files with public keys, in PEM.
    pub keys: Vec<PathBuf>,
}

/// A key of `[verify] keys` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read key {path} of [verify] keys")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// It is no public key.
    #[error("{path} of [verify] keys is no key that signatures can be verified with")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: KeyError,
    },
}

impl VerifySettings {
    /// Reads the keys. Blocks.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn read_keys(&self) -> Result<Vec<TrustedKey>, KeyFileError> {
        self.keys.iter().map(|path| read(path)).collect()
    }
}

fn read(path: &Path) -> Result<TrustedKey, KeyFileError> {
    let mut bytes = Vec::new();
    let most = MAX_KEY_FILE as u64 + 1;
    let file = File::open(path);
    let read = file.and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|why| KeyFileError::Read {
        path: path.to_owned(),
        why,
    })?;
    let key = PublicKey::from_pem(&bytes).map_err(|why| KeyFileError::Key {
        path: path.to_owned(),
        why,
    })?;
    Ok(TrustedKey {
        name: path.display().to_string(),
        key,
    })
}

#[cfg(test)]
mod tests {
    use edge_trust::{Algorithm, PrivateKey};

    use super::*;

    #[test]
    fn keys_are_read_and_what_is_none_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let (good, bad, gone) = (
            dir.path().join("a.pem"),
            dir.path().join("b.pem"),
            dir.path().join("c.pem"),
        );
        let key = PrivateKey::generate(Algorithm::EcdsaP256).expect("key");
        std::fs::write(&good, key.public().to_pem()).expect("file");
        std::fs::write(&bad, key.to_pem().as_bytes()).expect("file");
        let read = |keys: &[&PathBuf]| {
            let keys = keys.iter().map(|path| (*path).clone()).collect();
            let settings = VerifySettings {
                keys,
                ..VerifySettings::default()
            };
            settings.read_keys()
        };
        let keys = read(&[&good]).expect("a key");
        assert_eq!(keys[0].key, key.public());
        assert_eq!(keys[0].name, good.display().to_string());
        for path in [&bad, &gone] {
            let error = read(&[&good, path]).expect_err("no key").to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
        }
    }
}
