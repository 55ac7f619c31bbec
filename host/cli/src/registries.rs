//! How commands get at a registry: who they are to it, and whether it speaks TLS.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_core::deployment::RegistryCredentials;
use edge_oci::{Reference, Registries, RegistriesConfig, RegistryConfig};
use serde::Deserialize;

/// Largest password that is read.
const MAX_PASSWORD: u64 = 64 << 10;

/// Words that say how to get at a registry.
#[derive(clap::Args, Debug)]
pub(crate) struct Access {
    /// Who you are to the registry [as `docker login` has it].
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// The password comes by standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Speak to the registry without TLS. One on this machine is spoken to like that in any case.
    #[arg(long)]
    plain_http: bool,
}

/// `config.json` of the container engine's client, as far as it has secrets itself.
#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    /// Base64 of `user:password`; missing where a helper has it.
    #[serde(default)]
    auth: String,
}

impl Access {
    /// The registries, and what to say to that of `reference`.
    pub(crate) fn open(
        &self,
        reference: &Reference,
    ) -> anyhow::Result<(Registries, Option<RegistryCredentials>)> {
        let address = reference.registry();
        let credentials = match &self.username {
            Some(username) => Some(RegistryCredentials {
                address: address.to_owned(),
                username: username.clone(),
                password: password()?,
            }),
            None => stored(address)?,
        };
        let config = RegistriesConfig {
            registries: vec![RegistryConfig {
                address: address.to_owned(),
                plain_http: self.plain_http,
                ..RegistryConfig::default()
            }],
            ..RegistriesConfig::default()
        };
        Ok((Registries::new(config)?, credentials))
    }
}

fn password() -> anyhow::Result<String> {
    let mut text = String::new();
    let mut input = io::stdin().lock().take(MAX_PASSWORD);
    let read = input.read_to_string(&mut text);
    read.context("read the password from standard input")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What `docker login` has stored in its file.
fn stored(address: &str) -> anyhow::Result<Option<RegistryCredentials>> {
    let folder = match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => match std::env::var_os("HOME") {
            Some(home) => PathBuf::from(home).join(".docker"),
            None => return Ok(None),
        },
    };
    let path = folder.join("config.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let config: DockerConfig =
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
    find(&config, address).with_context(|| format!("read {}", path.display()))
}

fn find(config: &DockerConfig, address: &str) -> anyhow::Result<Option<RegistryCredentials>> {
    let host = |key: &str| {
        let key = key.strip_prefix("https://").unwrap_or(key);
        let key = key.strip_prefix("http://").unwrap_or(key);
        match key.split('/').next().unwrap_or(key) {
            // As the file has called it from the first day.
            "index.docker.io" => "docker.io".to_owned(),
            host => host.to_owned(),
        }
    };
    let mut known = config.auths.iter();
    let Some((_, known)) =
        known.find(|(key, known)| host(key) == address && !known.auth.is_empty())
    else {
        return Ok(None);
    };
    let wrong = || anyhow!("what is stored for {address} is not base64 of user:password");
    let text = STANDARD.decode(&known.auth).map_err(|_| wrong())?;
    let text = String::from_utf8(text).map_err(|_| wrong())?;
    let (username, password) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Some(RegistryCredentials {
        address: address.to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
    }))
}

/// Runs what talks to a registry to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start")?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_login_stored_is_found_by_the_registrys_host() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YTpi"}, "r.example:5000": {"auth": "dTpwOnE="},
            "helper.example": {}, "bad.example": {"auth": "?"}}, "credsStore": "x"}"#;
        let config: DockerConfig = serde_json::from_str(text).expect("JSON");
        let user = |address: &str| {
            let found = find(&config, address).expect("whole");
            found.map(|found| (found.username, found.password))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(user("docker.io"), pair("a", "b"));
        assert_eq!(user("r.example:5000"), pair("u", "p:q"));
        assert_eq!(user("r.example"), None);
        assert_eq!(user("helper.example"), None);
        assert!(find(&config, "bad.example").is_err());
    }
}
