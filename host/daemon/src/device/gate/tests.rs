use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use edge_core::deployment::{
    ContainerSpec, DesiredStatus, ModuleSpec, RestartPolicy, WasmOptions, WasmSpec,
};
use edge_core::runtime::Resolved;
use edge_core::{DeviceId, ModuleId};
use edge_hub::HubConfig;
use edge_store::MemoryLog;
use edge_trust::{Algorithm, PrivateKey, bundle, simple};
use sha2::{Digest as _, Sha256};

use super::*;

const REFERENCE: &str = "r.example/filter:1";
const BYTES: &[u8] = b"a component";

/// Answers with what it is told to.
#[derive(Debug, Default)]
struct Registry {
    answer: Mutex<Option<Vec<(String, Signature)>>>,
    asked: Mutex<usize>,
}

impl SignatureSource for Registry {
    fn signatures<'a>(
        &'a self,
        reference: &'a str,
        _: &'a Digest,
        _: Option<&'a RegistryCredentials>,
    ) -> BoxFuture<'a, FoundSignatures> {
        assert_eq!(reference, REFERENCE);
        *self.asked.lock().expect("lock") += 1;
        let answer = self.answer.lock().expect("lock").clone();
        let found = match answer {
            Some(signatures) => FoundSignatures {
                signatures,
                unknown: None,
            },
            None => FoundSignatures {
                signatures: Vec::new(),
                unknown: Some("no route to host".to_owned()),
            },
        };
        Box::pin(async { found })
    }
}

struct Bench {
    dir: tempfile::TempDir,
    components: Components,
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    key: PrivateKey,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let device = DeviceId::new("device").expect("id");
        Self {
            components: Components::open(dir.path().join("components")).expect("folder"),
            hub: Hub::new(HubConfig::new(device), Arc::new(MemoryLog::default())),
            registry: Arc::default(),
            key: PrivateKey::generate(Algorithm::EcdsaP256).expect("key"),
            dir,
        }
    }

    fn gate(&self, require_digest: bool, require_signature: bool) -> DeviceGate {
        self.gate_of(require_digest, require_signature, &self.key)
    }

    fn gate_of(&self, digest: bool, signature: bool, key: &PrivateKey) -> DeviceGate {
        let settings = VerifySettings {
            require_digest: digest,
            require_signature: signature,
            keys: Vec::new(),
        };
        let keys = vec![TrustedKey {
            name: "a.pem".to_owned(),
            key: key.public(),
        }];
        let (components, hub) = (self.components.clone(), self.hub.clone());
        DeviceGate::new(&settings, keys, components, hub, self.registry.clone())
    }

    /// A component that was taken in, with this bundle beside it.
    fn file(&self, bytes: &[u8], signature: Option<String>) -> Artifact {
        let source = self.dir.path().join("filter.wasm");
        std::fs::write(&source, bytes).expect("file");
        let beside = self.dir.path().join("filter.wasm.sigstore.json");
        match signature {
            Some(bundle) => std::fs::write(beside, bundle).expect("file"),
            None => drop(std::fs::remove_file(beside)),
        }
        let digest = self.components.import(&source).expect("import");
        Artifact {
            origin: ArtifactOrigin::File(self.components.path(&digest)),
            digest,
            pinned: None,
        }
    }

    fn answers(&self, signatures: Option<Vec<Signature>>) {
        let placed = signatures.map(|all| {
            let all = all.into_iter();
            all.map(|one| ("a referrer".to_owned(), one)).collect()
        });
        *self.registry.answer.lock().expect("lock") = placed;
    }
}

fn of_registry() -> Artifact {
    Artifact {
        origin: ArtifactOrigin::Registry {
            reference: REFERENCE.to_owned(),
        },
        digest: Digest(Sha256::digest(BYTES).into()),
        pinned: None,
    }
}

