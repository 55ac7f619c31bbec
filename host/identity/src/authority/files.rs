//! Reading and writing of PEM files. What is written is whole or not there: a temporary file, synced, renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::AuthorityError;

/// Largest file that is read, in bytes: a bundle of some hundred CAs fits.
const MAX_FILE: u64 = 1 << 20;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// This user only: keys.
    Owner,
    /// Everybody: certificates.
    All,
}

/// Makes a directory for this user only, and those above it.
pub(super) fn make_dir(dir: &Path) -> Result<(), AuthorityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| io_error("make directory", dir, source))
}

/// A file's bytes; `None` if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, AuthorityError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path, error)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| io_error("read", path, source))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(damaged(path, "it is larger than 1 MiB"));
    }
    Ok(Some(bytes))
}

/// A file's bytes; it must be there.
pub(super) fn read_given(path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let missing = || io_error("open", path, io::ErrorKind::NotFound.into());
    read(path)?.ok_or_else(missing)
}

/// The certificates of a PEM file, in their order; other blocks in it are passed over.
pub(super) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| damaged(path, &format!("its PEM cannot be read: {error}")))?;
    if all.is_empty() {
        return Err(damaged(path, "there is no certificate in it"));
    }
    for certificate in &all {
        if super::parse::validity(certificate).is_none() {
            return Err(damaged(path, "a certificate in it cannot be read"));
        }
    }
    Ok(all)
}

/// The first private key of a PEM file.
pub(super) fn private_key(
    path: &Path,
    pem: &[u8],
) -> Result<PrivateKeyDer<'static>, AuthorityError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| damaged(path, "there is no private key in it"))
}

/// Writes a file as a whole. After a crash it is the former one or this one.
pub(super) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), AuthorityError> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    let temporary = path.with_added_extension("new");
    let attempt = || {
        // One that a crash left may have another mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    };
    attempt().map_err(|source| io_error("write", path, source))
}

/// Takes a key away from everybody else, and says so if it was open to them.
pub(super) fn close_to_others(path: &Path) -> Result<(), AuthorityError> {
    let attempt = || {
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "private key was open to other users; now it is not");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    };
    attempt().map_err(|source| io_error("set permissions of", path, source))
}

/// The `*.pem` files of a directory, by name; none if it is not there.
pub(super) fn pem_files(dir: &Path) -> Result<Vec<PathBuf>, AuthorityError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| io_error("list", dir, error))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A PEM block: base64 in lines of 64 characters.
pub(super) fn pem(label: &str, der: &[u8], out: &mut String) {
    let text = Zeroizing::new(STANDARD.encode(der));
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = next;
    }
    out.push_str(&format!("-----END {label}-----\n"));
}

/// Certificates, one after another.
pub(super) fn certificates_pem<'a>(
    chain: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> String {
    let mut text = String::new();
    for certificate in chain {
        pem("CERTIFICATE", certificate, &mut text);
    }
    text
}

/// A PKCS #8 key.
pub(super) fn key_pem(der: &[u8]) -> Zeroizing<String> {
    // Room for all of it, so that no copy is left behind in memory by growing.
    let mut text = Zeroizing::new(String::with_capacity(der.len() * 2 + 128));
    pem("PRIVATE KEY", der, &mut text);
    text
}

pub(super) fn io_error(attempted: &'static str, path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::File {
        attempted,
        path: path.to_owned(),
        source,
    }
}

pub(super) fn damaged(path: &Path, why: &str) -> AuthorityError {
    AuthorityError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}
