//! Notes: small texts about components that were looked at before, under the same key as the entries.
//! What a note says of a digest holds for ever, because the digest names the bytes.

use std::fs::File;
use std::io::{self, Read};

use edge_core::Digest;
use hmac::Mac;
use rustix::fs::{Mode, OFlags};

use super::{CacheError, CompileCache, io_error};

/// Largest note.
const MAX_NOTE: usize = 256 << 10;
/// Bytes of the MAC at a note's end.
const MAC_LEN: usize = 32;

fn name(digest: &Digest, kind: &str) -> String {
    format!("{}.{kind}.note", digest.hex())
}

impl CompileCache {
    /// The note of a kind about a component; `None` where there is none, or none of ours.
    ///
    /// # Errors
    /// Failed file operations.
    pub fn note(&self, digest: &Digest, kind: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let name = name(digest, kind);
        let failed = |source: io::Error| io_error("read", &self.path.join(&name), source);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name.as_str(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let mut bytes = Vec::new();
        file.take((MAX_NOTE + MAC_LEN) as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let Some(length) = bytes.len().checked_sub(MAC_LEN).filter(|n| *n <= MAX_NOTE) else {
            return Ok(None);
        };
        let tag = bytes.split_off(length);
        let ours = self.note_mac(&name, &bytes).verify_slice(&tag).is_ok();
        Ok(ours.then_some(bytes))
    }

    /// Keeps a note in place of an older one of its kind. One that is too large is not kept.
    ///
    /// # Errors
    /// Failed file operations; then nothing is left behind.
    pub fn keep_note(&self, digest: &Digest, kind: &str, text: &[u8]) -> Result<(), CacheError> {
        if text.len() > MAX_NOTE {
            return Ok(());
        }
        let name = name(digest, kind);
        let tag = self.note_mac(&name, text).finalize().into_bytes();
        self.write_whole(&name, &[text, &tag])
    }

    /// The name is under the MAC too, so that a note cannot pass for one about another component.
    fn note_mac(&self, name: &str, text: &[u8]) -> super::key::EntryMac {
        let mut mac = self.key.mac();
        mac.update(b"edge note\0");
        mac.update(name.as_bytes());
        mac.update(b"\0");
        mac.update(text);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_a_changed_or_moved_one_is_not() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cache = CompileCache::open(&dir.path().join("cache")).expect("a cache");
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(cache.note(&one, "k").expect("readable"), None);
        cache.keep_note(&one, "k", b"text").expect("kept");
        assert_eq!(
            cache.note(&one, "k").expect("readable").as_deref(),
            Some(&b"text"[..])
        );
        let path = |digest: &Digest| dir.path().join("cache").join(name(digest, "k"));
        std::fs::copy(path(&one), path(&two)).expect("copied");
        assert_eq!(cache.note(&two, "k").expect("readable"), None);
        let mut bytes = std::fs::read(path(&one)).expect("readable");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            std::fs::remove_file(path(&one)).expect("removed");
            std::fs::write(path(&one), &bytes).expect("written");
            assert_eq!(cache.note(&one, "k").expect("readable"), None, "byte {at}");
            bytes[at] ^= 1;
        }
    }
}
