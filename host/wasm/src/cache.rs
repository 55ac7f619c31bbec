//! Compiled components on disk, so that a start maps machine code instead of compiling it.
//!
//! The runtime asks [`CompileCache::load`] before it compiles and calls [`CompileCache::store`]
//! afterwards. Loading machine code is only safe for bytes that we made ourselves, so every entry
//! carries a MAC under a key that never leaves the cache's folder, and is bound to the component's
//! digest, to the engine's settings and to the machine.
//!
//! ```text
//! DIR/                                    0700, ours or root's; nobody else may write
//!   key                                   0600, 32 random bytes, made once
//!   <digest>.<engine>.cwasm               0400, one entry (see `entry`); its mtime is its last use
//!   .<random>.tmp                         being written; locked as long as its writer lives
//! ```
//!
//! Promises: an entry appears whole or not at all, whoever else writes at the same time; what is
//! mapped is the very file that was checked; an entry that is not exactly what was stored is never
//! loaded but reported as [`Lookup::Rebuild`]. Losing the folder costs time, nothing else. The calls
//! block on the disk: call them off the async threads.

use std::fmt;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use edge_core::Digest;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timestamps};
use wasmtime::Engine;
use wasmtime::component::Component;

mod entry;
mod key;
mod note;
mod prune;
#[cfg(test)]
mod tests;

pub use entry::RebuildReason;
pub(crate) use entry::engine_settings;
pub use prune::Pruned;

use entry::{Binding, FOOTER_LEN};
use key::DeviceKey;

/// Largest entry, far above what the largest known guests (Python, JavaScript) compile to. Bounds
/// what is read of a file that somebody else put there.
const MAX_ENTRY: u64 = 1 << 30;

/// Uses closer together than this leave the entry's mtime alone: eviction needs no finer order, and
/// flash wears with every write.
const TOUCH_EVERY: Duration = Duration::from_secs(3_600);

/// A folder of compiled components. Several threads and processes may use one folder at a time.
pub struct CompileCache {
    /// Everything below is opened relative to this, so that renaming folders above changes nothing.
    dir: OwnedFd,
    /// For messages.
    path: PathBuf,
    key: DeviceKey,
    loading: Loading,
}

/// How checked bytes reach wasmtime.
#[derive(Debug, Clone, Copy)]
enum Loading {
    /// The checked file is mapped: pages come from the page cache and can be dropped again.
    Map,
    /// Without `/proc` an open file cannot be named: the entry is read once, checked and copied.
    Copy,
}

/// What the cache has for a component.
#[derive(Debug)]
pub enum Lookup {
    /// The component, ready for the engine that was asked for.
    Hit(Component),
    /// Nothing under this digest and engine.
    Miss,
    /// An entry that must not be loaded. Compile again; `store` replaces it.
    Rebuild {
        /// What is wrong with it.
        reason: RebuildReason,
    },
}

/// Why the cache cannot be used. A module can always be compiled instead.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file operation failed.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted: "open", "write" and so on.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user could plant machine code or read the key.
    #[error(
        "the compile cache is not safe to use: {} has mode {mode:03o}, so other users may {what} it; \
         run chmod {wanted:03o} on it",
        path.display()
    )]
    Exposed {
        /// The folder or the key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// `read` or `write`.
        what: &'static str,
        /// The permission bits that are right.
        wanted: u32,
    },
    /// The folder or key belongs to somebody else, who could change it at any time.
    #[error(
        "the compile cache is not safe to use: {} belongs to user {owner}, expected user {expected}; \
         name another folder or change the owner",
        path.display()
    )]
    ForeignOwner {
        /// The folder or the key.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// This process's user id.
        expected: u32,
    },
    /// The key file holds something else.
    #[error(
        "{} is not a cache key: it has {len} bytes, expected 32; remove it, and what was compiled \
         before is compiled again",
        path.display()
    )]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// Its size in bytes.
        len: u64,
    },
    /// The compiled component is larger than an entry may be.
    #[error("compiled component {digest} has {len} bytes, the cache takes {MAX_ENTRY} at most")]
    TooLarge {
        /// The component.
        digest: Digest,
        /// Size of its machine code in bytes.
        len: u64,
    },
    /// wasmtime could not give out the machine code.
    #[error("cannot serialize compiled component {digest}: {reason}")]
    Serialize {
        /// The component.
        digest: Digest,
        /// wasmtime's words.
        reason: String,
    },
    /// The system has no random bytes to give.
    #[error("cannot get random bytes from the system: {0}")]
    Random(String),
}