fn module(kind: ModuleKind) -> DesiredModule {
    DesiredModule {
        spec: ModuleSpec {
            id: ModuleId::new("filter").expect("id"),
            version: None,
            status: DesiredStatus::Running,
            restart: RestartPolicy::Always,
            startup_order: 0,
            env: BTreeMap::new(),
            kind,
        },
        resolved: Resolved::default(),
    }
}

fn component() -> DesiredModule {
    module(ModuleKind::Wasm(WasmSpec {
        image: ComponentRef::File(PathBuf::from("filter.wasm")),
        digest: None,
        credentials: None,
        options: WasmOptions::default(),
    }))
}

fn container() -> DesiredModule {
    module(ModuleKind::Container(ContainerSpec::new(REFERENCE)))
}

async fn refused(gate: &DeviceGate, module: &DesiredModule, artifact: &Artifact) -> String {
    let refusal = gate.admit(module, artifact).await.expect_err("refused");
    assert!(!refusal.is_transient(), "{refusal}");
    refusal.to_string()
}

#[tokio::test]
async fn nothing_is_asked_that_settings_do_not_ask() {
    let bench = Bench::new();
    let gate = bench.gate(false, false);
    let file = bench.file(BYTES, None);
    gate.admit(&component(), &file).await.expect("open");
    gate.admit(&container(), &of_registry())
        .await
        .expect("open");
    assert_eq!(*bench.registry.asked.lock().expect("lock"), 0);
}

#[tokio::test]
async fn what_is_not_pinned_is_refused_with_the_digest_that_it_has() {
    let bench = Bench::new();
    let gate = bench.gate(true, false);
    let mut file = bench.file(BYTES, None);
    let digest = file.digest;
    let why = refused(&gate, &component(), &file).await;
    assert_eq!(
        why,
        format!(
            "component filter.wasm may not run: pinned digest: expected one in the deployment \
             ([verify] require-digest), found none; it has {digest}; if that is what you mean, say \
             \"digest\": \"{digest}\" in its settings"
        )
    );
    file.pinned = Some(digest);
    gate.admit(&component(), &file).await.expect("pinned");
    let why = refused(&gate, &container(), &of_registry()).await;
    assert!(why.contains("write @sha256:"), "{why}");
}

#[tokio::test]
async fn a_component_runs_with_a_signature_beside_it_and_not_without() {
    let bench = Bench::new();
    let gate = bench.gate(false, true);
    let module = component();
    let file = bench.file(BYTES, None);
    let why = refused(&gate, &module, &file).await;
    for part in [
        "component filter.wasm may not run: signature: expected one by a.pem (sha256:",
        "found none; sign the file with edge sign",
    ] {
        assert!(why.contains(part), "{why}: {part}");
    }
    let by_other = PrivateKey::generate(Algorithm::EcdsaP256).expect("key");
    let bundle = bundle::sign_bytes(&by_other, BYTES).expect("signed");
    let file = bench.file(BYTES, Some(bundle));
    let why = refused(&gate, &module, &file).await;
    let part = "found none that holds: signature of the bytes: expected one by a.pem";
    assert!(why.contains(part), "{why}");
    for bundle in [
        bundle::sign_bytes(&bench.key, BYTES),
        bundle::sign_digest(&bench.key, &file.digest),
    ] {
        let file = bench.file(BYTES, Some(bundle.expect("signed")));
        gate.admit(&module, &file).await.expect("signed");
    }
    // Of other bytes.
    let bundle = bundle::sign_bytes(&bench.key, b"others").expect("signed");
    let file = bench.file(BYTES, Some(bundle));
    let why = refused(&gate, &module, &file).await;
    assert!(
        why.contains("digest in the bundle's messageDigest"),
        "{why}"
    );
}

#[tokio::test]
async fn a_component_that_changed_on_the_device_is_not_let_pass() {
    let bench = Bench::new();
    let gate = bench.gate(false, true);
    let bundle = bundle::sign_bytes(&bench.key, BYTES).expect("signed");
    let file = bench.file(BYTES, Some(bundle));
    std::fs::write(bench.components.path(&file.digest), "others").expect("file");
    let why = refused(&gate, &component(), &file).await;
    let part = format!(
        "digest of the component on this device: expected {}, found sha256:",
        file.digest
    );
    assert!(why.contains(&part), "{why}");
}

