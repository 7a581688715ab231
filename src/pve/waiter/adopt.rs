//! After a write whose answer was lost: finds the task that it started, if it started one. Guesses nothing: unless exactly
//! one task fits, there is none.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::Waiter;
use crate::{
    error::Result,
    pve::{Client, Request, TaskRow, Upid, api::Api},
};

/// Pauses between looks: a write may have waited for a lock before its task was started.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];
const MANY: u32 = 500;

/// Which task is looked for.
#[derive(Debug, Clone)]
pub struct AdoptQuery {
    pub node: String,
    /// Task types that the write may start.
    pub types: Vec<String>,
    /// The guest it works on.
    pub vmid: Option<u32>,
    /// `user@realm`, or `user@realm!token`.
    pub user: String,
    /// Just before the write was sent.
    pub since: Instant,
    /// Tasks of other writes.
    pub known: Vec<String>,
}

impl AdoptQuery {
    /// For a write, by the API's facts about the tasks it may start. `None` where it starts none, or none on a node that
    /// its path names.
    pub fn of(api: &Api, request: &Request, user: String, since: Instant) -> Option<Self> {
        let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
        let (endpoint, given) = api.lookup(&request.method, &path)?;
        let types: Vec<String> = endpoint.tasks.iter().map(|(kind, _)| (*kind).to_owned()).collect();
        if types.is_empty() {
            return None;
        }
        let sent = request.params.iter().find(|(key, _)| key == "vmid").map(|(_, value)| value.shown());
        let vmid = given.get("vmid").map(String::as_str).or(sent).and_then(|v| v.parse().ok());
        Some(Self { node: given.get("node")?.clone(), types, vmid, user, since, known: Vec::new() })
    }

    /// Whether this is such a task, started at or after `since` (seconds since 1970, by the node's clock).
    fn fits(&self, upid: &Upid, since: i64) -> bool {
        self.types.contains(&upid.kind)
            && !self.known.iter().any(|known| known == upid.as_str())
            && self.vmid.is_none_or(|vmid| upid.vmid() == Some(vmid))
            && upid.user == self.user
            && upid.starttime >= since
    }
}

#[derive(Deserialize)]
struct Clock {
    time: i64,
}

impl Waiter {
    /// The task that a write has started, if exactly one fits. Looks for it for some seconds.
    ///
    /// The time of the write is compared by the node's own clock: it is asked for the time now, and the time that passed
    /// since the write, by ours, is taken off. So a difference between the clocks does not matter. Only where the node
    /// does not tell the time (it takes Sys.Audit) is our clock believed.
    ///
    /// # Errors
    /// The client's.
    pub async fn adopt(&self, client: &Client, query: &AdoptQuery) -> Result<Option<Upid>> {
        let since = written_at(client, query).await;
        let request = Request::get(format!("/nodes/{}/tasks", query.node))
            .param("source", "all")
            .param("since", since)
            .param("limit", MANY);
        for pause in PAUSES {
            sleep(pause).await;
            let rows: Vec<TaskRow> = client.get(&request).await?;
            let mut fitting: Vec<Upid> = rows.iter().filter_map(|row| row.upid.parse().ok()).collect();
            fitting.retain(|upid| query.fits(upid, since));
            // One that has just ended may be in both of the lists that make up this one.
            fitting.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            fitting.dedup();
            match (fitting.len(), fitting.pop()) {
                (1, Some(upid)) => return Ok(Some(upid)),
                (0, _) => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// When the write was sent, by the node's clock; rounded down, so that a task started in that second counts.
async fn written_at(client: &Client, query: &AdoptQuery) -> i64 {
    let clock: Result<Clock> = client.get(&Request::get(format!("/nodes/{}/time", query.node))).await;
    // Taken after the answer: what the answer took only makes it earlier.
    let passed = i64::try_from(query.since.elapsed().as_secs() + 1).unwrap_or(i64::MAX);
    let now = clock.map_or_else(
        |_| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs().cast_signed()),
        |clock| clock.time,
    );
    now.saturating_sub(passed)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::{
        error::Error,
        pve::fake::{Answer, Fake},
    };

    /// The node's clock at the beginning of a test.
    const NOW: i64 = 0x6B01_0091;

    fn upid(pid: u32, started: i64, rest: &str) -> String {
        format!("UPID:pve1:{pid:08X}:0006D198:{started:08X}:{rest}:")
    }

    async fn adopted(tasks: Vec<String>, appears_at_look: usize) -> Result<Option<String>> {
        let (began, looks) = (Instant::now(), AtomicUsize::new(0));
        let (_, client) = Fake::new(Duration::from_millis(5), move |path| match path {
            "/nodes/pve1/time" => {
                Answer::Data(json!({"time": NOW + i64::try_from(began.elapsed().as_secs()).unwrap_or(0)}))
            }
            _ if looks.fetch_add(1, Ordering::SeqCst) + 1 < appears_at_look => Answer::Data(json!([])),
            _ => Answer::Data(tasks.iter().map(|upid| json!({"upid": upid, "status": "RUNNING"})).collect()),
        });
        // The write was sent now, and its answer lost 30 s later.
        let request = Request::post("/nodes/pve1/qemu/120/status/start");
        let query = AdoptQuery::of(&Api::embedded(), &request, "root@pam!full".into(), Instant::now());
        let query = query.ok_or_else(|| Error::internal("it starts no task"))?;
        sleep(Duration::from_secs(30)).await;
        Ok(client.waiter().adopt(&client, &query).await?.map(|upid| upid.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_task_that_fits_is_adopted() -> Result<()> {
        let ours = upid(7, NOW + 2, "qmstart:120:root@pam!full");
        let others = [
            upid(1, NOW - 60, "qmstart:120:root@pam!full"),
            upid(2, NOW + 2, "qmstart:121:root@pam!full"),
            upid(3, NOW + 2, "qmstart:120:root@pam"),
            upid(4, NOW + 2, "qmstop:120:root@pam!full"),
        ];
        let all = others.iter().chain([&ours]).cloned().collect();
        assert_eq!(adopted(all, 1).await?.as_ref(), Some(&ours));
        assert_eq!(adopted(vec![ours.clone()], 3).await?, Some(ours));
        assert_eq!(adopted(others.to_vec(), 1).await?, None);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_tasks_none_is_chosen() -> Result<()> {
        let two = vec![upid(7, NOW + 2, "qmstart:120:root@pam!full"), upid(8, NOW + 3, "qmstart:120:root@pam!full")];
        assert_eq!(adopted(two, 1).await?, None);
        Ok(())
    }

    #[test]
    fn what_a_write_may_start_is_known_from_the_api() {
        let now = || "root@pam".to_owned();
        let create = Request::post("/nodes/pve1/qemu").param("vmid", 300);
        let query = AdoptQuery::of(&Api::embedded(), &create, now(), since());
        assert_eq!(query.as_ref().and_then(|q| q.vmid), Some(300));
        assert!(query.is_some_and(|q| q.types.iter().any(|t| t == "qmcreate")));
        let put = Request::put("/nodes/pve1/qemu/100/config");
        assert!(AdoptQuery::of(&Api::embedded(), &put, now(), since()).is_none());
    }

    fn since() -> Instant {
        // Outside of a runtime the clock is the real one; only its type matters here.
        Instant::from_std(std::time::Instant::now())
    }
}
