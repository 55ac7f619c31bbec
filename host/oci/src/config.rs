//! Which registries there are, and how each is spoken to.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use edge_core::deployment::RegistryCredentials;
use edge_core::{Reference, registry_of_address};

use crate::error::RegistryError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may be silent: as long as the slowest store behind one was seen to be.
const STALL: Duration = Duration::from_secs(30);
/// Redirects that are followed: to a store, and from there to a region of it.
const REDIRECTS: usize = 5;

/// What is said of registries; those that are not named are spoken to over TLS, as nobody.
#[derive(Debug, Clone)]
pub struct RegistriesConfig {
    /// Registries that something is said of.
    pub registries: Vec<RegistryConfig>,
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a registry may be silent.
    pub stall: Duration,
}

impl Default for RegistriesConfig {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            connect: CONNECT,
            stall: STALL,
        }
    }
}

/// What is said of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryConfig {
    /// Its host, with the port if references have one.
    pub address: String,
    /// For those who bring none of their own.
    pub credentials: Option<RegistryCredentials>,
    /// Certificates, in PEM, that are trusted besides those of the system.
    pub ca: Option<Vec<u8>>,
    /// It is spoken to without TLS. Registries on this machine (`localhost`, `127.0.0.1`, `[::1]`) are, unless `ca`
    /// says otherwise.
    pub plain_http: bool,
}

/// What is said of a registry cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The certificates cannot be read.
    #[error("the certificates for registry {address} cannot be read: {why}")]
    Certificates {
        /// The registry.
        address: String,
        /// Why.
        why: String,
    },
    /// There is none among them.
    #[error("there is no certificate in what is given for registry {0}: expected PEM")]
    NoCertificate(String),
    /// Both with and without TLS.
    #[error(
        "registry {0} has certificates, and is to be spoken to without TLS: leave out one of both"
    )]
    PlainWithCertificates(String),
}

/// The registries. Cheap to keep: connections are made when something is asked of one, and closed after.
#[derive(Clone)]
pub struct Registries {
    pub(crate) config: RegistriesConfig,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.config.registries.iter();
        f.debug_struct("Registries")
            .field(
                "named",
                &named.map(|known| &known.address).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

impl Registries {
    /// Takes what is said of registries. Makes ring the provider of cryptography of this process's TLS
    /// clients that name none, if it has no other.
    ///
    /// # Errors
    /// The first of it that cannot be.
    pub fn new(mut config: RegistriesConfig) -> Result<Self, ConfigError> {
        // Somebody else may have: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        for known in &mut config.registries {
            known.address = registry_of_address(&known.address).to_owned();
            let Some(pem) = &known.ca else { continue };
            let address = known.address.clone();
            if known.plain_http {
                return Err(ConfigError::PlainWithCertificates(address));
            }
            match certificates(pem) {
                Ok(found) if found.is_empty() => return Err(ConfigError::NoCertificate(address)),
                Ok(_) => {}
                Err(why) => return Err(ConfigError::Certificates { address, why }),
            }
        }
        Ok(Self { config })
    }

    /// What is said of a reference's registry.
    pub(crate) fn known(&self, reference: &Reference) -> Option<&RegistryConfig> {
        let mut known = self.config.registries.iter();
        known.find(|known| known.address == reference.registry())
    }

    /// Whether a reference's registry is spoken to without TLS.
    pub(crate) fn is_plain(&self, reference: &Reference) -> bool {
        match self.known(reference) {
            Some(known) if known.plain_http => true,
            Some(known) => known.ca.is_none() && is_loopback(reference.registry()),
            None => is_loopback(reference.registry()),
        }
    }

    /// Credentials: the caller's before those of the settings.
    pub(crate) fn credentials(
        &self,
        reference: &Reference,
        given: Option<&RegistryCredentials>,
    ) -> Option<RegistryCredentials> {
        let known = || self.known(reference)?.credentials.clone();
        given.cloned().or_else(known)
    }

    /// Something that makes requests to a reference's registry.
    pub(crate) fn client(&self, reference: &Reference) -> Result<reqwest::Client, RegistryError> {
        let failed = |why: String| RegistryError::Client {
            registry: reference.registry().to_owned(),
            why,
        };
        if reference.is_upstream() {
            return Err(RegistryError::Upstream(reference.clone()));
        }
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let from_tls = attempt
                .previous()
                .last()
                .is_some_and(|url| url.scheme() == "https");
            match attempt {
                attempt if attempt.previous().len() > REDIRECTS => {
                    attempt.error("it redirects too often")
                }
                attempt if from_tls && attempt.url().scheme() != "https" => {
                    attempt.error("it redirects from TLS to plain HTTP")
                }
                attempt => attempt.follow(),
            }
        });
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.config.connect)
            .read_timeout(self.config.stall)
            .redirect(redirects);
        if is_loopback(reference.registry()) {
            builder = builder.no_proxy();
        }
        let ca = self.known(reference).and_then(|known| known.ca.as_deref());
        let extra = ca.map(certificates).transpose().map_err(failed)?;
        builder = match extra {
            Some(extra) => builder.tls_certs_merge(extra),
            // A machine without certificates can have a registry without TLS.
            None if self.is_plain(reference) => builder.tls_certs_only([]),
            None => builder,
        };
        builder
            .build()
            .map_err(|error| failed(edge_core::chain(&error)))
    }
}

