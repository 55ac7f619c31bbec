//! What a registry asks for before it answers (distribution spec, "auth/token"): credentials, or a token that
//! another service gives for them.
//!
//! ```text
//!   GET manifest ─► 401, WWW-Authenticate: Bearer realm="https://auth…",service="…",scope="…"
//!   GET realm?service=…&scope=repository:NAME:pull   (Basic, if there are credentials) ─► {"token":"…"}
//!   GET manifest, Authorization: Bearer … ─► 200
//! ```

use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;
use serde::Deserialize;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password.
    Basic,
    /// A token.
    Bearer {
        /// Who gives it: a URL.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the values of `WWW-Authenticate`. A token is preferred, as container engines do.
    pub(crate) fn read<'h>(headers: impl Iterator<Item = &'h str>) -> Result<Self, String> {
        let mut basic = None;
        for header in headers {
            for challenge in ChallengeParser::new(header) {
                let challenge = challenge
                    .map_err(|error| format!("its header {header:?} is broken: {error}"))?;
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    return match param(&challenge, "realm") {
                        Some(realm) => Ok(Self::Bearer {
                            realm,
                            service: param(&challenge, "service"),
                        }),
                        None => Err(format!("its header {header:?} names no realm")),
                    };
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic.ok_or_else(|| "it names neither Basic nor Bearer".to_owned())
    }
}

fn param(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let mut params = challenge.params.iter();
    let (_, value) = params.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value.to_unescaped())
}

/// The answer of a token service.
#[derive(Deserialize)]
pub(crate) struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    /// The token, under either of its names.
    pub(crate) fn into_text(self) -> Option<String> {
        self.token
            .or(self.access_token)
            .filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_preferred_and_its_service_is_optional() {
        let read = |header| Challenge::read([header].into_iter());
        let bearer = |service: Option<&str>| {
            Ok(Challenge::Bearer {
                realm: "https://auth.example/token".to_owned(),
                service: service.map(str::to_owned),
            })
        };
        assert_eq!(
            read(
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a:pull""#
            ),
            bearer(Some("r.example"))
        );
        assert_eq!(
            read(r#"Basic realm="r", Bearer realm="https://auth.example/token""#),
            bearer(None)
        );
        assert_eq!(read(r#"Basic realm="r""#), Ok(Challenge::Basic));
        assert!(read("Bearer scope=\"x\"").is_err());
        assert!(read("Negotiate").is_err());
        assert!(Challenge::read(std::iter::empty()).is_err());
    }
}
