//! What each call of the workload API takes and gives.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::{ByteSize, Identity, Timestamp};
use edge_identity::{CertificateRequest, Issued};
use http::{Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::{Asker, time};
use crate::body;
use crate::refusal::Refusal;

/// Largest request: what is to be encrypted may be a file.
const REQUEST_LIMIT: ByteSize = ByteSize(1 << 20);

type App = State<Arc<Asker>>;
type Named = Result<Path<String>, PathRejection>;
type Generation = Result<Path<(String, String)>, PathRejection>;
type Answer<T> = Result<Json<T>, Refusal>;
type Created<T> = Result<(StatusCode, Json<T>), Refusal>;

#[derive(Serialize)]
pub(super) struct TrustBundle {
    certificate: String,
}

pub(super) async fn trust_bundle(State(asker): App) -> Json<TrustBundle> {
    let certificate = asker.config.workload.trust_bundle().to_string();
    Json(TrustBundle { certificate })
}

pub(super) async fn manifest_trust_bundle(State(asker): App) -> Answer<TrustBundle> {
    let bundle = asker.config.manifest_trust_bundle.as_deref();
    let certificate = bundle.map(str::to_owned).ok_or_else(|| {
        Refusal::not_found("this device has no certificates for the signatures of manifests")
    })?;
    Ok(Json(TrustBundle { certificate }))
}

#[derive(Serialize)]
pub(super) struct Modules {
    modules: Vec<Module>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    id: String,
    name: String,
    generation_id: String,
}

pub(super) async fn modules(State(asker): App) -> Json<Modules> {
    let config = &asker.config;
    let entries = config.workload.modules(&config.device);
    let modules = entries.iter().filter_map(|entry| match &entry.identity {
        Identity::Module(_, module) => Some(Module {
            id: module.to_string(),
            name: module.to_string(),
            generation_id: entry.generation.to_string(),
        }),
        Identity::Device(_) => None,
    });
    Json(Modules {
        modules: modules.collect(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sign {
    key_id: String,
    algo: String,
    data: Base64,
}

#[derive(Serialize)]
pub(super) struct Signed {
    digest: Base64,
}

pub(super) async fn sign(State(asker): App, path: Generation, request: Request) -> Answer<Signed> {
    let Path((module, generation)) = path?;
    let module = asker.named(&module)?;
    let asked: Sign = read(request).await?;
    let workload = &asker.config.workload;
    let digest = workload.sign(
        &module,
        &generation,
        &asked.key_id,
        &asked.algo,
        &asked.data.0,
    )?;
    Ok(Json(Signed {
        digest: Base64(digest.to_vec()),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encrypt {
    plaintext: Base64,
    initialization_vector: Base64,
}

#[derive(Serialize)]
pub(super) struct Encrypted {
    ciphertext: Base64,
}

pub(super) async fn encrypt(
    State(asker): App,
    path: Generation,
    request: Request,
) -> Answer<Encrypted> {
    let Path((module, generation)) = path?;
    let module = asker.named(&module)?;
    let asked: Encrypt = read(request).await?;
    let (vector, plaintext) = (&asked.initialization_vector.0, &asked.plaintext.0);
    let workload = &asker.config.workload;
    let ciphertext = workload.encrypt(&module, &generation, vector, plaintext)?;
    Ok(Json(Encrypted {
        ciphertext: Base64(ciphertext),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decrypt {
    ciphertext: Base64,
    initialization_vector: Base64,
}

#[derive(Serialize)]
pub(super) struct Decrypted {
    plaintext: Base64,
}

pub(super) async fn decrypt(
    State(asker): App,
    path: Generation,
    request: Request,
) -> Answer<Decrypted> {
    let Path((module, generation)) = path?;
    let module = asker.named(&module)?;
    let asked: Decrypt = read(request).await?;
    let (vector, ciphertext) = (&asked.initialization_vector.0, &asked.ciphertext.0);
    let workload = &asker.config.workload;
    let plaintext = workload.decrypt(&module, &generation, vector, ciphertext)?;
    Ok(Json(Decrypted {
        plaintext: Base64(plaintext),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CertificateAsked {
    common_name: Option<String>,
    expiration: Option<String>,
}

impl CertificateAsked {
    fn expires(&self) -> Result<Option<Timestamp>, Refusal> {
        let text = self.expiration.as_deref().filter(|text| !text.is_empty());
        let parse = |text| {
            time::parse(text).ok_or_else(|| {
                Refusal::bad_request("expiration: expected a time as 2026-03-04T05:06:07Z")
            })
        };
        text.map(parse).transpose()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    private_key: PrivateKey,
    certificate: String,
    expiration: String,
}

#[derive(Serialize)]
struct PrivateKey {
    /// `key`: the key itself is in `bytes`, as PEM; and not only a reference to one.
    r#type: &'static str,
    bytes: String,
}

impl From<Issued> for Certificate {
    fn from(issued: Issued) -> Self {
        Self {
            private_key: PrivateKey {
                r#type: "key",
                bytes: issued.private_key.to_string(),
            },
            certificate: issued.certificate,
            expiration: issued.expires.to_string(),
        }
    }
}

pub(super) async fn certificate_server(
    State(asker): App,
    path: Generation,
    request: Request,
) -> Created<Certificate> {
    let Path((module, generation)) = path?;
    let module = asker.named(&module)?;
    let asked: CertificateAsked = read(request).await?;
    let wanted = CertificateRequest {
        common_name: asked.common_name.as_deref(),
        expires: asked.expires()?,
    };
    let (workload, now) = (&asker.config.workload, asker.config.clock.now());
    let issued = workload.certificate_server(&module, &generation, wanted, now)?;
    Ok((StatusCode::CREATED, Json(issued.into())))
}

pub(super) async fn certificate_identity(
    State(asker): App,
    path: Named,
    request: Request,
) -> Created<Certificate> {
    let Path(module) = path?;
    let module = asker.named(&module)?;
    let asked: CertificateAsked = read(request).await?;
    let wanted = CertificateRequest {
        common_name: None,
        expires: asked.expires()?,
    };
    let (workload, now) = (&asker.config.workload, asker.config.clock.now());
    let issued = workload.certificate_identity(&module, wanted, now)?;
    Ok((StatusCode::CREATED, Json(issued.into())))
}

pub(super) async fn unknown(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is no call {}", uri.path()))
}

pub(super) async fn not_allowed(method: Method, uri: Uri) -> Refusal {
    let message = format!("there is no call {method} {}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

async fn read<T: for<'b> Deserialize<'b>>(request: Request) -> Result<T, Refusal> {
    let (head, body) = request.into_parts();
    body::json(&body::read(&head.headers, body, REQUEST_LIMIT).await?)
}

/// Bytes that are text in JSON: base64 of the standard alphabet, padded.
struct Base64(Vec<u8>);

impl<'d> Deserialize<'d> for Base64 {
    fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}
