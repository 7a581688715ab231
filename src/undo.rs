//! Takes back what is on record: finds the entry, and makes the call that takes it back as if the caller had made it, so that
//! the same rules, confirmation and record hold for it. What has changed since is a problem of that call's plan.

mod compare;
pub mod identity;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub use self::identity::{Guests, Identity, Same};
use crate::{
    audit::{Ended, Recorded},
    call::{self, Answer, Cx},
    error::{Error, Kind, Result},
    plan::{Plan, UndoCall},
    policy::{Reach, reach::Where},
    pve::{ExitStatus, Reader, Request, TaskRow, Upid, encode},
    tools,
};

/// The tool that does it.
pub const TOOL: &str = "proxmox-undo";

/// Tasks that are named of those that came after.
const NAMED: usize = 5;

/// What is taken back.
#[derive(Debug)]
pub struct Undoing {
    recorded: Recorded,
    /// Even where values changed since.
    force: bool,
}

/// Makes the call that takes an entry back; `control` are the keys that every tool takes.
///
/// # Errors
/// An entry that cannot be taken back, and why; whatever the call says.
pub(crate) async fn run(cx: &Cx<'_>, id: &str, force: bool, mut control: Map<String, Value>) -> Result<Answer> {
    let Some(audit) = cx.app.audit() else { return Err(Error::internal("no audit log")) };
    let recorded = audit.find(id).await?;
    let name = recorded.begun.cluster.as_str();
    let Some(cluster) = cx.app.clusters().iter().find(|cluster| cluster.name == name) else {
        return Err(Error::bad_setting(format!("entry {id} is of the cluster '{name}', which is not configured here")));
    };
    if cx.cluster_named && cx.client.name() != name {
        return Err(Error::bad_argument(format!("cluster: entry {id} is of '{name}', not of '{}'", cx.client.name())));
    }
    let scope = call::scope(cx);
    let undo = call_of(&Reader::new(&cluster.client, &scope), &recorded).await?.clone();
    let mut args = undo.arguments;
    args.insert("cluster".to_owned(), name.into());
    let timeout_key = tools::all().find(|tool| tool.name == undo.tool).and_then(|tool| tool.control);
    if let (Some(key), Some(timeout)) = (timeout_key.map(|control| control.timeout_key), control.remove("timeout")) {
        args.insert(key.to_owned(), timeout);
    }
    args.extend(control);
    if let Some(confirm) = &cx.confirm {
        args.insert("confirm".to_owned(), confirm.clone());
    }
    let undoing = Undoing { recorded, force };
    call::run_undoing(cx.app, &undo.tool, args, cx.context, Some(&undoing)).await
}

/// The call that takes an entry back.
async fn call_of<'a>(pve: &Reader<'_>, recorded: &'a Recorded) -> Result<&'a UndoCall> {
    let begun = &recorded.begun;
    let no = |why: String| Error::new(Kind::Refused, format!("entry {} ({}): {why}", begun.id, begun.summary));
    let Some(ended) = &recorded.ended else {
        return Err(no("what came of it is not on record: it is under way, or the program was stopped".to_owned())
            .hint("nothing was sent; look at the guest and its tasks to see how far it got"));
    };
    if let Some(error) = &ended.error {
        let sent: Vec<&str> = ended.sent.iter().map(|sent| sent.request.as_str()).collect();
        let far = if sent.is_empty() { "nothing was sent".to_owned() } else { format!("sent was {}", sent.join(", ")) };
        return Err(no(format!("it failed ({}); {far}", error.message)).hint("there is nothing whole to take back"));
    }
    if let Some(by) = &recorded.undone_by {
        return Err(
            no(format!("it was taken back already, by entry {by}")).hint("that entry can be taken back in turn")
        );
    }
    if ended.state.as_deref() == Some("running") {
        over(pve, ended).await.map_err(no)?;
    }
    match (&ended.undo, &ended.no_undo) {
        (Some(undo), _) => Ok(undo),
        (None, Some(why)) => Err(no(format!("it cannot be taken back: {why}"))),
        (None, None) => Err(no("it cannot be taken back: no way is on record".to_owned())),
    }
}

/// Whether its last task, which was not waited for, is over and went well.
async fn over(pve: &Reader<'_>, ended: &Ended) -> Result<(), String> {
    let Some(upid) = upids(ended).last() else { return Ok(()) };
    match pve.task_status(&upid).await {
        Ok(None) => Err(format!("its task still runs: {upid}")),
        Ok(Some(ExitStatus::Unexpected)) => Err("how far its task came is not known".to_owned()),
        Ok(Some(ExitStatus::Failed(why))) => Err(format!("its task failed: {why}")),
        // A task that its node has forgotten is over.
        Ok(Some(_)) => Ok(()),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(format!("whether its task is over cannot be found out: {e}")),
    }
}

fn upids(ended: &Ended) -> impl Iterator<Item = Upid> {
    ended.sent.iter().filter_map(|sent| sent.upid.as_deref()?.parse().ok())
}

impl Undoing {
    /// The entry that is taken back.
    pub fn id(&self) -> &str {
        &self.recorded.begun.id
    }

