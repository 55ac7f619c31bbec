//! The site of all parts (engine, registry, where the compared module is), and a [`World`] for each: a daemon with a
//! source and a sink on it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::edge::engine::Engine;
use super::edge::namespace::{self, GATEWAY};
use super::edge::registry::Registry;
use super::edge::{Daemon, Manifest};
use super::environment::Environment;
use super::load::Ends;
use super::support::Bench;
use super::support::process::{cpu_of, proportional, tree};

/// The device.
pub const DEVICE: &str = "bench";
/// The compared module in the engine, and as a file beside a manifest.
pub const IMAGE: &str = "compared:1";
pub const COMPONENT: &str = "file:compared.wasm";
/// What a container may take, as much as a component: its linear memory has that limit unless it is set.
pub const MEMORY: u64 = 64 << 20;
/// The program's name in a container, as the kernel has it.
const PROGRAM: &str = "module";
/// Longest wait for modules to come up.
const PATIENCE: Duration = Duration::from_secs(300);

/// What runs a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Wasm,
    Container,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "Wasm",
            Self::Container => "container",
        }
    }
}

/// What all parts share.
pub struct Site {
    pub engine: Option<Engine>,
    pub registry: Option<Registry>,
}

impl Site {
    /// Starts an engine that has the image, if one can be had.
    pub fn open(bench: &Bench) -> Self {
        let engine = engine(bench);
        bench.setting("body", format_args!("{} B of JSON", super::load::BODY));
        bench.setting(
            "durability",
            "everything that is acknowledged is on the disk, in both kinds",
        );
        bench.setting("temporary files on", filesystem(&std::env::temp_dir()));
        Self {
            engine,
            registry: None,
        }
    }

    /// Which kinds can be had.
    pub fn kinds(&self) -> &'static [Kind] {
        match self.engine {
            Some(_) => &[Kind::Wasm, Kind::Container],
            None => &[Kind::Wasm],
        }
    }

    /// Takes an image from the engine, so that it has to be pulled.
    pub fn forget(&self, reference: &str) {
        if let Some(engine) = &self.engine {
            for name in [reference, IMAGE] {
                if !engine.docker(&["images", "--quiet", name]).is_empty() {
                    engine.docker(&["rmi", "--force", name]);
                }
            }
        }
    }

    /// Makes the image again for those who come after.
    pub fn remember(&self) -> io::Result<()> {
        self.engine.as_ref().map_or(Ok(()), import)
    }

    /// Removes what a part that failed left on the engine.
    pub fn sweep(&self) {
        if let Some(engine) = &self.engine {
            let all = engine.containers();
            for name in all {
                engine.docker(&["rm", "--force", &name]);
            }
        }
        let _ = self.remember();
    }
}

fn engine(bench: &Bench) -> Option<Engine> {
    let program = program();
    let why = if !namespace::inside() {
        "they need root, for an engine and a network of its own"
    } else if !Path::new("/usr/sbin/dockerd").exists() {
        "dockerd is not there (.ci/install)"
    } else if !program.exists() {
        "the program for containers is not built (.ci/build-samples)"
    } else {
        let engine = Engine::start();
        match import(&engine) {
            Ok(()) => return Some(engine),
            Err(error) => {
                bench.remark(format_args!("rows with containers are LEFT OUT: {error}"));
                return None;
            }
        }
    };
    bench.remark(format_args!("rows with containers are LEFT OUT: {why}"));
    None
}

/// Makes the image from nothing: one file, and what to run.
fn import(engine: &Engine) -> io::Result<()> {
    let root = tempfile::tempdir()?;
    fs::copy(program(), root.path().join("module"))?;
    let tar = root.path().join("tar");
    let made = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .arg("-cf")
        .arg(&tar)
        .arg("module")
        .status()?;
    if !made.success() {
        return Err(io::Error::other("tar does not make an image"));
    }
    let entry = "ENTRYPOINT [\"/module\"]";
    let tar = tar.display().to_string();
    engine.docker(&["import", "--change", entry, &tar, IMAGE]);
    Ok(())
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/modules/target")
}

