//! Bytes that come from a registry on their way to a file of their digest's name.
//!
//! A thread of its own writes and hashes; whoever reads from the network waits for it when a few pieces lie
//! before it. What is given up half-way leaves nothing: the file is removed when the last hand lets it go.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use edge_core::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Pieces that may wait to be written; one is what a read from the network brought.
const WAITING: usize = 16;
/// How files end that are not complete.
const UNFINISHED: &str = ".part";

/// A component's file in a folder.
pub(crate) fn path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{}.wasm", digest.hex()))
}

/// Whether a file is there that hashes to its name. What is there may have rotted.
pub(crate) async fn is_there(file: &Path, digest: Digest) -> bool {
    let file = file.to_owned();
    let read = move || -> io::Result<bool> {
        let mut hash = Sha256::new();
        let (mut file, mut piece) = (File::open(file)?, vec![0; 128 << 10]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hash.finalize()[..] == digest.0),
                read => hash.update(&piece[..read]),
            }
        }
    };
    matches!(spawn_blocking(read).await, Ok(Ok(true)))
}

/// A file that grows.
pub(crate) struct Landing {
    pieces: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<Landed>>,
}

/// All of a file that has not got its name yet.
pub(crate) struct Landed {
    file: NamedTempFile,
    /// What it hashes to.
    pub(crate) digest: Digest,
}

impl Landing {
    pub(crate) fn start(folder: &Path) -> Self {
        let (pieces, mut incoming) = mpsc::channel::<Bytes>(WAITING);
        let folder = folder.to_owned();
        let writer = spawn_blocking(move || {
            let mut file = tempfile::Builder::new()
                .suffix(UNFINISHED)
                .tempfile_in(folder)?;
            let mut hash = Sha256::new();
            while let Some(piece) = incoming.blocking_recv() {
                hash.update(&piece);
                file.write_all(&piece)?;
            }
            Ok(Landed {
                file,
                digest: Digest(hash.finalize().into()),
            })
        });
        Self { pieces, writer }
    }

    /// Adds a piece. False: it could not be written, which [`end`](Self::end) says.
    pub(crate) async fn add(&mut self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// That was all.
    pub(crate) async fn end(self) -> io::Result<Landed> {
        drop(self.pieces);
        self.writer.await.map_err(io::Error::other)?
    }
}

impl Landed {
    /// Gives it its name. On the device when this returns.
    pub(crate) async fn keep(self, path: PathBuf) -> io::Result<()> {
        let keep = move || {
            self.file.as_file().sync_all()?;
            self.file.persist(&path).map_err(|error| error.error)?;
            match path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        spawn_blocking(keep).await.map_err(io::Error::other)?
    }
}
