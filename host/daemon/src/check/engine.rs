//! The container engine.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Facts, Outcome};

/// An engine has this long to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const ANSWER: usize = 1 << 20;

/// What an engine says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engine {
    /// Its name and version.
    pub(crate) version: String,
    /// The version of its API.
    pub(crate) api: String,
    /// The modules' network, if it has been made.
    pub(crate) network: Option<Value>,
}

/// Asks an engine.
pub(crate) async fn ask(socket: &Path, network: &str) -> Result<Engine, String> {
    let version = get(socket, "/version").await?;
    let version = version.ok_or("it knows no call /version: is it an engine with Docker's API?")?;
    let text = |name: &str| version[name].as_str().unwrap_or("unknown").to_owned();
    let platform = version["Platform"]["Name"]
        .as_str()
        .filter(|name| !name.is_empty());
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let network = match network.chars().all(known) {
        true => get(socket, &format!("/networks/{network}")).await?,
        false => None,
    };
    Ok(Engine {
        version: format!("{} {}", platform.unwrap_or("engine"), text("Version")),
        api: text("ApiVersion"),
        network,
    })
}

/// What is there; `None`: it is not.
async fn get(socket: &Path, path: &str) -> Result<Option<Value>, String> {
    let exchange = async {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = Request::get(path)
            .header(http::header::HOST, "engine")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| error.to_string())?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                status => return Err(format!("{path} was answered with {status}")),
            }
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| error.to_string())
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => match ended {
                // All of the answer has come with the end.
                Ok(()) => answer.await,
                Err(error) => Err(error.to_string()),
            },
        }
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(done) => done,
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}

pub(super) fn answers(facts: &Facts) -> Outcome {
    let Some(socket) = &facts.settings.containers.socket else {
        return Outcome::skipped("[containers] socket is off: no containers run here");
    };
    match &facts.engine {
        Some(Ok(engine)) => Outcome::ok(format!("{}, API {}", engine.version, engine.api)),
        Some(Err(why)) => {
            let detail = format!("{} is not answered: {why}", socket.display());
            let next = "start the engine (`systemctl start docker`), correct [containers] socket, or set it to \"off\"; the daemon's user needs access to the socket";
            match facts.has_containers() {
                true => Outcome::error(detail, next),
                // A device without containers needs none.
                false => Outcome::warning(detail, next),
            }
        }
        None => Outcome::skipped("the settings cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn an_engine_is_asked_for_its_version_and_network() {
        let dir = tempfile::tempdir().expect("dir");
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).expect("bind");
        let serve = async {
            for (status, body) in [
                (
                    "200 OK",
                    r#"{"Version":"28.1","ApiVersion":"1.49","Platform":{"Name":"Docker"}}"#,
                ),
                ("404 Not Found", "{}"),
            ] {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.expect("read"));
                }
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.expect("write");
            }
        };
        let (engine, ()) = tokio::join!(ask(&socket, "azure-iot-edge"), serve);
        let engine = engine.expect("it answers");
        assert_eq!(
            (engine.version.as_str(), engine.api.as_str()),
            ("Docker 28.1", "1.49")
        );
        assert_eq!(engine.network, None);
    }

    #[tokio::test]
    async fn no_engine_is_said() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(ask(&dir.path().join("none.sock"), "n").await.is_err());
    }
}
