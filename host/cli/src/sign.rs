//! `edge sign`: sign a component or an image with a key.
//!
//! ```text
//!   FILE       sigstore bundle beside it, FILE.sigstore.json, which edge apply takes along to the device
//!   REFERENCE  sigstore bundle attached to the manifest in the registry, as cosign 3 does;
//!              --legacy: payload and signature under the tag sha256-<hex>.sig, as cosign 2 did
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use edge_core::{Digest, Timestamp};
use edge_oci::{AttachOptions, Reference};
use edge_trust::{PrivateKey, Subject, bundle, simple};

use crate::exit::Exit;
use crate::output;
use crate::registries::{Access, block_on};

/// Sign a component or image with a key.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file, or the reference of what is in a registry.
    #[arg(value_name = "FILE|REFERENCE")]
    what: String,
    /// The private key: PEM, PKCS#8, not encrypted. `edge key` makes one.
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
    /// In the registry, sign as cosign 2 did.
    #[arg(long)]
    legacy: bool,
    #[command(flatten)]
    access: Access,
}

/// What is to be signed or verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    File(PathBuf),
    Registry(Reference),
}

impl What {
    /// A file before a reference; what has the form of a path is no reference.
    pub(crate) fn of(text: &str) -> anyhow::Result<Self> {
        let path = Path::new(text.strip_prefix("file:").unwrap_or(text));
        let is_path = text.starts_with(['.', '/']) || text.starts_with("file:");
        let is_path = is_path || path.extension().is_some_and(|end| end == "wasm");
        if is_path || path.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        let reference = Reference::parse(text);
        let reference = reference.with_context(|| format!("{text} is no file here either"))?;
        Ok(Self::Registry(reference))
    }
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    let key = private_key(&args.key).map_err(Exit::usage)?;
    let (digest, place) = match What::of(&args.what).map_err(Exit::usage)? {
        What::File(path) => sign_file(&path, &key, args.legacy).map_err(Exit::usage)?,
        What::Registry(reference) => {
            block_on(sign_in_registry(&reference, &key, &args)).map_err(Exit::incomplete)?
        }
    };
    let key = key.public().fingerprint();
    output::line(&format!("signed {digest}\n  by key {key}\n  in {place}"))?;
    Ok(ExitCode::SUCCESS)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let text = std::fs::read(path).with_context(|| format!("read key {}", path.display()))?;
    PrivateKey::from_pem(&text).with_context(|| format!("use {} to sign", path.display()))
}

fn sign_file(path: &Path, key: &PrivateKey, legacy: bool) -> anyhow::Result<(Digest, String)> {
    ensure!(!legacy, "--legacy is for what is in a registry");
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let signed = bundle::sign_bytes(key, &bytes)?;
    let into = beside(path, bundle::SUFFIX);
    std::fs::write(&into, signed).with_context(|| format!("write {}", into.display()))?;
    Ok((Subject::of(&bytes).digest(), into.display().to_string()))
}

async fn sign_in_registry(
    reference: &Reference,
    key: &PrivateKey,
    args: &Args,
) -> anyhow::Result<(Digest, String)> {
    let (registries, credentials) = args.access.open(reference)?;
    let credentials = credentials.as_ref();
    let digest = registries.resolve(reference, credentials).await?;
    let attached = match args.legacy {
        true => {
            let name = format!("{}/{}", reference.registry(), reference.repository());
            let signed = simple::sign(key, &name, &digest)?;
            let annotations = BTreeMap::from([(simple::SIGNATURE.to_owned(), signed.signature)]);
            let payload = signed.payload.into();
            registries
                .attach_legacy(
                    reference,
                    credentials,
                    &digest,
                    payload,
                    simple::MEDIA_TYPE,
                    annotations,
                )
                .await?
        }
        false => {
            let signed = bundle::sign_digest(key, &digest)?;
            let annotations = annotations();
            let options = AttachOptions {
                artifact_type: bundle::MEDIA_TYPE,
                media_type: bundle::MEDIA_TYPE,
                annotations: &annotations,
            };
            registries
                .attach(reference, credentials, &digest, signed.into(), options)
                .await?
        }
    };
    Ok((digest, format!("{reference}: {attached}")))
}

/// By which cosign finds a bundle among others.
fn annotations() -> BTreeMap<String, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs().saturating_mul(1_000_000_000));
    BTreeMap::from([
        (
            bundle::CONTENT.to_owned(),
            bundle::CONTENT_STATEMENT.to_owned(),
        ),
        (
            bundle::PREDICATE.to_owned(),
            bundle::PREDICATE_TYPE.to_owned(),
        ),
        (
            "org.opencontainers.image.created".to_owned(),
            Timestamp(now).to_string(),
        ),
    ])
}

/// The file with a signature that belongs to a file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_path_is_no_reference() {
        for path in ["filter.wasm", "./filter", "/a/b", "out/filter.wasm"] {
            let what = What::of(path).expect("a path");
            assert_eq!(what, What::File(path.into()), "{path}");
        }
        let what = What::of("file:some").expect("a path");
        assert_eq!(what, What::File("some".into()));
        for reference in ["r.example/filter:1", "localhost:5000/filter", "filter:1"] {
            let what = What::of(reference).expect("a reference");
            assert!(matches!(what, What::Registry(_)), "{reference}");
        }
        assert!(What::of("no such FILE").is_err());
    }
}
