//! A GET over `wasi:http`.

use std::fmt;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::{InputStream, StreamError};

/// Largest answer taken, in bytes: what a message can carry, less some room for its properties.
const LARGEST: usize = 255 << 10;
/// Bytes asked for at once.
const CHUNK: u64 = 16 << 10;

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

pub enum Error {
    /// The URL cannot be asked for; why.
    Invalid(&'static str),
    /// The deployment does not allow this host.
    Denied,
    /// No connection, or it broke.
    Connection(String),
    /// More than [`LARGEST`].
    TooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => write!(f, "{reason}"),
            Self::Denied => write!(f, "this host is not among the module's grants"),
            Self::Connection(reason) => write!(f, "{reason}"),
            Self::TooLarge => write!(f, "the answer is larger than {LARGEST} bytes"),
        }
    }
}

pub fn get(url: &str) -> Result<Answer, Error> {
    let request = request(url)?;
    let pending = outgoing_handler::handle(request, None).map_err(from_code)?;
    pending.subscribe().block();
    let response = pending
        .get()
        .ok_or_else(|| lost("no answer after it was ready"))?
        .map_err(|()| lost("the answer was taken before"))?
        .map_err(from_code)?;
    let incoming = response
        .consume()
        .map_err(|()| lost("the body was taken before"))?;
    // The stream is a child of the body, and must go first.
    let body = {
        let stream = incoming
            .stream()
            .map_err(|()| lost("the body was read before"))?;
        read(&stream)?
    };
    drop(IncomingBody::finish(incoming));
    Ok(Answer {
        status: response.status(),
        body,
    })
}

fn request(url: &str) -> Result<OutgoingRequest, Error> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(Error::Invalid("not an http:// or https:// URL")),
    };
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) if rest.as_bytes()[at] == b'/' => (&rest[..at], rest[at..].to_owned()),
        Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
        None => (rest, "/".to_owned()),
    };
    let request = OutgoingRequest::new(Fields::new());
    let bad = |what| move |()| Error::Invalid(what);
    request
        .set_scheme(Some(&scheme))
        .map_err(bad("bad scheme"))?;
    request
        .set_authority(Some(authority))
        .map_err(bad("bad host"))?;
    request
        .set_path_with_query(Some(&path))
        .map_err(bad("bad path"))?;
    Ok(request)
}

fn read(stream: &InputStream) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(CHUNK) {
            Ok(chunk) => body.extend(chunk),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(Error::Connection(error.to_debug_string()));
            }
        }
        if body.len() > LARGEST {
            return Err(Error::TooLarge);
        }
    }
}

fn from_code(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied,
        ErrorCode::HttpRequestUriInvalid => Error::Invalid("bad URL"),
        other => Error::Connection(other.to_string()),
    }
}

/// A host that breaks the rules of `wasi:http`.
fn lost(what: &str) -> Error {
    Error::Connection(what.to_owned())
}
