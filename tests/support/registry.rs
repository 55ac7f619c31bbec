//! A registry of one test: Debian's docker-registry on a port of its own, with everything that it keeps in a
//! temporary directory. Knows nothing else of the support, so that tests of crates can use it as well.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses a part of this"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// Who may, where not everybody may.
pub const USER: &str = "device";
/// Their password.
pub const PASSWORD: &str = "secret";
/// Both, as `htpasswd -B` writes them: the registry takes nothing but bcrypt.
const HTPASSWD: &str = "device:$2y$05$4XFIXKAcVqJnJPX2bBfuAebe3So6HPPxQT/cob/hK61Ljp1QHMqIe\n";

/// How a registry is protected.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// It asks for [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// Certificate and key, in PEM.
    pub tls: Option<(String, String)>,
}

/// A running registry. Killed when it is dropped.
#[derive(Debug)]
pub struct Registry {
    dir: TempDir,
    protection: Protection,
    address: String,
    process: Option<Child>,
}

impl Registry {
    /// Everybody may, without TLS.
    pub fn start() -> Self {
        Self::protected(Protection::default())
    }

    /// Only [`USER`] may, without TLS.
    pub fn with_password() -> Self {
        Self::protected(Protection {
            password: true,
            ..Protection::default()
        })
    }

    /// A fresh registry.
    pub fn protected(protection: Protection) -> Self {
        let mut registry = Self {
            dir: tempfile::tempdir().unwrap(),
            protection,
            address: "127.0.0.1:0".to_owned(),
            process: None,
        };
        registry.again();
        registry
    }

    /// Starts it again at the same address, with what it kept.
    ///
    /// # Panics
    /// It does not come up.
    pub fn again(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n",
            at("data")
        );
        if self.protection.password {
            fs::write(at("htpasswd"), HTPASSWD).unwrap();
            config += &format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                at("htpasswd")
            );
        }
        config += &format!("http:\n  addr: {}\n", self.address);
        if let Some((certificate, key)) = &self.protection.tls {
            fs::write(at("tls.crt"), certificate).unwrap();
            fs::write(at("tls.key"), key).unwrap();
            config += &format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                at("tls.crt"),
                at("tls.key")
            );
        }
        fs::write(at("config.yml"), config).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = process.expect("docker-registry: .ci/install");
        let lines = BufReader::new(process.stderr.take().unwrap());
        self.process = Some(process);
        let (tell, told) = mpsc::channel();
        // It stops when nobody reads what it says.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut said = Vec::new();
        loop {
            match told.recv_timeout(Duration::from_secs(30)) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once("listening on ") {
                        let end = rest.find(['"', ',']).unwrap_or(rest.len());
                        self.address = rest[..end].to_owned();
                        return;
                    }
                    said.push(line);
                }
                Err(error) => panic!("docker-registry does not come up ({error}): {said:#?}"),
            }
        }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The file in which it keeps what has this digest (`sha256:…`).
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Flips a bit in what has this digest, somewhere in its middle.
    pub fn tamper(&self, digest: &str) {
        let path = self.blob(digest);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}
