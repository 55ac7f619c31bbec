//! `wasi:logging`.

use wasmtime::Result;

use super::HostState;
use super::bindings::wasi::logging::logging::{Host, Level as Severity};
use crate::logs::Level;

impl Host for HostState {
    fn log(&mut self, level: Severity, context: String, message: String) -> Result<()> {
        let level = match level {
            Severity::Trace => Level::Trace,
            Severity::Debug => Level::Debug,
            Severity::Info => Level::Info,
            Severity::Warn => Level::Warn,
            Severity::Error => Level::Error,
            Severity::Critical => Level::Critical,
        };
        self.shared.log.line(level, &context, &message);
        Ok(())
    }
}
