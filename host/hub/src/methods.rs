//! Direct methods: a call with an answer, now or never. Nothing of it is stored.
//!
//! ```text
//!   call ──► target there? ──no──► wait for it, if the caller gives it time ──► not found
//!                 │ yes
//!                 ▼
//!            does it wait for the caller? ──► busy
//!                 │ no
//!                 ▼
//!            MethodTarget::call(MethodCall) ──► answered │ dropped: failed │ time is up
//! ```
//!
//! There is one way, a future ([`Methods::call`]). Protocol heads await it; a step of a Wasm module, which has
//! a thread to itself, blocks on it ([`Methods::invoke`]). The clock comes in from outside, so that the hub
//! depends on no runtime.

mod blocking;
mod call;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use edge_core::{ByteSize, Identity};

use crate::meters::{CallKey, Meters, nanos};

pub use call::MethodCall;

/// Callers that may wait for a target to come, all together. Who comes after them is told at once that it
/// is not there.
const MAX_ARRIVALS: usize = 1_024;

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

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Somebody outside of every module: an operator.
    Outside,
    /// A client of a protocol head, which can answer calls itself while it waits.
    Client(&'a Identity),
    /// A module in its step: it answers nothing until the step ends.
    Step(&'a Identity),
}

impl<'a> Caller<'a> {
    fn identity(self) -> Option<&'a Identity> {
        match self {
            Self::Outside => None,
            Self::Client(identity) | Self::Step(identity) => Some(identity),
        }
    }
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Who calls.
    pub caller: Caller<'a>,
    /// Who is to answer.
    pub target: &'a Identity,
    /// The method's name.
    pub name: &'a str,
    /// JSON text.
    pub payload: &'a str,
    /// How long to wait for a target that is not there yet. Zero: not at all.
    pub connect_timeout: Duration,
    /// How long to wait for the answer once the target has the call.
    pub response_timeout: Duration,
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
    /// Those whose target is the program itself: nobody takes their place.
    reserved: HashSet<Identity>,
    /// A module in a step waits for at most one other.
    waits: HashMap<Identity, Identity>,
    /// Callers whose target is not there yet.
    arrivals: Vec<Expected>,
    tickets: u64,
}

struct Expected {
    ticket: u64,
    target: Identity,
    waker: Waker,
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

    /// Largest payload, either way.
    pub fn limit(&self) -> ByteSize {
        self.limit
    }

    /// Lets the program itself answer the methods of an identity, for good: a client that connects as it gets
    /// none of its calls.
    pub fn reserve(&self, identity: Identity, target: Arc<dyn MethodTarget>) {
        self.lock().reserved.remove(&identity);
        self.register(identity.clone(), target);
        self.lock().reserved.insert(identity);
    }

    /// Lets an identity answer methods. A later target takes an earlier one's place, unless that is
    /// [reserved](Self::reserve).
    pub fn register(&self, identity: Identity, target: Arc<dyn MethodTarget>) {
        let mut inner = self.lock();
        if inner.reserved.contains(&identity) {
            return;
        }
        let arrived = |expected: &mut Expected| expected.target == identity;
        let arrived: Vec<Expected> = inner.arrivals.extract_if(.., arrived).collect();
        inner.targets.insert(identity, target);
        drop(inner);
        arrived
            .into_iter()
            .for_each(|expected| expected.waker.wake());
    }

