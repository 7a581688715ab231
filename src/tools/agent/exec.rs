//! Commands in a VM, through its guest agent: begun, followed by their process id, and read once.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{bytes, info, plan, vm};
use crate::{error::Kind, progress::Update, tool::*};

/// Run a shell line, or a program with args, in a VM through its guest agent. Returns exit code and output.
#[derive(Deserialize, JsonSchema)]
pub struct GuestExec {
    #[serde(flatten)]
    guest: GuestRef,
    /// With args the program, else a shell line.
    #[serde(default)]
    command: String,
    args: Option<Vec<String>>,
    /// At most 64 KiB.
    input_data: Option<String>,
    #[serde(default)]
    shell: Shell,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Shell {
    #[default]
    Auto,
    Sh,
    Cmd,
    Powershell,
    None,
}

impl Tool for GuestExec {
    const NAME: &str = "proxmox-guest-exec";
    const TITLE: &str = "Run a command in a VM";
    const API: &[&str] = &[
        "POST /nodes/{node}/qemu/{vmid}/agent/exec",
        "GET /nodes/{node}/qemu/{vmid}/agent/exec-status",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo",
    ];
    const EXAMPLE: (&str, &str) =
        ("Which kernel does web-01 run?", r#"{"name": "web-01", "command": "uname -r && hostname"}"#);
}

/// What became of a command.
#[derive(Serialize, JsonSchema)]
pub struct Ran {
    pid: u64,
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// The signal (Windows: the exception) that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    /// base64, or latin-1 (each character is a byte); absent: UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_encoding: Option<&'static str>,
    /// The guest kept only the first 16 MiB.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stdout_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stderr_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// `GET …/agent/exec-status`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i64>,
    signal: Option<i64>,
    out_data: Option<String>,
    err_data: Option<String>,
    #[serde(default)]
    out_truncated: bool,
    #[serde(default)]
    err_truncated: bool,
}

/// Bytes of each output that are returned: it can be 16 MiB, and whoever reads it may have to pay for each word.
const MOST_OUTPUT: usize = 64 << 10;

/// The same, where the command is one of several steps.
pub(crate) const FEW: usize = 4 << 10;

/// Standard input, in bytes.
const MOST_INPUT: usize = 64 << 10;

impl Action for GuestExec {
    const EFFECT: Effect = Effect::Execute;
    const CONTROL: Control = Control { poll_interval: 1.0, ..Control::new(60).waiting().polled() };
    const LOOKS_AFTER: bool = true;

    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let args = self.args.as_deref().unwrap_or_default();
        if self.command.trim().is_empty() && args.first().is_none_or(String::is_empty) {
            return Err(Error::bad_argument("command: expected a shell line or a program, got nothing"));
        }
        if let Some(size) = self.input_data.as_ref().map(String::len).filter(|size| *size > MOST_INPUT) {
            return Err(Error::bad_argument(format!("input_data: expected at most {MOST_INPUT} bytes, got {size}"))
                .hint("proxmox-agent-file-write puts a file into the guest, for the command to read"));
        }
        let guest = vm(pve, &self.guest).await?;
        let command = self.words(pve, &guest).await?;
        let mut request = Request::post(guest.path("agent/exec"));
        for word in &command {
            request = request.param("command", word);
        }
        let request = request.maybe("input-data", self.input_data.as_deref().map(bytes::as_sent));
        let told = match (self.command.is_empty(), args) {
            (false, []) => self.command.clone(),
            _ => command.join(" "),
        };
        let told: String = match told.char_indices().nth(100) {
            Some((at, _)) => format!("{}…", &told[..at]),
            None => told,
        };
        let quotes = command.first().is_some_and(|program| program == CMD) && self.command.contains('"');
        let plan = plan(&guest, &format!("run `{told}` in"), request).no_undo("what the command did is not known");
        Ok(plan.warn_if(quotes, || {
            "the agent writes quotes as \\\", which cmd.exe does not understand: shell powershell does".to_owned()
        }))
    }

