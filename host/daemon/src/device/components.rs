//! The components of the kept deployments, by digest: what runs does not depend on anybody's folder.
//!
//! ```text
//!   <hex>.wasm             a component
//!   <hex>.sigstore.json    <hex>.sig: the signatures that were beside it when it came last
//! ```
//!
//! A file is written whole under another name, synced and renamed, so that whatever has a digest's name
//! is complete. Its bytes are checked again before they run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use edge_core::{ByteSize, Digest};
use edge_trust::{Signature, bundle, detached};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::data_dir::private_folder;

/// Largest component, as the runtime has it.
const MAX_COMPONENT: ByteSize = ByteSize(256 << 20);
/// How files end that were not written to their end.
const UNFINISHED: &str = "part";

/// A file with a signature: how its name ends, its most bytes, and what is in it.
struct SignatureFile {
    suffix: &'static str,
    most: usize,
    read: fn(Vec<u8>) -> Signature,
}

/// The files that may lie beside a component.
const SIGNATURES: [SignatureFile; 2] = [
    SignatureFile {
        suffix: bundle::SUFFIX,
        most: bundle::MAX,
        read: Signature::Bundle,
    },
    SignatureFile {
        suffix: detached::SUFFIX,
        most: detached::MAX,
        read: Signature::Detached,
    },
];

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Components {
    dir: PathBuf,
    /// What is being brought here and no record names yet.
    held: Arc<Mutex<BTreeMap<Digest, usize>>>,
}

/// Keeps a component from being removed until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    digest: Digest,
    held: Arc<Mutex<BTreeMap<Digest, usize>>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.digest);
            }
        }
    }
}

