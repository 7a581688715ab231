//! What a real server said about its tasks, read by the types used here.

use serde_json::Value;

use crate::{
    error::{Error, Result},
    pve::{Resource, Resources, TaskRow, TaskStatus, Upid, from_slice, task_log},
};

/// The answers to successful GETs whose path ends so; `None` where the recordings are not there.
fn answers(end: &str) -> Result<Option<Vec<Value>>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve/recordings.jsonl");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: {path} is not there");
        return Ok(None);
    };
    let mut found = Vec::new();
    for line in text.lines() {
        let mut row: Value = read(line.as_bytes())?;
        let path = row["path"].as_str().unwrap_or_default().to_owned();
        if row["method"] == "GET" && row["status"] == 200 && path.ends_with(end) && row["body"].is_object() {
            found.push(row["body"]["data"].take());
        }
    }
    assert!(!found.is_empty(), "no answer of {end} was recorded");
    Ok(Some(found))
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    from_slice(bytes).map_err(|e| Error::internal(e.to_string()))
}

#[test]
fn every_recorded_task_status_is_an_end_in_the_servers_words() -> Result<()> {
    for data in answers("/status")?.into_iter().flatten().filter(|data| data["upid"].is_string()) {
        let status: TaskStatus = read(data.to_string().as_bytes())?;
        let upid: Upid = data["upid"].as_str().unwrap_or_default().parse()?;
        let user = match data["tokenid"].as_str() {
            Some(token) => format!("{}!{token}", data["user"].as_str().unwrap_or_default()),
            None => data["user"].as_str().unwrap_or_default().to_owned(),
        };
        assert_eq!(
            (upid.user.as_str(), upid.kind.as_str()),
            (user.as_str(), data["type"].as_str().unwrap_or_default())
        );
        assert_eq!(
            (Some(upid.starttime), upid.id.as_str()),
            (status.starttime, data["id"].as_str().unwrap_or_default())
        );
        assert_eq!(status.end().map(|e| e.to_string()).as_deref(), data["exitstatus"].as_str());
    }
    Ok(())
}

#[test]
fn every_recorded_task_list_is_read() -> Result<()> {
    for data in answers("/tasks")?.into_iter().flatten() {
        for row in read::<Vec<TaskRow>>(data.to_string().as_bytes())? {
            let upid: Upid = row.upid.parse()?;
            assert_eq!(
                (upid.starttime, upid.node, row.endtime.is_some()),
                (row.starttime, row.node.clone(), row.end().is_some())
            );
        }
    }
    Ok(())
}

#[test]
fn every_recorded_log_ends_with_its_end() -> Result<()> {
    for data in answers("/log")?.into_iter().flatten().filter(|data| data.is_array()) {
        let lines: Vec<task_log::LogLine> = read(data.to_string().as_bytes())?;
        let tail = task_log::tail(&lines, 15);
        let Some(last) = tail.last() else { continue };
        let unknown = last.starts_with("unable to open file");
        let recorded_whole = lines.iter().any(|l| l.t.starts_with("TASK "));
        assert!(!recorded_whole || unknown || task_log::is_end(last), "{last}");
    }
    Ok(())
}

#[test]
fn every_recorded_row_of_the_clusters_guests_is_read() -> Result<()> {
    for data in answers("/cluster/resources")?.into_iter().flatten() {
        let guests = data.as_array().into_iter().flatten().filter(|row| row["vmid"].is_u64());
        let expected = guests.clone().count();
        let guests: Value = guests.cloned().collect();
        let rows = Resources::new(read::<Vec<Resource>>(guests.to_string().as_bytes())?);
        assert_eq!(rows.len(), expected);
    }
    Ok(())
}