    /// Calls this target no longer. One that took its place since then stays: a session that ends must not
    /// take away what a newer one of the same identity has put there.
    pub fn unregister(&self, identity: &Identity, target: &Arc<dyn MethodTarget>) {
        let mut inner = self.lock();
        let same = |known: &Arc<dyn MethodTarget>| {
            std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(target))
        };
        if inner.targets.get(identity).is_some_and(same) {
            inner.targets.remove(identity);
        }
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
        let invocation = Invocation {
            caller: caller.map_or(Caller::Outside, Caller::Step),
            target,
            name,
            payload,
            connect_timeout: Duration::ZERO,
            response_timeout: timeout,
        };
        let timer = blocking::Timer::default();
        blocking::run(&timer, self.call(invocation, |span| timer.sleep(span)))
    }

    /// Calls a method. `sleep` makes a future that ends after a span of time. Dropping this gives the call up:
    /// the target's answer then goes nowhere.
    ///
    /// # Errors
    /// No answer, and why. `Busy` where waiting would never end, because the target waits for the caller.
    pub async fn call<S, F>(
        &self,
        invocation: Invocation<'_>,
        sleep: S,
    ) -> Result<MethodResponse, MethodError>
    where
        S: Fn(Duration) -> F,
        F: Future<Output = ()>,
    {
        self.check_payload(invocation.payload)?;
        let target = invocation.target;
        let (callee, _wait) = self.begin(&invocation)?;
        let callee = match callee {
            Some(callee) => callee,
            None => {
                let arrival = Arrival {
                    methods: self,
                    target,
                    ticket: None,
                };
                let arrived = within(arrival, sleep(invocation.connect_timeout)).await;
                let callee = arrived.flatten();
                callee.ok_or_else(|| MethodError::NotFound(target.to_string()))?
            }
        };
        let metered = Metered {
            methods: self,
            key: CallKey {
                from: invocation.caller.identity().cloned(),
                to: target.clone(),
            },
            begin: Instant::now(),
        };
        let (call, answer) = call::pair(invocation.name, invocation.payload);
        callee.call(call);
        let answer = within(answer, sleep(invocation.response_timeout)).await;
        drop(metered);
        let answer = match answer {
            Some(Some(answer)) => answer?,
            Some(None) => {
                let why = format!("{target} stopped before it answered");
                return Err(MethodError::Failed(why));
            }
            None => return Err(MethodError::Timeout(invocation.response_timeout)),
        };
        self.check_payload(&answer.payload)
            .map_err(|error| MethodError::Failed(format!("{target} answered badly: {error}")))?;
        Ok(answer)
    }

    /// The target, if it is there or may still come; and notes that the caller waits for it.
    #[expect(
        clippy::type_complexity,
        reason = "what is there, and the guard of the caller's wait"
    )]
    fn begin<'a>(
        &'a self,
        invocation: &Invocation<'a>,
    ) -> Result<(Option<Arc<dyn MethodTarget>>, Option<Wait<'a>>), MethodError> {
        let target = invocation.target;
        let mut inner = self.lock();
        let callee = inner.targets.get(target).cloned();
        if callee.is_none() && invocation.connect_timeout.is_zero() {
            return Err(MethodError::NotFound(target.to_string()));
        }
        let Some(caller) = invocation.caller.identity() else {
            return Ok((callee, None));
        };
        let in_step = matches!(invocation.caller, Caller::Step(_));
        // A module in a step cannot answer itself; a client can.
        let mut at = match in_step {
            true => Some(target),
            false => inner.waits.get(target),
        };
        while let Some(waiting) = at {
            if waiting == caller {
                return Err(MethodError::Busy(target.to_string()));
            }
            at = inner.waits.get(waiting);
        }
        if !in_step {
            return Ok((callee, None));
        }
        inner.waits.insert(caller.clone(), target.clone());
        let wait = Wait {
            methods: self,
            caller,
        };
        Ok((callee, Some(wait)))
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

/// A module waits in its step while this lives.
struct Wait<'a> {
    methods: &'a Methods,
    caller: &'a Identity,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.methods.lock().waits.remove(self.caller);
    }
}

/// Counts a call when it ends, whichever way.
struct Metered<'a> {
    methods: &'a Methods,
    key: CallKey,
    begin: Instant,
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        let meter = self.methods.meters.calls.get(&self.key);
        meter.calls.record(nanos(self.begin.elapsed()), 1);
    }
}

/// Ends when a target is there; with nothing if too many wait already.
struct Arrival<'a> {
    methods: &'a Methods,
    target: &'a Identity,
    ticket: Option<u64>,
}

impl Future for Arrival<'_> {
    type Output = Option<Arc<dyn MethodTarget>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.methods.lock();
        if let Some(target) = inner.targets.get(self.target) {
            return Poll::Ready(Some(target.clone()));
        }
        let mine = |expected: &&mut Expected| Some(expected.ticket) == self.ticket;
        if let Some(expected) = inner.arrivals.iter_mut().find(mine) {
            expected.waker.clone_from(context.waker());
            return Poll::Pending;
        }
        if inner.arrivals.len() >= MAX_ARRIVALS {
            return Poll::Ready(None);
        }
        inner.tickets += 1;
        let ticket = inner.tickets;
        inner.arrivals.push(Expected {
            ticket,
            target: self.target.clone(),
            waker: context.waker().clone(),
        });
        drop(inner);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut inner = self.methods.lock();
            inner.arrivals.retain(|expected| expected.ticket != ticket);
        }
    }
}

/// What a future comes to, unless another ends before it.
async fn within<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = work.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}
