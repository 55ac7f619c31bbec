//! An archive that is made in memory: `tar.gz`, files for their owner alone.

use std::io::{self, Write};

use edge_core::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;

/// An archive in the making. What is added has been through [`crate::redact`] already.
pub struct Archive {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    /// The folder that everything lies in.
    folder: String,
    seconds: u64,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Archive {
    /// Without files; those that come lie in `folder`.
    pub fn new(folder: &str, now: Timestamp) -> Self {
        let encoder = GzEncoder::new(Vec::new(), Compression::default());
        Self {
            tar: tar::Builder::new(encoder),
            folder: folder.to_owned(),
            seconds: now.0 / 1_000_000_000,
        }
    }

    /// Adds a file. Of its path everything that could lead out of the folder is taken away.
    ///
    /// # Errors
    /// Its name cannot be one in an archive.
    pub fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let parts = path.split('/').map(plain).filter(|part| !part.is_empty());
        let path: String = parts.fold(self.folder.clone(), |path, part| path + "/" + &part);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.seconds);
        header.set_size(content.len() as u64);
        self.tar.append_data(&mut header, path, content)
    }

    /// The archive.
    ///
    /// # Errors
    /// None while it is in memory.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        let mut encoder = self.tar.into_inner()?;
        encoder.flush()?;
        encoder.finish()
    }
}

/// A part of a path with nothing in it that means something to a shell or a file system.
fn plain(part: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.$".contains(c);
    let part: String = part
        .chars()
        .map(|c| if known(c) { c } else { '_' })
        .collect();
    match part.chars().all(|c| c == '.') {
        true => String::new(),
        false => part,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn files_lie_in_one_folder_whatever_they_are_called() {
        let mut archive = Archive::new("bundle", Timestamp(1_800_000_000_000_000_000));
        archive.file("a/b.txt", b"one").expect("added");
        archive.file("../../etc/pass wd", b"two").expect("added");
        let bytes = archive.finish().expect("finished");
        let mut found = Vec::new();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        for entry in tar.entries().expect("entries") {
            let mut entry = entry.expect("entry");
            let path = entry.path().expect("path").display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            found.push((path, text));
        }
        let expected = [("bundle/a/b.txt", "one"), ("bundle/etc/pass_wd", "two")];
        assert_eq!(
            found,
            expected.map(|(path, text)| (path.to_owned(), text.to_owned()))
        );
    }
}
