//! Requests about one reference to its registry: authorization, answers under a limit, silence.
//!
//! A session is made for one operation. The first request goes out without authorization; what the registry
//! asks for then goes along with all that follow.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use edge_core::ByteSize;
use edge_core::deployment::RegistryCredentials;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};

use crate::challenge::{Challenge, Token};
use crate::config::Registries;
use crate::error::RegistryError;
use edge_core::Reference;

/// Most of an answer that is no success: it is text for people.
const COMPLAINT: ByteSize = ByteSize(16 << 10);
/// Most of a token service's answer. Tokens list every permission of a user.
const TOKEN: ByteSize = ByteSize(256 << 10);
/// Most characters of a registry's complaint in a message.
const SHOWN: usize = 200;
/// A document that is read whole must come within this many times the longest silence: one that trickles is
/// as good as silent.
const WHOLE: u32 = 4;

pub(crate) struct Session {
    client: reqwest::Client,
    /// `https://host:port/v2/repository`.
    base: String,
    /// The scheme and host that authorization may go to.
    origin: reqwest::Url,
    registry: String,
    repository: String,
    credentials: Option<RegistryCredentials>,
    authorization: Option<HeaderValue>,
    stall: Duration,
}

impl Session {
    pub(crate) fn new(
        registries: &Registries,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, RegistryError> {
        let client = registries.client(reference)?;
        let scheme = match registries.is_plain(reference) {
            true => "http",
            false => "https",
        };
        let registry = reference.registry().to_owned();
        let origin = format!("{scheme}://{}", reference.host());
        let base = format!("{origin}/v2/{}", reference.repository());
        let origin = Url::parse(&origin).map_err(|error| RegistryError::Client {
            registry: registry.clone(),
            why: format!("{origin} is no address: {error}"),
        })?;
        Ok(Self {
            client,
            base,
            origin,
            registry,
            repository: reference.repository().to_owned(),
            credentials: registries.credentials(reference, credentials),
            authorization: None,
            stall: registries.config.stall,
        })
    }

    /// Asks for what is at `path` of the repository (`manifests/…`); `what` names it for people.
    ///
    /// # Errors
    /// Anything but a success.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        what: &str,
        accept: &str,
    ) -> Result<Answer, RegistryError> {
        let url = format!("{}/{path}", self.base);
        let url = Url::parse(&url).map_err(|error| RegistryError::Client {
            registry: self.registry.clone(),
            why: format!("{url} is no address: {error}"),
        })?;
        let mut answer = self.send(&url, what, accept).await?;
        // What a place that it redirected to asks for is not for the registry's credentials.
        let own = |url: &Url| url.origin() == self.origin.origin();
        if answer.response.status() == StatusCode::UNAUTHORIZED && own(answer.response.url()) {
            let headers = answer.response.headers().clone();
            drop(answer);
            self.authorize(&headers).await?;
            answer = self.send(&url, what, accept).await?;
        }
        if answer.response.status().is_success() {
            return Ok(answer);
        }
        Err(self.complaint(answer).await)
    }

    async fn send(&self, url: &Url, what: &str, accept: &str) -> Result<Answer, RegistryError> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        self.answer(request, what).await
    }

    async fn answer(
        &self,
        request: reqwest::RequestBuilder,
        what: &str,
    ) -> Result<Answer, RegistryError> {
        let answer = |response| Answer {
            response,
            registry: self.registry.clone(),
            what: what.to_owned(),
            stall: self.stall,
        };
        request
            .send()
            .await
            .map(answer)
            .map_err(|error| failed(&error, &self.registry, what, self.stall))
    }

    /// Gets what the registry asks for.
    async fn authorize(&mut self, headers: &HeaderMap) -> Result<(), RegistryError> {
        let refused = |why: String| RegistryError::Challenge {
            registry: self.registry.clone(),
            why,
        };
        let texts = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge =
            Challenge::read(texts.filter_map(|text| text.to_str().ok())).map_err(refused)?;
        // It was sent, and is not good enough.
        if self.authorization.is_some() {
            return Err(self.unauthorized());
        }
        let text = match challenge {
            Challenge::Basic => self.basic().ok_or_else(|| self.unauthorized())?,
            Challenge::Bearer { realm, service } => {
                let mut url = Url::parse(&realm)
                    .map_err(|error| refused(format!("its realm {realm:?} is no URL: {error}")))?;
                let plain = url.scheme() == "http" && self.origin.scheme() == "http";
                if url.scheme() != "https" && !plain {
                    return Err(refused(format!(
                        "its realm {realm:?} is not protected by TLS, and would get the password"
                    )));
                }
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", &service);
                }
                let scope = format!("repository:{}:pull", self.repository);
                url.query_pairs_mut().append_pair("scope", &scope);
                format!("Bearer {}", self.token(url).await?)
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            refused("the credentials or the token have characters that no header has".to_owned())
        })?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    fn basic(&self) -> Option<String> {
        let known = self.credentials.as_ref()?;
        let pair = format!("{}:{}", known.username, known.password);
        Some(format!("Basic {}", STANDARD.encode(pair)))
    }

    async fn token(&self, url: Url) -> Result<String, RegistryError> {
        const WHAT: &str = "a token";
        let mut request = self.client.get(url);
        if let Some(known) = &self.credentials {
            request = request.basic_auth(&known.username, Some(&known.password));
        }
        let answer = self.answer(request, WHAT).await?;
        match answer.response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED => return Err(self.unauthorized()),
            _ => return Err(self.complaint(answer).await),
        }
        let text = answer.whole(TOKEN).await?;
        let token = serde_json::from_slice(&text)
            .ok()
            .and_then(Token::into_text);
        token.ok_or_else(|| RegistryError::Challenge {
            registry: self.registry.clone(),
            why: "the answer of its token service has no token".to_owned(),
        })
    }

    fn unauthorized(&self) -> RegistryError {
        RegistryError::Unauthorized {
            registry: self.registry.clone(),
            user: self.user(),
        }
    }

    fn user(&self) -> Option<String> {
        self.credentials
            .as_ref()
            .map(|known| known.username.clone())
    }

    /// What an answer that is no success means.
    async fn complaint(&self, answer: Answer) -> RegistryError {
        let (status, what) = (answer.response.status(), answer.what.clone());
        let registry = self.registry.clone();
        // What it says is a help, not what counts.
        let text = answer.start(COMPLAINT).await.unwrap_or_default();
        let why = said(&text, status);
        match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(),
            StatusCode::FORBIDDEN => RegistryError::Denied {
                registry,
                user: self.user(),
                what,
                why,
            },
            StatusCode::NOT_FOUND => RegistryError::NotFound {
                registry,
                what,
                why,
            },
            _ => RegistryError::Status {
                registry,
                what,
                status: status.as_u16(),
                why,
            },
        }
    }
}

