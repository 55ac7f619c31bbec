//! The device's gate: what `[verify]` asks of everything that is to run.
//!
//! Asked by both kinds of runtime ([`Gate`]), for each build and for containers that go on.
//!
//! ```text
//!   artifact ─► pinned, if that is asked ─► signed, if that is asked ─► may run
//!                                             │ verified before, by a key that is still trusted
//!                                             │ file: the signatures that came with it
//!                                             └ registry: asked; what holds is recorded
//!
//!   table Deployments    verified/<digest>/<key>    {"reference":…,"at":…}
//! ```
//!
//! Promises
//! - What a registry's signature was verified for once runs again without the registry: the record is on
//!   the device before the module starts. It names the key, and counts only while that is trusted.
//! - A registry that cannot be asked is no refusal: it is asked again.

use std::sync::Arc;

use bytes::Bytes;
use edge_core::Digest;
use edge_core::deployment::{ComponentRef, ModuleKind, RegistryCredentials};
use edge_core::runtime::{
    Artifact, ArtifactOrigin, BoxFuture, DesiredModule, Gate, GateRefusal, RuntimeErrorKind,
};
use edge_hub::Hub;
use edge_oci::{Reference, Registries};
use edge_store::{Commit, Put, Table};
use edge_trust::{Signature, Subject, TrustedKey, Untrusted, Verified};
use serde_json::json;
use tracing::{info, warn};

use super::components::Components;
use crate::settings::VerifySettings;
use crate::signatures::{FoundSignatures, registry_signatures};

/// Before the names of what was verified.
const VERIFIED: &str = "verified/";
/// Most of them that are kept: a hundred bytes each, and more than any device runs.
const MOST_VERIFIED: usize = 1_000;

/// Where a registry's signatures come from.
pub(super) trait SignatureSource: std::fmt::Debug + Send + Sync + 'static {
    /// All that a registry has for a manifest. Cancel safe.
    fn signatures<'a>(
        &'a self,
        reference: &'a str,
        digest: &'a Digest,
        credentials: Option<&'a RegistryCredentials>,
    ) -> BoxFuture<'a, FoundSignatures>;
}

impl SignatureSource for Registries {
    fn signatures<'a>(
        &'a self,
        reference: &'a str,
        digest: &'a Digest,
        credentials: Option<&'a RegistryCredentials>,
    ) -> BoxFuture<'a, FoundSignatures> {
        Box::pin(async move {
            match Reference::parse(reference) {
                Ok(reference) => registry_signatures(self, &reference, credentials, digest).await,
                Err(error) => {
                    let damaged = Signature::Damaged(error.to_string());
                    FoundSignatures {
                        signatures: vec![("the deployment".to_owned(), damaged)],
                        unknown: None,
                    }
                }
            }
        })
    }
}

/// The gate.
#[derive(Debug)]
pub(super) struct DeviceGate {
    require_digest: bool,
    require_signature: bool,
    keys: Vec<TrustedKey>,
    components: Components,
    hub: Arc<Hub>,
    registries: Arc<dyn SignatureSource>,
}

impl DeviceGate {
    /// A gate with the policy of settings, whose keys have been read.
    pub(super) fn new(
        settings: &VerifySettings,
        keys: Vec<TrustedKey>,
        components: Components,
        hub: Arc<Hub>,
        registries: Arc<dyn SignatureSource>,
    ) -> Self {
        Self {
            require_digest: settings.require_digest,
            require_signature: settings.require_signature,
            keys,
            components,
            hub,
            registries,
        }
    }

    fn check_pinned(&self, module: &DesiredModule, artifact: &Artifact) -> Result<(), GateRefusal> {
        if !self.require_digest || artifact.pinned.is_some() {
            return Ok(());
        }
        let digest = artifact.digest;
        let next = match &artifact.origin {
            ArtifactOrigin::File(_) => {
                format!("if that is what you mean, say \"digest\": \"{digest}\" in its settings")
            }
            ArtifactOrigin::Registry { .. } | ArtifactOrigin::Engine { .. } => {
                format!("if that is what you mean, write @{digest} after the image")
            }
        };
        Err(refusal(
            module,
            artifact,
            "pinned digest",
            "one in the deployment ([verify] require-digest)",
            format!("none; it has {digest}"),
            next,
        ))
    }

