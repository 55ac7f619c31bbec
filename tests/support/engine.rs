//! A container engine of one test: dockerd in namespaces of its own (network, mounts, processes), with
//! everything that it keeps in a temporary directory.
//!
//! ```text
//!   test ──► unshare ──► dockerd (process 1 there) ──► containerd ──► containers
//!               └── killed: all of that ends
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::{Daemon, Manifest, PATIENCE, namespace};

/// The image that tests run: a busybox and nothing else.
pub const IMAGE: &str = "edge-test:1";

/// The engine on the bridges of a network of its own: no rules of a firewall are needed there. What it keeps may
/// be on a disk of its own size.
const ENTER: &str = r#"ip link set lo up && { [ -z "$1" ] || mount -t tmpfs -o size="$1" tmpfs "$2"; } &&
    shift 2 && exec "$@""#;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Docker,
    /// Its service, which has Docker's API.
    Podman,
}

/// A running engine. Killed with all its containers when it is dropped.
pub struct Engine {
    dir: TempDir,
    room: Option<&'static str>,
    kind: Kind,
    process: Option<Child>,
}

impl Engine {
    /// A fresh engine that has [`IMAGE`].
    pub fn start() -> Self {
        Self::made(Kind::Docker, None)
    }

    /// Podman in place of Docker.
    pub fn podman() -> Self {
        Self::made(Kind::Podman, None)
    }

    /// One whose disk has so much room (`24m`), which is empty after each start.
    pub fn with_room(room: &'static str) -> Self {
        Self::made(Kind::Docker, Some(room))
    }

    fn made(kind: Kind, room: Option<&'static str>) -> Self {
        let mut engine = Self {
            dir: tempdir().unwrap(),
            room,
            kind,
            process: None,
        };
        engine.again();
        engine.import(IMAGE);
        engine
    }

