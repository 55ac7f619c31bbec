//! `--watch`: new builds of component files are noticed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use edge_core::ModuleId;
use edge_daemon::LocalDevice;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Event;

/// A build writes a file in several goes; it is taken up when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Watches as long as it lives.
pub(super) struct Watcher(#[allow(dead_code, reason = "held for its drop")] RecommendedWatcher);

/// Tells of every component file that changes.
pub(super) fn start(device: &LocalDevice, events: Sender<Event>) -> anyhow::Result<Watcher> {
    let mut files: HashMap<PathBuf, ModuleId> = HashMap::new();
    for (module, path) in device.component_files() {
        let path = path
            .canonicalize()
            .with_context(|| format!("watch {}", path.display()))?;
        files.insert(path, module);
    }
    let (changed, changes) = channel::<PathBuf>();
    let mut watcher =
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) if event.kind.is_create() || event.kind.is_modify() => {
                for path in event.paths {
                    let _ = changed.send(path);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "watching component files"),
        })
        .context("watch component files")?;
    // The folder, not the file: compilers and editors put a new file in the old one's place.
    let mut folders: Vec<&Path> = files.keys().filter_map(|path| path.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        watcher
            .watch(folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("watch {}", folder.display()))?;
    }
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || settle(&changes, &files, &events))
        .context("start the watching thread")?;
    Ok(Watcher(watcher))
}

/// Passes a module on once its file has been quiet for a while.
fn settle(changes: &Receiver<PathBuf>, files: &HashMap<PathBuf, ModuleId>, events: &Sender<Event>) {
    let mut changed: Vec<ModuleId> = Vec::new();
    loop {
        let next = if changed.is_empty() {
            changes.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            changes.recv_timeout(QUIET)
        };
        match next {
            Ok(path) => {
                if let Some(module) = files.get(&path)
                    && !changed.contains(module)
                {
                    changed.push(module.clone());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                for module in changed.drain(..) {
                    if events.send(Event::Changed(module)).is_err() {
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
