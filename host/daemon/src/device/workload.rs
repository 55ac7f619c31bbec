//! A socket for each module of this device, on which it asks for tokens and certificates.
//!
//! ```text
//!   registry ── changed ──► bell ──► open the sockets of new modules, close those of modules that are gone
//! ```
//!
//! A socket that cannot be made is said and left out: nothing but that module misses it.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_core::{DeviceId, Identity, ModuleId};
use edge_http::{WorkloadConfig, WorkloadServer, WorkloadSocket};
use edge_hub::SystemClock;
use edge_identity::{Registry, Watcher, Workload};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, Notify};
use tracing::{info, warn};

use super::Device;
use crate::settings::WorkloadSettings;

/// Letters of a module's name that are in its folder's: a socket's path has room for some 100 bytes.
const NAME: usize = 32;

/// The name of a module's socket in its folder.
pub(super) const SOCKET: &str = "sock";

/// The folders of modules' sockets, one for each: a container gets its own and no other.
#[derive(Debug, Clone)]
pub(super) struct Folders(PathBuf);

impl Folders {
    fn of(&self, module: &ModuleId) -> PathBuf {
        self.0.join(folder_name(module))
    }

    /// Makes the folder of a module if it is missing.
    pub(super) fn make(&self, module: &ModuleId) -> io::Result<PathBuf> {
        let folder = self.of(module);
        make(&folder)?;
        Ok(folder)
    }
}

/// The sockets there are.
#[derive(Debug)]
pub(super) struct Sockets {
    server: WorkloadServer,
    registry: Arc<Registry>,
    device: DeviceId,
    folders: Folders,
    mode: u32,
    group: Option<u32>,
    open: Mutex<HashMap<ModuleId, WorkloadSocket>>,
    bell: Arc<Bell>,
}

/// Rung when identities change.
#[derive(Debug, Default)]
struct Bell(Notify);

impl Watcher for Bell {
    fn changed(&self, _: &Identity) {
        self.0.notify_one();
    }
}

impl Sockets {
    /// None yet. What an earlier daemon left in the folder goes.
    pub(super) fn new(
        settings: &WorkloadSettings,
        group: Option<u32>,
        data: &Path,
        device: DeviceId,
        workload: Arc<Workload>,
        registry: Arc<Registry>,
    ) -> Self {
        let dir = match &settings.dir {
            Some(dir) => dir.clone(),
            None => data.join("workload"),
        };
        if let Err(error) = prepare(&dir) {
            warn!(%error, dir = %dir.display(), "the folder of workload sockets cannot be used: modules get no tokens; see [workload] dir");
        }
        let bell = Arc::new(Bell::default());
        registry.watch(bell.clone());
        Self {
            server: WorkloadServer::new(WorkloadConfig {
                workload,
                device: device.clone(),
                clock: Arc::new(SystemClock),
                manifest_trust_bundle: None,
            }),
            registry,
            device,
            folders: Folders(dir),
            mode: settings.mode,
            group,
            open: Mutex::default(),
            bell,
        }
    }

    /// Where a module's socket is.
    fn path(&self, module: &ModuleId) -> PathBuf {
        self.folders.of(module).join(SOCKET)
    }

    /// The folders of the sockets.
    pub(super) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Opens what is missing, and closes what nobody is to use any more.
    pub(super) async fn settle(&self) {
        let mut open = self.open.lock().await;
        let entries = self.registry.modules(&self.device);
        let modules: Vec<_> = entries
            .iter()
            .filter_map(|entry| match &entry.identity {
                Identity::Module(_, module) => Some(module.clone()),
                Identity::Device(_) => None,
            })
            .collect();
        // Dropped, a socket takes nothing more and its file goes.
        let gone = open.extract_if(|module, _| !modules.contains(module));
        for (module, socket) in gone {
            drop(socket);
            // What somebody put into it stays, and so does it.
            let _ = fs::remove_dir(self.folders.of(&module));
        }
        for module in modules {
            if open.contains_key(&module) {
                continue;
            }
            match self.offer(&module) {
                Ok(socket) => {
                    open.insert(module, socket);
                }
                Err(error) => {
                    let error = &*error as &dyn std::error::Error;
                    warn!(%module, error, "no workload socket: the module gets no tokens; see [workload] dir");
                }
            }
        }
    }