    async fn check_signed(
        &self,
        module: &DesiredModule,
        artifact: &Artifact,
    ) -> Result<(), GateRefusal> {
        if !self.require_signature {
            return Ok(());
        }
        match &artifact.origin {
            ArtifactOrigin::File(path) => {
                let (components, digest) = (self.components.clone(), artifact.digest);
                let (path, keys) = (path.clone(), self.keys.clone());
                let checked = tokio::task::spawn_blocking(move || {
                    let found = components.signatures(&digest)?;
                    let bytes = std::fs::read(path)?;
                    let subject = Subject::of(&bytes);
                    let checked = edge_trust::check(&found, subject, &keys);
                    Ok((subject.digest(), checked))
                });
                let checked: std::io::Result<_> = match checked.await {
                    Ok(checked) => checked,
                    Err(error) => Err(error.into()),
                };
                let (found, checked) = checked.map_err(|error| {
                    let found = format!("that they cannot be read: {error}");
                    unknown(module, artifact, "the signatures beside it", found)
                })?;
                if found != digest {
                    return Err(refusal(
                        module,
                        artifact,
                        "digest of the component on this device",
                        &digest.to_string(),
                        found.to_string(),
                        "it was changed; apply again, which takes it in anew".to_owned(),
                    ));
                }
                let verified = checked.map_err(|why| self.untrusted(module, artifact, why))?;
                tell(module, &verified);
                Ok(())
            }
            ArtifactOrigin::Registry { reference } => {
                if self.was_verified(&artifact.digest) {
                    return Ok(());
                }
                let credentials = match &module.spec.kind {
                    ModuleKind::Container(container) => container.credentials.as_ref(),
                    ModuleKind::Wasm(wasm) => wasm.credentials.as_ref(),
                };
                let found = self
                    .registries
                    .signatures(reference, &artifact.digest, credentials);
                let found = found.await;
                let subject = Subject::named(artifact.digest);
                let checked = edge_trust::check(&found.signatures, subject, &self.keys);
                let verified = match (checked, found.unknown) {
                    (Ok(verified), _) => verified,
                    // There may be one that holds among those that could not be asked for.
                    (Err(_), Some(why)) => {
                        let found = format!("that it cannot be asked: {why}");
                        let expected = "the registry's signatures";
                        return Err(unknown(module, artifact, expected, found));
                    }
                    (Err(why), None) => return Err(self.untrusted(module, artifact, why)),
                };
                tell(module, &verified);
                self.record(reference, &verified).await;
                Ok(())
            }
            ArtifactOrigin::Engine { image } => Err(refusal(
                module,
                artifact,
                "signature",
                &self.signers(),
                format!(
                    "an image that the container engine has from no registry by that name ({image}, id {}), \
                     and only what is in a registry can be signed",
                    artifact.digest
                ),
                "push and sign it, and deploy it from there".to_owned(),
            )),
        }
    }

    fn untrusted(
        &self,
        module: &DesiredModule,
        artifact: &Artifact,
        why: Untrusted,
    ) -> GateRefusal {
        let found = match &why {
            Untrusted::Missing { .. } => "none".to_owned(),
            Untrusted::Refused(_) => format!("none that holds: {why}"),
        };
        let next = match &artifact.origin {
            ArtifactOrigin::File(_) => {
                "sign the file with edge sign --key, which leaves the signature beside it, and apply again"
            }
            _ => "sign it in the registry with edge sign --key or cosign, then edge restart",
        };
        let expected = self.signers();
        refusal(
            module,
            artifact,
            "signature",
            &expected,
            found,
            next.to_owned(),
        )
    }

    /// The keys, for messages.
    fn signers(&self) -> String {
        let names: Vec<_> = self.keys.iter().map(TrustedKey::to_string).collect();
        format!("one by {}", names.join(" or "))
    }