    /// Follows the process to its end, or as long as the caller waits.
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        let pid = done.answers.first().map(|answer| &answer["pid"]);
        let pid = pid.and_then(|pid| pid.as_u64().or_else(|| pid.as_str()?.parse().ok())).ok_or_else(|| {
            Error::new(Kind::BadAnswer, "the command was begun, and Proxmox did not say under which process id")
        })?;
        let path = plan.requests.first().map(|request| format!("{}-status", request.path)).unwrap_or_default();
        let ran = match done.wait {
            Some(wait) => follow(pve, path, pid, wait).await?.shortened(MOST_OUTPUT),
            None => Ran::still(pid, None),
        };
        serde_json::to_value(ran).map(Some).map_err(|e| Error::internal(e.to_string()))
    }

    fn goes_on(&self, plan: &Plan, result: &Value) -> Option<String> {
        let (vmid, pid) = (&plan.about["vmid"], &result["pid"]);
        (result["running"] == true).then(|| format!("proxmox-guest-exec-status vmid={vmid} pid={pid} reads its output"))
    }
}

const CMD: &str = "cmd.exe";

impl GuestExec {
    /// The program and its arguments.
    async fn words(&self, pve: &Reader<'_>, guest: &Guest) -> Result<Vec<String>> {
        let line = self.command.as_str();
        if let Some(args) = &self.args {
            let program = Some(line).filter(|line| !line.is_empty()).map(str::to_owned);
            return Ok(program.into_iter().chain(args.iter().cloned()).collect());
        }
        let shell = match self.shell {
            // A single word is a program, whatever system it is.
            Shell::Auto if line.chars().all(|c| c.is_alphanumeric() || "/._-+:\\".contains(c)) => Shell::None,
            Shell::Auto if is_windows(pve, guest).await? => Shell::Cmd,
            Shell::Auto => Shell::Sh,
            given => given,
        };
        let words: &[&str] = match shell {
            Shell::Cmd => &[CMD, "/c", line],
            Shell::Powershell => &["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", line],
            Shell::None => &[line],
            Shell::Sh | Shell::Auto => &["/bin/sh", "-c", line],
        };
        Ok(words.iter().map(|word| (*word).to_owned()).collect())
    }
}

/// As the agent says, or the configuration where the agent cannot.
async fn is_windows(pve: &Reader<'_>, guest: &Guest) -> Result<bool> {
    #[derive(Deserialize)]
    struct System {
        id: Option<String>,
    }
    match info::ask::<System>(pve, guest, "get-osinfo").await {
        Ok(System { id: Some(id) }) => Ok(id == "mswindows"),
        // Agents of before 2018, and tokens that may run commands and read nothing.
        Ok(System { id: None }) => configured_windows(pve, guest).await,
        Err(e) => configured_windows(pve, guest).await.map_err(|_| e),
    }
}

async fn configured_windows(pve: &Reader<'_>, guest: &Guest) -> Result<bool> {
    let config = pve.config(guest).await?;
    Ok(config.get("ostype").is_some_and(|kind| kind.starts_with('w')))
}

/// Read the result of a command begun by proxmox-guest-exec; it is handed out once.
#[derive(Deserialize, JsonSchema)]
pub struct GuestExecStatus {
    #[serde(flatten)]
    guest: GuestRef,
    pid: u64,
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    timeout: f64,
}