    fn offer(
        &self,
        module: &ModuleId,
    ) -> Result<WorkloadSocket, Box<dyn std::error::Error + Send + Sync>> {
        let path = self.path(module);
        self.folders.make(module)?;
        let socket = self.server.open(&path, module, self.mode)?;
        if let Some(group) = self.group {
            chown(&path, None, Some(group))?;
        }
        Ok(socket)
    }
}

/// Makes a folder that others may pass through but not list.
fn make(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o711).create(dir)?;
        // Whatever the umask: the socket's own mode says who may use it.
        fs::set_permissions(dir, Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// Makes the folder of folders, and takes away sockets that are in it and in them. The folders stay: what
/// still runs has them mounted.
fn prepare(dir: &Path) -> io::Result<()> {
    make(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let socket = entry.path().join(SOCKET);
            match fs::symlink_metadata(&socket) {
                Ok(found) if found.file_type().is_socket() => fs::remove_file(socket)?,
                _ => {}
            }
        } else if entry.file_type()?.is_socket() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A name that is the same in a path and in a `unix://` URI, whoever takes that apart: Python decodes its
/// path and Node does not (client-contract section 3). Names that cannot be, or are long, end in a hash.
fn folder_name(module: &ModuleId) -> String {
    let name = module.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
    if name.len() <= NAME && name.chars().all(plain) && !name.starts_with('.') {
        return name.to_owned();
    }
    let letters = name.chars().filter(|c| plain(*c) && *c != '.').take(NAME);
    let letters: String = letters.collect();
    let hash = Sha256::digest(name.as_bytes());
    let hash: String = hash
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{letters}-{hash}")
}

impl Device {
    /// Where a module of this device finds its workload API.
    pub(super) fn workload_uri(&self, module: &ModuleId) -> String {
        format!("unix://{}", self.sockets.path(module).display())
    }

    /// Keeps the sockets as the identities are, for as long as it is driven.
    pub(crate) async fn serve_workload(&self) {
        loop {
            self.sockets.bell.0.notified().await;
            self.sockets.settle().await;
        }
    }

    /// Offers the workload API on a port of this machine, for every module.
    pub(crate) async fn listen_for_workload(
        &self,
        at: Option<std::net::SocketAddr>,
    ) -> Option<WorkloadSocket> {
        match self.sockets.server.listen(at?).await {
            Ok(socket) => Some(socket),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(
                    error,
                    "no workload port: set [workload] listen to another address, or to \"off\""
                );
                None
            }
        }
    }

    /// Ends all sockets; requests that are under way are answered.
    pub(crate) async fn close_workload(&self) {
        let open = std::mem::take(&mut *self.sockets.open.lock().await);
        let count = open.len();
        let closing = open.into_values().map(WorkloadSocket::close);
        let mut closing: tokio::task::JoinSet<()> = closing.collect();
        while closing.join_next().await.is_some() {}
        info!(count, "workload sockets closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sockets_are_the_same_in_a_path_and_a_uri_and_differ() {
        let name = |module: &str| folder_name(&ModuleId::new(module).expect("an id"));
        assert_eq!(name("filter"), "filter");
        assert_eq!(name("$edgeAgent"), "$edgeAgent");
        let odd = [
            "a%b",
            "a?b",
            "ab#",
            ".ab",
            &"x".repeat(128),
            &"x".repeat(127),
        ];
        let names: Vec<_> = odd.iter().map(|module| name(module)).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(name.len() <= NAME + 9, "{name}");
            assert!(
                !name.contains(['%', '?', '#', '/']) && !name.starts_with('.'),
                "{name}"
            );
            assert!(!names[..at].contains(name), "{name} is there twice");
        }
    }
}