impl CompileCache {
    /// Opens the cache in `dir`; makes the folder (0700) and its key where they are missing.
    ///
    /// # Errors
    /// [`CacheError::Exposed`] and [`CacheError::ForeignOwner`] if somebody else could write into
    /// the folder or get at the key, [`CacheError::BadKey`], and failed file operations.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let failed = |attempt| move |source: io::Error| io_error(attempt, dir, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("create folder"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::open(dir, flags, Mode::empty())
            .map_err(|e| failed("open folder")(e.into()))?;
        let file = File::from(file);
        check_private(&file, dir, 0o022, "write", 0o700)?;
        let dir_fd = OwnedFd::from(file);
        let key = DeviceKey::open(&dir_fd, dir)?;
        let loading = if Path::new("/proc/self/fd").is_dir() {
            Loading::Map
        } else {
            Loading::Copy
        };
        Ok(Self {
            dir: dir_fd,
            path: dir.to_owned(),
            key,
            loading,
        })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for a component that was compiled with exactly this engine's settings.
    ///
    /// # Errors
    /// Failed file operations only; whatever is wrong with an entry's content is
    /// [`Lookup::Rebuild`].
    pub fn load(&self, engine: &Engine, digest: &Digest) -> Result<Lookup, CacheError> {
        let binding = Binding::new(engine, digest);
        let name = binding.file_name();
        let path = &self.path.join(&name);
        let failed = |attempt| move |source: io::Error| io_error(attempt, path, source);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name.as_str(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(Lookup::Miss),
            Err(rustix::io::Errno::LOOP) => return Ok(rebuild(RebuildReason::NotOurs)),
            Err(error) => return Err(failed("open")(error.into())),
        };
        let meta = file.metadata().map_err(failed("read"))?;
        if !meta.is_file() || meta.uid() != own_uid() || meta.mode() & 0o022 != 0 {
            return Ok(rebuild(RebuildReason::NotOurs));
        }
        let loaded = match self.loading {
            Loading::Map => match entry::verify(&file, meta.len(), &binding, &self.key)
                .map_err(failed("read"))?
            {
                Ok(()) => load_trusted(engine, Trusted::File(&file)),
                Err(reason) => return Ok(rebuild(reason)),
            },
            Loading::Copy => {
                match entry::read_verified(&file, meta.len(), &binding, &self.key)
                    .map_err(failed("read"))?
                {
                    Ok(bytes) => load_trusted(engine, Trusted::Bytes(&bytes)),
                    Err(reason) => return Ok(rebuild(reason)),
                }
            }
        };
        match loaded {
            Ok(component) => {
                self.touch(&file, meta.modified().ok());
                Ok(Lookup::Hit(component))
            }
            Err(error) => Ok(rebuild(RebuildReason::Refused(format!("{error:#}")))),
        }
    }

    /// Keeps a component that was just compiled from the bytes with this digest, in place of what
    /// was there for it. It takes the component and not its bytes, so that nothing but the
    /// compiler's own output can be given our MAC.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`], and failed file operations (disk full among them); then nothing is
    /// left behind.
    pub fn store(&self, digest: &Digest, component: &Component) -> Result<(), CacheError> {
        let serialized = component
            .serialize()
            .map_err(|error| CacheError::Serialize {
                digest: *digest,
                reason: format!("{error:#}"),
            })?;
        let len = serialized.len() as u64;
        if len > MAX_ENTRY - FOOTER_LEN as u64 {
            return Err(CacheError::TooLarge {
                digest: *digest,
                len,
            });
        }
        let binding = Binding::new(component.engine(), digest);
        let footer = entry::footer(&serialized, &binding, &self.key);
        self.write_whole(&binding.file_name(), &[serialized.as_slice(), &footer])
    }