    /// Holds the plan that takes it back to what is on record: what has changed since is a problem of it.
    ///
    /// # Errors
    /// What cannot be read of the guests it touches.
    pub(crate) async fn compare(&self, pve: &Reader<'_>, plan: &mut Plan) -> Result<()> {
        plan.about.insert("undoes".to_owned(), self.id().into());
        for (vmid, at) in Reach::of(&plan.requests).guests {
            if let Some(at) = at {
                self.same_guest(pve, plan, vmid, &at).await?;
            }
        }
        let found = compare::values(&self.recorded, plan);
        plan.warnings.extend(found.notes);
        match self.force {
            true => plan.warnings.extend(found.conflicts),
            false => plan
                .problems
                .extend(found.conflicts.into_iter().map(|text| format!("{text} (force: true does it all the same)"))),
        }
        let note = self.recorded.ended.as_ref().and_then(|ended| ended.undo.as_ref()?.note.clone());
        plan.warnings.extend(note);
        Ok(())
    }

    /// Whether the guest is the one of that call; and what was done with one that was made by it.
    async fn same_guest(&self, pve: &Reader<'_>, plan: &mut Plan, vmid: u32, at: &Where) -> Result<()> {
        let (begun, ended) = (&self.recorded.begun, self.recorded.ended.as_ref());
        let key = vmid.to_string();
        let made = begun.makes.get(&key);
        let known = ended.and_then(|ended| ended.made.get(&key)).or(made).or_else(|| begun.guests.get(&key));
        let (Some(was), Some(is)) = (known, identity::current(pve, vmid, at).await) else { return Ok(()) };
        let given = begun.changes.iter().filter(|change| matches!(change.key.as_str(), "name" | "hostname"));
        let names: Vec<&str> = given.filter_map(|change| change.new.as_deref()).collect();
        // That call may have changed the addresses.
        let cards = begun.changes.iter().any(|change| change.key.starts_with("net"));
        let was = if cards { Identity { macs: Vec::new(), ..was.clone() } } else { was.clone() };
        let mut same = was.same(&is, &names);
        if made.is_some() {
            let later = self.later_tasks(pve, vmid, at).await?;
            let gone = later.iter().any(|task| matches!(task.kind.as_str(), "qmdestroy" | "vzdestroy"));
            if gone && same != Same::Yes {
                same = Same::No;
            }
            if !later.is_empty() && same != Same::No {
                plan.warnings.push(done_since(vmid, &later));
            }
        }
        match same {
            Same::Yes | Same::Likely => {}
            Same::No => plan.problems.push(format!("{vmid} is another guest now: that call's was {was}, this is {is}")),
            // Nothing is known but the number.
            Same::Unknown if made.is_none() => {}
            Same::Unknown => plan.problems.push(format!(
                "whether {vmid} ({is}) is the guest that was made by that call cannot be told: it is not on record what \
                 that one was called; delete it by its own tool if it is"
            )),
        }
        Ok(())
    }

    /// The guest's tasks since then, but for those of the call itself; newest first.
    async fn later_tasks(&self, pve: &Reader<'_>, vmid: u32, at: &Where) -> Result<Vec<TaskRow>> {
        let own: Vec<Upid> = self.recorded.ended.iter().flat_map(upids).collect();
        let Some(since) = own.iter().map(|upid| upid.starttime).min() else { return Ok(Vec::new()) };
        let nodes: BTreeSet<&str> = own.iter().map(|upid| upid.node.as_str()).chain([at.node.as_str()]).collect();
        let mut later = Vec::new();
        for node in nodes {
            let request = Request::get(format!("/nodes/{}/tasks", encode(node)))
                .param("vmid", vmid)
                .param("since", since)
                .param("source", "all");
            match pve.request::<Vec<TaskRow>>(&request).await {
                Ok(tasks) => later.extend(tasks),
                // A node that is off cannot be asked, and has done nothing meanwhile.
                Err(e) if e.is_unavailable() => {}
                Err(e) => return Err(e),
            }
        }
        // Times are told in seconds; on one node, the start of a task's process is known to a hundredth.
        let before = |task: &Upid| {
            let same_second = |upid: &&Upid| upid.node == task.node && upid.starttime == task.starttime;
            own.iter().find(same_second).is_some_and(|upid| task.pstart < upid.pstart)
        };
        later.retain(|task| match task.upid.parse::<Upid>() {
            Ok(task) => !before(&task) && own.iter().all(|upid| upid.as_str() != task.as_str()),
            Err(_) => true,
        });
        later.sort_by_key(|task| std::cmp::Reverse(task.starttime));
        Ok(later)
    }
}

/// `since it was made: qmstart 2027-01-15T08:00:00Z by root@pam, …: lost with it`
fn done_since(vmid: u32, later: &[TaskRow]) -> String {
    let name = |task: &TaskRow| {
        let time = u64::try_from(task.starttime).unwrap_or_default();
        format!("{} {} by {}", task.kind, tools::time::iso(time), task.user)
    };
    let named: Vec<String> = later.iter().take(NAMED).map(name).collect();
    let more = if later.len() > NAMED { format!(" and {} more", later.len() - NAMED) } else { String::new() };
    format!("since {vmid} was made, this was done with it: {}{more}", named.join(", "))
}
