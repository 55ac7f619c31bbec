//! `wasi:http/outgoing-handler`, to the origins that were granted and no others.

use std::sync::Arc;

use edge_core::ModuleId;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

use crate::logs::{Level, ModuleLog};

/// Origins that a module may reach, settled when it was prepared. Empty: none.
#[derive(Debug, Clone)]
pub(crate) struct AllowedOrigins {
    origins: Arc<[Origin]>,
    log: Arc<ModuleLog>,
    module: ModuleId,
}

#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    /// Without a port; `*.example.com` stands for every name below `example.com`.
    host: String,
    port: u16,
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || format!("{text:?} is no origin: expected http://HOST[:PORT] or https://HOST[:PORT]");
        let uri: http::Uri = text.parse().map_err(|_| expected())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(expected());
        };
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let port = authority.port_u16().or_else(|| default_port(scheme));
        match port {
            Some(port) if matches!(path, "" | "/") && !authority.as_str().contains('@') => {
                Ok(Self {
                    scheme: scheme.to_ascii_lowercase(),
                    host: authority.host().to_ascii_lowercase(),
                    port,
                })
            }
            _ => Err(expected()),
        }
    }

    fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host_fits = match self.host.strip_prefix("*.") {
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            None => self.host == host,
        };
        host_fits && self.scheme == scheme && self.port == port
    }
}

impl AllowedOrigins {
    /// # Errors
    /// A grant that is no origin.
    pub(crate) fn new(
        module: ModuleId,
        grants: &[String],
        log: Arc<ModuleLog>,
    ) -> Result<Self, String> {
        Ok(Self {
            origins: grants
                .iter()
                .map(|grant| Origin::parse(grant))
                .collect::<Result<_, _>>()?,
            log,
            module,
        })
    }

    fn allows(&self, uri: &http::Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return false;
        };
        let host = authority.host().to_ascii_lowercase();
        let Some(port) = authority.port_u16().or_else(|| default_port(scheme)) else {
            return false;
        };
        self.origins
            .iter()
            .any(|origin| origin.allows(scheme, &host, port))
    }
}

impl WasiHttpHooks for AllowedOrigins {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<
        dyn Future<
                Output = Result<
                    (
                        http::Response<WasiBody>,
                        Box<dyn Future<Output = Result<(), Error>> + Send>,
                    ),
                    Error,
                >,
            > + Send,
    > {
        if !self.allows(request.uri()) {
            let line = format!(
                "request to {} refused: module {} is not granted that origin (grants.http)",
                request.uri(),
                self.module
            );
            self.log.line(Level::Warn, "http", &line);
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        Box::new(async move {
            use http_body_util::BodyExt;
            let (response, connection) = default_send_request(request, options).await?;
            let connection: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(connection);
            Ok((response.map(BodyExt::boxed_unsync), connection))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    fn allows(grant: &str, scheme: &str, host: &str, port: u16) -> bool {
        Origin::parse(grant)
            .expect("an origin")
            .allows(scheme, host, port)
    }

    #[test]
    fn a_grant_is_for_one_scheme_host_and_port() {
        assert!(allows("https://api.example", "https", "api.example", 443));
        assert!(!allows("https://api.example", "http", "api.example", 80));
        assert!(!allows("https://api.example", "https", "api.example", 8443));
        assert!(!allows(
            "https://api.example",
            "https",
            "api.example.evil",
            443
        ));
        assert!(allows("http://127.0.0.1:8080", "http", "127.0.0.1", 8080));
    }

    #[test]
    fn a_star_stands_for_names_below_a_domain_only() {
        assert!(allows(
            "https://*.example.com",
            "https",
            "a.b.example.com",
            443
        ));
        assert!(!allows(
            "https://*.example.com",
            "https",
            "example.com",
            443
        ));
        assert!(!allows(
            "https://*.example.com",
            "https",
            "evilexample.com",
            443
        ));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "api.example",
            "ftp://x",
            "https://",
            "https://x/path",
            "https://u@x",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
