//! `edge:module/methods`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use edge_core::{DeviceId, Identity, InvalidId, ModuleId};
use edge_hub::MethodError as HubError;
use wasmtime::Result;

use super::HostState;
use super::bindings::edge::module::method_types::{self, Response};
use super::bindings::edge::module::methods::{Host, MethodError, Target};

/// How long a call waits that names no time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait, as IoT Hub has it.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

fn identity(target: &Target, here: &DeviceId) -> Result<Identity, InvalidId> {
    Ok(match target {
        Target::Module(module) => Identity::Module(here.clone(), ModuleId::new(module)?),
        Target::Device(device) => Identity::Device(DeviceId::new(device)?),
        Target::DeviceModule((device, module)) => {
            Identity::Module(DeviceId::new(device)?, ModuleId::new(module)?)
        }
    })
}

impl method_types::Host for HostState {}

impl Host for HostState {
    fn invoke(
        &mut self,
        target: Target,
        name: String,
        payload: String,
        timeout: Option<u64>,
    ) -> Result<Result<Response, MethodError>> {
        let hub = self.shared.hub.clone();
        let Ok(target) = identity(&target, hub.device()) else {
            return Ok(Err(MethodError::NotFound));
        };
        let timeout = timeout
            .map_or(DEFAULT_TIMEOUT, Duration::from_nanos)
            .min(MAX_TIMEOUT)
            .min(self.time_left());
        let begin = Instant::now();
        let caller = Some(&self.shared.identity);
        let call = || {
            hub.methods()
                .invoke(caller, &target, &name, &payload, timeout)
        };
        // Modules wait on a worker, which the scheduler replaces; a service waits on a thread that
        // others need.
        let in_service = self.step.as_ref().is_some_and(|step| step.immediate);
        let answer = match in_service {
            true => tokio::task::block_in_place(call),
            false => call(),
        };
        let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.waited.fetch_add(nanos, Relaxed);
        Ok(match answer {
            Ok(answer) => Ok(Response {
                status: answer.status,
                payload: answer.payload,
            }),
            Err(error) => Err(match error {
                HubError::NotFound(_) => MethodError::NotFound,
                HubError::Timeout(_) => MethodError::Timeout,
                HubError::Busy(_) => MethodError::Busy,
                HubError::Invalid(why) => MethodError::Invalid(why),
                HubError::Failed(why) => MethodError::Failed(why),
            }),
        })
    }
}
