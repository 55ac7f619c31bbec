//! One call: what its target holds, and what its caller waits on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{MethodError, MethodResponse};

type Answered = Result<MethodResponse, MethodError>;

/// A call on its way to whoever answers it.
#[derive(Debug)]
pub struct MethodCall {
    /// The method's name.
    pub name: String,
    /// JSON text.
    pub payload: String,
    reply: Reply,
}

impl MethodCall {
    /// Answers. A caller that no longer waits never hears of it.
    pub fn answer(self, answer: Result<MethodResponse, MethodError>) {
        self.reply.0.end(State::Answered(answer));
    }

    /// Whether the caller still waits. Whoever keeps calls until their answer comes from afar can drop those
    /// that nobody waits for.
    pub fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.reply.0) > 1
    }
}

/// The target's end. Dropped without an answer, it says so.
struct Reply(Arc<Cell>);

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.0.end(State::Dropped);
    }
}

/// The caller's end: the answer, or nothing if the call was dropped.
pub(super) struct Answer(Arc<Cell>);

impl Future for Answer {
    type Output = Option<Answered>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Dropped) {
            State::Answered(answer) => Poll::Ready(Some(answer)),
            State::Dropped => Poll::Ready(None),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

struct Cell(Mutex<State>);

enum State {
    Waiting(Option<Waker>),
    Answered(Answered),
    Dropped,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the wait, if nothing has ended it before.
    fn end(&self, end: State) {
        let mut state = self.lock();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = end;
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Both ends of a call.
pub(super) fn pair(name: &str, payload: &str) -> (MethodCall, Answer) {
    let cell = Arc::new(Cell(Mutex::new(State::Waiting(None))));
    let call = MethodCall {
        name: name.to_owned(),
        payload: payload.to_owned(),
        reply: Reply(cell.clone()),
    };
    (call, Answer(cell))
}
