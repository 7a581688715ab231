//! What a step waits for once it is done: the guest's agent, an address, the end of a command, HA.

use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{At, Then};
use crate::{
    error::{Error, Kind, Result},
    progress::Update,
    pve::{
        Guest, Reader, WaitOptions,
        address::{self, Source, Wanted},
    },
    tools::commands,
};

/// Between looks.
const PAUSE: Duration = Duration::from_secs(2);
/// At first: what is there at once is not waited for.
const BRIEF: Duration = Duration::from_millis(200);

/// Waits, not beyond `until`; what is found out goes to `found`.
///
/// # Errors
/// It did not come in time, in the words of the last look; `Cancelled`.
pub async fn wait(
    pve: &Reader<'_>,
    then: &Then,
    answer: &Value,
    until: Instant,
    found: &mut Map<String, Value>,
) -> Result<()> {
    let left = |seconds: u64| until.saturating_duration_since(Instant::now()).min(Duration::from_secs(seconds));
    match then {
        Then::Nothing => Ok(()),
        Then::Pause { seconds } => tokio::select! {
            () = sleep(left(*seconds)) => Ok(()),
            () = pve.scope().cancel.cancelled() => Err(Error::new(Kind::Cancelled, "the call was cancelled")),
        },
        Then::Agent { guest, seconds } => {
            let path = guest.path("agent/info");
            repeat(pve, left(*seconds), "the guest agent", || pve.get::<Value>(path.clone())).await.map(drop)
        }
        Then::Address { guest, seconds, fixed, ipv6 } => {
            let look = || async {
                let guest = guest.guest();
                let config = pve.config(&guest).await?;
                let live = address::live(pve, &guest).await?;
                let all = address::addresses(guest.kind, Ok(live), &config);
                let wanted = Wanted { ipv6: *ipv6, ..Wanted::default() };
                let chosen = all.choose(wanted).ok().filter(|chosen| chosen.source != Source::Configuration);
                chosen.map(|chosen| chosen.address.to_string()).ok_or_else(|| Error::not_found("it has no address yet"))
            };
            let seen = repeat(pve, left(*seconds), "an address", look).await;
            let address = match (seen, fixed) {
                (Ok(address), _) => address,
                (Err(e), _) if e.kind() == Kind::Cancelled => return Err(e),
                (Err(_), Some(fixed)) => fixed.clone(),
                (Err(e), None) => return Err(e),
            };
            found.insert("address".to_owned(), address.into());
            Ok(())
        }
        Then::Command { guest, seconds, line } => {
            let pid = answer.get("pid").and_then(Value::as_u64).ok_or_else(|| {
                Error::new(Kind::BadAnswer, format!("the command was begun, and its process is not known: {answer}"))
            })?;
            let wait = WaitOptions { timeout: left(*seconds), poll_interval: PAUSE };
            let ran = commands::follow(pve, guest.path("agent/exec-status"), pid, wait).await?;
            let ended = ran.ended_well();
            let row = serde_json::to_value(ran.shortened(commands::FEW)).unwrap_or_default();
            let mut row = match row {
                Value::Object(row) => row,
                _ => Map::new(),
            };
            row.shift_remove("pid");
            row.shift_insert(0, "command".to_owned(), line.as_str().into());
            if let Some(rows) = found.entry("ran").or_insert_with(|| json!([])).as_array_mut() {
                rows.push(Value::Object(row.clone()));
            }
            if ended {
                return Ok(());
            }
            let words = match row.get("exit_code").and_then(Value::as_i64) {
                Some(code) => format!("`{line}` ended with exit code {code}"),
                None => format!("`{line}` did not end within {seconds} s"),
            };
            let said = ["stderr", "stdout"].into_iter().find_map(|key| row.get(key)?.as_str()).unwrap_or_default();
            Err(Error::new(Kind::TaskFailed, words).log(said.lines().rev().take(10).map(str::to_owned).collect()))
        }
        Then::Becomes { guest, status, node } => {
            let wait = WaitOptions { timeout: left(u64::MAX), poll_interval: PAUSE };
            let (reached, goal) = match (status, node) {
                (Some(status), _) => (pve.wait_for_state(&guest.guest(), status, wait).await?, status.clone()),
                (_, Some(node)) => (pve.wait_for_node(&guest.guest(), node, wait).await?, format!("on {node}")),
                (None, None) => (true, String::new()),
            };
            match reached {
                true => Ok(()),
                false => Err(Error::new(Kind::Timeout, format!("HA was told, and it is not {goal} yet"))),
            }
        }
    }
}

/// Looks until it is there.
async fn repeat<T, F: Future<Output = Result<T>>>(
    pve: &Reader<'_>,
    patience: Duration,
    what: &str,
    look: impl Fn() -> F,
) -> Result<T> {
    let begun = Instant::now();
    let mut pause = BRIEF;
    loop {
        let error = match look().await {
            Ok(there) => return Ok(there),
            Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Permission | Kind::Unauthorized | Kind::Internal) => {
                return Err(e);
            }
            Err(e) => e,
        };
        let passed = begun.elapsed();
        let Some(left) = patience.checked_sub(passed).filter(|left| !left.is_zero()) else {
            let message = format!("{what} did not come within {} s: {error}", patience.as_secs());
            let kind = if error.is_not_found() { Kind::Timeout } else { error.kind() };
            return Err(Error::new(kind, message));
        };
        pve.scope().progress.report(Update::new(None, format!("waiting for {what}, {} s", passed.as_secs())));
        tokio::select! {
            () = sleep(pause.min(left)) => {}
            () = pve.scope().cancel.cancelled() => return Err(Error::new(Kind::Cancelled, "the call was cancelled")),
        }
        pause = pause.mul_f64(1.5).min(PAUSE);
    }
}

impl At {
    /// As far as it is known from where it is.
    fn guest(&self) -> Guest {
        Guest {
            vmid: self.vmid,
            kind: self.kind,
            node: self.node.clone(),
            name: None,
            status: String::new(),
            template: false,
            lock: None,
            tags: None,
            pool: None,
            hastate: None,
        }
    }
}

impl From<&Guest> for At {
    fn from(guest: &Guest) -> Self {
        Self { vmid: guest.vmid, kind: guest.kind, node: guest.node.clone() }
    }
}
