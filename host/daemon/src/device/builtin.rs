//! The methods of `$edgeAgent`, which the daemon answers itself, with the seed system's names and schemas
//! ([`edge_operate::request`]). Names of methods ignore case.
//!
//! ```text
//!   operator, module, service ─► hub ─► BuiltIn ─┬─ ping, RestartModule, GetModuleLogs, GetTaskStatus ─► answer
//!                                                └─ Upload… ─► task noted ─► answer ─► PUT ─► end noted
//! ```
//!
//! The hub keeps the place of `$edgeAgent` for it: no client that connects as that gets its calls. Wrong input
//! is answered with 400, what fails with 500, unknown methods with 404; the payload is `{"message"}`.

mod logs;
mod tasks;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use edge_agent::RestartError;
use edge_core::ModuleId;
use edge_hub::{MethodCall, MethodResponse, MethodTarget};
use edge_operate::request::{self, BadRequest, Restart, TaskStatus, TaskStatusRequest};
use edge_operate::{Destination, Uploader};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Device;

/// Whose methods these are.
const AGENT: &str = "$edgeAgent";
/// Uploads and other calls that are under way at a time; one more is refused.
const AT_A_TIME: usize = 32;
/// What there is, for those who ask for something else.
const KNOWN: &str =
    "ping, RestartModule, GetModuleLogs, UploadModuleLogs, GetTaskStatus, UploadSupportBundle";

/// Answers calls, and drives what they began.
pub(super) struct BuiltIn {
    device: Weak<Device>,
    tokio: Handle,
    work: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltIn").finish_non_exhaustive()
    }
}

/// Why a call has no good answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// The request is wrong.
    #[error(transparent)]
    Wrong(#[from] BadRequest),
    /// No such method.
    #[error("{AGENT} has no method {0:?}; it has {KNOWN}")]
    Unknown(String),
    /// Too much is under way.
    #[error("{AT_A_TIME} calls are under way already: try again when some of them have ended")]
    Busy,
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    fn wrong(error: impl std::fmt::Display) -> Self {
        Self::Wrong(BadRequest(error.to_string()))
    }

    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn status(&self) -> u32 {
        match self {
            Self::Wrong(_) => 400,
            Self::Unknown(_) => 404,
            Self::Busy => 429,
            Self::Failed(_) => 500,
        }
    }
}

type Answer = Result<String, Refusal>;

fn json(value: &impl Serialize) -> Answer {
    serde_json::to_string(value).map_err(Refusal::failed)
}

impl MethodTarget for BuiltIn {
    fn call(&self, call: MethodCall) {
        // Without a device nobody answers: the call is dropped, which says so.
        let Some(device) = self.device.upgrade() else {
            return;
        };
        let mut work = self.work();
        while work.try_join_next().is_some() {}
        if work.len() >= AT_A_TIME {
            call.answer(Ok(respond(Err(Refusal::Busy))));
            return;
        }
        let task = async move {
            let answer = answer(&device, &call.name, &call.payload).await;
            call.answer(Ok(respond(answer)));
        };
        work.spawn_on(task, &self.tokio);
    }
}

