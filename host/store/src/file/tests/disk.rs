//! A disk in memory that forgets what was not synced, has a size, and fails when told.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::{Disk, DiskFile};

/// The files as a program sees them, and as the device would have them after a power cut.
#[derive(Debug, Default)]
struct Files {
    names: BTreeMap<String, File>,
    /// Removed, and perhaps back after a power cut.
    removed: BTreeMap<String, File>,
    capacity: Option<u64>,
    /// Operations until one fails, and how.
    fail: Option<(u64, Failure)>,
    operations: u64,
}

#[derive(Debug, Clone, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Where something was written since.
    dirty: Vec<(usize, usize)>,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No room.
    Full,
    /// The device is broken; half of a write may be there.
    Broken,
}

#[derive(Debug, Clone, Default)]
pub struct TestDisk(Arc<Mutex<Files>>);

#[derive(Debug)]
struct TestFile {
    disk: TestDisk,
    name: String,
}

impl TestDisk {
    pub fn with_capacity(capacity: u64) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().capacity = Some(capacity);
        disk
    }

    /// Lets the `n`th operation from now on fail.
    pub fn fail_at(&self, n: u64, failure: Failure) {
        self.0.lock().unwrap().fail = Some((n, failure));
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// What is left after a power cut: what was synced, and of the rest some of it. `choose(n)` says one
    /// of 0..n.
    pub fn cut_power(&self, choose: impl FnMut(usize) -> usize) -> Self {
        self.cut_power_with(choose, || {}).0
    }

    /// The same, and what `meanwhile` sees at that moment of what lies beside these files.
    pub fn cut_power_with<T>(
        &self,
        mut choose: impl FnMut(usize) -> usize,
        meanwhile: impl FnOnce() -> T,
    ) -> (Self, T) {
        let files = self.0.lock().unwrap();
        let seen = meanwhile();
        let mut after = Files {
            capacity: files.capacity,
            ..Files::default()
        };
        for (name, file) in &files.names {
            let mut bytes = file.synced.clone();
            for (start, end) in &file.dirty {
                let kept = match choose(4) {
                    0 => *start..*start,
                    1 => *start..*end,
                    2 => *start..*start + choose(end - start + 1),
                    // The end is there and the beginning is not.
                    _ => *start + choose(end - start + 1)..*end,
                };
                if bytes.len() < kept.end {
                    bytes.resize(kept.end, 0);
                }
                bytes[kept.clone()].copy_from_slice(&file.now[kept]);
            }
            after.names.insert(name.clone(), File::synced(bytes));
        }
        for (name, file) in &files.removed {
            if choose(2) == 0 && !after.names.contains_key(name) {
                after
                    .names
                    .insert(name.clone(), File::synced(file.synced.clone()));
            }
        }
        (Self(Arc::new(Mutex::new(after))), seen)
    }

    /// A disk with the same files, all of it synced.
    pub fn copy(&self) -> Self {
        let files = self.0.lock().unwrap();
        let names = files.names.iter();
        let names = names.map(|(name, file)| (name.clone(), File::synced(file.now.clone())));
        Self(Arc::new(Mutex::new(Files {
            names: names.collect(),
            ..Files::default()
        })))
    }

    /// Changes the bytes of a file.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut files = self.0.lock().unwrap();
        let file = files.names.get_mut(name).unwrap();
        change(&mut file.now);
        file.synced = file.now.clone();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.lock().unwrap().names[name].now.clone()
    }

    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().names.keys().cloned().collect()
    }

    fn operation<T>(&self, run: impl FnOnce(&mut Files, bool) -> io::Result<T>) -> io::Result<T> {
        let mut files = self.0.lock().unwrap();
        files.operations += 1;
        let failure = match &mut files.fail {
            Some((0, failure)) => Some(*failure),
            Some((n, _)) => {
                *n -= 1;
                None
            }
            None => None,
        };
        match failure {
            None => run(&mut files, false),
            Some(failure) => {
                files.fail = None;
                let _ = run(&mut files, true);
                Err(match failure {
                    Failure::Full => io::ErrorKind::StorageFull.into(),
                    Failure::Broken => io::Error::other("the device is broken"),
                })
            }
        }
    }
}

impl File {
    fn synced(bytes: Vec<u8>) -> Self {
        Self {
            now: bytes.clone(),
            synced: bytes,
            dirty: Vec::new(),
        }
    }

    fn sync(&mut self) {
        self.synced.resize(self.now.len(), 0);
        for (start, end) in self.dirty.drain(..) {
            self.synced[start..end].copy_from_slice(&self.now[start..end]);
        }
    }
}

impl Files {
    fn used(&self) -> u64 {
        self.names.values().map(|file| file.now.len() as u64).sum()
    }

    fn room(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.names
            .get_mut(name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for TestDisk {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.operation(|files, fails| {
            if fails {
                return Ok(());
            }
            if files.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            files.room(size)?;
            let size = usize::try_from(size).unwrap();
            files.removed.remove(name);
            files
                .names
                .insert(name.to_owned(), File::synced(vec![0; size]));
            Ok(())
        })?;
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.lock().unwrap().file(name)?;
        Ok(Arc::new(TestFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.operation(|files, fails| {
            if !fails {
                files.room(bytes.len() as u64)?;
                files
                    .names
                    .insert(name.to_owned(), File::synced(bytes.to_vec()));
            }
            Ok(())
        })
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let files = self.0.lock().unwrap();
        let size = |(name, file): (&String, &File)| (name.clone(), file.now.len() as u64);
        Ok(files.names.iter().map(size).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operation(|files, fails| {
            if fails {
                return Ok(());
            }
            let file = files.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            files.removed.insert(name.to_owned(), file);
            Ok(())
        })
    }

    fn free(&self) -> io::Result<u64> {
        let files = self.0.lock().unwrap();
        Ok(files.capacity.map_or(u64::MAX / 2, |capacity| {
            capacity.saturating_sub(files.used())
        }))
    }

    fn name(&self) -> String {
        "test disk".to_owned()
    }
}

impl DiskFile for TestFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.operation(|files, fails| {
            let start = usize::try_from(offset).unwrap();
            let bytes = if fails {
                &bytes[..bytes.len() / 2]
            } else {
                bytes
            };
            // A file that was removed meanwhile takes writes that nobody sees, as files do.
            let Ok(file) = files.file(&self.name) else {
                return Ok(());
            };
            let end = start + bytes.len();
            if file.now.len() < end {
                file.now.resize(end, 0);
            }
            file.now[start..end].copy_from_slice(bytes);
            file.dirty.push((start, end));
            Ok(())
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut files = self.disk.0.lock().unwrap();
        let file = files.file(&self.name)?;
        let start = usize::try_from(offset).unwrap().min(file.now.len());
        let read = buffer.len().min(file.now.len() - start);
        buffer[..read].copy_from_slice(&file.now[start..start + read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation(|files, fails| {
            if let (false, Ok(file)) = (fails, files.file(&self.name)) {
                file.sync();
            }
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().unwrap().file(&self.name)?.now.len() as u64)
    }

    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
        self.disk.operation(|files, _| {
            let file = files.file(&self.name)?;
            file.now.truncate(usize::try_from(offset).unwrap());
            file.now
                .resize(usize::try_from(size.max(offset)).unwrap(), 0);
            file.dirty.clear();
            file.synced = file.now.clone();
            Ok(())
        })
    }
}
