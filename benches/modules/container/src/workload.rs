//! The two calls of the workload API that a module needs: whom to trust, and a signature for its token.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::environment::Environment;

/// Seconds for which a token holds: longer than any run.
const LIFETIME: u64 = 86_400;

/// The certificates that the hub's leads to, in PEM.
///
/// # Errors
/// The daemon does not answer, or says no.
pub fn trust_bundle(of: &Environment) -> io::Result<String> {
    let answer = call(of, "GET", "/trust-bundle?api-version=2020-07-07", "")?;
    text(&answer, "certificate")
}

/// A SAS token of this module.
///
/// # Errors
/// The daemon does not answer, or says no.
pub fn token(of: &Environment) -> io::Result<String> {
    let (hub, device, module) = (&of.hub, &of.device, &of.module);
    let resource = format!("{hub}%2Fdevices%2F{device}%2Fmodules%2F{module}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let expiry = now.map_err(io::Error::other)?.as_secs() + LIFETIME;
    let data = STANDARD.encode(format!("{resource}\n{expiry}"));
    let path = format!(
        "/modules/{module}/genid/{}/sign?api-version=2020-07-07",
        of.generation
    );
    let body = format!(r#"{{"keyId":"primary","algo":"HMACSHA256","data":"{data}"}}"#);
    let signature = text(&call(of, "POST", &path, &body)?, "digest")?;
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    Ok(format!(
        "SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
    ))
}

fn call(of: &Environment, method: &str, path: &str, body: &str) -> io::Result<Value> {
    let path_of_socket = of.workload.strip_prefix("unix://");
    let socket = path_of_socket.ok_or_else(|| io::Error::other("the workload URI is no socket"))?;
    let mut stream = UnixStream::connect(socket)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: workload\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 20") {
        return Err(io::Error::other(format!("{method} {path}: {answer}")));
    }
    serde_json::from_str(body).map_err(io::Error::other)
}

fn text(answer: &Value, name: &str) -> io::Result<String> {
    let found = answer[name].as_str().map(str::to_owned);
    found.ok_or_else(|| io::Error::other(format!("no {name} in the answer")))
}
