//! What a module reaches beyond the hub is what it was granted: folders and hosts.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::json;
use tempfile::tempdir;

use crate::support::{Edge, run, sample};

fn files(dir: &Path, mode: &str) -> Edge {
    run(sample("files"))
        .arg("--grant")
        .arg(format!("dir={}:/data{mode}", dir.display()))
}

#[test]
fn a_granted_folder_is_listed() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("b.txt"), "four").unwrap();
    fs::write(dir.path().join("a.txt"), "").unwrap();
    let bodies = [
        json!({"name": "a.txt", "size": 0}),
        json!({"name": "b.txt", "size": 4}),
    ];
    files(dir.path(), "")
        .args("--body x")
        .output("")
        .code(0)
        .silent()
        .prints(bodies);
}

#[test]
fn without_a_grant_there_are_no_folders() {
    let output = run(sample("files"))
        .args("--body x --property dir=/")
        .output("");
    output.code(1).says("rejected at files/input1: list /: ");
    let passwd = run(sample("misbehave")).args("--grant state --body x --property do=read-file");
    passwd
        .output("")
        .code(1)
        .says("rejected at misbehave/input1: read /etc/passwd: ")
        .prints_nothing();
}

#[test]
fn a_folder_granted_for_reading_is_not_written_to() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("old"), "old").unwrap();
    for mode in ["", ":ro"] {
        for name in ["new", "old"] {
            let write = files(dir.path(), mode).property("write", &format!("/data/{name}"));
            write
                .args("--body x")
                .output("")
                .code(1)
                .says(&format!("write /data/{name}: "));
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(dir.path().join("old")).unwrap(), "old");
}

#[test]
fn a_folder_granted_for_writing_is() {
    let dir = tempdir().unwrap();
    let write = files(dir.path(), ":rw").args("--property write=/data/new --body text");
    write.output("").code(0).silent();
    assert_eq!(fs::read_to_string(dir.path().join("new")).unwrap(), "text");
}

#[test]
fn nothing_outside_of_a_granted_folder_is_reached() {
    let dir = tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    std::os::unix::fs::symlink("../outside", inside.join("near")).unwrap();
    std::os::unix::fs::symlink("/", inside.join("root")).unwrap();
    for path in [
        "/data/link",
        "/data/near",
        "/data/root",
        "/data/..",
        "/data/../outside",
        "/data/link/../outside",
    ] {
        let output = files(&inside, ":rw")
            .property("dir", path)
            .args("--body x")
            .output("");
        output
            .code(1)
            .prints_nothing()
            .says(&format!("list {path}: "));
    }
    for path in [
        "/data/link/new",
        "/data/../new",
        "/data/near/secret",
        "/new",
    ] {
        let output = files(&inside, ":rw")
            .property("write", path)
            .args("--body x")
            .output("");
        output.code(1).says(&format!("write {path}: "));
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(
        fs::read_to_string(outside.join("secret")).unwrap(),
        "secret"
    );
}

#[test]
fn a_granted_folder_that_is_not_there_is_told_before_anything_starts() {
    let dir = tempdir().unwrap();
    let output = files(&dir.path().join("gone"), "")
        .args("--body x")
        .output("");
    output.refused().says("gone").says("files");
}

/// A server that answers every request alike, for as long as the test runs.
fn serve(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                request.extend_from_slice(&byte);
            }
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
            let _ = write!(stream, "{head} {}\r\n\r\n{answer}", answer.len());
        }
    });
    address
}

fn fetch(grant: &str, url: &str) -> crate::support::Output {
    let fetch = run(sample("fetch"))
        .arg("--grant")
        .arg(format!("http={grant}"));
    fetch
        .property("url", url)
        .args("--body x --drain 1s")
        .output("")
}

#[test]
fn a_granted_host_is_asked() {
    let server = serve("{\"ok\":true}");
    let output = fetch(
        &format!("http://{server}"),
        &format!("http://{server}/path?q=1"),
    )
    .code(0);
    assert_eq!(
        output.lines()[0]["properties"],
        json!({"status": "200"}),
        "{output:#?}"
    );
    output.silent().prints([json!({"ok": true})]);
}

#[test]
fn another_port_name_or_scheme_is_refused_and_told() {
    let (granted, other) = (serve("granted"), serve("other"));
    let grant = format!("http://{granted}");
    let urls = [
        format!("http://{other}/"),
        format!("http://localhost:{}/", granted.port()),
        format!("https://{granted}/"),
        "http://127.0.0.1/".to_owned(),
        format!("http://{granted}@{other}/"),
    ];
    for url in urls {
        let output = fetch(&grant, &url).code(1).prints_nothing();
        assert!(
            output.err.contains("rejected at fetch/input1: "),
            "{url}: {output:#?}"
        );
    }
    let output = fetch(&grant, &format!("http://{other}/"));
    output.says("module fetch is not granted that origin");
}

#[test]
fn a_server_that_is_not_there_is_tried_again_until_the_end() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = fetch(&format!("http://{gone}"), &format!("http://{gone}/")).code(1);
    output
        .says("left unhandled: 1 message for fetch/input1")
        .prints_nothing();
}

#[test]
fn a_grant_that_is_no_origin_is_refused() {
    for grant in [
        "127.0.0.1:80",
        "http://",
        "ftp://host",
        "http://host/path",
        "http://user@host",
    ] {
        let output = fetch(grant, "http://127.0.0.1/").code(2).prints_nothing();
        assert!(output.err.contains("origin"), "{grant}: {output:#?}");
    }
}
