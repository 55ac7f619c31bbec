//! Direct methods: a call with an answer, now or never. Nothing of it is stored.

use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edge_core::{ByteSize, Identity};

use crate::meters::{CallKey, Meters, nanos};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    /// Status in the manner of HTTP; the callee's choice.
    pub status: u32,
    /// JSON text.
    pub payload: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// Nobody of that name answers methods.
    #[error("{0} is not there, or answers no methods")]
    NotFound(String),
    /// The time was up.
    #[error("no answer within {}", edge_core::format_duration(*.0))]
    Timeout(Duration),
    /// The target waits for the caller.
    #[error("{0} waits for the caller itself")]
    Busy(String),
    /// The payload is too large or no JSON.
    #[error("{0}")]
    Invalid(String),
    /// The target failed.
    #[error("{0}")]
    Failed(String),
}

/// A call on its way to whoever answers it.
#[derive(Debug)]
pub struct MethodCall {
    /// The method's name.
    pub name: String,
    /// JSON text.
    pub payload: String,
    reply: SyncSender<Result<MethodResponse, MethodError>>,
}

impl MethodCall {
    /// Answers. A caller that no longer waits never hears of it.
    pub fn answer(self, answer: Result<MethodResponse, MethodError>) {
        // The caller may have given up; then there is nobody to tell.
        let _ = self.reply.send(answer);
    }
}

/// Answers methods of one identity.
pub trait MethodTarget: Send + Sync {
    /// Takes a call and answers it later. Must not block. Dropping the call is an answer too: failed.
    fn call(&self, call: MethodCall);
}

/// Who answers methods, and who waits for whom.
pub struct Methods {
    limit: ByteSize,
    inner: Mutex<Inner>,
    meters: Arc<Meters>,
}

#[derive(Default)]
struct Inner {
    targets: HashMap<Identity, Arc<dyn MethodTarget>>,
    /// A module in a step waits for at most one other.
    waits: HashMap<Identity, Identity>,
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Methods {
    pub(crate) fn new(limit: ByteSize, meters: Arc<Meters>) -> Self {
        Self {
            limit,
            meters,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an identity answer methods.
    pub fn register(&self, identity: Identity, target: Arc<dyn MethodTarget>) {
        self.lock().targets.insert(identity, target);
    }

    /// No longer.
    pub fn unregister(&self, identity: &Identity) {
        self.lock().targets.remove(identity);
    }

    /// Calls a method and blocks until it is answered. `caller` is the module that waits inside its
    /// step, if one does.
    ///
    /// # Errors
    /// No answer, and why. `Busy` where waiting would never end, because the target waits for the caller.
    pub fn invoke(
        &self,
        caller: Option<&Identity>,
        target: &Identity,
        name: &str,
        payload: &str,
        timeout: Duration,
    ) -> Result<MethodResponse, MethodError> {
        self.check_payload(payload)?;
        let (reply, answer) = sync_channel(1);
        let callee = {
            let mut inner = self.lock();
            let callee = inner
                .targets
                .get(target)
                .cloned()
                .ok_or_else(|| MethodError::NotFound(target.to_string()))?;
            if let Some(caller) = caller {
                let mut at = Some(target);
                while let Some(waiting) = at {
                    if waiting == caller {
                        return Err(MethodError::Busy(target.to_string()));
                    }
                    at = inner.waits.get(waiting);
                }
                inner.waits.insert(caller.clone(), target.clone());
            }
            callee
        };
        let begin = Instant::now();
        callee.call(MethodCall {
            name: name.to_owned(),
            payload: payload.to_owned(),
            reply,
        });
        let answer = match answer.recv_timeout(timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(MethodError::Timeout(timeout)),
            Err(RecvTimeoutError::Disconnected) => Err(MethodError::Failed(format!(
                "{target} stopped before it answered"
            ))),
        };
        if let Some(caller) = caller {
            self.lock().waits.remove(caller);
        }
        let key = CallKey {
            from: caller.cloned(),
            to: target.clone(),
        };
        let meter = self.meters.calls.get(&key);
        meter.calls.record(nanos(begin.elapsed()), 1);
        let answer = answer?;
        self.check_payload(&answer.payload)
            .map_err(|error| MethodError::Failed(format!("{target} answered badly: {error}")))?;
        Ok(answer)
    }

    fn check_payload(&self, payload: &str) -> Result<(), MethodError> {
        if payload.len() as u64 > self.limit.0 {
            return Err(MethodError::Invalid(format!(
                "the payload has {} bytes, at most {} are allowed",
                payload.len(),
                self.limit
            )));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(payload)
            .map(drop)
            .map_err(|error| MethodError::Invalid(format!("the payload is not JSON: {error}")))
    }
}