/// How requests introduce themselves.
pub(crate) const USER_AGENT: &str = concat!("edge/", env!("CARGO_PKG_VERSION"));

fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, String> {
    reqwest::Certificate::from_pem_bundle(pem).map_err(|error| edge_core::chain(&error))
}

/// Whether a registry is on this machine by its very name.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => registry,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(known: RegistryConfig) -> Result<Registries, ConfigError> {
        Registries::new(RegistriesConfig {
            registries: vec![known],
            ..RegistriesConfig::default()
        })
    }

    fn named(address: &str) -> RegistryConfig {
        RegistryConfig {
            address: address.to_owned(),
            ..RegistryConfig::default()
        }
    }

    #[test]
    fn plain_http_is_spoken_to_this_machine_and_where_it_is_asked_for() {
        let registries = with(RegistryConfig {
            plain_http: true,
            ..named("r.example:5000")
        });
        let registries = registries.expect("valid");
        for (image, plain) in [
            ("localhost:5000/a", true),
            ("127.0.0.1/a", true),
            ("r.example:5000/a", true),
            ("r.example/a", false),
            ("10.0.0.1:5000/a", false),
        ] {
            let reference = Reference::parse(image).expect("valid");
            assert_eq!(registries.is_plain(&reference), plain, "{image}");
        }
    }

    #[test]
    fn credentials_of_the_settings_stand_in_for_those_that_are_not_given() {
        let credentials = |username: &str| RegistryCredentials {
            address: "r.example".to_owned(),
            username: username.to_owned(),
            password: "secret".to_owned(),
        };
        let registries = with(RegistryConfig {
            credentials: Some(credentials("settings")),
            ..named("https://r.example/v2/")
        });
        let registries = registries.expect("valid");
        let user = |image, given: Option<&RegistryCredentials>| {
            let reference = Reference::parse(image).expect("valid");
            let found = registries.credentials(&reference, given);
            found.map(|found| found.username)
        };
        assert_eq!(user("r.example/a", None).as_deref(), Some("settings"));
        let given = credentials("manifest");
        assert_eq!(
            user("r.example/a", Some(&given)).as_deref(),
            Some("manifest")
        );
        assert_eq!(user("other.example/a", None), None);
    }

    #[test]
    fn certificates_that_cannot_be_read_are_refused_at_the_start() {
        let ca = |text: &str| {
            let known = RegistryConfig {
                ca: Some(text.as_bytes().to_vec()),
                ..named("r.example")
            };
            with(known).map(|_| ()).expect_err("it is none")
        };
        let garbage = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(ca(garbage), ConfigError::Certificates { .. }));
        assert_eq!(
            ca("no PEM"),
            ConfigError::NoCertificate("r.example".to_owned())
        );
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for text in [
            "localhost",
            "LOCALHOST:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(text), "{text}");
        }
        for text in [
            "r.example",
            "127.0.0.1.example",
            "localhost.example:5000",
            "10.0.0.1:5000",
            "[::2]",
        ] {
            assert!(!is_loopback(text), "{text}");
        }
    }
}
