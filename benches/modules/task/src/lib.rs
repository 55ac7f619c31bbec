//! What a compared module does with a message. It knows neither Wasm nor MQTT: `component` and `container` are
//! the two shells around it.
//!
//! Settings: `work` is one of `pass`, `filter`, `spin`, `allocate` and `flood`; `threshold` (25) is the filter's.
//! The last three are bad neighbours, which never come back by themselves.

use std::hint::black_box;

/// What a module was set to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Passes every message on, without a look at it.
    Pass,
    /// Passes on what is JSON with a temperature above this.
    Filter(f64),
    /// Uses a processor without end.
    Spin,
    /// Takes memory without end, and writes to all of it.
    Allocate,
    /// Writes lines to its log without end.
    Flood,
}

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Forward,
    Drop,
    Reject(String),
}

impl Work {
    /// Reads the settings.
    ///
    /// # Errors
    /// One that cannot be used; the text says which.
    pub fn new(setting: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        match setting("work").as_deref() {
            None | Some("pass") => Ok(Self::Pass),
            Some("filter") => {
                let text = setting("threshold").unwrap_or_else(|| "25".to_owned());
                let number = text.trim().parse();
                let threshold =
                    number.map_err(|_| format!("setting threshold is no number: {text}"))?;
                Ok(Self::Filter(threshold))
            }
            Some("spin") => Ok(Self::Spin),
            Some("allocate") => Ok(Self::Allocate),
            Some("flood") => Ok(Self::Flood),
            Some(other) => Err(format!("setting work is not known: {other}")),
        }
    }

    /// Handles one message. Its body is fetched only if it is needed.
    pub fn handle<B: AsRef<[u8]>>(
        self,
        body: impl FnOnce() -> B,
        mut log: impl FnMut(&str),
    ) -> Verdict {
        match self {
            Self::Pass => Verdict::Forward,
            Self::Filter(threshold) => match reading::of_body(body().as_ref()) {
                Ok(Some(temperature)) if temperature > threshold => Verdict::Forward,
                Ok(_) => Verdict::Drop,
                Err(reason) => Verdict::Reject(reason),
            },
            Self::Spin => {
                let mut n = 0_u64;
                loop {
                    n = black_box(n.wrapping_add(1));
                }
            }
            Self::Allocate => {
                let mut taken: Vec<Vec<u8>> = Vec::new();
                loop {
                    taken.push(black_box(vec![0xa5; 1 << 20]));
                }
            }
            Self::Flood => {
                let mut n = 0_u64;
                loop {
                    log(&format!("line {n} of a module that says too much"));
                    n += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_passes_on_what_is_above_its_threshold() {
        let filter = Work::new(|name| (name == "work").then(|| "filter".to_owned()));
        let filter = filter.expect("a work that there is");
        let of = |body: &str| filter.handle(|| body.to_owned(), |_| ());
        assert_eq!(of(r#"{"machine":{"temperature":25.1}}"#), Verdict::Forward);
        assert_eq!(of(r#"{"machine":{"temperature":25}}"#), Verdict::Drop);
        assert_eq!(of("no JSON"), Verdict::Drop);
        assert!(matches!(of(r#"{"temperature":"26"}"#), Verdict::Reject(_)));
    }
}
