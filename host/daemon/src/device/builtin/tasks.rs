//! Work that methods began: what became of it can be asked for after a restart, too.
//!
//! ```text
//!   table Tasks    <guid>    {"kind":"UploadModuleLogs","began":…,"status":"Running","message":"", …}
//! ```

use bytes::Bytes;
use edge_operate::request::Task;
use edge_store::{Commit, CommitError, MessageLog, Put, Table};
use serde::{Deserialize, Serialize};

use super::TaskStatus;
use crate::device::{Device, guid};

/// Tasks that are remembered; the oldest that has ended gives way.
const KEPT: usize = 100;
/// Longest name of a task that is looked up.
const LONGEST_NAME: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    kind: String,
    /// In nanoseconds since 1970.
    began: u64,
    #[serde(flatten)]
    task: Task,
}

/// Notes that work begins. On the device when this returns.
pub(super) async fn begin(device: &Device, kind: &str) -> Result<Task, CommitError> {
    let task = Task {
        status: TaskStatus::Running,
        message: String::new(),
        correlation_id: guid(),
    };
    let record = Record {
        kind: kind.to_owned(),
        began: device.hub.now().0,
        task: task.clone(),
    };
    let mut commit = Commit::new();
    stage_pruning(&**device.hub.log(), &mut commit);
    commit.put(put(&record));
    let lsn = device.commit(&mut commit)?;
    device.durable(lsn).await?;
    Ok(task)
}

/// Notes how work ended.
pub(super) async fn end(device: &Device, id: &str, done: Result<(), String>) {
    let Some(mut record) = read(&**device.hub.log(), id.as_bytes()) else {
        return;
    };
    record.task.status = match done {
        Ok(()) => TaskStatus::Completed,
        Err(_) => TaskStatus::Failed,
    };
    record.task.message = done.err().unwrap_or_default();
    let mut commit = Commit::new();
    commit.put(put(&record));
    let lsn = match device.commit(&mut commit) {
        Ok(lsn) => device.durable(lsn).await,
        Err(error) => Err(error),
    };
    if let Err(error) = lsn {
        tracing::warn!(task = %id, %error, "the end of a task was not noted");
    }
}

/// How far work is.
pub(super) fn find(log: &dyn MessageLog, id: &str) -> Task {
    let known = (id.len() <= LONGEST_NAME).then(|| read(log, id.as_bytes()));
    match known.flatten() {
        Some(record) => record.task,
        None => Task {
            status: TaskStatus::Unknown,
            message: String::new(),
            correlation_id: id.to_owned(),
        },
    }
}

/// Says of work that the end of the daemon cut off that it has failed.
pub(super) async fn give_up(device: &Device) {
    let log = device.hub.log();
    let cut: Vec<_> = all(&**log)
        .into_iter()
        .filter(|record| !has_ended(record))
        .collect();
    for record in cut {
        let why = "the daemon ended before this was done: call the method again";
        end(device, &record.task.correlation_id, Err(why.to_owned())).await;
    }
}

fn has_ended(record: &Record) -> bool {
    matches!(
        record.task.status,
        TaskStatus::Completed | TaskStatus::Failed
    )
}

/// Adds to a commit that the oldest are forgotten, so that there is room for one more.
fn stage_pruning(log: &dyn MessageLog, commit: &mut Commit) {
    let mut records = all(log);
    records.sort_by_key(|record| (!has_ended(record), record.began));
    let surplus = (records.len() + 1).saturating_sub(KEPT);
    for record in &records[..surplus] {
        commit.put(Put {
            table: Table::Tasks,
            key: Bytes::copy_from_slice(record.task.correlation_id.as_bytes()),
            value: None,
        });
    }
}

fn all(log: &dyn MessageLog) -> Vec<Record> {
    let keys = log.keys(Table::Tasks, b"", None, KEPT * 2);
    keys.iter().filter_map(|key| read(log, key)).collect()
}

fn read(log: &dyn MessageLog, key: &[u8]) -> Option<Record> {
    serde_json::from_slice(&log.get(Table::Tasks, key)?).ok()
}

fn put(record: &Record) -> Put {
    let value = serde_json::to_vec(record).expect("text and numbers can be written as JSON");
    Put {
        table: Table::Tasks,
        key: Bytes::copy_from_slice(record.task.correlation_id.as_bytes()),
        value: Some(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use edge_store::MemoryLog;

    use super::*;

    fn record(number: u64, status: TaskStatus) -> Record {
        Record {
            kind: "UploadModuleLogs".to_owned(),
            began: number,
            task: Task {
                status,
                message: String::new(),
                correlation_id: format!("task-{number}"),
            },
        }
    }

    #[test]
    fn the_oldest_task_that_has_ended_gives_way_and_one_that_runs_stays() {
        let log = MemoryLog::default();
        let mut commit = Commit::new();
        for number in 0..KEPT as u64 {
            let status = match number {
                0 => TaskStatus::Running,
                _ => TaskStatus::Completed,
            };
            commit.put(put(&record(number, status)));
        }
        stage_pruning(&log, &mut commit);
        log.commit(&mut commit).expect("commit");
        let mut commit = Commit::new();
        stage_pruning(&log, &mut commit);
        log.commit(&mut commit).expect("commit");
        assert_eq!(find(&log, "task-0").status, TaskStatus::Running);
        assert_eq!(find(&log, "task-1").status, TaskStatus::Unknown);
        assert_eq!(find(&log, "task-2").status, TaskStatus::Completed);
        assert_eq!(all(&log).len(), KEPT - 1);
    }

    #[test]
    fn nothing_is_known_of_names_that_are_none() {
        let log = MemoryLog::default();
        for id in ["", "x", &"x".repeat(1 << 20)] {
            assert_eq!(find(&log, id).status, TaskStatus::Unknown);
        }
    }
}
