//! The list of `[[registries]]`.

use super::values::{Fields, Gather, list, path, text, text_owned, wrong, yes_or_no};
use super::{Value, Wrongs};
use crate::settings::RegistrySettings;

/// `[[registries]]`
pub(super) fn registries(value: &Value<'_>) -> Result<Vec<RegistrySettings>, Wrongs> {
    list(registry)(value)
}

fn registry(value: &Value<'_>) -> Result<RegistrySettings, Wrongs> {
    let mut gathered = Gather::default();
    let mut registry = RegistrySettings::default();
    let known = &["address", "username", "password-file", "ca", "plain-http"];
    if let Some(fields) = Fields::new(value, known, &mut gathered) {
        let at = fields.need("address", &mut gathered, address);
        registry.address = at.unwrap_or_default();
        registry.username = fields.get("username", &mut gathered, text_owned);
        registry.password_file = fields.get("password-file", &mut gathered, path);
        registry.ca = fields.get("ca", &mut gathered, path);
        let plain = fields.get("plain-http", &mut gathered, yes_or_no);
        registry.plain_http = plain.unwrap_or_default();
        let pair = [
            registry.username.is_some(),
            registry.password_file.is_some(),
        ];
        let message = match pair {
            [true, false] => Some("password-file is missing: it belongs to username"),
            [false, true] => Some("username is missing: it belongs to password-file"),
            _ if registry.plain_http && registry.ca.is_some() => {
                Some("ca is for TLS, which plain-http does without: leave out one of both")
            }
            _ => None,
        };
        if let Some(message) = message {
            gathered.take("", wrong::<()>(value, message));
        }
    }
    gathered.or(registry)
}

/// A host, with or without a port.
fn address(value: &Value<'_>) -> Result<String, Wrongs> {
    let address = text(value)?;
    match edge_oci::Reference::parse(&format!("{address}/name")) {
        Ok(read) if read.registry() == address => Ok(address.to_owned()),
        _ => wrong(
            value,
            format!(
                "{address:?} is no registry: expected its host as references name it, with a port where \
                 they have one, as in \"registry.example:5000\""
            ),
        ),
    }
}