/// The program for containers.
pub fn program() -> PathBuf {
    let target = format!(
        "{}-unknown-linux-musl/release/compared-container",
        std::env::consts::ARCH
    );
    modules().join(target)
}

/// The component.
pub fn component() -> PathBuf {
    let path = modules().join("wasm32-wasip2/release/compared.wasm");
    if !path.exists() {
        let what = format_args!("{} is not there: run .ci/build-samples", path.display());
        super::support::complain("compare", what);
        std::process::exit(2);
    }
    path
}

fn filesystem(of: &Path) -> String {
    let output = Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(of)
        .output();
    output.map_or_else(
        |_| "not known".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// A daemon, with a source and a sink connected to it. Its containers go when it is dropped.
pub struct World {
    pub daemon: Daemon,
    pub address: SocketAddr,
    pid: u32,
    engine: Option<(u32, PathBuf)>,
    deployed: usize,
}

impl World {
    /// A fresh daemon.
    pub fn new(site: &Site) -> io::Result<Self> {
        let address = match namespace::inside() {
            true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8883)),
            false => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?,
        };
        let host = if namespace::inside() {
            GATEWAY
        } else {
            "localhost"
        };
        let settings = format!(
            "[device]\nname = \"{DEVICE}\"\nhostname = \"{host}\"\n[mqtt]\nlisten = \"{address}\"\n"
        );
        let (mut daemon, engine) = match &site.engine {
            Some(engine) => (
                Daemon::with(&engine.settings(&settings)),
                engine.pid().map(|pid| (pid, engine.socket())),
            ),
            None => (
                Daemon::with(&format!("{settings}[containers]\nsocket = \"off\"\n")),
                None,
            ),
        };
        fs::copy(component(), daemon.dir().join("compared.wasm"))?;
        for name in ["source", "sink"] {
            let words = format!("identity add {DEVICE}/{name}");
            daemon.edge(&words).output("").code(0);
        }
        let pid = daemon.running().id();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        Ok(Self {
            daemon,
            address,
            pid,
            engine,
            deployed: 0,
        })
    }

    /// Source and sink, connected.
    pub fn ends(&self) -> io::Result<Ends> {
        Ends::open(
            self.address,
            &self.environment("source")?,
            &self.environment("sink")?,
        )
    }

    fn environment(&self, name: &str) -> io::Result<Environment> {
        let printed = self
            .daemon
            .edge(&format!("identity env {name}"))
            .output("")
            .code(0)
            .out;
        Environment::read(|name| {
            let line = printed
                .lines()
                .find_map(|line| line.split_once(&format!("{name}=")));
            line.map(|(_, value)| value.trim_matches('\'').to_owned())
        })
    }

    /// Puts a manifest in force, and does not wait: the call has been answered.
    pub fn put(&self, manifest: &Manifest) -> io::Result<()> {
        put(
            &self.daemon.socket(),
            &request(manifest, self.daemon.dir())?,
        )
    }

    /// Puts a manifest in force and waits until so many modules run.
    pub fn apply(&mut self, manifest: &Manifest, modules: usize) -> io::Result<()> {
        self.deployed = modules;
        self.put(manifest)?;
        self.wait("all modules run", |world| {
            let list = world.daemon.json("list");
            let found = list["modules"].as_array().map_or(&[][..], Vec::as_slice);
            let run = found
                .iter()
                .filter(|module| module["status"] == "running")
                .count();
            list["settled"] == true && run == modules
        })
    }

    /// Waits until something holds.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> io::Result<()> {
        let begin = Instant::now();
        while !holds(self) {
            if begin.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "not in time: {what}: {}",
                    self.daemon.json("list")
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// How many messages wait for modules.
    pub fn waiting(&self) -> u64 {
        let queues = self.daemon.json("queues");
        let queues = queues.as_array().map_or(&[][..], Vec::as_slice);
        queues
            .iter()
            .filter_map(|queue| queue["depth"].as_u64())
            .sum()
    }

    /// What all of this takes now.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.daemon.add(self.pid);
        for (pid, name) in self.engine.iter().flat_map(|(pid, _)| tree(*pid)) {
            match name.as_str() {
                PROGRAM => usage.containers.add(pid),
                name if name.starts_with("containerd-shim") => usage.shims.add(pid),
                _ => usage.engine.add(pid),
            }
        }
        usage
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Containers run on without their daemon.
        if let Some((_, socket)) = &self.engine {
            let docker = |words: &[&str]| {
                let host = format!("unix://{}", socket.display());
                Command::new("docker")
                    .args(["--host", &host])
                    .args(words)
                    .output()
            };
            self.daemon.running().kill_now();
            let Ok(all) = docker(&["ps", "--all", "--quiet"]) else {
                return;
            };
            let all = String::from_utf8_lossy(&all.stdout).into_owned();
            let all: Vec<&str> = all.lines().collect();
            if !all.is_empty() {
                let _ = docker(&[&["rm", "--force"], &all[..]].concat());
            }
        }
    }
}

