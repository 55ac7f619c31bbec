//! One instance of a component, and calls into it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource, TypedFunc};

use crate::fault::{Circumstances, Fault, TimedOut};
use crate::host::{CallMode, GuestFailure, GuestMessage, GuestResponse, HostState};
use crate::runtime::Prepared;
use crate::step::Step;

type HandleFn = TypedFunc<(Arc<str>, Resource<GuestMessage>), (Result<(), GuestFailure>,)>;
type TickFn = TypedFunc<(Arc<str>, u64), (Result<(), GuestFailure>,)>;
type DesiredFn = TypedFunc<(String, u64), (Result<(), GuestFailure>,)>;
type InvokeFn = TypedFunc<(String, String), (Result<GuestResponse, String>,)>;

/// A component's instance with its memory.
pub(crate) struct Instance {
    store: Store<HostState>,
    handle: Option<HandleFn>,
    tick: Option<TickFn>,
    desired: Option<DesiredFn>,
    invoke: Option<InvokeFn>,
    prepared: Arc<Prepared>,
}

/// What a handler said, or why it could not.
pub(crate) type Called<T> = Result<T, Fault>;

impl Instance {
    /// A fresh instance. Start functions run here, under the same limits as a call.
    ///
    /// The step moves from the slot into the instance.
    ///
    /// # Errors
    /// The fault; the step is in the slot again.
    pub(crate) fn new(prepared: Arc<Prepared>, step: &mut Option<Box<Step>>) -> Called<Self> {
        let mut state = HostState::new(prepared.shared().clone()).map_err(|summary| Fault {
            summary,
            backtrace: String::new(),
        })?;
        state.step = step.take();
        let mut store = Store::new(prepared.pre().engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|cx| cx.data().deadline_reached());
        let mut instance = Self {
            store,
            handle: None,
            tick: None,
            desired: None,
            invoke: None,
            prepared: prepared.clone(),
        };
        instance.instantiate().map_err(|error| {
            *step = instance.take_step();
            instance.fault(&error)
        })?;
        Ok(instance)
    }

    fn instantiate(&mut self) -> wasmtime::Result<()> {
        let prepared = self.prepared.clone();
        self.arm();
        let pre = prepared.pre();
        let instance = match prepared.mode() {
            CallMode::Sync => pre.instantiate(&mut self.store)?,
            CallMode::Async => {
                let timeout = prepared.shared().options.timeout;
                let start = pre.instantiate_async(&mut self.store);
                prepared.runtime().block_on(async {
                    tokio::time::timeout(timeout, start)
                        .await
                        .map_err(|_| wasmtime::Error::new(TimedOut(timeout)))?
                })?
            }
        };
        let exports = prepared.exports();
        let store = &mut self.store;
        self.handle = exports
            .handle
            .as_ref()
            .map(|i| instance.get_typed_func(&mut *store, i))
            .transpose()?;
        self.tick = exports
            .tick
            .as_ref()
            .map(|i| instance.get_typed_func(&mut *store, i))
            .transpose()?;
        self.desired = exports
            .desired
            .as_ref()
            .map(|i| instance.get_typed_func(&mut *store, i))
            .transpose()?;
        self.invoke = exports
            .invoke
            .as_ref()
            .map(|i| instance.get_typed_func(&mut *store, i))
            .transpose()?;
        Ok(())
    }

    /// The step, between two calls.
    pub(crate) fn step(&mut self) -> Option<&mut Box<Step>> {
        self.store.data_mut().step.as_mut()
    }

    /// Takes the step along to another instance.
    pub(crate) fn take_step(&mut self) -> Option<Box<Step>> {
        self.store.data_mut().step.take()
    }

    /// `input-handler.handle`.
    pub(crate) fn handle(
        &mut self,
        input: Arc<str>,
        message: GuestMessage,
    ) -> Called<Result<(), GuestFailure>> {
        let Some(function) = self.handle else {
            return Ok(Err(GuestFailure::Reject(
                "the module has no input-handler".to_owned(),
            )));
        };
        let rep = match self.store.data_mut().messages.insert(message) {
            Ok(rep) => rep,
            Err(error) => return Err(self.fault(&error)),
        };
        let called = self.call(function, (input, Resource::new_borrow(rep)));
        self.store.data_mut().messages.remove(rep);
        called
    }

    /// `timer-handler.tick`.
    pub(crate) fn tick(&mut self, timer: Arc<str>, due: u64) -> Called<Result<(), GuestFailure>> {
        match self.tick {
            Some(function) => self.call(function, (timer, due)),
            None => Ok(Ok(())),
        }
    }

    /// `twin-handler.desired-changed`.
    pub(crate) fn desired_changed(
        &mut self,
        patch: String,
        version: u64,
    ) -> Called<Result<(), GuestFailure>> {
        match self.desired {
            Some(function) => self.call(function, (patch, version)),
            None => Ok(Ok(())),
        }
    }

    /// `method-handler.invoke`.
    pub(crate) fn invoke(
        &mut self,
        name: String,
        payload: String,
    ) -> Called<Result<GuestResponse, String>> {
        match self.invoke {
            Some(function) => self.call(function, (name, payload)),
            None => Ok(Err("the module answers no methods".to_owned())),
        }
    }

    /// Begins a call's time.
    fn arm(&mut self) {
        let waits = self.prepared.mode() == CallMode::Async;
        let state = self.store.data_mut();
        state.waited.store(0, Relaxed);
        // A guest that never waits uses up its deadline by the clock; its call need not look at it.
        state.armed = waits.then(Instant::now);
        self.store
            .set_epoch_deadline(self.prepared.deadline_ticks());
    }

    fn call<P, R>(&mut self, function: TypedFunc<P, (R,)>, params: P) -> Called<R>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: 'static,
        (R,): ComponentNamedList + Lift + Send + Sync + 'static,
    {
        self.arm();
        let result = match self.prepared.mode() {
            CallMode::Sync => function.call(&mut self.store, params),
            CallMode::Async => {
                let prepared = self.prepared.clone();
                let timeout = prepared.shared().options.timeout;
                let waited = self.store.data().waited.clone();
                let call = Metered {
                    call: pin!(function.call_async(&mut self.store, params)),
                    waited,
                    since: None,
                };
                prepared.runtime().block_on(async {
                    tokio::time::timeout(timeout, call)
                        .await
                        .map_err(|_| wasmtime::Error::new(TimedOut(timeout)))?
                })
            }
        };
        result
            .map(|(value,)| value)
            .map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &wasmtime::Error) -> Fault {
        let options = &self.prepared.shared().options;
        let about = Circumstances {
            deadline: options.deadline,
            memory: options.memory,
            refused: self.store.data().limiter.refused,
        };
        Fault::new(error, about)
    }
}

/// Counts the time between two polls of a call: that is when the guest waits.
struct Metered<'a, F> {
    call: Pin<&'a mut F>,
    waited: Arc<AtomicU64>,
    since: Option<Instant>,
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(since) = self.since.take() {
            let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.waited.fetch_add(nanos, Relaxed);
        }
        let polled = self.call.as_mut().poll(cx);
        if polled.is_pending() {
            self.since = Some(Instant::now());
        }
        polled
    }
}
