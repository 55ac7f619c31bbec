//! Why a step of a module's life failed.

use std::fmt;

use super::GateRefusal;
use crate::ModuleId;

/// A step of a module's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Look for what runs already.
    Adopt,
    /// Fetch, check, compile.
    Prepare,
    /// Start.
    Start,
    /// Take over to another build while it runs.
    Replace,
    /// Stop.
    Stop,
    /// Remove.
    Remove,
}

impl Step {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Replace => "replace",
            Self::Stop => "stop",
            Self::Remove => "remove",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeErrorKind {
    /// The deployment asks for what cannot be: a wrong digest, a missing grant. It stays so until the
    /// deployment changes.
    Refused,
    /// It may pass: a busy disk, an engine that does not answer.
    Transient,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("module {module}: {step}: {why}")]
pub struct RuntimeError {
    /// The module.
    pub module: ModuleId,
    /// What was attempted.
    pub step: Step,
    /// Who can do something about it.
    pub kind: RuntimeErrorKind,
    /// The cause, and what to do about it.
    pub why: String,
}

impl RuntimeError {
    /// The deployment has to change.
    pub fn refused(module: &ModuleId, step: Step, why: impl Into<String>) -> Self {
        Self {
            module: module.clone(),
            step,
            kind: RuntimeErrorKind::Refused,
            why: why.into(),
        }
    }

    /// To be tried again.
    pub fn transient(module: &ModuleId, step: Step, why: impl Into<String>) -> Self {
        Self {
            module: module.clone(),
            step,
            kind: RuntimeErrorKind::Transient,
            why: why.into(),
        }
    }

    /// The gate did not let an artifact pass.
    pub fn gate(module: &ModuleId, step: Step, refusal: &GateRefusal) -> Self {
        Self {
            module: module.clone(),
            step,
            kind: refusal.kind,
            why: refusal.to_string(),
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        self.kind == RuntimeErrorKind::Transient
    }
}

/// A runtime cannot say which modules are there. Always to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot list the modules that are there: {0}")]
pub struct ListError(pub String);
