//! `PUT` to an address: a blob store with a signed address, or any other server.
//!
//! ```text
//!   https://account.blob.core.windows.net/container?sr=c&sig=…    a container: files get names in it
//!   https://host/folder/                                          a folder, likewise
//!   https://host/file.log                                         the file itself, if there is but one
//! ```

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A server has this long to take a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// A whole upload has this long.
const WHOLE: Duration = Duration::from_secs(600);
/// Bytes of an answer that are looked at.
const ANSWER: usize = 64 << 10;
/// Characters of an answer that are told.
const TOLD: usize = 200;

/// Packs bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    packed.expect("writing to memory cannot fail")
}

/// Why something was not uploaded. None names the query of the address.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is none.
    #[error("the address cannot be used: {0}; expected https://host/path, or http://…")]
    Address(&'static str),
    /// The server is not reached.
    #[error("cannot connect to {host}: {why}")]
    Connect {
        /// The server.
        host: String,
        /// Why.
        why: String,
    },
    /// The transfer failed.
    #[error("the upload to {place} failed: {why}")]
    Transfer {
        /// The address, without its query.
        place: String,
        /// Why.
        why: String,
    },
    /// The server refused.
    #[error("{place} refused the upload: {status}{answer}")]
    Refused {
        /// The address, without its query.
        place: String,
        /// The status.
        status: http::StatusCode,
        /// The beginning of its answer, after a colon.
        answer: String,
    },
    /// It took too long.
    #[error("the upload to {place} was not done in {} s", WHOLE.as_secs())]
    Time {
        /// The address, without its query.
        place: String,
    },
}

/// Where something goes. Does not show its query.
#[derive(Clone)]
pub struct Destination {
    uri: Uri,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl Destination {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none of `http` or `https`, or has a user in it.
    pub fn new(url: &str) -> Result<Self, UploadError> {
        let uri: Uri = url
            .trim()
            .parse()
            .map_err(|_| UploadError::Address("it is no address"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(UploadError::Address("it is neither http nor https")),
            None => return Err(UploadError::Address("it has no scheme")),
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => {
                Err(UploadError::Address("it has a user name in it"))
            }
            Some(authority) if !authority.host().is_empty() => Ok(Self { uri }),
            _ => Err(UploadError::Address("it has no host")),
        }
    }

    /// The address of a file: in a container or folder under this name, else the address itself. `alone`: no
    /// other file goes to this address.
    pub fn file(&self, name: &str, alone: bool) -> Self {
        let path = self.uri.path();
        let query = self.uri.query();
        let container = query.is_some_and(|query| query.split('&').any(|pair| pair == "sr=c"));
        if alone && !container && !path.ends_with('/') {
            return self.clone();
        }
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}/{}{query}", path.trim_end_matches('/'), encoded(name));
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        let uri = Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone());
        Self { uri }
    }

    /// The address without its query.
    fn place(&self) -> String {
        let uri = &self.uri;
        let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
        let host = part(uri.authority().map(http::uri::Authority::as_str));
        format!("{}://{host}{}", part(uri.scheme_str()), uri.path())
    }
}

/// Characters of names that are none of an address.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// What goes.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Where.
    pub to: Destination,
    /// What it is.
    pub media_type: &'static str,
    /// The bytes.
    pub body: Bytes,
}

/// Uploads. Trusts whom it is told to.
#[derive(Debug, Clone)]
pub struct Uploader {
    tls: Arc<ClientConfig>,
}

impl Uploader {
    /// Trusts whom this machine trusts. Blocks: the certificates are read.
    pub fn new() -> Self {
        let mut roots = RootCertStore::empty();
        // Certificates that cannot be read, and none at all, are said by the handshake that needs them.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::trusting(roots)
    }

    /// Trusts these.
    pub fn trusting(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: Arc::new(config),
        }
    }

    /// Puts bytes at an address. `x-ms-blob-type: BlockBlob` goes along, which blob stores ask for and others
    /// pass over. Redirects are not followed: what is sent there would be sent to whomever the server names.
    ///
    /// # Errors
    /// They are not there.
    pub async fn put(&self, upload: Upload) -> Result<(), UploadError> {
        let place = upload.to.place();
        let put = self.put_now(upload, &place);
        match tokio::time::timeout(WHOLE, put).await {
            Ok(done) => done,
            Err(_) => Err(UploadError::Time { place }),
        }
    }

    async fn put_now(&self, upload: Upload, place: &str) -> Result<(), UploadError> {
        let uri = &upload.to.uri;
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let unreached = |why: String| UploadError::Connect {
            host: format!("{host}:{port}"),
            why,
        };
        let connect = TcpStream::connect((host, port));
        let stream = match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreached(error.to_string())),
            Err(_) => return Err(unreached(format!("no answer in {} s", CONNECT.as_secs()))),
        };
        if !secure {
            return exchange(stream, upload, place).await;
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| UploadError::Address("its host is no name"))?;
        let connect = TlsConnector::from(self.tls.clone()).connect(name, stream);
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(stream)) => exchange(stream, upload, place).await,
            Ok(Err(error)) => Err(unreached(format!("TLS: {error}"))),
            Err(_) => Err(unreached("TLS: no answer".to_owned())),
        }
    }
}

impl Default for Uploader {
    fn default() -> Self {
        Self::new()
    }
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    upload: Upload,
    place: &str,
) -> Result<(), UploadError> {
    let failed = |why: &dyn std::error::Error| UploadError::Transfer {
        place: place.to_owned(),
        why: edge_core::chain(why),
    };
    let uri = &upload.to.uri;
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(Method::PUT)
        .uri(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, upload.media_type)
        .header("x-ms-blob-type", "BlockBlob")
        .body(Full::new(upload.body))
        .map_err(|error| failed(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| failed(&error))?;
    let answer = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let body = Limited::new(answer.into_body(), ANSWER).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        // Servers are known to repeat what they were asked for.
        let text = crate::redact::text(&text.unwrap_or_default()).into_owned();
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().take(TOLD).collect();
        Err(UploadError::Refused {
            place: place.to_owned(),
            status,
            answer: match text.as_str() {
                "" => text,
                text => format!(": {text}"),
            },
        })
    };
    // The connection is driven as long as the answer is awaited, and ends with it.
    let driven = async {
        match connection.await {
            Ok(()) => std::future::pending().await,
            Err(error) => failed(&error),
        }
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        error = driven => Err(error),
    }
}

#[cfg(test)]
mod tests;
