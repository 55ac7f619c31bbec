//! A ledger outside the system, by which is judged what the system did.
//!
//! ```text
//!   sender ──► Ledger: sent, synced ──► sends ──► Ledger: acknowledged │ refused
//!   receiver ─► Receipts: what it got, in the order in which it got it
//!                          both ──► judge(ledger, receipts, rules) ──► Verdict
//! ```
//!
//! Neither knows how messages travel. A sender has a name; what it sends to one queue it numbers
//! upwards (gaps are allowed). Each try at sending is an entry of its own, so that a sender may send
//! the same number again when it heard nothing, and the judge knows how many copies there can be.
//!
//! Promises: when [`Ledger::sent`] returns, the entry is on the device. Several threads may write at
//! once; they share syncs. A file whose last line is unfinished is read up to that line.

use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod judge;

pub use judge::{Order, Repeats, Rules, Steps, Verdict, Violation, judge};

/// A message, by what its sender calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// Who sent it.
    pub sender: String,
    /// Where order is kept: a topic, an input, an output.
    pub queue: String,
    /// Its number, counting up for one sender and queue.
    pub seq: u64,
}

impl Item {
    /// A message.
    pub fn new(sender: &str, queue: &str, seq: u64) -> Self {
        Self {
            sender: sender.to_owned(),
            queue: queue.to_owned(),
            seq,
        }
    }
}

/// What happened to a message on its sender's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// It is about to be sent, perhaps not for the first time.
    Sent(Item),
    /// The system took it: it must not be lost any more.
    Acknowledged(Item),
    /// The system did not take it, and said so: it must not appear.
    Refused(Item),
}

/// A message on its receiver's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The message.
    pub item: Item,
    /// The modules that it passed, with the number that each gave to its step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<(String, u64)>,
}

impl From<Item> for Received {
    fn from(item: Item) -> Self {
        Self {
            item,
            steps: Vec::new(),
        }
    }
}

/// An append-only file with one JSON value a line.
pub struct Journal<T> {
    write: Mutex<(File, u64)>,
    synced: Mutex<u64>,
    of: PhantomData<fn(T)>,
}

/// What senders write.
pub type Ledger = Journal<Entry>;
/// What receivers write.
pub type Receipts = Journal<Received>;

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// A new one; the file must not be there yet.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            write: Mutex::new((file, 0)),
            synced: Mutex::new(0),
            of: PhantomData,
        })
    }

    /// Writes a value and gives its number. It outlives this process, but not yet the machine.
    ///
    /// # Errors
    /// It could not be written.
    pub fn write(&self, value: &T) -> io::Result<u64> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let mut write = self.write.lock().unwrap();
        write.0.write_all(&line)?;
        write.1 += 1;
        Ok(write.1)
    }

    /// Writes a value; it is on the device when this returns.
    ///
    /// # Errors
    /// It could not be written.
    pub fn write_synced(&self, value: &T) -> io::Result<()> {
        let number = self.write(value)?;
        let mut synced = self.synced.lock().unwrap();
        // Whoever held the lock before may have synced this one, too.
        if *synced < number {
            let (file, written) = {
                let write = self.write.lock().unwrap();
                (write.0.try_clone()?, write.1)
            };
            file.sync_data()?;
            *synced = written;
        }
        Ok(())
    }

    /// All of a file.
    ///
    /// # Errors
    /// It cannot be read, or a whole line of it is no such value.
    pub fn read(path: &Path) -> io::Result<Vec<T>> {
        let text = std::fs::read_to_string(path)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |(number, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| {
                let place = format!("{}:{}: {error}", path.display(), number + 1);
                io::Error::new(io::ErrorKind::InvalidData, place)
            })
        };
        whole.lines().enumerate().map(parse).collect()
    }
}

impl Ledger {
    /// To be called before an item is sent; it is on the device when this returns.
    ///
    /// # Errors
    /// It could not be written: do not send.
    pub fn sent(&self, item: &Item) -> io::Result<()> {
        self.write_synced(&Entry::Sent(item.clone()))
    }

    /// The system took it.
    ///
    /// # Errors
    /// It could not be written.
    pub fn acknowledged(&self, item: &Item) -> io::Result<()> {
        self.write(&Entry::Acknowledged(item.clone())).map(drop)
    }

    /// The system said that it did not take it.
    ///
    /// # Errors
    /// It could not be written.
    pub fn refused(&self, item: &Item) -> io::Result<()> {
        self.write(&Entry::Refused(item.clone())).map(drop)
    }
}
