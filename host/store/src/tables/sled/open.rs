//! Opening: find, check, set aside, make.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::fault::{Fault, guarded};
use super::layout::{HEADER_KEY, Header};
use super::{CACHE, SEGMENT, SledTables, Store, device};
use crate::{Lsn, TableError};

/// How long tables that are in use are waited for. sled's threads let go of a directory a little later
/// than the call that closes it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Directories that are kept after they were set aside.
const KEPT: usize = 2;

/// What opening gave.
#[derive(Debug)]
pub struct Opened {
    /// The tables.
    pub tables: SledTables,
    /// The directory that was damaged, and is kept for whoever wants to look at it.
    pub set_aside: Option<SetAside>,
    /// Whether the tables are new: there were none, or they were set aside.
    pub fresh: bool,
}

/// A damaged directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it was.
    pub from: PathBuf,
    /// Where it is kept, until two newer ones are.
    pub to: PathBuf,
    /// What was found.
    pub why: String,
}

/// A directory next to another: `<dir>.<what>`.
fn beside(dir: &Path, what: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

pub(super) fn open(dir: &Path, oldest: Lsn) -> Result<Opened, TableError> {
    let opening = |fault: Fault| fault.at("open state tables in", dir);
    let io = |e| opening(Fault::Io(e));
    let mut set_aside = None;
    if holds_anything(dir).map_err(io)? {
        let checked = check(dir).and_then(|store| at_least(store, oldest));
        match checked {
            Ok(store) => {
                return Ok(Opened {
                    tables: SledTables::new(dir, store),
                    set_aside: None,
                    fresh: false,
                });
            }
            Err(Fault::Damage(why)) => {
                let to = move_away(dir)?;
                set_aside = Some(SetAside {
                    from: dir.to_owned(),
                    to,
                    why,
                });
            }
            Err(fault) => return Err(opening(fault)),
        }
    }
    make(dir).map_err(|fault| fault.at("make state tables in", dir))?;
    Ok(Opened {
        tables: SledTables::new(dir, check(dir).map_err(opening)?),
        set_aside,
        fresh: true,
    })
}

fn holds_anything(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().transpose()?.is_some()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn at_least(store: Store, oldest: Lsn) -> Result<Store, Fault> {
    let Lsn(found) = store.header.applied;
    if found < oldest.0 {
        let why = format!(
            "they are at commit {found}, though they were at {} or later",
            oldest.0
        );
        return Err(Fault::Damage(why));
    }
    Ok(store)
}

/// Opens a directory and reads all of it.
pub(super) fn check(dir: &Path) -> Result<Store, Fault> {
    let file = dir.join("db");
    if !file.is_file() {
        return Err(Fault::damage("there is no file db"));
    }
    wait_for_lock(&file)?;
    remove_half_snapshots(dir).map_err(Fault::Io)?;
    let opened = guarded(|| Ok(settings(dir).open()?));
    let db = match opened {
        Err(fault) if fault.is_full() => {
            device::give_back(dir).map_err(Fault::Io)?;
            remove_half_snapshots(dir).map_err(Fault::Io)?;
            guarded(|| Ok(settings(dir).open()?))?
        }
        opened => opened?,
    };
    let header = guarded(|| walk(&db))?;
    let data = File::options()
        .read(true)
        .write(true)
        .open(&file)
        .map_err(Fault::Io)?;
    let mut synced = HashSet::<OsString>::new();
    device::sync_files_beside(dir, &mut synced).map_err(Fault::Io)?;
    Ok(Store {
        db,
        data,
        header,
        reserved: device::Reserved::default(),
        synced,
    })
}

/// sled writes a snapshot of its page table when it opens. One that it did not finish, for want of room or
/// because it was killed, it takes for the newest when it opens again, and finds it damaged.
fn remove_half_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn settings(dir: &Path) -> ::sled::Config {
    ::sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT)
        .cache_capacity(CACHE)
        .mode(::sled::Mode::HighThroughput)
        // Nothing is written unless `apply` says so; the thread that flushes is not even started.
        .flush_every_ms(None)
}

/// Reads every page, and compares with what the header says.
fn walk(db: &::sled::Db) -> Result<Header, Fault> {
    let mut header = None;
    let mut found = Header::default();
    for pair in db.iter() {
        let (key, value) = pair?;
        if key == HEADER_KEY {
            header = Some(Header::read(&value)?);
        } else {
            found.count(&key, &value);
        }
    }
    let header = header.ok_or_else(|| Fault::damage("there is no header"))?;
    if (found.pairs, found.sum) != (header.pairs, header.sum) {
        let why = format!(
            "{} pairs are there, {} should be, or some of them are not what they were",
            found.pairs, header.pairs
        );
        return Err(Fault::Damage(why));
    }
    Ok(header)
}

fn wait_for_lock(file: &Path) -> Result<(), Fault> {
    let file = File::options().read(true).write(true).open(file);
    let file = file.map_err(Fault::Io)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            // Let go of at once, for sled takes it itself.
            Ok(()) => return file.unlock().map_err(Fault::Io),
            Err(TryLockError::Error(e)) => return Err(Fault::Io(e)),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return Err(Fault::InUse),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Makes empty tables. They get their name when they are on the device, so that a directory without a
/// header is damage and not a crash at a bad moment.
fn make(dir: &Path) -> Result<(), Fault> {
    let new = beside(dir, "new");
    remove(&new).map_err(Fault::Io)?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Fault::Io)?;
    guarded(|| {
        let db = settings(&new).open()?;
        let header = Header::default();
        db.insert(HEADER_KEY, header.write())?;
        device::flush(&db)
    })?;
    let on_device = || {
        for name in ["db", "conf", "blobs"] {
            File::open(new.join(name))?.sync_all()?;
        }
        File::open(&new)?.sync_all()?;
        fs::rename(&new, dir)?;
        File::open(parent)?.sync_all()
    };
    on_device().map_err(Fault::Io)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Renames a damaged directory, and removes the oldest of those that were renamed before.
fn move_away(dir: &Path) -> Result<PathBuf, TableError> {
    let failed = |doing, path: &Path, e| Fault::Io(e).at(doing, path);
    let mut there = damaged(dir).map_err(|e| failed("list what was set aside beside", dir, e))?;
    let n = there.last().map_or(1, |n| n + 1);
    let to = beside(dir, &format!("damaged-{n}"));
    fs::rename(dir, &to).map_err(|e| failed("set aside damaged state tables in", dir, e))?;
    there.push(n);
    for old in there.iter().rev().skip(KEPT) {
        let old = beside(dir, &format!("damaged-{old}"));
        remove(&old).map_err(|e| failed("remove old damaged state tables in", &old, e))?;
    }
    Ok(to)
}

/// The numbers of directories that were set aside, in order.
fn damaged(dir: &Path) -> io::Result<Vec<u64>> {
    let stem = beside(dir, "damaged-");
    let Some(stem) = stem.file_name().and_then(|stem| stem.to_str()) else {
        return Err(io::Error::other("the directory's name is not UTF-8"));
    };
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    let mut numbers = Vec::new();
    for entry in fs::read_dir(parent.unwrap_or(Path::new(".")))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(stem));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