impl BuiltIn {
    fn work(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn respond(answer: Answer) -> MethodResponse {
    match answer {
        Ok(payload) => MethodResponse {
            status: 200,
            payload,
        },
        Err(refusal) => {
            let status = refusal.status();
            if status == 500 {
                tracing::warn!(error = %refusal, "a method of the agent failed");
            }
            MethodResponse {
                status,
                payload: serde_json::json!({ "message": refusal.to_string() }).to_string(),
            }
        }
    }
}

async fn answer(device: &Arc<Device>, name: &str, payload: &str) -> Answer {
    match name.to_ascii_lowercase().as_str() {
        "ping" => Ok("null".to_owned()),
        "restartmodule" => restart(device, payload).await,
        "getmodulelogs" => logs::get(device, payload).await,
        "uploadmodulelogs" => logs::upload(device, payload).await,
        "gettaskstatus" => status(device, payload),
        "uploadsupportbundle" => bundle(device, payload).await,
        _ => Err(Refusal::Unknown(name.to_owned())),
    }
}

async fn restart(device: &Device, payload: &str) -> Answer {
    let request: Restart = request::read(payload)?;
    let module = ModuleId::new(&request.id).map_err(Refusal::wrong)?;
    match device.agent.restart(&module).await {
        Ok(()) => Ok("null".to_owned()),
        Err(error @ RestartError::ShutDown(_)) => Err(Refusal::failed(error)),
        Err(error) => Err(Refusal::wrong(error)),
    }
}

fn status(device: &Device, payload: &str) -> Answer {
    let request: TaskStatusRequest = request::read(payload)?;
    json(&tasks::find(&**device.hub.log(), &request.correlation_id))
}

async fn bundle(device: &Arc<Device>, payload: &str) -> Answer {
    let request: request::BundleRequest = request::read(payload)?;
    let to = Destination::new(&request.sas_url).map_err(Refusal::wrong)?;
    let now = device.hub.now();
    let time = |text: &Option<String>| {
        let read = text.as_ref().map(|text| edge_operate::moment(text, now));
        read.transpose().map_err(Refusal::wrong)
    };
    let what = crate::bundle::Wanted {
        since: time(&request.since)?,
        until: time(&request.until)?,
        modules: !request.edge_runtime_only,
    };
    let name = format!("{}/support-bundle-{}.tar.gz", folder(device), stamp(device));
    let work = {
        let device = device.clone();
        async move {
            let bytes = crate::bundle::of_device(&device, &what).await;
            let upload = edge_operate::Upload {
                to: to.file(&name, true),
                media_type: "application/gzip",
                body: bytes.map_err(|error| error.to_string())?.into(),
            };
            put(vec![upload]).await
        }
    };
    begin(device, "UploadSupportBundle", work).await
}

/// Notes a task, and goes on with it after its caller was answered.
async fn begin(
    device: &Arc<Device>,
    kind: &'static str,
    work: impl Future<Output = Result<(), String>> + Send + 'static,
) -> Answer {
    let task = tasks::begin(device, kind).await.map_err(Refusal::failed)?;
    let answer = json(&task)?;
    let id = task.correlation_id;
    let going = device.clone();
    device.builtin.work().spawn(async move {
        let done = work.await;
        if let Err(error) = &done {
            tracing::warn!(task = %id, kind, %error, "work for a method of the agent failed");
        }
        tasks::end(&going, &id, done).await;
    });
    Ok(answer)
}

/// Uploads one after the other; the first that fails ends it.
async fn put(uploads: Vec<edge_operate::Upload>) -> Result<(), String> {
    let uploader = tokio::task::spawn_blocking(Uploader::new).await;
    let uploader = uploader.map_err(|error| error.to_string())?;
    for upload in uploads {
        uploader
            .put(upload)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The folder of this device in a container of many.
fn folder(device: &Device) -> String {
    format!("{}/{}", device.hub_name, device.name())
}

/// The time in names of files: `2026-11-24--08-00-00`.
fn stamp(device: &Device) -> String {
    let now = device.hub.now().to_string();
    let (date, time) = now.split_once('T').unwrap_or((&now, ""));
    let time: String = time.chars().take(8).collect();
    format!("{date}--{}", time.replace(':', "-"))
}

impl Device {
    /// Makes what answers the agent's methods; [`serve_methods`](Self::serve_methods) puts it in its place.
    pub(super) fn built_in(device: &Weak<Self>) -> Arc<BuiltIn> {
        Arc::new(BuiltIn {
            device: device.clone(),
            tokio: Handle::current(),
            work: Mutex::default(),
        })
    }

    /// Answers the agent's methods from now on. Tasks that the last end of the daemon cut off have failed.
    pub(super) async fn serve_methods(&self) {
        tasks::give_up(self).await;
        if let Ok(agent) = ModuleId::new(AGENT) {
            let identity = self.identity(&agent);
            self.hub.methods().reserve(identity, self.builtin.clone());
        }
    }

    /// Gives up what methods began and is not done; the next start says so.
    pub(super) fn end_methods(&self) {
        self.builtin.work().abort_all();
    }
}
