//! The support bundle: all that helps to understand a device from afar, without secrets, in one `tar.gz`.
//!
//! ```text
//!   README.txt, versions.json, settings.json, check.json
//!   device.json, status.json, queues.json, certificates.json, metrics.txt      of a running daemon
//!   deployments/NNNNNN.json                                                     in force and before
//!   logs/MODULE.log                                                             of a running daemon
//! ```
//!
//! Made by the daemon, for the management API and for `UploadSupportBundle`, or by a command from what is on
//! disk where no daemon runs. It is made in memory: lines of modules are bounded there already. What cannot be
//! had is said in its place; a bundle is for devices on which things fail.

use std::io;
use std::path::Path;
use std::sync::Arc;

use edge_core::Timestamp;
use edge_hub::{Clock as _, SystemClock};
use edge_operate::{Archive, redact};
use serde::Serialize;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::check::{self, Place};
use crate::data_dir::DataDir;
use crate::device::{Device, LogFilter, Record, Store, history, queue_infos};
use crate::settings::Settings;

const README: &str = "\
This is what `edge support-bundle` gathers for those who look after a device.

Values whose names say that they are secret (keys, tokens, passwords, connection strings, credentials), and
whatever looks like a signature or a private key, are replaced by ***. Bodies of messages and twins are not in
here; lines of modules are, as the modules wrote them.

  versions.json      program, machine
  settings.json      the settings as they are in the files
  check.json         what `edge check` says
  device.json        name, ports
  status.json        modules, restarts, causes
  queues.json        what waits for whom
  deployments/       manifests, the newest number is in force
  certificates.json  what the device shows of itself
  metrics.txt        as Prometheus reads them
  logs/              lines of modules
";

/// What is wanted of a bundle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Lines not before this.
    pub(crate) since: Option<Timestamp>,
    /// Lines not after this.
    pub(crate) until: Option<Timestamp>,
    /// Whether lines of modules are in it.
    pub(crate) modules: bool,
}

/// The only way into an archive: nothing gets there with its secrets.
struct Bundle(Archive);

impl Bundle {
    fn new(device: &str, now: Timestamp) -> Self {
        let day = now.to_string();
        let day = day.split('T').next().unwrap_or_default();
        Self(Archive::new(&format!("edge-{device}-{day}"), now))
    }

    fn text(&mut self, path: &str, text: &str) -> io::Result<()> {
        self.0.file(path, redact::text(text).as_bytes())
    }

    fn json(&mut self, path: &str, value: &impl Serialize) -> io::Result<()> {
        let mut value = serde_json::to_value(value)?;
        redact::json(&mut value);
        let mut text = serde_json::to_string_pretty(&value)?;
        text.push('\n');
        self.0.file(path, text.as_bytes())
    }

    /// What could not be had.
    fn missing(&mut self, path: &str, why: &dyn std::fmt::Display) -> io::Result<()> {
        self.text(&format!("{path}.missing"), &format!("{why}\n"))
    }

    /// What is there with or without a daemon.
    fn begin(&mut self, place: &Place, findings: &[check::Finding]) -> io::Result<()> {
        self.text("README.txt", README)?;
        let host = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        self.json(
            "versions.json",
            &json!({
                "edge": env!("CARGO_PKG_VERSION"),
                "system": text(host.sysname()),
                "kernel": text(host.release()),
                "machine": text(host.machine()),
                "data": place.data,
                "config": place.config,
            }),
        )?;
        self.json("check.json", &findings)?;
        self.json("settings.json", &settings(place.config.as_deref()))
    }

    fn deployments(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            let path = format!("deployments/{:06}.json", record.number);
            // As text a manifest would be redacted by guesses, as JSON by names. It was read as JSON once.
            match serde_json::from_str::<Value>(&record.manifest) {
                Ok(manifest) => {
                    let info = record.info();
                    self.json(&path, &json!({ "deployment": info, "manifest": manifest }))?;
                }
                Err(error) => {
                    self.missing(&path, &format!("the manifest cannot be read: {error}"))?
                }
            }
        }
        Ok(())
    }
}

