//! Where components come from that are not on this machine.

use std::fmt;
use std::path::PathBuf;

use edge_core::Digest;
use edge_core::runtime::{BoxFuture, DesiredModule, RuntimeError};

/// A component that has been brought here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What it hashes to; compared with what is compiled.
    pub component: Digest,
    /// Its file. Stays as long as the deployment is kept that it was fetched for.
    pub file: PathBuf,
}

/// Brings components here that are in a registry. Its owner says which registries there are, remembers what
/// a reference stood for, and keeps the files; it takes no part in what is let pass, but for what is said of a
/// component before it has come.
///
/// Both calls may take minutes, and wait for no thread.
pub trait ComponentSource: fmt::Debug + Send + Sync + 'static {
    /// The digest of the manifest that the module's reference stands for: in one deployment always the same,
    /// from the first answer on. Asked for each build, before the gate is.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// It cannot be found out now (transient), or never (refused).
    fn resolve<'a>(
        &'a self,
        module: &'a DesiredModule,
    ) -> BoxFuture<'a, Result<Digest, RuntimeError>>;

    /// The component of that manifest. Not fetched if it is here, nor if what it is said to import goes beyond
    /// what the module was granted.
    ///
    /// Cancel safe: what has come of it by then is removed.
    ///
    /// # Errors
    /// It cannot be had now (transient), or is not what it has to be (refused).
    fn fetch<'a>(
        &'a self,
        module: &'a DesiredModule,
        manifest: Digest,
    ) -> BoxFuture<'a, Result<Fetched, RuntimeError>>;
}
