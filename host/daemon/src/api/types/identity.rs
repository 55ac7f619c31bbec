//! Identities, environments and certificates as people and programs read them.

use std::fmt;

use edge_core::DeviceId;
use edge_identity::{Auth, Entry, NewAuth, connection_string};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Text that is a secret: written as it is to whoever asked for it, `***` in `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// Hides text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for whoever owns it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A device or module that may connect: `GET /v1/identities`, `GET /v1/identities/{identity}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityInfo {
    /// `device` or `device/module`.
    pub identity: String,
    /// How it proves that: sas, x509-thumbprint or x509-ca.
    pub auth: String,
    /// enabled or disabled.
    pub status: String,
    /// Tells identities of one name apart that were made one after another.
    pub generation: String,
    /// When it was made.
    pub created: String,
    /// When it was last changed.
    pub changed: String,
    /// Counts its changes.
    pub version: u64,
    /// The gateway that a device is a child of.
    pub parent: Option<String>,
    /// It was taken over from the parent's registry, and is changed there; it can be kept out here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_parent: bool,
    /// The thumbprints of its certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thumbprints: Vec<String>,
    /// What a client is given; only where it was asked for, with `?secrets=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<IdentitySecrets>,
}

/// What a client is given to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySecrets {
    /// The primary key in base64; none of an identity that shows a certificate.
    pub primary_key: Option<Hidden>,
    /// The secondary one.
    pub secondary_key: Option<Hidden>,
    /// `HostName=…;DeviceId=…[;ModuleId=…];SharedAccessKey=…;GatewayHostName=…`, or `x509=true`. Without
    /// GatewayHostName where there is `behind`.
    pub connection_string: Hidden,
    /// The gateway that it connects to, whose host name is not known here: it gives out the whole connection string.
    /// None: this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
}

impl IdentityInfo {
    /// What is known of an identity but its secrets.
    pub(crate) fn of(entry: &Entry) -> Self {
        let thumbprints = match &entry.auth {
            Auth::Thumbprints(thumbprints) => thumbprints.iter().map(ToString::to_string).collect(),
            Auth::Keys(_) | Auth::Authority => Vec::new(),
        };
        Self {
            identity: entry.identity.to_string(),
            auth: entry.auth.kind().to_owned(),
            status: entry.effective_status().to_string(),
            generation: entry.generation.to_string(),
            created: entry.created.to_string(),
            changed: entry.changed.to_string(),
            version: entry.version,
            parent: entry.parent.as_ref().map(ToString::to_string),
            from_parent: entry.from_parent,
            thumbprints,
            secrets: None,
        }
    }
}

impl IdentitySecrets {
    /// The secrets of an identity, for clients that connect to this device, by that name, or to a gateway below it.
    pub(crate) fn of(entry: &Entry, hub: &str, own: &str, behind: Option<&DeviceId>) -> Self {
        let keys = entry.auth.keys();
        let gateway = behind.is_none().then_some(own);
        Self {
            primary_key: keys.map(|keys| Hidden(keys.primary.base64())),
            secondary_key: keys.map(|keys| Hidden(keys.secondary.base64())),
            connection_string: Hidden(connection_string(entry, hub, gateway)),
            behind: behind.map(ToString::to_string),
        }
    }
}

/// `POST /v1/identities`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddIdentity {
    /// `device` or `device/module`.
    pub identity: String,
    /// How it is to prove that.
    #[serde(default)]
    pub auth: IdentityAuth,
    /// The gateway that a device is behind, which is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// How an identity is to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum IdentityAuth {
    /// By tokens: `{"sas":{"primary":"<base64>"}}`. Keys that are not given are made.
    Sas {
        /// In base64.
        #[serde(default)]
        primary: Option<Hidden>,
        /// Likewise.
        #[serde(default)]
        secondary: Option<Hidden>,
    },
    /// By a certificate that is known itself: SHA-1 or SHA-256 in hexadecimal.
    Thumbprints {
        /// The primary one.
        primary: String,
        /// The secondary one.
        #[serde(default)]
        secondary: Option<String>,
    },
    /// By a certificate of a trusted CA whose common name is the identity: `"authority"`.
    Authority,
}

