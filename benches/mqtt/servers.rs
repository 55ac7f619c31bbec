//! The servers that are compared, each a process of its own with a directory of its own, which end when
//! they are dropped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::wire::Transport;

/// Longest wait for a server's start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Server {
    fn start(
        name: &'static str,
        make: impl FnOnce(&Path, SocketAddr) -> io::Result<Command>,
    ) -> io::Result<Self> {
        // Beside what is built: a temporary directory may be in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let address = free_port()?;
        let log = File::create(dir.path().join("said"))?;
        let mut command = make(dir.path(), address)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut server = Self {
            name,
            address,
            child,
            dir,
        };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                let said = server.said();
                return Err(io::Error::other(format!("it does not listen: {said}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    pub fn said(&self) -> String {
        let said = fs::read_to_string(self.dir.path().join("said")).unwrap_or_default();
        said.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens on. Another process could take it before the server does, which
/// would then say so.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Debian's mosquitto, without persistence, with as many in flight to a subscriber as any run has, and
/// without the limit at which it drops what waits. `None` where it is not installed.
pub fn mosquitto(transport: Transport) -> io::Result<Option<Server>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let programs = dirs.map(|dir| dir.join("mosquitto"));
    let Some(program) = programs.into_iter().find(|program| program.exists()) else {
        return Ok(None);
    };
    let start = |dir: &Path, address: SocketAddr| {
        let mut config = format!(
            "user root\npersistence false\nlog_type none\nallow_anonymous true\n\
             max_inflight_messages 1000\nmax_queued_messages 0\nset_tcp_nodelay true\n\
             listener {} {}\n",
            address.port(),
            address.ip()
        );
        if transport == Transport::Tls {
            let (certificate, key) = (dir.join("server.pem"), dir.join("server.key"));
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
            let made = made.map_err(io::Error::other)?;
            fs::write(&certificate, made.cert.pem())?;
            fs::write(&key, made.signing_key.serialize_pem())?;
            config += &format!(
                "certfile {}\nkeyfile {}\n",
                certificate.display(),
                key.display()
            );
        }
        let file = dir.join("mosquitto.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        Ok(command)
    };
    Server::start("mosquitto", start).map(Some)
}

/// rumqttd in a process of its own (`benches/rumqttd`), which `.ci/build-peers` builds. `None` where it
/// is not built.
pub fn rumqttd() -> io::Result<Option<Server>> {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rumqttd/target/release/rumqttd-peer");
    if !program.exists() {
        return Ok(None);
    }
    let start = |_: &Path, address: SocketAddr| {
        let mut command = Command::new(program);
        command.arg(address.to_string());
        Ok(command)
    };
    Server::start("rumqttd", start).map(Some)
}

/// `edge daemon` as a device runs it: everything that is acknowledged is on the disk. Its open topics
/// are open to everybody.
pub fn edge(transport: Transport) -> io::Result<Server> {
    let tls = transport == Transport::Tls;
    Server::start("edge", |dir, address| {
        let settings = format!(
            "[mqtt]\nlisten = \"off\"\n[amqp]\nlisten = \"off\"\n[https]\nlisten = \"off\"\n\
             [topics]\nlisten = \"{address}\"\ntls = {tls}\nanonymous = true\n\
             [[topics.rules]]\nidentity = \"$anonymous\"\npublish = [\"#\"]\nsubscribe = [\"#\"]\n"
        );
        let config = dir.join("config.toml");
        fs::write(&config, settings)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
        command
            .args(["daemon", "--config"])
            .arg(config)
            .arg("--data")
            .arg(dir.join("data"))
            .env("EDGE_CACHE_DIR", dir.join("cache"))
            .env_remove("EDGE_LOG");
        Ok(command)
    })
}
