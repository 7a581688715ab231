//! What the guest agent is told to do: programs, files, passwords.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::reach;
use crate::sandbox::{
    call::Call,
    guest::Guest,
    inside::{Ended, Inside, Look, Machine, Session, System},
    wire::{Answer, Answered, Refusal},
};

/// How long Proxmox needs to find that the agent could not begin a program.
const NO_PROGRAM: Duration = Duration::from_millis(5_100);
/// What the agent keeps of an output, and Proxmox reads of a file.
const MOST: usize = 16 << 20;

/// Does something with what is in a guest that runs.
fn inside<T>(call: &Call, guest: &Guest, what: impl FnOnce(&Machine, &mut Inside) -> T) -> T {
    let machine = Machine::of(guest, call.now());
    let mut state = call.sandbox.state();
    let inside = state.inside.entry(guest.vmid).or_default();
    inside.booted(guest.run.as_ref().map_or(0, |run| run.since));
    what(&machine, inside)
}

pub fn exec(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let command = call.params.list("command").to_vec();
        let input = call.get("input-data").map(bytes).transpose()?.unwrap_or_default();
        let guest = reach(&call).await?;
        let now = call.sandbox.clock().elapsed();
        let pid = inside(&call, &guest, |machine, inside| {
            let pid = inside.next_pid();
            let ended = Session::new(machine, inside, pid).program(&command, &input)?;
            inside.began(pid, now, ended);
            Some(pid)
        });
        match pid {
            Some(pid) => Ok(json!({ "pid": pid }).into()),
            // Its error is as good as lost: the connection to the agent is given up first.
            None => {
                call.sandbox.clock().sleep(NO_PROGRAM).await;
                Err(Refusal::new(596, "Broken pipe"))
            }
        }
    })
}

pub fn exec_status(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let pid = call.int("pid").unwrap_or_default();
        let guest = reach(&call).await?;
        let now = call.sandbox.clock().elapsed();
        let look = inside(&call, &guest, |_, inside| inside.look(u64::try_from(pid).unwrap_or_default(), now));
        match look {
            Look::Unknown => Err(Refusal::failed("Agent error: PID ld does not exist")),
            Look::Running => Ok(json!({"exited": 0}).into()),
            Look::Ended(ended) => Ok(status(ended).into()),
        }
    })
}

fn status(ended: Ended) -> Value {
    let mut status = Map::new();
    status.insert("exited".to_owned(), 1.into());
    match ended.signal {
        Some(signal) => status.insert("signal".to_owned(), signal.into()),
        None => status.insert("exitcode".to_owned(), ended.code.into()),
    };
    for (name, output) in [("out", ended.out), ("err", ended.err)] {
        if !output.is_empty() {
            let kept = &output[..output.len().min(MOST)];
            status.insert(format!("{name}-data"), characters(kept).into());
            status.insert(format!("{name}-truncated"), u8::from(output.len() > MOST).into());
        }
    }
    status.into()
}

pub fn file_read(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let file = call.text("file").to_owned();
        let guest = reach(&call).await?;
        let content = inside(&call, &guest, |machine, inside| inside.read(machine, &file)).ok_or_else(|| {
            Refusal::failed(format!("Agent error: failed to open file '{file}' (mode: 'r'): No such file or directory"))
        })?;
        let number = |name: &str, default: usize| call.int(name).and_then(|n| n.try_into().ok()).unwrap_or(default);
        let (offset, count) = (number("offset", 0), number("count", MOST));
        let rest = content.get(offset..).unwrap_or_default();
        let part = &rest[..rest.len().min(count)];
        let encoded = call.get("decode") == Some("0");
        let text = if encoded { STANDARD.encode(part) } else { characters(part) };
        let mut answer = json!({"content": text, "bytes-read": part.len()});
        // The end of the file is seen by reading past it.
        if part.len() == count {
            answer["truncated"] = 1.into();
        }
        Ok(answer.into())
    })
}

pub fn file_write(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let (file, content) = (call.text("file").to_owned(), call.text("content"));
        let content = if call.get("encode") == Some("0") {
            STANDARD
                .decode(content)
                .map_err(|_| Refusal::failed("Agent error: failed to decode base64 data: invalid base64 data"))?
        } else {
            bytes(content)?
        };
        let guest = reach(&call).await?;
        let written = inside(&call, &guest, |machine, inside| inside.write(machine, &file, content));
        written
            .map_err(|why| Refusal::failed(format!("Agent error: failed to open file '{file}' (mode: 'wb'): {why}")))?;
        Ok(Answer::null())
    })
}

pub fn set_user_password(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        bytes(call.text("password"))?;
        let guest = reach(&call).await?;
        let user = call.text("username");
        let failed = "Agent error: child process has failed to set user password:";
        match System::of(&guest) {
            System::Tiny => return Err(Refusal::failed(format!("{failed} chpasswd: applet not found\n\n"))),
            System::Windows => {}
            _ if ["root", "admin"].contains(&user) || guest.config.get("ciuser") == Some(user) => {}
            _ => return Err(Refusal::failed(format!("{failed} chpasswd: line 1: user '{user}' does not exist\n\n"))),
        }
        Ok(json!({"result": {}}).into())
    })
}

/// Bytes as they come out of Perl: each a character.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Text as it goes into Perl's base64, which takes characters for bytes.
fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.ok_or_else(|| {
        Refusal::failed("Wide character in subroutine entry at /usr/share/perl5/PVE/API2/Qemu/Agent.pm line 521.")
    })
}
