use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Reads a request with a body of `body` bytes, answers, and gives the request.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    body: &str,
    answer: &str,
) -> String {
    let mut request = Vec::new();
    while !request.ends_with(body.as_bytes()) {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.expect("read");
        assert_ne!(count, 0, "the request ended early");
        request.extend_from_slice(&chunk[..count]);
    }
    stream.write_all(answer.as_bytes()).await.expect("write");
    stream.shutdown().await.expect("shut down");
    String::from_utf8(request).expect("text")
}

fn upload(to: Destination) -> Upload {
    Upload {
        to,
        media_type: "text/plain",
        body: Bytes::from_static(b"lines of a log"),
    }
}

const CREATED: &str = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_signed_address_gets_the_file_with_its_query_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("address");
    let to = Destination::new(&format!("http://{at}/box?sv=1&sr=c&sig=a%2Fb%3D")).expect("right");
    let served = async {
        let (stream, _) = listener.accept().await.expect("accept");
        serve(stream, "lines of a log", CREATED).await
    };
    let uploader = Uploader::trusting(RootCertStore::empty());
    let put = uploader.put(upload(to.file("hub/dev ice/cam.log", true)));
    let (request, put) = tokio::join!(served, put);
    put.expect("it was taken");
    let line = "PUT /box/hub/dev%20ice/cam.log?sv=1&sr=c&sig=a%2Fb%3D HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    assert!(
        request.contains("x-ms-blob-type: BlockBlob\r\n"),
        "{request}"
    );
    assert!(request.contains("content-length: 14\r\n"), "{request}");
}

#[tokio::test]
async fn a_refusal_tells_the_status_and_no_signature() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("address");
    let to = Destination::new(&format!("http://{at}/f.log?sig=verysecret")).expect("right");
    let served = async {
        let (stream, _) = listener.accept().await.expect("accept");
        let answer =
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 24\r\n\r\nwrong sig=verysecret   \n";
        serve(stream, "lines of a log", answer).await
    };
    let uploader = Uploader::trusting(RootCertStore::empty());
    let (_, put) = tokio::join!(served, uploader.put(upload(to.file("x", true))));
    let error = put.expect_err("it was refused").to_string();
    assert!(error.contains("403 Forbidden: wrong sig="), "{error}");
    assert!(!error.contains("verysecret"), "{error}");
    assert!(!format!("{to:?}").contains("verysecret"));
}

#[tokio::test]
async fn tls_is_spoken_with_servers_that_are_trusted_and_no_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("address");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let to = Destination::new(&format!("https://localhost:{}/f.log", at.port())).expect("right");

    let served = async {
        let (stream, _) = listener.accept().await.expect("accept");
        acceptor.accept(stream).await.map(drop)
    };
    let stranger = Uploader::trusting(RootCertStore::empty());
    let (_, put) = tokio::join!(served, stranger.put(upload(to.clone())));
    let error = put.expect_err("nobody vouches for it").to_string();
    assert!(error.contains("TLS"), "{error}");

    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("root");
    let served = async {
        let (stream, _) = listener.accept().await.expect("accept");
        let stream = acceptor.accept(stream).await.expect("TLS");
        serve(stream, "lines of a log", CREATED).await
    };
    let uploader = Uploader::trusting(roots);
    let (request, put) = tokio::join!(served, uploader.put(upload(to)));
    put.expect("it was taken");
    assert!(request.starts_with("PUT /f.log HTTP/1.1\r\n"), "{request}");
}

#[test]
fn addresses_that_cannot_be_used_are_refused_without_being_repeated() {
    for bad in [
        "",
        "ftp://h/x?sig=secret",
        "/x",
        "https:///x",
        "http://u:secret@h/x",
        "not an address",
    ] {
        let error = Destination::new(bad).expect_err("no address").to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn several_files_get_names_of_their_own_under_any_address() {
    let to = Destination::new("https://h/logs?a=b").expect("right");
    assert_eq!(to.file("x.log", true).uri, "https://h/logs?a=b");
    assert_eq!(to.file("x.log", false).uri, "https://h/logs/x.log?a=b");
    let folder = Destination::new("https://h/logs/").expect("right");
    assert_eq!(folder.file("x.log", true).uri, "https://h/logs/x.log");
}
