//! Dead letters: looked at, put back, or dropped.

use edge_hub::ReplayError;
use edge_store::{Commit, CommitError, DeadLetter, Lsn, Seq};

use super::Device;
use crate::api::types::{Handled, Which};

/// Dead letters that are read at a time.
const PAGE: usize = 256;

impl Device {
    /// Up to `max` dead letters from a number on. Blocks: they may be on disk.
    pub(crate) fn letters(&self, from: u64, max: usize) -> Vec<(Seq, DeadLetter)> {
        self.hub.log().dead_letters(Seq(from), max)
    }

    /// Puts dead letters back into the queues that they came from. Blocks. Whatever is done is on the
    /// device when the commit that comes back is.
    pub(crate) fn replay_letters(
        &self,
        which: Which,
    ) -> Result<(Handled, Option<Lsn>), CommitError> {
        let mut handled = Handled::default();
        for number in self.numbers(which) {
            match self.hub.replay_dead_letter(Seq(number)) {
                Ok(_) => handled.done.push(number),
                Err(ReplayError::Store(error)) if !error.is_transient() => return Err(error),
                Err(error) => handled.failed.push((number, error.to_string())),
            }
        }
        let lsn = self.forget(&handled.done)?;
        Ok((handled, lsn))
    }

    /// Forgets dead letters. Blocks. Whatever is done is on the device when the commit that comes back is.
    pub(crate) fn drop_letters(&self, which: Which) -> Result<(Handled, Option<Lsn>), CommitError> {
        let mut handled = Handled::default();
        for number in self.numbers(which) {
            match self.letters(number, 1).first() {
                Some((found, _)) if found.0 == number => handled.done.push(number),
                _ => handled
                    .failed
                    .push((number, ReplayError::Unknown(number).to_string())),
            }
        }
        let lsn = self.forget(&handled.done)?;
        Ok((handled, lsn))
    }

    /// The numbers that are meant, each once.
    fn numbers(&self, which: Which) -> Vec<u64> {
        match which {
            Which::Numbers(mut numbers) => {
                numbers.sort_unstable();
                numbers.dedup();
                numbers
            }
            Which::All => {
                let mut numbers: Vec<u64> = Vec::new();
                loop {
                    let from = numbers.last().map_or(0, |last| last + 1);
                    let page = self.letters(from, PAGE);
                    numbers.extend(page.iter().map(|(seq, _)| seq.0));
                    if page.len() < PAGE {
                        return numbers;
                    }
                }
            }
        }
    }

    /// One commit after all that was done before; that a letter is forgotten already does no harm.
    fn forget(&self, numbers: &[u64]) -> Result<Option<Lsn>, CommitError> {
        let mut commit = Commit::new();
        for number in numbers {
            commit.forget_dead_letter(Seq(*number));
        }
        self.hub.commit(&mut commit)
    }
}
