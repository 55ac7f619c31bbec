//! Calls that can go on: modules, logs, messages that pass, rates.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use edge_core::Timestamp;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use super::{App, module_id};
use crate::api::ApiError;
use crate::api::stream::{Gone, lines};
use crate::api::types::{Event, LogLine};
use crate::device::{LogFilter, Tail, TailFilter};

/// How often rates are taken, if the caller does not say.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often they may be taken.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Follow {
    #[serde(default)]
    pub(super) follow: bool,
}

/// The modules; with `follow` a line now, and one whenever they changed.
pub(in crate::api) async fn modules(
    State(api): App,
    asked: Asked<Follow>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    if !asked.follow {
        return Ok(Json(api.device.modules()).into_response());
    }
    let device = api.device.clone();
    let work = |out: crate::api::stream::Lines| async move {
        let mut status = device.agent().status();
        loop {
            let now = status.borrow_and_update().clone();
            out.send(&device.modules_of(&now)).await?;
            status.changed().await.map_err(|_| Gone)?;
        }
    };
    Ok(lines(api.closing.clone(), work))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Logs {
    /// Names with `/` between them; none: all.
    #[serde(default)]
    modules: String,
    #[serde(default)]
    tail: Option<usize>,
    /// As [`edge_operate::moment`] reads it; likewise `until`.
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    until: Option<String>,
    /// A name or number of syslog: that severity and worse.
    #[serde(default)]
    level: Option<String>,
    /// A pattern.
    #[serde(default)]
    grep: Option<String>,
    #[serde(default)]
    follow: bool,
}

impl Logs {
    /// Which lines it asks for.
    fn filter(&self, now: Timestamp) -> Result<edge_operate::Filter, ApiError> {
        fn bad(error: impl std::fmt::Display) -> ApiError {
            ApiError::bad_request(error.to_string())
        }
        let time = |text: &Option<String>| {
            let read = text.as_ref().map(|text| edge_operate::moment(text, now));
            read.transpose().map_err(bad)
        };
        let level = self.level.as_ref().map(|text| text.parse()).transpose();
        let grep = self
            .grep
            .as_ref()
            .map(|text| edge_operate::pattern(text, false));
        Ok(edge_operate::Filter {
            since: time(&self.since)?,
            until: time(&self.until)?,
            level: level.map_err(bad)?,
            grep: grep.transpose().map_err(bad)?,
            tail: self.tail,
        })
    }
}

/// What modules logged.
pub(in crate::api) async fn logs(
    State(api): App,
    asked: Asked<Logs>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let names = asked.modules.split('/').filter(|name| !name.is_empty());
    let modules = names.map(module_id).collect::<Result<Vec<_>, _>>()?;
    let device = &api.device;
    let unknown =
        |module: &&edge_core::ModuleId| !device.has_module(module) && !device.logs().knows(module);
    if let Some(module) = modules.iter().find(unknown) {
        return Err(ApiError::not_found(format!(
            "there is no module {module} in the deployment"
        )));
    }
    let filter = LogFilter {
        modules,
        lines: asked.filter(device.hub().now())?,
    };
    let (kept, mut follow) = device.logs().read(&filter);
    let work = move |out: crate::api::stream::Lines| async move {
        for line in kept {
            out.send(&Event::Item(LogLine::from(&*line))).await?;
        }
        if !asked.follow {
            return Ok(());
        }
        loop {
            match follow.recv().await {
                Ok(line) if filter.wants(&line) => {
                    out.send(&Event::Item(LogLine::from(&*line))).await?;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => {
                    out.send(&Event::<LogLine>::Dropped(count)).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    };
    Ok(lines(api.closing.clone(), work))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Passing {
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    into: Option<String>,
}

/// Messages as they pass.
pub(in crate::api) async fn tail(
    State(api): App,
    asked: Asked<Passing>,
) -> Result<Response, ApiError> {
    let Query(Passing { from, into }) = asked?;
    // Before the answer begins, so that whoever has its first byte misses nothing.
    let mut tail = Tail::start(api.device.hub(), TailFilter { from, into });
    let work = |out: crate::api::stream::Lines| async move {
        while let Some(event) = tail.next().await {
            out.send(&event).await?;
        }
        Ok(())
    };
    Ok(lines(api.closing.clone(), work))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Top {
    #[serde(default)]
    interval_ms: Option<u64>,
}

/// What moves: a sample now, with rates since the start, and one after each interval.
pub(in crate::api) async fn top(State(api): App, asked: Asked<Top>) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let interval = asked
        .interval_ms
        .map_or(INTERVAL, Duration::from_millis)
        .max(SHORTEST_INTERVAL);
    let device = api.device.clone();
    let work = move |out: crate::api::stream::Lines| async move {
        let mut before = None;
        loop {
            let device = device.clone();
            let last = before.take();
            let sample = tokio::task::spawn_blocking(move || device.sample(last.as_ref()));
            let (at, sample) = sample.await.map_err(|_| Gone)?;
            out.send(&sample).await?;
            before = Some((at, sample.counts));
            tokio::time::sleep(interval).await;
        }
    };
    Ok(lines(api.closing.clone(), work))
}
