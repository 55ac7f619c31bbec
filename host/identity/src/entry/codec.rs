//! Entries as keys and values of the log.

use bytes::Bytes;
use edge_core::{DeviceId, Identity, InvalidId, ModuleId, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Auth, Entry, GenerationId, Status, SymmetricKeys, Thumbprints};
use crate::{InvalidKey, InvalidThumbprint, Secret};

/// The format that is written. Others are refused, so that an older program never misreads a newer one.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    generation: String,
    created: u64,
    changed: u64,
    version: u64,
    status: StoredStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    from_parent: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    kept_out: bool,
    auth: StoredAuth,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredStatus {
    Enabled,
    Disabled,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum StoredAuth {
    Sas {
        primary: String,
        secondary: String,
    },
    Thumbprints {
        primary: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secondary: Option<String>,
    },
    Authority,
}

impl Drop for StoredAuth {
    fn drop(&mut self) {
        if let Self::Sas { primary, secondary } = self {
            primary.zeroize();
            secondary.zeroize();
        }
    }
}

/// Why a value of the log is no entry. Never holds a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("its key is no identity: {0}")]
    Id(#[from] InvalidId),
    #[error("its key is not UTF-8")]
    NotText,
    #[error("it has format {0}; this program reads format {FORMAT}")]
    Format(u64),
    /// Place and kind only: serde's words can repeat what it read.
    #[error("its JSON is broken at line {line}, column {column}")]
    Json { line: usize, column: usize },
    #[error("its generation is no number")]
    Generation,
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error(transparent)]
    Thumbprint(#[from] InvalidThumbprint),
}

impl From<serde_json::Error> for CodecError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// The key of an identity.
pub(crate) fn encode_key(identity: &Identity) -> Bytes {
    match identity {
        Identity::Device(device) => Bytes::copy_from_slice(device.as_str().as_bytes()),
        Identity::Module(device, module) => format!("{device}\0{module}").into(),
    }
}

/// The identity of a key.
pub(crate) fn decode_key(key: &[u8]) -> Result<Identity, CodecError> {
    let text = std::str::from_utf8(key).map_err(|_| CodecError::NotText)?;
    Ok(match text.split_once('\0') {
        None => Identity::Device(DeviceId::new(text)?),
        Some((device, module)) => Identity::Module(DeviceId::new(device)?, ModuleId::new(module)?),
    })
}

/// The value of an entry.
pub(crate) fn encode(entry: &Entry) -> Bytes {
    let stored = Stored {
        format: FORMAT,
        generation: entry.generation.to_string(),
        created: entry.created.0,
        changed: entry.changed.0,
        version: entry.version,
        status: match entry.status {
            Status::Enabled => StoredStatus::Enabled,
            Status::Disabled => StoredStatus::Disabled,
        },
        parent: entry.parent.as_ref().map(ToString::to_string),
        from_parent: entry.from_parent,
        kept_out: entry.kept_out,
        auth: match &entry.auth {
            Auth::Keys(keys) => StoredAuth::Sas {
                primary: keys.primary.base64().to_string(),
                secondary: keys.secondary.base64().to_string(),
            },
            Auth::Thumbprints(prints) => StoredAuth::Thumbprints {
                primary: prints.primary.to_string(),
                secondary: prints.secondary.as_ref().map(ToString::to_string),
            },
            Auth::Authority => StoredAuth::Authority,
        },
    };
    let text = serde_json::to_vec(&stored).expect("strings and numbers always become JSON");
    Bytes::copy_from_slice(&Zeroizing::new(text))
}

/// Reads the value of an identity.
pub(crate) fn decode(identity: Identity, value: &[u8]) -> Result<Entry, CodecError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    // The format first: what another format calls its fields is not known.
    let Format { format } = serde_json::from_slice(value)?;
    if format != u64::from(FORMAT) {
        return Err(CodecError::Format(format));
    }
    let stored: Stored = serde_json::from_slice(value)?;
    Ok(Entry {
        identity,
        auth: match &stored.auth {
            StoredAuth::Sas { primary, secondary } => Auth::Keys(SymmetricKeys {
                primary: Secret::from_base64(primary)?,
                secondary: Secret::from_base64(secondary)?,
            }),
            StoredAuth::Thumbprints { primary, secondary } => Auth::Thumbprints(Thumbprints {
                primary: primary.parse()?,
                secondary: secondary.as_deref().map(str::parse).transpose()?,
            }),
            StoredAuth::Authority => Auth::Authority,
        },
        status: match stored.status {
            StoredStatus::Enabled => Status::Enabled,
            StoredStatus::Disabled => Status::Disabled,
        },
        generation: GenerationId(
            stored
                .generation
                .parse()
                .map_err(|_| CodecError::Generation)?,
        ),
        created: Timestamp(stored.created),
        changed: Timestamp(stored.changed),
        version: stored.version,
        parent: stored.parent.as_deref().map(DeviceId::new).transpose()?,
        from_parent: stored.from_parent,
        kept_out: stored.kept_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Thumbprint;

    /// Format 1 as it was first written; it must be read for ever.
    #[test]
    fn format_1_is_read_and_written_as_it_was() {
        let keys = r#"{"format":1,"generation":"639355968000000000","created":5,"changed":7,"version":2,"status":"disabled","parent":"gw","auth":{"sas":{"primary":"AAECAwQFBgcICQoLDA0ODw==","secondary":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}}"#;
        let prints = r#"{"format":1,"generation":"1","created":5,"changed":5,"version":1,"status":"enabled","auth":{"thumbprints":{"primary":"A9993E364706816ABA3E25717850C26C9CD0D89D"}}}"#;
        let by_ca = r#"{"format":1,"generation":"1","created":5,"changed":5,"version":1,"status":"enabled","auth":"authority"}"#;
        let told = r#"{"format":1,"generation":"1","created":5,"changed":5,"version":1,"status":"enabled","from_parent":true,"auth":"authority"}"#;
        let kept_out = r#"{"format":1,"generation":"1","created":5,"changed":5,"version":1,"status":"enabled","from_parent":true,"kept_out":true,"auth":"authority"}"#;
        let identity = decode_key(b"edge1\0$m").unwrap();
        assert_eq!(encode_key(&identity), &b"edge1\0$m"[..]);
        assert_eq!(identity.to_string(), "edge1/$m");
        for text in [keys, prints, by_ca, told, kept_out] {
            let entry = decode(identity.clone(), text.as_bytes()).unwrap();
            assert_eq!(encode(&entry), text.as_bytes());
        }
        let entry = decode(identity.clone(), keys.as_bytes()).unwrap();
        assert_eq!(entry.status, Status::Disabled);
        assert_eq!((entry.created, entry.changed), (Timestamp(5), Timestamp(7)));
        assert_eq!(entry.parent.as_ref().map(DeviceId::as_str), Some("gw"));
        let entry = decode(identity, prints.as_bytes()).unwrap();
        let Auth::Thumbprints(prints) = entry.auth else {
            panic!("{entry:?}");
        };
        assert_eq!(prints.primary, Thumbprint::sha1(b"abc"));
    }
}
