//! What guests log: `wasi:logging`, standard output and standard error, one line at a time and no
//! faster than the module's rate.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use edge_core::ModuleId;

/// Severity, as `wasi:logging` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Trace.
    Trace,
    /// Debug.
    Debug,
    /// Information; standard output counts as this.
    Info,
    /// Warning; standard error counts as this.
    Warn,
    /// Error.
    Error,
    /// Critical.
    Critical,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

/// Takes the lines. Called on worker threads; must not block for long.
pub trait LogSink: Send + Sync + fmt::Debug {
    /// One line of a module; `context` is empty unless the guest named one.
    fn line(&self, module: &ModuleId, level: Level, context: &str, line: &str);
}

/// Longest line in bytes; the rest is cut off and said to be.
const MAX_LINE: usize = 8 << 10;
/// Longest context in bytes.
const MAX_CONTEXT: usize = 128;
/// A burst may be this many seconds' worth of lines.
const BURST_SECONDS: u32 = 10;

/// At most so many bytes of a guest's text, and how many are missing.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    Cow::Owned(format!(
        "{} … ({} bytes cut off)",
        &text[..end],
        text.len() - end
    ))
}

/// The log of one module, with its rate.
#[derive(Debug)]
pub(crate) struct ModuleLog {
    module: ModuleId,
    sink: Arc<dyn LogSink>,
    rate: u32,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    dropped: u64,
}

impl ModuleLog {
    pub(crate) fn new(module: ModuleId, sink: Arc<dyn LogSink>, rate: u32) -> Self {
        Self {
            module,
            sink,
            rate,
            bucket: Mutex::new(Bucket {
                tokens: f64::from(rate.saturating_mul(BURST_SECONDS)),
                filled: Instant::now(),
                dropped: 0,
            }),
        }
    }

    /// Passes a line on, or counts it where the module's rate is used up. What was dropped is said
    /// when the next line passes.
    pub(crate) fn line(&self, level: Level, context: &str, line: &str) {
        let dropped = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let earned = now.duration_since(bucket.filled).as_secs_f64() * f64::from(self.rate);
            let most = f64::from(self.rate.saturating_mul(BURST_SECONDS));
            bucket.tokens = (bucket.tokens + earned).min(most);
            bucket.filled = now;
            if bucket.tokens < 1.0 {
                bucket.dropped += 1;
                return;
            }
            let dropped = std::mem::take(&mut bucket.dropped);
            // Saying what was dropped is a line as well.
            bucket.tokens -= if dropped > 0 { 2.0 } else { 1.0 };
            dropped
        };
        if dropped > 0 {
            self.say_dropped(dropped);
        }
        self.sink.line(
            &self.module,
            level,
            &cut(context, MAX_CONTEXT),
            &cut(line, MAX_LINE),
        );
    }

    /// Says what was dropped and not told yet.
    pub(crate) fn finish(&self) {
        let dropped = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut bucket.dropped)
        };
        if dropped > 0 {
            self.say_dropped(dropped);
        }
    }

    /// The host's own word on this module; not limited.
    pub(crate) fn host(&self, level: Level, line: &str) {
        self.sink
            .line(&self.module, level, "", &cut(line, MAX_LINE));
    }

    fn say_dropped(&self, dropped: u64) {
        let rate = self.rate;
        self.host(
            Level::Warn,
            &format!("{dropped} log lines dropped: more than {rate} a second"),
        );
    }
}

impl Drop for ModuleLog {
    fn drop(&mut self) {
        self.finish();
    }
}
