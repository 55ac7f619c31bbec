//! What the log says of filters that a client may not subscribe to.

/// Characters of a filter that are shown.
const SHOWN: usize = 200;

/// The refused filters of one SUBSCRIBE: a line in the log, however many there are.
#[derive(Debug, Default)]
pub(crate) struct RefusedFilters {
    first: Option<(String, String)>,
    others: usize,
}

impl RefusedFilters {
    /// Another one.
    pub(crate) fn add(&mut self, filter: &str, why: &dyn std::fmt::Display) {
        match self.first {
            None => {
                let filter = filter.chars().take(SHOWN).collect();
                self.first = Some((filter, why.to_string()));
            }
            Some(_) => self.others += 1,
        }
    }

    /// Writes the line, if there is something to say.
    pub(crate) fn log(self, client: &str) {
        if let Some((filter, why)) = self.first {
            tracing::warn!(%client, filter, %why, others = self.others, "subscription refused");
        }
    }
}