/// What processes of one sort take.
#[derive(Debug, Default, Clone)]
pub struct Share {
    pids: Vec<u32>,
}

impl Share {
    fn add(&mut self, pid: u32) {
        self.pids.push(pid);
    }

    /// Kilobytes of proportional memory.
    pub fn memory(&self) -> f64 {
        self.pids.iter().map(|pid| proportional(*pid)).sum()
    }

    /// Processor time so far.
    pub fn cpu(&self) -> Duration {
        self.pids.iter().map(|pid| cpu_of(*pid)).sum()
    }
}

/// Processes that take part, by what they are.
#[derive(Debug, Default, Clone)]
pub struct Usage {
    pub daemon: Share,
    pub containers: Share,
    pub shims: Share,
    /// dockerd, containerd, and what they start.
    pub engine: Share,
}

impl Usage {
    pub fn shares(&self) -> [&Share; 4] {
        [&self.daemon, &self.containers, &self.shims, &self.engine]
    }
}

/// The body of the call that puts a manifest in force.
pub fn request(manifest: &Manifest, dir: &Path) -> io::Result<String> {
    let text = fs::read_to_string(manifest.write(dir))?;
    Ok(json!({"name": "compare", "manifest": text, "base": dir}).to_string())
}

/// That call, on the daemon's socket.
pub fn put(socket: &Path, body: &str) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = UnixStream::connect(socket)?;
    let length = body.len();
    write!(
        stream,
        "PUT /v1/deployment HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 20") {
        true => Ok(()),
        false => Err(io::Error::other(answer)),
    }
}

/// Adds the compared module to a manifest, set to some work.
pub fn module(manifest: Manifest, name: &str, kind: Kind, work: &str) -> Manifest {
    let (component, image) = (COMPONENT, IMAGE);
    module_of(manifest, name, kind, work, component, image)
}

/// The same from other places.
pub fn module_of(
    manifest: Manifest,
    name: &str,
    kind: Kind,
    work: &str,
    component: &str,
    image: &str,
) -> Manifest {
    let manifest = match kind {
        Kind::Wasm => manifest.component(name, component, json!({})),
        // It has nothing to put in order, and would wait ten seconds for a signal that process 1 does not get.
        Kind::Container => manifest
            .container(
                name,
                image,
                json!({"StopSignal": "SIGKILL", "HostConfig": {"Memory": MEMORY}}),
            )
            .setting(name, "imagePullPolicy", Value::from("if-absent")),
    };
    manifest.env(name, "work", work)
}

/// Adds the routes from the source through these modules, one after the other, to the sink. The source's output has
/// the name of the first module.
pub fn through(mut manifest: Manifest, modules: &[&str]) -> Manifest {
    let mut from = format!(
        "source/outputs/{}",
        modules.first().copied().unwrap_or("sink")
    );
    for name in modules {
        let route = format!(
            "FROM /messages/modules/{from} INTO BrokeredEndpoint(\"/modules/{name}/inputs/input1\")"
        );
        manifest = manifest.route(&format!("to-{name}"), &route);
        from = format!("{name}/outputs/output1");
    }
    let route = format!(
        "FROM /messages/modules/{from} INTO BrokeredEndpoint(\"/modules/sink/inputs/input1\")"
    );
    manifest.route(
        &format!("from-{}", modules.last().copied().unwrap_or("source")),
        &route,
    )
}
