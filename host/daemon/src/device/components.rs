//! The components of the kept deployments, by digest: what runs does not depend on anybody's folder.
//!
//! A file is written whole under another name, synced and renamed, so that whatever has a digest's name
//! is complete. Its bytes are checked again before they run.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use edge_core::{ByteSize, Digest};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::data_dir::private_folder;

/// Largest component, as the runtime has it.
const MAX_COMPONENT: ByteSize = ByteSize(256 << 20);
/// How files end that were not written to their end.
const UNFINISHED: &str = "part";

/// The folder.
#[derive(Debug)]
pub(crate) struct Components {
    dir: PathBuf,
}

impl Components {
    /// The components in a folder; it is made if need be.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        private_folder(&dir)?;
        Ok(Self { dir })
    }

    /// Where a component is, if it is there.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}.wasm", digest.hex()))
    }

    /// Takes a component in and says what it hashes to. On the device when this returns.
    pub(crate) fn import(&self, source: &Path) -> io::Result<Digest> {
        let mut bytes = Vec::new();
        // Opening a pipe must not wait for somebody to write to it.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(source)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        (&mut file)
            .take(MAX_COMPONENT.0 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_COMPONENT.0 {
            return Err(io::Error::other(format!(
                "it has more than {MAX_COMPONENT}, the most that a component may have"
            )));
        }
        let digest = Digest(Sha256::digest(&bytes).into());
        let path = self.path(&digest);
        // What is there may have rotted: taking it in again is how it is repaired.
        if !fs::read(&path).is_ok_and(|kept| kept == bytes) {
            let unfinished = path.with_extension(UNFINISHED);
            let mut file = File::create(&unfinished)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(digest)
    }

    /// Removes all but these.
    pub(crate) fn keep(&self, wanted: &BTreeSet<Digest>) -> io::Result<()> {
        let wanted: BTreeSet<PathBuf> = wanted.iter().map(|digest| self.path(digest)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let ours = path
                .extension()
                .is_some_and(|end| end == "wasm" || end == UNFINISHED);
            if ours && !wanted.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_kept_by_what_is_in_them_and_removed_when_nobody_names_them() {
        let dir = tempfile::tempdir().expect("dir");
        let source = dir.path().join("a.wasm");
        let components = Components::open(dir.path().join("components")).expect("folder");
        fs::write(&source, "one").expect("file");
        let one = components.import(&source).expect("import");
        fs::write(&source, "two").expect("file");
        let two = components.import(&source).expect("import");
        assert_ne!(one, two);
        assert_eq!(fs::read(components.path(&one)).expect("kept"), b"one");
        // What is not what it was is written again.
        fs::write(components.path(&two), "twx").expect("file");
        components.import(&source).expect("import");
        assert_eq!(fs::read(components.path(&two)).expect("kept"), b"two");

        components.keep(&BTreeSet::from([two])).expect("keep");
        assert!(!components.path(&one).exists() && components.path(&two).exists());
    }

    #[test]
    fn a_folder_is_no_component() {
        let dir = tempfile::tempdir().expect("dir");
        let components = Components::open(dir.path().join("components")).expect("folder");
        assert!(components.import(dir.path()).is_err());
    }
}
