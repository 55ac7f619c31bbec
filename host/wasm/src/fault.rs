//! Why a guest's call did not return: traps, deadlines, limits.

use std::fmt::Write as _;
use std::time::Duration;

use edge_core::{ByteSize, format_duration};
use wasmtime::{Trap, WasmBacktrace};

/// Deepest backtrace that is told.
const FRAMES: usize = 16;

/// A call that ended without a result; its instance is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// One line.
    pub(crate) summary: String,
    /// Guest functions, the innermost first; one a line, empty where there is none.
    pub(crate) backtrace: String,
}

/// What the host knows of a call when it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    pub(crate) deadline: Duration,
    pub(crate) memory: ByteSize,
    /// The allocation that was refused last, if any was in this instance.
    pub(crate) refused: Option<usize>,
}

/// A wait that lasted longer than the module's timeout.
#[derive(Debug, thiserror::Error)]
#[error("the call took longer than its timeout of {}", format_duration(*.0))]
pub(crate) struct TimedOut(pub(crate) Duration);

impl Fault {
    pub(crate) fn new(error: &wasmtime::Error, about: Circumstances) -> Self {
        let trap = error.downcast_ref::<Trap>();
        let mut summary = match trap {
            Some(Trap::Interrupt) => format!(
                "missed its deadline: more than {} of CPU time in one call",
                format_duration(about.deadline)
            ),
            Some(trap) => {
                let trap = trap.to_string();
                format!("trap: {}", trap.trim_start_matches("wasm trap: "))
            }
            None => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
                Some(exit) => format!("the guest called exit with status {}", exit.0),
                None => error.root_cause().to_string(),
            },
        };
        if let Some(asked) = about.refused
            && !matches!(trap, Some(Trap::Interrupt))
        {
            let _ = write!(
                summary,
                " (the guest was refused memory: {} asked for, the limit is {})",
                ByteSize(asked as u64),
                about.memory
            );
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(describe);
        Self {
            summary,
            backtrace: backtrace.unwrap_or_default(),
        }
    }

    /// Summary and backtrace.
    pub(crate) fn full(&self) -> String {
        if self.backtrace.is_empty() {
            self.summary.clone()
        } else {
            format!("{}\n{}", self.summary, self.backtrace)
        }
    }
}

fn describe(backtrace: &WasmBacktrace) -> String {
    let lines = backtrace.frames().iter().map(|frame| {
        let symbol = frame.symbols().first();
        let name = symbol
            .and_then(|symbol| symbol.name())
            .or_else(|| frame.func_name())
            .unwrap_or("(unnamed function)");
        // Without the hash at the end, which tells nobody anything.
        let name = format!("{:#}", rustc_demangle::demangle(name));
        match symbol.and_then(|s| Some((s.file()?, s.line()?))) {
            Some((file, line)) => format!("{name} ({file}:{line})"),
            None => name,
        }
    });
    list(lines)
}

/// One line for every frame; those that repeat the one before, as in a recursion, are counted.
fn list(frames: impl Iterator<Item = String>) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    let mut more = 0;
    for frame in frames {
        let room = runs.len() < FRAMES;
        match runs.last_mut() {
            Some((last, times)) if *last == frame => *times += 1,
            _ if room => runs.push((frame, 1)),
            _ => more += 1,
        }
    }
    let mut text = String::new();
    for (frame, times) in runs {
        let _ = match times {
            1 => writeln!(text, "  at {frame}"),
            times => writeln!(text, "  at {frame} ({times} times)"),
        };
    }
    if more > 0 {
        let _ = write!(text, "  … {more} more");
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::{FRAMES, list};

    #[test]
    fn repeated_frames_are_counted_and_what_is_too_deep_is_left_out() {
        let frames = ["spin", "deeper", "deeper", "handle"].map(str::to_owned);
        assert_eq!(
            list(frames.into_iter()),
            "  at spin\n  at deeper (2 times)\n  at handle"
        );
        let deep = list((0..FRAMES + 3).map(|n| n.to_string()));
        assert!(deep.ends_with("  at 15\n  … 3 more"), "{deep}");
        assert_eq!(list(std::iter::empty()), "");
    }
}
