//! The servers that are compared, each a process of its own with a directory of its own, which end when
//! they are dropped.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]

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
    command: Command,
    child: Child,
    dir: TempDir,
}

/// What mosquitto writes to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    Off,
    /// As its documentation and Debian's settings have it: all of it every half hour, and at the end.
    Default,
    /// All of it after each turn of its loop in which something changed.
    Forced,
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
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn()?;
        let mut server = Self {
            name,
            address,
            command,
            child,
            dir,
        };
        server.listens()?;
        Ok(server)
    }

    /// Waits until it does.
    fn listens(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                let said = self.said();
                return Err(io::Error::other(format!("it does not listen: {said}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// `kill -9`. What it gave to the kernel stays.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it once more, over what it kept; how long until it listens.
    pub fn start_again(&mut self) -> io::Result<Duration> {
        let begin = Instant::now();
        self.child = self.command.spawn()?;
        self.listens()?;
        Ok(begin.elapsed())
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

/// Debian's mosquitto, with as many in flight to a subscriber as any run has, and without the limit at
/// which it drops what waits. `None` where it is not installed.
pub fn mosquitto(transport: Transport, persistence: Persistence) -> io::Result<Option<Server>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let programs = dirs.map(|dir| dir.join("mosquitto"));
    let Some(program) = programs.into_iter().find(|program| program.exists()) else {
        return Ok(None);
    };
    let start = |dir: &Path, address: SocketAddr| {
        let kept = match persistence {
            Persistence::Off => "persistence false\n".to_owned(),
            _ => format!(
                "persistence true\npersistence_location {}/\n",
                dir.display()
            ),
        };
        let mut config = format!(
            "user root\n{kept}log_type none\nallow_anonymous true\n\
             max_inflight_messages 1000\nmax_queued_messages 0\nset_tcp_nodelay true\n\
             listener {} {}\n",
            address.port(),
            address.ip()
        );
        if persistence == Persistence::Forced {
            config += "autosave_on_changes true\nautosave_interval 1\n";
        }
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
    let name = match persistence {
        Persistence::Off => "mosquitto",
        Persistence::Default => "mosquitto, default",
        Persistence::Forced => "mosquitto, forced",
    };
    Server::start(name, start).map(Some)
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