impl Default for IdentityAuth {
    fn default() -> Self {
        Self::Sas {
            primary: None,
            secondary: None,
        }
    }
}

impl From<IdentityAuth> for NewAuth {
    fn from(auth: IdentityAuth) -> Self {
        let text = |key: Option<Hidden>| key.map(|key| key.reveal().to_owned());
        match auth {
            IdentityAuth::Sas { primary, secondary } => Self::Keys {
                primary: text(primary),
                secondary: text(secondary),
            },
            IdentityAuth::Thumbprints { primary, secondary } => {
                Self::Thumbprints { primary, secondary }
            }
            IdentityAuth::Authority => Self::Authority,
        }
    }
}

/// `PATCH /v1/identities/{identity}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeIdentity {
    /// Whether it may connect; none: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<IdentityStatus>,
    /// The gateway that a device is behind, or nothing for none; none: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// Whether an identity may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityStatus {
    /// It may.
    Enabled,
    /// It may not, and what it has open is closed. A device keeps its modules out as well.
    Disabled,
}

/// `POST /v1/identities/{identity}/rotate`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    /// Which keys are made anew.
    pub which: WhichKey,
}

/// One of two keys, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhichKey {
    /// The primary one.
    Primary,
    /// The secondary one.
    Secondary,
    /// Both.
    Both,
}

/// `DELETE /v1/identities/{identity}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// What is gone: the identity, and if it was a device its modules.
    pub removed: Vec<String>,
}

/// `GET /v1/environments/{module}`: what a process on this machine needs to act as a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentInfo {
    /// `device/module`.
    pub identity: String,
    /// Names and values, in a set order. No secrets: the process signs through its workload socket.
    pub variables: Vec<(String, String)>,
    /// The same for a program that cannot reach that socket: a connection string with the module's key.
    /// Only where it was asked for, with `?secrets=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_variables: Option<Vec<(String, Hidden)>>,
}

/// `GET /v1/certificates`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesInfo {
    /// The name by which clients reach the device.
    pub hostname: String,
    /// A file with the bundle, which everybody on this machine may read.
    pub bundle_file: Option<std::path::PathBuf>,
    /// What clients are to trust: PEM.
    pub bundle: String,
    /// Those that the server shows, its own first, then those of the bundle.
    pub certificates: Vec<CertificateInfo>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateInfo {
    /// What it is here: server, intermediate or root.
    pub role: String,
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The DNS names and IP addresses in it.
    pub names: Vec<String>,
    /// When its validity begins.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// SHA-256 in hexadecimal.
    pub thumbprint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_debug_output() {
        let request = AddIdentity {
            identity: "leaf".to_owned(),
            auth: IdentityAuth::Sas {
                primary: Some(Hidden::new("c2VjcmV0")),
                secondary: None,
            },
            parent: None,
        };
        let text = format!("{request:?} {:?}", NewAuth::from(request.auth.clone()));
        assert!(!text.contains("c2VjcmV0"), "{text}");
        let json = serde_json::to_string(&request).expect("text");
        assert_eq!(
            json,
            r#"{"identity":"leaf","auth":{"sas":{"primary":"c2VjcmV0","secondary":null}}}"#
        );
        assert_eq!(
            serde_json::from_str::<AddIdentity>(&json).expect("whole"),
            request
        );
    }

    #[test]
    fn an_identity_without_words_on_its_auth_gets_fresh_keys() {
        let request: AddIdentity = serde_json::from_str(r#"{"identity":"a/b"}"#).expect("whole");
        assert_eq!(NewAuth::from(request.auth), NewAuth::FRESH);
        let request: AddIdentity =
            serde_json::from_str(r#"{"identity":"a","auth":"authority"}"#).expect("whole");
        assert_eq!(NewAuth::from(request.auth), NewAuth::Authority);
    }
}
