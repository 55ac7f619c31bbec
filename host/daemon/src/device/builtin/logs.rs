//! `GetModuleLogs` and `UploadModuleLogs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use edge_core::ModuleId;
use edge_operate::request::{self, LOGS_LIMIT, LogsRequest, ModuleLogs, Rendered};
use edge_operate::{Destination, Upload};

use super::{Answer, Refusal, begin, folder, json, put, stamp};
use crate::device::Device;
use crate::device::logs::Filter;

pub(super) async fn get(device: &Arc<Device>, payload: &str) -> Answer {
    let request: LogsRequest = request::read(payload)?;
    let limit =
        LOGS_LIMIT.min(usize::try_from(device.hub.methods().limit().0).unwrap_or(usize::MAX));
    let logs = rendered(device, request).await?.1;
    let logs: Vec<_> = logs
        .into_iter()
        .map(|(module, rendered)| ModuleLogs::new(module.to_string(), rendered))
        .collect();
    let answer = json(&logs)?;
    match answer.len() > limit {
        true => Err(Refusal::wrong(format!(
            "these lines make an answer of {} bytes, at most {limit} are allowed: ask for fewer with tail, since or regex, for encoding gzip, or use UploadModuleLogs",
            answer.len()
        ))),
        false => Ok(answer),
    }
}

pub(super) async fn upload(device: &Arc<Device>, payload: &str) -> Answer {
    let request: LogsRequest = request::read(payload)?;
    let url = request.sas_url.as_ref();
    let url = url.ok_or_else(|| Refusal::wrong("sasUrl is missing: where the lines are to go"))?;
    let to = Destination::new(url).map_err(Refusal::wrong)?;
    let (request, logs) = rendered(device, request).await?;
    let alone = logs.len() == 1;
    let (folder, stamp) = (folder(device), stamp(device));
    let uploads = logs.into_iter().map(|(module, rendered)| Upload {
        to: to.file(
            &format!("{folder}/{module}-{stamp}.{}", request.extension()),
            alone,
        ),
        media_type: match &rendered {
            Rendered::Text(_) => request.media_type(),
            Rendered::Gzip(_) => "application/gzip",
        },
        body: rendered.into_bytes().into(),
    });
    let uploads = uploads.collect();
    begin(device, "UploadModuleLogs", put(uploads)).await
}

/// What is asked for, by module, in the form that is asked for; and the request again. Off the async threads:
/// patterns over some thousand lines take their time.
async fn rendered(
    device: &Arc<Device>,
    request: LogsRequest,
) -> Result<(LogsRequest, Vec<(ModuleId, Rendered)>), Refusal> {
    let device = device.clone();
    let work = tokio::task::spawn_blocking(move || {
        let selections = request.selections(device.hub.now())?;
        let known = modules(&device);
        let mut logs = Vec::new();
        for selection in selections {
            let mut found = false;
            for module in &known {
                if !selection.modules.is_match(module.as_str()) {
                    continue;
                }
                found = true;
                let filter = Filter {
                    modules: vec![module.clone()],
                    lines: selection.filter.clone(),
                };
                let (lines, _) = device.logs.read(&filter);
                let views: Vec<_> = lines.iter().map(|line| line.view()).collect();
                let name = device.name().as_str();
                let rendered = request.render(&device.hub_name, name, &views);
                logs.push((module.clone(), rendered));
            }
            if !found {
                let names: Vec<_> = known.iter().map(ModuleId::to_string).collect();
                return Err(Refusal::wrong(format!(
                    "no module matches {:?}: there are {}",
                    selection.modules.as_str(),
                    names.join(", ")
                )));
            }
        }
        Ok((request, logs))
    });
    work.await.map_err(Refusal::failed)?
}

/// Modules that are deployed, and those that have left lines behind.
fn modules(device: &Device) -> BTreeSet<ModuleId> {
    let status = device.agent.status();
    let deployed = status
        .borrow()
        .modules
        .iter()
        .map(|m| m.module.clone())
        .collect::<Vec<_>>();
    deployed.into_iter().chain(device.logs.modules()).collect()
}