/// The settings files, as values: comments in them are not told.
fn settings(config: Option<&Path>) -> Value {
    let Some(config) = config else {
        return json!({ "files": [], "note": "no settings file: the defaults hold" });
    };
    let folder = config.with_file_name("config.d");
    let mut files = vec![config.to_owned()];
    let drop_ins = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut drop_ins: Vec<_> = drop_ins.map(|entry| entry.path()).collect();
    drop_ins.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    drop_ins.sort();
    files.extend(drop_ins);
    let read = files.iter().map(|path| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        // A message of the parser would have the line in it that it does not understand.
        let value = text.and_then(|text| {
            let table = DeTable::parse(&text);
            let table = table.map_err(|_| "it is no TOML; check.json says where".to_owned())?;
            Ok(members(table.get_ref()))
        });
        match value {
            Ok(value) => json!({ "file": path, "settings": value }),
            Err(why) => json!({ "file": path, "unread": why }),
        }
    });
    json!({ "files": read.collect::<Vec<_>>() })
}

fn members(table: &DeTable<'_>) -> Value {
    let members = table.iter();
    let members = members.map(|(name, value)| (name.get_ref().to_string(), plain(value.get_ref())));
    Value::Object(members.collect())
}

/// A value of TOML as one of JSON; numbers and times as they are written.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => number.to_string().into(),
        DeValue::Float(number) => number.to_string().into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(values) => values.iter().map(|value| plain(value.get_ref())).collect(),
        DeValue::Table(table) => members(table),
    }
}

/// The bundle of a running device.
///
/// # Errors
/// It could not be put together.
pub(crate) async fn of_device(device: &Arc<Device>, wanted: &Wanted) -> io::Result<Vec<u8>> {
    let findings = check::run(device.place(), &[]).await;
    let (device, wanted) = (device.clone(), wanted.clone());
    let made = tokio::task::spawn_blocking(move || make(&device, &wanted, &findings));
    made.await.map_err(io::Error::other)?
}

fn make(device: &Device, wanted: &Wanted, findings: &[check::Finding]) -> io::Result<Vec<u8>> {
    let hub = device.hub();
    let mut bundle = Bundle::new(device.name().as_str(), hub.now());
    bundle.begin(device.place(), findings)?;
    bundle.json(
        "device.json",
        &json!({
            "device": device.name().as_str(),
            "hostname": device.hostname(),
            "hub": device.hub_name(),
            "process": std::process::id(),
            "started": device.started().to_string(),
            "counts": device.counts(),
        }),
    )?;
    let status = device.agent().status().borrow().clone();
    bundle.json("status.json", &*status)?;
    bundle.json("queues.json", &device.queues())?;
    bundle.json("certificates.json", &device.certificates().certificates)?;
    bundle.text("metrics.txt", &crate::metrics::render(device))?;
    bundle.deployments(&history(&**hub.log()))?;
    if wanted.modules {
        for module in device.logs().modules() {
            let filter = LogFilter {
                modules: vec![module.clone()],
                lines: edge_operate::Filter {
                    since: wanted.since,
                    until: wanted.until,
                    ..edge_operate::Filter::default()
                },
            };
            let (lines, _) = device.logs().read(&filter);
            let text = lines.iter().fold(String::new(), |mut text, line| {
                text.push_str(&line.view().plain());
                text.push('\n');
                text
            });
            bundle.text(&format!("logs/{module}.log"), &text)?;
        }
    }
    bundle.0.finish()
}

/// The bundle of a device whose daemon does not run, from what is on disk. Blocks.
///
/// The store is opened as a start of the daemon would open it, under the lock that the daemon would hold; where
/// it cannot be had, the rest is there.
///
/// # Errors
/// It could not be put together.
pub fn of_disk(place: &Place, findings: &[check::Finding]) -> io::Result<Vec<u8>> {
    let settings = Settings::load(place.config.as_deref()).unwrap_or_default();
    let now = SystemClock.now();
    let mut bundle = Bundle::new(settings.device_name().as_str(), now);
    bundle.begin(place, findings)?;
    let path = match &settings.store.path {
        Some(path) => path.clone(),
        None => place.data.join("store"),
    };
    // Looking at a device must not make one.
    if !path.is_dir() {
        bundle.missing("store", &format!("there is no store at {}", path.display()))?;
        return bundle.0.finish();
    }
    let data = match DataDir::take(&place.data) {
        Ok(data) => data,
        Err(error) => {
            bundle.missing("store", &error)?;
            return bundle.0.finish();
        }
    };
    match Store::open(&settings.store, path) {
        Ok(store) => {
            let log = &**store.log();
            bundle.deployments(&history(log))?;
            let queues = queue_infos(log, now, |_| (false, false));
            bundle.json("queues.json", &queues)?;
            if let Err(error) = store.close() {
                bundle.missing("store", &error)?;
            }
        }
        Err(error) => {
            bundle.missing("store", &edge_core::chain(&error))?;
        }
    }
    drop(data);
    bundle.0.finish()
}
