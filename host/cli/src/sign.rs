//! `edge sign`: sign a component with a key.
//!
//! A file gets a sigstore bundle beside it, which `edge apply` takes along to the device.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use edge_core::Digest;
use edge_trust::{PrivateKey, Subject, bundle};

use crate::exit::Exit;
use crate::output;

/// Sign a component or image with a key.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file.
    #[arg(value_name = "FILE")]
    what: String,
    /// The private key: PEM, PKCS#8, not encrypted. `edge key` makes one.
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let key = private_key(&args.key).map_err(Exit::usage)?;
    let (digest, place) = sign_file(Path::new(&args.what), &key).map_err(Exit::usage)?;
    let key = key.public().fingerprint();
    output::line(&format!("signed {digest}\n  by key {key}\n  in {place}"))?;
    Ok(ExitCode::SUCCESS)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let text = std::fs::read(path).with_context(|| format!("read key {}", path.display()))?;
    PrivateKey::from_pem(&text).with_context(|| format!("use {} to sign", path.display()))
}

fn sign_file(path: &Path, key: &PrivateKey) -> anyhow::Result<(Digest, String)> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let signed = bundle::sign_bytes(key, &bytes)?;
    let into = beside(path, bundle::SUFFIX);
    std::fs::write(&into, signed).with_context(|| format!("write {}", into.display()))?;
    Ok((Subject::of(&bytes).digest(), into.display().to_string()))
}

/// The file with a signature that belongs to a file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
