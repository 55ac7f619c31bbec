//! The device key: 32 random bytes in the cache's folder that turn "somebody wrote this file" into
//! "we wrote this file".

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hmac::{Hmac, KeyInit};
use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::Sha256;

use super::{CacheError, check_private, create_temp, io_error};

/// The MAC of entries.
pub(super) type EntryMac = Hmac<Sha256>;

const NAME: &str = "key";
const LEN: usize = 32;

/// The key, held as a MAC that has already taken it in.
pub(super) struct DeviceKey(EntryMac);

impl DeviceKey {
    /// Reads the key, after making one if there is none. Whoever comes first makes it: of two
    /// processes that start at once, both read the same.
    pub(super) fn open(dir: &OwnedFd, path: &Path) -> Result<Self, CacheError> {
        if let Some(key) = Self::read(dir, path)? {
            return Ok(key);
        }
        create(dir, path)?;
        Self::read(dir, path)?
            .ok_or_else(|| io_error("open", &path.join(NAME), io::ErrorKind::NotFound.into()))
    }

    fn read(dir: &OwnedFd, path: &Path) -> Result<Option<Self>, CacheError> {
        let path = &path.join(NAME);
        let failed = |attempt| move |source: io::Error| io_error(attempt, path, source);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir, NAME, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open")(error.into())),
        };
        check_private(&file, path, 0o022, "write", 0o600)?;
        check_private(&file, path, 0o055, "read", 0o600)?;
        let meta = file.metadata().map_err(failed("read"))?;
        if !meta.is_file() || meta.len() != LEN as u64 {
            return Err(CacheError::BadKey {
                path: path.clone(),
                len: meta.len(),
            });
        }
        let mut key = [0; LEN];
        file.read_exact_at(&mut key, 0).map_err(failed("read"))?;
        Ok(Some(Self(
            EntryMac::new_from_slice(&key).expect("HMAC takes keys of any length"),
        )))
    }

    /// A MAC under this key that has seen nothing yet.
    pub(super) fn mac(&self) -> EntryMac {
        self.0.clone()
    }
}

/// Makes a key, unless somebody else is faster.
fn create(dir: &OwnedFd, path: &Path) -> Result<(), CacheError> {
    let mut key = [0; LEN];
    getrandom::fill(&mut key).map_err(|error| CacheError::Random(error.to_string()))?;
    let (temp, mut file) = create_temp(dir, path)?;
    let made = (|| {
        file.write_all(&key)?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces the key that another process made meanwhile.
        match rustix::fs::linkat(dir, temp.as_str(), dir, NAME, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        }
    })();
    let removed = rustix::fs::unlinkat(dir, temp.as_str(), AtFlags::empty());
    made.and_then(|()| removed.map_err(io::Error::from))
        .and_then(|()| rustix::fs::fsync(dir).map_err(io::Error::from))
        .map_err(|source| io_error("create", &path.join(NAME), source))
}