    /// Starts it again, with what it kept.
    ///
    /// # Panics
    /// It does not come up.
    pub fn again(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        // What one that was killed leaves behind.
        let _ = fs::remove_dir_all(at("exec"));
        let _ = fs::remove_file(at("pid"));
        let log = fs::File::create(at("log")).unwrap();
        fs::create_dir_all(at("data")).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--mount-proc", "--fork"])
            // In namespaces of the test the engine shares its network, where daemon and registry are.
            .args((!namespace::inside()).then_some("--net"))
            .args(["--kill-child", "sh", "-c", ENTER, "sh"])
            .arg(self.room.unwrap_or_default())
            .arg(at("data"))
            .args(self.words())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = command.spawn();
        self.process = Some(process.expect("unshare, of util-linux: .ci/install"));
        let until = Instant::now() + PATIENCE;
        while !self
            .command(&["version"])
            .output()
            .unwrap()
            .status
            .success()
        {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            if ended.is_some() || Instant::now() > until {
                let log = fs::read_to_string(at("log")).unwrap();
                panic!(
                    "the engine does not come up (it needs root, and docker.io: .ci/install):\n{log}"
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its command line.
    fn words(&self) -> Vec<String> {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let socket = format!("unix://{}", self.socket().display());
        let (data, exec, pid) = (at("data"), at("exec"), at("pid"));
        let words: &[&str] = match self.kind {
            Kind::Docker => &[
                "dockerd",
                "--max-download-attempts=1",
                "--iptables=false",
                "--bridge=none",
                "--ip-forward=false",
                "--data-root",
                &data,
                "--exec-root",
                &exec,
                "--pidfile",
                &pid,
                "--host",
                &socket,
            ],
            // Docker's own runtime: crun refuses machines that mix both versions of control groups.
            Kind::Podman => &[
                "podman",
                "--storage-driver=vfs",
                "--cgroup-manager=cgroupfs",
                "--runtime",
                "/usr/sbin/runc",
                "--root",
                &data,
                "--runroot",
                &exec,
                "system",
                "service",
                "--time=0",
                &socket,
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Ends it and its containers at once.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The process that everything of it comes from: itself, its helpers and all containers.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Where images and containers lie.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Settings of a daemon that uses it.
    pub fn settings(&self, more: &str) -> String {
        format!(
            "[containers]\nsocket = \"unix://{}\"\n{more}\n",
            self.socket().display()
        )
    }

    /// A daemon that uses it.
    pub fn daemon(&self) -> Daemon {
        Daemon::with(&self.settings(""))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(words)
            .env("DOCKER_CONFIG", self.dir.path());
        command
    }

    /// What `docker` prints.
    #[track_caller]
    pub fn docker(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What the engine knows of a container.
    #[track_caller]
    pub fn inspect(&self, container: &str) -> Value {
        let all: Value = serde_json::from_str(&self.docker(&["inspect", container])).unwrap();
        all[0].clone()
    }

    /// Names of all containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        let names = self.docker(&["ps", "--all", "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// Makes an image of a static busybox, and gives its id.
    pub fn import(&self, name: &str) -> String {
        let root = self.dir.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("tmp")).unwrap();
        let busybox = fs::read("/bin/busybox").expect("busybox-static: .ci/install");
        fs::write(root.join("bin/busybox"), busybox).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("bin/busybox"), mode).unwrap();
        for tool in ["sh", "sleep", "touch", "env", "test", "echo", "false"] {
            let link = root.join("bin").join(tool);
            if !link.is_symlink() {
                std::os::unix::fs::symlink("busybox", link).unwrap();
            }
        }
        // Another image each time.
        fs::write(root.join("tmp/name"), name).unwrap();
        self.import_folder(&root, name)
    }

    /// Makes an image of a folder, and gives its id.
    pub fn import_folder(&self, root: &Path, name: &str) -> String {
        let tar = self.dir.path().join("root.tar");
        let made = Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status();
        assert!(made.unwrap().success());
        self.docker(&["import", tar.to_str().unwrap(), name])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Their control groups go with them; an engine that is gone has none.
        if let Ok(all) = self.command(&["ps", "--all", "--quiet"]).output() {
            let all = String::from_utf8_lossy(&all.stdout).into_owned();
            let all: Vec<_> = all.lines().collect();
            if !all.is_empty() {
                let _ = self.command(&["rm", "--force"]).args(all).output();
            }
        }
        self.kill();
    }
}

/// A manifest with a container that runs a script.
pub fn container(name: &str, script: &str) -> Manifest {
    with_options(name, serde_json::json!({"Cmd": ["/bin/sh", "-c", script]}))
}

/// A manifest with a container of these `createOptions`.
pub fn with_options(name: &str, options: Value) -> Manifest {
    Manifest::new().container(name, IMAGE, options)
}

/// A module, as `edge list` shows it.
#[track_caller]
pub fn module(daemon: &Daemon, name: &str) -> Value {
    let list = daemon.json("list");
    let modules = list["modules"].as_array().unwrap();
    let found = modules.iter().find(|module| module["name"] == name);
    found.cloned().unwrap_or_default()
}

/// Waits until a module has this status.
#[track_caller]
pub fn becomes(daemon: &Daemon, name: &str, status: &str) -> Value {
    daemon.eventually(&format!("{name} is {status}"), |daemon| {
        module(daemon, name)["status"] == status
    });
    module(daemon, name)
}

/// Puts a manifest in force that does not come up, and waits until a module says why.
#[track_caller]
pub fn fails(daemon: &Daemon, manifest: &Manifest, name: &str, parts: &[&str]) -> Value {
    let path = manifest.write(daemon.dir());
    let words = format!("apply --no-wait {}", path.display());
    daemon.edge(&words).output("").code(0);
    let why = |daemon: &Daemon| module(daemon, name)["description"].to_string();
    daemon.eventually(&format!("{name} says why it is not there"), |daemon| {
        let why = why(daemon);
        parts.iter().all(|part| why.contains(part))
    });
    module(daemon, name)
}