impl Components {
    /// The components in a folder; it is made if need be. What was not written to its end goes: nobody
    /// else writes here.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        private_folder(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == UNFINISHED) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self {
            dir,
            held: Arc::default(),
        })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a component that is about to come, or is there, until a record names it.
    pub(crate) fn hold(&self, digest: Digest) -> Hold {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.entry(digest).or_default() += 1;
        Hold {
            digest,
            held: self.held.clone(),
        }
    }

    /// Whether a component is there and is what its name says: what is there may have rotted. Blocks.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        let bytes = read(&self.path(digest), MAX_COMPONENT.0, "a component");
        bytes.is_ok_and(|bytes| Sha256::digest(bytes)[..] == digest.0)
    }

    /// Where a component is, if it is there.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}.wasm", digest.hex()))
    }

    fn signature(&self, digest: &Digest, file: &SignatureFile) -> PathBuf {
        self.dir.join(format!("{}{}", digest.hex(), file.suffix))
    }

    /// Takes a component in, with the signatures beside it, and says what it hashes to. On the device when
    /// this returns. Where no signature is beside it, those that came with it before are kept: they are of
    /// its bytes.
    pub(crate) fn import(&self, source: &Path) -> io::Result<Digest> {
        let bytes = read(source, MAX_COMPONENT.0, "a component")?;
        let digest = Digest(Sha256::digest(&bytes).into());
        self.write(&self.path(&digest), &bytes)?;
        for file in &SIGNATURES {
            let mut beside = source.as_os_str().to_owned();
            beside.push(file.suffix);
            let beside = PathBuf::from(beside);
            let bytes = match read(&beside, file.most as u64, "a signature") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(|error| {
                    let text = format!("its signature {}: {error}", beside.display());
                    io::Error::new(error.kind(), text)
                })?,
            };
            self.write(&self.signature(&digest, file), &bytes)?;
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(digest)
    }

    /// Writes a file whole.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // What is there may have rotted: taking it in again is how it is repaired.
        if fs::read(path).is_ok_and(|kept| kept == bytes) {
            return Ok(());
        }
        let unfinished = path.with_extension(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    }

    /// The signatures of a component, each with its place.
    pub(crate) fn signatures(&self, digest: &Digest) -> io::Result<Vec<(String, Signature)>> {
        let mut all = Vec::new();
        for file in &SIGNATURES {
            let path = self.signature(digest, file);
            match read(&path, file.most as u64, "a signature") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => all.push((
                    format!("the file beside it, *{}", file.suffix),
                    (file.read)(read?),
                )),
            }
        }
        Ok(all)
    }

    /// Tells one set of signatures of a component from another; `None` if there are none.
    pub(crate) fn signatures_hash(&self, digest: &Digest) -> Option<Digest> {
        let files = SIGNATURES.iter().map(|file| self.signature(digest, file));
        // One that cannot be read is said by the gate.
        let read: Vec<_> = files.filter_map(|path| fs::read(path).ok()).collect();
        let mut hash = Sha256::new();
        for bytes in &read {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        (!read.is_empty()).then(|| Digest(hash.finalize().into()))
    }

    /// Removes all but those that `wanted` names and those that are held, and their signatures. It is asked
    /// when nothing can be let go of meanwhile: a component is held until what it names has it.
    pub(crate) fn keep(&self, wanted: impl FnOnce() -> BTreeSet<Digest>) -> io::Result<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = wanted();
        let wanted: BTreeSet<String> = wanted.iter().chain(held.keys()).map(Digest::hex).collect();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            // A name that is no text is not of ours.
            let Some((stem, rest)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let ends = |end: &str| rest.rsplit('.').next() == Some(end);
            let ours = ["wasm", "json", "sig"].into_iter().any(ends);
            if ours && !wanted.contains(stem) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Reads a file that has at most so many bytes.
fn read(path: &Path, most: u64, what: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a pipe must not wait for somebody to write to it.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    (&mut file).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let most = ByteSize(most);
        return Err(io::Error::other(format!(
            "it has more than {most}, the most that {what} may have"
        )));
    }
    Ok(bytes)
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

        components.keep(|| BTreeSet::from([two])).expect("keep");
        assert!(!components.path(&one).exists() && components.path(&two).exists());
    }

    #[test]
    fn signatures_come_and_go_with_their_component() {
        let dir = tempfile::tempdir().expect("dir");
        let source = dir.path().join("a.wasm");
        let beside = |suffix: &str| dir.path().join(format!("a.wasm{suffix}"));
        let components = Components::open(dir.path().join("components")).expect("folder");
        fs::write(&source, "one").expect("file");
        let one = components.import(&source).expect("import");
        assert_eq!(components.signatures(&one).expect("none"), []);
        assert_eq!(components.signatures_hash(&one), None);
        fs::write(beside(".sigstore.json"), "bundle").expect("file");
        fs::write(beside(".sig"), "sig").expect("file");
        components.import(&source).expect("import");
        let kept = components.signatures(&one).expect("two");
        let kept: Vec<_> = kept.into_iter().map(|(_, signature)| signature).collect();
        assert_eq!(
            kept,
            [
                Signature::Bundle(b"bundle".to_vec()),
                Signature::Detached(b"sig".to_vec())
            ]
        );
        let hash = components.signatures_hash(&one);
        fs::write(beside(".sig"), "other").expect("file");
        components.import(&source).expect("import");
        assert_ne!(components.signatures_hash(&one), hash);
        // Without them, the same bytes keep what they had.
        fs::remove_file(beside(".sig")).expect("gone");
        components.import(&source).expect("import");
        assert_eq!(components.signatures(&one).expect("two").len(), 2);
        fs::write(beside(".sig"), [b'x'; 5000]).expect("file");
        let error = components.import(&source).expect_err("large").to_string();
        assert!(
            error.contains("a.wasm.sig: it has more than 4KiB"),
            "{error}"
        );

        components.keep(|| BTreeSet::from([one])).expect("keep");
        assert_eq!(components.signatures(&one).expect("two").len(), 2);
        components.keep(BTreeSet::new).expect("keep");
        let left = fs::read_dir(dir.path().join("components"))
            .expect("dir")
            .count();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_is_held_stays_until_it_is_let_go_of() {
        let dir = tempfile::tempdir().expect("dir");
        let source = dir.path().join("a.wasm");
        let folder = dir.path().join("components");
        let components = Components::open(folder.clone()).expect("folder");
        fs::write(&source, "one").expect("file");
        let one = components.import(&source).expect("import");
        let (first, second) = (components.hold(one), components.hold(one));
        drop(first);
        components.keep(BTreeSet::new).expect("keep");
        assert!(components.has(&one));
        drop(second);
        fs::write(components.path(&one), "onx").expect("file");
        assert!(!components.has(&one), "it has rotted");
        // What is being written is nobody's to remove but its writer's, and the next start's.
        let unfinished = folder.join("x.part");
        fs::write(&unfinished, "half").expect("file");
        components.keep(BTreeSet::new).expect("keep");
        assert!(!components.path(&one).exists() && unfinished.exists());
        Components::open(folder).expect("folder");
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_folder_is_no_component() {
        let dir = tempfile::tempdir().expect("dir");
        let components = Components::open(dir.path().join("components")).expect("folder");
        assert!(components.import(dir.path()).is_err());
    }
}