    fn was_verified(&self, digest: &Digest) -> bool {
        let known = |trusted: &TrustedKey| {
            let key = record_key(digest, trusted);
            self.hub.log().get(Table::Deployments, &key).is_some()
        };
        self.keys.iter().any(known)
    }

    /// Keeps what was verified. Without it the registry is asked again, nothing worse.
    async fn record(&self, reference: &str, verified: &Verified) {
        let mut commit = Commit::new();
        for key in self.surplus() {
            commit.put(put(key, None));
        }
        let record = json!({"reference": reference, "at": self.hub.now().0}).to_string();
        let key = record_key(&verified.digest, &verified.key);
        commit.put(put(key, Some(Bytes::from(record))));
        let hub = self.hub.clone();
        // It may wait for the device.
        let committed = tokio::task::spawn_blocking(move || hub.commit(&mut commit)).await;
        let stored = match committed {
            Ok(Ok(Some(lsn))) => self.hub.durable(lsn).await.map_err(|e| e.to_string()),
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = stored {
            warn!(reference, %error, "it is not kept that a signature holds: the registry will be asked again");
        }
    }
}

impl DeviceGate {
    /// The older half of the records, when there are too many.
    fn surplus(&self) -> Vec<Bytes> {
        let log = self.hub.log();
        let prefix = VERIFIED.as_bytes();
        let keys = log.keys(Table::Deployments, prefix, None, MOST_VERIFIED);
        if keys.len() < MOST_VERIFIED {
            return Vec::new();
        }
        let at = |key: &Bytes| {
            let record = log.get(Table::Deployments, key)?;
            let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
            record["at"].as_u64()
        };
        // A damaged one is as good as none, and goes first.
        let mut dated: Vec<_> = keys.into_iter().map(|key| (at(&key), key)).collect();
        dated.sort();
        dated.truncate(MOST_VERIFIED / 2);
        dated.into_iter().map(|(_, key)| key).collect()
    }
}

impl Gate for DeviceGate {
    fn admit<'a>(
        &'a self,
        module: &'a DesiredModule,
        artifact: &'a Artifact,
    ) -> BoxFuture<'a, Result<(), GateRefusal>> {
        Box::pin(async move {
            self.check_pinned(module, artifact)?;
            self.check_signed(module, artifact).await
        })
    }
}

fn record_key(digest: &Digest, key: &TrustedKey) -> Bytes {
    let fingerprint = key.key.fingerprint();
    Bytes::from(format!("{VERIFIED}{}/{}", digest.hex(), fingerprint.hex()))
}

fn put(key: Bytes, value: Option<Bytes>) -> Put {
    Put {
        table: Table::Deployments,
        key,
        value,
    }
}

fn tell(module: &DesiredModule, verified: &Verified) {
    let (digest, key, form) = (&verified.digest, &verified.key, verified.form);
    info!(module = %module.id(), %digest, %key, %form, "signature verified");
}

/// As the deployment calls it.
fn name(module: &DesiredModule, artifact: &Artifact) -> String {
    match &module.spec.kind {
        ModuleKind::Wasm(wasm) => match &wasm.image {
            ComponentRef::File(path) => format!("component {}", path.display()),
            ComponentRef::Registry(reference) => format!("component {reference}"),
        },
        ModuleKind::Container(_) => format!("image {artifact}"),
    }
}

fn refusal(
    module: &DesiredModule,
    artifact: &Artifact,
    check: &'static str,
    expected: &str,
    found: String,
    next: String,
) -> GateRefusal {
    GateRefusal {
        artifact: name(module, artifact),
        check,
        expected: expected.to_owned(),
        found,
        next,
        kind: RuntimeErrorKind::Refused,
    }
}

/// The check could not be made.
fn unknown(
    module: &DesiredModule,
    artifact: &Artifact,
    expected: &str,
    found: String,
) -> GateRefusal {
    GateRefusal {
        kind: RuntimeErrorKind::Transient,
        ..refusal(
            module,
            artifact,
            "signature",
            expected,
            found,
            "it is tried again".to_owned(),
        )
    }
}

#[cfg(test)]
mod tests;
