//! `[[registries]]`: how registries are spoken to.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use edge_core::deployment::RegistryCredentials;
use edge_oci::{ConfigError, Registries, RegistriesConfig, RegistryConfig};

/// Most of a file with a password or certificates.
const MAX_FILE: u64 = 1 << 20;

/// An entry of `[[registries]]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrySettings {
    /// Its host, with the port where references have one.
    pub address: String,
    /// Who this device is there; none: nobody, unless the manifest says.
    pub username: Option<String>,
    /// The file with the password; blanks and line ends around it do not count.
    pub password_file: Option<PathBuf>,
    /// The file with certificates, in PEM, that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Whether it is spoken to without TLS.
    pub plain_http: bool,
}

/// What is said of a registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFileError {
    /// A file cannot be read.
    #[error("cannot read {path} for registry {address} of [[registries]]")]
    Read {
        /// The registry.
        address: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// What is in it cannot be used.
    #[error("[[registries]] cannot be used")]
    Config(#[from] ConfigError),
}

/// Reads the files that settings name. Blocks.
///
/// # Errors
/// The first one that cannot be used.
pub(crate) fn open(settings: &[RegistrySettings]) -> Result<Registries, RegistryFileError> {
    let registries = settings.iter().map(|known| {
        let read = |path: &Path| {
            read(path).map_err(|why| RegistryFileError::Read {
                address: known.address.clone(),
                path: path.to_owned(),
                why,
            })
        };
        let credentials = match (&known.username, &known.password_file) {
            (Some(username), Some(file)) => {
                let text = String::from_utf8(read(file)?);
                let text = text.map_err(|_| RegistryFileError::Read {
                    address: known.address.clone(),
                    path: file.clone(),
                    why: io::Error::other("it is no text"),
                })?;
                Some(RegistryCredentials {
                    address: known.address.clone(),
                    username: username.clone(),
                    password: text.trim().to_owned(),
                })
            }
            _ => None,
        };
        Ok(RegistryConfig {
            address: known.address.clone(),
            credentials,
            ca: known.ca.as_deref().map(read).transpose()?,
            plain_http: known.plain_http,
        })
    });
    let registries = registries.collect::<Result<_, RegistryFileError>>()?;
    Ok(Registries::new(RegistriesConfig {
        registries,
        ..RegistriesConfig::default()
    })?)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(io::Error::other(format!(
            "it has more than {MAX_FILE} bytes"
        ))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_one_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let password = dir.path().join("password");
        std::fs::write(&password, "secret\n").expect("file");
        let named = |password_file: &Path, ca: Option<PathBuf>| RegistrySettings {
            address: "r.example:5000".to_owned(),
            username: Some("device".to_owned()),
            password_file: Some(password_file.to_owned()),
            ca,
            plain_http: false,
        };
        let opened = open(&[named(&password, None)]).expect("it can be used");
        assert!(format!("{opened:?}").contains("r.example:5000"));
        assert!(!format!("{opened:?}").contains("secret"));
        let gone = dir.path().join("gone");
        for settings in [named(&gone, None), named(&password, Some(gone.clone()))] {
            let error = open(&[settings]).expect_err("it is not there").to_string();
            assert!(
                error.contains("gone") && error.contains("r.example:5000"),
                "{error}"
            );
        }
        // The password is no certificate.
        let error = open(&[named(&password, Some(password.clone()))]).expect_err("it is none");
        assert!(
            matches!(
                error,
                RegistryFileError::Config(ConfigError::NoCertificate(_))
            ),
            "{error}"
        );
    }
}
