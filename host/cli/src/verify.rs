//! `edge verify`: is a component signed by one of these keys?

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use edge_daemon::registry_signatures;
use edge_oci::Reference;
use edge_trust::{PublicKey, Signature, Subject, TrustedKey, Verified, bundle, detached};

use crate::exit::Exit;
use crate::output;
use crate::registries::{Access, block_on};
use crate::sign::{What, beside};

/// Check the signatures of a component or image. Exits with 1 when none is by one of the keys.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file, whose signature is beside it, or the reference of what is in a registry.
    #[arg(value_name = "FILE|REFERENCE")]
    what: String,
    /// A public key, in PEM. May be given several times: any of them will do.
    #[arg(long, value_name = "PUB.pem", required = true)]
    key: Vec<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let keys: anyhow::Result<Vec<_>> = args.key.iter().map(|path| public_key(path)).collect();
    let keys = keys.map_err(Exit::usage)?;
    let verified = match What::of(&args.what).map_err(Exit::usage)? {
        What::File(path) => verify_file(&path, &keys)?,
        What::Registry(reference) => {
            let verified = verify_in_registry(&reference, &keys, &args.access);
            block_on(verified).map_err(Exit::incomplete)?
        }
    };
    let Verified { digest, key, form } = verified;
    output::line(&format!("{digest}\n  signed by {key}\n  {form}"))?;
    Ok(ExitCode::SUCCESS)
}

fn public_key(path: &Path) -> anyhow::Result<TrustedKey> {
    let text = std::fs::read(path).with_context(|| format!("read key {}", path.display()))?;
    let key = PublicKey::from_pem(&text);
    Ok(TrustedKey {
        key: key.with_context(|| format!("use {} to verify", path.display()))?,
        name: path.display().to_string(),
    })
}

fn verify_file(path: &Path, keys: &[TrustedKey]) -> Result<Verified, Exit> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let bytes = bytes.map_err(Exit::usage)?;
    let found = signatures(path).map_err(Exit::incomplete)?;
    let verified = edge_trust::check(&found, Subject::of(&bytes), keys);
    verified
        .with_context(|| format!("{} is not trusted", path.display()))
        .map_err(Exit::incomplete)
}

async fn verify_in_registry(
    reference: &Reference,
    keys: &[TrustedKey],
    access: &Access,
) -> anyhow::Result<Verified> {
    let (registries, credentials) = access.open(reference)?;
    let credentials = credentials.as_ref();
    let digest = registries.resolve(reference, credentials).await?;
    let found = registry_signatures(&registries, reference, credentials, &digest).await;
    let verified = edge_trust::check(&found.signatures, Subject::named(digest), keys);
    match (verified, found.unknown) {
        (Ok(verified), _) => Ok(verified),
        (Err(_), Some(why)) => Err(anyhow!(why).context("ask for its signatures")),
        (Err(error), None) => {
            Err(error).with_context(|| format!("{reference} ({digest}) is not trusted"))
        }
    }
}

/// The signatures beside a file, each with its place.
fn signatures(path: &Path) -> anyhow::Result<Vec<(String, Signature)>> {
    type Kind = fn(Vec<u8>) -> Signature;
    let kinds: [(_, _, Kind); 2] = [
        (bundle::SUFFIX, bundle::MAX, Signature::Bundle),
        (detached::SUFFIX, detached::MAX, Signature::Detached),
    ];
    let mut found = Vec::new();
    for (suffix, most, kind) in kinds {
        let file = beside(path, suffix);
        let place = file.display().to_string();
        let mut bytes = Vec::new();
        // One byte over the limit is how what is too large shows.
        let most = most as u64 + 1;
        let read = std::fs::File::open(&file);
        match read.and_then(|file| file.take(most).read_to_end(&mut bytes)) {
            Ok(_) => found.push((place, kind(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read signature {place}")),
        }
    }
    Ok(found)
}