/// An answer of which nothing but the head has come.
pub(crate) struct Answer {
    response: Response,
    registry: String,
    what: String,
    stall: Duration,
}

impl Answer {
    /// The media type that the head names, without parameters.
    pub(crate) fn media_type(&self) -> Option<&str> {
        let value = self.response.headers().get(reqwest::header::CONTENT_TYPE)?;
        let text = value.to_str().ok()?;
        text.split(';').next().map(str::trim)
    }

    /// The next piece; `None`: that was all. Cancel safe.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        self.response
            .chunk()
            .await
            .map_err(|error| failed(&error, &self.registry, &self.what, self.stall))
    }

    /// All of it.
    pub(crate) async fn whole(self, limit: ByteSize) -> Result<Bytes, RegistryError> {
        let too_large = RegistryError::TooLarge {
            registry: self.registry.clone(),
            what: self.what.clone(),
            limit,
        };
        if self
            .response
            .content_length()
            .is_some_and(|length| length > limit.0)
        {
            return Err(too_large);
        }
        let bytes = self.start(ByteSize(limit.0 + 1)).await?;
        match bytes.len() as u64 > limit.0 {
            true => Err(too_large),
            false => Ok(bytes),
        }
    }

    /// Its start, or all if it is shorter.
    async fn start(mut self, limit: ByteSize) -> Result<Bytes, RegistryError> {
        let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
        let stalled = RegistryError::Stalled {
            registry: self.registry.clone(),
            what: format!("the rest of {}", self.what),
            after: self.stall * WHOLE,
        };
        let deadline = self.stall * WHOLE;
        let read = async {
            let mut bytes = BytesMut::new();
            while bytes.len() < limit
                && let Some(piece) = self.piece().await?
            {
                let room = limit - bytes.len();
                bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Ok(bytes.freeze())
        };
        tokio::time::timeout(deadline, read)
            .await
            .unwrap_or(Err(stalled))
    }
}

/// What became of a request.
fn failed(error: &reqwest::Error, registry: &str, what: &str, stall: Duration) -> RegistryError {
    let registry = registry.to_owned();
    match error.is_timeout() && !error.is_connect() {
        true => RegistryError::Stalled {
            registry,
            what: what.to_owned(),
            after: stall,
        },
        false => RegistryError::Unreachable {
            registry,
            why: format!("{what}: {}", edge_core::chain(error)),
        },
    }
}

/// What a registry says in an answer that is no success (distribution spec, "Error codes"), for a message.
fn said(body: &[u8], status: StatusCode) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<Said>,
    }
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) if !envelope.errors.is_empty() => {
            let said = envelope.errors.iter();
            let said: Vec<_> = said
                .map(|said| format!("{} {}", said.code, said.message).trim().to_owned())
                .collect();
            said.join("; ")
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.trim() {
        "" => status.to_string(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_shown_in_one_short_line() {
        let status = StatusCode::NOT_FOUND;
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown","detail":{}}]}"#;
        assert_eq!(said(body, status), "MANIFEST_UNKNOWN manifest unknown");
        assert_eq!(said(b"404 page not found\n", status), "404 page not found");
        assert_eq!(said(b"", status), "404 Not Found");
        assert_eq!(said(&[b'x'; 5000], status).len(), SHOWN);
    }
}