impl Tool for GuestExecStatus {
    const NAME: &str = "proxmox-guest-exec-status";
    const TITLE: &str = "Read a command's result";
    const API: &[&str] = &["GET /nodes/{node}/qemu/{vmid}/agent/exec-status"];
    const EXAMPLE: (&str, &str) =
        ("Has the update in gitlab-runner ended?", r#"{"name": "gitlab-runner", "pid": 164}"#);
}

impl Query for GuestExecStatus {
    type Output = Ran;
    async fn query(&self, pve: &Reader<'_>) -> Result<Ran> {
        let guest = vm(pve, &self.guest).await?;
        let timeout = Duration::from_secs_f64(self.timeout.clamp(0.0, 86_400.0));
        let wait = WaitOptions { timeout, poll_interval: Duration::from_secs(1) };
        Ok(follow(pve, guest.path("agent/exec-status"), self.pid, wait).await?.shortened(MOST_OUTPUT))
    }
}

/// Looks at a process until it has ended or the time is up: quickly at first, for most commands take no time. Once it has
/// ended the agent hands its output out once, so every answer with an end is returned.
pub(crate) async fn follow(pve: &Reader<'_>, path: String, pid: u64, wait: WaitOptions) -> Result<Ran> {
    /// What may pass: a guest too busy to answer, an agent that is started anew, a node that is slow.
    const FAILURES: u32 = 5;
    const BRIEF: Duration = Duration::from_millis(100);
    let request = Request::get(path).param("pid", pid);
    let begun = Instant::now();
    let (mut pause, mut failures, mut told) = (BRIEF, 0, Duration::ZERO);
    loop {
        let trouble = match pve.request::<Status>(&request).await {
            Ok(status) if status.exited => return Ok(Ran::ended(pid, status)),
            Ok(_) => {
                failures = 0;
                None
            }
            Err(e) if failures < FAILURES && passing(e.kind()) && !wait.timeout.is_zero() => {
                failures += 1;
                pause = pause.max(Duration::from_secs(1));
                Some(e.to_string())
            }
            Err(e) => return Err(explained(e, pid)),
        };
        let Some(left) = wait.timeout.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
            return Ok(Ran::still(pid, trouble));
        };
        let passed = begun.elapsed();
        if passed >= told + Duration::from_secs(2) {
            told = passed;
            let message = format!("process {pid} runs, {} s", passed.as_secs());
            pve.scope().progress.report(Update::new(None, message));
        }
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            () = pve.scope().cancel.cancelled() => {
                return Err(explained(Error::new(Kind::Cancelled, "the call was cancelled"), pid));
            }
        }
        pause = pause.mul_f64(1.5).min(wait.poll_interval.max(BRIEF));
    }
}

fn passing(kind: Kind) -> bool {
    matches!(kind, Kind::Unavailable | Kind::Timeout | Kind::Refused | Kind::Locked)
}

/// Says that the command was begun, whatever came after.
fn explained(e: Error, pid: u64) -> Error {
    let hint = match (e.kind(), &e.parts().hint) {
        (Kind::Cancelled, _) => format!("the command goes on in the guest as process {pid}"),
        (_, Some(hint)) => format!("the command was begun as process {pid}; {hint}"),
        (_, None) => format!("the command was begun as process {pid}"),
    };
    e.hint(hint)
}

impl Ran {
    fn still(pid: u64, trouble: Option<String>) -> Self {
        let note = trouble.map(|words| format!("at last the guest could not be asked: {words}"));
        Self {
            pid,
            running: true,
            exit_code: None,
            signal: None,
            stdout: None,
            stdout_encoding: None,
            stdout_truncated: false,
            stderr: None,
            stderr_encoding: None,
            stderr_truncated: false,
            note,
        }
    }

    fn ended(pid: u64, status: Status) -> Self {
        let shown = |data: Option<String>| data.map(|data| bytes::show(&bytes::of(&data)));
        let (out, err) = (shown(status.out_data), shown(status.err_data));
        let (stdout_encoding, stderr_encoding) =
            (out.as_ref().and_then(|o| o.encoding), err.as_ref().and_then(|e| e.encoding));
        Self {
            pid,
            running: false,
            exit_code: status.exitcode,
            signal: status.signal,
            stdout: out.map(|out| out.text),
            stdout_encoding,
            stdout_truncated: status.out_truncated,
            stderr: err.map(|err| err.text),
            stderr_encoding,
            stderr_truncated: status.err_truncated,
            note: None,
        }
    }

    /// With exit code 0.
    pub(crate) fn ended_well(&self) -> bool {
        !self.running && self.exit_code == Some(0)
    }

    /// With no more than so much of each output.
    pub(crate) fn shortened(mut self, most: usize) -> Self {
        let mut left_out = Vec::new();
        for (name, output) in [("stdout", &mut self.stdout), ("stderr", &mut self.stderr)] {
            let Some(text) = output.as_mut().filter(|text| text.len() > most) else { continue };
            let head = bytes::cut(text.as_bytes(), most / 2);
            let tail = text.ceil_char_boundary(text.len() - most / 2);
            left_out.push(format!("{} of {} bytes of {name}", tail - head, text.len()));
            *text = format!("{}\n[…]\n{}", &text[..head], &text[tail..]);
        }
        if !left_out.is_empty() {
            let what = left_out.join(" and ");
            self.note = Some(format!(
                "{what} are left out in the middle ([…]), for good: to have all, write it to a file in the guest and read \
                 that in parts"
            ));
        }
        self
    }
}
