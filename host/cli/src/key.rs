//! `edge key`: make a pair of keys, one to sign with and one to verify with.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use edge_trust::{Algorithm, PrivateKey};

use crate::exit::Exit;
use crate::output;

/// Make a pair of keys: KEY.pem signs and stays with whoever releases, PUB.pem goes to devices.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where the private key is written, for its owner alone. It is not encrypted.
    #[arg(value_name = "KEY.pem")]
    private: PathBuf,
    /// Where the public key is written.
    #[arg(value_name = "PUB.pem")]
    public: PathBuf,
    /// How they sign.
    #[arg(long, value_enum, default_value_t = Kind::EcdsaP256)]
    algorithm: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// What cosign makes too.
    EcdsaP256,
    Ed25519,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let algorithm = match args.algorithm {
        Kind::EcdsaP256 => Algorithm::EcdsaP256,
        Kind::Ed25519 => Algorithm::Ed25519,
    };
    let key = PrivateKey::generate(algorithm).map_err(Exit::incomplete)?;
    let public = key.public();
    write_new(&args.private, key.to_pem().as_bytes(), 0o600).map_err(Exit::usage)?;
    write_new(&args.public, public.to_pem().as_bytes(), 0o644).map_err(Exit::usage)?;
    output::line(&format!(
        "{algorithm} key {}\n  sign with {}\n  verify with {}",
        public.fingerprint(),
        args.private.display(),
        args.public.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that was not there: a key that is written over is lost.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("make key file {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write key file {}", path.display()))
}
