//! What goes wrong inside, and what callers are told.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use super::layout::FORMAT;
use crate::TableError;

/// Something went wrong; not yet said where.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Io(io::Error),
    /// There is no room, noticed before anything was done.
    #[error("{0}")]
    NoRoom(io::Error),
    #[error("{0}")]
    Damage(String),
    #[error("format {0}")]
    NewerFormat(u32),
    #[error("in use")]
    InUse,
}

impl Fault {
    pub(super) fn damage(what: &str) -> Self {
        Self::Damage(what.to_owned())
    }

    pub(super) fn too_long() -> Self {
        let why = "a value of 4 GiB or more";
        Self::Io(io::Error::new(ErrorKind::InvalidInput, why))
    }

    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::NoRoom(_) => true,
            Self::Io(e) => matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
            _ => false,
        }
    }

    /// Says where.
    pub(super) fn at(self, doing: &'static str, path: &Path) -> TableError {
        let full = self.is_full();
        let path = path.to_owned();
        match self {
            Self::Io(source) | Self::NoRoom(source) if full => TableError::Full {
                doing,
                path,
                source,
            },
            Self::Io(source) | Self::NoRoom(source) => TableError::Io {
                doing,
                path,
                source,
            },
            Self::Damage(what) => TableError::Damaged { path, what },
            Self::NewerFormat(found) => TableError::NewerFormat {
                path,
                found,
                newest: FORMAT,
            },
            Self::InUse => TableError::InUse { path },
        }
    }
}

impl From<::sled::Error> for Fault {
    /// An error of the file system that says something about the file's content is damage; the others
    /// say that the content cannot be got at now.
    fn from(error: ::sled::Error) -> Self {
        const EIO: i32 = 5;
        match error {
            ::sled::Error::Io(e)
                if e.raw_os_error() != Some(EIO)
                    && !matches!(
                        e.kind(),
                        ErrorKind::UnexpectedEof
                            | ErrorKind::InvalidData
                            | ErrorKind::NotFound
                            | ErrorKind::Other
                    ) =>
            {
                Self::Io(e)
            }
            other => Self::Damage(other.to_string()),
        }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls sled, which panics over some damage. The panic is an error here and is not printed as well.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                before(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    // What sled holds when it panics is not used again: the caller closes the tables or reads files.
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    QUIET.set(before);
    result.unwrap_or_else(|panic| {
        let said = match panic.downcast::<String>() {
            Ok(said) => *said,
            Err(panic) => match panic.downcast::<&'static str>() {
                Ok(said) => (*said).to_owned(),
                Err(_) => "no words".to_owned(),
            },
        };
        Err(Fault::Damage(format!("sled panicked: {said}")))
    })
}
