//! From a component to an artifact in a registry, in the CNCF layout.

use std::collections::BTreeMap;

use bytes::Bytes;
use edge_core::deployment::RegistryCredentials;
use edge_core::{Digest, Timestamp};
use oci_client::Reference as OciReference;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use sha2::{Digest as _, Sha256};

use crate::config::{Registries, USER_AGENT};
use crate::error::{Part, PushError, RegistryError};
use crate::layout::{
    ARCHITECTURE, CONFIG, Component, Config, Descriptor, MANIFEST, Manifest, OS, WASM,
};
use edge_core::Reference;

/// The file name of a layer, for tools that unpack artifacts (OCI image spec, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";

/// What is said of a component beside its bytes.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// What it imports, by the names that are in it.
    pub imports: Vec<String>,
    /// What it exports, by the names that are in it.
    pub exports: Vec<String>,
    /// The world that it was built for, where that is known.
    pub target: Option<String>,
    /// When it is said to be made. The same component pushed with the same time has the same digest.
    pub created: Timestamp,
    /// The name of its file.
    pub title: Option<String>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
}

impl Registries {
    /// Stores a component under a reference's tag. Comes back with the digest of its manifest.
    ///
    /// # Errors
    /// The registry does not take it. Parts of it may be there; the tag is as it was.
    pub async fn push(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        component: Bytes,
        options: PushOptions,
    ) -> Result<Digest, PushError> {
        if reference.digest().is_some() {
            return Err(PushError::Pinned(reference.to_string()));
        }
        let digest = sha256(&component);
        let config = Config {
            created: Some(options.created.to_string()),
            author: None,
            architecture: ARCHITECTURE.to_owned(),
            os: OS.to_owned(),
            layer_digests: vec![digest.to_string()],
            component: Some(Component {
                exports: options.exports,
                imports: options.imports,
                target: options.target,
            }),
        };
        let config = json(&config);
        let layer = Descriptor {
            annotations: options
                .title
                .map(|title| BTreeMap::from([(TITLE.to_owned(), title)])),
            ..Descriptor::new(WASM, &digest, component.len())
        };
        let manifest = Manifest {
            annotations: Some(options.annotations).filter(|known| !known.is_empty()),
            ..Manifest::new(
                Descriptor::new(CONFIG, &sha256(&config), config.len()),
                layer,
            )
        };
        let manifest = json(&manifest);
        let digest = sha256(&manifest);
        let pusher = Pusher::new(self, reference, credentials).await?;
        pusher.blob(component, Part::Component).await?;
        pusher.blob(config.into(), Part::Config).await?;
        pusher.manifest(reference, manifest, MANIFEST).await?;
        Ok(digest)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("text and numbers can be written as JSON")
}

/// Stores parts in one repository.
pub(crate) struct Pusher {
    client: Client,
    registry: String,
    repository: OciReference,
    user: Option<String>,
}

impl Pusher {
    pub(crate) async fn new(
        registries: &Registries,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, RegistryError> {
        if reference.is_upstream() {
            return Err(RegistryError::Upstream(reference.clone()));
        }
        let registry = reference.registry().to_owned();
        let known = registries.known(reference);
        let ca = known.and_then(|known| known.ca.clone());
        let plain = registries.is_plain(reference);
        let config = ClientConfig {
            protocol: match plain {
                true => ClientProtocol::Http,
                false => ClientProtocol::Https,
            },
            // One request for each part: some registries take nothing else.
            use_monolithic_push: true,
            extra_root_certificates: ca.into_iter().flat_map(|pem| split(&pem)).collect(),
            read_timeout: Some(registries.config.stall),
            connect_timeout: Some(registries.config.connect),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| RegistryError::Client {
            registry: registry.clone(),
            why: edge_core::chain(&error),
        })?;
        let credentials = registries.credentials(reference, credentials);
        let user = credentials.as_ref().map(|known| known.username.clone());
        let auth = match credentials {
            Some(known) => RegistryAuth::Basic(known.username, known.password),
            None => RegistryAuth::Anonymous,
        };
        client.store_auth_if_needed(reference.host(), &auth).await;
        let repository = OciReference::with_tag(
            reference.host().to_owned(),
            reference.repository().to_owned(),
            reference.tag_or_latest().to_owned(),
        );
        Ok(Self {
            client,
            registry,
            repository,
            user,
        })
    }

    pub(crate) async fn blob(&self, bytes: Bytes, part: Part) -> Result<(), PushError> {
        let digest = sha256(&bytes).to_string();
        let pushed = self
            .client
            .push_blob(&self.repository, bytes, &digest)
            .await;
        pushed.map(|_| ()).map_err(|error| self.error(error, part))
    }

    /// Stores a manifest under the reference's digest or tag.
    pub(crate) async fn manifest(
        &self,
        reference: &Reference,
        bytes: Vec<u8>,
        media_type: &'static str,
    ) -> Result<(), PushError> {
        let target = match reference.digest() {
            Some(digest) => self.repository.clone_with_digest(digest.to_string()),
            None => OciReference::with_tag(
                reference.host().to_owned(),
                reference.repository().to_owned(),
                reference.tag_or_latest().to_owned(),
            ),
        };
        let media_type = http::HeaderValue::from_static(media_type);
        let pushed = self
            .client
            .push_manifest_raw(&target, bytes, media_type)
            .await;
        pushed
            .map(|_| ())
            .map_err(|error| self.error(error, Part::Manifest))
    }

    fn error(&self, error: OciDistributionError, part: Part) -> PushError {
        let registry = self.registry.clone();
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError { code: 401, .. } => RegistryError::Unauthorized {
                registry,
                user: self.user.clone(),
            }
            .into(),
            OciDistributionError::RequestError(error) => RegistryError::Unreachable {
                registry,
                why: format!("{part}: {}", edge_core::chain(&error)),
            }
            .into(),
            error => PushError::Refused {
                registry,
                part,
                why: edge_core::chain(&error),
            },
        }
    }
}

/// Each certificate of a file by itself: the client takes one at a time.
fn split(pem: &[u8]) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let certificates = text.split_inclusive(END);
    certificates
        .filter(|text| text.contains(END))
        .map(|text| Certificate {
            encoding: CertificateEncoding::Pem,
            data: text.as_bytes().to_vec(),
        })
        .collect()
}
