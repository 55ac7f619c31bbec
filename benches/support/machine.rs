//! What a run was made on: the machine, and the versions of what took part.

use std::fs;
use std::process::Command;

/// Names and values, in the order in which they are shown.
#[derive(Debug)]
pub struct Machine(pub Vec<(&'static str, String)>);

impl Machine {
    /// Asks the system; what is not there is said to be.
    pub fn look() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"));
        let kib: Option<u64> = memory.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split(' ').take(3).collect();
        Self(vec![
            ("processor", model.unwrap_or_else(|| "not known".to_owned())),
            ("cores", cores.to_string()),
            (
                "memory",
                kib.map_or_else(
                    || "not known".to_owned(),
                    |kib| format!("{} MiB", kib >> 10),
                ),
            ),
            ("kernel", first_line("uname", &["-srm"])),
            ("load average (1, 5, 15 min)", load.join(" ")),
            (
                "edge",
                format!(
                    "{}, commit {}",
                    env!("CARGO_PKG_VERSION"),
                    first_line("git", &["rev-parse", "--short=12", "HEAD"])
                ),
            ),
            ("rustc", first_line("rustc", &["--version"])),
            ("wasmtime", locked("wasmtime")),
            ("docker", first_line("dockerd", &["--version"])),
            ("containerd", first_line("containerd", &["--version"])),
            ("mosquitto", mosquitto()),
        ])
    }

    /// The same for a line of JSON.
    pub fn facts(&self) -> serde_json::Value {
        let facts = self.0.iter();
        facts
            .map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(value.as_str())))
            .collect()
    }
}

fn first_line(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let text = output
        .ok()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text
        .as_deref()
        .and_then(|text| text.lines().next())
        .map(str::trim);
    line.filter(|line| !line.is_empty())
        .unwrap_or("not there")
        .to_owned()
}

/// It says its version with its help, which it ends with an error for.
fn mosquitto() -> String {
    let line = first_line("mosquitto", &["-h"]);
    match line.as_str() {
        "not there" => first_line("/usr/sbin/mosquitto", &["-h"]),
        _ => line,
    }
}

/// The version of a package that this was built with.
fn locked(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = lock
        .split_once(name.as_str())
        .and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("not known").to_owned()
}