    /// Writes a file beside its place, syncs it and moves it there.
    fn write_whole(&self, name: &str, parts: &[&[u8]]) -> Result<(), CacheError> {
        let failed =
            |attempt| move |source: io::Error| io_error(attempt, &self.path.join(name), source);
        let (temp, mut file) = create_temp(&self.dir, &self.path)?;
        let written = (|| {
            parts.iter().try_for_each(|part| file.write_all(part))?;
            file.set_permissions(Permissions::from_mode(0o400))?;
            file.sync_all()?;
            rustix::fs::renameat(&self.dir, temp.as_str(), &self.dir, name)?;
            Ok(())
        })();
        if written.is_err() {
            // The first error is the one to tell; `prune` takes care of what stays.
            let _ = rustix::fs::unlinkat(&self.dir, temp.as_str(), AtFlags::empty());
        }
        written.map_err(failed("write"))
    }

    /// Marks an entry as used. A failure only makes it look older to `prune` (the folder may be
    /// mounted read-only).
    fn touch(&self, file: &File, last: Option<SystemTime>) {
        let fresh = last
            .and_then(|last| SystemTime::now().duration_since(last).ok())
            .is_some_and(|age| age < TOUCH_EVERY);
        if fresh {
            return;
        }
        let now = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        if let Err(error) = rustix::fs::futimens(file, &times) {
            tracing::debug!(path = %self.path.display(), %error, "cache entry's time of use not updated");
        }
    }
}

impl fmt::Debug for CompileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompileCache")
            .field("path", &self.path)
            .field("loading", &self.loading)
            .finish_non_exhaustive()
    }
}

/// Bytes whose MAC was found right for the engine that is to run them.
enum Trusted<'a> {
    /// The whole file, the footer at its end included: ELF readers go by the section table and never
    /// look there.
    File(&'a File),
    /// The payload.
    Bytes(&'a [u8]),
}

/// The one place where machine code from disk becomes a component.
#[allow(unsafe_code, reason = "loading machine code; authenticated below")]
fn load_trusted(engine: &Engine, trusted: Trusted<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what `Component::serialize` gave for a compatible engine, and a mapped
    // file must not change while it is in use.
    // - `Trusted` is made in `load` only, after `entry` has found the MAC right under our device key.
    //   The MAC is given in `store` only, to what `serialize` returned, together with the hash of all
    //   engine settings that machine code depends on; that hash was compared with `engine`'s.
    // - `/proc/self/fd/N` names the inode that was checked, whatever the folder says by now. It is
    //   ours, and nobody else may write it; we write a file under another name, make it read-only
    //   before it gets its own, and never write it again. `prune` unlinks, which leaves mappings alone.
    unsafe {
        match trusted {
            Trusted::File(file) => {
                Component::deserialize_file(engine, format!("/proc/self/fd/{}", file.as_raw_fd()))
            }
            Trusted::Bytes(bytes) => Component::deserialize(engine, bytes),
        }
    }
}

/// A new file with a name that nobody else has, locked until it is closed: so `prune` can tell it
/// from an abandoned one.
fn create_temp(dir: &OwnedFd, path: &Path) -> Result<(String, File), CacheError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| CacheError::Random(error.to_string()))?;
        let name = format!(".{:032x}.tmp", u128::from_le_bytes(random));
        let failed = |source: io::Error| io_error("create", &path.join(&name), source);
        let file = rustix::fs::openat(dir, name.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|error| failed(error.into()))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        // Whoever pruned between these two calls took it for abandoned: make another.
        if file.metadata().map_err(failed)?.nlink() > 0 {
            return Ok((name, file));
        }
    }
}

/// Refuses what another user owns or has one of the `forbidden` permission bits for.
fn check_private(
    file: &File,
    path: &Path,
    forbidden: u32,
    what: &'static str,
    wanted: u32,
) -> Result<(), CacheError> {
    let meta = file
        .metadata()
        .map_err(|source| io_error("read", path, source))?;
    let (owner, expected) = (meta.uid(), own_uid());
    if owner != expected && owner != 0 {
        return Err(CacheError::ForeignOwner {
            path: path.to_owned(),
            owner,
            expected,
        });
    }
    let mode = meta.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(CacheError::Exposed {
            path: path.to_owned(),
            mode,
            what,
            wanted,
        });
    }
    Ok(())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn rebuild(reason: RebuildReason) -> Lookup {
    Lookup::Rebuild { reason }
}

fn io_error(attempt: &'static str, path: &Path, source: io::Error) -> CacheError {
    CacheError::Io {
        attempt,
        path: path.to_owned(),
        source,
    }
}
