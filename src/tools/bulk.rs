//! One action on many guests. What it is for one of them the single tool says; here is decided whom it is for, in which
//! order, and what is said of those that are left out.

mod deed;
mod order;
mod select;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use self::{
    deed::{Deed, Params, prefixed},
    order::{Order, Startup},
    select::Select,
};
use super::steps::{self, For, Single};
use crate::{
    error::Kind,
    lanes::{At, How, Lane, Lanes, Out, Step, Then},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::of_many::<Bulk>()];

/// Do one thing to many guests: those that fit all that is given of vmids, name, tag, pool, node, status and kind. A dry run lists each.
#[derive(Deserialize, JsonSchema)]
struct Bulk {
    #[serde(flatten)]
    select: Select,
    action: Deed,
    /// The single tool's arguments: {"snapname": "x"}, {"target_node": "pve2"}, {"tags": ["x"]}, {"command": "uptime"}, {"cores": 2}.
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    parallel: usize,
    /// Begin no more once more than this have failed.
    max_failures: Option<usize>,
    /// startup: as nodes do.
    #[serde(default)]
    order: Order,
}

fn four() -> usize {
    4
}

/// Guests that are looked at at the same time.
const AT_ONCE: usize = 16;

impl Tool for Bulk {
    const NAME: &str = "proxmox-bulk";
    const TITLE: &str = "Do one thing to many guests";
    const API: &[&str] = &[
        "POST /nodes/{node}/{type}/{vmid}/status/start",
        "POST /nodes/{node}/{type}/{vmid}/status/shutdown",
        "POST /nodes/{node}/{type}/{vmid}/status/stop",
        "POST /nodes/{node}/{type}/{vmid}/status/reboot",
        "POST /nodes/{node}/{type}/{vmid}/snapshot",
        "DELETE /nodes/{node}/{type}/{vmid}/snapshot/{snapname}",
        "POST /nodes/{node}/vzdump",
        "GET /nodes/{node}/{type}/{vmid}/migrate",
        "POST /nodes/{node}/{type}/{vmid}/migrate",
        "PUT /nodes/{node}/{type}/{vmid}/config",
        "POST /nodes/{node}/qemu/{vmid}/config",
        "GET /cluster/options",
        "POST /nodes/{node}/qemu/{vmid}/agent/exec",
        "GET /nodes/{node}/qemu/{vmid}/agent/exec-status",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo",
    ];
    const EXAMPLE: (&str, &str) = (
        "Take a snapshot of all web servers before they are patched",
        r#"{"name": "web-*", "action": "snapshot", "params": {"snapname": "before-patch"}, "confirm": true}"#,
    );
}

impl Action for Bulk {
    /// Each request is judged by itself, too: to delete snapshots takes what deleting takes.
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).confirmed().waiting();
    const LOOKS_AFTER: bool = true;

    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let params = self.action.params(&self.params)?;
        let guests = self.select.guests(pve).await?;
        let one = |guest| self.one(pve, &params, guest);
        let all: Vec<(Guest, Planned)> = stream::iter(guests).map(one).buffered(AT_ONCE).try_collect().await?;
        // What is wrong with the arguments is the same for everybody.
        if !all.iter().any(|(_, planned)| matches!(planned, Planned::Does(..)))
            && let Some(e) = all.iter().find_map(|(_, planned)| planned.bad_argument())
        {
            return Err(e.clone().reworded_message(prefixed));
        }
        let lanes: Vec<Lane> = all.into_iter().map(|(guest, planned)| self.lane(&guest, planned)).collect();
        Ok(self.whole(lanes))
    }

    fn undo(&self, _: &Plan, done: Done<'_>, _: Option<&Value>) -> Option<Undo> {
        let runs = done.lanes?.runs.iter().filter(|run| run.how == How::Done);
        let lanes: Vec<&Lane> = runs.map(|run| &run.lane).collect();
        Some(self.back(&lanes))
    }
}

