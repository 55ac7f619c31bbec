//! The client against Debian's docker-registry (`real.rs`), and against servers that do what no registry should
//! (`bad.rs`), or what Debian's does not (`other.rs`).

#![allow(
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    reason = "tests"
)]

mod bad;
mod other;
mod real;
#[path = "../../../../tests/support/registry.rs"]
mod registry;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_core::Digest;
use edge_core::deployment::RegistryCredentials;
use edge_oci::{
    Claims, PullError, PullLimits, Pulled, Reference, Registries, RegistriesConfig, RegistryConfig,
};
use sha2::{Digest as _, Sha256};

/// Bytes that stand for a component; nobody looks into them here.
pub fn component() -> Vec<u8> {
    (0..50_000u32).flat_map(u32::to_le_bytes).collect()
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

pub fn reference(registry: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{registry}/{rest}")).unwrap()
}

/// Patience of a test that wants to see it end.
pub const STALL: Duration = Duration::from_millis(300);

pub fn registries(known: Option<RegistryConfig>) -> Registries {
    Registries::new(RegistriesConfig {
        registries: known.into_iter().collect(),
        stall: STALL,
        ..RegistriesConfig::default()
    })
    .unwrap()
}

/// As above, for registries that do real work: no silence is a fault there.
pub fn patient(known: Option<RegistryConfig>) -> Registries {
    Registries::new(RegistriesConfig {
        registries: known.into_iter().collect(),
        ..RegistriesConfig::default()
    })
    .unwrap()
}

pub fn credentials(username: &str, password: &str) -> RegistryCredentials {
    RegistryCredentials {
        address: String::new(),
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// A folder to pull into.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.path()).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    pub async fn pull(
        &self,
        registries: &Registries,
        reference: &Reference,
    ) -> Result<Pulled, PullError> {
        let admit = |_: &Claims| Ok(());
        let limits = PullLimits::default();
        registries
            .pull(reference, None, limits, admit, self.path())
            .await
    }
}
