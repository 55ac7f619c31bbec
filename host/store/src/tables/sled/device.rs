//! What sled does not do for the device: flush it, and ask for room before writing.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::fault::Fault;

/// Room that is always asked for beyond what a change needs: sled moves what it kept before.
const MARGIN: u64 = 4 << 20;

/// How much sled writes for a byte of a change, counted generously: a page with up to 20 pairs is
/// written anew after ten changes of it.
const AMPLIFICATION: u64 = 4;

/// How often a flush that takes long is looked after.
const LOOK: Duration = Duration::from_millis(100);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Writes what sled has in memory. The device may still have it in its cache.
pub(super) fn flush(db: &::sled::Db) -> Result<(), Fault> {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    let mut flushing = pin!(db.flush_async());
    loop {
        if let Poll::Ready(done) = flushing.as_mut().poll(&mut cx) {
            return Ok(done.map(|_| ())?);
        }
        thread::park_timeout(LOOK);
        if db.context.global_error().is_err() {
            // sled may have forgotten to wake the flush. A second one sees the error and wakes the first.
            return Ok(db.flush().map(|_| ())?);
        }
    }
}

/// Syncs the files that sled keeps beside its log and does not sync.
pub(super) fn sync_files_beside(dir: &Path, synced: &mut HashSet<OsString>) -> io::Result<()> {
    let beside = dir.join("blobs");
    let mut present = HashSet::new();
    for entry in fs::read_dir(&beside)? {
        present.insert(entry?.file_name());
    }
    for name in present.difference(synced) {
        match File::open(beside.join(name)) {
            Ok(file) => file.sync_data()?,
            // sled removed it: it replaced the value again.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if present != *synced {
        File::open(&beside)?.sync_all()?;
        *synced = present;
    }
    Ok(())
}

/// Room behind the end of sled's file.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// The file's length when room was last asked for.
    len: u64,
    /// Up to where there is room.
    end: u64,
}

impl Reserved {
    /// Believes that there is room.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self {
            len: 0,
            end: u64::MAX,
        }
    }

    /// Makes sure that there is room for a change of so many bytes.
    pub(super) fn make_room(&mut self, data: &File, dir: &Path, bytes: u64) -> io::Result<()> {
        let len = data.metadata()?.len();
        let need = bytes.saturating_mul(AMPLIFICATION).saturating_add(MARGIN);
        // A file that became shorter gave its room back.
        if len >= self.len && len.saturating_add(need) <= self.end {
            return Ok(());
        }
        // Twice the margin, so that this is not asked for at every change.
        let room = need.saturating_add(MARGIN);
        match rustix::fs::fallocate(data, FallocateFlags::KEEP_SIZE, len, room) {
            Ok(()) => {
                *self = Self {
                    len,
                    end: len.saturating_add(room),
                };
                Ok(())
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => enough_free(dir, need),
            Err(e) => Err(e.into()),
        }
    }
}

/// For file systems that cannot reserve.
fn enough_free(dir: &Path, need: u64) -> io::Result<()> {
    let stat = rustix::fs::statvfs(dir)?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) < need {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Gives back what was reserved, as the last room there is for opening.
pub(super) fn give_back(dir: &Path) -> io::Result<()> {
    let data = File::options().write(true).open(dir.join("db"))?;
    data.set_len(data.metadata()?.len())
}