/// What becomes of one guest.
#[expect(clippy::large_enum_variant, reason = "most of them are the large one")]
enum Planned {
    Does(Single, Startup),
    Out(Out),
    /// The single tool does not take it.
    Fails(Error),
}

impl Planned {
    fn bad_argument(&self) -> Option<&Error> {
        match self {
            Self::Fails(e) if e.kind() == Kind::BadArgument => Some(e),
            _ => None,
        }
    }
}

impl Bulk {
    async fn one(&self, pve: &Reader<'_>, params: &Params, guest: Guest) -> Result<(Guest, Planned)> {
        let planned = self.planned(pve, params, &guest).await;
        match planned {
            Ok(planned) => Ok((guest, planned)),
            Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Unauthorized | Kind::Internal) => Err(e),
            Err(e) => Ok((guest, Planned::Fails(e))),
        }
    }

    async fn planned(&self, pve: &Reader<'_>, params: &Params, guest: &Guest) -> Result<Planned> {
        let mut args = params.of(guest.kind).clone();
        if let Some(why) = self.action.skips(guest, &args, self.select.names(guest)) {
            return Ok(Planned::Out(Out::Skipped(why)));
        }
        if let Some(why) = self.action.refuses(guest) {
            return Ok(Planned::Out(Out::Refused(why)));
        }
        let startup = match self.order {
            Order::Startup => Startup::of(pve, guest).await?,
            Order::Vmid => Startup::default(),
        };
        if let (Deed::Shutdown, Some(down)) = (self.action, startup.down) {
            args.entry("timeout").or_insert_with(|| down.into());
        }
        let (_, doing) = self.action.words();
        let tool = self.action.tool(guest.kind);
        let single = steps::of(pve, For { tool, doing, guest, args, seconds: params.seconds }).await?;
        if !single.problems.is_empty() {
            return Ok(Planned::Out(Out::Refused(short(guest, &single.problems))));
        }
        if single.steps.is_empty() {
            return Ok(Planned::Out(Out::Skipped(short(guest, &single.warnings))));
        }
        Ok(Planned::Does(single, startup))
    }

    fn lane(&self, guest: &Guest, planned: Planned) -> Lane {
        let lane = match planned {
            Planned::Out(out) => Lane { out: Some(out), ..Lane::of(steps::name(guest), &At::from(guest)) },
            Planned::Fails(e) => {
                let words = short(guest, &[e.to_string()]);
                let out = Some(Out::Refused(words));
                Lane { out, ..Lane::of(steps::name(guest), &At::from(guest)) }
            }
            Planned::Does(single, startup) => {
                let changes: Vec<String> = single.changes.iter().map(ToString::to_string).collect();
                let warnings = short(guest, &single.warnings);
                let mut lane = single.lane(guest);
                if self.order == Order::Startup {
                    lane.stage = startup.stage(self.action.goes_down());
                    lane = lane.before("order", startup.order);
                }
                if let (Deed::Start, Some(seconds)) = (self.action, startup.up) {
                    let doing = format!("giving {} its {seconds} s", lane.name);
                    lane = lane.step(Step::wait(doing, Then::Pause { seconds }));
                }
                if !changes.is_empty() {
                    lane = lane.before("changes", changes.join("; "));
                }
                if !warnings.is_empty() {
                    lane = lane.before("warning", warnings);
                }
                // What one call takes back is not said for each.
                if self.back_tool().is_some() {
                    lane.undo = None;
                }
                lane
            }
        };
        Lane {
            before: std::iter::once(("status".to_owned(), guest.status.clone().into())).chain(lane.before).collect(),
            ..lane
        }
    }

    fn whole(&self, lanes: Vec<Lane>) -> Plan {
        let count = |out: fn(&Out) -> bool| lanes.iter().filter(|lane| lane.out.as_ref().is_some_and(out)).count();
        let (skipped, refused) = (count(|o| matches!(o, Out::Skipped(_))), count(|o| matches!(o, Out::Refused(_))));
        let does = lanes.len() - skipped - refused;
        let (verb, _) = self.action.words();
        let guests = |n: usize| if n == 1 { "1 guest".to_owned() } else { format!("{n} guests") };
        let rest = [(skipped, "skipped"), (refused, "refused")];
        let rest: Vec<String> = rest.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
        let refusals: Vec<String> = lanes
            .iter()
            .filter_map(|lane| match &lane.out {
                Some(Out::Refused(why)) => Some(format!("{}: {why}", lane.name)),
                _ => None,
            })
            .take(12)
            .collect();
        let plan = Plan::new(format!("{verb} {}{rest}", guests(does)))
            .warn_if(does == 0 && refused == 0, || {
                "nothing to do: everything that was asked for is so already".to_owned()
            })
            .warn_if(does > 0 && refused > 0, || format!("{} cannot be done: see refused", guests(refused)));
        let plan = match does {
            0 => refusals.into_iter().fold(plan, |plan, why| plan.check(false, String::new, || why)),
            _ => plan,
        };
        let undo = self.back(&lanes.iter().filter(|lane| lane.out.is_none()).collect::<Vec<_>>());
        let parallel = self.parallel;
        let lanes = Lanes { parallel, max_failures: self.max_failures, ..Lanes::new("guests", lanes) };
        plan.lanes(lanes).undone(undo)
    }

    /// The one action that takes this back, and its arguments.
    fn back_tool(&self) -> Option<(Deed, Value)> {
        let params = |key: &str| self.params.get(key).map(|value| json!({ key: value }));
        let one_tag = self.params.get("tags").and_then(Value::as_array).is_some_and(|tags| tags.len() == 1);
        match self.action {
            Deed::Start => Some((Deed::Shutdown, json!({}))),
            Deed::Shutdown | Deed::Stop => Some((Deed::Start, json!({}))),
            Deed::Snapshot => Some((Deed::DeleteSnapshot, params("snapname")?)),
            // Of several, a guest may have had some before.
            Deed::Tag if one_tag => Some((Deed::Untag, params("tags")?)),
            Deed::Untag if one_tag => Some((Deed::Tag, params("tags")?)),
            _ => None,
        }
    }

    /// What takes back what was done to these.
    fn back(&self, lanes: &[&Lane]) -> Undo {
        let vmids: Vec<u32> = lanes.iter().filter_map(|lane| lane.vmid).collect();
        if vmids.is_empty() {
            return Undo::never("nothing changes");
        }
        match (self.back_tool(), self.action) {
            (Some((action, params)), _) => {
                let mut arguments = json!({"vmids": vmids, "action": action});
                if params.as_object().is_some_and(|params| !params.is_empty()) {
                    arguments["params"] = params;
                }
                if self.order == Order::Startup {
                    arguments["order"] = json!(Order::Startup);
                }
                Undo::call(Self::NAME, arguments)
                    .note_if(self.action == Deed::Stop, || "what they had not written to disk is lost".to_owned())
                    .note_if(self.action == Deed::Start, || "those without agent and ACPI stay on".to_owned())
            }
            (None, Deed::Reboot) => Undo::never("a reboot cannot be taken back"),
            (None, Deed::DeleteSnapshot) => Undo::never("deleted snapshots are gone"),
            (None, Deed::GuestExec) => Undo::never("what the command did is not known"),
            (None, Deed::Backup) => {
                Undo::never("proxmox-list-backups names the backups, proxmox-backup-delete takes one away")
            }
            (None, _) => Undo::never("no one call takes it back: each guest's own stands with it"),
        }
    }
}

/// What is said of a guest, for its own row.
fn short(guest: &Guest, texts: &[String]) -> String {
    let named = guest.to_string();
    let own = |text: &String| match text.strip_prefix(&format!("{named}: ")).or(text.strip_prefix(&format!("{named} ")))
    {
        Some(rest) => rest.to_owned(),
        None => text.replace(&named, "it"),
    };
    texts.iter().map(own).collect::<Vec<_>>().join("; ")
}
