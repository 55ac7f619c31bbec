//! A component with `wasi:cli/run` and no handler: runs by itself until it returns.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::fault::{Circumstances, Fault};
use crate::host::HostState;
use crate::runtime::{Prepared, WasmRuntime};
use crate::step::Step;

/// How a service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEnd {
    /// It returned without an error.
    Done,
    /// It failed; says how.
    Failed(String),
}

/// A running service. Dropping it does not stop it; [`stop`](Self::stop) does, at its next wait or epoch.
#[derive(Debug)]
pub struct Service {
    task: tokio::task::JoinHandle<ServiceEnd>,
}

impl WasmRuntime {
    /// Starts a service. Each message that it sends and each key that it sets is a commit of its own.
    pub fn start_service(&self, prepared: Arc<Prepared>) -> Service {
        let step = Step::new(self.hub.sender(prepared.shared().identity.clone()));
        let scheduler = self.scheduler.clone();
        Service {
            task: self
                .tokio
                .spawn(async move { scheduler.ticking(run(prepared, step)).await }),
        }
    }
}

impl Service {
    /// Waits for its end. Cancel safe: the service goes on.
    pub async fn ended(&mut self) -> ServiceEnd {
        match (&mut self.task).await {
            Ok(end) => end,
            Err(error) if error.is_cancelled() => ServiceEnd::Done,
            Err(error) => ServiceEnd::Failed(format!("the host failed: {error}")),
        }
    }

    /// Stops it.
    pub fn stop(&self) {
        self.task.abort();
    }
}

async fn run(prepared: Arc<Prepared>, mut step: Step) -> ServiceEnd {
    step.immediate = true;
    let mut state = match HostState::new(prepared.shared().clone()) {
        Ok(state) => state,
        Err(why) => return ServiceEnd::Failed(why),
    };
    state.step = Some(Box::new(step));
    let mut store = Store::new(prepared.pre().engine(), state);
    store.limiter(|state| &mut state.limiter);
    // It may run for ever; so that it shares its thread, it yields at every tick.
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    match call(&prepared, &mut store).await {
        Ok(Ok(())) => ServiceEnd::Done,
        Ok(Err(())) => ServiceEnd::Failed("run returned an error".to_owned()),
        Err(error) => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            Some(exit) if exit.0 == 0 => ServiceEnd::Done,
            _ => {
                let options = &prepared.shared().options;
                let about = Circumstances {
                    deadline: options.deadline,
                    memory: options.memory,
                    refused: store.data().limiter.refused,
                };
                ServiceEnd::Failed(Fault::new(&error, about).full())
            }
        },
    }
}

async fn call(
    prepared: &Prepared,
    store: &mut Store<HostState>,
) -> wasmtime::Result<Result<(), ()>> {
    let instance = prepared.pre().instantiate_async(&mut *store).await?;
    let Some(index) = &prepared.exports().run else {
        wasmtime::bail!("the component has no wasi:cli/run");
    };
    let run: TypedFunc<(), (Result<(), ()>,)> = instance.get_typed_func(&mut *store, index)?;
    Ok(run.call_async(&mut *store, ()).await?.0)
}