#[tokio::test]
async fn what_a_registry_has_signed_runs_again_without_it_while_the_key_is_trusted() {
    let bench = Bench::new();
    let gate = bench.gate(false, true);
    let (module, artifact) = (container(), of_registry());
    // It cannot be asked: that is no refusal.
    let refusal = gate.admit(&module, &artifact).await.expect_err("no answer");
    assert!(refusal.is_transient(), "{refusal}");
    assert!(refusal.to_string().contains("no route to host"));
    bench.answers(Some(Vec::new()));
    let why = refused(&gate, &module, &artifact).await;
    assert!(why.contains("found none; sign it in the registry"), "{why}");
    let simple = simple::sign(&bench.key, REFERENCE, &artifact.digest).expect("signed");
    bench.answers(Some(vec![
        Signature::Bundle(b"{".to_vec()),
        Signature::Simple(simple),
    ]));
    gate.admit(&module, &artifact).await.expect("signed");

    bench.answers(None);
    let asked = *bench.registry.asked.lock().expect("lock");
    // As after a restart.
    let gate = bench.gate(false, true);
    gate.admit(&module, &artifact).await.expect("known");
    assert_eq!(*bench.registry.asked.lock().expect("lock"), asked);
    let mut other = artifact.clone();
    other.digest = Digest([7; 32]);
    let refusal = gate.admit(&module, &other).await.expect_err("not known");
    assert!(refusal.is_transient(), "{refusal}");
    // Who trusts another key has verified nothing.
    let key = PrivateKey::generate(Algorithm::EcdsaP256).expect("key");
    let gate = bench.gate_of(false, true, &key);
    let refusal = gate.admit(&module, &artifact).await.expect_err("not known");
    assert!(refusal.is_transient(), "{refusal}");
}

#[tokio::test]
async fn an_image_of_no_registry_can_only_be_pinned() {
    let bench = Bench::new();
    let artifact = Artifact {
        origin: ArtifactOrigin::Engine {
            image: REFERENCE.to_owned(),
        },
        digest: Digest([1; 32]),
        pinned: Some(Digest([1; 32])),
    };
    let gate = bench.gate(true, false);
    gate.admit(&container(), &artifact).await.expect("pinned");
    let gate = bench.gate(true, true);
    let why = refused(&gate, &container(), &artifact).await;
    assert!(why.contains("from no registry by that name"), "{why}");
    assert!(
        why.ends_with("push and sign it, and deploy it from there"),
        "{why}"
    );
}

#[tokio::test]
async fn records_do_not_grow_without_end_and_the_newest_stay() {
    let bench = Bench::new();
    let gate = bench.gate(false, true);
    let mut commit = Commit::new();
    for number in 0..MOST_VERIFIED {
        let record = json!({"reference": REFERENCE, "at": number}).to_string();
        let key = Bytes::from(format!("{VERIFIED}{number:064x}/0"));
        commit.put(put(key, Some(Bytes::from(record))));
    }
    bench.hub.commit(&mut commit).expect("commit");
    let artifact = of_registry();
    let bundle = bundle::sign_digest(&bench.key, &artifact.digest).expect("signed");
    bench.answers(Some(vec![Signature::Bundle(bundle.into_bytes())]));
    gate.admit(&container(), &artifact).await.expect("signed");
    let log = bench.hub.log();
    let kept = log.keys(
        Table::Deployments,
        VERIFIED.as_bytes(),
        None,
        2 * MOST_VERIFIED,
    );
    assert_eq!(kept.len(), MOST_VERIFIED / 2 + 1);
    let newest = format!("{VERIFIED}{:064x}/0", MOST_VERIFIED - 1);
    assert!(log.get(Table::Deployments, newest.as_bytes()).is_some());
}
