//! A module's step in the making.

use std::sync::Arc;

use bytes::Bytes;
use edge_core::{Content, Timestamp, limits};
use edge_hub::{Hub, SendRefusal, Sender};
use edge_store::{Commit, CommitError, Put, Savepoint, Table};

/// Keys that one step may set or delete.
const PUTS_PER_STEP: usize = 1_000;

/// Bytes of messages and values that one step may send and set.
const BYTES_PER_STEP: usize = 16 << 20;

/// What a handler's call has done so far, to be committed with its result or taken back. Several
/// steps of one module may share a commit: each is rolled back by itself.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) sender: Sender,
    pub(crate) commit: Commit,
    /// Commits after each effect: a service has no steps.
    pub(crate) immediate: bool,
    pub(crate) now: Timestamp,
    hops: u8,
    begin: Option<Savepoint>,
    /// Bytes that this step has sent and set.
    bytes: usize,
    /// The same of all steps since the last commit.
    pub(crate) staged_bytes: usize,
}

impl Step {
    pub(crate) fn new(sender: Sender) -> Self {
        Self {
            now: sender.hub().now(),
            sender,
            commit: Commit::new(),
            immediate: false,
            hops: 0,
            begin: None,
            bytes: 0,
            staged_bytes: 0,
        }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.sender.hub()
    }

    /// Begins a step. `hops` is what its input has passed.
    pub(crate) fn begin(&mut self, hops: u8, now: Timestamp) {
        self.now = now;
        self.hops = hops.saturating_add(1);
        self.begin = Some(self.commit.savepoint());
        self.bytes = 0;
    }

    /// Takes back all that the step did.
    pub(crate) fn undo(&mut self) {
        if let Some(begin) = self.begin {
            self.commit.rollback(begin);
        }
    }

    pub(crate) fn send(&mut self, output: &str, content: Arc<Content>) -> Result<(), SendRefusal> {
        let sends = self
            .begin
            .map_or(0, |begin| self.commit.messages_since(begin));
        if sends >= limits::SENDS_PER_STEP || !self.take_bytes(content.size()) {
            return Err(SendRefusal::Full);
        }
        let output = Some(output).filter(|name| !name.is_empty());
        // Now, not when the step began: a slow step's message has its whole time to live before it.
        let now = self.hub().now();
        self.sender
            .stage(&mut self.commit, output, content, self.hops, now)?;
        self.flush_if_immediate().map_err(|_| SendRefusal::Full)
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        match self.commit.pending(table, key) {
            Some(value) => value.cloned(),
            None => self.hub().log().get(table, key),
        }
    }

    pub(crate) fn put(
        &mut self,
        table: Table,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), String> {
        self.admit_put(key.len() + value.as_ref().map_or(0, Bytes::len))?;
        self.commit.put(Put { table, key, value });
        self.flush_if_immediate().map_err(|error| error.to_string())
    }

    /// Makes sure that the step may set one more key, with this many bytes.
    pub(crate) fn admit_put(&mut self, bytes: usize) -> Result<(), String> {
        let puts = self.begin.map_or(0, |begin| self.commit.puts_since(begin));
        if puts >= PUTS_PER_STEP {
            return Err(format!("a step sets at most {PUTS_PER_STEP} keys"));
        }
        if !self.take_bytes(bytes) {
            return Err(format!(
                "a step sends and sets at most {BYTES_PER_STEP} bytes"
            ));
        }
        Ok(())
    }

    fn take_bytes(&mut self, bytes: usize) -> bool {
        if self.immediate {
            return true;
        }
        let all = self.bytes.saturating_add(bytes);
        if all > BYTES_PER_STEP {
            return false;
        }
        self.bytes = all;
        self.staged_bytes = self.staged_bytes.saturating_add(bytes);
        true
    }

    pub(crate) fn flush_if_immediate(&mut self) -> Result<(), CommitError> {
        if !self.immediate {
            return Ok(());
        }
        let committed = self.sender.hub().clone().commit(&mut self.commit);
        if committed.is_err() {
            self.commit.clear();
        }
        committed.map(drop)
    }
}
